//! Handing events to the app: signed by us in the form of Standard Webhooks, tried again until it takes
//! them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Secret,
    name::ProjectName,
    vault::EnvelopeError,
    webhook::{self, Signing, retry_delay},
};
use serde_json::{Map, json};

use super::{StoredRequest, WebhookSource};
use crate::{
    Engine, Error,
    store::{Change, DutyTerm, EventProgress, EventState, EventStep, RecordKind, WebhookEvent},
    vault::{VaultError, VaultState},
};

const DUTY: &str = "webhooks";
/// For how long what ended is kept, and how long a replay is known.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An event that is to be delivered now.
pub struct DueEvent {
    /// Whose it is.
    pub project: ProjectName,
    /// Where it came from, and where it goes.
    pub source: Arc<WebhookSource>,
    /// The event.
    pub event: WebhookEvent,
    /// What came in.
    pub request: StoredRequest,
    /// Headers that prove to the app that it is from us.
    pub proof: Vec<(String, String)>,
    /// Whose duty this is; nobody's where the sender waits for the answer.
    pub term: Option<DutyTerm>,
}

/// What goes on already.
pub trait UnderWay: Sync {
    /// How many events of a source are on their way, and how many more may be.
    fn places(&self, project: &ProjectName, source: &WebhookSource) -> Places;

    /// Whether an event is on its way, or one that it goes behind.
    fn has(&self, project: &ProjectName, event: &WebhookEvent) -> bool;
}

/// How many events of a source are on their way, and how many more may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// On their way.
    pub taken: u32,
    /// How many more may be begun now.
    pub free: u32,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What the app answered, if it answered.
    pub status: Option<u16>,
    /// Why there was no answer, in words without values.
    pub failure: Option<&'static str>,
}

impl Attempt {
    /// Whether the app works: it answered, and not that it cannot serve anybody now.
    pub fn shows_life(&self) -> bool {
        self.status.is_some_and(|status| status < 500 && status != 429)
    }

