//! What a connection is.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use keyreeve_catalog::AuthMethod;
use keyreeve_core::{
    Invalid,
    egress::{BaseUrl, Origin, PathRules, Scheme},
    limit::Rate,
    restriction::{Restrictions, RoutePattern},
    vault::SecretPath,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    cost::{self, CallCost},
    state::State,
};
use crate::FieldError;

/// The most bytes of a body that is put together here before it is sent on.
const MOST_BUFFERED: u64 = 10 << 20;
/// The most names that a connection says anything of: parameters, other names of fields, clients.
const MOST_NAMES: usize = 100;

/// What somebody decided about a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSettings {
    /// The provider in the catalogue, if it is one of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Where calls go. The credential goes nowhere else.
    pub base_url: BaseUrl,
    /// Where the credential is kept.
    pub secret: SecretPath,
    /// How it gets into a request: a table as `[[auth]]` of the catalogue has it, without the `id`.
    pub inject: Value,
    /// What stands for places of `inject` that are no fields of the secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Other names that fields of the secret may have, by place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Places that hold nothing secret, such as the name of an account: answers may show them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public: Vec<String>,
    /// Whether the address may be of this machine or of a private network.
    #[serde(default)]
    pub allow_internal: bool,
    /// Whether the credential may go without TLS.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Which paths are taken.
    #[serde(default)]
    pub path_rules: PathRules,
    /// From where, when and for which calls the connection works. Routes are of the service: what
    /// stands behind the connection's name.
    #[serde(default, skip_serializing_if = "Restrictions::is_empty")]
    pub restrictions: Restrictions,
    /// What calls cost; those that no rule speaks of cost one unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<CallCost>,
    /// Who may call: ids of API keys, or owners as `owner:<id>`. Everybody with the permission if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<String>,
    /// How much may be called.
    #[serde(default)]
    pub limits: CallLimits,
    /// How long the service may take.
    #[serde(default)]
    pub patience: Patience,
    /// Which answers are kept for the next who asks; none if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheRules>,
}

/// Which answers are kept, within what the service allows (RFC 9111).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheRules {
    /// The calls of the service whose answers are kept; only GET can be: at least one.
    pub routes: Vec<RoutePattern>,
    /// For how many seconds at most, and for as many where the service says nothing: 1 to 2,592,000.
    pub max_age_s: u32,
    /// Who gets a kept answer.
    #[serde(default)]
    pub scope: CacheScope,
    /// The most bytes of an answer that is kept: at most 10 MiB.
    #[serde(default = "usual_entry")]
    pub max_entry_bytes: u64,
}

fn usual_entry() -> u64 {
    1 << 20
}

/// Who gets a kept answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheScope {
    /// The client that asked for it.
    #[default]
    Client,
    /// Every client of the connection: for what is the same for all, such as tiles of a map.
    Connection,
}

impl CacheRules {
    fn check(&self) -> Result<(), FieldError> {
        let rule = if self.routes.is_empty() || self.routes.len() > MOST_NAMES {
            ("cache.routes", "must be 1 to 100 routes")
        } else if !(1..=2_592_000).contains(&self.max_age_s) {
            ("cache.max_age_s", "must be 1 to 2592000")
        } else if !(1..=MOST_BUFFERED).contains(&self.max_entry_bytes) {
            ("cache.max_entry_bytes", "must be 1 to 10485760")
        } else {
            return Ok(());
        };
        Err(FieldError::new(rule.0, Invalid::new(rule.1)))
    }
}

