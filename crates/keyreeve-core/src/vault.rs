//! The vault: secrets at paths, with numbered versions, under envelope encryption.

mod approle;
mod capability;
mod envelope;
mod merge;
mod offline;
mod passphrase;
mod path;
mod policy;
mod policy_text;
mod secret;
mod shares;
mod token;
mod versions;
mod wrapping;

pub use approle::{AppRole, AppRoleName, SecretId, USUAL_TOKEN_LIFE};
pub use capability::{Capabilities, Capability};
pub use envelope::{
    Binding, EnvelopeError, Keyring, KeyringError, RootKey, SealedKey, SealedVersion,
    SealingRandomness,
};
pub use merge::merge_patch;
pub use offline::{OfflineCopy, OfflineError, OfflineRandomness, OfflineSubject};
pub use passphrase::{PassphraseParameters, check_passphrase};
pub use path::{SecretPath, SecretPathPrefix};
pub use policy::{PathPattern, PathRule, PolicyName, VaultPolicy};
pub use policy_text::PolicyMistake;
pub use secret::{
    About, CustomMetadata, DEFAULT_MAX_VERSIONS, Found, MountConfig, SecretRecord, SecretSettings,
    Stage, check_custom_metadata,
};
pub use shares::{Share, ShareCounts, combine, split};
pub use token::{
    LONGEST_LIFE, TOKEN_PREFIX, TokenParent, VaultToken, WRAPPING_PREFIX, credential_digest,
    new_credential,
};
pub use versions::{CasMismatch, VersionMeta, VersionNumber};
pub use wrapping::Wrapping;
