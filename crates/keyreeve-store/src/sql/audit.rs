//! Reading the audit log.

use keyreeve_core::{
    audit::{AuditEntry, Hash, Outcome},
    name::ProjectName,
};
use keyreeve_engine::store::{AuditFilter, AuditRecord, ListPage, PageRequest, SequencedEntry};

use super::{
    columns::Columns,
    failure::Broken,
    query::{self, Conditions},
    session::{Session, values},
};
use crate::{cursor, millis};

/// An outcome as it stands in the column of that name.
pub(crate) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Denied => "denied",
    }
}

/// A project's entries that match, newest first.
pub(crate) fn entries(
    session: &mut dyn Session,
    project: &ProjectName,
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<ListPage<SequencedEntry>, Broken> {
    let before = cursor::entry_place(page)?;
    let limit = cursor::limit(page);
    let found = if filter.actor.is_some() || filter.target.is_some() {
        in_blocks(session, project, filter, before, limit)?
    } else {
        let conditions = conditions(project, filter, before);
        let (conditions, values) = conditions.order_and_limit("seq DESC", limit);
        let sql = format!("SELECT seq, body FROM audit_entries WHERE {conditions}");
        query::all(session, &sql, &values, entry)?
    };
    Ok(ListPage::from_overfull(found, limit, |last| cursor::of_entry(last.seq)))
}

/// How many bits of a position tell its place in its block of the index.
const BLOCK_BITS: u32 = 10;
/// The most blocks that one query looks into.
const MOST_BLOCKS: i64 = 4_096;

/// The entries of an actor or about a target, newest first, one more than `limit`. What such an index
/// finds is in the order of the blocks that it begins with, so they are asked for from the newest
/// down, ever more at once.
fn in_blocks(
    session: &mut dyn Session,
    project: &ProjectName,
    filter: &AuditFilter,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<SequencedEntry>, Broken> {
    let join = session.dialect().ordered_join;
    let newest = query::number(session, "SELECT coalesce(max(seq), 0) FROM audit_entries", &[])?;
    let newest = newest.unwrap_or(0);
    // A cursor may say anything: there is nothing beyond the newest.
    let end = before.map_or(newest, |before| before.min(newest + 1));
    let mut found = Vec::new();
    let (mut newest, mut blocks) = (query::count(end) >> BLOCK_BITS, 1);
    while newest >= 0 && found.len() <= limit as usize {
        let oldest = (newest - blocks + 1).max(0);
        let (conditions, mut values) =
            conditions(project, filter, before).order_and_limit("seq DESC", limit);
        values.splice(0..0, values![newest, oldest]);
        let sql = format!(
            "WITH RECURSIVE blocks (number) AS (
                 SELECT CAST(? AS BIGINT)
                 UNION ALL SELECT number - 1 FROM blocks WHERE number > ?
             )
             SELECT seq, body FROM blocks {join} audit_entries ON seq >> {BLOCK_BITS} = number
             WHERE {conditions}"
        );
        found.extend(query::all(session, &sql, &values, entry)?);
        (newest, blocks) = (oldest - 1, (blocks * 2).min(MOST_BLOCKS));
    }
    found.truncate(limit as usize + 1);
    Ok(found)
}

/// What an entry has to be.
fn conditions(project: &ProjectName, filter: &AuditFilter, before: Option<u64>) -> Conditions {
    let mut conditions = Conditions::new("project = ?", project.as_str());
    if let Some(before) = before {
        conditions.and("seq < ?", values![query::count(before)]);
    }
    conditions.and_text("actor = ?", filter.actor.as_deref());
    if let Some(target) = &filter.target {
        // As the index has it.
        let condition = "substr(target, 1, 200) = substr(?, 1, 200) AND target = ?";
        conditions.and(condition, values![target.clone(), target.clone()]);
    }
    conditions.and_text("outcome = ?", filter.outcome.map(outcome_word));
    if let Some(action) = &filter.action {
        of_action(&mut conditions, action);
    }
    if let Some(since) = filter.since {
        conditions.and("at_ms >= ?", values![millis::ceil(since)]);
    }
    if let Some(until) = filter.until {
        conditions.and("at_ms < ?", values![millis::ceil(until)]);
    }
    conditions
}

/// `key.*` is everything between `key.` and `key/`, the slash being the sign after the full stop.
fn of_action(conditions: &mut Conditions, action: &str) {
    match action.strip_suffix(".*") {
        None => conditions.and_text("action = ?", Some(action)),
        Some(noun) => {
            let range = values![format!("{noun}."), format!("{noun}/")];
            conditions.and("action >= ? AND action < ?", range);
        }
    }
}

fn entry(columns: &mut Columns<'_>) -> Result<SequencedEntry, Broken> {
    let seq = columns.count()?;
    match AuditEntry::decode(columns.bytes()?) {
        Ok((own, entry)) if own == seq => Ok(SequencedEntry { seq, entry }),
        _ => Err(Broken::damaged(format!("audit entry {seq} is not what was recorded"))),
    }
}

/// At most `limit` recorded entries of all projects from position `first` on.
pub(crate) fn log(
    session: &mut dyn Session,
    first: u64,
    limit: u32,
) -> Result<Vec<AuditRecord>, Broken> {
    let sql = "SELECT seq, body, leaf FROM audit_entries WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
    query::all(session, sql, &values![query::count(first), limit], |columns| {
        Ok(AuditRecord {
            seq: columns.count()?,
            bytes: columns.bytes()?.to_vec(),
            leaf: Hash::from_bytes(columns.bytes_32()?),
        })
    })
}

/// The kept tree heads and the latest, smallest first. One statement, so that both parts are of
/// one moment; `UNION` drops the latest if it is a kept one.
pub(crate) fn checkpoints(session: &mut dyn Session) -> Result<Vec<String>, Broken> {
    let sql = "SELECT size, note FROM audit_checkpoints
               UNION SELECT size, note FROM audit_state ORDER BY size";
    query::all(session, sql, &[], |columns| {
        columns.number()?;
        columns.text().map(str::to_owned)
    })
}

/// The latest tree head.
pub(crate) fn checkpoint(session: &mut dyn Session) -> Result<Option<String>, Broken> {
    let sql = "SELECT note FROM audit_state";
    query::first(session, sql, &[], |columns| columns.text().map(str::to_owned))
}
