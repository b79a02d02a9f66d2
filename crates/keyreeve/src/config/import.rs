//! What is needed to take in keys of another system.

use serde::Deserialize;

use super::{fault::Rules, secret::SecretReference};

/// `[import]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportConfig {
    /// Where the secret is under which the other system made the HMACs of its keys.
    pub(crate) hmac_secret: Option<SecretReference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawImport {
    hmac_secret: String,
}

impl RawImport {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<ImportConfig> {
        let reference = SecretReference::parse(&self.hmac_secret);
        let hmac_secret = rules.keep("import.hmac_secret", reference)?;
        Some(ImportConfig { hmac_secret })
    }
}
