//! Events that came in as webhooks.

use std::sync::Arc;

use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{
    Change, EventFilter, EventOrder, EventProgress, EventState, EventStep, RecordKind, StoreError,
    WebhookEvent,
};

use super::{
    harness::{Failure, Harness, Outcome},
    samples,
    vault::record,
};

fn event(number: i64, source: &str) -> WebhookEvent {
    WebhookEvent {
        id: format!("whe_{number:04}"),
        source: source.to_owned(),
        event_id: (number % 2 == 0).then(|| format!("evt_{number}")),
        received_at: samples::time(number),
        bytes: 7,
        progress: EventProgress {
            state: EventState::Waiting,
            attempts: 0,
            due_at: Some(samples::time(number)),
            status: None,
            failure: None,
            changed_at: samples::time(number),
        },
        order: None,
        sealed: vec![1, 0, 255],
    }
}

/// A project with the sources that these events are of.
async fn with_sources(h: &Harness, name: &str) -> Result<ProjectName, Failure> {
    let project = h.project(name).await?;
    for source in ["pay", "sms"] {
        let record = record(RecordKind::WebhookSource, source, 1);
        h.commit(&project, vec![Change::PutRecord(Arc::new(record))]).await?;
    }
    Ok(project)
}

fn accept(number: i64, source: &str, marks: &[u8]) -> Change {
    let marks = marks.iter().map(|mark| [*mark; 32]).collect();
    Change::AcceptEvent { event: Box::new(event(number, source)), marks }
}

fn ended(number: i64, state: EventState, at: i64) -> EventStep {
    let progress = EventProgress {
        state,
        attempts: 3,
        due_at: None,
        status: Some(503),
        failure: Some("the app answered 503".to_owned()),
        changed_at: samples::time(at),
    };
    EventStep { id: format!("whe_{number:04}"), follows: None, progress }
}

fn waiting(number: i64) -> EventStep {
    let progress = event(number, "pay").progress;
    EventStep { id: format!("whe_{number:04}"), follows: None, progress }
}

