//! Changes to keys.

use keyreeve_core::{
    key::{KeyDigest, KeyId},
    model::{ApiKey, Revision},
    name::{OwnerId, ProjectName, RoleName},
    role::BuiltinRole,
};
use keyreeve_engine::store::{CommitError, Kind, UsageDelta};
use rusqlite::{Connection, params};

use super::{claims, results};
use crate::{
    millis,
    sqlite::{
        failure::{Broken, Refusal, Violated, violated},
        key_rows::{self, KeyLists},
        query,
    },
};

pub(super) fn create(
    connection: &Connection,
    project: &ProjectName,
    new: &ApiKey,
) -> Result<(), Refusal> {
    if new.project != *project {
        return Err(CommitError::NotFound(Kind::Project).into());
    }
    let lists = KeyLists::of(new);
    if let Err(error) = key_rows::insert(connection, new, &lists) {
        return Err(match violated(&error) {
            Some(Violated::Uniqueness) => CommitError::AlreadyExists(Kind::ApiKey).into(),
            Some(Violated::Reference) => missing_reference(connection, new)?.into(),
            None => error.into(),
        });
    }
    check_roles(connection, project, &new.roles)?;
    let place = Place { project, created_at: millis::floor(new.created_at), id: new.id };
    link(connection, ROLES, &place, new.roles.iter().map(RoleName::as_str))?;
    link(connection, TAGS, &place, new.tags.as_slice().iter().map(String::as_str))
}

pub(super) fn update(
    connection: &Connection,
    project: &ProjectName,
    new: &ApiKey,
) -> Result<(), Refusal> {
    let stored = if new.project == *project { stored(connection, project, new.id)? } else { None };
    let stored = stored.ok_or(CommitError::NotFound(Kind::ApiKey))?;
    if stored.revision.checked_add(1) != Some(new.revision) {
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey).into());
    }
    if stored.keyspace != new.keyspace.as_str() {
        let keyspace = [project.as_str(), new.keyspace.as_str()];
        if !connection.prepare_cached(KEYSPACE_EXISTS)?.exists(keyspace)? {
            return Err(CommitError::NotFound(Kind::Keyspace).into());
        }
    }
    if !stored.is(new) {
        // Not the key that was read: what makes a key this key never changes.
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey).into());
    }
    let lists = KeyLists::of(new);
    match key_rows::update(connection, new, &lists) {
        Ok(()) => {}
        Err(error) if violated(&error) == Some(Violated::Reference) => {
            return Err(missing_reference(connection, new)?.into());
        }
        Err(error) => return Err(error.into()),
    }
    let place = Place { project, created_at: stored.created_at, id: new.id };
    if stored.lists.roles != lists.roles {
        check_roles(connection, project, &new.roles)?;
        unlink(connection, ROLES, &place, &stored.lists.roles)?;
        link(connection, ROLES, &place, new.roles.iter().map(RoleName::as_str))?;
    }
    if stored.lists.tags != lists.tags {
        unlink(connection, TAGS, &place, &stored.lists.tags)?;
        link(connection, TAGS, &place, new.tags.as_slice().iter().map(String::as_str))?;
    }
    Ok(())
}

pub(super) fn purge(
    connection: &Connection,
    project: &ProjectName,
    id: KeyId,
    revision: Revision,
) -> Result<(), Refusal> {
    let stored = stored(connection, project, id)?;
    let stored = stored.ok_or(CommitError::NotFound(Kind::ApiKey))?;
    if stored.revision != revision {
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey).into());
    }
    let place = Place { project, created_at: stored.created_at, id };
    unlink(connection, ROLES, &place, &stored.lists.roles)?;
    unlink(connection, TAGS, &place, &stored.lists.tags)?;
    claims::forget_lineage(connection, project, id)?;
    let usage = "DELETE FROM key_usage WHERE key_id = ?1";
    connection.prepare_cached(usage)?.execute([id.as_str()])?;
    let key = "DELETE FROM api_keys WHERE id = ?1";
    connection.prepare_cached(key)?.execute([id.as_str()])?;
    results::forget_key(connection, project, id)
}

/// Puts a digest of our own in the place of a foreign hash, once.
pub(super) fn recognise(
    connection: &Connection,
    project: &ProjectName,
    id: KeyId,
    digest: &KeyDigest,
) -> Result<(), Refusal> {
    let sql = "UPDATE api_keys SET digest_scheme = ?3, digest = ?4, revision = revision + 1,
                   imported = json_set(imported, '$.hash', NULL)
               WHERE id = ?1 AND project = ?2 AND json_extract(imported, '$.hash') IS NOT NULL";
    let values = params![id.as_str(), project.as_str(), key_rows::scheme(digest), digest.bytes()];
    if connection.prepare_cached(sql)?.execute(values)? == 1 {
        return Ok(());
    }
    Err(match stored(connection, project, id)? {
        Some(_) => CommitError::ChangedMeanwhile(Kind::ApiKey).into(),
        None => CommitError::NotFound(Kind::ApiKey).into(),
    })
}

