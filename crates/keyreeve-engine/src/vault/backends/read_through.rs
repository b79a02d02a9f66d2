//! Secrets that another store keeps: read from there, written there first.

use std::sync::Arc;

use jiff::SignedDuration;
use keyreeve_core::{
    audit::Outcome,
    vault::{Capability, Found, SecretPath, Stage, VersionNumber},
};
use serde_json::json;
use tokio::sync::MutexGuard;
use tracing::warn;

use super::{Backend, BackendError, BackendMode, BackendVersion, Expect, mirror::Kept};
use crate::{
    Engine, Error,
    store::{Change, Kind},
    vault::{
        Fields, VaultAccess, VaultError,
        secrets::{Behind, Write, is_conflict},
        stored::StoredSecret,
    },
    waiting::Waiting,
};

/// How often a copy is taken again that somebody else got in the way of.
const MOST_TRIES: usize = 16;

/// How up to date a copy has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vault) enum Follow {
    /// As the settings say.
    Usual,
    /// As the other store has it now: something is built on it.
    Now,
}

/// What becomes current behind a path.
pub(in crate::vault) enum Next<'f> {
    /// These fields, as that version of that secret here.
    Version(&'f str, VersionNumber, &'f Fields),
    /// Nothing.
    Gone,
}

/// What a write to another store came to, over all tries at the change here: it is written there once.
#[derive(Debug, Default)]
pub(in crate::vault) enum Agreed {
    /// Nothing was written yet.
    #[default]
    NotYet,
    /// It is.
    Written {
        /// The version that is current there now; `None` if there is nothing any more.
        remote: Option<String>,
        /// The version that was before.
        before: Option<String>,
    },
}

impl Agreed {
    /// Whether the other store has it.
    pub(in crate::vault) fn is_written(&self) -> bool {
        matches!(self, Self::Written { .. })
    }
}

/// The right to deal with a path that another store keeps.
pub(in crate::vault) struct Turn<'e> {
    _waiting: Waiting<'e>,
    _turn: MutexGuard<'e, ()>,
}

/// Whether a copy of that age is good for a read without asking, or without an answer.
fn is_within(kept: &Kept, length: SignedDuration, engine: &Engine) -> bool {
    let age = engine.now().duration_since(kept.mirror.confirmed_at);
    // A copy from the future tells nothing of its age.
    kept.is_agreed() && !age.is_negative() && age < length
}

impl Engine {
    /// Waits for the turn at a path that another store keeps; `None` if none does.
    pub(in crate::vault) async fn turn_behind(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Result<Option<Turn<'_>>, VaultError> {
        if self.backends.behind(access.project(), path).is_none() {
            return Ok(None);
        }
        let waiting = self.backends.one_more()?;
        let turn = self.backends.turn(path).lock().await;
        Ok(Some(Turn { _waiting: waiting, _turn: turn }))
    }

    /// Brings the copy of a path up to date for a read, if another store keeps it.
    pub(in crate::vault) async fn follow(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Result<(), VaultError> {
        let Some(backend) = self.backends.behind(access.project(), path) else { return Ok(()) };
        let BackendMode::ReadThrough { fresh, .. } = backend.options.mode else { return Ok(()) };
        self.keyring()?;
        // Without waiting for anybody, as nearly all reads are.
        let kept = self.mirror(backend, path.as_str(), 0).await?;
        let stored = self.secret_for(access, path, 0).await?;
        if is_within(&kept, fresh, self) && self.is_copy(&kept, stored.as_ref()) {
            return Ok(());
        }
        let _turn = self.turn_behind(access, path).await?;
        self.follow_in_turn(access, path, Follow::Usual).await
    }

    /// Whether what is here is what was agreed on.
    fn is_copy(&self, kept: &Kept, stored: Option<&StoredSecret>) -> bool {
        let (id, version) = self.readable(stored);
        kept.mirror.has(id, version)
    }

    /// The secret's own id and the version that can be read; 0 for none.
    fn readable<'s>(&self, stored: Option<&'s StoredSecret>) -> (&'s str, VersionNumber) {
        let Some(stored) = stored else { return ("", 0) };
        let version = match stored.secret.find(None, self.now()) {
            Found::Readable(version, _) => version,
            Found::Gone(..) | Found::Missing => 0,
        };
        (&stored.secret.id, version)
    }

