//! Taking a webhook: verified, not seen before, durable; then it is acknowledged.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    audit::Target,
    name::ProjectName,
    webhook::{
        self, Certificate, CertificateUrl, ConfirmationUrl, HandshakeAnswer, HeaderLine, Reason,
        ReceivedRequest, Settings,
    },
};
use serde_json::{Map, json};

use super::{DueEvent, StoredRequest, WebhookSource, keys::Opened};
use crate::{
    Engine, Error, RequestMeta,
    store::{
        Change, CommitError, EventOrder, EventProgress, EventState, Kind, RecordKind, WebhookEvent,
    },
    vault::VaultError,
};

/// The most bytes of what a sender calls an event.
const LONGEST_EVENT_ID: usize = 200;
/// Beyond the time that the app has to answer a sender who waits, until somebody else delivers the event.
const LEASE: SignedDuration = SignedDuration::from_secs(10);

/// A request for a source. Cannot be printed: it may hold a token.
#[derive(Clone, Copy)]
pub struct HookRequest<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// What stands behind the source's name in the path, with its first `/`.
    pub rest: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// The lines of the head.
    pub headers: &'a [HeaderLine<'a>],
    /// The body.
    pub body: &'a [u8],
    /// Who asks.
    pub meta: RequestMeta,
    /// The certificate that signs it, where [`Engine::webhook_certificate`] says that one does.
    pub certificate: Option<&'a Certificate>,
}

impl HookRequest<'_> {
    /// The address that the sender called, as it was given to it.
    fn url(&self, source: &WebhookSource) -> String {
        let query = self.query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{}{query}", source.settings.public_url, self.rest)
    }

    /// As the verifier reads it.
    fn received<'r>(&'r self, url: &'r str, now: Timestamp) -> ReceivedRequest<'r> {
        ReceivedRequest {
            method: self.method,
            url,
            headers: self.headers,
            body: self.body,
            remote_ip: self.meta.ip,
            now_ms: now.as_millisecond(),
        }
    }
}

