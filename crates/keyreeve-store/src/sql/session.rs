//! A connection to a database, as the statements of this folder see it.

use std::borrow::Cow;

use super::{
    columns::Columns,
    failure::{Broken, Failed},
};

/// What differs between the databases in statements that are otherwise the same.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// The function that gives the larger of two values.
    pub(crate) larger: &'static str,
    /// The database's time in whole milliseconds since 1970.
    pub(crate) now_ms: &'static str,
    /// A join that walks along its left side, as far as that can be said.
    pub(crate) ordered_join: &'static str,
}

/// Takes a row at a time.
pub(crate) type TakeRow<'t> = dyn FnMut(&mut Columns<'_>) -> Result<(), Broken> + 't;

/// Runs statements. Values stand as `?1`, `?2`, …, or as `?` in their order.
pub(crate) trait Session {
    /// How this database says what others say otherwise.
    fn dialect(&self) -> &'static Dialect;

    /// Runs a statement; gives how many rows it changed.
    ///
    /// After a violated constraint all that the unit at hand did before may be undone.
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Failed>;

    /// Calls `take` with each row of a query.
    fn each(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        take: &mut TakeRow<'_>,
    ) -> Result<(), Broken>;
}

/// A session of one's own, on which transactions are begun and ended.
pub(crate) trait Transacting: Session {
    /// What is read from now on is as it is now, whatever others do.
    fn begin_snapshot(&mut self) -> Result<(), Broken>;

    /// What is written from now on is durable at the end, all of it or nothing.
    fn begin_writing(&mut self) -> Result<(), Broken>;

    /// Ends the transaction.
    fn commit(&mut self) -> Result<(), Broken>;
}

/// A value to be stored or compared with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'v> {
    /// Nothing.
    Null,
    /// A number.
    Number(i64),
    /// Text.
    Text(Cow<'v, str>),
    /// Bytes.
    Bytes(Cow<'v, [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(text.into())
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'v> From<Cow<'v, str>> for Value<'v> {
    fn from(text: Cow<'v, str>) -> Self {
        Self::Text(text)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<'v> From<&'v [u8; 32]> for Value<'v> {
    fn from(bytes: &'v [u8; 32]) -> Self {
        Self::Bytes(bytes.as_slice().into())
    }
}

impl<'v> From<&'v Vec<u8>> for Value<'v> {
    fn from(bytes: &'v Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<'v, T: Into<Value<'v>>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The values of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::sql::session::Value::from($value)),*]
    };
}
pub(crate) use values;
