//! Giving one secret to another store, or deleting it there.

use std::sync::Arc;

use keyreeve_core::{
    audit::{Actor, AuditEntry, Outcome, Target},
    vault::{SecretPath, VersionNumber},
};
use serde_json::{Map, json};

use super::{
    Backend, BackendError, BackendVersion, Expect,
    mirror::{Failure, Kept, Mirror, Step},
    sync::{How, current_version},
};
use crate::{
    Engine, FieldError,
    store::{Change, DutyTerm, RecordKind},
    vault::{Fields, VaultError, records::Known, stored::StoredSecret},
};

/// What came of giving a secret.
#[derive(Debug)]
pub(super) enum Given {
    /// It is there now.
    Written,
    /// It is not there any more.
    Deleted,
    /// There was nothing to do.
    Same,
    /// The store did not take it, and why.
    Failed(String),
    /// The store does not let us: at all, or at this path.
    Refused,
    /// The store is away.
    Away(String),
}

/// A secret as it is stored at this moment.
struct Now {
    stored: Option<StoredSecret>,
    version: VersionNumber,
}

impl Now {
    fn id(&self) -> &str {
        self.stored.as_ref().map_or("", |stored| &stored.secret.id)
    }

    fn step(&self) -> Step {
        Step { secret: self.id().to_owned(), version: self.version }
    }
}

impl Engine {
    pub(super) async fn give_one(
        &self,
        backend: &Backend,
        path: &str,
        how: How,
    ) -> Result<Given, VaultError> {
        // Each by itself: a turn may take long.
        let Some(term) = self.take_giving(how.duty).await? else {
            return Err(VaultError::Busy);
        };
        let now = self.as_it_is(backend, path).await?;
        let mut kept = self.mirror(backend, path, 1).await?;
        let has = kept.mirror.has(now.id(), now.version);
        match &kept.mirror.failure {
            // That is about another step, and this one is done.
            Some(failure) if has && !how.again && failure.step != now.step() => {
                let remote = kept.mirror.remote.clone();
                return self.keep_given(backend, path, &now, kept, remote, term).await;
            }
            _ if has && !how.again => return Ok(Given::Same),
            None if has && now.version == 0 => return Ok(Given::Same),
            _ => {}
        }
        let outcome = self.exchange(backend, path, &now, &mut kept, how).await?;
        self.note_reach(backend, &outcome);
        match outcome {
            Ok(remote) => self.keep_given(backend, path, &now, kept, remote, term).await,
            Err(BackendError::Unreachable(why)) => Ok(Given::Away(why)),
            Err(BackendError::Denied) => Ok(Given::Refused),
            Err(error) => {
                let why = error.to_string();
                self.keep_failure(backend, path, &now, kept, &why, term).await?;
                Ok(Given::Failed(why))
            }
        }
    }

    /// Keeps that the store does not let us at this path, though at others.
    pub(super) async fn note_refusal(
        &self,
        backend: &Backend,
        path: &str,
        how: How,
    ) -> Result<(), VaultError> {
        let Some(term) = self.take_giving(how.duty).await? else { return Ok(()) };
        let now = self.as_it_is(backend, path).await?;
        let kept = self.mirror(backend, path, 1).await?;
        let why = BackendError::Denied.to_string();
        self.keep_failure(backend, path, &now, kept, &why, term).await
    }

    /// The secret as it is stored: what was listed may have changed since.
    async fn as_it_is(&self, backend: &Backend, path: &str) -> Result<Now, VaultError> {
        let project = &backend.options.project;
        let Some(record) = self.store.vault_record(project, RecordKind::Secret, path).await? else {
            return Ok(Now { stored: None, version: 0 });
        };
        let parsed: SecretPath =
            path.parse().map_err(|rule| VaultError::Invalid(FieldError::new("path", rule)))?;
        let known = Known::new(Arc::new(record));
        let stored = self.believe(&self.backend_access(backend), &parsed, &known).await?;
        let version = current_version(&stored.secret, self.now());
        Ok(Now { stored: Some(stored), version })
    }

