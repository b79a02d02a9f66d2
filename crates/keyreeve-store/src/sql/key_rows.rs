//! Keys as rows.

use std::{collections::HashMap, net::IpAddr, str::FromStr, sync::Arc};

use keyreeve_core::{
    key::{Imported, KeyDigest, KeyId, foreign::ForeignHash},
    model::{ApiKey, Policy, Tags},
    name::{EnvironmentName, KeyspaceName, OwnerId, ProjectName, RoleName},
    permission::PermissionSet,
};
use keyreeve_engine::store::{Peaks, StoredKey, Usage};
use serde::Deserialize;
use serde_json::json;

use super::{
    columns::Columns,
    failure::{Broken, Failed},
    lifecycle::{self, LifecycleColumns},
    query, rows,
    session::{Session, values},
};
use crate::millis;

/// The columns of a key in a query that calls the table `k`.
pub(crate) const KEY: &str = "k.id, k.project, k.keyspace, k.environment, k.env_tag, k.name, \
    k.owner, k.roles, k.permissions, k.metadata, k.tags, k.created_at, k.created_by, \
    k.expires_at, k.lifecycle, k.changed_at, k.reason, k.successor, k.grace_ends_at, k.was, \
    k.digest_scheme, k.digest, k.last_four, k.lineage, k.predecessor, k.revision, \
    k.not_before, k.policy, k.parent, k.imported";

/// The columns of a key's usage in a query that calls the table `u`.
pub(crate) const USAGE: &str = "u.verifications, u.last_used_at, u.last_ip, u.last_user_agent, \
    u.peak_10s, u.peak_hour, u.peak_day";

const INSERT: &str = "
    INSERT INTO api_keys (
        id, project, keyspace, environment, env_tag, name, owner, roles, permissions, metadata,
        tags, created_at, created_by, expires_at, lifecycle, changed_at, reason, successor,
        grace_ends_at, was, digest_scheme, digest, last_four, lineage, predecessor, revision,
        not_before, policy, parent, imported
    ) VALUES (
        ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
        ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30
    )";

/// Everything that may change. What makes a key this key is not among it.
const UPDATE: &str = "
    UPDATE api_keys SET
        environment = ?2, env_tag = ?3, name = ?4, owner = ?5, roles = ?6, permissions = ?7,
        metadata = ?8, tags = ?9, expires_at = ?10, lifecycle = ?11, changed_at = ?12,
        reason = ?13, successor = ?14, grace_ends_at = ?15, was = ?16, revision = ?17,
        not_before = ?18, policy = ?19
    WHERE id = ?1";

/// The lists of a key as they are stored.
pub(crate) struct KeyLists {
    pub(crate) roles: String,
    pub(crate) tags: String,
}

impl KeyLists {
    /// Those of this key.
    pub(crate) fn of(key: &ApiKey) -> Self {
        Self {
            roles: rows::words_json(key.roles.iter().map(RoleName::as_str)),
            tags: rows::words_json(key.tags.as_slice().iter().map(String::as_str)),
        }
    }
}

/// Writes a new row.
pub(crate) fn insert(
    session: &mut dyn Session,
    key: &ApiKey,
    lists: &KeyLists,
) -> Result<(), Failed> {
    let lifecycle = LifecycleColumns::from(&key.lifecycle);
    session.execute(
        INSERT,
        &values![
            key.id.as_str(),
            key.project.as_str(),
            key.keyspace.as_str(),
            key.environment.as_str(),
            key.tag.as_str(),
            key.name.as_str(),
            key.owner.as_ref().map(OwnerId::as_str),
            &lists.roles,
            rows::permissions_json(&key.permissions),
            key.metadata.to_json(),
            &lists.tags,
            millis::floor(key.created_at),
            &key.created_by,
            key.expires_at.map(millis::floor),
            lifecycle.lifecycle,
            lifecycle.changed_at,
            lifecycle.reason,
            lifecycle.successor,
            lifecycle.grace_ends_at,
            lifecycle.was,
            scheme(&key.digest),
            key.digest.bytes(),
            &key.last_four,
            key.lineage.as_str(),
            key.predecessor.as_ref().map(KeyId::as_str),
            query::count(key.revision),
            key.not_before.map(millis::floor),
            rows::policy_json(&key.policy),
            key.parent.as_ref().map(KeyId::as_str),
            key.imported.as_deref().map(imported_json),
        ],
    )?;
    Ok(())
}

