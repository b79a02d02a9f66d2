//! What a source is.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use keyreeve_core::{
    Invalid,
    egress::{BaseUrl, Origin, Scheme as UrlScheme},
    restriction::IpNetwork,
    vault::SecretPath,
    webhook::{self, GenericScheme, Scheme, SharedToken},
};
use serde::{Deserialize, Serialize};

use crate::FieldError;

const LARGEST_BODY: u64 = 10 << 20;
const MOST_ATTEMPTS: u32 = 50;
const MOST_PATIENCE_MS: u32 = 120_000;
const MOST_CONCURRENT: u32 = 100;
const MOST_ANSWER_MS: u32 = 30_000;
const LONGEST_PLACE: usize = 200;
const LONGEST_TOLERANCE_S: u32 = 7 * 86_400;
const MOST_NETWORKS: usize = 100;
const LONGEST_URL: usize = 1_000;

/// How a sender proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceProof {
    /// As a scheme that is known: `stripe`.
    Scheme(String),
    /// By an HMAC that is described here.
    Hmac(GenericScheme),
    /// By a token that it shows; nothing is signed.
    Token(SharedToken),
}

impl SourceProof {
    /// The scheme that it is.
    pub fn scheme(&self) -> Result<Scheme, FieldError> {
        match self {
            Self::Scheme(name) => webhook::named(name).ok_or_else(|| {
                let rule = "must be a scheme that is known: see `keyreeve webhook schemes`";
                FieldError::new("proof.scheme", Invalid::new(rule))
            }),
            Self::Hmac(described) => {
                described.scheme("generic-hmac").map_err(|rule| FieldError::new("proof.hmac", rule))
            }
            Self::Token(place) => {
                place.scheme("shared-token").map_err(|rule| FieldError::new("proof.token", rule))
            }
        }
    }
}

/// What somebody decided about a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// How the sender proves itself.
    pub proof: SourceProof,
    /// Where the sender's secret is kept. The current version and the one before are good.
    pub secret: SecretPath,
    /// The field of the secret; the only one if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The address that the sender was given, without what it adds itself. It is never guessed from a
    /// request's head.
    pub public_url: String,
    /// Where events go: a whole address, whose path is sent as it stands.
    pub to: String,
    /// Whether that may be this machine or a private network.
    #[serde(default)]
    pub allow_internal: bool,
    /// Whether events may go without TLS.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Seconds that a request may be old or ahead, instead of the scheme's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// Networks that requests may come from; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_from: Vec<IpNetwork>,
    /// What names an event, where the scheme does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The field of the secret with what Meta's subscription has to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_field: Option<String>,
    /// The most bytes of a request's body: 1 to 10,485,760.
    #[serde(default = "usual_body")]
    pub max_body_bytes: u64,
    /// How often an event is tried: 1 to 50.
    #[serde(default = "usual_attempts")]
    pub attempts: u32,
    /// How long the app may take for one, in milliseconds: 100 to 120,000.
    #[serde(default = "usual_patience")]
    pub patience_ms: u32,
    /// How many events of this source may be on their way to the app at once: 1 to 100.
    #[serde(default = "usual_concurrency")]
    pub max_concurrent: u32,
    /// Where the text stands that events have in common which go to the app one after the other:
    /// as `event_id`, or `*` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_by: Option<String>,
    /// The sender is answered what the app answers, if that comes within so many milliseconds: 100 to
    /// 30,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_within_ms: Option<u32>,
}

fn usual_body() -> u64 {
    SourceSettings::USUAL_BODY
}

fn usual_attempts() -> u32 {
    SourceSettings::USUAL_ATTEMPTS
}

fn usual_patience() -> u32 {
    SourceSettings::USUAL_PATIENCE_MS
}

fn usual_concurrency() -> u32 {
    SourceSettings::USUAL_CONCURRENCY
}

impl SourceSettings {
    /// How many events are on their way at once unless set.
    pub const USUAL_CONCURRENCY: u32 = 16;
    /// The most bytes of a body unless set.
    pub const USUAL_BODY: u64 = 1 << 20;
    /// How often an event is tried unless set.
    pub const USUAL_ATTEMPTS: u32 = 12;
    /// How long an app may take unless set, in milliseconds.
    pub const USUAL_PATIENCE_MS: u32 = 15_000;

    /// Whether requests may come from there.
    pub fn allows_from(&self, ip: Option<IpAddr>) -> bool {
        self.allow_from.is_empty()
            || ip.is_some_and(|ip| self.allow_from.iter().any(|network| network.contains(ip)))
    }

