//! Reading keys.

use jiff::Timestamp;
use keyreeve_core::{
    key::KeyId,
    lifecycle::KeyState,
    model::ApiKey,
    name::{EnvironmentName, KeyspaceName, OwnerId, ProjectName, RoleName},
};
use keyreeve_engine::store::{KeyFilter, ListPage, PageRequest, StoredKey};

use super::{
    failure::Broken,
    key_rows::{KEY, KeyReader, USAGE},
    query::{self, Conditions},
    session::{Dialect, Session, Value, values},
};
use crate::{cursor, millis};

/// Keys that are read by one statement.
const IDS_AT_ONCE: usize = 64;

/// One key.
pub(crate) fn key(
    session: &mut dyn Session,
    project: &ProjectName,
    id: KeyId,
) -> Result<Option<StoredKey>, Broken> {
    let sql = format!(
        "SELECT {KEY}, {USAGE} FROM api_keys k LEFT JOIN key_usage u ON u.key_id = k.id
         WHERE k.project = ?1 AND k.id = ?2"
    );
    let mut reader = KeyReader::default();
    query::first(session, &sql, &values![project.as_str(), id.as_str()], |columns| {
        reader.stored(columns)
    })
}

/// The keys of these ids that are there, in any order.
pub(crate) fn with_ids(session: &mut dyn Session, ids: &[KeyId]) -> Result<Vec<ApiKey>, Broken> {
    let mut reader = KeyReader::default();
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(IDS_AT_ONCE) {
        // A few lengths only, the rest filled up: each length is a statement to be kept.
        let length = if ids.len() == 1 { 1 } else { IDS_AT_ONCE };
        let sql = format!(
            "SELECT {KEY} FROM api_keys k WHERE k.id IN ({})",
            vec!["?"; length].join(", ")
        );
        let filled = ids.iter().chain(std::iter::repeat(&ids[0])).take(length);
        let values: Vec<Value<'_>> = filled.map(|id| id.as_str().into()).collect();
        found.extend(query::all(session, &sql, &values, |columns| reader.key(columns))?);
    }
    Ok(found)
}

/// Keys that match, newest first.
pub(crate) fn list(
    session: &mut dyn Session,
    project: &ProjectName,
    filter: &KeyFilter,
    page: &PageRequest,
) -> Result<ListPage<StoredKey>, Broken> {
    let after = cursor::key_place(page)?;
    let limit = cursor::limit(page);
    let walk = Walk::of(filter, session.dialect());
    let mut conditions = Conditions::new(walk.of_project, project.as_str());
    walk.narrow(&mut conditions, filter);
    conditions.and_text("k.keyspace = ?", filter.keyspace.as_ref().map(KeyspaceName::as_str));
    conditions
        .and_text("k.environment = ?", filter.environment.as_ref().map(EnvironmentName::as_str));
    conditions.and_text("k.owner = ?", filter.owner.as_ref().map(OwnerId::as_str));
    if let Some(part) = filter.name_contains.as_deref().filter(|part| !part.is_empty()) {
        // Both sides in lower case as ASCII has it, and nothing in the text means anything else.
        let part = values![part.to_ascii_lowercase()];
        conditions.and("replace(lower(k.name), ?, '') <> lower(k.name)", part);
    }
    in_state(&mut conditions, filter.state);
    if let Some((time, id)) = after {
        conditions.and(walk.after, values![time, id.to_string()]);
    }
    let (conditions, values) = conditions.order_and_limit(walk.order, limit);
    let from = &walk.from;
    let sql = format!(
        "SELECT {KEY}, {USAGE} FROM {from} LEFT JOIN key_usage u ON u.key_id = k.id
         WHERE {conditions}"
    );
    let mut reader = KeyReader::default();
    let found = query::all(session, &sql, &values, |columns| reader.stored(columns))?;
    Ok(ListPage::from_overfull(found, limit, |last: &StoredKey| {
        cursor::of_key(last.key.created_at, last.key.id)
    }))
}

/// Along which table a list walks. Each of them has the age in its order, so a page costs what
/// it shows however many keys there are.
struct Walk {
    from: String,
    of_project: &'static str,
    narrowed_by: Narrowed,
    after: &'static str,
    order: &'static str,
}

/// Which part of the filter the walk itself takes care of.
#[derive(PartialEq, Eq)]
enum Narrowed {
    Nothing,
    Role,
    Tag,
}

