//! Why the vault did nothing.

use keyreeve_core::vault::{Capability, CasMismatch, EnvelopeError, SecretPath};

use super::BackendError;
use crate::{
    EntropyFailed, Error, FieldError,
    store::{CommitError, StoreError},
};

/// Why the vault did nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Its keys are not there.
    #[error("the vault is sealed")]
    Sealed,
    /// The caller may not do that at this path. It is in the audit.
    #[error("permission denied: {} at {path}", .capability.as_str())]
    Denied {
        /// What was tried.
        capability: Capability,
        /// Where.
        path: String,
    },
    /// Nothing is there.
    #[error("no secret at {0}")]
    NotFound(SecretPath),
    /// The writer expected another version.
    #[error(transparent)]
    Cas(#[from] CasMismatch),
    /// A field broke a rule.
    #[error("{}: {}", .0.field, .0.rule)]
    Invalid(FieldError),
    /// Fields that cannot be meant, each with why. They can be forced.
    #[error("{} (--force, or options.force, writes it all the same)", super::typing::objections(.0))]
    Doubtful(Vec<(String, String)>),
    /// What is stored was changed by somebody else than the vault. It is in the audit.
    #[error("what is stored of {what} was tampered with: it {why}")]
    Tampered {
        /// Of what.
        what: String,
        /// How that shows.
        why: EnvelopeError,
    },
    /// The root key is not the one that the keyring was wrapped by.
    #[error("the root key does not open this vault")]
    WrongRoot,
    /// No such token, or not any more.
    #[error("the token is not valid or does not exist")]
    BadToken,
    /// No such token to do something with, or not any more.
    #[error("bad token")]
    NoSuchToken,
    /// No such role and secret id, or not any more.
    #[error("invalid role or secret ID")]
    BadLogin,
    /// No such wrapped answer, or somebody has looked at it.
    #[error("wrapping token is not valid or does not exist")]
    BadWrapping,
    /// What was given is not what the root key comes from.
    #[error("this vault is sealed by its {seal}, not by what was given")]
    OtherSeal {
        /// What it comes from.
        seal: &'static str,
    },
    /// Too many want the same slow thing: that a passphrase is tried, or another store is asked.
    #[error("too much is being tried at once; try again in a second")]
    Busy,
    /// Another store, which keeps or gets this secret, did nothing.
    #[error("the backend {name} {error}")]
    Backend {
        /// What the settings call it.
        name: String,
        /// Why.
        error: BackendError,
    },
    /// A secret was here before another store kept its folder, and is not there.
    #[error(
        "this secret is not in the backend {0}, which keeps its folder: write it, which carries it over, or \
         have the backend keep another folder"
    )]
    OnlyHere(String),
    /// What is to be done has to be done in another store.
    #[error("this secret is kept in the backend {0}: do that there")]
    KeptElsewhere(String),
    /// As for everything else.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl From<StoreError> for VaultError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<CommitError> for VaultError {
    fn from(error: CommitError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<EntropyFailed> for VaultError {
    fn from(error: EntropyFailed) -> Self {
        Self::Engine(error.into())
    }
}
