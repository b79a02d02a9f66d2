//! Giving another store every version that becomes current here: what is still to be done, and when. It is
//! what the records say, so it goes on after a restart, wherever it was broken off.

use std::{ops::Bound, time::Duration};

use jiff::Timestamp;
use keyreeve_core::{
    Invalid,
    audit::Target,
    vault::{Found, SecretRecord, VersionNumber},
};
use parking_lot::Mutex;
use serde_json::{Map, json};
use tracing::warn;

use super::{
    Backend, BackendError, BackendMode,
    give::Given,
    mirror::{Failure, Kept},
    read_through::behind,
};
use crate::{
    Engine, Permit,
    action::ManageVault,
    store::{DutyTerm, RecordKind},
    vault::{VaultError, records::Known, secrets::is_conflict},
};

/// How many secrets are given in one turn.
const AT_ONCE: usize = 200;
/// How many are looked through in one turn that somebody waits for: each may take a few calls there.
const AT_ONCE_BY_HAND: usize = 50;
/// Secrets that are looked at with the lock held.
const STEP: usize = 1_000;
/// How often everything is looked through though nothing changed: versions also end by themselves.
const LOOK_ANYWAY_NS: u64 = 30_000_000_000;
const DUTY: &str = "vault-sync";
/// How many in a row a store may refuse or not answer before the rest of a turn is put off.
const MOST_IN_VAIN: usize = 10;

/// How far a walk through all secrets is.
#[derive(Debug, Default)]
pub(super) struct Pass(Mutex<Walk>);

#[derive(Clone, Debug, Default)]
struct Walk {
    /// The last path that was dealt with; `None` at the beginning.
    after: Option<String>,
    /// The number of changes there had been at the beginning.
    since: u64,
    /// Whether something has to be tried again.
    put_off: bool,
    /// Up to which change, and when, everything was found given.
    done: Option<(u64, u64)>,
}

impl Pass {
    /// Whether there is nothing to look for.
    fn is_done(&self, changes: u64, now_ns: u64) -> bool {
        let walk = self.0.lock();
        let recent = |at: u64| now_ns.saturating_sub(at) < LOOK_ANYWAY_NS;
        walk.done.is_some_and(|(up_to, at)| up_to == changes && recent(at))
    }

    /// Nothing is to be looked for for a while: another node does.
    fn leave(&self, changes: u64, now_ns: u64) {
        self.0.lock().done = Some((changes, now_ns));
    }

    /// Where the walk goes on.
    fn go_on(&self, changes: u64) -> Option<String> {
        let mut walk = self.0.lock();
        if walk.after.is_none() {
            walk.since = changes;
            walk.put_off = false;
        }
        walk.after.clone()
    }

    /// The walk got so far; `None` if to its end. Gives whether there is more.
    fn got(&self, after: Option<String>, put_off: bool, now_ns: u64) -> bool {
        let mut walk = self.0.lock();
        walk.put_off |= put_off;
        walk.after = after;
        if walk.after.is_none() {
            walk.done = (!walk.put_off).then_some((walk.since, now_ns));
        }
        walk.after.is_some()
    }
}

/// What a turn of giving did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Secrets that the other store was given.
    pub written: usize,
    /// Secrets that were deleted there.
    pub deleted: usize,
    /// Secrets that it did not take.
    pub failed: usize,
    /// Whether something has to be tried again.
    pub put_off: bool,
    /// Behind which path the next turn goes on; `None` at the end.
    pub next: Option<String>,
}

/// What somebody wants given at once.
#[derive(Clone, Debug, Default)]
pub struct SyncNow {
    /// Whether what somebody else wrote there is written over.
    pub overwrite: bool,
    /// Behind which path the turn goes on; `None` at the beginning.
    pub after: Option<String>,
}

/// How something is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Whether what is said to be there is looked for there, and what was not taken is tried again.
    pub(super) again: bool,
    /// Whether what somebody else wrote there is written over.
    pub(super) overwrite: bool,
    /// For how long the duty is taken before each.
    pub(super) duty: Duration,
    /// How many in one turn.
    most: usize,
    /// How many in a row may be refused or not answered before the rest is put off.
    most_in_vain: usize,
}

