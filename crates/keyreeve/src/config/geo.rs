//! Where addresses are.

use std::path::PathBuf;

use serde::Deserialize;

use super::{fault::Rules, rule::path};

/// `[geo]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GeoConfig {
    /// A database of countries in the format of MaxMind; `None` means that no country is known.
    pub(crate) database: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGeo {
    database: String,
}

impl RawGeo {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<GeoConfig> {
        if self.database.is_empty() {
            return Some(GeoConfig { database: None });
        }
        let database = rules.keep("geo.database", path(&self.database))?;
        Some(GeoConfig { database: Some(database) })
    }
}
