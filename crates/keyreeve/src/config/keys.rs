//! How keys are kept.

use serde::Deserialize;

use super::{fault::Rules, rule::whole, secret::SecretReference};

/// Below the first, requests under way could push one another's keys out.
const FEWEST: usize = 1_000;
const MOST: usize = 1_000_000_000;

/// `[keys]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeysConfig {
    /// Where the secret is that goes into the digests of new keys.
    pub(crate) pepper: Option<SecretReference>,
    /// How many keys are kept in memory; all of them if `None`.
    pub(crate) most_in_memory: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKeys {
    pepper: String,
    most_in_memory: i64,
}

impl RawKeys {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<KeysConfig> {
        let pepper = rules.keep("keys.pepper", SecretReference::parse(&self.pepper));
        let most = match self.most_in_memory {
            0 => Some(None),
            most => rules.keep("keys.most_in_memory", whole(most, &(FEWEST..=MOST))).map(Some),
        };
        Some(KeysConfig { pepper: pepper?, most_in_memory: most? })
    }
}
