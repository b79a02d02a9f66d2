//! What the vault keeps.

use std::sync::Arc;

use keyreeve_core::{
    name::ProjectName,
    vault::{SealedVersion, VersionNumber},
};
use keyreeve_engine::store::{
    Change, ChangeSink, CommitError, Kind, RecordKind, SealedOf, SealedRow, VaultRecord,
};

use super::{
    columns::Columns,
    failure::{Broken, Failed, Refusal, Violated},
    query,
    session::{Session, Value, values},
};

const RECORD: &str = "kind, id, revision, key, tag, body";

fn read_record(columns: &mut Columns<'_>) -> Result<Option<VaultRecord>, Broken> {
    let Some(kind) = RecordKind::from_stored(columns.text()?) else { return Ok(None) };
    Ok(Some(VaultRecord {
        kind,
        id: columns.text()?.into(),
        revision: columns.count()?,
        follows: 0,
        key: key_number(columns)?,
        tag: columns.bytes_32()?,
        body: columns.text()?.to_owned(),
    }))
}

/// A number that no key has becomes 0, which no key has either: the record shows as tampered with
/// when it is looked at, and nothing else suffers.
fn key_number(columns: &mut Columns<'_>) -> Result<u32, Broken> {
    Ok(u32::try_from(columns.number()?).unwrap_or(0))
}

fn read_sealed(columns: &mut Columns<'_>) -> Result<SealedVersion, Broken> {
    let bytes = columns.bytes()?.to_vec();
    SealedVersion::from_bytes(bytes).map_err(|_| columns.damaged())
}

pub(crate) fn record(
    session: &mut dyn Session,
    project: &ProjectName,
    kind: RecordKind,
    id: &str,
) -> Result<Option<VaultRecord>, Broken> {
    let sql =
        format!("SELECT {RECORD} FROM vault_records WHERE project = ?1 AND kind = ?2 AND id = ?3");
    let values = values![project.as_str(), kind.as_str(), id];
    Ok(query::first(session, &sql, &values, read_record)?.flatten())
}

pub(crate) fn sealed(
    session: &mut dyn Session,
    project: &ProjectName,
    secret: &str,
    version: VersionNumber,
) -> Result<Option<Vec<u8>>, Broken> {
    let sql = "SELECT sealed FROM vault_versions
               WHERE project = ?1 AND secret = ?2 AND version = ?3";
    let values = values![project.as_str(), secret, query::count(version)];
    query::first(session, sql, &values, |columns| Ok(columns.bytes()?.to_vec()))
}

pub(crate) fn sealed_under_other_keys(
    session: &mut dyn Session,
    key: u32,
    limit: u32,
) -> Result<Vec<SealedOf>, Broken> {
    let sql = "SELECT project, secret, version, sealed FROM vault_versions
               WHERE key <> ?1 ORDER BY project, secret, version LIMIT ?2";
    query::all(session, sql, &values![key, limit], |columns| {
        Ok(SealedOf {
            project: columns.parsed()?,
            row: SealedRow {
                secret: columns.text()?.into(),
                version: columns.count()?,
                sealed: read_sealed(columns)?,
            },
        })
    })
}

/// Tells the sink every record.
pub(crate) fn replay(session: &mut dyn Session, sink: &dyn ChangeSink) -> Result<(), Broken> {
    let sql = format!("SELECT project, {RECORD} FROM vault_records ORDER BY project, kind, id");
    session.each(&sql, &[], &mut |columns| {
        let project: ProjectName = columns.parsed()?;
        // A kind that nobody knows is nobody's record: it is as if it were not there.
        if let Some(record) = read_record(columns)? {
            sink.apply(&project, &Change::PutRecord(Arc::new(record)));
        }
        Ok(())
    })
}

pub(crate) fn put_record(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &VaultRecord,
) -> Result<(), Refusal> {
    let values = values![
        project.as_str(),
        new.kind.as_str(),
        &*new.id,
        query::count(new.revision),
        new.key,
        &new.tag,
        &new.body,
    ];
    if new.follows == 0 {
        let sql = "INSERT INTO vault_records (project, kind, id, revision, key, tag, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        return created(session.execute(sql, &values), Kind::VaultRecord);
    }
    let sql = "UPDATE vault_records SET revision = ?4, key = ?5, tag = ?6, body = ?7
               WHERE project = ?1 AND kind = ?2 AND id = ?3 AND revision = ?8";
    let follows = [Value::from(query::count(new.follows))];
    if session.execute(sql, &[values.as_slice(), &follows].concat())? == 1 {
        return Ok(());
    }
    Err(missed(session, project, new.kind, &new.id)?)
}

pub(crate) fn delete_record(
    session: &mut dyn Session,
    project: &ProjectName,
    kind: RecordKind,
    id: &str,
    revision: u64,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM vault_records
               WHERE project = ?1 AND kind = ?2 AND id = ?3 AND revision = ?4";
    let values = values![project.as_str(), kind.as_str(), id, query::count(revision)];
    if session.execute(sql, &values)? == 1 {
        return Ok(());
    }
    Err(missed(session, project, kind, id)?)
}

/// Why no record of that revision was there.
fn missed(
    session: &mut dyn Session,
    project: &ProjectName,
    kind: RecordKind,
    id: &str,
) -> Result<Refusal, Broken> {
    let found = record(session, project, kind, id)?.is_some();
    Ok(if found {
        CommitError::ChangedMeanwhile(Kind::VaultRecord).into()
    } else {
        CommitError::NotFound(Kind::VaultRecord).into()
    })
}

pub(crate) fn put_sealed(
    session: &mut dyn Session,
    project: &ProjectName,
    row: &SealedRow,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO vault_versions (project, secret, version, key, sealed)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = values![
        project.as_str(),
        &*row.secret,
        query::count(row.version),
        row.sealed.key_number(),
        row.sealed.as_bytes(),
    ];
    created(session.execute(sql, &values), Kind::SealedVersion)
}

pub(crate) fn move_sealed(
    session: &mut dyn Session,
    project: &ProjectName,
    row: &SealedRow,
    from: u32,
) -> Result<(), Refusal> {
    let sql = "UPDATE vault_versions SET key = ?4, sealed = ?5
               WHERE project = ?1 AND secret = ?2 AND version = ?3 AND key = ?6";
    let values = values![
        project.as_str(),
        &*row.secret,
        query::count(row.version),
        row.sealed.key_number(),
        row.sealed.as_bytes(),
        from,
    ];
    session.execute(sql, &values)?;
    Ok(())
}

pub(crate) fn drop_sealed(
    session: &mut dyn Session,
    project: &ProjectName,
    secret: &str,
    versions: &[VersionNumber],
) -> Result<(), Refusal> {
    let sql = "DELETE FROM vault_versions WHERE project = ?1 AND secret = ?2 AND version = ?3";
    for version in versions {
        session.execute(sql, &values![project.as_str(), secret, query::count(*version)])?;
    }
    Ok(())
}

fn created(outcome: Result<u64, Failed>, kind: Kind) -> Result<(), Refusal> {
    match outcome {
        Ok(_) => Ok(()),
        Err(Failed::Violated(Violated::Uniqueness)) => Err(CommitError::AlreadyExists(kind).into()),
        Err(Failed::Violated(Violated::Reference)) => {
            Err(CommitError::NotFound(Kind::Project).into())
        }
        Err(Failed::Broken(broken)) => Err(broken.into()),
    }
}