/// Adds to what was counted before. A key that was purged since it was used selects no row.
pub(super) fn add_usage(
    connection: &Connection,
    project: &ProjectName,
    deltas: &[UsageDelta],
) -> Result<(), Refusal> {
    let sql = "INSERT INTO key_usage
                   (key_id, verifications, last_used_at, last_ip, last_user_agent,
                    peak_10s, peak_hour, peak_day)
               SELECT id, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM api_keys WHERE id = ?1 AND project = ?2
               ON CONFLICT (key_id) DO UPDATE SET
                   verifications = verifications + excluded.verifications,
                   last_used_at = max(last_used_at, excluded.last_used_at),
                   last_ip = coalesce(excluded.last_ip, last_ip),
                   last_user_agent = coalesce(excluded.last_user_agent, last_user_agent),
                   peak_10s = max(peak_10s, excluded.peak_10s),
                   peak_hour = max(peak_hour, excluded.peak_hour),
                   peak_day = max(peak_day, excluded.peak_day)";
    let mut statement = connection.prepare_cached(sql)?;
    for delta in deltas {
        statement.execute(params![
            delta.key.as_str(),
            project.as_str(),
            query::count(delta.verifications),
            millis::floor(delta.last_used_at),
            delta.last_ip.map(|ip| ip.to_string()),
            delta.last_user_agent,
            delta.peaks.ten_seconds,
            delta.peaks.hour,
            delta.peaks.day,
        ])?;
    }
    Ok(())
}

/// What is stored of a key that its changes depend on.
struct Stored {
    revision: u64,
    keyspace: String,
    scheme: String,
    digest: [u8; 32],
    created_at: i64,
    lists: KeyLists,
}

impl Stored {
    /// Whether `new` is a later form of this key and not another one.
    fn is(&self, new: &ApiKey) -> bool {
        self.keyspace == new.keyspace.as_str()
            && self.scheme == key_rows::scheme(&new.digest)
            && self.digest == *new.digest.bytes()
    }
}

fn stored(
    connection: &Connection,
    project: &ProjectName,
    id: KeyId,
) -> Result<Option<Stored>, Broken> {
    let sql = "SELECT revision, keyspace, digest_scheme, digest, created_at, roles, tags
               FROM api_keys WHERE id = ?1 AND project = ?2";
    query::first(connection, sql, [id.as_str(), project.as_str()], |columns| {
        Ok(Stored {
            revision: columns.count()?,
            keyspace: columns.text()?.to_owned(),
            scheme: columns.text()?.to_owned(),
            digest: columns.bytes_32()?,
            created_at: columns.number()?,
            lists: KeyLists { roles: columns.text()?.to_owned(), tags: columns.text()?.to_owned() },
        })
    })
}

const KEYSPACE_EXISTS: &str = "SELECT 1 FROM keyspaces WHERE project = ?1 AND name = ?2";

/// Which of the things the key refers to is missing, after the database said that one is.
fn missing_reference(connection: &Connection, key: &ApiKey) -> Result<CommitError, Refusal> {
    let project = key.project.as_str();
    let exists = |sql: &str, name: &str| connection.prepare_cached(sql)?.exists([project, name]);
    if !exists(KEYSPACE_EXISTS, key.keyspace.as_str())? {
        return Ok(CommitError::NotFound(Kind::Keyspace));
    }
    let environment = "SELECT 1 FROM environments WHERE project = ?1 AND name = ?2";
    if !exists(environment, key.environment.as_str())? {
        return Ok(CommitError::NotFound(Kind::Environment));
    }
    let owner = key.owner.as_ref().map_or("", OwnerId::as_str);
    if !exists("SELECT 1 FROM owners WHERE project = ?1 AND id = ?2", owner)? {
        return Ok(CommitError::NotFound(Kind::Owner));
    }
    Err(Broken::damaged("a key refers to something that both exists and does not").into())
}

fn check_roles(
    connection: &Connection,
    project: &ProjectName,
    roles: &[RoleName],
) -> Result<(), Refusal> {
    let sql = "SELECT 1 FROM roles WHERE project = ?1 AND name = ?2";
    for role in roles {
        if BuiltinRole::named(role.as_str()).is_none()
            && !connection.prepare_cached(sql)?.exists([project.as_str(), role.as_str()])?
        {
            return Err(CommitError::NotFound(Kind::Role).into());
        }
    }
    Ok(())
}

/// A table that finds keys by one of their words.
#[derive(Clone, Copy)]
struct WordTable {
    insert: &'static str,
    delete: &'static str,
}

const ROLES: WordTable = WordTable {
    insert: "INSERT INTO api_key_roles (project, role, created_at, key_id)
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    delete: "DELETE FROM api_key_roles
             WHERE project = ?1 AND role = ?2 AND created_at = ?3 AND key_id = ?4",
};

const TAGS: WordTable = WordTable {
    insert: "INSERT INTO api_key_tags (project, tag, created_at, key_id)
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    delete: "DELETE FROM api_key_tags
             WHERE project = ?1 AND tag = ?2 AND created_at = ?3 AND key_id = ?4",
};

/// Where a key stands under each of its words.
struct Place<'a> {
    project: &'a ProjectName,
    created_at: i64,
    id: KeyId,
}

fn link<'w>(
    connection: &Connection,
    table: WordTable,
    place: &Place<'_>,
    words: impl Iterator<Item = &'w str>,
) -> Result<(), Refusal> {
    run_for_each(connection, table.insert, place, words)
}

/// `words` is the list as it was stored.
fn unlink(
    connection: &Connection,
    table: WordTable,
    place: &Place<'_>,
    words: &str,
) -> Result<(), Refusal> {
    let words: Vec<String> = serde_json::from_str(words)
        .map_err(|_| Broken::damaged(format!("the roles or tags of key {}", place.id)))?;
    run_for_each(connection, table.delete, place, words.iter().map(String::as_str))
}

fn run_for_each<'w>(
    connection: &Connection,
    sql: &str,
    place: &Place<'_>,
    words: impl Iterator<Item = &'w str>,
) -> Result<(), Refusal> {
    for word in words {
        connection.prepare_cached(sql)?.execute(params![
            place.project.as_str(),
            word,
            place.created_at,
            place.id.as_str(),
        ])?;
    }
    Ok(())
}