    /// Whether all of it can be meant; gives the scheme.
    pub(super) fn check(&self) -> Result<Scheme, FieldError> {
        let refuse =
            |field: &str, rule: &str| Err(FieldError::new(field, Invalid::new(rule.to_owned())));
        let scheme = self.proof.scheme()?;
        if !is_address(&self.public_url) {
            let rule = "must be the whole address that the sender was given, such as \
                        https://hooks.example.com/hooks/stripe, without a query";
            return refuse("public_url", rule);
        }
        let to = BaseUrl::parse(&self.to).map_err(|rule| FieldError::new("to", rule))?;
        if to.origin.scheme() == UrlScheme::Http && !self.allow_plaintext {
            let rule = "must begin with https:// unless allow_plaintext is set: events would go in \
                        clear text";
            return refuse("to", rule);
        }
        if self.allow_from.len() > MOST_NETWORKS {
            return refuse("allow_from", "must be at most 100");
        }
        if self.tolerance_s.is_some_and(|s| !(1..=LONGEST_TOLERANCE_S).contains(&s)) {
            return refuse("tolerance_s", "must be 1 to 604800");
        }
        if self.tolerance_s.is_some() && !scheme.is_timed() {
            return refuse("tolerance_s", "cannot be set: this scheme signs no time");
        }
        if !(1..=LARGEST_BODY).contains(&self.max_body_bytes) {
            return refuse("max_body_bytes", "must be 1 to 10485760");
        }
        if !(1..=MOST_ATTEMPTS).contains(&self.attempts) {
            return refuse("attempts", "must be 1 to 50");
        }
        if !(100..=MOST_PATIENCE_MS).contains(&self.patience_ms) {
            return refuse("patience_ms", "must be 100 to 120000");
        }
        self.check_delivery().map(|()| scheme)
    }

    fn check_delivery(&self) -> Result<(), FieldError> {
        let refuse =
            |field: &str, rule: &str| Err(FieldError::new(field, Invalid::new(rule.to_owned())));
        if !(1..=MOST_CONCURRENT).contains(&self.max_concurrent) {
            return refuse("max_concurrent", "must be 1 to 100");
        }
        if self
            .order_by
            .as_ref()
            .is_some_and(|place| place.is_empty() || place.len() > LONGEST_PLACE)
        {
            let rule = "must say where the text stands that such events have in common, in 1 to 200 \
                        bytes, or be *";
            return refuse("order_by", rule);
        }
        if self.answer_within_ms.is_some_and(|ms| !(100..=MOST_ANSWER_MS).contains(&ms)) {
            return refuse("answer_within_ms", "must be 100 to 30000");
        }
        if self.answer_within_ms.is_some() && self.order_by.is_some() {
            let rule =
                "cannot be set beside order_by: who waits for an answer cannot wait for others";
            return refuse("answer_within_ms", rule);
        }
        Ok(())
    }
}

/// Whether a text is an address that can be signed: as it is written, it is compared.
fn is_address(text: &str) -> bool {
    let known = text.starts_with("https://") || text.starts_with("http://");
    known && text.len() <= LONGEST_URL && BaseUrl::parse(text).is_ok()
}

/// A source as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredSource {
    pub(super) name: String,
    pub(super) settings: SourceSettings,
    pub(super) paused: bool,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) created_by: String,
    /// What events are signed with for the app, the newest first.
    pub(super) signing: Vec<StoredSigning>,
}

/// A secret that events are signed with, sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredSigning {
    /// Goes up with each.
    pub(super) generation: u64,
    /// In base64.
    pub(super) sealed: String,
    /// When it stops to be used, once there is a newer one.
    pub(super) ends_at: Option<Timestamp>,
}

/// A sender of webhooks, ready for its requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "StoredSource")]
pub struct WebhookSource {
    /// Names it within its project.
    pub name: String,
    /// What somebody decided about it.
    pub settings: SourceSettings,
    /// Whether its events wait instead of being delivered.
    pub paused: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// The app's service, shared by its events.
    pub origin: Arc<Origin>,
    /// The path there, as it was given; `/` if none was.
    pub path: String,
    pub(super) scheme: Scheme,
    pub(super) signing: Vec<StoredSigning>,
}

impl TryFrom<StoredSource> for WebhookSource {
    type Error = FieldError;

    fn try_from(stored: StoredSource) -> Result<Self, FieldError> {
        let scheme = stored.settings.check()?;
        let to = &stored.settings.to;
        let origin = BaseUrl::parse(to).map_err(|rule| FieldError::new("to", rule))?.origin;
        let after_scheme = to.split_once("://").map_or("", |(_, rest)| rest);
        let path = after_scheme.find('/').map_or("/", |at| &after_scheme[at..]).to_owned();
        Ok(Self {
            scheme,
            origin: Arc::new(origin),
            path,
            name: stored.name,
            settings: stored.settings,
            paused: stored.paused,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            created_by: stored.created_by,
            signing: stored.signing,
        })
    }
}

impl WebhookSource {
    /// How its sender proves itself.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    pub(super) fn stored(&self) -> StoredSource {
        StoredSource {
            name: self.name.clone(),
            settings: self.settings.clone(),
            paused: self.paused,
            created_at: self.created_at,
            updated_at: self.updated_at,
            created_by: self.created_by.clone(),
            signing: self.signing.clone(),
        }
    }
}