impl Walk {
    fn of(filter: &KeyFilter, dialect: &Dialect) -> Self {
        let along = |words: &str| {
            let join = dialect.ordered_join;
            format!("{words} w {join} api_keys k ON k.id = w.key_id")
        };
        match (&filter.tag, &filter.role) {
            (Some(_), _) => Self::along_words(along("api_key_tags"), Narrowed::Tag),
            (None, Some(_)) => Self::along_words(along("api_key_roles"), Narrowed::Role),
            (None, None) => Self {
                from: "api_keys k".to_owned(),
                of_project: "k.project = ?",
                narrowed_by: Narrowed::Nothing,
                after: "(k.created_at, k.id) < (?, ?)",
                order: "k.created_at DESC, k.id DESC",
            },
        }
    }

    fn along_words(from: String, narrowed_by: Narrowed) -> Self {
        Self {
            from,
            of_project: "w.project = ?",
            narrowed_by,
            after: "(w.created_at, w.key_id) < (?, ?)",
            order: "w.created_at DESC, w.key_id DESC",
        }
    }

    fn narrow(&self, conditions: &mut Conditions, filter: &KeyFilter) {
        let role = filter.role.as_ref().map(RoleName::as_str);
        match self.narrowed_by {
            Narrowed::Nothing => {}
            Narrowed::Role => conditions.and_text("w.role = ?", role),
            Narrowed::Tag => {
                conditions.and_text("w.tag = ?", filter.tag.as_deref());
                conditions.and_text(
                    "EXISTS (SELECT 1 FROM api_key_roles r WHERE r.project = k.project
                     AND r.role = ? AND r.created_at = k.created_at AND r.key_id = k.id)",
                    role,
                );
            }
        }
    }
}

/// The same as `ApiKey::state`, in terms of the column `ends_at`. The plus keeps SQLite from
/// walking along that column where it would have to sort most of the table afterwards.
fn in_state(conditions: &mut Conditions, state: Option<(KeyState, Timestamp)>) {
    let Some((state, now)) = state else {
        conditions.and("k.lifecycle <> 'deleted'", []);
        return;
    };
    let now = values![millis::floor(now)];
    match state {
        KeyState::Active => {
            let running = "k.lifecycle = 'active' AND (k.ends_at IS NULL OR +k.ends_at > ?)";
            conditions.and(running, now);
        }
        KeyState::Rotating => {
            conditions.and("k.lifecycle = 'rotating' AND +k.ends_at > ?", now);
        }
        KeyState::Expired => conditions.and("k.ends_at <= ?", now),
        KeyState::Disabled => conditions.and("k.lifecycle = 'disabled'", []),
        KeyState::Revoked => conditions.and("k.lifecycle = 'revoked'", []),
        KeyState::Deleted => conditions.and("k.lifecycle = 'deleted'", []),
    }
}

/// Active keys whose expiry lies in `from..until`, soonest first.
pub(crate) fn expiring(
    session: &mut dyn Session,
    project: &ProjectName,
    from: Timestamp,
    until: Timestamp,
    page: &PageRequest,
) -> Result<ListPage<StoredKey>, Broken> {
    let after = cursor::key_place(page)?;
    let limit = cursor::limit(page);
    let mut conditions = Conditions::new("k.project = ?", project.as_str());
    conditions.and("k.lifecycle = 'active'", []);
    let between = values![millis::ceil(from), millis::ceil(until)];
    conditions.and("k.ends_at >= ? AND k.ends_at < ?", between);
    if let Some((time, id)) = after {
        let place = values![time, id.to_string()];
        conditions.and("(k.ends_at, k.id) > (?, ?)", place);
    }
    let (conditions, values) = conditions.order_and_limit("k.ends_at, k.id", limit);
    let sql = format!(
        "SELECT {KEY}, {USAGE} FROM api_keys k LEFT JOIN key_usage u ON u.key_id = k.id
         WHERE {conditions}"
    );
    let mut reader = KeyReader::default();
    let found = query::all(session, &sql, &values, |columns| reader.stored(columns))?;
    Ok(ListPage::from_overfull(found, limit, |last: &StoredKey| {
        let at = last.key.expires_at.unwrap_or(Timestamp::MAX);
        cursor::of_key(at, last.key.id)
    }))
}

/// At most `limit` keys that are expired at `at`, the longest expired first.
pub(crate) fn expired(
    session: &mut dyn Session,
    project: &ProjectName,
    at: Timestamp,
    limit: u32,
) -> Result<Vec<ApiKey>, Broken> {
    let sql = format!(
        "SELECT {KEY} FROM api_keys k WHERE k.project = ?1 AND k.ends_at <= ?2
         ORDER BY k.ends_at, k.id LIMIT ?3"
    );
    let mut reader = KeyReader::default();
    query::all(session, &sql, &values![project.as_str(), millis::floor(at), limit], |columns| {
        reader.key(columns)
    })
}
