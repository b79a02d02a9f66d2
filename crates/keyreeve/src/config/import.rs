//! What is needed to take in keys of another system.

use serde::Deserialize;

use super::{fault::Rules, rule::whole, secret::SecretReference};

/// `[import]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportConfig {
    /// Where the secret is under which the other system made the HMACs of its keys.
    pub(crate) hmac_secret: Option<SecretReference>,
    /// The most bytes of one request to import.
    pub(crate) max_body_bytes: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawImport {
    hmac_secret: String,
    max_body_bytes: i64,
}

impl RawImport {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<ImportConfig> {
        let reference = SecretReference::parse(&self.hmac_secret);
        let hmac_secret = rules.keep("import.hmac_secret", reference);
        let most = whole(self.max_body_bytes, &(1024..=256 * 1024 * 1024));
        let max_body_bytes = rules.keep("import.max_body_bytes", most);
        Some(ImportConfig { hmac_secret: hmac_secret?, max_body_bytes: max_body_bytes? })
    }
}
