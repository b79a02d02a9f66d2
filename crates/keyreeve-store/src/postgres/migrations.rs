//! The schema, step by step. Steps are never changed, only added.

use keyreeve_engine::store::StoreError;

use super::{open_error::OpenError, session::PostgresSession};
use crate::sql::{
    failure::Broken,
    query,
    session::{Session as _, values},
};

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_duties.sql"),
    include_str!("migrations/0003_vault.sql"),
    include_str!("migrations/0004_audit_blocks.sql"),
    include_str!("migrations/0005_calls.sql"),
    include_str!("migrations/0006_call_units.sql"),
    include_str!("migrations/0007_webhooks.sql"),
    include_str!("migrations/0008_webhook_order.sql"),
];

/// "KRV1": the lock under which one node at a time looks after the schema.
pub(super) const LOCK: i64 = 0x4B52_5631;

/// The newest schema, which is the number of the last step.
pub(super) fn newest() -> u64 {
    u64::try_from(MIGRATIONS.len()).unwrap_or(u64::MAX)
}

/// Brings the database to the newest schema. Of several nodes that start at once, one does the
/// work and the others wait for it.
pub(super) fn run(session: &mut PostgresSession, place: &str) -> Result<(), OpenError> {
    let unreachable = |broken: Broken| OpenError::unreachable(place, StoreError::from(broken));
    session.begin("BEGIN").map_err(unreachable)?;
    let found = lock(session).map_err(unreachable)?;
    let known = newest();
    if found > known {
        session.roll_back();
        return Err(OpenError::Newer { place: place.to_owned(), found, known });
    }
    for (number, sql) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        migrate(session, number, sql).map_err(unreachable)?;
    }
    session.commit().map_err(unreachable)
}

/// Keeps other nodes away until the end of the transaction; gives the schema found.
fn lock(session: &mut PostgresSession) -> Result<u64, Broken> {
    session.execute("SELECT pg_advisory_xact_lock(?1)", &values![LOCK])?;
    session.run("CREATE TABLE IF NOT EXISTS keyreeve_schema (version BIGINT NOT NULL)")?;
    let newest = "SELECT coalesce(max(version), 0) FROM keyreeve_schema";
    Ok(query::number(session, newest, &[])?.unwrap_or_default())
}

fn migrate(session: &mut PostgresSession, number: u64, sql: &str) -> Result<(), Broken> {
    session.run(sql)?;
    let insert = "INSERT INTO keyreeve_schema (version) VALUES (?1)";
    session.execute(insert, &values![query::count(number)])?;
    tracing::debug!(store.schema = number, "migrated the database");
    Ok(())
}
