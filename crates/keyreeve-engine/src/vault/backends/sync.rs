//! Giving another store every version that becomes current here. What is still to be done is what the
//! records say, so it goes on after a restart, wherever it was broken off.

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use keyreeve_core::{
    audit::{Actor, Outcome, Target},
    name::ProjectName,
    vault::{Found, SecretPath, SecretRecord, VersionNumber},
};
use serde_json::{Map, json};
use tracing::warn;

use super::{
    Backend, BackendError, BackendMode, Expect, Mirror,
    mirror::{Failure, Kept},
    read_through::behind,
};
use crate::{
    Engine, Permit, RequestMeta,
    action::ManageVault,
    store::{Change, DutyTerm, RecordKind},
    vault::{Fields, VaultAccess, VaultError, records::Known, secrets::is_conflict},
};

/// How many secrets are given in one turn.
const AT_ONCE: usize = 200;
/// Secrets that are looked at with the lock held.
const STEP: usize = 1_000;
/// How often everything is looked through though nothing changed: versions also end by themselves.
const LOOK_ANYWAY_MS: i64 = 30_000;
const DUTY: &str = "vault-sync";

/// When everything was last looked through.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Up to which change; one more than its number, 0 for never.
    change: AtomicU64,
    at_ms: AtomicI64,
}

/// What a turn of giving did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Secrets that the other store has now.
    pub written: usize,
    /// Secrets that were deleted there.
    pub deleted: usize,
    /// Secrets that it did not take.
    pub failed: usize,
    /// Whether there may be more to do.
    pub more: bool,
}

/// A path whose secret there is not as here.
struct Due {
    path: String,
    /// The version that is current here; 0 for none that can be read.
    version: VersionNumber,
    /// What of it is known here; `None` if the secret is gone.
    known: Option<Arc<Known>>,
}

impl Engine {
    /// Gives other stores what they lack, if that is this node's duty. Gives whether there may be more.
    pub async fn sync_some(&self, duty_length: Duration) -> Result<bool, VaultError> {
        let all = &self.backends.all;
        let syncs = all.iter().filter(|it| matches!(it.options.mode, BackendMode::Sync { .. }));
        if self.keyring().is_err() || !all.iter().any(|it| !it.is_read_through()) {
            return Ok(false);
        }
        let (now, change) = (self.now(), self.vault.records.changes() + 1);
        let looked = &self.backends.looked;
        let is_same = looked.change.load(Ordering::Acquire) == change
            && now.as_millisecond() - looked.at_ms.load(Ordering::Acquire) < LOOK_ANYWAY_MS;
        if is_same {
            return Ok(false);
        }
        let (mut term, mut more, mut is_done) = (None, false, true);
        for backend in syncs {
            if backend.reach.may_try_at() > now {
                is_done = false;
                continue;
            }
            let due = self.due(backend, false).await?;
            if due.is_empty() {
                continue;
            }
            if term.is_none() {
                let holder = format!("{:016x}", self.process);
                term = self.store.take_duty(DUTY, &holder, duty_length).await?;
            }
            let Some(term) = term else { return Ok(false) };
            let synced = self.give(backend, due, false, Some(term)).await?;
            more |= synced.more;
        }
        if is_done && !more {
            looked.at_ms.store(now.as_millisecond(), Ordering::Release);
            looked.change.store(change, Ordering::Release);
        }
        Ok(more)
    }

