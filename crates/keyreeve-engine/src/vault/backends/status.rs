//! How other stores do, for people.

use jiff::Timestamp;
use keyreeve_core::name::ProjectName;
use parking_lot::Mutex;

use super::{Backend, BackendError};
use crate::{
    Engine, Permit,
    action::ManageVault,
    vault::{VaultError, backends::mirror::Failure},
};

/// The most faults that are told of one store.
const MOST_FAULTS: usize = 100;
/// Mirrors that are looked at in one go.
const STEP: usize = 1_000;
/// The longest pause between tries to reach a store.
const LONGEST_PAUSE_S: u64 = 60;

/// When a store was reached, as this node knows.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Reached>);

#[derive(Clone, Debug, Default)]
struct Reached {
    at: Option<Timestamp>,
    /// Since when it fails, and how it failed last.
    failure: Option<(Timestamp, String)>,
    failures: u32,
    /// Until when, on the monotonic clock, and why it is not worth another try.
    pause: Option<(u64, String)>,
}

/// A length of time that is twice as long after each failure.
fn pause_ns(failures: u32) -> u64 {
    let seconds = 1_u64.checked_shl(failures).unwrap_or(LONGEST_PAUSE_S).min(LONGEST_PAUSE_S);
    seconds * 1_000_000_000
}

impl Reach {
    /// Why it is not worth a try now.
    pub(super) fn pausing(&self, now_ns: u64) -> Option<String> {
        let reached = self.0.lock();
        let (until_ns, why) = reached.pause.as_ref()?;
        (now_ns < *until_ns).then(|| why.clone())
    }

    fn fails(&self, now: Timestamp, error: &BackendError) {
        let mut reached = self.0.lock();
        let since = reached.failure.as_ref().map_or(now, |(since, _)| *since);
        reached.failure = Some((since, error.to_string()));
    }

    fn pauses(&self, now_ns: u64, why: &str) {
        let mut reached = self.0.lock();
        reached.failures = reached.failures.saturating_add(1);
        let until_ns = now_ns.saturating_add(pause_ns(reached.failures));
        reached.pause = Some((until_ns, why.to_owned()));
    }
}

/// How another store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    /// What the settings call it.
    pub name: String,
    /// What kind of store it is.
    pub kind: &'static str,
    /// The tenant.
    pub project: ProjectName,
    /// `read-through` or `sync`.
    pub mode: &'static str,
    /// The folder here.
    pub folder: String,
    /// The same folder there.
    pub remote_folder: String,
    /// Secrets that both have.
    pub secrets: usize,
    /// When the oldest of these was last seen to be the same.
    pub oldest: Option<Timestamp>,
    /// When this node last reached it.
    pub reached_at: Option<Timestamp>,
    /// Since when and why it cannot be reached.
    pub failure: Option<(Timestamp, String)>,
    /// How many secrets could not be written there.
    pub fault_count: usize,
    /// The first of them.
    pub faults: Vec<BackendFault>,
}

/// A secret that could not be written to another store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendFault {
    /// Where it is here.
    pub path: String,
    /// What the store said.
    pub why: String,
}

impl Engine {
    /// Takes note of how a call to a store ended.
    pub(super) fn note_reach<T>(&self, backend: &Backend, outcome: &Result<T, BackendError>) {
        let (now, reach) = (self.now(), &backend.reach);
        match outcome {
            Err(error @ BackendError::Unreachable(why)) => {
                reach.fails(now, error);
                reach.pauses(self.clock.monotonic_ns(), why);
            }
            // It may be this path alone: the next one is tried at once.
            Err(error @ (BackendError::Denied | BackendError::Answer(_))) => {
                reach.fails(now, error);
            }
            _ => *reach.0.lock() = Reached { at: Some(now), ..Reached::default() },
        }
    }

    /// Takes note that a store lets us do nothing at all.
    pub(super) fn note_refusal_of_all(&self, backend: &Backend) {
        let why = BackendError::Denied.to_string();
        backend.reach.pauses(self.clock.monotonic_ns(), &why);
    }

    /// How the other stores do. Whoever looks after the vault looks after those of all projects.
    pub async fn backends(
        &self,
        _permit: &Permit<'_, ManageVault>,
    ) -> Result<Vec<BackendStatus>, VaultError> {
        let mut all = Vec::new();
        for backend in &self.backends.all {
            all.push(self.backend_status(backend).await?);
        }
        Ok(all)
    }

    async fn backend_status(&self, backend: &Backend) -> Result<BackendStatus, VaultError> {
        let options = &backend.options;
        let reached = backend.reach.0.lock().clone();
        let mut status = BackendStatus {
            name: options.name.clone(),
            kind: options.remote.kind(),
            project: options.project.clone(),
            mode: options.mode.as_str(),
            folder: options.folder.as_str().to_owned(),
            remote_folder: options.remote_folder.clone(),
            secrets: 0,
            oldest: None,
            reached_at: reached.at,
            failure: reached.failure,
            fault_count: 0,
            faults: Vec::new(),
        };
        let mut after: Option<String> = None;
        loop {
            let found = self.mirrors(backend, after.as_deref(), STEP);
            let Some((last, _)) = found.last() else { return Ok(status) };
            after = Some(last.clone());
            for (path, known) in found {
                let why = match self.read_mirror(backend, &known) {
                    Ok(mirror) => {
                        if mirror.remote.is_some() {
                            status.secrets += 1;
                            let oldest = status.oldest.unwrap_or(Timestamp::MAX);
                            status.oldest = Some(oldest.min(mirror.confirmed_at));
                        }
                        mirror.failure.map(|Failure { why, .. }| why)
                    }
                    Err(VaultError::Tampered { why, .. }) => {
                        Some(format!("what is stored about it was tampered with: it {why}"))
                    }
                    Err(error) => return Err(error),
                };
                if let Some(why) = why {
                    status.fault_count += 1;
                    if status.faults.len() < MOST_FAULTS {
                        status.faults.push(BackendFault { path, why });
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let seconds: Vec<_> = [1, 2, 5, 6, 7, 40, 64, u32::MAX]
            .map(|failures| pause_ns(failures) / 1_000_000_000)
            .into();
        assert_eq!(seconds, [2, 4, 32, 60, 60, 60, 60, 60]);
    }
}