/// Writes over the row of that id.
pub(crate) fn update(
    session: &mut dyn Session,
    key: &ApiKey,
    lists: &KeyLists,
) -> Result<(), Failed> {
    let lifecycle = LifecycleColumns::from(&key.lifecycle);
    session.execute(
        UPDATE,
        &values![
            key.id.as_str(),
            key.environment.as_str(),
            key.tag.as_str(),
            key.name.as_str(),
            key.owner.as_ref().map(OwnerId::as_str),
            &lists.roles,
            rows::permissions_json(&key.permissions),
            key.metadata.to_json(),
            &lists.tags,
            key.expires_at.map(millis::floor),
            lifecycle.lifecycle,
            lifecycle.changed_at,
            lifecycle.reason,
            lifecycle.successor,
            lifecycle.grace_ends_at,
            lifecycle.was,
            query::count(key.revision),
            key.not_before.map(millis::floor),
            rows::policy_json(&key.policy),
        ],
    )?;
    Ok(())
}

/// How a digest was made, as it is stored.
pub(crate) fn scheme(digest: &KeyDigest) -> &'static str {
    match digest {
        KeyDigest::Sha256(_) => "sha256",
        KeyDigest::Peppered(_) => "hmac-sha256",
        KeyDigest::Foreign => "foreign",
    }
}

/// Reads keys. One reader for many rows, because what most columns hold repeats and is shared.
#[derive(Default)]
pub(crate) struct KeyReader {
    projects: SeenBefore<ProjectName>,
    keyspaces: SeenBefore<KeyspaceName>,
    environments: SeenBefore<EnvironmentName>,
    roles: SeenBefore<Vec<RoleName>>,
    permissions: SeenBefore<PermissionSet>,
    /// Large, and many keys have the same.
    policies: SeenBefore<Arc<Policy>>,
}

impl KeyReader {
    /// Reads [`KEY`].
    pub(crate) fn key(&mut self, columns: &mut Columns<'_>) -> Result<ApiKey, Broken> {
        let mut key = ApiKey {
            id: columns.parsed()?,
            project: self.projects.read(columns)?,
            keyspace: self.keyspaces.read(columns)?,
            environment: self.environments.read(columns)?,
            tag: columns.parsed()?,
            name: columns.parsed()?,
            owner: columns.maybe_parsed()?,
            roles: self.roles.read_by(columns, roles)?,
            permissions: self.permissions.read_by(columns, permissions)?,
            metadata: rows::metadata(columns)?,
            tags: tags(columns)?,
            created_at: columns.time()?,
            created_by: columns.text()?.to_owned(),
            not_before: None,
            expires_at: columns.maybe_time()?,
            policy: Policy::none(),
            lifecycle: lifecycle::read(columns)?,
            digest: digest(columns)?,
            imported: None,
            last_four: columns.text()?.to_owned(),
            lineage: columns.parsed()?,
            predecessor: columns.maybe_parsed()?,
            parent: None,
            revision: columns.count()?,
        };
        key.not_before = columns.maybe_time()?;
        key.policy = self.policy(columns)?;
        key.parent = columns.maybe_parsed()?;
        key.imported = imported(columns)?;
        Ok(key)
    }

    fn policy(&mut self, columns: &mut Columns<'_>) -> Result<Arc<Policy>, Broken> {
        let Some(text) = columns.maybe_text()? else {
            return Ok(Policy::none());
        };
        let policy = self.policies.share(text, |text| Policy::from_json(text).ok().map(Arc::new));
        policy.ok_or_else(|| columns.damaged())
    }

    /// Reads [`KEY`] and [`USAGE`].
    pub(crate) fn stored(&mut self, columns: &mut Columns<'_>) -> Result<StoredKey, Broken> {
        Ok(StoredKey { key: self.key(columns)?, usage: usage(columns)? })
    }
}

fn roles(text: &str) -> Option<Vec<RoleName>> {
    rows::words_of(text)?.iter().map(|word| word.parse().ok()).collect()
}

fn permissions(text: &str) -> Option<PermissionSet> {
    PermissionSet::parse(&rows::words_of(text)?).ok()
}

