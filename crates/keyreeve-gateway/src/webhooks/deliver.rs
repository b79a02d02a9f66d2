//! An event on its way to the app.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Limited};
use keyreeve_core::name::ProjectName;
use keyreeve_engine::webhooks::{Attempt, DueEvent};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use super::Webhooks;
use crate::{
    body::RequestBody,
    proxy::prepare,
    upstream::{Destination, DialError},
};

/// How often it is looked for what is due, when nothing wakes us.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an event is left alone when it could not be stored what became of it.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);
/// Beyond the next look, so that the duty stays where it is unless that node is gone.
const DUTY: Duration = Duration::from_secs(30);
/// The most events of one source that are delivered at once.
const MOST_OF_A_SOURCE: u32 = 16;
/// The most bytes of an app's answer that are read, so that its connection ends well.
const MOST_ANSWER_BYTES: usize = 64 << 10;
const USER_AGENT: &str = concat!("keyreeve/", env!("CARGO_PKG_VERSION"));

impl Webhooks {
    /// Delivers what is due, for ever.
    pub async fn deliver(self: Arc<Self>) {
        loop {
            self.under_way.lock().ended.clear();
            let is_under_way = |project: &ProjectName, id: &str| {
                let under_way = self.under_way.lock();
                under_way.going_on.contains(&(project.clone(), id.to_owned()))
            };
            match self.engine.due_webhooks(DUTY, MOST_OF_A_SOURCE, is_under_way).await {
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

    /// Delivers an event in a task of its own, unless that goes on already or has just ended.
    fn start(self: Arc<Self>, due: DueEvent) {
        let place = (due.project.clone(), due.event.id.clone());
        {
            let mut under_way = self.under_way.lock();
            if under_way.ended.contains(&place) || !under_way.going_on.insert(place.clone()) {
                return;
            }
        }
        tokio::spawn(async move {
            let attempt = self.attempt(&due).await;
            self.figures.attempt(attempt.is_taken());
            if let Err(error) = self.engine.note_attempt(&due, &attempt).await {
                // It is delivered once more: rather twice than never.
                error!(%error, event = due.event.id, "what became of a delivery was not stored");
                // Not at once: whatever is wrong with the store, the app has nothing to do with it.
                sleep(AFTER_A_FAILURE).await;
            }
            let mut under_way = self.under_way.lock();
            under_way.going_on.remove(&place);
            under_way.ended.insert(place);
            drop(under_way);
            self.wake.notify_one();
        });
    }

    async fn attempt(&self, due: &DueEvent) -> Attempt {
        let patience = Duration::from_millis(due.source.settings.patience_ms.into());
        match timeout(patience, self.send(due, patience)).await {
            Ok(Ok(status)) => Attempt { status: Some(status), failure: None },
            Ok(Err(failure)) => Attempt { status: None, failure: Some(failure) },
            Err(_) => Attempt { status: None, failure: Some("the app did not answer in time") },
        }
    }

    async fn send(&self, due: &DueEvent, patience: Duration) -> Result<u16, &'static str> {
        let destination = Destination {
            origin: due.source.origin.clone(),
            allow_internal: due.source.settings.allow_internal,
        };
        let mut request = request(due).ok_or("the event fits no request")?;
        let sender = self.dialer.dial(&destination, patience, true).await;
        let mut sender = sender.map_err(|error| match error {
            DialError::Lookup(_) => "the app's name cannot be looked up",
            DialError::Forbidden(_) => "the app's address is one that may not be called",
            DialError::Connect(_) => "the app cannot be connected to",
            DialError::Tls(_) => "TLS to the app failed",
            DialError::Handshake(_) => "HTTP to the app could not be begun",
            DialError::TimedOut => "the app took too long to accept a connection",
        })?;
        prepare(&mut request, &sender, &destination).map_err(|_| "the event fits no request")?;
        let answer = sender.send(request).await.map_err(|_| "the app broke off")?;
        let status = answer.status().as_u16();
        // Read, and thrown away: nothing of it is ours.
        let _rest = Limited::new(answer.into_body(), MOST_ANSWER_BYTES).collect().await;
        Ok(status)
    }
}

/// The event as the app gets it: what came in, byte for byte, with our signature.
fn request(due: &DueEvent) -> Option<Request<RequestBody>> {
    let mut builder = Request::post(due.source.path.as_str())
        .header(header::HOST, due.source.origin.authority())
        .header(header::USER_AGENT, USER_AGENT);
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
    let body = Bytes::from(due.request.body());
    let body = if body.is_empty() { RequestBody::Empty } else { RequestBody::Whole(Some(body)) };
    builder.body(body).ok()
}

/// The sender's own headers go on under a name that no other sender could forge as ours.
fn passed_on(name: &str) -> Option<HeaderName> {
    HeaderName::try_from(format!("keyreeve-original-{name}")).ok()
}
