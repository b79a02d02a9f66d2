//! Events that came in as webhooks.

use keyreeve_engine::store::{
    Change, EventFilter, EventProgress, EventState, EventStep, WebhookEvent,
};

use super::{
    harness::{Harness, Outcome},
    samples,
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
        sealed: vec![1, 0, 255],
    }
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

fn ids(events: &[WebhookEvent]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

pub(super) async fn an_event_is_accepted_once(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    h.commit(&acme, vec![accept(1, "pay", &[1, 2])]).await?;
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
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
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

pub(super) async fn what_ended_is_forgotten_and_what_waits_is_not(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
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
