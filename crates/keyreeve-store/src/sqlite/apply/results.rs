//! Changes to remembered answers.

use jiff::Timestamp;
use keyreeve_core::{key::KeyId, name::ProjectName};
use keyreeve_engine::store::{CommitError, IdempotentResult, Kind};
use rusqlite::{Connection, params};

use crate::{
    millis,
    sqlite::failure::{Refusal, Violated, violated},
};

pub(super) fn remember(
    connection: &Connection,
    project: &ProjectName,
    result: &IdempotentResult,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO idempotent_results (project, lookup, fingerprint, key_id, sealed, at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let written = connection.prepare_cached(sql)?.execute(params![
        project.as_str(),
        result.lookup,
        result.fingerprint,
        result.key.as_str(),
        result.sealed,
        millis::floor(result.at),
    ]);
    match written {
        Ok(_) => Ok(()),
        Err(error) => Err(match violated(&error) {
            Some(Violated::Uniqueness) => CommitError::AlreadyExists(Kind::IdempotentResult).into(),
            Some(Violated::Reference) => CommitError::NotFound(Kind::Project).into(),
            None => error.into(),
        }),
    }
}

/// Forgets what was answered when this key was made. No index is kept for it: answers are few,
/// and gone long before most keys are.
pub(super) fn forget_key(
    connection: &Connection,
    project: &ProjectName,
    id: KeyId,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM idempotent_results WHERE project = ?1 AND key_id = ?2";
    connection.prepare_cached(sql)?.execute([project.as_str(), id.as_str()])?;
    Ok(())
}

pub(super) fn forget_before(connection: &Connection, time: Timestamp) -> Result<(), Refusal> {
    let sql = "DELETE FROM idempotent_results WHERE at < ?1";
    connection.prepare_cached(sql)?.execute([millis::ceil(time)])?;
    Ok(())
}
