//! Events that came in as webhooks, and the marks they left.

use jiff::Timestamp;
use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{
    CommitError, EventFilter, EventOrder, EventProgress, EventState, EventStep, Kind, RecordKind,
    WebhookEvent,
};

use super::{
    columns::Columns,
    failure::{Broken, Failed, Refusal, Violated},
    query::{self, Conditions},
    session::{Session, Value, values},
};
use crate::millis;

const EVENT: &str =
    "id, source, event, received_ms, bytes, state, attempts, due_ms, status, failure, changed_ms,
     order_key, order_number";

fn read_event(columns: &mut Columns<'_>) -> Result<WebhookEvent, Broken> {
    Ok(WebhookEvent {
        id: columns.text()?.to_owned(),
        source: columns.text()?.to_owned(),
        event_id: columns.maybe_text()?.map(str::to_owned),
        received_at: columns.time()?,
        bytes: columns.count()?,
        progress: read_progress(columns)?,
        order: read_order(columns)?,
        sealed: Vec::new(),
    })
}

fn read_progress(columns: &mut Columns<'_>) -> Result<EventProgress, Broken> {
    let state = EventState::named(columns.text()?).ok_or_else(|| columns.damaged())?;
    let attempts = u32::try_from(columns.number()?).map_err(|_| columns.damaged())?;
    let due_at = columns.maybe_time()?;
    let status = columns.maybe_number()?.map(u16::try_from).transpose();
    let status = status.map_err(|_| columns.damaged())?;
    let failure = columns.maybe_text()?.map(str::to_owned);
    Ok(EventProgress { state, attempts, due_at, status, failure, changed_at: columns.time()? })
}

fn read_order(columns: &mut Columns<'_>) -> Result<Option<EventOrder>, Broken> {
    let key = columns.maybe_bytes_32()?;
    let number = columns.maybe_number()?.map(u64::try_from).transpose();
    let number = number.map_err(|_| columns.damaged())?;
    Ok(key.zip(number).map(|(key, number)| EventOrder { key, number }))
}

fn progress_values(progress: &EventProgress) -> [Value<'_>; 6] {
    values![
        progress.state.as_str(),
        progress.attempts,
        progress.due_at.map(millis::floor),
        progress.status.map(u32::from),
        progress.failure.as_deref(),
        millis::floor(progress.changed_at),
    ]
}

pub(crate) fn accept(
    session: &mut dyn Session,
    project: &ProjectName,
    event: &WebhookEvent,
    marks: &[[u8; 32]],
) -> Result<(), Refusal> {
    let sql = "SELECT 1 FROM vault_records WHERE project = ?1 AND kind = ?2 AND id = ?3";
    let kind = RecordKind::WebhookSource.as_str();
    let values = values![project.as_str(), kind, event.source.as_str()];
    if !query::exists(session, sql, &values)? {
        // Another node removed it just now.
        return Err(CommitError::NotFound(Kind::WebhookSource).into());
    }
    let sql = "INSERT INTO webhook_marks (project, source, mark, left_ms) VALUES (?1, ?2, ?3, ?4)";
    for mark in marks {
        let at = millis::floor(event.received_at);
        let values = values![project.as_str(), event.source.as_str(), mark, at];
        created(session.execute(sql, &values))?;
    }
    let number = match &event.order {
        Some(order) => Some(next_number(session, project, &event.source, &order.key)?),
        None => None,
    };
    let sql = "INSERT INTO webhook_events (project, id, source, event, received_ms, bytes, sealed,
                   state, attempts, due_ms, status, failure, changed_ms, order_key, order_number)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let values = values![
        project.as_str(),
        event.id.as_str(),
        event.source.as_str(),
        event.event_id.as_deref(),
        millis::floor(event.received_at),
        query::count(event.bytes),
        &event.sealed,
    ];
    let progress = progress_values(&event.progress);
    let order = values![event.order.as_ref().map(|order| &order.key), number];
    created(session.execute(sql, &[&values[..], &progress, &order].concat()))
}

/// A number behind those of the key that are known. Nobody else gives one meanwhile: commits come one after
/// the other, on all nodes together.
fn next_number(
    session: &mut dyn Session,
    project: &ProjectName,
    source: &str,
    key: &[u8; 32],
) -> Result<i64, Broken> {
    let sql = "SELECT order_number FROM webhook_events
               WHERE project = ?1 AND source = ?2 AND order_key = ?3
               ORDER BY order_number DESC LIMIT 1";
    let last = query::first(session, sql, &values![project.as_str(), source, key], |columns| {
        columns.number()
    })?;
    Ok(last.unwrap_or_default().saturating_add(1))
}

fn created(outcome: Result<u64, Failed>) -> Result<(), Refusal> {
    match outcome {
        Ok(_) => Ok(()),
        Err(Failed::Violated(Violated::Uniqueness)) => {
            Err(CommitError::AlreadyExists(Kind::WebhookEvent).into())
        }
        Err(Failed::Violated(Violated::Reference)) => {
            Err(CommitError::NotFound(Kind::Project).into())
        }
        Err(Failed::Broken(broken)) => Err(broken.into()),
    }
}

