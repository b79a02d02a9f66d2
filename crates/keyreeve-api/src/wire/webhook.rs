//! Webhooks: requests that others send when something happened.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Patch, SecretText};

macro_rules! source_request {
    ($(#[$about:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$meta])* pub $field: $kind,)*
            /// How the sender proves itself, if that is known here: `stripe`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub scheme: Option<String>,
            /// Or by an HMAC that is described here: `header`, `prefix`, `algorithm`, `encoding`,
            /// `secret_encoding`, `payload`, `timestamp_header`, …
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<Object>)]
            pub hmac: Option<serde_json::Value>,
            /// Or by a token that it shows: one of `header`, `query`, `path` and `basic`.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<Object>)]
            pub token: Option<serde_json::Value>,
            /// The path of the secret to verify with. Its current version and the one before are good.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub secret: Option<String>,
            /// The field of the secret, where it has several.
            #[serde(skip_serializing_if = "Patch::is_keep")]
            #[schema(value_type = Option<String>)]
            pub field: Patch<String>,
            /// The address that the sender was given.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub public_url: Option<String>,
            /// Where events go.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub to: Option<String>,
            /// Whether the app may be on this machine or in a private network.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub allow_internal: Option<bool>,
            /// Whether events may go without TLS.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub allow_plaintext: Option<bool>,
            /// Seconds that a request may be old or ahead, instead of the scheme's.
            #[serde(skip_serializing_if = "Patch::is_keep")]
            #[schema(value_type = Option<u32>)]
            pub tolerance_s: Patch<u32>,
            /// Networks that requests may come from; all if empty.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub allow_from: Option<Vec<String>>,
            /// What names an event, where the scheme does not say it: `data.id`, a field of the query or of a
            /// form, or `header:<name>`.
            #[serde(skip_serializing_if = "Patch::is_keep")]
            #[schema(value_type = Option<String>)]
            pub event_id: Patch<String>,
            /// The field of the secret with what Meta's subscription has to show.
            #[serde(skip_serializing_if = "Patch::is_keep")]
            #[schema(value_type = Option<String>)]
            pub handshake_field: Patch<String>,
            /// The most bytes of a request's body: 1 to 10,485,760; 1 MiB unless set.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub max_body_bytes: Option<u64>,
            /// How often an event is tried: 1 to 50; 12 unless set.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub attempts: Option<u32>,
            /// How long the app may take, in milliseconds: 100 to 120,000; 15,000 unless set.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub patience_ms: Option<u32>,
            /// How many events may be on their way to the app at once: 1 to 100; 16 unless set.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub max_concurrent: Option<u32>,
            /// Where the text stands that events have in common which go to the app one after the other, as
            /// `event_id` says it; `*` for all of them.
            #[serde(skip_serializing_if = "Patch::is_keep")]
            #[schema(value_type = Option<String>)]
            pub order_by: Patch<String>,
            /// The sender is answered what the app answers, if that comes within so many milliseconds: 100 to
            /// 30,000.
            #[serde(skip_serializing_if = "Patch::is_keep")]
            #[schema(value_type = Option<u32>)]
            pub answer_within_ms: Patch<u32>,
        }
    };
}

source_request! {
    /// Makes a source. One of `scheme`, `hmac` and `token` must be there, and `secret`, `public_url` and
    /// `to`.
    CreateWebhookSourceRequest {
        /// 1 to 64 characters of a-z, 0-9, '-', '_'.
        name: String,
    }
}

source_request! {
    /// Changes a source. What is absent stays.
    UpdateWebhookSourceRequest {
        /// Whether its events wait instead of being delivered.
        #[serde(skip_serializing_if = "Option::is_none")]
        paused: Option<bool>,
    }
}

