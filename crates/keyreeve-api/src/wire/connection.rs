//! Connections: outside services that are called through Keyreeve.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Patch, RestrictionsView, SecretText};

macro_rules! connection_request {
    ($(#[$about:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$meta])* pub $field: $kind,)*
            /// The path of the secret that is the credential.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub secret: Option<String>,
            /// Where calls go, such as `https://api.example.com/v1`. The credential goes to no other host.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub base_url: Option<String>,
            /// How the credential gets into a request: a table as `[[auth]]` of the catalogue has it, such as
            /// `{"kind":"bearer","token":"{token}"}`, where `{token}` is a field of the secret.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<Object>)]
            pub inject: Option<serde_json::Value>,
            /// What stands for places of `inject` and the address that are no fields of the secret.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub parameters: Option<BTreeMap<String, String>>,
            /// Fields that are nothing secret: answers may show them.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub public: Option<Vec<String>>,
            /// Whether the service may be on this machine or in a private network.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub allow_internal: Option<bool>,
            /// Whether the credential may go without TLS.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub allow_plaintext: Option<bool>,
            /// `strict` (the default), or `lenient` for services whose paths hold `%2F`, `//` or `;`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub path_rules: Option<String>,
            /// From where, when and for which calls it works; routes are of the service. Pages call only from
            /// `origins`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub restrictions: Option<RestrictionsView>,
            /// What calls cost, in units; those that no rule speaks of cost one.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub costs: Option<Vec<CallCostView>>,
            /// Who may call: ids of API keys, or `owner:<id>`; everybody with the permission if empty.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub clients: Option<Vec<String>>,
            /// How much may be called.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub limits: Option<CallLimitsView>,
            /// How long the service may take.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub patience: Option<PatienceView>,
            /// Which answers are kept for the next who asks; null keeps none.
            #[serde(skip_serializing_if = "Patch::is_keep")]
            #[schema(value_type = Option<CacheRulesView>)]
            pub cache: Patch<CacheRulesView>,
            /// Whether it can be called.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub enabled: Option<bool>,
        }
    };
}

connection_request! {
    /// Makes a connection. What is absent says the provider of the catalogue, or a default; `secret`
    /// must be there.
    CreateConnectionRequest {
        /// 1 to 64 characters of a-z, 0-9, '-', '_'; the provider's id if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// A provider of the catalogue, such as `stripe`.
        #[serde(skip_serializing_if = "Option::is_none")]
        provider: Option<String>,
    }
}

connection_request! {
    /// Changes a connection. What is absent stays as it is.
    UpdateConnectionRequest {}
}

/// What calls of a route cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallCostView {
    /// Calls of the service, such as `GET /v1/geocode/*`.
    pub route: String,
    /// Units of each: 0 to 1,000,000.
    pub units: u32,
}

/// How much may be called through a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallLimitsView {
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
    /// Calls at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The most bytes of a request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_request_bytes: Option<u64>,
    /// The most bytes of an answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_response_bytes: Option<u64>,
    /// The most bytes of a body that the credential goes into or signs; 10 MiB if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_buffered_bytes: Option<u64>,
}

/// How long a service may take, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PatienceView {
    /// To accept a connection; 5000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u32>,
    /// To begin its answer; 60000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u32>,
    /// Between two pieces of a body; 300000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
}

/// Which answers are kept, within what the service allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheRulesView {
    /// The calls whose answers are kept, such as `GET /v1/tiles/*`.
    pub routes: Vec<String>,
    /// For how many seconds at most.
    pub max_age_s: u32,
    /// `client`: the client that asked gets it again; `connection`: every client of the connection does.
    /// `client` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The most bytes of an answer that is kept; 1 MiB if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_entry_bytes: Option<u64>,
}

