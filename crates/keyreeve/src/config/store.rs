//! Where data is kept.

use std::path::PathBuf;

use serde::Deserialize;

use super::{
    fault::Rules,
    rule::{path, whole},
};

/// `[store]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreConfig {
    /// The folder with everything.
    pub(crate) data_dir: PathBuf,
    /// Connections that read.
    pub(crate) readers: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    data_dir: String,
    readers: i64,
}

impl RawStore {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<StoreConfig> {
        let data_dir = rules.keep("store.data_dir", path(&self.data_dir));
        let readers = rules.keep("store.readers", whole(self.readers, &(1..=64)));
        Some(StoreConfig { data_dir: data_dir?, readers: readers? })
    }
}
