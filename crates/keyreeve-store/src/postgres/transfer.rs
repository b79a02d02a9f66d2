//! A PostgreSQL database as one side of a copy.

use std::{cmp::Ordering, path::PathBuf, thread, time::Duration};

use keyreeve_core::Secret;
use keyreeve_engine::store::StoreError;

use super::{connection::Server, migrations, open_error::OpenError, session::PostgresSession};
use crate::sql::{
    failure::Broken,
    query,
    session::{Transacting, values},
};

/// How often it is asked whether the database is free, and how long each time is waited.
const MOST_TRIES: u32 = 15;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Counting a large table takes its time. The name tells this from a node.
const PATIENCE: &str = "SET application_name = 'keyreeve copy'; SET statement_timeout = '30min'; \
                        SET idle_in_transaction_session_timeout = '5min'";

/// A database to read.
pub(crate) fn open_source(
    url: &Secret<String>,
    authorities: Option<&PathBuf>,
) -> Result<Box<dyn Transacting + Send>, OpenError> {
    let (mut session, place) = connect(url, authorities)?;
    let unreachable = |broken: Broken| OpenError::unreachable(&place, StoreError::from(broken));
    let sql = "SELECT 1 WHERE to_regclass('keyreeve_schema') IS NOT NULL";
    if !query::exists(&mut session, sql, &[]).map_err(unreachable)? {
        return Err(OpenError::Empty { place });
    }
    let newest = "SELECT coalesce(max(version), 0) FROM keyreeve_schema";
    let found = query::number(&mut session, newest, &[]).map_err(unreachable)?.unwrap_or_default();
    let known = migrations::newest();
    match found.cmp(&known) {
        Ordering::Equal => Ok(Box::new(session)),
        Ordering::Less => Err(OpenError::Older { place, found, known }),
        Ordering::Greater => Err(OpenError::Newer { place, found, known }),
    }
}

/// A database to write, brought to the newest schema. While the session lasts, no node can start on
/// it.
pub(crate) fn open_target(
    url: &Secret<String>,
    authorities: Option<&PathBuf>,
) -> Result<Box<dyn Transacting + Send>, OpenError> {
    let (mut session, place) = connect(url, authorities)?;
    let unreachable = |broken: Broken| OpenError::unreachable(&place, StoreError::from(broken));
    let mut tries = 0;
    // Before anything is changed.
    while !claim(&mut session).map_err(unreachable)? {
        tries += 1;
        if tries == MOST_TRIES {
            return Err(OpenError::InUse { place });
        }
        // One that has just been stopped may still be letting go.
        thread::sleep(BETWEEN_TRIES);
    }
    migrations::run(&mut session, &place)?;
    Ok(Box::new(session))
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
