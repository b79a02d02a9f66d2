//! Reading and writing secrets.

use std::sync::Arc;

use keyreeve_core::{
    Secret,
    audit::{AuditEntry, Outcome},
    model::Revision,
    name::ProjectName,
    vault::{
        Binding, Capability, EnvelopeError, Found, SealedVersion, SecretPath, SecretRecord, Stage,
        VersionMeta, VersionNumber,
    },
};
use serde_json::json;
use zeroize::Zeroize as _;

use super::{
    VaultAccess, VaultError,
    access::PathPermit,
    backends::{Agreed, Backend, Follow, Mirror, Next},
    fields::{Fields, patched},
    keyring::sealing_randomness,
    stored::StoredSecret,
    typing::Typed,
};
use crate::{
    Engine, Error,
    store::{Change, Kind, RecordKind, SealedRow},
};

/// How often a change is tried again that somebody else got in the way of.
const MOST_TRIES: usize = 16;
/// The record that bounds all secrets of a project.
pub(super) const MOUNT: &str = "secret";

/// A version to be written.
#[derive(Debug)]
pub struct PutSecret {
    /// Its fields.
    pub fields: Fields,
    /// How.
    pub options: WriteOptions,
}

/// How something is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// The version that the writer has seen.
    pub cas: Option<VersionNumber>,
    /// Whether it is written even if it cannot be meant: a placeholder, a test key for production.
    pub force: bool,
    /// Whether it is read at once, or waits.
    pub stage: Stage,
}

/// Which version is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WhichVersion {
    /// The one that is current.
    #[default]
    Current,
    /// By number.
    Number(VersionNumber),
    /// By name: `previous`, `pending`, or an alias.
    Label(String),
}

