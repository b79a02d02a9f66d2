//! An event on its way to the app.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use keyreeve_core::name::ProjectName;
use keyreeve_engine::{
    store::WebhookEvent,
    webhooks::{Attempt, DueEvent, Places, UnderWay, WebhookSource},
};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use super::{Lane, Webhooks};
use crate::{
    body::RequestBody,
    proxy::{Answered, prepare},
    upstream::{Destination, DialError, Purpose},
};

/// How often it is looked for what is due, when nothing wakes us.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an event is left alone when it could not be stored what became of it.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);
/// Beyond the next look, so that the duty stays where it is unless that node is gone.
const DUTY: Duration = Duration::from_secs(30);
/// The most bytes of an app's answer that are read: for a sender who waits, and so that its connection
/// ends well.
const MOST_ANSWER_BYTES: usize = 1 << 20;
const USER_AGENT: &str = concat!("keyreeve/", env!("CARGO_PKG_VERSION"));

impl Webhooks {
    /// Delivers what is due, for ever.
    pub async fn deliver(self: Arc<Self>) {
        loop {
            self.under_way.lock().ended.clear();
            match self.engine.due_webhooks(DUTY, &*self).await {
                Ok(due) => {
                    for event in due {
                        self.clone().start(event);
                    }
                }
                Err(error) => warn!(%error, "webhooks cannot be delivered now; tried again"),
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Delivers an event in a task of its own, unless that goes on already or has just ended, as many do
    /// as may, or the app does not answer and is left alone for a while.
    fn start(self: Arc<Self>, due: DueEvent) {
        let lane = (due.project.clone(), due.source.name.clone());
        if !self.begin(&lane, &due) {
            return;
        }
        let delivery = Delivery { webhooks: self, lane, due };
        tokio::spawn(async move {
            let patience = Duration::from_millis(delivery.due.source.settings.patience_ms.into());
            delivery.run(patience).await;
        });
    }

    /// Whether a delivery may begin; then it has.
    fn begin(&self, lane: &Lane, due: &DueEvent) -> bool {
        let mut under_way = self.under_way.lock();
        // Asked last: whoever is let through to see whether the app is back has to go.
        let may = !under_way.has(lane, &due.event)
            && !under_way.ended.contains(&(lane.clone(), due.event.id.clone()))
            && under_way.of(lane) < due.source.settings.max_concurrent
            && self.breakers.of(lane).admit(|| self.clock.monotonic_ns()).is_ok();
        if may {
            under_way.begin(lane, &due.event);
        }
        may
    }

    /// Delivers an event whose sender waits for what the app answers, for so long at most. The delivery
    /// goes on when the sender does not wait any longer.
    pub(super) async fn ask(self: Arc<Self>, due: DueEvent, within: Duration) -> Asked {
        let lane = (due.project.clone(), due.source.name.clone());
        if !self.begin(&lane, &due) {
            return Asked::Busy;
        }
        let usual = Duration::from_millis(due.source.settings.patience_ms.into());
        let delivery = Delivery { webhooks: self, lane, due };
        let task = tokio::spawn(async move { delivery.run(usual.max(within)).await });
        match timeout(within, task).await {
            Ok(Ok(Some(answer))) => Asked::Answer(answer),
            Ok(_) => Asked::Unreachable,
            Err(_) => Asked::TooSlow,
        }
    }
}

impl UnderWay for Webhooks {
    fn places(&self, project: &ProjectName, source: &WebhookSource) -> Places {
        let lane = (project.clone(), source.name.clone());
        let taken = self.under_way.lock().of(&lane);
        let free = source.settings.max_concurrent.saturating_sub(taken);
        let now_ns = self.clock.monotonic_ns();
        Places { taken, free: self.breakers.of(&lane).places(now_ns, free) }
    }

    fn has(&self, project: &ProjectName, event: &WebhookEvent) -> bool {
        self.under_way.lock().has(&(project.clone(), event.source.clone()), event)
    }
}

/// What a sender who waits can be told.
pub(super) enum Asked {
    /// The app has as much to do as it may, or does not answer and is left alone.
    Busy,
    /// What the app answered.
    Answer(Answer),
    /// There is no answer.
    Unreachable,
    /// There is none yet.
    TooSlow,
}

/// What an app answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<HeaderValue>,
    /// Nothing if it broke off or is longer than 1 MiB.
    pub(super) body: Option<Bytes>,
}

/// A delivery that goes on. However it ends, it does not go on any more.
struct Delivery {
    webhooks: Arc<Webhooks>,
    lane: Lane,
    due: DueEvent,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.webhooks.under_way.lock().end(&self.lane, &self.due.event.id);
        self.webhooks.wake.notify_one();
    }
}

impl Delivery {
    /// Tries it, and has taken down what became of it.
    async fn run(self, patience: Duration) -> Option<Answer> {
        let Webhooks { engine, figures, breakers, clock, .. } = &*self.webhooks;
        let answer = match timeout(patience, self.send(patience)).await {
            Ok(answer) => answer,
            Err(_) => Err("the app did not answer in time"),
        };
        let attempt = Attempt {
            status: answer.as_ref().ok().map(|answer| answer.status.as_u16()),
            failure: answer.as_ref().err().copied(),
        };
        figures.attempt(attempt.is_taken());
        let breaker = breakers.of(&self.lane);
        if attempt.shows_life() {
            breaker.succeeded();
        } else {
            breaker.failed(clock.monotonic_ns());
        }
        if let Err(error) = engine.note_attempt(&self.due, &attempt).await {
            // It is delivered once more: rather twice than never.
            error!(%error, event = self.due.event.id, "what became of a delivery was not stored");
            if self.due.term.is_some() {
                // Not at once: whatever is wrong with the store, the app has nothing to do with it.
                sleep(AFTER_A_FAILURE).await;
            }
        }
        answer.ok()
    }

