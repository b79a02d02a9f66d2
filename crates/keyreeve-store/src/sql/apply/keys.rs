//! Changes to keys.

use keyreeve_core::{
    key::{Imported, KeyDigest, KeyId},
    model::{ApiKey, Revision},
    name::{OwnerId, ProjectName, RoleName},
    role::BuiltinRole,
};
use keyreeve_engine::store::{CommitError, Kind, UsageDelta};

use super::{claims, results};
use crate::{
    millis,
    sql::{
        failure::{Broken, Failed, Refusal, Violated},
        key_rows::{self, KeyLists},
        query,
        session::{Session, values},
    },
};

pub(crate) fn create(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &ApiKey,
) -> Result<(), Refusal> {
    if new.project != *project {
        return Err(CommitError::NotFound(Kind::Project).into());
    }
    let lists = KeyLists::of(new);
    match key_rows::insert(session, new, &lists) {
        Ok(()) => {}
        Err(Failed::Violated(Violated::Uniqueness)) => {
            return Err(CommitError::AlreadyExists(Kind::ApiKey).into());
        }
        Err(Failed::Violated(Violated::Reference)) => {
            return Err(missing_reference(session, new)?.into());
        }
        Err(Failed::Broken(broken)) => return Err(broken.into()),
    }
    check_roles(session, project, &new.roles)?;
    let place = Place { project, created_at: millis::floor(new.created_at), id: new.id };
    link(session, ROLES, &place, new.roles.iter().map(RoleName::as_str))?;
    link(session, TAGS, &place, new.tags.as_slice().iter().map(String::as_str))
}

pub(crate) fn update(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &ApiKey,
) -> Result<(), Refusal> {
    let stored = if new.project == *project { stored(session, project, new.id)? } else { None };
    let stored = stored.ok_or(CommitError::NotFound(Kind::ApiKey))?;
    if stored.revision.checked_add(1) != Some(new.revision) {
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey).into());
    }
    if stored.keyspace != new.keyspace.as_str() {
        let keyspace = values![project.as_str(), new.keyspace.as_str()];
        if !query::exists(session, KEYSPACE_EXISTS, &keyspace)? {
            return Err(CommitError::NotFound(Kind::Keyspace).into());
        }
    }
    if !stored.is(new) {
        // Not the key that was read: what makes a key this key never changes.
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey).into());
    }
    let lists = KeyLists::of(new);
    match key_rows::update(session, new, &lists) {
        Ok(()) => {}
        Err(Failed::Violated(Violated::Reference)) => {
            return Err(missing_reference(session, new)?.into());
        }
        Err(error) => return Err(error.into()),
    }
    let place = Place { project, created_at: stored.created_at, id: new.id };
    if stored.lists.roles != lists.roles {
        check_roles(session, project, &new.roles)?;
        unlink(session, ROLES, &place, &stored.lists.roles)?;
        link(session, ROLES, &place, new.roles.iter().map(RoleName::as_str))?;
    }
    if stored.lists.tags != lists.tags {
        unlink(session, TAGS, &place, &stored.lists.tags)?;
        link(session, TAGS, &place, new.tags.as_slice().iter().map(String::as_str))?;
    }
    Ok(())
}

pub(crate) fn purge(
    session: &mut dyn Session,
    project: &ProjectName,
    id: KeyId,
    revision: Revision,
) -> Result<(), Refusal> {
    let stored = stored(session, project, id)?;
    let stored = stored.ok_or(CommitError::NotFound(Kind::ApiKey))?;
    if stored.revision != revision {
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey).into());
    }
    let place = Place { project, created_at: stored.created_at, id };
    unlink(session, ROLES, &place, &stored.lists.roles)?;
    unlink(session, TAGS, &place, &stored.lists.tags)?;
    claims::forget_lineage(session, project, id)?;
    let usage = "DELETE FROM key_usage WHERE key_id = ?1";
    session.execute(usage, &values![id.as_str()])?;
    let key = "DELETE FROM api_keys WHERE id = ?1";
    session.execute(key, &values![id.as_str()])?;
    results::forget_key(session, project, id)
}

