//! Calls to outside services.

use std::path::PathBuf;

use serde::Deserialize;

use super::{fault::Rules, rule::path};

/// `[proxy]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyConfig {
    /// Whose certificates services may show; the system's authorities if `None`.
    pub(crate) authorities: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProxy {
    authorities: String,
}

impl RawProxy {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<ProxyConfig> {
        if self.authorities.is_empty() {
            return Some(ProxyConfig { authorities: None });
        }
        let authorities = rules.keep("proxy.authorities", path(&self.authorities))?;
        Some(ProxyConfig { authorities: Some(authorities) })
    }
}
