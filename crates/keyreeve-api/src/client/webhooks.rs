//! Calls about webhooks, in the order of the router.

use reqwest::Method;

use super::{Client, ClientError};
use crate::wire::{
    CreateWebhookSourceRequest, CreatedWebhookSourceView, ListWebhookEventsQuery, Page,
    RotateWebhookSecretRequest, UpdateWebhookSourceRequest, WebhookEventDetailsView,
    WebhookEventPreviewView, WebhookEventView, WebhookSecretView, WebhookSourceView,
};

const SOURCES: &str = "webhook-sources";
const EVENTS: &str = "webhook-events";

impl Client {
    /// Makes a source.
    pub async fn create_webhook_source(
        &self,
        body: &CreateWebhookSourceRequest,
    ) -> Result<CreatedWebhookSourceView, ClientError> {
        self.send(Method::POST, &[SOURCES], body).await
    }

    /// Lists sources.
    pub async fn list_webhook_sources(&self) -> Result<Page<WebhookSourceView>, ClientError> {
        self.get(&[SOURCES]).await
    }

    /// One source.
    pub async fn webhook_source(&self, name: &str) -> Result<WebhookSourceView, ClientError> {
        self.get(&[SOURCES, name]).await
    }

    /// Changes a source.
    pub async fn update_webhook_source(
        &self,
        name: &str,
        body: &UpdateWebhookSourceRequest,
    ) -> Result<WebhookSourceView, ClientError> {
        self.send(Method::PATCH, &[SOURCES, name], body).await
    }

    /// Removes a source.
    pub async fn delete_webhook_source(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&[SOURCES, name]).await
    }

    /// Makes a new secret that events are signed with.
    pub async fn rotate_webhook_secret(
        &self,
        name: &str,
        body: &RotateWebhookSecretRequest,
    ) -> Result<WebhookSecretView, ClientError> {
        self.send(Method::POST, &[SOURCES, name, "rotate-secret"], body).await
    }

    /// Lists events, the latest first.
    pub async fn list_webhook_events(
        &self,
        query: &ListWebhookEventsQuery,
    ) -> Result<Page<WebhookEventView>, ClientError> {
        self.find(&[EVENTS], query).await
    }

    /// One event with the form of what came in.
    pub async fn webhook_event(&self, id: &str) -> Result<WebhookEventPreviewView, ClientError> {
        self.get(&[EVENTS, id]).await
    }

    /// One event with what came in.
    pub async fn webhook_event_request(
        &self,
        id: &str,
    ) -> Result<WebhookEventDetailsView, ClientError> {
        self.get(&[EVENTS, id, "request"]).await
    }

    /// Has an event delivered again.
    pub async fn replay_webhook_event(&self, id: &str) -> Result<WebhookEventView, ClientError> {
        self.send(Method::POST, &[EVENTS, id, "replay"], &serde_json::json!({})).await
    }
}
