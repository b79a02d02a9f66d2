//! Where data is kept.

use std::path::PathBuf;

use serde::Deserialize;

use super::{
    fault::Rules,
    rule::{path, whole},
    secret_url::SecretUrl,
};

const SCHEMES: &[&str] = &["postgres", "postgresql"];
const RULE: &str = "must be postgres://user:password@host:port/database, a reference to a secret \
                    that holds it, or empty";

/// `[store]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreConfig {
    /// The folder with everything, or with all that is not in the database.
    pub(crate) data_dir: PathBuf,
    /// The PostgreSQL database; without one, data is in a SQLite file in the folder.
    pub(crate) url: Option<SecretUrl>,
    /// Whose certificates the database's server may show; the system's authorities if `None`.
    pub(crate) authorities: Option<PathBuf>,
    /// Connections that read.
    pub(crate) readers: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    data_dir: String,
    url: String,
    authorities: String,
    readers: i64,
}

impl RawStore {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<StoreConfig> {
        let data_dir = rules.keep("store.data_dir", path(&self.data_dir));
        let url = rules.keep("store.url", SecretUrl::parse(&self.url, SCHEMES, RULE));
        let authorities = match self.authorities.as_str() {
            "" => Some(None),
            text => rules.keep("store.authorities", path(text)).map(Some),
        };
        let readers = rules.keep("store.readers", whole(self.readers, &(1..=64)));
        Some(StoreConfig {
            data_dir: data_dir?,
            url: url?,
            authorities: authorities?,
            readers: readers?,
        })
    }
}
