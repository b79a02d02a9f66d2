//! Changes to remembered answers.

use jiff::Timestamp;
use keyreeve_core::{key::KeyId, name::ProjectName};
use keyreeve_engine::store::{CommitError, IdempotentResult, Kind};

use crate::{
    millis,
    sql::{
        failure::{Failed, Refusal, Violated},
        session::{Session, values},
    },
};

pub(crate) fn remember(
    session: &mut dyn Session,
    project: &ProjectName,
    result: &IdempotentResult,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO idempotent_results (project, lookup, fingerprint, key_id, sealed, at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let written = session.execute(
        sql,
        &values![
            project.as_str(),
            &result.lookup,
            &result.fingerprint,
            result.key.as_str(),
            &result.sealed,
            millis::floor(result.at),
        ],
    );
    match written {
        Ok(_) => Ok(()),
        Err(Failed::Violated(Violated::Uniqueness)) => {
            Err(CommitError::AlreadyExists(Kind::IdempotentResult).into())
        }
        Err(Failed::Violated(Violated::Reference)) => {
            Err(CommitError::NotFound(Kind::Project).into())
        }
        Err(Failed::Broken(broken)) => Err(broken.into()),
    }
}

/// Forgets what was answered when this key was made. No index is kept for it: answers are few,
/// and gone long before most keys are.
pub(crate) fn forget_key(
    session: &mut dyn Session,
    project: &ProjectName,
    id: KeyId,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM idempotent_results WHERE project = ?1 AND key_id = ?2";
    session.execute(sql, &values![project.as_str(), id.as_str()])?;
    Ok(())
}

pub(crate) fn forget_before(session: &mut dyn Session, time: Timestamp) -> Result<(), Refusal> {
    let sql = "DELETE FROM idempotent_results WHERE at < ?1";
    session.execute(sql, &values![millis::ceil(time)])?;
    Ok(())
}
