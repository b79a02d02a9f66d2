//! Running queries, and putting their conditions together.

use std::fmt::Write as _;

use super::{
    columns::Columns,
    failure::Broken,
    session::{Session, Value},
};

/// Every row of the query.
pub(crate) fn all<T>(
    session: &mut dyn Session,
    sql: &str,
    values: &[Value<'_>],
    mut read: impl FnMut(&mut Columns<'_>) -> Result<T, Broken>,
) -> Result<Vec<T>, Broken> {
    let mut found = Vec::new();
    session.each(sql, values, &mut |columns| {
        found.push(read(columns)?);
        Ok(())
    })?;
    Ok(found)
}

/// The only row of the query, or its last.
pub(crate) fn first<T>(
    session: &mut dyn Session,
    sql: &str,
    values: &[Value<'_>],
    mut read: impl FnMut(&mut Columns<'_>) -> Result<T, Broken>,
) -> Result<Option<T>, Broken> {
    let mut found = None;
    session.each(sql, values, &mut |columns| {
        found = Some(read(columns)?);
        Ok(())
    })?;
    Ok(found)
}

/// The number that the query finds.
pub(crate) fn number(
    session: &mut dyn Session,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Option<u64>, Broken> {
    let mut found = None;
    session.each(sql, values, &mut |columns| {
        found = Some(columns.count()?);
        Ok(())
    })?;
    Ok(found)
}

/// Whether the query finds anything.
pub(crate) fn exists(
    session: &mut dyn Session,
    sql: &str,
    values: &[Value<'_>],
) -> Result<bool, Broken> {
    Ok(first(session, sql, values, |_| Ok(()))?.is_some())
}

/// A count as databases keep it.
pub(crate) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The conditions of a query and the values for their question marks, in order.
pub(crate) struct Conditions {
    sql: String,
    values: Vec<Value<'static>>,
}

impl Conditions {
    /// Begins with the condition that holds every query to its project.
    pub(crate) fn new(first: &str, project: &str) -> Self {
        Self { sql: first.to_owned(), values: vec![project.to_owned().into()] }
    }

    /// Adds a condition.
    pub(crate) fn and(
        &mut self,
        condition: &str,
        values: impl IntoIterator<Item = Value<'static>>,
    ) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// Adds a condition on one text if it is given.
    pub(crate) fn and_text(&mut self, condition: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.and(condition, [text.to_owned().into()]);
        }
    }

    /// Ends with an order and with one row more than asked for, which tells whether there is a
    /// next page.
    pub(crate) fn order_and_limit(
        mut self,
        order: &str,
        limit: u32,
    ) -> (String, Vec<Value<'static>>) {
        // Writing into a string cannot fail.
        let _ = write!(self.sql, " ORDER BY {order} LIMIT ?");
        self.values.push((i64::from(limit) + 1).into());
        (self.sql, self.values)
    }
}
