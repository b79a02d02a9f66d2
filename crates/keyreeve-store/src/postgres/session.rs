//! PostgreSQL as the shared statements see it.

use std::{collections::HashMap, fmt::Write as _};

use bytes::{BufMut as _, BytesMut};
use futures_util::TryStreamExt as _;
use keyreeve_engine::store::StoreError;
use tokio_postgres::{
    Error, Row, Statement,
    error::{DbError, Severity, SqlState},
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::connection::{Link, Server};
use crate::sql::{
    columns::{Cell, Cells, Columns},
    failure::{Broken, Failed, Violated},
    session::{Dialect, Session, TakeRow, Transacting, Value},
};

static POSTGRESQL: Dialect = Dialect {
    larger: "greatest",
    now_ms: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    ordered_join: "JOIN",
};

/// The most statements kept prepared per connection.
const KEPT_STATEMENTS: usize = 256;

/// A connection that is made anew when it broke, unless a transaction is open on it.
pub(super) struct PostgresSession {
    server: Server,
    link: Option<Link>,
    statements: HashMap<String, Statement>,
    /// To what a violated constraint takes the transaction back.
    savepoint: Option<&'static str>,
    in_transaction: bool,
    /// Whether there is a mark that was passed and is still there.
    marked: bool,
    /// How often it connected.
    connections: u64,
}

impl PostgresSession {
    /// A session that connects when it is first used.
    pub(super) fn new(server: Server) -> Self {
        let statements = HashMap::new();
        Self {
            server,
            link: None,
            statements,
            savepoint: None,
            in_transaction: false,
            marked: false,
            connections: 0,
        }
    }

    /// A connected session.
    pub(super) fn connected(server: Server) -> Result<Self, Error> {
        let mut session = Self::new(server);
        session.link()?;
        Ok(session)
    }

    /// The connection, made if there is none.
    pub(super) fn link(&mut self) -> Result<&Link, Error> {
        if !self.in_transaction && self.link.as_ref().is_some_and(|link| link.client.is_closed()) {
            self.disconnect();
        }
        match &mut self.link {
            Some(link) => Ok(link),
            empty => {
                let link = self.server.connect()?;
                self.connections += 1;
                Ok(empty.insert(link))
            }
        }
    }

    /// Sends statements without values.
    fn send(&mut self, sql: &str) -> Result<(), Error> {
        let link = self.link()?;
        link.wait(link.client.batch_execute(sql))
    }

    /// Lets go of the connection and of whatever was open on it.
    pub(super) fn disconnect(&mut self) {
        self.link = None;
        self.statements.clear();
        self.ended();
    }

    /// Connects if need be; gives the number of the connection.
    pub(super) fn connection_number(&mut self) -> Result<u64, Error> {
        self.link()?;
        Ok(self.connections)
    }

    fn ended(&mut self) {
        self.savepoint = None;
        self.in_transaction = false;
        self.marked = false;
    }

    /// Tells those who wait for news that there are some.
    pub(super) fn wake_listeners(&self) {
        self.server.news.notify_one();
    }

    /// Begins a transaction with this statement.
    pub(super) fn begin(&mut self, sql: &str) -> Result<(), Broken> {
        let mut begun = self.send(sql);
        if begun.as_ref().is_err_and(ended_connection) {
            // The server went away since the last time; nothing was done yet.
            self.disconnect();
            begun = self.send(sql);
        }
        begun.map_err(failed)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Ends the transaction, with this before the end. If this fails, nobody here can tell whether
    /// it is durable.
    pub(super) fn commit_after(&mut self, last: &str) -> Result<(), Broken> {
        let committed = self.send(&format!("{last}; COMMIT"));
        self.ended();
        committed.map_err(failed)
    }

    /// Ends the transaction.
    pub(super) fn commit(&mut self) -> Result<(), Broken> {
        let committed = self.send("COMMIT");
        self.ended();
        committed.map_err(failed)
    }

    /// Undoes the transaction. A connection that cannot even do that is let go of, which undoes it.
    pub(super) fn roll_back(&mut self) {
        let undone = self.send("ROLLBACK");
        self.ended();
        if undone.is_err() {
            self.disconnect();
        }
    }

    /// Marks a place in the transaction, to which a violated constraint takes it back.
    pub(super) fn mark(&mut self) -> Result<(), Broken> {
        // One question to the server for the old mark and the new one.
        let sql = if self.marked {
            "RELEASE SAVEPOINT one_unit; SAVEPOINT one_unit"
        } else {
            "SAVEPOINT one_unit"
        };
        self.run(sql)?;
        self.marked = true;
        self.savepoint = Some("ROLLBACK TO SAVEPOINT one_unit");
        Ok(())
    }

    /// Takes the transaction back to the mark.
    pub(super) fn back_to_mark(&mut self) -> Result<(), Broken> {
        self.savepoint = None;
        self.marked = false;
        self.run("ROLLBACK TO SAVEPOINT one_unit; RELEASE SAVEPOINT one_unit")
    }

    /// Passes the mark: nothing goes back to it any more.
    pub(super) fn pass_mark(&mut self) {
        self.savepoint = None;
    }

    /// Runs statements without values.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), Broken> {
        self.send(sql).map_err(failed)
    }

    /// The statement, prepared. Values whose type the server cannot tell from their place have it
    /// said.
    fn prepared(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Statement, Error> {
        // Before a statement of another connection can be taken for one of this.
        self.link()?;
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<Type> = values.iter().map(type_of).collect();
        let link = self.link()?;
        let statement = link.wait(link.client.prepare_typed(&numbered(sql), &types))?;
        if self.statements.len() >= KEPT_STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Session for PostgresSession {
    fn dialect(&self) -> &'static Dialect {
        &POSTGRESQL
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Failed> {
        let statement = self.prepared(sql, values).map_err(failed).map_err(Failed::Broken)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let link = self.link().map_err(failed).map_err(Failed::Broken)?;
        match link.wait(link.client.execute(&statement, &values)) {
            Ok(changed) => Ok(changed),
            Err(error) => match violated(&error) {
                Some(violated) => {
                    // Else the server would refuse even to say what is missing.
                    if let Some(back) = self.savepoint {
                        self.run(back).map_err(Failed::Broken)?;
                    }
                    Err(Failed::Violated(violated))
                }
                None => Err(Failed::Broken(failed(error))),
            },
        }
    }

    fn each(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        take: &mut TakeRow<'_>,
    ) -> Result<(), Broken> {
        let mut begun = false;
        let mut counted = |columns: &mut Columns<'_>| {
            begun = true;
            take(columns)
        };
        match self.stream(sql, values, &mut counted) {
            // The server went away since the last time: once more, on a new connection.
            Err(Broke::Connection(error))
                if ended_connection(&error) && !begun && !self.in_transaction =>
            {
                self.disconnect();
                Ok(self.stream(sql, values, take)?)
            }
            streamed => Ok(streamed?),
        }
    }
}

impl Transacting for PostgresSession {
    fn begin_snapshot(&mut self) -> Result<(), Broken> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn begin_writing(&mut self) -> Result<(), Broken> {
        self.begin("BEGIN")?;
        if self.connections > 1 {
            self.roll_back();
            // Whatever was locked on the first one is not any more.
            return Err(StoreError::Backend("the connection to the database broke".into()).into());
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Broken> {
        Self::commit(self)
    }
}

/// Why rows stopped coming.
enum Broke {
    Connection(Error),
    Row(Broken),
}

impl From<Broke> for Broken {
    fn from(broke: Broke) -> Self {
        match broke {
            Broke::Connection(error) => failed(error),
            Broke::Row(broken) => broken,
        }
    }
}

impl PostgresSession {
    fn stream(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        take: &mut TakeRow<'_>,
    ) -> Result<(), Broke> {
        let statement = self.prepared(sql, values).map_err(Broke::Connection)?;
        let link = self.link().map_err(Broke::Connection)?;
        link.wait(async {
            let rows = link.client.query_raw(&statement, values).await;
            let mut rows = std::pin::pin!(rows.map_err(Broke::Connection)?);
            while let Some(row) = rows.try_next().await.map_err(Broke::Connection)? {
                take(&mut Columns::of(&row)).map_err(Broke::Row)?;
            }
            Ok(())
        })
    }
}

impl Cells for Row {
    fn cell(&self, number: usize) -> Result<Cell<'_>, Broken> {
        let Some(column) = self.columns().get(number) else {
            return Err(Broken::damaged("a row has too few columns"));
        };
        Ok(match *column.type_() {
            Type::INT8 => cell(self.try_get(number), Cell::Number)?,
            Type::INT4 => cell(self.try_get::<_, Option<i32>>(number), |n| Cell::Number(n.into()))?,
            Type::TEXT => cell(self.try_get(number), Cell::Text)?,
            Type::BYTEA => cell(self.try_get(number), Cell::Bytes)?,
            _ => Cell::Other,
        })
    }

    fn width(&self) -> usize {
        self.len()
    }

    fn name(&self, number: usize) -> String {
        self.columns().get(number).map_or("?", |column| column.name()).to_owned()
    }
}

fn cell<'r, T>(
    value: Result<Option<T>, Error>,
    cell: impl FnOnce(T) -> Cell<'r>,
) -> Result<Cell<'r>, Broken> {
    Ok(value.map_err(failed)?.map_or(Cell::Null, cell))
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Number(number) if *ty == Type::INT4 => out.put_i32(i32::try_from(*number)?),
            Self::Number(number) => out.put_i64(*number),
            Self::Text(text) => out.put_slice(text.as_bytes()),
            Self::Bytes(bytes) => out.put_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

fn type_of(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Number(_) => Type::INT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
    }
}

/// The statement as PostgreSQL writes it: `$1` for `?1`, and numbers where there are none.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (number, part) in (1..).zip(parts) {
        text.push('$');
        if !part.starts_with(|first: char| first.is_ascii_digit()) {
            // Writing into a string cannot fail.
            let _ = write!(text, "{number}");
        }
        text.push_str(part);
    }
    text
}

