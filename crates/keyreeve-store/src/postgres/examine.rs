//! Looking at a database without changing anything: for `keyreeve doctor`.

use keyreeve_core::Secret;
use keyreeve_engine::store::StoreError;

use super::{connection::Server, migrations, open_error::OpenError, session::PostgresSession};
use crate::sql::{query, session::Session as _};

/// The oldest server whose ways Keyreeve is made for.
pub const OLDEST_SERVER: u32 = 13;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examination {
    /// Where the database is, without the password.
    pub place: String,
    /// The server's own version, as its major number.
    pub server: u32,
    /// The schema found; 0 if the database is new.
    pub schema: u64,
    /// The newest schema that this program knows.
    pub known_schema: u64,
    /// The server's time in milliseconds since 1970.
    pub now_ms: i64,
    /// Entries in the audit log.
    pub entries: u64,
    /// The signed head over them, if there is one.
    pub checkpoint: Option<String>,
    /// Whether what is committed is on the disk when it is said to be.
    pub is_durable: bool,
}

/// Looks at the database at that URL. Blocks while it does.
///
/// # Errors
///
/// The server cannot be reached or refuses.
pub fn examine(
    url: &Secret<String>,
    authorities: Option<&std::path::PathBuf>,
) -> Result<Examination, OpenError> {
    // EXPOSE: parsed for its parts; the password goes to the server and nowhere else.
    let server = Server::at(url.expose(), authorities)?;
    let place = server.place();
    let mut session = PostgresSession::connected(server)
        .map_err(|error| OpenError::unreachable(&place, error))?;
    // Not a node.
    session
        .run("SET application_name = 'keyreeve doctor'")
        .map_err(|broken| OpenError::unreachable(&place, StoreError::from(broken)))?;
    look(&mut session, &place)
        .map_err(|broken| OpenError::unreachable(&place, StoreError::from(broken)))
}

fn look(
    session: &mut PostgresSession,
    place: &str,
) -> Result<Examination, crate::sql::failure::Broken> {
    let mut found = Examination {
        place: place.to_owned(),
        server: 0,
        schema: 0,
        known_schema: migrations::newest(),
        now_ms: 0,
        entries: 0,
        checkpoint: None,
        is_durable: false,
    };
    let sql = "SELECT current_setting('server_version_num')::BIGINT,
                   (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT,
                   (current_setting('fsync') = 'on')::INTEGER,
                   (to_regclass('keyreeve_schema') IS NOT NULL)::INTEGER";
    let mut has_schema = false;
    session.each(sql, &[], &mut |columns| {
        // 150004 is 15.4.
        found.server = u32::try_from(columns.number()? / 10_000).unwrap_or_default();
        found.now_ms = columns.number()?;
        found.is_durable = columns.number()? != 0;
        has_schema = columns.number()? != 0;
        Ok(())
    })?;
    if !has_schema {
        return Ok(found);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM keyreeve_schema";
    found.schema = query::number(session, newest, &[])?.unwrap_or_default();
    session.each("SELECT size, note FROM audit_state", &[], &mut |columns| {
        found.entries = columns.count()?;
        found.checkpoint = Some(columns.text()?.to_owned());
        Ok(())
    })?;
    Ok(found)
}
