//! Where all nodes count together.

use std::{path::PathBuf, time::Duration};

use jiff::SignedDuration;
use keyreeve_core::{Invalid, percentage};
use serde::Deserialize;

use super::{
    fault::Rules,
    rule::{path, timer},
    secret_url::SecretUrl,
};

const SCHEMES: &[&str] = &["redis", "rediss", "valkey", "valkeys"];
const RULE: &str = "must be redis://:password@host:port/number (rediss:// with TLS), a reference to \
                    a secret that holds it, or empty";

/// The bounds of the time an answer may take.
const SHORTEST: SignedDuration = SignedDuration::from_millis(5);
const LONGEST: SignedDuration = SignedDuration::from_secs(5);

/// `[valkey]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValkeyConfig {
    /// The server; without one, each node counts for itself.
    pub(crate) url: Option<SecretUrl>,
    /// Whose certificates the server may show; the system's authorities if `None`.
    pub(crate) authorities: Option<PathBuf>,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
    /// What all keys there begin with.
    pub(crate) prefix: String,
    /// How much of each limit a node gives by itself while the server is out of reach, in
    /// thousandths: 1 to 1000.
    pub(crate) outage_per_mille: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawValkey {
    url: String,
    authorities: String,
    timeout: String,
    prefix: String,
    outage_share: String,
}

impl RawValkey {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<ValkeyConfig> {
        let url = rules.keep("valkey.url", SecretUrl::parse(&self.url, SCHEMES, RULE));
        let authorities = match self.authorities.as_str() {
            "" => Some(None),
            text => rules.keep("valkey.authorities", path(text)).map(Some),
        };
        let timeout = rules.keep("valkey.timeout", timer(&self.timeout, &(SHORTEST..=LONGEST)));
        let prefix = rules.keep("valkey.prefix", prefix(&self.prefix));
        let share = rules.keep("valkey.outage_share", share(&self.outage_share));
        Some(ValkeyConfig {
            url: url?,
            authorities: authorities?,
            timeout: timeout?,
            prefix: prefix?,
            outage_per_mille: share?,
        })
    }
}

fn prefix(text: &str) -> Result<String, Invalid> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    if (1..=32).contains(&text.len()) && text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Invalid::new("must be 1 to 32 characters of a-z, 0-9, '-' and '_'"))
}

fn share(text: &str) -> Result<u16, Invalid> {
    let share = percentage::parse_per_mille(text).filter(|share| (1..=1_000).contains(share));
    share.ok_or_else(|| Invalid::new("must be a percentage between 0.1% and 100%"))
}
