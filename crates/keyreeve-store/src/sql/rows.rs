//! What stands around keys, as rows.

use std::sync::Arc;

use jiff::SignedDuration;
use keyreeve_core::{
    model::{Environment, Keyspace, Metadata, Owner, Policy, Project, Role},
    permission::{Permission, PermissionSet},
    quota::Stored,
};
use keyreeve_engine::store::IdempotentResult;
use serde_json::Value;

use super::{columns::Columns, failure::Broken};

pub(crate) const PROJECT: &str = "name, created_at";
pub(crate) const ENVIRONMENT: &str = "name, env_tag, created_at";
pub(crate) const KEYSPACE: &str =
    "name, prefix, default_expires_in, default_grace, fail_policy, policy, created_at, revision";
pub(crate) const OWNER: &str = "id, name, metadata, policy, created_at, revision";
pub(crate) const ROLE: &str = "name, description, permissions, created_at, revision";
pub(crate) const RESULT: &str = "lookup, fingerprint, key_id, sealed, at";

/// Reads [`PROJECT`].
pub(crate) fn project(columns: &mut Columns<'_>) -> Result<Project, Broken> {
    Ok(Project { name: columns.parsed()?, created_at: columns.time()? })
}

/// Reads [`ENVIRONMENT`].
pub(crate) fn environment(columns: &mut Columns<'_>) -> Result<Environment, Broken> {
    Ok(Environment { name: columns.parsed()?, tag: columns.parsed()?, created_at: columns.time()? })
}

/// Reads [`KEYSPACE`].
pub(crate) fn keyspace(columns: &mut Columns<'_>) -> Result<Keyspace, Broken> {
    Ok(Keyspace {
        name: columns.parsed()?,
        prefix: columns.parsed()?,
        default_expires_in: columns.maybe_number()?.map(SignedDuration::from_millis),
        default_grace: SignedDuration::from_millis(columns.number()?),
        fail_policy: columns.parsed()?,
        policy: policy(columns)?,
        created_at: columns.time()?,
        revision: columns.count()?,
    })
}

/// Reads [`OWNER`].
pub(crate) fn owner(columns: &mut Columns<'_>) -> Result<Owner, Broken> {
    Ok(Owner {
        id: columns.parsed()?,
        name: columns.maybe_parsed()?,
        metadata: metadata(columns)?,
        policy: policy(columns)?,
        created_at: columns.time()?,
        revision: columns.count()?,
    })
}

/// Reads [`ROLE`].
pub(crate) fn role(columns: &mut Columns<'_>) -> Result<Role, Broken> {
    Ok(Role {
        name: columns.parsed()?,
        description: columns.text()?.to_owned(),
        permissions: permissions(columns)?,
        created_at: columns.time()?,
        revision: columns.count()?,
    })
}

/// Reads [`RESULT`].
pub(crate) fn result(columns: &mut Columns<'_>) -> Result<IdempotentResult, Broken> {
    Ok(IdempotentResult {
        lookup: columns.bytes_32()?,
        fingerprint: columns.bytes_32()?,
        key: columns.parsed()?,
        sealed: columns.bytes()?.to_vec(),
        at: columns.time()?,
    })
}

/// Reads `period_start, period_end, claimed`.
pub(crate) fn claimed(columns: &mut Columns<'_>) -> Result<Stored, Broken> {
    Ok(Stored {
        period_start: columns.time()?,
        period_end: columns.maybe_time()?,
        claimed: columns.count()?,
    })
}

/// Reads an object.
pub(crate) fn metadata(columns: &mut Columns<'_>) -> Result<Metadata, Broken> {
    let text = columns.text()?;
    // What nearly every row holds needs no parser.
    if text == "{}" {
        return Ok(Metadata::default());
    }
    let map = serde_json::from_str(text).map_err(|_| columns.damaged())?;
    Metadata::new(map).map_err(|_| columns.damaged())
}

/// Reads a policy; nothing stands for one that bounds nothing.
pub(crate) fn policy(columns: &mut Columns<'_>) -> Result<Arc<Policy>, Broken> {
    match columns.maybe_text()? {
        None => Ok(Policy::none()),
        Some(text) => Policy::from_json(text).map(Arc::new).map_err(|_| columns.damaged()),
    }
}

/// A policy as it is stored.
pub(crate) fn policy_json(policy: &Policy) -> Option<String> {
    (!policy.is_empty()).then(|| policy.to_json())
}

/// Reads a list of permissions.
pub(crate) fn permissions(columns: &mut Columns<'_>) -> Result<PermissionSet, Broken> {
    let words = words(columns)?;
    PermissionSet::parse(&words).map_err(|_| columns.damaged())
}

/// Reads a list of words.
pub(crate) fn words(columns: &mut Columns<'_>) -> Result<Vec<String>, Broken> {
    let text = columns.text()?;
    words_of(text).ok_or_else(|| columns.damaged())
}

/// The words of a list as it is stored.
pub(crate) fn words_of(text: &str) -> Option<Vec<String>> {
    // What nearly every row holds needs no parser.
    if text == "[]" {
        return Some(Vec::new());
    }
    serde_json::from_str(text).ok()
}

/// A list of words as it is stored.
pub(crate) fn words_json<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Value>().to_string()
}

/// Permissions as they are stored.
pub(crate) fn permissions_json(permissions: &PermissionSet) -> String {
    words_json(permissions.iter().map(Permission::as_str))
}

/// A length of time as it is stored: milliseconds.
pub(crate) fn length_ms(length: SignedDuration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