/// Paths to deal with, in order.
struct Due {
    paths: Vec<String>,
    /// Whether there are no more behind them.
    is_end: bool,
}

impl Engine {
    /// Gives other stores what they lack, if that is this node's duty. Gives whether there is more.
    pub async fn sync_some(&self, duty: Duration) -> bool {
        let mut more = false;
        for backend in &self.backends.all {
            let BackendMode::Sync { overwrite } = backend.options.mode else { continue };
            let (changes, now_ns) =
                (self.vault.records.secret_changes(), self.clock.monotonic_ns());
            let rests = backend.pass.is_done(changes, now_ns)
                || backend.reach.pausing(now_ns).is_some()
                || self.keyring().is_err();
            if rests {
                continue;
            }
            // Somebody gives everything at this moment.
            let Ok(_giving) = backend.giving.try_lock() else { continue };
            let (most, most_in_vain) = (AT_ONCE, MOST_IN_VAIN);
            let how = How { again: false, overwrite, duty, most, most_in_vain };
            match self.sync_turn(backend, changes, how).await {
                Ok(is_more) => more |= is_more,
                Err(error) => warn!(
                    backend = backend.name(),
                    %error,
                    "another store lacks what is current here; tried again"
                ),
            }
        }
        more
    }

    async fn sync_turn(
        &self,
        backend: &Backend,
        changes: u64,
        how: How,
    ) -> Result<bool, VaultError> {
        if self.take_giving(how.duty).await?.is_none() {
            backend.pass.leave(changes, self.clock.monotonic_ns());
            return Ok(false);
        }
        let after = backend.pass.go_on(changes);
        let due = self.due(backend, after.as_deref(), how).await?;
        let mut synced = Synced::default();
        let (last, outcome) = self.give(backend, &due.paths, how, &mut synced).await;
        let is_end = due.is_end && outcome.is_ok() && last.as_ref() == due.paths.last();
        // What failed is passed by: the others must not wait for it.
        let after = if is_end { None } else { last.or(after) };
        let put_off = synced.put_off || outcome.is_err();
        let more = backend.pass.got(after, put_off, self.clock.monotonic_ns());
        outcome.map(|()| more)
    }

    /// The duty to give to other stores; `None` while another node has it.
    pub(super) async fn take_giving(
        &self,
        length: Duration,
    ) -> Result<Option<DutyTerm>, VaultError> {
        let holder = format!("{:016x}", self.process);
        Ok(self.store.take_duty(DUTY, &holder, length).await?)
    }

    /// Looks through some secrets and gives another store at once what it lacks, and what it did not take
    /// before, too; [`Synced::next`] says where to go on. `None` if there is no such store.
    pub async fn sync_now(
        &self,
        permit: &Permit<'_, ManageVault>,
        name: &str,
        wanted: SyncNow,
        duty: Duration,
    ) -> Result<Option<Synced>, VaultError> {
        let SyncNow { overwrite, after } = wanted;
        let Some(backend) = self.backends.all.iter().find(|it| it.name() == name) else {
            return Ok(None);
        };
        self.keyring()?;
        let BackendMode::Sync { overwrite: always } = backend.options.mode else {
            let rule = Invalid::new("it is read through, and so given everything as it is written");
            return Err(behind(backend, BackendError::Invalid(rule)));
        };
        let mut entry = self.system_entry(permit.project(), "vault", "backend.sync", Map::new());
        entry.actor = permit.caller().actor();
        entry.request = Some(permit.caller().request().origin());
        entry.target = Target::new("backend", name);
        entry.details.insert("overwrite".to_owned(), json!(overwrite));
        self.begin(permit.project()).commit(entry).await?;
        let _giving = backend.giving.lock().await;
        if self.take_giving(duty).await?.is_none() {
            return Err(VaultError::Busy);
        }
        // Somebody waits: the first that the store does not answer ends the turn.
        let (most, most_in_vain) = (AT_ONCE_BY_HAND, 1);
        let overwrite = overwrite || always;
        let how = How { again: true, overwrite, duty, most, most_in_vain };
        let due = self.due(backend, after.as_deref(), how).await?;
        let mut synced = Synced::default();
        let (last, outcome) = self.give(backend, &due.paths, how, &mut synced).await;
        outcome?;
        synced.next = last.or(after).filter(|_| !due.is_end);
        Ok(Some(synced))
    }