    /// Writes to the store or deletes there. Gives the version there.
    async fn exchange(
        &self,
        backend: &Backend,
        path: &str,
        now: &Now,
        kept: &mut Kept,
        how: How,
    ) -> Result<Result<Option<String>, BackendError>, VaultError> {
        let there = backend.remote_path(path);
        // What is there is what is written over, or what is found to be given already.
        let seen = if how.again || how.overwrite || kept.mirror.trying.is_some() {
            match backend.remote().read(&there).await {
                Ok(found) => {
                    self.learn_outcome(backend, path, now, kept, found.as_ref()).await?;
                    Some(found.map(|found| found.version))
                }
                Err(error) => return Ok(Err(error)),
            }
        } else {
            None
        };
        let expected = &kept.mirror.remote;
        if let Some(seen) = &seen
            && seen == expected
            && kept.mirror.has(now.id(), now.version)
        {
            return Ok(Ok(seen.clone()));
        }
        let seen = seen.filter(|_| how.overwrite);
        let expect = match seen.as_ref().unwrap_or(expected) {
            Some(version) => Expect::Version(version.clone()),
            None => Expect::Nothing,
        };
        let action = if now.version == 0 { "backend.delete" } else { "backend.push" };
        // It stands in the audit before the other store learns of it.
        let entry = self.given_entry(backend, path, action, now.version);
        self.keep_trying(backend, path, now, kept, entry).await?;
        let Some(fields) = self.fields_of(backend, path, now).await? else {
            if expect == Expect::Nothing {
                return Ok(Ok(None));
            }
            let deleted = backend.remote().delete(&there, &expect).await;
            return Ok(deleted.map(|()| None));
        };
        // Another text for each try: what became of the one before has been found out.
        let step = (backend.name(), now.id(), now.version, kept.revision);
        let attempt = format!("{}/{}/{}/{}", step.0, step.1, step.2, step.3);
        let written = backend.remote().write(&there, &fields, &expect, &attempt).await;
        Ok(match written {
            Err(BackendError::Conflict) => same_already(backend, &there, &fields).await,
            written => written.map(Some),
        })
    }

    /// Keeps what is about to be done there, so that it is known whatever becomes of the answer.
    async fn keep_trying(
        &self,
        backend: &Backend,
        path: &str,
        now: &Now,
        kept: &mut Kept,
        entry: AuditEntry,
    ) -> Result<(), VaultError> {
        let place = backend.options.place.clone();
        let trying = Some(now.step());
        kept.mirror = Mirror { place, trying, ..kept.mirror.clone() };
        let change = self.keep_mirror(backend, path, &kept.mirror, kept.revision)?;
        if let Change::PutRecord(record) = &change {
            kept.revision = record.revision;
        }
        self.begin(&backend.options.project).with(change).commit(entry).await?;
        Ok(())
    }

    /// Finds out what became of a step whose answer was lost: whether what is there is that.
    async fn learn_outcome(
        &self,
        backend: &Backend,
        path: &str,
        now: &Now,
        kept: &mut Kept,
        found: Option<&BackendVersion>,
    ) -> Result<(), VaultError> {
        let Some(step) = kept.mirror.trying.take() else { return Ok(()) };
        let got_through = match (found, &now.stored) {
            (None, _) => step.version == 0,
            (Some(found), Some(stored)) if stored.secret.id == step.secret => {
                match self.fields_at(backend, path, stored, step.version).await {
                    Ok(Some(fields)) => fields.is_same(&found.fields),
                    Ok(None) => false,
                    Err(error) => return Err(error),
                }
            }
            _ => false,
        };
        if got_through {
            kept.mirror.remote = found.map(|found| found.version.clone());
            kept.mirror.becomes(&step.secret, step.version);
        }
        Ok(())
    }

