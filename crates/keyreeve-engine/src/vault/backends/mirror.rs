//! What this vault and another store last agreed on.

use std::{ops::Bound, sync::Arc};

use jiff::Timestamp;
use keyreeve_core::{model::Revision, vault::VersionNumber};
use serde::{Deserialize, Serialize};

use super::Backend;
use crate::{
    Engine, RequestMeta,
    store::{Change, RecordKind},
    vault::{VaultAccess, VaultError, records::Known},
};

/// A path of this vault as another store has it. Stored as a record of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vault) struct Mirror {
    /// Where that is: what was agreed on with another place counts for nothing.
    pub(super) place: String,
    /// The version there; `None` if there is none that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remote: Option<String>,
    /// The secret's own id here: at the same path another may stand later, with the same numbers.
    #[serde(default)]
    pub(super) secret: String,
    /// The same version here; 0 for none.
    #[serde(default)]
    pub(super) version: VersionNumber,
    /// When that was seen.
    #[serde(default)]
    pub(super) confirmed_at: Timestamp,
    /// What is being done there. If that is still to be read, nobody knows what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trying: Option<Step>,
    /// Why the version that is current here is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
}

/// A version of a secret that is to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    /// The secret's own id.
    pub(super) secret: String,
    /// Which; 0 for a deletion.
    pub(super) version: VersionNumber,
}

/// A version that could not be written there. It is not tried again until something changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// Which.
    #[serde(flatten)]
    pub(super) step: Step,
    /// What the store said.
    pub(super) why: String,
}

impl Mirror {
    /// The version that it became here.
    pub(in crate::vault) fn becomes(&mut self, secret: &str, version: VersionNumber) {
        secret.clone_into(&mut self.secret);
        self.version = version;
    }

    /// Whether that version is there.
    pub(super) fn has(&self, secret: &str, version: VersionNumber) -> bool {
        match version {
            _ if self.trying.is_some() => false,
            0 => self.remote.is_none(),
            _ => self.remote.is_some() && self.version == version && self.secret == secret,
        }
    }
}

/// A mirror, and the revision that it was read at; 0 if there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) mirror: Mirror,
    pub(super) revision: Revision,
}

impl Kept {
    /// Whether anything was ever agreed on.
    pub(super) fn is_agreed(&self) -> bool {
        !self.mirror.place.is_empty()
    }
}

impl Backend {
    /// The id of the record about a path.
    pub(super) fn mirror_id(&self, path: &str) -> String {
        format!("{}/{path}", self.name())
    }

    /// What is agreed on from now on.
    pub(super) fn mirror_of(&self, remote: Option<String>, now: Timestamp) -> Mirror {
        let place = self.options.place.clone();
        Mirror { place, remote, confirmed_at: now, ..Mirror::default() }
    }
}

impl Engine {
    /// The vault itself, as it deals with another store on nobody's behalf.
    pub(super) fn backend_access(&self, backend: &Backend) -> VaultAccess {
        let meta = RequestMeta { id: self.next_request_id(), ip: None };
        VaultAccess::of_backend(backend.options.project.clone(), backend.name(), meta)
    }

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
            stored.map(|record| Arc::new(Known::new(Arc::new(record))))
        };
        let Some(known) = known else { return Ok(Kept::default()) };
        match self.read_mirror(backend, &known) {
            Ok(mirror) => Ok(Kept { mirror, revision: known.record.revision }),
            Err(error) => {
                let access = self.backend_access(backend);
                Err(self.record_tampering(&access, error).await)
            }
        }
    }

    /// What a record says; nothing, if that was agreed on with another place.
    pub(super) fn read_mirror(
        &self,
        backend: &Backend,
        known: &Known,
    ) -> Result<Mirror, VaultError> {
        let mirror: Arc<Mirror> = self.parsed(&backend.options.project, known)?;
        let is_of_here = mirror.place == backend.options.place;
        Ok(if is_of_here { (*mirror).clone() } else { Mirror::default() })
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
        Ok(Change::PutRecord(Arc::new(record)))
    }

    /// At most so many mirrors of a store, by path, behind that one.
    pub(super) fn mirrors(
        &self,
        backend: &Backend,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(String, Arc<Known>)> {
        let prefix = backend.mirror_id("");
        let after = after.map(|path| backend.mirror_id(path));
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (project, kind) = (&backend.options.project, RecordKind::Mirror);
        let found = self.vault.records.beginning_with(project, kind, &prefix, from, limit);
        let path = |id: &str| id.get(prefix.len()..).unwrap_or_default().to_owned();
        found.into_iter().map(|known| (path(&known.record.id), known)).collect()
    }
}
