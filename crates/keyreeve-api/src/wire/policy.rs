//! What bounds the use of keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// From where, when and for what a key may be used. An empty list does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RestrictionsView {
    /// The only addresses and networks it works from, such as `203.0.113.0/24` or `2001:db8::/32`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_ips: Vec<String>,
    /// Addresses and networks it does not work from, even if they are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_ips: Vec<String>,
    /// The only hours it works in, such as `Mon-Fri 09:00-17:00 Europe/Berlin`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<String>,
    /// The only web origins it works for, such as `https://app.example.com`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// The only requests it works for, such as `GET /v1/*` or `POST api.example.com/v1/*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// The only countries it works from, two letters each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_countries: Vec<String>,
    /// Countries it does not work from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_countries: Vec<String>,
}

impl RestrictionsView {
    /// Whether it restricts nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What of the restrictions is to be different. Each kind that is named replaces all of its kind; an
/// empty list no longer restricts. The other kinds stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RestrictionsChange {
    /// The only addresses and networks it works from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_ips: Option<Vec<String>>,
    /// Addresses and networks it does not work from, even if they are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_ips: Option<Vec<String>>,
    /// The only hours it works in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<String>>,
    /// The only web origins it works for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
    /// The only requests it works for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
    /// The only countries it works from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_countries: Option<Vec<String>>,
    /// Countries it does not work from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_countries: Option<Vec<String>>,
}

impl RestrictionsChange {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How often something may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitView {
    /// Its name, 1 to 32 characters of a-z, 0-9, '-', '_'.
    pub name: String,
    /// How often, such as `20/10s` or `1000/1d`.
    pub rate: String,
    /// What it counts: `key`, `owner`, `ip`, `route` or `keyspace`; what carries it if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// Only requests that match, such as `GET /v1/search`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Between which shares of its rate it adapts to what it sees, such as `10%-100%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<String>,
    /// `cluster` is one count for all nodes that share a Valkey server; with `node` each node counts
    /// for itself. Absent: `cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Other rates for some of what it counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<LimitOverrideView>,
}

/// Another rate for some of what a limit counts. An exact subject goes before the longest wildcard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitOverrideView {
    /// A key id, owner id, address or route, as the limit counts; `*` stands for anything.
    pub subject: String,
    /// How often.
    pub rate: String,
}

/// Limits proposed from use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuggestedLimitsView {
    /// The proposal; empty for a key that was not used.
    pub limits: Vec<LimitView>,
    /// The busiest spans it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peaks: Option<PeaksView>,
}

/// The most requests that were seen in any span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeaksView {
    /// In ten seconds.
    pub ten_seconds: u32,
    /// In an hour.
    pub hour: u32,
    /// In a day.
    pub day: u32,
}