    /// Gives another store what it lacks, at once, and what it did not take before, too. With `overwrite`
    /// what somebody else wrote there is written over.
    pub async fn sync_now(
        &self,
        permit: &Permit<'_, ManageVault>,
        name: &str,
        overwrite: bool,
    ) -> Result<Option<Synced>, VaultError> {
        let is_it = |it: &&Backend| it.name() == name && it.options.project == *permit.project();
        let Some(backend) = self.backends.all.iter().find(is_it) else { return Ok(None) };
        self.keyring()?;
        if backend.is_read_through() {
            return Err(behind(
                backend,
                BackendError::Invalid(keyreeve_core::Invalid::new(
                    "it is read through, not synced",
                )),
            ));
        }
        let mut entry = self.system_entry(permit.project(), "vault", "backend.sync", Map::new());
        entry.actor = permit.caller().actor();
        entry.request = Some(permit.caller().request().origin());
        entry.target = Target::new("backend", name);
        entry.details.insert("overwrite".to_owned(), json!(overwrite));
        self.begin(permit.project()).commit(entry).await?;
        let due = self.due(backend, true).await?;
        self.give(backend, due, overwrite, None).await.map(Some)
    }

    /// Paths whose secret there is not as here; with `again` also those that the store did not take.
    async fn due(&self, backend: &Backend, again: bool) -> Result<Vec<Due>, VaultError> {
        let (project, prefix) = (&backend.options.project, backend.options.folder.as_str());
        let now = self.now();
        let mut due = Vec::new();
        let mut seen = BTreeSet::new();
        let mut from: Option<String> = None;
        loop {
            let bound = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let records = &self.vault.records;
            let found = records.beginning_with(project, RecordKind::Secret, prefix, bound, STEP);
            let Some(last) = found.last() else { break };
            from = Some(last.record.id.to_string());
            for known in found {
                let path = known.record.id.to_string();
                // What was tampered with is not given to anybody, and is recorded when it is read.
                let Ok(version) = self.current_version(project, &known, now) else {
                    seen.insert(path);
                    continue;
                };
                let Kept { mirror, revision } = self.mirror(backend, &path, 0).await?;
                let is_same = mirror.version == version && (revision > 0 || version == 0);
                let is_known = mirror.failure.as_ref().is_some_and(|it| it.version == version);
                seen.insert(path.clone());
                if !is_same && (again || !is_known) {
                    due.push(Due { path, version, known: Some(known) });
                }
            }
            tokio::task::yield_now().await;
        }
        for (path, known) in self.mirrors(backend) {
            let mirror = self.read_mirror(project, &known)?;
            let is_known = mirror.failure.is_some_and(|it| it.version == 0);
            if !seen.contains(&path) && (again || !is_known) {
                due.push(Due { path, version: 0, known: None });
            }
        }
        Ok(due)
    }

    /// The version that is current; 0 if there is none that can be read.
    fn current_version(
        &self,
        project: &ProjectName,
        known: &Known,
        now: Timestamp,
    ) -> Result<VersionNumber, VaultError> {
        let secret = self.parsed::<SecretRecord>(project, known)?;
        Ok(match secret.find(None, now) {
            Found::Readable(version, _) => version,
            Found::Gone(..) | Found::Missing => 0,
        })
    }

