//! SQLite as the shared statements see it.

use rusqlite::{
    Connection, ErrorCode, Row, ToSql, ffi, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};

use keyreeve_engine::store::StoreError;

use crate::sql::{
    columns::{Cell, Cells, Columns},
    failure::{Broken, Failed, Violated},
    session::{Dialect, Session, TakeRow, Transacting, Value},
};

/// SQLite's own words. `CROSS JOIN` makes it take the tables in this order.
static SQLITE: Dialect = Dialect {
    larger: "max",
    now_ms: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    ordered_join: "CROSS JOIN",
};

impl Session for &Connection {
    fn dialect(&self) -> &'static Dialect {
        &SQLITE
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Failed> {
        let changed = self.prepare_cached(sql)?.execute(params_from_iter(values))?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    fn each(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        take: &mut TakeRow<'_>,
    ) -> Result<(), Broken> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            take(&mut Columns::of(row))?;
        }
        Ok(())
    }
}

/// A connection of one's own.
impl Session for Connection {
    fn dialect(&self) -> &'static Dialect {
        (&self).dialect()
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Failed> {
        Session::execute(&mut &*self, sql, values)
    }

    fn each(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        take: &mut TakeRow<'_>,
    ) -> Result<(), Broken> {
        (&mut &*self).each(sql, values, take)
    }
}

impl Transacting for Connection {
    fn begin_snapshot(&mut self) -> Result<(), Broken> {
        self.execute_batch("BEGIN")?;
        // The moment is that of the first look.
        Ok(self.query_row("SELECT count(*) FROM audit_state", [], |_| Ok(()))?)
    }

    fn begin_writing(&mut self) -> Result<(), Broken> {
        Ok(self.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn commit(&mut self) -> Result<(), Broken> {
        Ok(self.execute_batch("COMMIT")?)
    }
}

impl Cells for Row<'_> {
    fn cell(&self, number: usize) -> Result<Cell<'_>, Broken> {
        Ok(match self.get_ref(number)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Number(number),
            ValueRef::Text(text) => str::from_utf8(text).map_or(Cell::Other, Cell::Text),
            ValueRef::Blob(bytes) => Cell::Bytes(bytes),
            ValueRef::Real(_) => Cell::Other,
        })
    }

    fn width(&self) -> usize {
        self.as_ref().column_count()
    }

    fn name(&self, number: usize) -> String {
        let statement: &rusqlite::Statement<'_> = self.as_ref();
        statement.column_name(number).unwrap_or("?").to_owned()
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Number(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<rusqlite::Error> for Broken {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::damaged(error.to_string())
            }
            _ => StoreError::Backend(Box::new(error)).into(),
        }
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_extended_error_code() {
            Some(
                ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                | ffi::SQLITE_CONSTRAINT_ROWID
                | ffi::SQLITE_CONSTRAINT_UNIQUE,
            ) => Self::Violated(Violated::Uniqueness),
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::Violated(Violated::Reference),
            _ => Self::Broken(error.into()),
        }
    }
}
