//! The vault: secrets at paths, sealed, versioned, audited.
//!
//! Records (what is known of secrets, and of who may do what) are held in memory by every node and
//! checked against their tag before they are believed. The fields of versions stay encrypted, in the
//! database and in a bounded cache; they are opened for one answer at a time.

mod access;
mod approle;
mod backends;
mod error;
mod fields;
mod for_data_plane;
mod keyring;
mod listing;
mod policies;
mod records;
mod rewrap;
mod seal;
mod sealed_cache;
mod secrets;
mod settings;
mod stored;
mod sweep;
mod tagging;
mod tokens;
mod typing;
mod wrapping;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use keyreeve_core::name::ProjectName;

pub use self::{
    access::{Explanation, PathPermit, VaultAccess},
    approle::{IssuedSecretId, NewSecretId},
    backends::{
        BackendError, BackendFault, BackendMode, BackendOptions, BackendStatus, BackendVersion,
        Expect, SecretBackend, SyncNow, Synced,
    },
    error::VaultError,
    fields::Fields,
    keyring::VaultState,
    listing::{ListSecrets, Listing},
    seal::{NewRoot, ROOT_KEY_LABEL, Seal, Unlock, UnsealProgress, parse_root_key},
    secrets::{PutSecret, ReadVersion, WhichVersion, WriteOptions, Written},
    settings::{MetadataChange, NotesChange, SettingsChange},
    tokens::{IssuedVaultToken, NewToken, TokenHolder},
    typing::{CredentialJudgement, CredentialTypes},
    wrapping::WrappedAnswer,
};
pub(crate) use self::{backends::Backends, for_data_plane::Kept};
use self::{keyring::Opened, records::RecordTable, seal::Unsealing, sealed_cache::SealedCache};
use crate::{
    live::LiveTable,
    store::{Change, ChangeSink, QuotaClaim, RecordKind},
    webhooks::VerdictLedger,
};

/// What the engine holds of the vault.
#[derive(Debug, Default)]
pub(crate) struct Vault {
    records: RecordTable,
    /// The keys, while the vault is open.
    opened: ArcSwapOption<Opened>,
    unsealing: Unsealing,
    sealed: SealedCache,
}

/// Learns of every change: records go to the vault, everything else to verification.
pub(crate) struct Sinks {
    pub(crate) live: Arc<LiveTable>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) verdicts: Arc<VerdictLedger>,
}

impl ChangeSink for Sinks {
    fn apply(&self, project: &ProjectName, change: &Change) {
        match change {
            Change::PutRecord(record) => self.vault.records.put(project, record.clone()),
            Change::DeleteRecord { kind, id, .. } => {
                self.vault.records.remove(project, *kind, id);
                match kind {
                    RecordKind::Connection => {
                        self.vault.made_credentials(|made| made.forget(project, id));
                    }
                    RecordKind::WebhookSource => {
                        self.vault.source_keys(|keys| keys.forget(project, id));
                        self.verdicts.forget(project, id);
                    }
                    _ => {}
                }
            }
            Change::DropSealed { secret, versions } => {
                for version in versions {
                    self.vault.sealed.forget(secret, *version);
                }
            }
            _ => self.live.apply(project, change),
        }
    }

    fn wants_all_keys(&self) -> bool {
        self.live.wants_all_keys()
    }

    fn advance(&self, epoch: u64) {
        self.live.advance(epoch);
    }

    fn claimed_elsewhere(&self, project: &ProjectName, claim: &QuotaClaim) {
        self.live.claimed_elsewhere(project, claim);
    }

    fn vouch(&self, as_of_ns: u64) {
        self.live.vouch(as_of_ns);
    }

    fn lost(&self) {
        self.live.lost();
    }
}
