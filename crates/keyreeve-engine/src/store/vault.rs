//! What the vault keeps: records, each authenticated as a whole, and sealed versions.

use std::sync::Arc;

use keyreeve_core::{
    model::Revision,
    name::ProjectName,
    vault::{SealedVersion, VersionNumber},
};

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// The keys over everything, wrapped by the root key. One for an installation.
    Keyring,
    /// What bounds all secrets of a project.
    Mount,
    /// A secret, by path.
    Secret,
    /// A policy, by name.
    Policy,
    /// A role that programs log in as, by name.
    AppRole,
    /// Proof of a role, by digest.
    SecretId,
    /// A token, by digest.
    Token,
    /// A wrapped answer, by the digest of its token.
    Wrapping,
    /// What was agreed on with another store, by its name and the path.
    Mirror,
    /// A connection, by name.
    Connection,
    /// A token of a client of connections, by digest.
    ClientToken,
    /// A sender of webhooks, by name.
    WebhookSource,
}

impl RecordKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Keyring,
        Self::Mount,
        Self::Secret,
        Self::Policy,
        Self::AppRole,
        Self::SecretId,
        Self::Token,
        Self::Wrapping,
        Self::Mirror,
        Self::Connection,
        Self::ClientToken,
        Self::WebhookSource,
    ];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Mount => "mount",
            Self::Secret => "secret",
            Self::Policy => "policy",
            Self::AppRole => "approle",
            Self::SecretId => "secret-id",
            Self::Token => "token",
            Self::Wrapping => "wrapping",
            Self::Mirror => "mirror",
            Self::Connection => "connection",
            Self::ClientToken => "client-token",
            Self::WebhookSource => "webhook-source",
        }
    }

    /// From the stored form.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Something the vault knows, as one text that is authenticated together with where it stands.
/// Holds no secret in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRecord {
    /// What it is about.
    pub kind: RecordKind,
    /// Names it within its project and kind.
    pub id: Arc<str>,
    /// Goes up with each change, and is higher than that of a record which stood here before and went:
    /// so nobody takes what is new for what they have read.
    pub revision: Revision,
    /// The stored revision that it takes the place of; 0 for none. Not stored.
    pub follows: Revision,
    /// The number of the key that authenticates it; 0 for the keyring, whose keys do that themselves.
    pub key: u32,
    /// What authenticates it.
    pub tag: [u8; 32],
    /// What it says, as JSON.
    pub body: String,
}

/// A version's fields, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRow {
    /// Its secret's own id.
    pub secret: Arc<str>,
    /// Its number.
    pub version: VersionNumber,
    /// The fields.
    pub sealed: SealedVersion,
}

/// A sealed version of some project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedOf {
    /// The tenant.
    pub project: ProjectName,
    /// The version.
    pub row: SealedRow,
}
