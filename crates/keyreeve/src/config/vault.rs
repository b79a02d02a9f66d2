//! Where the vault's root key is.

use serde::Deserialize;

use super::{fault::Rules, secret::SecretReference};

/// `[vault]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VaultConfig {
    /// The root key; `None` is the file in the data folder.
    pub(crate) root_key: Option<SecretReference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVault {
    root_key: String,
}

impl RawVault {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<VaultConfig> {
        let root_key = rules.keep("vault.root_key", SecretReference::parse(&self.root_key))?;
        Some(VaultConfig { root_key })
    }
}
