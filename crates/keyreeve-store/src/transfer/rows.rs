//! Reading and writing rows of any table.

use std::{cmp::Ordering, collections::VecDeque, fmt::Write as _};

use super::tables::Table;
use crate::sql::{
    columns::Columns,
    failure::Broken,
    query,
    session::{Session, Value},
};

/// Rows read at once, and rows written in one transaction.
pub(super) const PAGE: usize = 2_000;
/// Rows written by one statement.
const ROWS_AT_ONCE: usize = 100;

/// One row, its columns in the order of the table's.
pub(super) type Row = Vec<Value<'static>>;

/// All columns of a row.
pub(super) fn row(columns: &mut Columns<'_>) -> Result<Row, Broken> {
    columns.values()
}

/// A table's rows in the order of their keys, a page at a time.
pub(super) struct Pages {
    sql_first: String,
    sql_next: String,
    key: usize,
    ahead: VecDeque<Row>,
    last: Option<Row>,
    ended: bool,
}

impl Pages {
    pub(super) fn of(table: &Table) -> Self {
        let (columns, key) = (table.columns.join(", "), table.key_columns().join(", "));
        let marks = (1..=table.key).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
        let (name, order) = (table.name, format!("ORDER BY {key} LIMIT {PAGE}"));
        Self {
            sql_first: format!("SELECT {columns} FROM {name} {order}"),
            sql_next: format!("SELECT {columns} FROM {name} WHERE ({key}) > ({marks}) {order}"),
            key: table.key,
            ahead: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    /// The pages after the row with this key.
    pub(super) fn after(mut self, key: Option<Row>) -> Self {
        self.last = key;
        self
    }

    /// The next row, left where it is.
    pub(super) fn peek(&mut self, session: &mut dyn Session) -> Result<Option<&Row>, Broken> {
        if self.ahead.is_empty() && !self.ended {
            let (sql, values): (_, &[Value<'_>]) = match &self.last {
                None => (&self.sql_first, &[]),
                Some(last) => (&self.sql_next, &last[..self.key]),
            };
            let read = query::all(session, sql, values, row)?;
            self.ended = read.len() < PAGE;
            self.ahead = read.into();
            if let Some(last) = self.ahead.back() {
                self.last = Some(last.clone());
            }
        }
        Ok(self.ahead.front())
    }

    /// Takes the row that was looked at.
    pub(super) fn pop(&mut self) -> Option<Row> {
        self.ahead.pop_front()
    }
}

/// Which of two rows of a table comes first.
pub(super) fn compare(table: &Table, one: &Row, other: &Row) -> Ordering {
    let pairs = one[..table.key].iter().zip(&other[..table.key]);
    let mut orders = pairs.map(|(one, other)| match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) => one.as_bytes().cmp(other.as_bytes()),
        (Value::Bytes(one), Value::Bytes(other)) => one.cmp(other),
        // Keys are never null and have one type each.
        _ => Ordering::Equal,
    });
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Writes rows, over those with the same keys.
pub(super) fn write(session: &mut dyn Session, table: &Table, rows: &[Row]) -> Result<(), Broken> {
    let (many, rest) = rows.split_at(rows.len() - rows.len() % ROWS_AT_ONCE);
    let pieces = many.chunks(ROWS_AT_ONCE).chain(rest.chunks(1));
    for rows in pieces {
        let sql = upsert(table, rows.len());
        let values: Vec<Value<'_>> = rows.iter().flatten().cloned().collect();
        session.execute(&sql, &values)?;
    }
    Ok(())
}

fn upsert(table: &Table, rows: usize) -> String {
    let (columns, key) = (table.columns.join(", "), table.key_columns().join(", "));
    let mut sql = format!("INSERT INTO {} ({columns}) VALUES ", table.name);
    let marks = vec!["?"; table.columns.len()].join(", ");
    for n in 0..rows {
        // Writing into a string cannot fail.
        let _ = write!(sql, "{}({marks})", if n == 0 { "" } else { ", " });
    }
    let changed: Vec<String> =
        table.columns[table.key..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let _ = if changed.is_empty() {
        write!(sql, " ON CONFLICT ({key}) DO NOTHING")
    } else {
        write!(sql, " ON CONFLICT ({key}) DO UPDATE SET {}", changed.join(", "))
    };
    sql
}

/// Removes the rows with these keys.
pub(super) fn remove(session: &mut dyn Session, table: &Table, rows: &[Row]) -> Result<(), Broken> {
    let conditions: Vec<String> =
        (1..).zip(table.key_columns()).map(|(n, name)| format!("{name} = ?{n}")).collect();
    let sql = format!("DELETE FROM {} WHERE {}", table.name, conditions.join(" AND "));
    for row in rows {
        session.execute(&sql, &row[..table.key])?;
    }
    Ok(())
}

/// How many rows there are.
pub(super) fn count(session: &mut dyn Session, table: &Table) -> Result<u64, Broken> {
    let sql = format!("SELECT count(*) FROM {}", table.name);
    Ok(query::number(session, &sql, &[])?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{
        super::tables::{CHECKPOINTS, TABLES},
        *,
    };

    #[test]
    fn statements_name_every_column() {
        assert_eq!(
            upsert(&CHECKPOINTS, 2),
            "INSERT INTO audit_checkpoints (size, note) VALUES (?, ?), (?, ?) \
             ON CONFLICT (size) DO UPDATE SET note = excluded.note"
        );
        let roles = TABLES.iter().find(|table| table.name == "api_key_roles").unwrap();
        assert!(upsert(roles, 1).ends_with("DO NOTHING"));
    }

    #[test]
    fn rows_are_ordered_by_their_keys_byte_by_byte() {
        let environments = &TABLES[1];
        let row = |project: &str, name: &str| -> Row {
            [project, name, "live"].map(|text| Value::from(text.to_owned())).to_vec()
        };
        let order = |one: &Row, other: &Row| compare(environments, one, other);
        assert_eq!(order(&row("a", "b"), &row("a", "b")), Ordering::Equal);
        assert_eq!(order(&row("a", "z"), &row("b", "a")), Ordering::Less);
        assert_eq!(order(&row("a", "b"), &row("a", "B")), Ordering::Greater);
    }
}