/// A sender of webhooks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookSourceView {
    /// Names it.
    pub name: String,
    /// Where requests are taken: what stands behind this server's address.
    pub path: String,
    /// How the sender proves itself: a scheme, `generic-hmac` or `shared-token`.
    pub scheme: String,
    /// The HMAC, if it is described here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub hmac: Option<serde_json::Value>,
    /// Where a token stands, if one is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub token: Option<serde_json::Value>,
    /// The path of the secret.
    pub secret: String,
    /// The field of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The address that the sender was given.
    pub public_url: String,
    /// Where events go.
    pub to: String,
    /// Whether the app may be on this machine or in a private network.
    pub allow_internal: bool,
    /// Whether events may go without TLS.
    pub allow_plaintext: bool,
    /// Seconds that a request may be old or ahead; `null` where no time is signed.
    pub tolerance_s: Option<u32>,
    /// Networks that requests may come from; all if empty.
    pub allow_from: Vec<String>,
    /// What names an event, where the scheme does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The field of the secret with what Meta's subscription has to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_field: Option<String>,
    /// The most bytes of a request's body.
    pub max_body_bytes: u64,
    /// How often an event is tried.
    pub attempts: u32,
    /// How long the app may take, in milliseconds.
    pub patience_ms: u32,
    /// How many events may be on their way to the app at once.
    pub max_concurrent: u32,
    /// Where the text stands that events have in common which go one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_by: Option<String>,
    /// How long the sender waits for the app's own answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_within_ms: Option<u32>,
    /// How its requests fared on the node that answers.
    pub tally: WebhookTallyView,
    /// Whether its events wait instead of being delivered.
    pub paused: bool,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// How the requests of a source fared on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTallyView {
    /// How many came to which verdict since the node's start: `accepted`, `duplicate`, `handshake`, or why
    /// they were refused.
    pub verdicts: BTreeMap<String, u64>,
    /// How many were not refused in the last five minutes: taken, here before, or handshakes.
    pub recently_taken: u64,
    /// How many were refused in the last five minutes.
    pub recently_refused: u64,
    /// Whether those are so many that somebody should look: at least 20, and no fewer than the others.
    pub failure_burst: bool,
}

/// A source that was made, with what its events are signed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatedWebhookSourceView {
    /// What the app verifies events with, in the form of Standard Webhooks. Shown this once.
    pub signing_secret: SecretText,
    /// The source.
    pub source: WebhookSourceView,
}

/// Asks for a new secret that events are signed with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RotateWebhookSecretRequest {
    /// For how long the one before signs, too: `24h` unless set, at most `30d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
}

/// A new secret that events are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookSecretView {
    /// In the form of Standard Webhooks. Shown this once.
    pub signing_secret: SecretText,
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListWebhookEventsQuery {
    /// Of this source only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `waiting`, `delivered` or `dead`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// At most so many: 1 to 1000; 100 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An event that came in as a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookEventView {
    /// Ours; what the app sees as `webhook-id`.
    pub id: String,
    /// The source.
    pub source: String,
    /// What the sender calls it.
    pub event_id: Option<String>,
    /// When it came in.
    pub received_at: Timestamp,
    /// Bytes of its body.
    pub bytes: u64,
    /// `waiting`, `delivered` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Timestamp>,
    /// What the app answered last.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// When all this was last changed.
    pub updated_at: Timestamp,
}

/// An event with what came in, without what customers sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookEventPreviewView {
    /// The event.
    #[serde(flatten)]
    pub event: WebhookEventView,
    /// The method.
    pub method: String,
    /// The names of its headers.
    pub header_names: Vec<String>,
    /// What the sender says that the body is.
    pub content_type: Option<String>,
    /// The body's members with values that say how long they are. Kinds of events are kept.
    pub preview: String,
}

/// An event with what came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookEventDetailsView {
    /// The event.
    #[serde(flatten)]
    pub event: WebhookEventView,
    /// The method.
    pub method: String,
    /// What stood behind the source's name in the path, without a token.
    pub rest: String,
    /// The query, without a token.
    pub query: Option<String>,
    /// Headers, without those that show a token.
    pub headers: Vec<(String, String)>,
    /// The body in base64.
    pub body: String,
}
