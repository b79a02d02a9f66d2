//! What the vault writes carries a tag; what it reads and does not fit its tag is recorded.

use std::sync::Arc;

use keyreeve_core::{
    Invalid,
    audit::Outcome,
    model::Revision,
    name::ProjectName,
    vault::{EnvelopeError, Keyring, MountConfig},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    VaultAccess, VaultError,
    records::{Known, authenticated, read},
    secrets::MOUNT,
};
use crate::{
    Engine, Error, FieldError,
    store::{Kind, RecordKind, VaultRecord},
};

impl Engine {
    /// Records that something stored was changed by somebody else than the vault.
    pub(super) async fn tampered(
        &self,
        access: &VaultAccess,
        what: String,
        why: EnvelopeError,
    ) -> VaultError {
        if matches!(why, EnvelopeError::UnknownKey(_)) {
            // Another node may have made that key, and the news of it be late.
            match self.fetch_keyring().await {
                Ok(true) => return Error::ChangedMeanwhile(Kind::VaultRecord).into(),
                Ok(false) => {}
                Err(error) => return error,
            }
        }
        let mut entry = access.entry(self, "vault.tampering_found", &what, Outcome::Denied);
        entry.details.insert("why".to_owned(), json!(why.to_string()));
        match self.begin(access.project()).commit(entry).await {
            Ok(_) => VaultError::Tampered { what, why },
            Err(error) => error.into(),
        }
    }

    /// An error, recorded if it is that something was tampered with.
    pub(super) async fn record_tampering(
        &self,
        access: &VaultAccess,
        error: VaultError,
    ) -> VaultError {
        match error {
            VaultError::Tampered { what, why } => self.tampered(access, what, why).await,
            other => other,
        }
    }

    /// A record with its tag, which takes the place of that revision; 0 for none.
    pub(super) fn record(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
        body: &impl Serialize,
        follows: Revision,
    ) -> Result<VaultRecord, VaultError> {
        let body = serde_json::to_string(body).map_err(|_| {
            let rule = Invalid::new("cannot be written as JSON");
            VaultError::Invalid(FieldError::new(kind.as_str(), rule))
        })?;
        self.record_of_text(project, kind, id, body, follows)
    }

    /// The same of a body that is written already.
    pub(super) fn record_of_text(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
        body: String,
        follows: Revision,
    ) -> Result<VaultRecord, VaultError> {
        let keyring = self.keyring()?;
        let now_ms = Revision::try_from(self.now().as_millisecond()).unwrap_or_default();
        let mut record = VaultRecord {
            kind,
            id: id.into(),
            revision: follows.saturating_add(1).max(now_ms),
            follows,
            key: keyring.current(),
            tag: [0; 32],
            body,
        };
        let revision = record.revision.to_be_bytes();
        let tag = keyring.tag(&authenticated(&record, project, &revision));
        record.tag = tag.map_err(|why| VaultError::Tampered { what: id.to_owned(), why })?;
        Ok(record)
    }

    /// What a record says, if it is as the vault wrote it.
    pub(super) fn parsed<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        project: &ProjectName,
        known: &Known,
    ) -> Result<Arc<T>, VaultError> {
        let keyring = self.keyring()?;
        parsed_under(&keyring, project, known)
    }

    /// What bounds all secrets of a project that say nothing themselves.
    pub(super) async fn mount_config(
        &self,
        access: &VaultAccess,
    ) -> Result<MountConfig, VaultError> {
        let project = access.project();
        let Some(known) = self.vault.records.get(project, RecordKind::Mount, MOUNT) else {
            return Ok(MountConfig::default());
        };
        let config = {
            let keyring = self.keyring()?;
            read(&known.record, project, &keyring)
        };
        match config {
            Ok(config) => Ok(config),
            Err(why) => Err(self.tampered(access, "the mount".to_owned(), why).await),
        }
    }

    /// 128 random bits in hexadecimal.
    pub(super) fn new_id(&self) -> Result<String, VaultError> {
        Ok(format!("{:032x}", u128::from_be_bytes(self.entropy.bytes()?)))
    }
}

/// What a record says, if it is as the vault wrote it with these keys.
pub(super) fn parsed_under<T: DeserializeOwned + Send + Sync + 'static>(
    keyring: &Keyring,
    project: &ProjectName,
    known: &Known,
) -> Result<Arc<T>, VaultError> {
    known.parsed(project, keyring).map_err(|why| {
        let what = format!("{} {}", known.record.kind.as_str(), known.record.id);
        VaultError::Tampered { what, why }
    })
}