    async fn send(&self, patience: Duration) -> Result<Answer, &'static str> {
        let due = &self.due;
        let destination = Destination {
            origin: due.source.origin.clone(),
            allow_internal: due.source.settings.allow_internal,
        };
        let mut request = request(due).ok_or("the event fits no request")?;
        let sender = self.webhooks.dialer.dial(&destination, patience, Purpose::Http1).await;
        let sender = sender.map_err(|error| match error {
            DialError::Lookup(_) => "the app's name cannot be looked up",
            DialError::Forbidden(_) => "the app's address is one that may not be called",
            DialError::Connect(_) => "the app cannot be connected to",
            DialError::Tls(_) => "TLS to the app failed",
            DialError::Handshake(_) => "HTTP to the app could not be begun",
            DialError::TimedOut => "the app took too long to accept a connection",
        })?;
        prepare(&mut request, &sender, &destination.origin)
            .map_err(|_| "the event fits no request")?;
        let answer = sender.send(&mut request).await.map_err(|_| "the app broke off")?;
        let Answered { response, sender: _kept } = answer;
        let (parts, body) = response.into_parts();
        // Only a sender who waits gets the body, and that one gets all of it or none.
        let body = Limited::new(body, MOST_ANSWER_BYTES).collect().await;
        let body = body.ok().map(http_body_util::Collected::to_bytes);
        let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
        Ok(Answer { status: parts.status, content_type, body })
    }
}

/// The event as the app gets it: what came in, byte for byte, with our signature.
fn request(due: &DueEvent) -> Option<Request<RequestBody>> {
    let mut builder =
        Request::post(due.source.path.as_str()).header(header::USER_AGENT, USER_AGENT);
    if let Some(kind) = due.request.content_type() {
        builder = builder.header(header::CONTENT_TYPE, kind);
    }
    for (name, value) in &due.proof {
        builder = builder.header(name, value);
    }
    // Texts of the sender's may be no headers of ours: then the app does without.
    let told = [
        ("keyreeve-source", Some(due.source.name.clone())),
        ("keyreeve-event", due.event.event_id.clone()),
        ("keyreeve-attempt", Some((due.event.progress.attempts + 1).to_string())),
        ("keyreeve-original-method", Some(due.request.method.clone())),
        ("keyreeve-original-path", Some(due.request.rest.clone()).filter(|rest| !rest.is_empty())),
        ("keyreeve-original-query", due.request.query.clone()),
    ];
    for (name, value) in told {
        let value = value.and_then(|value| HeaderValue::try_from(value).ok());
        if let Some(value) = value {
            builder = builder.header(HeaderName::from_static(name), value);
        }
    }
    for (name, value) in &due.request.headers {
        // What the body is goes with the body; how long it is, we say ourselves.
        if name.eq_ignore_ascii_case("content-encoding") {
            builder = builder.header(header::CONTENT_ENCODING, value);
        }
        let is_ours = ["content-type", "content-encoding", "content-length"]
            .iter()
            .any(|ours| name.eq_ignore_ascii_case(ours));
        if !is_ours && let Some(name) = passed_on(name) {
            builder = builder.header(name, value);
        }
    }
    let body = Bytes::from(due.request.body.clone());
    let body = if body.is_empty() { RequestBody::Empty } else { RequestBody::Whole(Some(body)) };
    builder.body(body).ok()
}

/// The sender's own headers go on under a name that no other sender could forge as ours.
fn passed_on(name: &str) -> Option<HeaderName> {
    HeaderName::try_from(format!("keyreeve-original-{name}")).ok()
}
