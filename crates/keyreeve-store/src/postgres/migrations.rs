//! The schema, step by step. Steps are never changed, only added.

use postgres::Client;

use super::open_error::OpenError;

const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_initial.sql")];

/// "KRV1": the lock under which one node at a time looks after the schema.
const LOCK: i64 = 0x4B52_5631;

/// The newest schema, which is the number of the last step.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Brings the database to the newest schema. Of several nodes that start at once, one does the
/// work and the others wait for it.
pub(super) fn run(client: &mut Client, place: &str) -> Result<(), OpenError> {
    let unreachable = |error| OpenError::unreachable(place, error);
    let known = newest();
    let mut tx = client.transaction().map_err(unreachable)?;
    // Until the end of the transaction.
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).map_err(unreachable)?;
    tx.batch_execute("CREATE TABLE IF NOT EXISTS keyreeve_schema (version BIGINT NOT NULL)")
        .map_err(unreachable)?;
    let found = tx
        .query_one("SELECT coalesce(max(version), 0) FROM keyreeve_schema", &[])
        .and_then(|row| row.try_get::<_, i64>(0))
        .map_err(unreachable)?;
    if found > known {
        return Err(OpenError::Newer { place: place.to_owned(), found, known });
    }
    for (number, sql) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        tx.batch_execute(sql).map_err(unreachable)?;
        tx.execute("INSERT INTO keyreeve_schema (version) VALUES ($1)", &[&number])
            .map_err(unreachable)?;
        tracing::debug!(store.schema = number, "migrated the database");
    }
    tx.commit().map_err(unreachable)
}
