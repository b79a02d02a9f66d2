//! How keys are kept.

use serde::Deserialize;

use super::{fault::Rules, secret::SecretReference};

/// `[keys]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeysConfig {
    /// Where the secret is that goes into the digests of new keys.
    pub(crate) pepper: Option<SecretReference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKeys {
    pepper: String,
}

impl RawKeys {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<KeysConfig> {
        let pepper = rules.keep("keys.pepper", SecretReference::parse(&self.pepper))?;
        Some(KeysConfig { pepper })
    }
}