/// How much may be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallLimits {
    /// Calls of all clients together, such as `100/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Calls of each client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_client: Option<String>,
    /// Units that all clients together may spend, such as `5000/1d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend: Option<String>,
    /// Units that each client may spend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_per_client: Option<String>,
    /// Calls at once, of all clients together. Counted by each node for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The most bytes of a request's body; unlimited if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_request_bytes: Option<u64>,
    /// The most bytes of an answer's body; unlimited if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_response_bytes: Option<u64>,
    /// The most bytes of a body that has to be read whole because the credential goes into it or signs it.
    pub max_buffered_bytes: u64,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            rate: None,
            rate_per_client: None,
            spend: None,
            spend_per_client: None,
            concurrency: None,
            max_request_bytes: None,
            max_response_bytes: None,
            max_buffered_bytes: MOST_BUFFERED,
        }
    }
}

/// How long the service may take, in milliseconds. There is no limit on the whole of an answer, which
/// may be a stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patience {
    /// To accept a connection, TLS included: 1 to 60,000.
    pub connect_ms: u32,
    /// To begin its answer once it has the request: 1 to 3,600,000.
    pub first_byte_ms: u32,
    /// Between two pieces of a body, of the request or the answer: 1 to 3,600,000.
    pub idle_ms: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect_ms: 5_000, first_byte_ms: 60_000, idle_ms: 300_000 }
    }
}

impl Patience {
    /// To accept a connection.
    pub fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms.into())
    }

    /// To begin its answer.
    pub fn first_byte(&self) -> Duration {
        Duration::from_millis(self.first_byte_ms.into())
    }

    /// Between two pieces of a body.
    pub fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms.into())
    }

    fn check(&self) -> Result<(), FieldError> {
        let bounds = [
            ("patience.connect_ms", self.connect_ms, 60_000),
            ("patience.first_byte_ms", self.first_byte_ms, 3_600_000),
            ("patience.idle_ms", self.idle_ms, 3_600_000),
        ];
        match bounds.into_iter().find(|(_, given, most)| !(1..=*most).contains(given)) {
            Some((field, _, most)) => {
                Err(FieldError::new(field, Invalid::new(format!("must be 1 to {most}"))))
            }
            None => Ok(()),
        }
    }
}

/// A connection as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredConnection {
    pub(super) name: String,
    pub(super) settings: ConnectionSettings,
    pub(super) enabled: bool,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) created_by: String,
}

/// A connection, ready for calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "StoredConnection")]
pub struct Connection {
    /// Names it within its project.
    pub name: String,
    /// What somebody decided about it.
    pub settings: ConnectionSettings,
    /// Whether it can be called.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// The service, shared by its calls.
    pub origin: Arc<Origin>,
    /// How the credential gets into a request.
    pub(super) method: AuthMethod,
    /// What a client must be granted.
    pub(super) permission: String,
    pub(super) rate: Option<Rate>,
    pub(super) rate_per_client: Option<Rate>,
    pub(super) spend: Option<Rate>,
    pub(super) spend_per_client: Option<Rate>,
    /// What is counted for it; the same for all its settings.
    pub(super) state: OnceLock<Arc<State>>,
}

impl TryFrom<StoredConnection> for Connection {
    type Error = FieldError;

    fn try_from(stored: StoredConnection) -> Result<Self, FieldError> {
        let method = stored.settings.check()?;
        let limits = &stored.settings.limits;
        let spend = parse_rate("limits.spend", limits.spend.as_deref())?;
        let spend_per_client =
            parse_rate("limits.spend_per_client", limits.spend_per_client.as_deref())?;
        cost::check(&stored.settings, [spend, spend_per_client])?;
        Ok(Self {
            spend,
            spend_per_client,
            rate: parse_rate("limits.rate", limits.rate.as_deref())?,
            rate_per_client: parse_rate(
                "limits.rate_per_client",
                limits.rate_per_client.as_deref(),
            )?,
            permission: permission(&stored.name),
            state: OnceLock::new(),
            origin: Arc::new(stored.settings.base_url.origin.clone()),
            method,
            name: stored.name,
            settings: stored.settings,
            enabled: stored.enabled,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            created_by: stored.created_by,
        })
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.field, self.rule)
    }
}