/// Puts a digest of our own in the place of a foreign hash, once.
pub(crate) fn recognise(
    session: &mut dyn Session,
    project: &ProjectName,
    id: KeyId,
    digest: &KeyDigest,
) -> Result<(), Refusal> {
    let select = "SELECT imported FROM api_keys
                  WHERE id = ?1 AND project = ?2 AND digest_scheme = 'foreign'";
    let place = values![id.as_str(), project.as_str()];
    if let Some(imported) = query::first(session, select, &place, key_rows::imported)?.flatten() {
        let known = Imported { hash: None, ..*imported };
        let sql = "UPDATE api_keys SET digest_scheme = ?2, digest = ?3, imported = ?4,
                       revision = revision + 1
                   WHERE id = ?1";
        session.execute(
            sql,
            &values![
                id.as_str(),
                key_rows::scheme(digest),
                digest.bytes(),
                key_rows::imported_json(&known),
            ],
        )?;
        return Ok(());
    }
    Err(match stored(session, project, id)? {
        Some(_) => CommitError::ChangedMeanwhile(Kind::ApiKey).into(),
        None => CommitError::NotFound(Kind::ApiKey).into(),
    })
}

/// Adds to what was counted before. A key that was purged since it was used selects no row.
pub(crate) fn add_usage(
    session: &mut dyn Session,
    project: &ProjectName,
    deltas: &[UsageDelta],
) -> Result<(), Refusal> {
    let larger = session.dialect().larger;
    let sql = format!(
        "INSERT INTO key_usage AS u
             (key_id, verifications, last_used_at, last_ip, last_user_agent,
              peak_10s, peak_hour, peak_day)
         SELECT id, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM api_keys WHERE id = ?1 AND project = ?2
         ON CONFLICT (key_id) DO UPDATE SET
             verifications = u.verifications + excluded.verifications,
             last_used_at = {larger}(u.last_used_at, excluded.last_used_at),
             last_ip = coalesce(excluded.last_ip, u.last_ip),
             last_user_agent = coalesce(excluded.last_user_agent, u.last_user_agent),
             peak_10s = {larger}(u.peak_10s, excluded.peak_10s),
             peak_hour = {larger}(u.peak_hour, excluded.peak_hour),
             peak_day = {larger}(u.peak_day, excluded.peak_day)"
    );
    for delta in deltas {
        session.execute(
            &sql,
            &values![
                delta.key.as_str(),
                project.as_str(),
                query::count(delta.verifications),
                millis::floor(delta.last_used_at),
                delta.last_ip.map(|ip| ip.to_string()),
                delta.last_user_agent.as_deref(),
                delta.peaks.ten_seconds,
                delta.peaks.hour,
                delta.peaks.day,
            ],
        )?;
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
    session: &mut dyn Session,
    project: &ProjectName,
    id: KeyId,
) -> Result<Option<Stored>, Broken> {
    let sql = "SELECT revision, keyspace, digest_scheme, digest, created_at, roles, tags
               FROM api_keys WHERE id = ?1 AND project = ?2";
    query::first(session, sql, &values![id.as_str(), project.as_str()], |columns| {
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
fn missing_reference(session: &mut dyn Session, key: &ApiKey) -> Result<CommitError, Refusal> {
    let project = key.project.as_str();
    let mut exists = |sql: &str, name: &str| query::exists(session, sql, &values![project, name]);
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
    session: &mut dyn Session,
    project: &ProjectName,
    roles: &[RoleName],
) -> Result<(), Refusal> {
    let sql = "SELECT 1 FROM roles WHERE project = ?1 AND name = ?2";
    for role in roles {
        if BuiltinRole::named(role.as_str()).is_none()
            && !query::exists(session, sql, &values![project.as_str(), role.as_str()])?
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
    session: &mut dyn Session,
    table: WordTable,
    place: &Place<'_>,
    words: impl Iterator<Item = &'w str>,
) -> Result<(), Refusal> {
    run_for_each(session, table.insert, place, words)
}

/// `words` is the list as it was stored.
fn unlink(
    session: &mut dyn Session,
    table: WordTable,
    place: &Place<'_>,
    words: &str,
) -> Result<(), Refusal> {
    let words: Vec<String> = serde_json::from_str(words)
        .map_err(|_| Broken::damaged(format!("the roles or tags of key {}", place.id)))?;
    run_for_each(session, table.delete, place, words.iter().map(String::as_str))
}

fn run_for_each<'w>(
    session: &mut dyn Session,
    sql: &str,
    place: &Place<'_>,
    words: impl Iterator<Item = &'w str>,
) -> Result<(), Refusal> {
    for word in words {
        session.execute(
            sql,
            &values![place.project.as_str(), word, place.created_at, place.id.as_str(),],
        )?;
    }
    Ok(())
}
