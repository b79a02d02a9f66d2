//! Events that came in as webhooks, and the marks they left.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{
    Change, CommitError, EventFilter, EventOrder, EventProgress, EventState, Kind, RecordKind,
    WebhookEvent,
};

use super::tables::{Draft, Tables};

/// Applies a change of events.
pub(super) fn apply(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    change: &Change,
) -> Result<(), CommitError> {
    match change {
        Change::AcceptEvent { event, marks } => accept(draft, project, event, marks)?,
        Change::StepEvents(steps) => {
            for step in steps {
                let key = (project.clone(), step.id.clone());
                let is_as_known = |event: &&WebhookEvent| {
                    step.follows.is_none_or(|at| at == event.progress.changed_at)
                };
                if let Some(event) = draft.tables().webhook_events.get(&key).filter(is_as_known) {
                    let event = WebhookEvent { progress: step.progress.clone(), ..event.clone() };
                    draft.put(|t| &mut t.webhook_events, key, event);
                }
            }
        }
        Change::EndEvents { source, failure, at } => end(draft, project, source, failure, *at),
        Change::ForgetEventsBefore(time) => forget_before(draft, *time),
        _ => {}
    }
    Ok(())
}

fn accept(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    event: &WebhookEvent,
    marks: &[[u8; 32]],
) -> Result<(), CommitError> {
    if !draft.tables().projects.contains_key(project) {
        return Err(CommitError::NotFound(Kind::Project));
    }
    let source = (project.clone(), RecordKind::WebhookSource, event.source.as_str().into());
    if !draft.tables().records.contains_key(&source) {
        return Err(CommitError::NotFound(Kind::WebhookSource));
    }
    for mark in marks {
        let key = (project.clone(), event.source.clone(), *mark);
        if draft.tables().webhook_marks.contains_key(&key) {
            return Err(CommitError::AlreadyExists(Kind::WebhookEvent));
        }
        draft.put(|t| &mut t.webhook_marks, key, event.received_at);
    }
    let key = (project.clone(), event.id.clone());
    if draft.tables().webhook_events.contains_key(&key) {
        return Err(CommitError::AlreadyExists(Kind::WebhookEvent));
    }
    let order = event.order.map(|order| {
        let before = of_key(draft.tables(), project, &event.source, &order.key);
        let last = before.filter_map(|it| it.order).map(|it| it.number).max();
        EventOrder { number: last.unwrap_or_default() + 1, ..order }
    });
    draft.put(|t| &mut t.webhook_events, key, WebhookEvent { order, ..event.clone() });
    Ok(())
}

/// The events of a key.
fn of_key<'t>(
    tables: &'t Tables,
    project: &'t ProjectName,
    source: &'t str,
    key: &'t [u8; 32],
) -> impl Iterator<Item = &'t WebhookEvent> {
    let of_project = tables.webhook_events.iter().filter(move |((of, _), _)| of == project);
    of_project.map(|(_, event)| event).filter(move |event| {
        event.source == source && event.order.is_some_and(|order| order.key == *key)
    })
}

/// What waits of a source is dead.
fn end(draft: &mut Draft<'_>, project: &ProjectName, source: &str, failure: &str, at: Timestamp) {
    let of_project = draft.tables().webhook_events.iter().filter(|((of, _), _)| of == project);
    let waiting = of_project
        .filter(|(_, event)| event.source == source && event.progress.due_at.is_some())
        .map(|(key, event)| (key.clone(), event.clone()));
    for (key, mut event) in waiting.collect::<Vec<_>>() {
        event.progress = EventProgress {
            state: EventState::Dead,
            due_at: None,
            failure: Some(failure.to_owned()),
            changed_at: at,
            ..event.progress
        };
        draft.put(|t| &mut t.webhook_events, key, event);
    }
}

fn is_before(event: &WebhookEvent, time: Timestamp) -> bool {
    event.progress.due_at.is_none() && event.progress.changed_at < time
}

fn forget_before(draft: &mut Draft<'_>, time: Timestamp) {
    let events = draft.tables().webhook_events.iter();
    let old = events.filter(|(_, event)| is_before(event, time)).map(|(key, _)| key.clone());
    for key in old.collect::<Vec<_>>() {
        draft.remove(|t| &mut t.webhook_events, key);
    }
    let marks = draft.tables().webhook_marks.iter();
    let old = marks.filter(|(_, left_at)| **left_at < time).map(|(key, _)| key.clone());
    for key in old.collect::<Vec<_>>() {
        draft.remove(|t| &mut t.webhook_marks, key);
    }
}

pub(super) fn exist_before(tables: &Tables, time: Timestamp) -> bool {
    tables.webhook_events.values().any(|event| is_before(event, time))
        || tables.webhook_marks.values().any(|left_at| *left_at < time)
}

pub(super) fn list(
    tables: &Tables,
    project: &ProjectName,
    filter: &EventFilter,
    limit: u32,
) -> Vec<WebhookEvent> {
    let fits = |event: &&WebhookEvent| {
        filter.source.as_ref().is_none_or(|source| event.source == *source)
            && filter.state.is_none_or(|state| event.progress.state == state)
            && filter.before.as_ref().is_none_or(|before| event.id < *before)
    };
    let of_project = tables.webhook_events.iter().rev().filter(|((of, _), _)| of == project);
    let found = of_project.map(|(_, event)| event).filter(fits);
    let bare = |event: &WebhookEvent| WebhookEvent { sealed: Vec::new(), ..event.clone() };
    found.take(usize::try_from(limit).unwrap_or(usize::MAX)).map(bare).collect()
}

pub(super) fn sources_due(tables: &Tables, at: Timestamp) -> Vec<(ProjectName, String)> {
    let due = tables
        .webhook_events
        .iter()
        .filter(|(_, event)| event.progress.due_at.is_some_and(|due_at| due_at <= at))
        .map(|((project, _), event)| (project.clone(), event.source.clone()));
    due.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether none that it goes behind waits.
fn is_next(tables: &Tables, project: &ProjectName, event: &WebhookEvent) -> bool {
    event.order.is_none_or(|order| {
        of_key(tables, project, &event.source, &order.key)
            .filter(|other| other.progress.due_at.is_some())
            .filter_map(|other| other.order)
            .all(|other| other.number >= order.number)
    })
}

pub(super) fn due(
    tables: &Tables,
    project: &ProjectName,
    source: &str,
    at: Timestamp,
    limit: u32,
) -> Vec<WebhookEvent> {
    let of_project = tables.webhook_events.iter().filter(|((of, _), _)| of == project);
    let mut due: Vec<_> = of_project
        .map(|(_, event)| event)
        .filter(|event| event.source == source)
        .filter(|event| event.progress.due_at.is_some_and(|due_at| due_at <= at))
        .filter(|event| is_next(tables, project, event))
        .cloned()
        .collect();
    due.sort_by(|one, other| {
        (one.progress.due_at, &one.id).cmp(&(other.progress.due_at, &other.id))
    });
    due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    due
}
