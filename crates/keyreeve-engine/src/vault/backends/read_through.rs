//! Secrets that another store keeps: read from there, written there first.

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    audit::Outcome,
    vault::{Capability, Found, SecretPath, Stage, VersionNumber},
};
use serde_json::json;
use tracing::warn;

use super::{Backend, BackendError, BackendMode, BackendVersion, Expect, mirror::Kept};
use crate::{
    Engine, Error,
    store::{Change, Kind},
    vault::{
        Fields, VaultAccess, VaultError,
        backends::Mirror,
        secrets::{Behind, Write, is_conflict},
        stored::StoredSecret,
    },
    waiting::Waiting,
};

/// How often a copy is taken again that somebody else got in the way of.
const MOST_TRIES: usize = 16;
/// Requests that may wait for other stores. More are refused at once.
const MOST_WAITING: usize = 2_000;

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
    /// These fields, as that version here.
    Version(VersionNumber, &'f Fields),
    /// Nothing.
    Gone,
}

/// Whether a copy of that age is good for a read without asking, or without an answer.
fn is_within(kept: &Kept, length: SignedDuration, now: Timestamp) -> bool {
    let age = now.duration_since(kept.mirror.confirmed_at);
    // A copy from the future tells nothing of its age.
    kept.revision > 0 && !age.is_negative() && age < length
}