/// What the same text stood for before, so that it is read once and shared: a start reads millions of rows.
struct SeenBefore<T> {
    known: HashMap<Box<str>, T>,
    /// Looked at first: most rows hold what the one before them held.
    last: Option<(Box<str>, T)>,
}

impl<T> Default for SeenBefore<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), last: None }
    }
}

impl<T: Clone> SeenBefore<T> {
    /// Beyond this there is little left to share.
    const MOST: usize = 1024;

    fn read(&mut self, columns: &mut Columns<'_>) -> Result<T, Broken>
    where
        T: FromStr,
    {
        self.read_by(columns, |text| text.parse().ok())
    }

    fn read_by(
        &mut self,
        columns: &mut Columns<'_>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Broken> {
        let text = columns.text()?;
        self.share(text, parse).ok_or_else(|| columns.damaged())
    }

    fn share(&mut self, text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        if let Some((_, value)) = self.last.as_ref().filter(|(last, _)| **last == *text) {
            return Some(value.clone());
        }
        let value = if let Some(value) = self.known.get(text) {
            value.clone()
        } else {
            let value = parse(text)?;
            if self.known.len() < Self::MOST {
                self.known.insert(text.into(), value.clone());
            }
            value
        };
        self.last = Some((text.into(), value.clone()));
        Some(value)
    }
}

fn tags(columns: &mut Columns<'_>) -> Result<Tags, Broken> {
    let words = rows::words(columns)?;
    Tags::new(words).map_err(|_| columns.damaged())
}

fn digest(columns: &mut Columns<'_>) -> Result<KeyDigest, Broken> {
    match columns.text()? {
        "sha256" => columns.bytes_32().map(KeyDigest::Sha256),
        "hmac-sha256" => columns.bytes_32().map(KeyDigest::Peppered),
        "foreign" => columns.bytes_32().map(|_| KeyDigest::Foreign),
        _ => Err(columns.damaged()),
    }
}

/// An imported key's start and hash as they are stored.
pub(crate) fn imported_json(imported: &Imported) -> String {
    let hash = imported.hash.as_ref().map(ForeignHash::to_text);
    json!({"start": imported.start, "hash": hash}).to_string()
}

/// Reads an imported key's start and hash.
pub(crate) fn imported(columns: &mut Columns<'_>) -> Result<Option<Box<Imported>>, Broken> {
    let Some(text) = columns.maybe_text()? else {
        return Ok(None);
    };
    let Stored { start, hash } = serde_json::from_str(text).map_err(|_| columns.damaged())?;
    let hash = hash.map(|hash| hash.parse()).transpose().map_err(|_| columns.damaged())?;
    Ok(Some(Box::new(Imported { start: start.map(Into::into), hash })))
}

/// An imported key's start and hash.
#[derive(Deserialize)]
struct Stored {
    start: Option<String>,
    hash: Option<String>,
}

/// All of it is absent if the key was never used.
fn usage(columns: &mut Columns<'_>) -> Result<Usage, Broken> {
    let verifications = columns.maybe_number()?.unwrap_or_default();
    Ok(Usage {
        verifications: u64::try_from(verifications).map_err(|_| columns.damaged())?,
        last_used_at: columns.maybe_time()?,
        last_ip: columns.maybe_parsed::<IpAddr>()?,
        last_user_agent: columns.maybe_text()?.map(str::to_owned),
        peaks: Peaks { ten_seconds: peak(columns)?, hour: peak(columns)?, day: peak(columns)? },
    })
}

fn peak(columns: &mut Columns<'_>) -> Result<u32, Broken> {
    let peak = columns.maybe_number()?.unwrap_or_default();
    u32::try_from(peak).map_err(|_| columns.damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_what_it_says_in_whatever_order_it_comes() {
        let mut seen = SeenBefore::<u32>::default();
        let mut parsed = 0;
        let mut share = |text: &str| {
            seen.share(text, |text| {
                parsed += 1;
                text.parse().ok()
            })
        };
        for text in ["1", "2", "1", "1", "x", "2", "x", "1"] {
            assert_eq!(share(text), text.parse().ok(), "{text}");
        }
        // Also when there is no room for more.
        for number in (0..3_000).chain(0..3_000) {
            assert_eq!(share(&number.to_string()), Some(number));
        }
        assert!((3_000..6_000).contains(&parsed), "{parsed}");
        assert!(seen.known.len() <= SeenBefore::<u32>::MOST);
    }
}