pub(crate) fn step(
    session: &mut dyn Session,
    project: &ProjectName,
    steps: &[EventStep],
) -> Result<(), Refusal> {
    let sql = "UPDATE webhook_events SET state = ?3, attempts = ?4, due_ms = ?5, status = ?6,
                   failure = ?7, changed_ms = ?8
               WHERE project = ?1 AND id = ?2";
    let unless_changed = format!("{sql} AND changed_ms = ?9");
    for step in steps {
        let place = values![project.as_str(), step.id.as_str()];
        let progress = progress_values(&step.progress);
        let values = [&place[..], &progress].concat();
        match step.follows {
            None => session.execute(sql, &values)?,
            Some(at) => {
                let follows = values![millis::floor(at)];
                session.execute(&unless_changed, &[&values[..], &follows].concat())?
            }
        };
    }
    Ok(())
}

/// What waits of a source is dead.
pub(crate) fn end(
    session: &mut dyn Session,
    project: &ProjectName,
    source: &str,
    failure: &str,
    at: Timestamp,
) -> Result<(), Refusal> {
    let sql = "UPDATE webhook_events SET state = ?3, due_ms = NULL, failure = ?4, changed_ms = ?5
               WHERE project = ?1 AND source = ?2 AND due_ms IS NOT NULL";
    let dead = EventState::Dead.as_str();
    let values = values![project.as_str(), source, dead, failure, millis::floor(at)];
    session.execute(sql, &values)?;
    Ok(())
}

/// What ended before a moment goes, of all projects, and marks that were left before it.
pub(crate) fn forget_before(session: &mut dyn Session, time: Timestamp) -> Result<(), Refusal> {
    let before = millis::floor(time);
    let sql = "DELETE FROM webhook_events WHERE due_ms IS NULL AND changed_ms < ?1";
    session.execute(sql, &values![before])?;
    session.execute("DELETE FROM webhook_marks WHERE left_ms < ?1", &values![before])?;
    Ok(())
}

/// Whether anything ended, or any mark was left, before a moment.
pub(crate) fn exist_before(session: &mut dyn Session, time: Timestamp) -> Result<bool, Broken> {
    let before = millis::floor(time);
    let sql = "SELECT 1 FROM webhook_events WHERE due_ms IS NULL AND changed_ms < ?1 LIMIT 1";
    if query::exists(session, sql, &values![before])? {
        return Ok(true);
    }
    let sql = "SELECT 1 FROM webhook_marks WHERE left_ms < ?1 LIMIT 1";
    query::exists(session, sql, &values![before])
}

/// Events without their requests, the latest first.
pub(crate) fn list(
    session: &mut dyn Session,
    project: &ProjectName,
    filter: &EventFilter,
    limit: u32,
) -> Result<Vec<WebhookEvent>, Broken> {
    let mut conditions = Conditions::new("project = ?", project.as_str());
    conditions.and_text("source = ?", filter.source.as_deref());
    conditions.and_text("state = ?", filter.state.map(EventState::as_str));
    conditions.and_text("id < ?", filter.before.as_deref());
    let (conditions, values) = conditions.order_and_limit("id DESC", limit.saturating_sub(1));
    let sql = format!("SELECT {EVENT} FROM webhook_events WHERE {conditions}");
    query::all(session, &sql, &values, read_event)
}

/// One event, whole.
pub(crate) fn one(
    session: &mut dyn Session,
    project: &ProjectName,
    id: &str,
) -> Result<Option<WebhookEvent>, Broken> {
    let sql = format!("SELECT {EVENT}, sealed FROM webhook_events WHERE project = ?1 AND id = ?2");
    query::first(session, &sql, &values![project.as_str(), id], read_whole)
}

/// The sources of which something is due at a moment.
pub(crate) fn sources_due(
    session: &mut dyn Session,
    at: Timestamp,
) -> Result<Vec<(ProjectName, String)>, Broken> {
    let sql = "SELECT project, source FROM webhook_events
               WHERE due_ms IS NOT NULL AND due_ms <= ?1
               GROUP BY project, source ORDER BY project, source";
    query::all(session, sql, &values![millis::floor(at)], |columns| {
        Ok((columns.parsed()?, columns.text()?.to_owned()))
    })
}

/// What of a source is due at a moment, the longest due first; of what goes one after the other, the
/// first that waits.
pub(crate) fn due(
    session: &mut dyn Session,
    project: &ProjectName,
    source: &str,
    at: Timestamp,
    limit: u32,
) -> Result<Vec<WebhookEvent>, Broken> {
    // The first of each key is found in an index alone: behind it many may wait.
    let of_event: Vec<String> =
        EVENT.split(',').map(|column| format!("event.{}", column.trim())).collect();
    let sql = format!(
        "SELECT {EVENT}, sealed FROM webhook_events
         WHERE project = ?1 AND source = ?2 AND order_key IS NULL
           AND due_ms IS NOT NULL AND due_ms <= ?3
         UNION ALL
         SELECT {}, event.sealed FROM (
             SELECT order_key, MIN(order_number) AS number FROM webhook_events
             WHERE project = ?1 AND source = ?2
               AND order_key IS NOT NULL AND due_ms IS NOT NULL
             GROUP BY order_key) AS first
         JOIN webhook_events AS event
           ON event.project = ?1 AND event.source = ?2
          AND event.order_key = first.order_key AND event.order_number = first.number
         WHERE event.due_ms <= ?3
         ORDER BY due_ms, id LIMIT ?4",
        of_event.join(", ")
    );
    let values = values![project.as_str(), source, millis::floor(at), limit];
    query::all(session, &sql, &values, read_whole)
}

fn read_whole(columns: &mut Columns<'_>) -> Result<WebhookEvent, Broken> {
    let event = read_event(columns)?;
    Ok(WebhookEvent { sealed: columns.bytes()?.to_vec(), ..event })
}
