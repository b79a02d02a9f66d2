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
    let mut conditions = Conditions::new("project = ?", project.as_str());
    if let Some(before) = before {
        conditions.and("seq < ?", values![query::count(before)]);
    }
    conditions.and_text("actor = ?", filter.actor.as_deref());
    conditions.and_text("target = ?", filter.target.as_deref());
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
    let (conditions, values) = conditions.order_and_limit("seq DESC", limit);
    let sql = format!("SELECT seq, body FROM audit_entries WHERE {conditions}");
    let found = query::all(session, &sql, &values, entry)?;
    Ok(ListPage::from_overfull(found, limit, |last| cursor::of_entry(last.seq)))
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
