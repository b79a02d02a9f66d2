//! Looking at events, and having them tried again.

use keyreeve_core::{audit::Target, webhook::preview};

use super::StoredRequest;
use crate::{
    Engine, Error, Permit,
    action::{ManageWebhooks, ReadWebhooks},
    permit::Action,
    store::{Change, EventFilter, EventProgress, EventState, EventStep, Kind, WebhookEvent},
    vault::VaultError,
};

/// What may be seen of a request by who may not see what customers sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPreview {
    /// The method.
    pub method: String,
    /// The names of its headers.
    pub header_names: Vec<String>,
    /// What the sender says that the body is.
    pub content_type: Option<String>,
    /// The body's members with values that say how long they are.
    pub body: String,
}

impl Engine {
    /// Events, without what came in, the latest first.
    pub async fn webhook_events(
        &self,
        permit: &Permit<'_, ReadWebhooks>,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<WebhookEvent>, Error> {
        Ok(self.store.webhook_events(permit.project(), filter, limit).await?)
    }

    /// One event with what came in, without what customers sent.
    pub async fn webhook_event_preview(
        &self,
        permit: &Permit<'_, ReadWebhooks>,
        id: &str,
    ) -> Result<(WebhookEvent, RequestPreview), VaultError> {
        let mut event = self.found_event(permit, id).await?;
        let sealed = std::mem::take(&mut event.sealed);
        let request = self.open_request(permit.project(), id, &sealed)?;
        let preview = RequestPreview {
            body: preview(request.content_type(), &request.body),
            content_type: request.content_type().map(str::to_owned),
            header_names: request.headers.into_iter().map(|(name, _)| name).collect(),
            method: request.method,
        };
        Ok((event, preview))
    }

    /// One event with what came in. That somebody looked is recorded first.
    pub async fn webhook_event(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        id: &str,
    ) -> Result<(WebhookEvent, StoredRequest), VaultError> {
        let project = permit.project();
        let mut event = self.found_event(permit, id).await?;
        let sealed = std::mem::take(&mut event.sealed);
        let request = self.open_request(project, id, &sealed)?;
        let mut entry = permit.entry(self.now(), Target::new("webhook_event", id));
        entry.action = "webhook.show_event".into();
        self.begin(project).commit(entry).await.map_err(Error::from)?;
        Ok((event, request))
    }

    /// Has an event delivered again, from the first attempt on, whatever became of it.
    pub async fn replay_webhook_event(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        id: &str,
    ) -> Result<WebhookEvent, VaultError> {
        let mut event = self.found_event(permit, id).await?;
        event.sealed.clear();
        if self.webhook_source_for(permit.project(), &event.source)?.is_none() {
            return Err(Error::NotFound(Kind::WebhookSource).into());
        }
        let now = self.now();
        event.progress = EventProgress {
            state: EventState::Waiting,
            attempts: 0,
            due_at: Some(now),
            changed_at: now,
            ..event.progress
        };
        let mut entry = permit.entry(now, Target::new("webhook_event", id));
        entry.action = "webhook.replay".into();
        let step = EventStep { id: id.to_owned(), follows: None, progress: event.progress.clone() };
        let tx = self.begin(permit.project()).with(Change::StepEvents(vec![step]));
        tx.commit(entry).await.map_err(Error::from)?;
        Ok(event)
    }

    async fn found_event<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        id: &str,
    ) -> Result<WebhookEvent, VaultError> {
        let found = self.store.webhook_event(permit.project(), id).await?;
        found.ok_or_else(|| Error::NotFound(Kind::WebhookEvent).into())
    }
}