    async fn give(
        &self,
        backend: &Backend,
        due: Vec<Due>,
        overwrite: bool,
        term: Option<DutyTerm>,
    ) -> Result<Synced, VaultError> {
        let mut synced = Synced { more: due.len() > AT_ONCE, ..Synced::default() };
        for due in due.into_iter().take(AT_ONCE) {
            match self.give_one(backend, &due, overwrite, term).await {
                Ok(None) if due.version == 0 => synced.deleted += 1,
                Ok(None) => synced.written += 1,
                Ok(Some(why)) => {
                    warn!(backend = backend.name(), path = due.path, why, "a secret was not taken");
                    synced.failed += 1;
                }
                // The next turn finds it as it is then.
                Err(error) if is_conflict(&error) => synced.more = true,
                Err(VaultError::Tampered { .. }) => synced.failed += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(synced)
    }

    /// Gives one secret. What the store does not take is kept with the mirror, and given back.
    async fn give_one(
        &self,
        backend: &Backend,
        due: &Due,
        overwrite: bool,
        term: Option<DutyTerm>,
    ) -> Result<Option<String>, VaultError> {
        let Kept { mut mirror, revision } = self.mirror(backend, &due.path, 0).await?;
        let outcome = self.exchange(backend, due, &mirror, overwrite).await?;
        let outcome = match outcome {
            Err(error @ (BackendError::Unreachable(_) | BackendError::Denied)) => {
                return Err(behind(backend, error));
            }
            outcome => outcome,
        };
        let failure = outcome.as_ref().err().map(ToString::to_string);
        if let Ok(remote) = outcome {
            let confirmed_at = self.now();
            mirror = Mirror { remote, version: due.version, confirmed_at, failure: None };
        } else {
            let why = failure.clone().unwrap_or_default();
            mirror.failure = Some(Failure { version: due.version, why });
        }
        let project = &backend.options.project;
        let change = if due.known.is_none() && failure.is_none() {
            let id = backend.mirror_id(&due.path).into();
            Change::DeleteRecord { kind: RecordKind::Mirror, id, revision }
        } else {
            self.keep_mirror(backend, &due.path, &mirror, revision)?
        };
        let action = if due.version == 0 { "backend.delete" } else { "backend.push" };
        let mut entry = self.system_entry(project, "vault", action, Map::new());
        entry.actor = Actor::System(format!("backend {}", backend.name()).into());
        entry.target = Target::new("secret", &due.path);
        if due.version > 0 {
            entry.details.insert("version".to_owned(), json!(due.version));
        }
        if let Some(why) = &failure {
            entry.outcome = Outcome::Denied;
            entry.details.insert("why".to_owned(), json!(why));
        }
        let mut tx = self.begin(project).with(change);
        if let Some(term) = term {
            tx = tx.with(Change::OnDuty(term));
        }
        tx.commit(entry).await?;
        Ok(failure)
    }

    /// Writes to the store or deletes there. Gives the version there.
    async fn exchange(
        &self,
        backend: &Backend,
        due: &Due,
        mirror: &Mirror,
        overwrite: bool,
    ) -> Result<Result<Option<String>, BackendError>, VaultError> {
        let by_settings = matches!(backend.options.mode, BackendMode::Sync { overwrite: true });
        let expect = match &mirror.remote {
            _ if overwrite || by_settings => Expect::Anything,
            Some(version) => Expect::Version(version.clone()),
            None => Expect::Nothing,
        };
        let path = backend.remote_path(&due.path);
        let fields = match &due.known {
            Some(known) if due.version > 0 => {
                Some(self.fields_to_give(backend, known, &due.path, due.version).await?)
            }
            _ => None,
        };
        let outcome = match (&fields, &mirror.remote) {
            (Some((id, fields)), _) => {
                // The same text for every try at this version, however the one before ended.
                let attempt = format!("{}/{id}/{}", backend.name(), due.version);
                let written = backend.remote().write(&path, fields, &expect, &attempt).await;
                match written {
                    Err(BackendError::Conflict) => same_already(backend, &path, fields).await,
                    written => written.map(Some),
                }
            }
            (None, None) => Ok(None),
            (None, Some(_)) => backend.remote().delete(&path, &expect).await.map(|()| None),
        };
        backend.reach.note(self.now(), &outcome);
        Ok(outcome)
    }

    async fn fields_to_give(
        &self,
        backend: &Backend,
        known: &Known,
        path: &str,
        version: VersionNumber,
    ) -> Result<(String, Fields), VaultError> {
        let project = &backend.options.project;
        let path: SecretPath = path
            .parse()
            .map_err(|rule| VaultError::Invalid(crate::FieldError::new("path", rule)))?;
        let meta = RequestMeta { id: self.next_request_id(), ip: None };
        let access = VaultAccess::of_backend(project.clone(), backend.name(), meta);
        let stored = self.believe(&access, &path, known).await?;
        let fields = self.open_fields(&access, &path, &stored, version).await?;
        Ok((stored.secret.id.clone(), fields))
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
