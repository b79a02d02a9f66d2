//! A PostgreSQL database as one side of a copy.

use std::path::PathBuf;

use keyreeve_core::Secret;
use keyreeve_engine::store::StoreError;

use super::{connection::Server, migrations, open_error::OpenError, session::PostgresSession};
use crate::sql::{
    failure::Broken,
    query,
    session::{Transacting, values},
};

/// Counting a large table takes its time.
const PATIENCE: &str = "SET statement_timeout = '30min'; \
                        SET idle_in_transaction_session_timeout = '5min'";

/// A database to read.
pub(crate) fn open_source(
    url: &Secret<String>,
    authorities: Option<&PathBuf>,
) -> Result<Box<dyn Transacting + Send>, OpenError> {
    let (mut session, place) = connect(url, authorities)?;
    let sql = "SELECT 1 FROM information_schema.tables WHERE table_name = 'audit_state'";
    let unreachable = |broken: Broken| OpenError::unreachable(&place, StoreError::from(broken));
    if !query::exists(&mut session, sql, &[]).map_err(unreachable)? {
        return Err(OpenError::Empty { place });
    }
    Ok(Box::new(session))
}

/// A database to write, brought to the newest schema. While the session lasts, no node can start on
/// it.
pub(crate) fn open_target(
    url: &Secret<String>,
    authorities: Option<&PathBuf>,
) -> Result<Box<dyn Transacting + Send>, OpenError> {
    let (mut session, place) = connect(url, authorities)?;
    migrations::run(&mut session, &place)?;
    let unreachable = |broken: Broken| OpenError::unreachable(&place, StoreError::from(broken));
    let alone = claim(&mut session).map_err(unreachable)?;
    if alone { Ok(Box::new(session)) } else { Err(OpenError::InUse { place }) }
}

fn connect(
    url: &Secret<String>,
    authorities: Option<&PathBuf>,
) -> Result<(PostgresSession, String), OpenError> {
    // EXPOSE: parsed for its parts; the password goes to the server and nowhere else.
    let server = Server::at(url.expose(), authorities)?;
    let place = server.place();
    let mut session = PostgresSession::connected(server)
        .map_err(|error| OpenError::unreachable(&place, error))?;
    session
        .run(PATIENCE)
        .map_err(|broken| OpenError::unreachable(&place, StoreError::from(broken)))?;
    Ok((session, place))
}

/// Keeps nodes from starting, and says whether none is running.
fn claim(session: &mut PostgresSession) -> Result<bool, Broken> {
    let sql = "SELECT CAST(pg_try_advisory_lock(?1) AS INTEGER)";
    if query::number(session, sql, &values![migrations::LOCK])? != Some(1) {
        return Ok(false);
    }
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name = 'keyreeve' AND pid <> pg_backend_pid()";
    Ok(query::number(session, sql, &[])? == Some(0))
}