/// What a client of one connection must be granted; `keyreeve.connections.call` grants all.
pub(super) fn permission(name: &str) -> String {
    format!("keyreeve.connections.{name}.call")
}

fn parse_rate(field: &str, text: Option<&str>) -> Result<Option<Rate>, FieldError> {
    let read = text.map(str::parse::<Rate>).transpose();
    read.map_err(|rule| FieldError::new(field, rule))
}

impl ConnectionSettings {
    /// Whether all of it can be meant; gives how the credential gets into a request.
    pub(super) fn check(&self) -> Result<AuthMethod, FieldError> {
        let refuse =
            |field: &str, rule: &str| Err(FieldError::new(field, Invalid::new(rule.to_owned())));
        if self.base_url.origin.scheme() == Scheme::Http && !self.allow_plaintext {
            let rule = "must begin with https:// unless allow_plaintext is set: the credential \
                        would go in clear text";
            return refuse("base_url", rule);
        }
        let sizes = [
            ("parameters", self.parameters.len()),
            ("aliases", self.aliases.len()),
            ("public", self.public.len()),
            ("clients", self.clients.len()),
        ];
        if let Some((field, _)) = sizes.into_iter().find(|(_, size)| *size > MOST_NAMES) {
            return refuse(field, "must be at most 100");
        }
        self.patience.check()?;
        self.cache.as_ref().map(CacheRules::check).transpose()?;
        if self.limits.concurrency == Some(0) {
            return refuse("limits.concurrency", "must be at least 1");
        }
        if !(1..=MOST_BUFFERED * 10).contains(&self.limits.max_buffered_bytes) {
            return refuse("limits.max_buffered_bytes", "must be 1 to 104857600");
        }
        self.restrictions
            .check_sizes()
            .map_err(|(field, rule)| FieldError::new(format!("restrictions.{field}"), rule))?;
        let method = serde_json::from_value::<AuthMethod>(self.inject.clone());
        let method = method.map_err(|error| {
            // Only names of members and kinds are in it: values are templates, which are no secrets.
            FieldError::new("inject", Invalid::new(format!("cannot be read: {error}")))
        })?;
        if !method.templates().into_iter().any(|template| template.places().next().is_some()) {
            let rule = "must have a place for a field of the secret, such as {token}: what stands here \
                        is shown to everybody who may see the connection";
            return refuse("inject", rule);
        }
        match &method {
            AuthMethod::ConnectionUrl { .. } | AuthMethod::Ssh { .. } => {
                refuse("inject", "must be a kind that goes into HTTP requests")
            }
            AuthMethod::AzureSharedKey { .. } => {
                refuse("inject", "cannot be azure_shared_key yet; use a SAS or a bearer token")
            }
            _ => {
                self.check_token_url(&method)?;
                Ok(method)
            }
        }
    }

    /// Whether tokens are given out at an address that can be called. An address with places is looked
    /// at again once they are filled.
    fn check_token_url(&self, method: &AuthMethod) -> Result<(), FieldError> {
        const FIELD: &str = "inject.token_url";
        let (token_url, can_be_empty) = match method {
            AuthMethod::OAuth2Client { token_url, .. } => (token_url, false),
            // Without one, the service account's file says where.
            AuthMethod::OAuth2Jwt { token_url, .. } => (token_url, true),
            _ => return Ok(()),
        };
        let has_places = token_url.places().next().is_some();
        if has_places || (can_be_empty && token_url.as_str().is_empty()) {
            return Ok(());
        }
        let url =
            BaseUrl::parse(token_url.as_str()).map_err(|rule| FieldError::new(FIELD, rule))?;
        if url.origin.scheme() == Scheme::Http && !self.allow_plaintext {
            let rule = "must begin with https:// unless allow_plaintext is set: the credential \
                        would go in clear text";
            return Err(FieldError::new(FIELD, Invalid::new(rule)));
        }
        Ok(())
    }
}