    /// Whether the app took it.
    pub fn is_taken(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

impl Engine {
    /// What is to be delivered now, if that is this node's duty: of each source at most as many as there
    /// are places for. It stays its duty for that long; whoever calls this more often, while something is
    /// under way, goes on with it. An event is due until it is known what became of it, so that whoever
    /// delivers says which are under way.
    pub async fn due_webhooks(
        &self,
        duty_length: Duration,
        under_way: &impl UnderWay,
    ) -> Result<Vec<DueEvent>, VaultError> {
        if !matches!(self.vault_state(), VaultState::Open { .. }) {
            return Ok(Vec::new());
        }
        let now = self.now();
        let due = self.store.sources_with_due_events(now).await?;
        let due: HashSet<(ProjectName, String)> = due.into_iter().collect();
        if due.is_empty() {
            // Nor is anything under way: what is, is due until it is known what became of it.
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut is_busy = false;
        for (project, source) in self.kept_everywhere::<WebhookSource>(RecordKind::WebhookSource) {
            let places = under_way.places(&project, &source);
            is_busy |= places.taken > 0;
            // Each is asked by itself, so that one whose app is slow holds up no other.
            let has_due = due.contains(&(project.clone(), source.name.clone()));
            if source.paused || places.free == 0 || !has_due {
                continue;
            }
            let most = places.taken.saturating_add(places.free);
            let due = self.store.due_webhook_events(&project, &source.name, now, most).await?;
            let due = due.into_iter().filter(|event| !under_way.has(&project, event));
            found.extend(due.map(|event| (project.clone(), source.clone(), event)));
        }
        if found.is_empty() && !is_busy {
            return Ok(Vec::new());
        }
        let holder = format!("{:016x}", self.process);
        let Some(term) = self.store.take_duty(DUTY, &holder, duty_length).await? else {
            return Ok(Vec::new());
        };
        let mut ready = Vec::new();
        for (project, source, event) in found {
            let request = match self.open_request(&project, &event.id, &event.sealed) {
                Ok(request) => request,
                Err(error @ VaultError::Tampered { .. }) => {
                    tracing::error!(%error, event = event.id, "an event cannot be delivered");
                    self.give_up(&project, &event, term).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self.sign_for_app(&project, &source, &event, &request) {
                Ok(proof) => {
                    let term = Some(term);
                    ready.push(DueEvent { project, source, event, request, proof, term });
                }
                // The events of others are not held up.
                Err(error) => {
                    tracing::error!(%error, source = source.name, "events cannot be signed");
                }
            }
        }
        Ok(ready)
    }

    /// Headers in the form of Standard Webhooks: one signature with each secret that is good now.
    pub(super) fn sign_for_app(
        &self,
        project: &ProjectName,
        source: &WebhookSource,
        event: &WebhookEvent,
        request: &StoredRequest,
    ) -> Result<Vec<(String, String)>, VaultError> {
        let now = self.now();
        let mut headers: Vec<(String, String)> = Vec::new();
        for text in self.signing_secrets(project, source, now)? {
            let signing = Signing {
                method: "POST",
                url: "",
                content_type: "",
                body: &request.body,
                id: &event.id,
                now_ms: now.as_millisecond(),
            };
            let signed = webhook::sign_standard(&text, &signing);
            let signed = signed
                .map_err(|rule| VaultError::Invalid(crate::FieldError::new("signing", rule)))?;
            match headers.iter_mut().find(|(name, _)| name == "webhook-signature") {
                None => headers = signed,
                Some((_, list)) => {
                    for (_, value) in signed.iter().filter(|(name, _)| name == "webhook-signature")
                    {
                        list.push(' ');
                        list.push_str(value);
                    }
                }
            }
        }
        Ok(headers)
    }

    /// The secrets that events of a source are signed with now, the newest first.
    pub(super) fn signing_secrets(
        &self,
        project: &ProjectName,
        source: &WebhookSource,
        now: Timestamp,
    ) -> Result<Vec<Secret<String>>, VaultError> {
        let place = format!("webhook-source {}", source.name);
        let good = source.signing.iter().filter(|it| it.ends_at.is_none_or(|end| now < end));
        good.map(|signing| {
            let damaged =
                || VaultError::Tampered { what: place.clone(), why: EnvelopeError::Malformed };
            let sealed = BASE64_STANDARD.decode(&signing.sealed).map_err(|_| damaged())?;
            let opened = self.open_bytes(project, &place, signing.generation, &sealed)?;
            // EXPOSE: becomes the text that the app has, too.
            let text = String::from_utf8(opened.expose().clone()).map_err(|_| damaged())?;
            Ok(Secret::new(text))
        })
        .collect()
    }

    /// What was stored cannot be read, and never will be.
    async fn give_up(
        &self,
        project: &ProjectName,
        event: &WebhookEvent,
        term: DutyTerm,
    ) -> Result<(), VaultError> {
        let progress = EventProgress {
            state: EventState::Dead,
            due_at: None,
            failure: Some("what was stored of it was changed by somebody else".to_owned()),
            changed_at: self.now(),
            ..event.progress.clone()
        };
        self.step_event(project, event, progress, "webhook.tampering_found", Some(term)).await
    }

    /// Takes down what became of an attempt: it is over, or comes again later.
    pub async fn note_attempt(&self, due: &DueEvent, attempt: &Attempt) -> Result<(), VaultError> {
        let now = self.now();
        let attempts = due.event.progress.attempts.saturating_add(1);
        let (state, delay) = if attempt.is_taken() {
            (EventState::Delivered, None)
        } else if attempts >= due.source.settings.attempts {
            (EventState::Dead, None)
        } else {
            (EventState::Waiting, Some(retry_delay(attempts, self.random_number())))
        };
        let answered = attempt.status.map(|status| format!("the app answered {status}"));
        let progress = EventProgress {
            state,
            attempts,
            due_at: delay.map(|delay| now.saturating_add(delay).unwrap_or(now)),
            status: attempt.status,
            failure: (!attempt.is_taken())
                .then(|| attempt.failure.map(str::to_owned).or(answered))
                .flatten(),
            changed_at: now,
        };
        let action = match state {
            EventState::Delivered => "webhook.delivered",
            EventState::Dead => "webhook.dead",
            EventState::Waiting => "webhook.attempt_failed",
        };
        self.step_event(&due.project, &due.event, progress, action, due.term).await
    }

    async fn step_event(
        &self,
        project: &ProjectName,
        event: &WebhookEvent,
        progress: EventProgress,
        action: &'static str,
        term: Option<DutyTerm>,
    ) -> Result<(), VaultError> {
        let details = Map::from_iter([
            ("source".to_owned(), json!(event.source)),
            ("attempts".to_owned(), json!(progress.attempts)),
            ("status".to_owned(), json!(progress.status)),
        ]);
        let mut entry = self.system_entry(project, "webhooks", action, details);
        entry.target = keyreeve_core::audit::Target::new("webhook_event", &event.id);
        // Somebody may have had it sent again meanwhile, and that counts.
        let follows = Some(event.progress.changed_at);
        let step = EventStep { id: event.id.clone(), follows, progress };
        let mut tx = self.begin(project);
        if let Some(term) = term {
            tx = tx.with(Change::OnDuty(term));
        }
        tx.with(Change::StepEvents(vec![step])).commit(entry).await.map_err(Error::from)?;
        Ok(())
    }

    /// Forgets events that ended a month ago.
    pub(crate) async fn forget_old_webhooks(&self, term: DutyTerm) -> Result<(), Error> {
        let before = self.now().saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        if !self.store.has_webhook_events_before(before).await? {
            return Ok(());
        }
        let project = ProjectName::default_project();
        let details = Map::from_iter([("before".to_owned(), json!(before.to_string()))]);
        let entry = self.system_entry(&project, "webhooks", "webhook.forget_events", details);
        let tx = self.begin(&project).with(Change::OnDuty(term));
        tx.with(Change::ForgetEventsBefore(before)).commit(entry).await?;
        Ok(())
    }
}
