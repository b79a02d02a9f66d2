//! What is known of providers.

use std::path::PathBuf;

use serde::Deserialize;

use super::{fault::Rules, rule::path};

/// `[catalog]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogConfig {
    /// A folder with files that add providers or replace ours.
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCatalog {
    folder: String,
}

impl RawCatalog {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<CatalogConfig> {
        if self.folder.is_empty() {
            return Some(CatalogConfig { folder: None });
        }
        let folder = rules.keep("catalog.folder", path(&self.folder))?;
        Some(CatalogConfig { folder: Some(folder) })
    }
}