    /// Paths behind that one whose secret there is not as here; all of them, if all are looked through.
    async fn due(
        &self,
        backend: &Backend,
        after: Option<&str>,
        how: How,
    ) -> Result<Due, VaultError> {
        let mut paths = self.due_here(backend, after, how).await?;
        paths.extend(self.due_there(backend, after, how).await?);
        paths.sort_unstable();
        paths.dedup();
        let is_end = paths.len() <= how.most;
        paths.truncate(how.most);
        Ok(Due { paths, is_end })
    }

    /// Secrets that are here.
    async fn due_here(
        &self,
        backend: &Backend,
        after: Option<&str>,
        how: How,
    ) -> Result<Vec<String>, VaultError> {
        let (project, prefix) = (&backend.options.project, backend.options.folder.as_str());
        let mut paths = Vec::new();
        let mut from = after.map(str::to_owned);
        while paths.len() <= how.most {
            let bound = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let records = &self.vault.records;
            let found = records.beginning_with(project, RecordKind::Secret, prefix, bound, STEP);
            let Some(last) = found.last() else { break };
            from = Some(last.record.id.to_string());
            for known in found {
                let path = known.record.id.to_string();
                if how.again || self.is_due(backend, &path, &known).await? {
                    paths.push(path);
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(paths)
    }

    async fn is_due(
        &self,
        backend: &Backend,
        path: &str,
        known: &Known,
    ) -> Result<bool, VaultError> {
        let secret = match self.parsed::<SecretRecord>(&backend.options.project, known) {
            Ok(secret) => secret,
            // What was tampered with is given to nobody, and is recorded when it is read.
            Err(VaultError::Tampered { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let version = current_version(&secret, self.now());
        let mirror = match self.mirror(backend, path, 0).await {
            Ok(Kept { mirror, .. }) => mirror,
            Err(VaultError::Tampered { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let has = mirror.has(&secret.id, version);
        Ok(match mirror.failure {
            // Known not to be taken; else it is to be tried, or came to be all the same.
            Some(Failure { step, .. }) => {
                (step.secret.as_str(), step.version) != (&secret.id, version)
            }
            None => !has,
        })
    }

    /// Secrets that are there, and not here any more.
    async fn due_there(
        &self,
        backend: &Backend,
        after: Option<&str>,
        how: How,
    ) -> Result<Vec<String>, VaultError> {
        let (project, folder) = (&backend.options.project, backend.options.folder.as_str());
        let mut paths = Vec::new();
        let mut from = after.map(str::to_owned);
        while paths.len() <= how.most {
            let found = self.mirrors(backend, from.as_deref(), STEP);
            let Some((last, _)) = found.last() else { break };
            from = Some(last.clone());
            for (path, known) in found {
                let is_here = self.vault.records.get(project, RecordKind::Secret, &path).is_some();
                // What the settings gave to it once and do not any more is not its own to delete.
                if is_here || !path.starts_with(folder) {
                    continue;
                }
                let Ok(mirror) = self.read_mirror(backend, &known) else { continue };
                let is_known = mirror.failure.as_ref().is_some_and(|it| it.step.version == 0);
                if (mirror.remote.is_some() || mirror.trying.is_some()) && (how.again || !is_known)
                {
                    paths.push(path);
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(paths)
    }

    /// Gives some secrets. Gives the last path that was dealt with, too.
    async fn give(
        &self,
        backend: &Backend,
        paths: &[String],
        how: How,
        synced: &mut Synced,
    ) -> (Option<String>, Result<(), VaultError>) {
        let mut last = None;
        // Refused ones, and since when the store has taken anything after them.
        let (mut refused, mut known_refused) = (Vec::new(), Vec::new());
        let mut in_vain = 0;
        let mut outcome = Ok(());
        for path in paths {
            let given = self.give_one(backend, path, how).await;
            last = Some(path.clone());
            match given {
                Ok(Given::Same) => {}
                Ok(done @ (Given::Written | Given::Deleted | Given::Failed(_))) => {
                    // The credential is good: what was refused before was refused by itself.
                    known_refused.append(&mut refused);
                    in_vain = 0;
                    synced.count(backend, path, &done);
                }
                Ok(Given::Refused) => {
                    refused.push(path);
                    in_vain += 1;
                }
                Ok(Given::Away(why)) => {
                    synced.put_off = true;
                    in_vain += 1;
                    outcome = Err(behind(backend, BackendError::Unreachable(why)));
                }
                // The next turn finds it as it is then.
                Err(error) if is_conflict(&error) => synced.put_off = true,
                Err(VaultError::Tampered { .. }) => synced.failed += 1,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            if in_vain >= how.most_in_vain {
                break;
            }
        }
        for path in known_refused {
            synced.failed += 1;
            if let Err(error) = self.note_refusal(backend, path, how).await {
                return (last, Err(error));
            }
        }
        if !refused.is_empty() && outcome.is_ok() {
            // Nothing was taken since: it may be the credential, not the paths.
            synced.put_off = true;
            self.note_refusal_of_all(backend);
            outcome = Err(behind(backend, BackendError::Denied));
        }
        (last, outcome)
    }
}

impl Synced {
    fn count(&mut self, backend: &Backend, path: &str, given: &Given) {
        match given {
            Given::Written => self.written += 1,
            Given::Deleted => self.deleted += 1,
            Given::Failed(why) => {
                warn!(backend = backend.name(), path, why, "a secret was not taken");
                self.failed += 1;
            }
            Given::Same | Given::Refused | Given::Away(_) => {}
        }
    }
}

/// The version that can be read; 0 if there is none.
pub(super) fn current_version(secret: &SecretRecord, now: Timestamp) -> VersionNumber {
    match secret.find(None, now) {
        Found::Readable(version, _) => version,
        Found::Gone(..) | Found::Missing => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_walk_that_put_nothing_off_is_done_until_something_changes() {
        let pass = Pass::default();
        assert!(!pass.is_done(0, 0));
        assert_eq!(pass.go_on(7), None);
        assert!(pass.got(Some("a".to_owned()), false, SECOND), "there is more");
        // What changed behind its back is seen by the next walk.
        assert_eq!(pass.go_on(8).as_deref(), Some("a"));
        assert!(!pass.got(None, false, 2 * SECOND));
        assert!(pass.is_done(7, 3 * SECOND) && !pass.is_done(8, 3 * SECOND));
        assert!(!pass.is_done(7, 2 * SECOND + LOOK_ANYWAY_NS), "versions also end by themselves");
    }

    #[test]
    fn a_walk_that_put_something_off_begins_anew() {
        let pass = Pass::default();
        pass.go_on(1);
        assert!(pass.got(Some("a".to_owned()), true, 0));
        assert_eq!(pass.go_on(1).as_deref(), Some("a"));
        assert!(!pass.got(None, false, 0));
        assert!(!pass.is_done(1, 0));
        assert_eq!(pass.go_on(1), None);
        assert!(!pass.got(None, false, 0));
        assert!(pass.is_done(1, 0));
    }

    #[test]
    fn another_nodes_duty_is_looked_at_again_after_a_while() {
        let pass = Pass::default();
        pass.leave(3, SECOND);
        assert!(pass.is_done(3, 2 * SECOND) && !pass.is_done(4, 2 * SECOND));
        assert!(!pass.is_done(3, SECOND + LOOK_ANYWAY_NS));
    }
}
