//! Where data is kept.

use std::{fmt, path::PathBuf, sync::Arc};

use keyreeve_core::{Invalid, Secret};
use serde::Deserialize;

use super::{
    fault::Rules,
    rule::{path, whole},
    secret::{SecretError, SecretReference},
};
use crate::environment::Environment;

/// `[store]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreConfig {
    /// The folder with everything, or with all that is not in the database.
    pub(crate) data_dir: PathBuf,
    /// The PostgreSQL database; without one, data is in a SQLite file in the folder.
    pub(crate) url: Option<DatabaseUrl>,
    /// Whose certificates the database's server may show; the system's authorities if `None`.
    pub(crate) authorities: Option<PathBuf>,
    /// Connections that read.
    pub(crate) readers: usize,
}

/// Where a database is. May hold a password, and so does not show itself.
#[derive(Clone)]
pub(crate) enum DatabaseUrl {
    /// As it stands in the settings.
    Here(Arc<Secret<String>>),
    /// To be read from elsewhere.
    Elsewhere(SecretReference),
}

impl DatabaseUrl {
    fn parse(text: &str) -> Result<Option<Self>, Invalid> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Some(Self::Here(Arc::new(Secret::new(text.to_owned())))));
        }
        let reference = SecretReference::parse(text).map_err(|_| {
            Invalid::new(
                "must be postgres://user:password@host:port/database, a reference to a secret \
                 that holds it, or empty",
            )
        })?;
        Ok(reference.map(Self::Elsewhere))
    }

    /// The URL itself.
    pub(crate) fn resolve(&self, environment: &Environment) -> Result<Secret<String>, SecretError> {
        match self {
            // EXPOSE: copied from one secret into another.
            Self::Here(url) => Ok(Secret::new(url.expose().clone())),
            Self::Elsewhere(reference) => {
                let secret = reference.resolve(environment)?;
                // EXPOSE: as before; what is no text is no URL, and is refused as one.
                Ok(Secret::new(String::from_utf8_lossy(secret.expose()).trim().to_owned()))
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("DatabaseUrl(…)"),
            Self::Elsewhere(reference) => write!(f, "DatabaseUrl({reference})"),
        }
    }
}

impl PartialEq for DatabaseUrl {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // EXPOSE: compared, and nothing shown of them.
            (Self::Here(one), Self::Here(other)) => one.expose() == other.expose(),
            (Self::Elsewhere(one), Self::Elsewhere(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for DatabaseUrl {}

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
        let url = rules.keep("store.url", DatabaseUrl::parse(&self.url));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_or_a_reference() {
        assert_eq!(DatabaseUrl::parse(""), Ok(None));
        let url = DatabaseUrl::parse("postgres://u:hunter2@db/keys").unwrap().unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
        let reference = DatabaseUrl::parse("env:DATABASE").unwrap();
        assert_eq!(
            reference,
            Some(DatabaseUrl::Elsewhere(SecretReference::Variable("DATABASE".into())))
        );
        for bad in ["mysql://u@db/keys", "db.example.com", "sqlite://keys"] {
            assert!(DatabaseUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
