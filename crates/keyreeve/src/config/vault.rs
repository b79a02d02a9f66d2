//! Where the vault's root key is.

use keyreeve_core::Invalid;
use serde::Deserialize;

use super::{fault::Rules, secret::SecretReference};

/// `[vault]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VaultConfig {
    /// The root key; `None` is the file in the data folder.
    pub(crate) root_key: Option<SecretReference>,
    /// The passphrase that the root key comes from, instead of a key.
    pub(crate) passphrase: Option<SecretReference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVault {
    root_key: String,
    passphrase: String,
}

impl RawVault {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<VaultConfig> {
        let root_key = rules.keep("vault.root_key", SecretReference::parse(&self.root_key))?;
        let passphrase =
            rules.keep("vault.passphrase", SecretReference::parse(&self.passphrase))?;
        if root_key.is_some() && passphrase.is_some() {
            let rule = Invalid::new("must be empty where vault.root_key is given");
            rules.keep("vault.passphrase", Err::<(), _>(rule));
        }
        Some(VaultConfig { root_key, passphrase })
    }
}