fn ids(events: &[WebhookEvent]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

pub(super) async fn an_event_is_accepted_once(h: Harness) -> Outcome {
    let (acme, other) = (with_sources(&h, "acme").await?, with_sources(&h, "other").await?);
    h.commit(&acme, vec![accept(1, "pay", &[1, 2])]).await?;
    let gone = h.commit(&acme, vec![accept(2, "gone", &[9])]).await;
    assert_refused!(gone, NotFound(WebhookSource));
    let again = h.commit(&acme, vec![accept(2, "pay", &[3, 2])]).await;
    assert_refused!(again, AlreadyExists(WebhookEvent));
    assert!(h.store.webhook_event(&acme, "whe_0002").await?.is_none(), "nothing of it is left");
    h.commit(&acme, vec![accept(3, "pay", &[3])]).await?;
    h.commit(&acme, vec![accept(4, "sms", &[1, 2])]).await?;
    h.commit(&other, vec![accept(5, "pay", &[1, 2])]).await?;
    assert_eq!(h.store.webhook_event(&acme, "whe_0001").await?, Some(event(1, "pay")));
    assert_eq!(h.store.webhook_event(&other, "whe_0001").await?, None);
    Ok(())
}

pub(super) async fn events_are_listed_and_due(h: Harness) -> Outcome {
    let (acme, other) = (with_sources(&h, "acme").await?, with_sources(&h, "other").await?);
    for (number, source) in [(1, "pay"), (2, "sms"), (3, "pay"), (4, "pay")] {
        let mark = u8::try_from(number).unwrap_or_default();
        h.commit(&acme, vec![accept(number, source, &[mark])]).await?;
    }
    h.commit(&other, vec![accept(2, "pay", &[9])]).await?;
    let all = EventFilter::default();
    let listed = h.store.webhook_events(&acme, &all, 3).await?;
    assert_eq!(ids(&listed), ["whe_0004", "whe_0003", "whe_0002"]);
    assert!(listed.iter().all(|event| event.sealed.is_empty()));
    let before = EventFilter { before: Some("whe_0002".to_owned()), ..all.clone() };
    assert_eq!(ids(&h.store.webhook_events(&acme, &before, 9).await?), ["whe_0001"]);
    let of_sms = EventFilter { source: Some("sms".to_owned()), ..all.clone() };
    assert_eq!(ids(&h.store.webhook_events(&acme, &of_sms, 9).await?), ["whe_0002"]);

    let due = h.store.due_webhook_events(&acme, "pay", samples::time(3), 9).await?;
    assert_eq!(ids(&due), ["whe_0001", "whe_0003"], "what is due later is left out");
    assert_eq!(due.first().map(|event| event.sealed.clone()), Some(vec![1, 0, 255]));
    let sources = h.store.sources_with_due_events(samples::time(2)).await?;
    let of = |project: &ProjectName, source: &str| (project.clone(), source.to_owned());
    assert_eq!(sources, [of(&acme, "pay"), of(&acme, "sms"), of(&other, "pay")]);
    assert_eq!(h.store.sources_with_due_events(samples::time(1)).await?, [of(&acme, "pay")]);
    assert!(h.store.sources_with_due_events(samples::time(0)).await?.is_empty());
    let one = h.store.due_webhook_events(&acme, "pay", samples::time(9), 1).await?;
    assert_eq!(ids(&one), ["whe_0001"], "bounded");
    assert_eq!(h.store.due_webhook_events(&other, "pay", samples::time(9), 9).await?.len(), 1);
    assert_eq!(h.store.due_webhook_events(&other, "sms", samples::time(9), 9).await?.len(), 0);

    h.commit(&acme, vec![Change::StepEvents(vec![ended(1, EventState::Dead, 50)])]).await?;
    let dead = EventFilter { state: Some(EventState::Dead), ..all };
    let found = h.store.webhook_events(&acme, &dead, 9).await?;
    assert_eq!(
        found.first().map(|it| it.progress.clone()),
        Some(ended(1, EventState::Dead, 50).progress)
    );
    let due = h.store.due_webhook_events(&acme, "pay", samples::time(9), 9).await?;
    assert_eq!(ids(&due), ["whe_0003", "whe_0004"], "what ended is not due");
    let late = EventStep { follows: Some(samples::time(1)), ..ended(1, EventState::Delivered, 60) };
    h.commit(&acme, vec![Change::StepEvents(vec![late])]).await?;
    let stays = h.store.webhook_event(&acme, "whe_0001").await?;
    assert_eq!(stays.map(|it| it.progress.state), Some(EventState::Dead), "changed since");
    let next =
        EventStep { follows: Some(samples::time(50)), ..ended(1, EventState::Delivered, 60) };
    h.commit(&acme, vec![Change::StepEvents(vec![next])]).await?;
    let steps = h.store.webhook_event(&acme, "whe_0001").await?;
    assert_eq!(steps.map(|it| it.progress.state), Some(EventState::Delivered));
    let gone = vec![Change::StepEvents(vec![ended(77, EventState::Dead, 50)])];
    h.commit(&acme, gone).await?;
    Ok(())
}

/// An event that goes behind those with the same letter.
fn accept_in_order(number: i64, source: &str, key: u8) -> Change {
    let order = Some(EventOrder { key: [key; 32], number: 0 });
    let event = WebhookEvent { order, ..event(number, source) };
    Change::AcceptEvent { event: Box::new(event), marks: Vec::new() }
}

pub(super) async fn events_of_a_key_are_due_one_after_the_other(h: Harness) -> Outcome {
    let acme = with_sources(&h, "acme").await?;
    // In another order than that of their names and times.
    for (number, source, key) in
        [(5, "pay", b'a'), (3, "pay", b'a'), (4, "pay", b'b'), (2, "sms", b'a'), (1, "pay", b'a')]
    {
        h.commit(&acme, vec![accept_in_order(number, source, key)]).await?;
    }
    h.commit(&acme, vec![accept(6, "pay", &[6])]).await?;
    let due = async || h.store.due_webhook_events(&acme, "pay", samples::time(9), 9).await;
    assert_eq!(ids(&due().await?), ["whe_0004", "whe_0005", "whe_0006"]);
    let stored = h.store.webhook_event(&acme, "whe_0003").await?;
    let place = stored.and_then(|event| event.order);
    assert_eq!(place, Some(EventOrder { key: [b'a'; 32], number: 2 }));

    let later = EventProgress { due_at: Some(samples::time(99)), ..event(5, "pay").progress };
    let step = EventStep { id: "whe_0005".to_owned(), follows: None, progress: later };
    h.commit(&acme, vec![Change::StepEvents(vec![step])]).await?;
    assert_eq!(ids(&due().await?), ["whe_0004", "whe_0006"], "held up by the first of them");
    h.commit(&acme, vec![Change::StepEvents(vec![ended(5, EventState::Dead, 50)])]).await?;
    assert_eq!(ids(&due().await?), ["whe_0003", "whe_0004", "whe_0006"]);
    h.commit(&acme, vec![Change::StepEvents(vec![ended(3, EventState::Delivered, 50)])]).await?;
    assert_eq!(ids(&due().await?), ["whe_0001", "whe_0004", "whe_0006"]);

    // Whoever comes later goes behind those that are delivered once more, too.
    h.commit(&acme, vec![accept_in_order(7, "pay", b'a')]).await?;
    let again = waiting(3);
    h.commit(&acme, vec![Change::StepEvents(vec![again])]).await?;
    assert_eq!(ids(&due().await?), ["whe_0003", "whe_0004", "whe_0006"]);
    h.commit(&acme, vec![Change::StepEvents(vec![ended(1, EventState::Dead, 50)])]).await?;
    h.commit(&acme, vec![Change::StepEvents(vec![ended(3, EventState::Dead, 51)])]).await?;
    assert_eq!(ids(&due().await?), ["whe_0004", "whe_0006", "whe_0007"]);
    h.commit(&acme, vec![accept_in_order(8, "pay", b'a')]).await?;
    h.commit(&acme, vec![Change::StepEvents(vec![waiting(1)])]).await?;
    assert_eq!(ids(&due().await?), ["whe_0001", "whe_0004", "whe_0006"], "as it came in");
    Ok(())
}

pub(super) async fn what_waits_of_a_source_ends_at_once(h: Harness) -> Outcome {
    let (acme, other) = (with_sources(&h, "acme").await?, with_sources(&h, "other").await?);
    for (number, source) in [(1, "pay"), (2, "pay"), (3, "sms")] {
        let mark = u8::try_from(number).unwrap_or_default();
        h.commit(&acme, vec![accept(number, source, &[mark])]).await?;
    }
    h.commit(&other, vec![accept(4, "pay", &[4])]).await?;
    h.commit(&acme, vec![Change::StepEvents(vec![ended(1, EventState::Delivered, 10)])]).await?;
    let end = Change::EndEvents {
        source: "pay".to_owned(),
        failure: "its source was removed",
        at: samples::time(20),
    };
    h.commit(&acme, vec![end]).await?;
    let progress = async |project, id| {
        Ok::<_, StoreError>(h.store.webhook_event(project, id).await?.map(|it| it.progress))
    };
    let ended_before = ended(1, EventState::Delivered, 10).progress;
    assert_eq!(progress(&acme, "whe_0001").await?, Some(ended_before));
    let now = EventProgress {
        state: EventState::Dead,
        due_at: None,
        failure: Some("its source was removed".to_owned()),
        changed_at: samples::time(20),
        ..event(2, "pay").progress
    };
    assert_eq!(progress(&acme, "whe_0002").await?, Some(now));
    assert_eq!(progress(&acme, "whe_0003").await?, Some(event(3, "sms").progress));
    assert_eq!(progress(&other, "whe_0004").await?, Some(event(4, "pay").progress));
    Ok(())
}

pub(super) async fn what_ended_is_forgotten_and_what_waits_is_not(h: Harness) -> Outcome {
    let (acme, other) = (with_sources(&h, "acme").await?, with_sources(&h, "other").await?);
    h.commit(&acme, vec![accept(1, "pay", &[1])]).await?;
    h.commit(&acme, vec![accept(2, "pay", &[2])]).await?;
    h.commit(&other, vec![accept(30, "pay", &[3])]).await?;
    assert!(h.store.has_webhook_events_before(samples::time(20)).await?, "marks");
    assert!(!h.store.has_webhook_events_before(samples::time(1)).await?);
    h.commit(&acme, vec![Change::StepEvents(vec![ended(1, EventState::Delivered, 10)])]).await?;
    h.commit(&acme, vec![Change::ForgetEventsBefore(samples::time(20))]).await?;
    let left = h.store.webhook_events(&acme, &EventFilter::default(), 9).await?;
    assert_eq!(ids(&left), ["whe_0002"]);
    assert!(!h.store.has_webhook_events_before(samples::time(20)).await?);
    h.commit(&acme, vec![accept(3, "pay", &[1])]).await?;
    let again = h.commit(&other, vec![accept(4, "pay", &[3])]).await;
    assert_refused!(again, AlreadyExists(WebhookEvent));
    Ok(())
}
