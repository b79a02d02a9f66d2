//! Lists out of the maps, in the order and the pages every backend gives.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;
use keyreeve_core::{
    key::KeyId,
    lifecycle::{KeyState, Lifecycle},
    model::{ApiKey, Owner},
    name::{OwnerId, ProjectName},
};
use keyreeve_engine::store::{KeyFilter, ListPage, PageRequest, StoreError, StoredKey};

use super::tables::Tables;
use crate::{cursor, millis};

/// A project's rows by name.
pub(super) fn of_project<N: Ord, V: Clone>(
    table: &BTreeMap<(ProjectName, N), V>,
    project: &ProjectName,
) -> Vec<V> {
    table.iter().filter(|((owner, _), _)| owner == project).map(|(_, row)| row.clone()).collect()
}

/// Whether the key is out of sight.
pub(super) fn is_deleted(key: &ApiKey) -> bool {
    matches!(key.lifecycle, Lifecycle::Deleted { .. })
}

/// The key with its usage.
pub(super) fn stored(tables: &Tables, key: &ApiKey) -> StoredKey {
    let usage = tables.usage.get(&key.id).cloned().unwrap_or_default();
    StoredKey { key: key.clone(), usage }
}

/// A project's owners by id.
pub(super) fn owners(
    tables: &Tables,
    project: &ProjectName,
    page: &PageRequest,
) -> Result<ListPage<Owner>, StoreError> {
    let after: Option<OwnerId> = cursor::owner_place(page)?;
    let limit = cursor::limit(page);
    let mut found = of_project(&tables.owners, project);
    found.retain(|owner| after.as_ref().is_none_or(|after| owner.id > *after));
    Ok(ListPage::from_overfull(found, limit, |last| cursor::of_owner(&last.id)))
}

/// A project's keys that match, newest first.
pub(super) fn keys(
    tables: &Tables,
    project: &ProjectName,
    filter: &KeyFilter,
    page: &PageRequest,
) -> Result<ListPage<StoredKey>, StoreError> {
    let after = cursor::key_place(page)?;
    let limit = cursor::limit(page);
    let place = |key: &ApiKey| (millis::floor(key.created_at), key.id);
    let mut found: Vec<&ApiKey> = tables
        .keys
        .values()
        .filter(|key| key.project == *project && matches(filter, key))
        .filter(|key| after.is_none_or(|after| place(key) < after))
        .collect();
    found.sort_by_key(|key| Reverse(place(key)));
    let found = found.into_iter().map(|key| stored(tables, key)).collect();
    let cursor_of = |last: &StoredKey| cursor::of_key(last.key.created_at, last.key.id);
    Ok(ListPage::from_overfull(found, limit, cursor_of))
}

fn matches(filter: &KeyFilter, key: &ApiKey) -> bool {
    let name_contains =
        |part: &String| key.name.as_str().to_ascii_lowercase().contains(&part.to_ascii_lowercase());
    let in_state = match filter.state {
        Some((state, now)) => key.state(now) == state,
        None => !is_deleted(key),
    };
    in_state
        && filter.keyspace.as_ref().is_none_or(|keyspace| key.keyspace == *keyspace)
        && filter.environment.as_ref().is_none_or(|environment| key.environment == *environment)
        && filter.owner.as_ref().is_none_or(|owner| key.owner.as_ref() == Some(owner))
        && filter.role.as_ref().is_none_or(|role| key.roles.contains(role))
        && filter.tag.as_ref().is_none_or(|tag| key.tags.as_slice().contains(tag))
        && filter.name_contains.as_ref().is_none_or(name_contains)
}

/// A project's active keys whose expiry lies in `from..until`, soonest first.
pub(super) fn expiring(
    tables: &Tables,
    project: &ProjectName,
    from: Timestamp,
    until: Timestamp,
    page: &PageRequest,
) -> Result<ListPage<StoredKey>, StoreError> {
    let after = cursor::key_place(page)?;
    let limit = cursor::limit(page);
    let mut found: Vec<(Timestamp, &ApiKey)> = tables
        .keys
        .values()
        .filter(|key| key.project == *project && key.lifecycle == Lifecycle::Active)
        .filter_map(|key| key.expires_at.map(|at| (at, key)))
        .filter(|(at, _)| (from..until).contains(at))
        .filter(|(at, key)| after.is_none_or(|after| (millis::floor(*at), key.id) > after))
        .collect();
    found.sort_by_key(|(at, key)| (*at, key.id));
    let found = found.into_iter().map(|(_, key)| stored(tables, key)).collect();
    Ok(ListPage::from_overfull(found, limit, |last: &StoredKey| {
        let at = last.key.expires_at.unwrap_or(Timestamp::MAX);
        cursor::of_key(at, last.key.id)
    }))
}

/// At most `limit` of a project's keys that are expired at `at`, the longest expired first.
pub(super) fn expired(
    tables: &Tables,
    project: &ProjectName,
    at: Timestamp,
    limit: u32,
) -> Vec<ApiKey> {
    let mut found: Vec<&ApiKey> = tables
        .keys
        .values()
        .filter(|key| key.project == *project && key.state(at) == KeyState::Expired)
        .collect();
    found.sort_by_key(|key| place_of_end(key));
    found.into_iter().take(limit as usize).cloned().collect()
}

/// When the key came to be seen as expired, and its id.
fn place_of_end(key: &ApiKey) -> (Option<Timestamp>, KeyId) {
    let end = match key.lifecycle {
        Lifecycle::Rotating { grace_ends_at, .. } => {
            Some(key.expires_at.map_or(grace_ends_at, |at| at.min(grace_ends_at)))
        }
        _ => key.expires_at,
    };
    (end, key.id)
}