/// What became of a request that was good.
pub enum Received {
    /// It is kept, under this id.
    Accepted(String),
    /// It is kept, and the sender waits for what the app answers. Whoever delivers it has to say what
    /// became of it; after [`LEASE`] and the time that the app has, it is delivered as any other.
    Asks(Box<DueEvent>),
    /// It was accepted before. The sender did not hear of it, or somebody sends it again.
    Duplicate,
    /// It only asked whether we are there.
    Handshake(HandshakeAnswer),
    /// It asks us to call an address, so that it sends events from then on.
    Confirm(ConfirmationUrl),
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HookRefused {
    /// It was not sent by who it says, or not recently.
    #[error("{0}")]
    NotVerified(Reason),
    /// The source was removed just now.
    #[error("there is no such source")]
    Gone,
    /// There is no secret to verify with, or it is none for this scheme.
    #[error("the secret of the source cannot be used")]
    NoSecret,
    /// The vault is closed, or nothing can be stored.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Engine {
    /// The source of that name.
    pub fn webhook_source_for(
        &self,
        project: &ProjectName,
        name: &str,
    ) -> Result<Option<Arc<WebhookSource>>, VaultError> {
        let kept = self.kept::<WebhookSource>(project, RecordKind::WebhookSource, name)?;
        Ok(kept.map(|kept| kept.body))
    }

    /// Where the certificate is that signs a request, if one does.
    pub fn webhook_certificate(
        &self,
        source: &WebhookSource,
        request: &HookRequest<'_>,
    ) -> Result<Option<CertificateUrl>, HookRefused> {
        let url = request.url(source);
        let needed =
            webhook::certificate_needed(source.scheme(), &request.received(&url, self.now()));
        needed.map_err(HookRefused::NotVerified)
    }

    /// Takes a request. When this gives that it was accepted, it is durable.
    pub async fn receive_webhook(
        &self,
        project: &ProjectName,
        source: &Arc<WebhookSource>,
        request: &HookRequest<'_>,
    ) -> Result<Received, HookRefused> {
        let opened = self.keys_of(project, source, request.meta).await?;
        let verified = self.verify_webhook(source, &opened, request)?;
        if let Some(answer) = verified.handshake {
            return Ok(Received::Handshake(answer));
        }
        if let Some(url) = verified.confirm {
            return Ok(Received::Confirm(url));
        }
        let now = self.now();
        let id = format!("whe_{:012x}{:016x}", now.as_millisecond(), self.random_number());
        let kept = StoredRequest::of(request, source.scheme());
        let asks = source.settings.answer_within_ms.filter(|_| !source.paused);
        let due_at = asks.map_or(now, |ms| {
            let longest = ms.max(source.settings.patience_ms);
            now.saturating_add(SignedDuration::from_millis(longest.into()) + LEASE).unwrap_or(now)
        });
        let event_id = verified.event_id.map(|id| id.chars().take(LONGEST_EVENT_ID).collect());
        let event = WebhookEvent {
            source: source.name.clone(),
            event_id,
            received_at: now,
            bytes: request.body.len() as u64,
            progress: EventProgress {
                state: EventState::Waiting,
                attempts: 0,
                due_at: Some(due_at),
                status: None,
                failure: None,
                changed_at: now,
            },
            order: verified.order_key.map(|key| EventOrder { key, number: 0 }),
            sealed: self.seal_request(project, &id, &kept)?,
            id: id.clone(),
        };
        let details = Map::from_iter([
            ("source".to_owned(), json!(source.name)),
            ("bytes".to_owned(), json!(event.bytes)),
            ("secret".to_owned(), json!(verified.key + 1)),
        ]);
        let mut entry = self.system_entry(project, "webhooks", "webhook.accept", details);
        entry.target = Target::new("webhook_event", &id);
        // Before the event is there: what cannot be signed for the app is not taken.
        let asked = match asks {
            Some(_) => Some(Box::new(DueEvent {
                project: project.clone(),
                source: source.clone(),
                proof: self.sign_for_app(project, source, &event, &kept)?,
                event: event.clone(),
                request: kept,
                term: None,
            })),
            None => None,
        };
        let change = Change::AcceptEvent { event: Box::new(event), marks: verified.replay_keys };
        match self.begin(project).with(change).commit(entry).await {
            Ok(_) => Ok(asked.map_or(Received::Accepted(id), Received::Asks)),
            Err(CommitError::AlreadyExists(Kind::WebhookEvent)) => Ok(Received::Duplicate),
            Err(CommitError::NotFound(Kind::WebhookSource)) => Err(HookRefused::Gone),
            Err(error) => Err(VaultError::from(Error::from(error)).into()),
        }
    }

    /// Takes down that a subscription was confirmed.
    pub async fn note_webhook_confirmed(
        &self,
        project: &ProjectName,
        source: &WebhookSource,
    ) -> Result<(), VaultError> {
        let action = "webhook.confirm_subscription";
        let mut entry = self.system_entry(project, "webhooks", action, Map::new());
        entry.target = Target::new("webhook_source", &source.name);
        self.begin(project).commit(entry).await.map_err(Error::from)?;
        Ok(())
    }

    fn verify_webhook(
        &self,
        source: &WebhookSource,
        opened: &Opened,
        request: &HookRequest<'_>,
    ) -> Result<webhook::Verified, HookRefused> {
        let settings = &source.settings;
        if source.scheme().has_token_in_path() && request.rest.len() < 2 {
            // What stands in our own address is not what the sender shows.
            return Err(HookRefused::NotVerified(Reason::BadToken));
        }
        let url = request.url(source);
        let settings = Settings {
            tolerance_s: settings.tolerance_s,
            // EXPOSE: compared in constant time.
            verify_token: opened.handshake.as_ref().map(|token| token.expose().as_bytes()),
            allow_from: &settings.allow_from,
            event_id: settings.event_id.as_deref(),
            order_by: settings.order_by.as_deref(),
            certificate: request.certificate,
            ..Settings::default()
        };
        let received = request.received(&url, self.now());
        webhook::verify(source.scheme(), &opened.keys, &settings, &received)
            .map_err(HookRefused::NotVerified)
    }
}
