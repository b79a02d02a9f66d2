//! What the vault keeps.

use std::sync::Arc;

use keyreeve_core::{model::Revision, name::ProjectName, vault::VersionNumber};
use keyreeve_engine::store::{
    Change, CommitError, Kind, RecordKind, SealedOf, SealedRow, VaultRecord,
};

use super::tables::{Draft, Tables};

/// Applies a change of the vault's.
pub(super) fn apply(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    change: &Change,
) -> Result<(), CommitError> {
    match change {
        Change::PutRecord(new) => put_record(draft, project, new)?,
        Change::DeleteRecord { kind, id, revision } => {
            delete_record(draft, project, *kind, id, *revision)?;
        }
        Change::PutSealed(row) => put_sealed(draft, project, row)?,
        Change::MoveSealed { row, from } => move_sealed(draft, project, row, *from),
        Change::DropSealed { secret, versions } => drop_sealed(draft, project, secret, versions),
        _ => {}
    }
    Ok(())
}

fn put_record(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    new: &Arc<VaultRecord>,
) -> Result<(), CommitError> {
    let key = (project.clone(), new.kind, new.id.clone());
    let stored = draft.tables().records.get(&key).map(|record| record.revision);
    if new.follows == 0 {
        if !draft.tables().projects.contains_key(project) {
            return Err(CommitError::NotFound(Kind::Project));
        }
        if stored.is_some() {
            return Err(CommitError::AlreadyExists(Kind::VaultRecord));
        }
    } else {
        let stored = stored.ok_or(CommitError::NotFound(Kind::VaultRecord))?;
        if stored != new.follows {
            return Err(CommitError::ChangedMeanwhile(Kind::VaultRecord));
        }
    }
    draft.put(|t| &mut t.records, key, new.clone());
    Ok(())
}

fn delete_record(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    kind: RecordKind,
    id: &Arc<str>,
    revision: Revision,
) -> Result<(), CommitError> {
    let key = (project.clone(), kind, id.clone());
    let stored = draft.tables().records.get(&key).map(|record| record.revision);
    match stored {
        None => Err(CommitError::NotFound(Kind::VaultRecord)),
        Some(stored) if stored != revision => Err(CommitError::ChangedMeanwhile(Kind::VaultRecord)),
        Some(_) => {
            draft.remove(|t| &mut t.records, key);
            Ok(())
        }
    }
}

fn put_sealed(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    row: &SealedRow,
) -> Result<(), CommitError> {
    if !draft.tables().projects.contains_key(project) {
        return Err(CommitError::NotFound(Kind::Project));
    }
    let key = (project.clone(), row.secret.clone(), row.version);
    if draft.tables().sealed.contains_key(&key) {
        return Err(CommitError::AlreadyExists(Kind::SealedVersion));
    }
    draft.put(|t| &mut t.sealed, key, row.sealed.clone());
    Ok(())
}

fn move_sealed(draft: &mut Draft<'_>, project: &ProjectName, row: &SealedRow, from: u32) {
    let key = (project.clone(), row.secret.clone(), row.version);
    let stored = draft.tables().sealed.get(&key);
    if stored.is_some_and(|sealed| sealed.key_number() == from) {
        draft.put(|t| &mut t.sealed, key, row.sealed.clone());
    }
}

fn drop_sealed(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    secret: &Arc<str>,
    versions: &[VersionNumber],
) {
    for version in versions {
        draft.remove(|t| &mut t.sealed, (project.clone(), secret.clone(), *version));
    }
}

pub(super) fn under_other_keys(tables: &Tables, key: u32, limit: u32) -> Vec<SealedOf> {
    let others = tables.sealed.iter().filter(|(_, sealed)| sealed.key_number() != key);
    let others = others.take(limit as usize).map(|((project, secret, version), sealed)| SealedOf {
        project: project.clone(),
        row: SealedRow { secret: secret.clone(), version: *version, sealed: sealed.clone() },
    });
    others.collect()
}