impl Engine {
    /// Whether another store counts for a path.
    pub(in crate::vault) fn is_kept_elsewhere(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Option<String> {
        let backend = self.backends.behind(access.project(), path)?;
        Some(backend.name().to_owned())
    }

    /// Brings the copy of a path up to date, if another store counts for it.
    pub(in crate::vault) async fn follow(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        how: Follow,
    ) -> Result<(), VaultError> {
        let Some(backend) = self.backends.behind(access.project(), path) else { return Ok(()) };
        let BackendMode::ReadThrough { fresh, stale } = backend.options.mode else { return Ok(()) };
        self.keyring()?;
        let is_fresh = |kept: &Kept| how == Follow::Usual && is_within(kept, fresh, self.now());
        if is_fresh(&self.mirror(backend, path.as_str(), 0).await?) {
            return Ok(());
        }
        let waiting = Waiting::one_of(MOST_WAITING, &self.backends.waiting);
        let _waiting = waiting.ok_or(VaultError::Busy)?;
        let _turn = self.backends.turn(path).lock().await;
        let kept = self.mirror(backend, path.as_str(), 0).await?;
        if is_fresh(&kept) {
            return Ok(());
        }
        let found = backend.remote().read(&backend.remote_path(path.as_str())).await;
        backend.reach.note(self.now(), &found);
        match found {
            Ok(found) => self.take_in(backend, access, path, found).await,
            Err(error @ BackendError::Unreachable(_))
                if how == Follow::Usual && is_within(&kept, fresh.max(stale), self.now()) =>
            {
                warn!(backend = backend.name(), %error, "a copy is read, for want of an answer");
                Ok(())
            }
            Err(error) => Err(behind(backend, error)),
        }
    }

    /// Takes in what another store has at a path.
    async fn take_in(
        &self,
        backend: &Backend,
        access: &VaultAccess,
        path: &SecretPath,
        found: Option<BackendVersion>,
    ) -> Result<(), VaultError> {
        // Whoever asks, it is the vault that takes it in.
        let system =
            VaultAccess::of_backend(access.project().clone(), backend.name(), *access.request());
        for attempt in 0..MOST_TRIES {
            let kept = self.mirror(backend, path.as_str(), attempt).await?;
            let stored = self.secret_for(&system, path, attempt).await?;
            match self.take_in_once(backend, &system, path, found.as_ref(), kept, stored).await {
                Err(error) if is_conflict(&error) => {}
                outcome => return outcome,
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    async fn take_in_once(
        &self,
        backend: &Backend,
        system: &VaultAccess,
        path: &SecretPath,
        found: Option<&BackendVersion>,
        kept: Kept,
        stored: Option<StoredSecret>,
    ) -> Result<(), VaultError> {
        let readable = stored.as_ref().and_then(|stored| {
            let found = stored.secret.find(None, self.now());
            if let Found::Readable(version, _) = found { Some(version) } else { None }
        });
        let mut mirror = Mirror {
            remote: found.map(|found| found.version.clone()),
            version: readable.unwrap_or_default(),
            confirmed_at: self.now(),
            failure: None,
        };
        let is_known = mirror.remote == kept.mirror.remote
            && mirror.version == kept.mirror.version
            && found.is_some() == readable.is_some();
        match (found, stored) {
            _ if is_known && kept.revision > 0 => {
                let change = self.keep_mirror(backend, path.as_str(), &mirror, kept.revision)?;
                let entry = system.entry(self, "backend.confirm", path.as_str(), Outcome::Done);
                self.begin(system.project()).with(change).commit(entry).await?;
                Ok(())
            }
            (Some(found), stored) => {
                let permit = self.permit_path(system, Capability::Update, path).await?;
                // What the other store has is what counts, however it looks.
                let typed = self.type_fields(path, &found.fields, true)?;
                let behind = Behind::Taken { backend, mirror, follows: kept.revision };
                let fields = &found.fields;
                let write =
                    Write { fields, cas: None, stage: Stage::Current, typed: &typed, behind };
                self.write_version(&permit, stored, write, "backend.pull").await.map(drop)
            }
            (None, Some(stored)) if readable.is_some() => {
                let mut secret = (*stored.secret).clone();
                let current = secret.current;
                secret.delete(&[current], self.now());
                mirror.version = 0;
                let change = self.keep_mirror(backend, path.as_str(), &mirror, kept.revision)?;
                let record =
                    self.secret_record(system.project(), path, &secret, stored.revision)?;
                let mut entry = system.entry(self, "backend.pull", path.as_str(), Outcome::Done);
                entry.details.insert("deleted".to_owned(), json!(current));
                let tx = self.begin(system.project()).with(change);
                tx.with(Change::PutRecord(std::sync::Arc::new(record))).commit(entry).await?;
                Ok(())
            }
            // Nothing there and nothing here: nothing is kept of it, or whoever asks for names at random
            // fills the disk.
            (None, _) => Ok(()),
        }
    }

    /// Writes to the store that counts for a path, if that is another one; gives what is to be kept
    /// together with the change here.
    pub(in crate::vault) async fn write_behind(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        next: Next<'_>,
    ) -> Result<Option<Change>, VaultError> {
        let Some(backend) = self.backends.behind(access.project(), path) else { return Ok(None) };
        let kept = self.mirror(backend, path.as_str(), 0).await?;
        let expect = match kept.mirror.remote {
            Some(version) => Expect::Version(version),
            None => Expect::Nothing,
        };
        let remote_path = backend.remote_path(path.as_str());
        let outcome = match next {
            Next::Version(_, fields) => {
                // A try that is told again is another write: nobody knows what became of the first.
                let attempt = self.new_id()?;
                backend.remote().write(&remote_path, fields, &expect, &attempt).await.map(Some)
            }
            Next::Gone => backend.remote().delete(&remote_path, &expect).await.map(|()| None),
        };
        backend.reach.note(self.now(), &outcome);
        let remote = outcome.map_err(|error| behind(backend, error))?;
        let version = match next {
            Next::Version(version, _) => version,
            Next::Gone => 0,
        };
        let mirror = Mirror { remote, version, confirmed_at: self.now(), failure: None };
        self.keep_mirror(backend, path.as_str(), &mirror, kept.revision).map(Some)
    }
}

/// An error of another store. That somebody was faster there is a conflict as it would be here.
pub(super) fn behind(backend: &Backend, error: BackendError) -> VaultError {
    if matches!(error, BackendError::Conflict) {
        return Error::ChangedMeanwhile(Kind::VaultRecord).into();
    }
    VaultError::Backend { name: backend.name().to_owned(), error }
}
