//! Running queries, and reading their rows from left to right.

use std::{fmt::Write as _, str::FromStr};

use jiff::Timestamp;
use rusqlite::{
    Connection, Params, Row, Statement,
    types::{Value, ValueRef},
};

use super::failure::Broken;

/// Calls `take` with each row of the query.
pub(super) fn each<E: From<rusqlite::Error>>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut take: impl FnMut(&mut Columns<'_, '_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        take(&mut Columns { row, next: 0 })?;
    }
    Ok(())
}

/// Every row of the query.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&mut Columns<'_, '_>) -> Result<T, Broken>,
) -> Result<Vec<T>, Broken> {
    let mut found = Vec::new();
    each(connection, sql, params, |columns| {
        found.push(read(columns)?);
        Ok::<_, Broken>(())
    })?;
    Ok(found)
}

/// The first row of the query.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&mut Columns<'_, '_>) -> Result<T, Broken>,
) -> Result<Option<T>, Broken> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    match rows.next()? {
        Some(row) => read(&mut Columns { row, next: 0 }).map(Some),
        None => Ok(None),
    }
}

/// A count as SQLite keeps it.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of one row, in the order of the `SELECT`.
pub(super) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r> Columns<'r, '_> {
    /// The next column, whatever it holds.
    pub(super) fn value(&mut self) -> Result<ValueRef<'r>, Broken> {
        let row = self.row;
        let value = row.get_ref(self.next)?;
        self.next += 1;
        Ok(value)
    }

    /// Text.
    pub(super) fn text(&mut self) -> Result<&'r str, Broken> {
        let value = self.value()?;
        value.as_str().map_err(|_| self.damaged())
    }

    /// Text or nothing.
    pub(super) fn maybe_text(&mut self) -> Result<Option<&'r str>, Broken> {
        let value = self.value()?;
        value.as_str_or_null().map_err(|_| self.damaged())
    }

    /// Bytes.
    pub(super) fn bytes(&mut self) -> Result<&'r [u8], Broken> {
        let value = self.value()?;
        value.as_blob().map_err(|_| self.damaged())
    }

    /// 32 bytes.
    pub(super) fn bytes_32(&mut self) -> Result<[u8; 32], Broken> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| self.damaged())
    }

    /// A number.
    pub(super) fn number(&mut self) -> Result<i64, Broken> {
        let value = self.value()?;
        value.as_i64().map_err(|_| self.damaged())
    }

    /// A number or nothing.
    pub(super) fn maybe_number(&mut self) -> Result<Option<i64>, Broken> {
        let value = self.value()?;
        value.as_i64_or_null().map_err(|_| self.damaged())
    }

    /// A number that counts something.
    pub(super) fn count(&mut self) -> Result<u64, Broken> {
        let number = self.number()?;
        u64::try_from(number).map_err(|_| self.damaged())
    }

    /// A time.
    pub(super) fn time(&mut self) -> Result<Timestamp, Broken> {
        let number = self.number()?;
        Timestamp::from_millisecond(number).map_err(|_| self.damaged())
    }

    /// A time or nothing.
    pub(super) fn maybe_time(&mut self) -> Result<Option<Timestamp>, Broken> {
        let time = self.maybe_number()?.map(Timestamp::from_millisecond);
        time.transpose().map_err(|_| self.damaged())
    }

    /// Text that stands for a value.
    pub(super) fn parsed<T: FromStr>(&mut self) -> Result<T, Broken> {
        let text = self.text()?;
        text.parse::<T>().map_err(|_| self.damaged())
    }

    /// Text that stands for a value, or nothing.
    pub(super) fn maybe_parsed<T: FromStr>(&mut self) -> Result<Option<T>, Broken> {
        let value = self.maybe_text()?.map(str::parse::<T>);
        value.transpose().map_err(|_| self.damaged())
    }

    /// The column that was read last holds what it cannot hold.
    pub(super) fn damaged(&self) -> Broken {
        let statement: &Statement<'_> = self.row.as_ref();
        let name = statement.column_name(self.next.saturating_sub(1)).unwrap_or("?");
        Broken::damaged(format!("the column {name} holds what it cannot"))
    }
}

/// The conditions of a query and the values for their question marks, in order.
pub(super) struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Begins with the condition that holds every query to its project.
    pub(super) fn new(first: &str, project: &str) -> Self {
        Self { sql: first.to_owned(), values: vec![Value::Text(project.to_owned())] }
    }

    /// Adds a condition.
    pub(super) fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// Adds a condition on one text if it is given.
    pub(super) fn and_text(&mut self, condition: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.and(condition, [Value::Text(text.to_owned())]);
        }
    }

    /// Ends with an order and with one row more than asked for, which tells whether there is a
    /// next page.
    pub(super) fn order_and_limit(mut self, order: &str, limit: u32) -> (String, Vec<Value>) {
        // Writing into a string cannot fail.
        let _ = write!(self.sql, " ORDER BY {order} LIMIT ?");
        self.values.push(Value::Integer(i64::from(limit) + 1));
        (self.sql, self.values)
    }
}
