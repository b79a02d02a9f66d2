//! Secrets as they are stored, and as this node knows them.

use std::sync::Arc;

use keyreeve_core::{
    model::Revision,
    name::ProjectName,
    vault::{SecretPath, SecretRecord},
};

use super::{VaultAccess, VaultError, records::Known};
use crate::{
    Engine,
    store::{RecordKind, VaultRecord},
};

/// A secret as it is stored.
pub(super) struct StoredSecret {
    pub(super) secret: Arc<SecretRecord>,
    pub(super) revision: Revision,
}

impl Engine {
    /// The secret at a path as it is stored: somebody else changed it, and on another node the news of
    /// that may not be here yet. What memory knows is left to the news, which come in order.
    async fn secret_in_store(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Result<Option<StoredSecret>, VaultError> {
        let (project, kind, id) = (access.project(), RecordKind::Secret, path.as_str());
        let Some(record) = self.store.vault_record(project, kind, id).await? else {
            return Ok(None);
        };
        self.believe(access, path, &Known::new(Arc::new(record))).await.map(Some)
    }

    /// The secret at a path: as this node knows it, and after a conflict as it is stored.
    pub(super) async fn secret_for(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        attempt: usize,
    ) -> Result<Option<StoredSecret>, VaultError> {
        if attempt == 0 {
            return self.secret(access, path).await;
        }
        self.secret_in_store(access, path).await
    }

    /// The secret at a path, as this node knows it. A change that does not fit what is stored is refused
    /// by the store.
    pub(super) async fn secret(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Result<Option<StoredSecret>, VaultError> {
        self.keyring()?;
        let project = access.project();
        let known = self.vault.records.get(project, RecordKind::Secret, path.as_str());
        let Some(known) = known else { return Ok(None) };
        self.believe(access, path, &known).await.map(Some)
    }

    /// What a record says, if it is as the vault wrote it; else that is recorded.
    pub(super) async fn believe(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        known: &Known,
    ) -> Result<StoredSecret, VaultError> {
        let read = {
            let keyring = self.keyring()?;
            known.parsed::<SecretRecord>(access.project(), &keyring)
        };
        match read {
            Ok(secret) => Ok(StoredSecret { secret, revision: known.record.revision }),
            Err(why) => Err(self.tampered(access, path.to_string(), why).await),
        }
    }

    pub(super) fn secret_record(
        &self,
        project: &ProjectName,
        path: &SecretPath,
        secret: &SecretRecord,
        follows: Revision,
    ) -> Result<VaultRecord, VaultError> {
        self.record(project, RecordKind::Secret, path.as_str(), secret, follows)
    }
}
