//! The schema, step by step. Steps are never changed, only added.

use rusqlite::{Connection, TransactionBehavior};

use super::connection::APPLICATION_ID;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_policies.sql"),
    include_str!("migrations/0003_duties.sql"),
    include_str!("migrations/0004_vault.sql"),
    include_str!("migrations/0005_audit_blocks.sql"),
    include_str!("migrations/0006_calls.sql"),
    include_str!("migrations/0007_call_units.sql"),
    include_str!("migrations/0008_webhooks.sql"),
    include_str!("migrations/0009_webhook_order.sql"),
];

/// The newest schema, which is the number of the last step.
pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Takes a database from schema `from` to the newest, each step in a transaction of its own.
pub(super) fn run(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    let steps = (1..).zip(MIGRATIONS).filter(|(number, _)| *number > from);
    for (number, sql) in steps {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", number)?;
        tx.commit()?;
        tracing::debug!(store.schema = number, "migrated the database");
    }
    Ok(())
}
