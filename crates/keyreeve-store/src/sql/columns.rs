//! Reading rows from left to right.

use std::str::FromStr;

use jiff::Timestamp;

use super::{failure::Broken, session::Value};

/// What stands in one column of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'r> {
    /// Nothing.
    Null,
    /// A number.
    Number(i64),
    /// Text.
    Text(&'r str),
    /// Bytes.
    Bytes(&'r [u8]),
    /// Anything else.
    Other,
}

/// A row as its database gives it.
pub(crate) trait Cells {
    /// What stands in the column of that number, from 0.
    fn cell(&self, number: usize) -> Result<Cell<'_>, Broken>;

    /// How many columns there are.
    fn width(&self) -> usize;

    /// What that column is called.
    fn name(&self, number: usize) -> String;
}

/// The columns of one row, in the order of the `SELECT`.
pub(crate) struct Columns<'r> {
    row: &'r dyn Cells,
    next: usize,
}

impl<'r> Columns<'r> {
    /// All columns of the row.
    pub(crate) fn of(row: &'r dyn Cells) -> Self {
        Self { row, next: 0 }
    }

    fn cell(&mut self) -> Result<Cell<'r>, Broken> {
        let cell = self.row.cell(self.next)?;
        self.next += 1;
        Ok(cell)
    }

    /// Leaves so many columns unread.
    pub(crate) fn pass_over(&mut self, columns: usize) {
        self.next += columns;
    }

    /// Text.
    pub(crate) fn text(&mut self) -> Result<&'r str, Broken> {
        match self.cell()? {
            Cell::Text(text) => Ok(text),
            _ => Err(self.damaged()),
        }
    }

    /// Text or nothing.
    pub(crate) fn maybe_text(&mut self) -> Result<Option<&'r str>, Broken> {
        match self.cell()? {
            Cell::Text(text) => Ok(Some(text)),
            Cell::Null => Ok(None),
            _ => Err(self.damaged()),
        }
    }

    /// Bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'r [u8], Broken> {
        match self.cell()? {
            Cell::Bytes(bytes) => Ok(bytes),
            _ => Err(self.damaged()),
        }
    }

    /// 32 bytes.
    pub(crate) fn bytes_32(&mut self) -> Result<[u8; 32], Broken> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| self.damaged())
    }

    /// 32 bytes, or none.
    pub(crate) fn maybe_bytes_32(&mut self) -> Result<Option<[u8; 32]>, Broken> {
        match self.cell()? {
            Cell::Bytes(bytes) => bytes.try_into().map(Some).map_err(|_| self.damaged()),
            Cell::Null => Ok(None),
            _ => Err(self.damaged()),
        }
    }

    /// All columns, whatever they hold.
    pub(crate) fn values(&mut self) -> Result<Vec<Value<'static>>, Broken> {
        let width = self.row.width();
        let value = |_| {
            Ok(match self.cell()? {
                Cell::Null => Value::Null,
                Cell::Number(number) => Value::Number(number),
                Cell::Text(text) => Value::Text(text.to_owned().into()),
                Cell::Bytes(bytes) => Value::Bytes(bytes.to_vec().into()),
                Cell::Other => return Err(self.damaged()),
            })
        };
        (0..width).map(value).collect()
    }

    /// A number.
    pub(crate) fn number(&mut self) -> Result<i64, Broken> {
        match self.cell()? {
            Cell::Number(number) => Ok(number),
            _ => Err(self.damaged()),
        }
    }

    /// A number or nothing.
    pub(crate) fn maybe_number(&mut self) -> Result<Option<i64>, Broken> {
        match self.cell()? {
            Cell::Number(number) => Ok(Some(number)),
            Cell::Null => Ok(None),
            _ => Err(self.damaged()),
        }
    }

    /// A number that counts something.
    pub(crate) fn count(&mut self) -> Result<u64, Broken> {
        let number = self.number()?;
        u64::try_from(number).map_err(|_| self.damaged())
    }

    /// A time.
    pub(crate) fn time(&mut self) -> Result<Timestamp, Broken> {
        let number = self.number()?;
        Timestamp::from_millisecond(number).map_err(|_| self.damaged())
    }

    /// A time or nothing.
    pub(crate) fn maybe_time(&mut self) -> Result<Option<Timestamp>, Broken> {
        let time = self.maybe_number()?.map(Timestamp::from_millisecond);
        time.transpose().map_err(|_| self.damaged())
    }

    /// Text that stands for a value.
    pub(crate) fn parsed<T: FromStr>(&mut self) -> Result<T, Broken> {
        let text = self.text()?;
        text.parse::<T>().map_err(|_| self.damaged())
    }

    /// Text that stands for a value, or nothing.
    pub(crate) fn maybe_parsed<T: FromStr>(&mut self) -> Result<Option<T>, Broken> {
        let value = self.maybe_text()?.map(str::parse::<T>);
        value.transpose().map_err(|_| self.damaged())
    }

    /// The column that was read last holds what it cannot hold.
    pub(crate) fn damaged(&self) -> Broken {
        let name = self.row.name(self.next.saturating_sub(1));
        Broken::damaged(format!("the column {name} holds what it cannot"))
    }
}