    /// The same by whoever has the turn.
    pub(in crate::vault) async fn follow_in_turn(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        how: Follow,
    ) -> Result<(), VaultError> {
        let Some(backend) = self.backends.behind(access.project(), path) else { return Ok(()) };
        let BackendMode::ReadThrough { fresh, stale } = backend.options.mode else { return Ok(()) };
        self.keyring()?;
        // Whoever asks, it is the vault that takes it in.
        let system =
            VaultAccess::of_backend(access.project().clone(), backend.name(), *access.request());
        let usual = how == Follow::Usual;
        for attempt in 0..MOST_TRIES {
            // Looked up before the other store is asked: what is agreed on meanwhile is newer than its answer.
            let kept = self.mirror(backend, path.as_str(), attempt).await?;
            let stored = self.secret_for(&system, path, attempt).await?;
            let is_copy = self.is_copy(&kept, stored.as_ref());
            if usual && is_copy && is_within(&kept, fresh, self) {
                return Ok(());
            }
            match self.ask_backend(backend, path).await {
                Ok(found) => {
                    let taken = self.take_in(backend, &system, path, found, kept, stored, how);
                    match taken.await {
                        Err(error) if is_conflict(&error) => {}
                        outcome => return outcome,
                    }
                }
                Err(BackendError::Unreachable(_))
                    if usual && is_copy && is_within(&kept, fresh.max(stale), self) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(behind(backend, error)),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Asks for a path, unless the store was just found to be away.
    async fn ask_backend(
        &self,
        backend: &Backend,
        path: &SecretPath,
    ) -> Result<Option<BackendVersion>, BackendError> {
        if let Some(why) = backend.reach.pausing(self.clock.monotonic_ns()) {
            return Err(BackendError::Unreachable(why));
        }
        let found = backend.remote().read(&backend.remote_path(path.as_str())).await;
        self.note_reach(backend, &found);
        if let Err(error @ BackendError::Unreachable(_)) = &found {
            warn!(backend = backend.name(), %error, "copies are read as long as that is allowed");
        }
        found
    }

    /// Takes in what another store has at a path.
    #[expect(clippy::too_many_arguments, reason = "what was seen before and after the question")]
    async fn take_in(
        &self,
        backend: &Backend,
        system: &VaultAccess,
        path: &SecretPath,
        found: Option<BackendVersion>,
        kept: Kept,
        stored: Option<StoredSecret>,
        how: Follow,
    ) -> Result<(), VaultError> {
        let (id, readable) = self.readable(stored.as_ref());
        let remote = found.as_ref().map(|found| found.version.clone());
        let mut mirror = backend.mirror_of(remote, self.now());
        mirror.becomes(id, readable);
        let is_same = kept.is_agreed()
            && kept.mirror.remote == mirror.remote
            && kept.mirror.has(id, readable);
        match (found, stored) {
            // Nothing is kept of names that are nowhere, or whoever asks at random fills the disk.
            (None, None) if kept.revision == 0 => Ok(()),
            (None, _) if readable == 0 && is_same => Ok(()),
            (None, Some(_)) if readable > 0 && kept.mirror.remote.is_none() => {
                // It was here before the other store counted. A write carries it over; a read must neither
                // give nor remove what that store never had.
                if how == Follow::Now { Ok(()) } else { Err(only_here(backend)) }
            }
            (None, Some(stored)) if readable > 0 => {
                let mut secret = (*stored.secret).clone();
                secret.delete(&[readable], self.now());
                mirror.version = 0;
                let change = self.keep_mirror(backend, path.as_str(), &mirror, kept.revision)?;
                let mut entry = system.entry(self, "backend.pull", path.as_str(), Outcome::Done);
                entry.details.insert("deleted".to_owned(), json!(readable));
                let revision = stored.revision;
                self.commit_secret(system, path, &secret, revision, Some(change), entry).await
            }
            (Some(found), stored) if !is_same => {
                let permit = self.permit_path(system, Capability::Update, path).await?;
                // What the other store has is what counts, however it looks.
                let typed = self.type_fields(path, &found.fields, true)?;
                let behind = Behind::Taken { backend, mirror, follows: kept.revision };
                let (fields, stage) = (&found.fields, Stage::Current);
                let cas = Some(stored.as_ref().map_or(0, |stored| stored.secret.current));
                let write = Write { fields, cas, stage, typed: &typed, behind };
                self.write_version(&permit, stored, write, "backend.pull").await.map(drop)
            }
            _ => {
                let change = self.keep_mirror(backend, path.as_str(), &mirror, kept.revision)?;
                let entry = system.entry(self, "backend.confirm", path.as_str(), Outcome::Done);
                self.begin(system.project()).with(change).commit(entry).await?;
                Ok(())
            }
        }
    }

    /// Writes to the store that keeps a path, if another one does; gives what is to be kept together with
    /// the change here, which is built on that secret. Whoever calls it has the turn.
    pub(in crate::vault) async fn write_behind(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        on: Option<&StoredSecret>,
        next: Next<'_>,
        agreed: &mut Agreed,
    ) -> Result<Option<Change>, VaultError> {
        let Some(backend) = self.backends.behind(access.project(), path) else { return Ok(None) };
        let attempt = usize::from(agreed.is_written());
        let kept = self.mirror(backend, path.as_str(), attempt).await?;
        let changed = || VaultError::from(Error::ChangedMeanwhile(Kind::VaultRecord));
        let remote = match agreed {
            // By another node, which may have taken in what was written; or it wrote something newer.
            Agreed::Written { remote, before } => {
                if kept.mirror.remote != *before && kept.mirror.remote != *remote {
                    return Err(changed());
                }
                remote.clone()
            }
            Agreed::NotYet => {
                let (id, readable) = self.readable(on);
                // What is agreed on with the other store must be what the change is built on.
                if kept.is_agreed()
                    && kept.mirror.remote.is_some()
                    && !kept.mirror.has(id, readable)
                {
                    return Err(changed());
                }
                let remote = self.write_there(backend, access, path, &next, &kept).await?;
                let before = kept.mirror.remote.clone();
                *agreed = Agreed::Written { remote: remote.clone(), before };
                remote
            }
        };
        let mut mirror = backend.mirror_of(remote, self.now());
        if let Next::Version(secret, version, _) = next {
            mirror.becomes(secret, version);
        }
        self.keep_mirror(backend, path.as_str(), &mirror, kept.revision).map(Some)
    }

    async fn write_there(
        &self,
        backend: &Backend,
        access: &VaultAccess,
        path: &SecretPath,
        next: &Next<'_>,
        kept: &Kept,
    ) -> Result<Option<String>, VaultError> {
        // Whatever becomes of it, who tried stands in the audit before the other store learns of it.
        let mut entry = access.entry(self, "backend.write", path.as_str(), Outcome::Done);
        entry.details.insert("backend".to_owned(), json!(backend.name()));
        entry.details.insert("deletes".to_owned(), json!(matches!(next, Next::Gone)));
        self.begin(access.project()).commit(entry).await?;
        let expect = match &kept.mirror.remote {
            Some(version) => Expect::Version(version.clone()),
            None => Expect::Nothing,
        };
        let remote_path = backend.remote_path(path.as_str());
        let outcome = match next {
            Next::Version(_, _, fields) => {
                let attempt = self.new_id()?;
                backend.remote().write(&remote_path, fields, &expect, &attempt).await.map(Some)
            }
            // There is nothing that would be ours to delete.
            Next::Gone if expect == Expect::Nothing => return Ok(None),
            Next::Gone => backend.remote().delete(&remote_path, &expect).await.map(|()| None),
        };
        self.note_reach(backend, &outcome);
        outcome.map_err(|error| behind(backend, error))
    }

    /// What has to be done in the store that keeps a path is not done here alone. `is_its_own` tells of the
    /// version that is current, and of whether it can be read, whether it is about that.
    pub(in crate::vault) async fn refuse_if_kept_elsewhere(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        is_its_own: impl Fn(VersionNumber, bool) -> bool,
    ) -> Result<(), VaultError> {
        let Some(backend) = self.backends.behind(access.project(), path) else { return Ok(()) };
        let kept = self.mirror(backend, path.as_str(), 0).await?;
        let Some(stored) = self.secret_for(access, path, 0).await? else { return Ok(()) };
        // What was here before the other store counted is nothing it knows of.
        let (_, readable) = self.readable(Some(&stored));
        if kept.is_agreed() && is_its_own(stored.secret.current, readable > 0) {
            return Err(VaultError::KeptElsewhere(backend.name().to_owned()));
        }
        Ok(())
    }

    /// What is to be forgotten together with all versions of a secret.
    pub(in crate::vault) fn forget_mirror(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Option<Change> {
        let backend = self.backends.behind(access.project(), path)?;
        let (kind, id) = (crate::store::RecordKind::Mirror, backend.mirror_id(path.as_str()));
        let known: Arc<_> = self.vault.records.get(access.project(), kind, &id)?;
        Some(Change::DeleteRecord { kind, id: id.into(), revision: known.record.revision })
    }
}

fn only_here(backend: &Backend) -> VaultError {
    VaultError::OnlyHere(backend.name().to_owned())
}

/// An error of another store. That somebody was faster there is a conflict as it would be here.
pub(super) fn behind(backend: &Backend, error: BackendError) -> VaultError {
    if matches!(error, BackendError::Conflict) {
        return Error::ChangedMeanwhile(Kind::VaultRecord).into();
    }
    VaultError::Backend { name: backend.name().to_owned(), error }
}