/// The violated constraint, if that is what the error is about.
fn violated(error: &Error) -> Option<Violated> {
    match error.code()? {
        code if *code == SqlState::UNIQUE_VIOLATION => Some(Violated::Uniqueness),
        code if *code == SqlState::FOREIGN_KEY_VIOLATION => Some(Violated::Reference),
        _ => None,
    }
}

/// Whether the connection ended with this error.
fn ended_connection(error: &Error) -> bool {
    let last_word = |error: &DbError| {
        matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
    };
    error.is_closed() || error.as_db_error().is_some_and(last_word)
}

/// Whether to try again may help: others were in the way, or the server is away for a moment.
fn is_worth_another_try(error: &Error) -> bool {
    let Some(code) = error.code() else {
        // Not the server's word: the connection's.
        return true;
    };
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ]
    .contains(code)
}

/// What the server or the connection says. Not what was in the row, which the server is glad to
/// tell: that may be anybody's.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct DatabaseFailure {
    text: String,
    /// Whether to try again may help.
    pub(super) again: bool,
}

/// The failure as the store knows it.
#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
pub(super) fn failed(error: Error) -> Broken {
    let again = is_worth_another_try(&error);
    let text = match error.as_db_error() {
        Some(said) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        None => match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    };
    StoreError::Backend(Box::new(DatabaseFailure { text, again })).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_marks_become_numbers() {
        assert_eq!(numbered("a = ?2 AND b = ?1"), "a = $2 AND b = $1");
        assert_eq!(numbered("a = ? AND b IN (?, ?) LIMIT ?"), "a = $1 AND b IN ($2, $3) LIMIT $4");
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
    }
}