impl Connection {
    /// What a client must be granted.
    pub fn permission(&self) -> &str {
        &self.permission
    }

    /// Whether pages of that origin may call: only those that are named may.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.settings.restrictions.origins.iter().any(|allowed| allowed.matches(origin))
    }

    /// What the record says of a path: the route that allows it, if routes are named; else its beginning,
    /// with everything that could be an id or a value left out.
    pub fn template(&self, method: &str, path: &str) -> String {
        let routes = &self.settings.restrictions.routes;
        let host = Some(self.settings.base_url.origin.host().as_str());
        match routes.iter().find(|route| route.matches(method, host, path)) {
            Some(route) => {
                // Without the method and the host, which are known anyway.
                let text = route.to_string();
                text.find('/').and_then(|at| text.get(at..)).unwrap_or("/*").to_owned()
            }
            None => template_of(path),
        }
    }
}

/// A path with `*` for every segment that is no plain word.
fn template_of(path: &str) -> String {
    /// A word of a path is not longer; more segments tell nothing more.
    const LONGEST_WORD: usize = 24;
    const MOST_SEGMENTS: usize = 8;
    let is_word = |segment: &str| {
        segment.len() <= LONGEST_WORD
            && segment.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'_'))
            || is_version(segment)
    };
    let mut template = String::with_capacity(path.len().min(128));
    for (n, segment) in path.split('/').skip(1).enumerate() {
        template.push('/');
        if n == MOST_SEGMENTS {
            template.push_str("**");
            break;
        }
        template.push_str(if is_word(segment) { segment } else { "*" });
    }
    template
}

/// Such as `v1` and `2010-04-01`.
fn is_version(segment: &str) -> bool {
    let number = segment.strip_prefix('v').unwrap_or_default();
    let is_number = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let is_date = segment.len() == 10
        && segment.bytes().enumerate().all(|(n, b)| match n {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    is_number || is_date
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_given_out_at_a_good_address() {
        let check = |kind: &str, token_url: &str, allow_plaintext: bool| {
            let mut inject = json!({ "kind": kind, "token_url": token_url, "scope": "s" });
            let members = match kind {
                "oauth2_jwt" => json!({ "service_account": "{file}" }),
                _ => json!({ "client_id": "{i}", "client_secret": "{s}", "client_auth": "basic" }),
            };
            for (name, value) in members.as_object().unwrap() {
                inject[name] = value.clone();
            }
            let settings = json!({
                "base_url": "https://api.example.com",
                "secret": "production/api",
                "inject": inject,
                "allow_plaintext": allow_plaintext,
            });
            serde_json::from_value::<ConnectionSettings>(settings).unwrap().check()
        };
        for kind in ["oauth2_client", "oauth2_jwt"] {
            for good in ["https://id.example.com/token", "https://id.example.com/{tenant}/token"] {
                assert!(check(kind, good, false).is_ok(), "{kind} {good}");
            }
            for bad in ["http://id.example.com/t", "id.example.com/t", "https://u:p@id.example/t"] {
                let told = check(kind, bad, false).unwrap_err();
                assert_eq!(told.field, "inject.token_url", "{kind} {bad}");
            }
            assert!(check(kind, "http://id.example.com/t", true).is_ok());
        }
        assert!(check("oauth2_jwt", "", false).is_ok(), "the file says where");
        assert!(check("oauth2_client", "", false).is_err());
    }

    #[test]
    fn templates_hold_words_and_no_values() {
        for (path, template) in [
            ("/", "/"),
            ("/v1/charges", "/v1/charges"),
            ("/v1/charges/ch_3MmlLr", "/v1/charges/*"),
            ("/2010-04-01/Accounts/AC00/Messages.json", "/2010-04-01/*/*/*"),
            ("/users/ada@example.com/mail", "/users/*/mail"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/**"),
        ] {
            assert_eq!(template_of(path), template);
        }
    }
}