    /// The fields of a version, if they can be read.
    async fn fields_at(
        &self,
        backend: &Backend,
        path: &str,
        stored: &StoredSecret,
        version: VersionNumber,
    ) -> Result<Option<Fields>, VaultError> {
        let is_there = stored.secret.versions.get(&version).is_some_and(|meta| !meta.destroyed);
        if !is_there {
            return Ok(None);
        }
        let parsed: SecretPath =
            path.parse().map_err(|rule| VaultError::Invalid(FieldError::new("path", rule)))?;
        let access = self.backend_access(backend);
        self.open_fields(&access, &parsed, stored, version).await.map(Some)
    }

    /// The fields that are to be there; `None` if there is to be nothing.
    async fn fields_of(
        &self,
        backend: &Backend,
        path: &str,
        now: &Now,
    ) -> Result<Option<Fields>, VaultError> {
        let Some(stored) = now.stored.as_ref().filter(|_| now.version > 0) else {
            return Ok(None);
        };
        self.fields_at(backend, path, stored, now.version).await
    }

    async fn keep_given(
        &self,
        backend: &Backend,
        path: &str,
        now: &Now,
        kept: Kept,
        remote: Option<String>,
        term: DutyTerm,
    ) -> Result<Given, VaultError> {
        let mut mirror = backend.mirror_of(remote, self.now());
        mirror.becomes(now.id(), now.version);
        let is_same = mirror.remote == kept.mirror.remote && kept.mirror.has(now.id(), now.version);
        let change = if now.stored.is_none() {
            let id = backend.mirror_id(path).into();
            Change::DeleteRecord { kind: RecordKind::Mirror, id, revision: kept.revision }
        } else {
            self.keep_mirror(backend, path, &mirror, kept.revision)?
        };
        let entry = self.given_entry(backend, path, "backend.confirm", now.version);
        self.begin(&backend.options.project)
            .with(Change::OnDuty(term))
            .with(change)
            .commit(entry)
            .await?;
        Ok(match now.version {
            _ if is_same => Given::Same,
            0 => Given::Deleted,
            _ => Given::Written,
        })
    }

    async fn keep_failure(
        &self,
        backend: &Backend,
        path: &str,
        now: &Now,
        kept: Kept,
        why: &str,
        term: DutyTerm,
    ) -> Result<(), VaultError> {
        let place = backend.options.place.clone();
        let failure = Some(Failure { step: now.step(), why: why.to_owned() });
        // What was being tried stays: an answer that nobody understands says nothing of what was done.
        let mirror = Mirror { place, failure, ..kept.mirror };
        let change = self.keep_mirror(backend, path, &mirror, kept.revision)?;
        let mut entry = self.given_entry(backend, path, "backend.refused", now.version);
        entry.outcome = Outcome::Denied;
        entry.details.insert("why".to_owned(), json!(why));
        self.begin(&backend.options.project)
            .with(Change::OnDuty(term))
            .with(change)
            .commit(entry)
            .await?;
        Ok(())
    }

    fn given_entry(
        &self,
        backend: &Backend,
        path: &str,
        action: &'static str,
        version: VersionNumber,
    ) -> AuditEntry {
        let mut entry = self.system_entry(&backend.options.project, "vault", action, Map::new());
        entry.actor = Actor::System(format!("backend {}", backend.name()).into());
        entry.target = Target::new("secret", path);
        if version > 0 {
            entry.details.insert("version".to_owned(), json!(version));
        }
        entry
    }
}

/// What was expected is not there. If the same fields are, an earlier try got through whose answer was
/// lost, or somebody carried them over by hand.
async fn same_already(
    backend: &Backend,
    path: &str,
    fields: &Fields,
) -> Result<Option<String>, BackendError> {
    match backend.remote().read(path).await? {
        Some(there) if there.fields.is_same(fields) => Ok(Some(there.version)),
        _ => Err(BackendError::Conflict),
    }
}
