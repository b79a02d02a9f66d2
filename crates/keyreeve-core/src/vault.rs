//! The vault: secrets at paths, with numbered versions, under envelope encryption.

mod capability;
mod envelope;
mod merge;
mod path;
mod policy;
mod policy_text;
mod secret;
mod versions;

pub use capability::{Capabilities, Capability};
pub use envelope::{
    Binding, EnvelopeError, Keyring, KeyringError, RootKey, SealedKey, SealedVersion,
    SealingRandomness,
};
pub use merge::merge_patch;
pub use path::{SecretPath, SecretPathPrefix};
pub use policy::{PathPattern, PathRule, PolicyName, VaultPolicy};
pub use policy_text::PolicyMistake;
pub use secret::{
    CustomMetadata, DEFAULT_MAX_VERSIONS, Found, MountConfig, SecretRecord, SecretSettings,
    check_custom_metadata,
};
pub use versions::{CasMismatch, VersionMeta, VersionNumber};
