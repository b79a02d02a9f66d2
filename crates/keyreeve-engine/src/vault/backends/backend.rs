//! What the vault asks of another store of secrets, and nothing of how.

use std::fmt;

use async_trait::async_trait;
use keyreeve_core::Invalid;

use crate::vault::Fields;

/// Another store of secrets, reached over the network: a Vault, an OpenBao, AWS Secrets Manager.
///
/// Paths are the store's own. Values and the store's credential never stand in an error.
#[async_trait]
pub trait SecretBackend: Send + Sync + fmt::Debug {
    /// What kind of store it is, as the settings name it.
    fn kind(&self) -> &'static str;

    /// The current version; `None` if nothing is there, or what is there is deleted.
    async fn read(&self, path: &str) -> Result<Option<BackendVersion>, BackendError>;

    /// Writes a version, which becomes the current one, and gives its name. `attempt` is another text for
    /// each write, so that a store which can tell does none of them twice.
    async fn write(
        &self,
        path: &str,
        fields: &Fields,
        expect: &Expect,
        attempt: &str,
    ) -> Result<String, BackendError>;

    /// Deletes the current version so that people can bring it back there. Nothing to delete is no error.
    async fn delete(&self, path: &str, expect: &Expect) -> Result<(), BackendError>;

    /// The names in a folder (empty for all, else ending in a slash): of secrets, and of folders with a
    /// slash at their end. In no particular order.
    async fn list(&self, folder: &str) -> Result<Vec<String>, BackendError>;
}

/// A version in another store.
#[derive(Debug)]
pub struct BackendVersion {
    /// What the store calls it.
    pub version: String,
    /// Its fields.
    pub fields: Fields,
}

/// What a writer expects to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No version that can be read.
    Nothing,
    /// This version, as the store calls it.
    Version(String),
}

/// Why another store did nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// It does not answer, is sealed, or has too much to do: later it may.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It does not let us.
    #[error("refuses the credential that is set for it")]
    Denied,
    /// Somebody else changed what is there.
    #[error("has another version than the one that was expected")]
    Conflict,
    /// It cannot hold such a path or such fields.
    #[error("cannot hold this: {}", .0.rule())]
    Invalid(Invalid),
    /// It answers with something that cannot be understood.
    #[error("answers with something unexpected: {0}")]
    Answer(String),
}