impl WhichVersion {
    /// Its number, if there is one of that name; 0 for the current one.
    fn number(&self, secret: &SecretRecord) -> Option<VersionNumber> {
        match self {
            Self::Current => Some(0),
            Self::Number(number) => Some(*number),
            Self::Label(label) => secret.labelled(label),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its number.
    pub version: VersionNumber,
    /// What is known of it.
    pub meta: VersionMeta,
    /// What is known of the secret.
    pub secret: Arc<SecretRecord>,
}

/// What a look for a version found.
#[derive(Debug)]
pub struct ReadVersion {
    /// Its number.
    pub version: VersionNumber,
    /// What is known of it.
    pub meta: VersionMeta,
    /// What is known of the secret.
    pub secret: Arc<SecretRecord>,
    /// Its fields; `None` if it is deleted or destroyed.
    pub fields: Option<Fields>,
}

/// What is to be written.
pub(super) struct Write<'a> {
    pub(super) fields: &'a Fields,
    pub(super) cas: Option<VersionNumber>,
    pub(super) stage: Stage,
    pub(super) typed: &'a Typed,
    pub(super) behind: Behind<'a>,
}

/// What another store that keeps the secret has to do with it.
pub(super) enum Behind<'a> {
    /// It is to have it first, if there is one.
    First(&'a mut Agreed),
    /// It has it: it was taken from there.
    Taken {
        /// From where.
        backend: &'a Backend,
        /// What is agreed on with it, but for the version here.
        mirror: Mirror,
        /// What the record about it takes the place of.
        follows: Revision,
    },
}

impl Engine {
    /// Writes a new version, which becomes the current one.
    pub async fn put_secret(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        put: PutSecret,
    ) -> Result<Written, VaultError> {
        let PutSecret { fields, options } = put;
        // Whether anything is there is nobody's business who may not write here at all.
        let granted = access.capabilities(path.as_str());
        if !granted.allow(Capability::Create) && !granted.allow(Capability::Update) {
            return Err(self.refuse_path(access, Capability::Update, path.as_str()).await);
        }
        let typed = self.type_fields(path, &fields, options.force)?;
        let _turn = self.turn_behind(access, path).await?;
        let mut agreed = Agreed::default();
        for attempt in 0..MOST_TRIES {
            if !agreed.is_written() {
                self.follow_in_turn(access, path, Follow::Now).await?;
            }
            let stored = self.secret_for(access, path, attempt).await?;
            let exists = stored.as_ref().is_some_and(|stored| stored.secret.current > 0);
            let capability = if exists { Capability::Update } else { Capability::Create };
            let permit = self.permit_path(access, capability, path).await?;
            let current = stored.as_ref().map_or(0, |stored| stored.secret.current);
            // What another store has taken is not taken back.
            let cas = if agreed.is_written() { Some(current) } else { options.cas };
            let (stage, behind) = (options.stage, Behind::First(&mut agreed));
            let write = Write { fields: &fields, cas, stage, typed: &typed, behind };
            match self.write_version(&permit, stored, write, "secret.put").await {
                Err(error) if is_conflict(&error) => {}
                outcome => return outcome,
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Writes a new version: the current one with a merge patch (RFC 7396).
    pub async fn patch_secret(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        patch: &Fields,
        options: WriteOptions,
    ) -> Result<Written, VaultError> {
        let permit = self.permit_path(access, Capability::Patch, path).await?;
        // What nobody named is not looked at.
        let typed = self.type_fields(path, patch, options.force)?;
        let _turn = self.turn_behind(access, path).await?;
        let mut agreed = Agreed::default();
        let mut given = None;
        for attempt in 0..MOST_TRIES {
            if !agreed.is_written() {
                self.follow_in_turn(access, path, Follow::Now).await?;
            }
            let stored = self.secret_for(access, path, attempt).await?;
            let stored = stored.ok_or_else(|| VaultError::NotFound(path.clone()))?;
            let Found::Readable(version, _) = stored.secret.find(None, self.now()) else {
                return Err(VaultError::NotFound(path.clone()));
            };
            // What another store has taken is not made anew of what is here meanwhile.
            let fields = match given.take().filter(|_| agreed.is_written()) {
                Some(fields) => fields,
                None => match self.open_fields(access, path, &stored, version).await {
                    Err(error) if is_conflict(&error) => continue,
                    old => patched(&old?, patch)?,
                },
            };
            // What was patched is what was read, whether the caller knows a number or not.
            let seen = options.cas.filter(|_| !agreed.is_written());
            let cas = seen.or(Some(version));
            let (stage, behind) = (options.stage, Behind::First(&mut agreed));
            let fields = given.insert(fields);
            let write = Write { fields, cas, stage, typed: &typed, behind };
            match self.write_version(&permit, Some(stored), write, "secret.patch").await {
                Err(error) if is_conflict(&error) => {}
                outcome => return outcome,
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    pub(super) async fn write_version(
        &self,
        permit: &PathPermit<'_>,
        stored: Option<StoredSecret>,
        write: Write<'_>,
        action: &'static str,
    ) -> Result<Written, VaultError> {
        let Write { fields, cas, stage, typed, behind } = write;
        let (access, path) = (permit.access(), permit.path());
        let now = self.now();
        let (mut secret, revision) = match &stored {
            Some(stored) => ((*stored.secret).clone(), stored.revision),
            None => (SecretRecord::new(self.new_id()?, now), 0),
        };
        let mount = self.mount_config(access).await?;
        let (version, pruned) =
            secret.put(cas, stage, &mount, Some(access.actor().to_string()), now)?;
        if secret.about.provider.is_none() {
            secret.about.provider.clone_from(&typed.provider);
        }
        let sealed = self.seal_fields(access, path, &secret, version, fields)?;
        let mirror = match behind {
            // What waits here is nothing the other store knows of.
            Behind::First(_) if stage == Stage::Pending => None,
            Behind::First(agreed) => {
                let next = Next::Version(&secret.id, version, fields);
                self.write_behind(access, path, stored.as_ref(), next, agreed).await?
            }
            Behind::Taken { backend, mut mirror, follows } => {
                mirror.becomes(&secret.id, version);
                Some(self.keep_mirror(backend, path.as_str(), &mirror, follows)?)
            }
        };
        let id: Arc<str> = secret.id.as_str().into();
        let record = self.secret_record(access.project(), path, &secret, revision)?;
        let mut entry = access.entry(self, action, path.as_str(), Outcome::Done);
        entry.details.insert("version".to_owned(), json!(version));
        if stage == Stage::Pending {
            entry.details.insert("pending".to_owned(), json!(true));
        }
        if !typed.forced.is_empty() {
            entry.details.insert("forced".to_owned(), json!(typed.forced));
        }
        let row = SealedRow { secret: id.clone(), version, sealed };
        let mut tx = self
            .begin(access.project())
            .with(Change::PutRecord(Arc::new(record)))
            .with(Change::PutSealed(row));
        if !pruned.is_empty() {
            entry.details.insert("pruned".to_owned(), json!(pruned));
            tx = tx.with(Change::DropSealed { secret: id, versions: pruned });
        }
        if let Some(mirror) = mirror {
            tx = tx.with(mirror);
        }
        tx.commit(entry).await?;
        let meta = secret.versions.get(&version).cloned();
        let meta = meta.ok_or(Error::ChangedMeanwhile(Kind::SealedVersion))?;
        Ok(Written { version, meta, secret: Arc::new(secret) })
    }

    fn seal_fields(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        secret: &SecretRecord,
        version: VersionNumber,
        fields: &Fields,
    ) -> Result<SealedVersion, VaultError> {
        let keyring = self.keyring()?;
        let binding = Binding { project: access.project().as_str(), secret: &secret.id, version };
        let randomness = sealing_randomness(&*self.entropy)?;
        // EXPOSE: goes into the cipher.
        let sealed = keyring.seal(&binding, fields.text().expose().as_bytes(), randomness);
        sealed.map_err(|why| VaultError::Tampered { what: path.to_string(), why })
    }

    /// Reads a version. Durable in the audit before it is given out.
    pub async fn read_secret(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        which: &WhichVersion,
    ) -> Result<ReadVersion, VaultError> {
        let permit = self.permit_path(access, Capability::Read, path).await?;
        self.follow(access, path).await?;
        for attempt in 0..MOST_TRIES {
            let stored = self.secret_for(access, permit.path(), attempt).await?;
            let stored = stored.ok_or_else(|| VaultError::NotFound(path.clone()))?;
            let asked = which.number(&stored.secret);
            let asked = asked.ok_or_else(|| VaultError::NotFound(path.clone()))?;
            let (version, meta, readable) = match stored.secret.find(Some(asked), self.now()) {
                Found::Readable(version, meta) => (version, meta.clone(), true),
                Found::Gone(version, meta) => (version, meta.clone(), false),
                Found::Missing => return Err(VaultError::NotFound(path.clone())),
            };
            let fields = if readable {
                match self.open_fields(access, path, &stored, version).await {
                    Err(error) if is_conflict(&error) => continue,
                    fields => Some(fields?),
                }
            } else {
                None
            };
            let mut entry = access.entry(self, "secret.read", path.as_str(), Outcome::Done);
            entry.details.insert("version".to_owned(), json!(version));
            if fields.is_none() {
                entry.details.insert("gone".to_owned(), json!(true));
            }
            self.begin(access.project()).commit(entry).await?;
            return Ok(ReadVersion { version, meta, secret: stored.secret, fields });
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Opens a version's fields. What does not open was tampered with, which is recorded.
    ///
    /// A version that is gone because somebody changed the secret meanwhile is a conflict.
    pub(super) async fn open_fields(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        stored: &StoredSecret,
        version: VersionNumber,
    ) -> Result<Fields, VaultError> {
        let project = access.project();
        let id: Arc<str> = stored.secret.id.as_str().into();
        let sealed = if let Some(sealed) = self.vault.sealed.get(&id, version) {
            sealed
        } else {
            let found = self.store.sealed_version(project, &id, version).await?;
            if found.is_none() {
                let kind = RecordKind::Secret;
                let now = self.store.vault_record(project, kind, path.as_str()).await?;
                if now.is_none_or(|now| now.revision != stored.revision) {
                    return Err(Error::ChangedMeanwhile(Kind::VaultRecord).into());
                }
            }
            let Some(Ok(found)) = found.map(SealedVersion::from_bytes) else {
                let what = format!("version {version} of secret {id}");
                return Err(self.tampered(access, what, EnvelopeError::Malformed).await);
            };
            let found = Arc::new(found);
            self.vault.sealed.keep(id.clone(), version, found.clone());
            found
        };
        match self.open_sealed(project, &id, version, &sealed) {
            Ok(fields) => Ok(fields),
            Err(VaultError::Tampered { what, why }) => {
                self.vault.sealed.forget(&id, version);
                Err(self.tampered(access, what, why).await)
            }
            Err(error) => Err(error),
        }
    }

    fn open_sealed(
        &self,
        project: &ProjectName,
        secret: &str,
        version: VersionNumber,
        sealed: &SealedVersion,
    ) -> Result<Fields, VaultError> {
        let keyring = self.keyring()?;
        let tampered = |why| {
            let what = format!("version {version} of secret {secret}");
            VaultError::Tampered { what, why }
        };
        let binding = Binding { project: project.as_str(), secret, version };
        let mut opened = keyring.open_version(&binding, sealed).map_err(tampered)?;
        let bytes = std::mem::take(opened.expose_mut());
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Fields::stored(Secret::new(text))),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(tampered(EnvelopeError::Malformed))
            }
        }
    }

    /// Deletes versions, or the current one, so that they can be brought back. Versions that are not
    /// there are passed over, as is a path where nothing is.
    pub async fn delete_versions(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        versions: Option<&[VersionNumber]>,
    ) -> Result<(), VaultError> {
        let permit = self.permit_path(access, Capability::Delete, path).await?;
        let (access, path) = (permit.access(), permit.path());
        let _turn = self.turn_behind(access, path).await?;
        self.follow_in_turn(access, path, Follow::Now).await?;
        let (mut agreed, mut first) = (Agreed::default(), None);
        for attempt in 0..MOST_TRIES {
            let stored = self.secret_for(access, path, attempt).await?;
            let Some(stored) = stored else { return Ok(()) };
            let mut secret = (*stored.secret).clone();
            // What another store has deleted already is that one, whatever is current meanwhile.
            if agreed.is_written() && first != Some(secret.current) {
                break;
            }
            first = Some(secret.current);
            let current = [secret.current];
            let versions = versions.unwrap_or(&current);
            let was_readable = matches!(secret.find(None, self.now()), Found::Readable(..));
            if !secret.delete(versions, self.now()) {
                return Ok(());
            }
            let mirror = if was_readable && versions.contains(&secret.current) {
                self.write_behind(access, path, Some(&stored), Next::Gone, &mut agreed).await?
            } else {
                None
            };
            let mut entry = access.entry(self, "secret.delete", path.as_str(), Outcome::Done);
            entry.details.insert("versions".to_owned(), json!(versions));
            let revision = stored.revision;
            match self.commit_secret(access, path, &secret, revision, mirror, entry).await {
                Err(error) if is_conflict(&error) => {}
                outcome => return outcome,
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Brings deleted versions back.
    pub async fn undelete_versions(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        versions: &[VersionNumber],
    ) -> Result<(), VaultError> {
        let permit = self.permit_path(access, Capability::Delete, path).await?;
        let is_its_own = |current, _| versions.contains(&current);
        self.refuse_if_kept_elsewhere(access, path, is_its_own).await?;
        let mount = self.mount_config(access).await?;
        self.change_secret(&permit, "secret.undelete", |secret, now| {
            (secret.undelete(versions, &mount, now), versions.to_vec(), Vec::new())
        })
        .await
    }

    /// Destroys versions for good.
    pub async fn destroy_versions(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        versions: &[VersionNumber],
    ) -> Result<(), VaultError> {
        let permit = self.permit_path(access, Capability::Destroy, path).await?;
        let _turn = self.turn_behind(access, path).await?;
        self.follow_in_turn(access, path, Follow::Now).await?;
        let is_its_own = |current, readable| readable && versions.contains(&current);
        self.refuse_if_kept_elsewhere(access, path, is_its_own).await?;
        self.change_secret(&permit, "secret.destroy", |secret, now| {
            let wiped = secret.destroy(versions, now);
            (!wiped.is_empty(), wiped.clone(), wiped)
        })
        .await
    }

    /// Removes a secret with all its versions for good.
    pub async fn remove_secret(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Result<(), VaultError> {
        let permit = self.permit_path(access, Capability::Destroy, path).await?;
        let _turn = self.turn_behind(access, path).await?;
        self.follow_in_turn(access, path, Follow::Now).await?;
        self.refuse_if_kept_elsewhere(access, path, |_, readable| readable).await?;
        for attempt in 0..MOST_TRIES {
            let stored = self.secret_for(access, permit.path(), attempt).await?;
            let Some(stored) = stored else { return Ok(()) };
            let versions: Vec<_> = stored.secret.versions.keys().copied().collect();
            let entry = access.entry(self, "secret.remove", path.as_str(), Outcome::Done);
            let id: Arc<str> = stored.secret.id.as_str().into();
            let gone = Change::DeleteRecord {
                kind: RecordKind::Secret,
                id: path.as_str().into(),
                revision: stored.revision,
            };
            let mut tx = self.begin(access.project()).with(gone);
            if let Some(mirror) = self.forget_mirror(access, path) {
                tx = tx.with(mirror);
            }
            let outcome = tx.with(Change::DropSealed { secret: id, versions }).commit(entry).await;
            match outcome.map_err(VaultError::from) {
                Ok(_) => return Ok(()),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Changes what is known of a secret, if it is there and the change changes anything. `change`
    /// gives whether it did, which versions it was about, and whose fields have to go.
    pub(super) async fn change_secret(
        &self,
        permit: &PathPermit<'_>,
        action: &'static str,
        change: impl Fn(
            &mut SecretRecord,
            jiff::Timestamp,
        ) -> (bool, Vec<VersionNumber>, Vec<VersionNumber>),
    ) -> Result<(), VaultError> {
        let (access, path) = (permit.access(), permit.path());
        for attempt in 0..MOST_TRIES {
            let stored = self.secret_for(access, path, attempt).await?;
            let Some(stored) = stored else { return Ok(()) };
            let mut secret = (*stored.secret).clone();
            let (changed, versions, wiped) = change(&mut secret, self.now());
            if !changed {
                return Ok(());
            }
            let mut entry = access.entry(self, action, path.as_str(), Outcome::Done);
            if !versions.is_empty() {
                entry.details.insert("versions".to_owned(), json!(versions));
            }
            let record = self.secret_record(access.project(), path, &secret, stored.revision)?;
            let mut tx = self.begin(access.project()).with(Change::PutRecord(Arc::new(record)));
            if !wiped.is_empty() {
                let secret = secret.id.as_str().into();
                tx = tx.with(Change::DropSealed { secret, versions: wiped });
            }
            match tx.commit(entry).await.map_err(VaultError::from) {
                Err(error) if is_conflict(&error) => {}
                outcome => return outcome.map(drop),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    pub(super) async fn commit_secret(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        secret: &SecretRecord,
        revision: Revision,
        mirror: Option<Change>,
        entry: AuditEntry,
    ) -> Result<(), VaultError> {
        let record = self.secret_record(access.project(), path, secret, revision)?;
        let mut tx = self.begin(access.project()).with(Change::PutRecord(Arc::new(record)));
        if let Some(mirror) = mirror {
            tx = tx.with(mirror);
        }
        tx.commit(entry).await?;
        Ok(())
    }
}

/// Whether somebody else was faster.
pub(super) fn is_conflict(error: &VaultError) -> bool {
    let kind = match error {
        VaultError::Engine(
            Error::ChangedMeanwhile(kind) | Error::AlreadyExists(kind) | Error::NotFound(kind),
        ) => *kind,
        _ => return false,
    };
    matches!(kind, Kind::VaultRecord | Kind::SealedVersion)
}