/// An outside service that is called through Keyreeve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionView {
    /// Its name within the project.
    pub name: String,
    /// The provider in the catalogue, if it is one of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Where calls go.
    pub base_url: String,
    /// The path of the secret that is the credential.
    pub secret: String,
    /// How the credential gets into a request.
    #[schema(value_type = Object)]
    pub inject: serde_json::Value,
    /// What stands for places that are no fields of the secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Fields that are nothing secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public: Vec<String>,
    /// Whether the service may be on this machine or in a private network.
    pub allow_internal: bool,
    /// Whether the credential may go without TLS.
    pub allow_plaintext: bool,
    /// `strict` or `lenient`.
    pub path_rules: String,
    /// From where, when and for which calls it works.
    #[serde(default, skip_serializing_if = "RestrictionsView::is_empty")]
    pub restrictions: RestrictionsView,
    /// What calls cost, in units; those that no rule speaks of cost one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<CallCostView>,
    /// Who may call; everybody with the permission if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<String>,
    /// How much may be called.
    pub limits: CallLimitsView,
    /// How long the service may take.
    pub patience: PatienceView,
    /// Which answers are kept for the next who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheRulesView>,
    /// Whether it can be called.
    pub enabled: bool,
    /// What a client must be granted.
    pub permission: String,
    /// Where clients call it.
    pub path: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Asks what was called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallUsageQuery {
    /// The first day, such as `2026-01-31`; 30 days ago if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// How much a client called through a connection on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallCountView {
    /// The day in UTC.
    pub day: String,
    /// The connection.
    pub connection: String,
    /// The client's key.
    pub client: String,
    /// Calls.
    pub calls: u64,
    /// Those that were answered with 400 and above.
    pub failed: u64,
    /// Bytes of requests' bodies.
    pub request_bytes: u64,
    /// Bytes of answers' bodies.
    pub answer_bytes: u64,
    /// How long a call took on average, in microseconds.
    pub average_us: u64,
    /// What they cost, in units.
    pub units: u64,
}

/// Asks for single calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListCallsQuery {
    /// Those that ended before this moment; now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// At most so many, 1 to 1000; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// When it ended.
    pub at: Timestamp,
    /// The client's key.
    pub client: String,
    /// The token that was made with it, if one called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The connection.
    pub connection: String,
    /// The method.
    pub method: String,
    /// The pattern that the path fits; no values.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub answer_bytes: u64,
    /// From the request's head to the answer's end, in microseconds.
    pub took_us: u64,
    /// What it cost, in units.
    pub units: u32,
    /// The version of the secret that was used.
    pub version: u64,
    /// Secrets that were overwritten in the answer.
    pub scrubbed: u64,
    /// Whether the answer came to its end.
    pub whole: bool,
}

/// Makes a token for a client that cannot keep a key, such as a page in a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateClientTokenRequest {
    /// The connections it may call through; its maker must be allowed to.
    pub connections: Vec<String>,
    /// The only calls it may make, such as `GET /v1/*`; any that its maker may if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// The only page that may use it, such as `https://app.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The only address that may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// How long it lives, such as `10m`, at most `1h`; `10m` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// A token of a client, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientTokenView {
    /// Names it without opening anything.
    pub id: String,
    /// The key that made it.
    pub key: String,
    /// The connections it may call through.
    pub connections: Vec<String>,
    /// The only calls it may make, if any are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// The only page that may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The only address that may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token of a client, with its text, which is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedClientTokenView {
    /// The token: for the header `X-Keyreeve-Key`.
    pub token: SecretText,
    /// What is known of it.
    #[serde(flatten)]
    pub details: ClientTokenView,
}

/// What to test: a connection, or a secret for a service that speaks no HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TestConnectionRequest {
    /// The connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// What to `GET` behind the connection's address; the catalogue says it if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path of the secret, where no connection is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whose secret it is: `sftp`, `postgres`, `redis`, `smtp`; what is known of the secret if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What stands for fields that the secret does not have, such as `host`, `port` and `host_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, String>>,
    /// Whether the service may be on this machine or in a private network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_internal: Option<bool>,
    /// Whether the credential may go without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_plaintext: Option<bool>,
}

/// What a service said of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionTestView {
    /// `live`, `limited` (accepted, but not for what was asked), `dead`, or `unknown`.
    pub verdict: String,
    /// The same in words.
    pub detail: String,
    /// The service.
    pub service: String,
    /// The version of the secret that was tested.
    pub version: u64,
    /// The status of the answer, where it is HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}
