//! What this vault and another store last agreed on.

use jiff::Timestamp;
use keyreeve_core::{model::Revision, name::ProjectName, vault::VersionNumber};
use serde::{Deserialize, Serialize};

use super::Backend;
use crate::{
    Engine,
    store::{Change, RecordKind},
    vault::{VaultError, records::Known},
};

/// A path of this vault as another store has it. Stored as a record of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vault) struct Mirror {
    /// The version there; `None` if there is none that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::vault) remote: Option<String>,
    /// The same version here; 0 for none.
    #[serde(default)]
    pub(in crate::vault) version: VersionNumber,
    /// When that was seen.
    #[serde(default)]
    pub(in crate::vault) confirmed_at: Timestamp,
    /// Why the version that is current here is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::vault) failure: Option<Failure>,
}

/// A version that could not be written there. It is not tried again until something changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vault) struct Failure {
    /// Which; 0 for a deletion.
    pub(in crate::vault) version: VersionNumber,
    /// What the store said.
    pub(in crate::vault) why: String,
}

/// A mirror, and the revision that it was read at; 0 if there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) mirror: Mirror,
    pub(super) revision: Revision,
}

impl Backend {
    /// The id of the record about a path.
    pub(super) fn mirror_id(&self, path: &str) -> String {
        format!("{}/{path}", self.name())
    }
}

impl Engine {
    /// What was last agreed on about a path: as this node knows it, and after a conflict as it is stored.
    pub(super) async fn mirror(
        &self,
        backend: &Backend,
        path: &str,
        attempt: usize,
    ) -> Result<Kept, VaultError> {
        let (project, id) = (&backend.options.project, backend.mirror_id(path));
        let known = if attempt == 0 {
            self.vault.records.get(project, RecordKind::Mirror, &id)
        } else {
            let stored = self.store.vault_record(project, RecordKind::Mirror, &id).await?;
            stored.map(|record| std::sync::Arc::new(Known::new(std::sync::Arc::new(record))))
        };
        let Some(known) = known else { return Ok(Kept::default()) };
        let mirror = self.read_mirror(project, &known)?;
        Ok(Kept { mirror, revision: known.record.revision })
    }

    pub(super) fn read_mirror(
        &self,
        project: &ProjectName,
        known: &Known,
    ) -> Result<Mirror, VaultError> {
        let keyring = self.keyring()?;
        let parsed = known.parsed::<Mirror>(project, &keyring);
        let mirror = parsed.map_err(|why| VaultError::Tampered {
            what: format!("the mirror {}", known.record.id),
            why,
        })?;
        Ok((*mirror).clone())
    }

    /// The change that keeps a mirror.
    pub(in crate::vault) fn keep_mirror(
        &self,
        backend: &Backend,
        path: &str,
        mirror: &Mirror,
        follows: Revision,
    ) -> Result<Change, VaultError> {
        let (project, id) = (&backend.options.project, backend.mirror_id(path));
        let record = self.record(project, RecordKind::Mirror, &id, mirror, follows)?;
        Ok(Change::PutRecord(std::sync::Arc::new(record)))
    }
}
