//! What connections and webhooks ask of the vault.

use std::{ops::Bound, sync::Arc};

use keyreeve_core::{
    Secret,
    audit::Actor,
    model::Revision,
    name::ProjectName,
    vault::{
        Binding, EnvelopeError, Keyring, SealedVersion, SecretPath, SecretRecord, VersionNumber,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Fields, VaultAccess, VaultError, access::Rights, keyring::sealing_randomness, records::Known,
    stored::StoredSecret, tagging::parsed_under,
};
use crate::{
    Engine, RequestMeta,
    store::{RecordKind, VaultRecord},
};

/// A record of the vault, with what it follows.
pub(crate) struct Kept<T> {
    pub(crate) body: Arc<T>,
    pub(crate) revision: Revision,
}

impl VaultAccess {
    /// A connection, which uses the one secret that somebody gave it who may read it.
    pub(crate) fn of_connection(project: ProjectName, name: &str, request: RequestMeta) -> Self {
        let actor = Actor::System(format!("connection {name}").into());
        Self { project, actor, request, rights: Rights::Everything }
    }

    /// A source of webhooks, which uses the one secret that somebody gave it who may read it.
    pub(crate) fn of_webhook(project: ProjectName, name: &str, request: RequestMeta) -> Self {
        let actor = Actor::System(format!("webhook {name}").into());
        Self { project, actor, request, rights: Rights::Everything }
    }
}

impl Engine {
    /// A secret, as this node knows it.
    pub(crate) fn known_secret(
        &self,
        project: &ProjectName,
        path: &SecretPath,
    ) -> Result<Option<Arc<SecretRecord>>, VaultError> {
        self.kept(project, RecordKind::Secret, path.as_str()).map(|it| it.map(|kept| kept.body))
    }

    /// A record, as this node knows it.
    pub(crate) fn kept<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
    ) -> Result<Option<Kept<T>>, VaultError> {
        // Sealed is told also where there is nothing.
        let keyring = self.keyring()?;
        let kept = |known: &Known| kept_under(&keyring, project, known);
        match self.vault.records.look(project, kind, id, kept) {
            // The record may be newer than the keys that were taken before it.
            Some(Err(VaultError::Tampered { why: EnvelopeError::UnknownKey(_), .. })) => {
                let known = self.vault.records.get(project, kind, id);
                known.map(|known| self.kept_of(project, &known)).transpose()
            }
            kept => kept.transpose(),
        }
    }

    fn kept_of<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        project: &ProjectName,
        known: &Known,
    ) -> Result<Kept<T>, VaultError> {
        let keyring = self.keyring()?;
        kept_under(&keyring, project, known)
    }

    /// How many changes of secrets there were so far, to tell whether there was another.
    pub(crate) fn secret_changes(&self) -> u64 {
        self.vault.records.secret_changes()
    }

    /// All records of a kind, by id.
    pub(crate) fn all_kept<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        project: &ProjectName,
        kind: RecordKind,
    ) -> Result<Vec<Kept<T>>, VaultError> {
        self.keyring()?;
        let known =
            self.vault.records.beginning_with(project, kind, "", Bound::Unbounded, usize::MAX);
        known.iter().map(|known| self.kept_of(project, known)).collect()
    }

    /// The records of that kind and id, of every project that has one.
    pub(crate) fn kept_anywhere<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        kind: RecordKind,
        id: &str,
    ) -> Result<Vec<(ProjectName, Kept<T>)>, VaultError> {
        let named = self.vault.records.named(kind, id);
        named
            .into_iter()
            .map(|(project, known)| {
                let kept = self.kept_of(&project, &known)?;
                Ok((project, kept))
            })
            .collect()
    }

    /// The records of a kind, of every project. One that cannot be read is passed over, for it must not
    /// hold up what others have to do with theirs.
    pub(crate) fn kept_everywhere<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        kind: RecordKind,
    ) -> Vec<(ProjectName, Arc<T>)> {
        let readable = |(project, known): (ProjectName, Arc<Known>)| match self
            .parsed(&project, &known)
        {
            Ok(body) => Some((project, body)),
            Err(error) => {
                tracing::error!(%error, kind = kind.as_str(), id = &*known.record.id, "passed over");
                None
            }
        };
        self.vault.records.everywhere(kind).into_iter().filter_map(readable).collect()
    }

    /// How many records of a kind a project has.
    pub(crate) fn count_kept(&self, project: &ProjectName, kind: RecordKind) -> usize {
        self.vault.records.count(project, kind)
    }

    /// A record with its tag, which takes the place of that revision; 0 for none.
    pub(crate) fn tagged_record(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
        body: &impl Serialize,
        follows: Revision,
    ) -> Result<VaultRecord, VaultError> {
        self.record(project, kind, id, body, follows)
    }

    /// An error, recorded if it is that something was tampered with.
    pub(crate) async fn tampering_seen(
        &self,
        access: &VaultAccess,
        error: VaultError,
    ) -> VaultError {
        self.record_tampering(access, error).await
    }

    /// Whether another store has to do with the secret at a path.
    pub(crate) fn has_backend(&self, project: &ProjectName, path: &SecretPath) -> bool {
        self.backends.behind(project, path).is_some()
    }

    /// Takes over what another store has at a path, if it is read through.
    pub(crate) async fn follow_secret(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Result<(), VaultError> {
        self.follow(access, path).await
    }

    /// Opens a version. Recording that is the caller's.
    pub(crate) async fn open_version_for(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        version: VersionNumber,
    ) -> Result<Fields, VaultError> {
        let stored: Option<StoredSecret> = self.secret(access, path).await?;
        let stored = stored.ok_or_else(|| VaultError::NotFound(path.clone()))?;
        self.open_fields(access, path, &stored, version).await
    }

    /// Encrypts bytes for a place under the newest key.
    pub(crate) fn seal_bytes(
        &self,
        project: &ProjectName,
        place: &str,
        version: u64,
        bytes: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let binding = Binding { project: project.as_str(), secret: place, version };
        let randomness = sealing_randomness(&*self.entropy)?;
        let sealed = self.keyring()?.seal(&binding, bytes, randomness);
        Ok(sealed.map_err(|why| tampered_with(place, why))?.as_bytes().to_vec())
    }

    /// Bytes that were encrypted for that place.
    pub(crate) fn open_bytes(
        &self,
        project: &ProjectName,
        place: &str,
        version: u64,
        sealed: &[u8],
    ) -> Result<Secret<Vec<u8>>, VaultError> {
        let sealed =
            SealedVersion::from_bytes(sealed.to_vec()).map_err(|why| tampered_with(place, why))?;
        let binding = Binding { project: project.as_str(), secret: place, version };
        let opened = self.keyring()?.open_version(&binding, &sealed);
        opened.map_err(|why| tampered_with(place, why))
    }
}

fn kept_under<T: DeserializeOwned + Send + Sync + 'static>(
    keyring: &Keyring,
    project: &ProjectName,
    known: &Known,
) -> Result<Kept<T>, VaultError> {
    let body = parsed_under(keyring, project, known)?;
    Ok(Kept { body, revision: known.record.revision })
}

fn tampered_with(what: &str, why: EnvelopeError) -> VaultError {
    VaultError::Tampered { what: what.to_owned(), why }
}
