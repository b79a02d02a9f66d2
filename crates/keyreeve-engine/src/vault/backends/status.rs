//! How other stores do, for people.

use jiff::Timestamp;
use keyreeve_core::name::ProjectName;
use parking_lot::Mutex;

use super::{Backend, BackendError};
use crate::{
    Engine, Permit,
    action::ManageVault,
    store::RecordKind,
    vault::{VaultError, backends::mirror::Failure},
};

/// The most faults that are told of one store.
const MOST_FAULTS: usize = 100;
/// The longest pause between tries to reach a store, in seconds.
const LONGEST_PAUSE: i64 = 60;

/// When a store was reached, as this node knows.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Reached>);

#[derive(Clone, Debug, Default)]
struct Reached {
    at: Option<Timestamp>,
    failure: Option<(Timestamp, String)>,
    failures: u32,
}

impl Reach {
    /// Takes note of how a call ended.
    pub(super) fn note<T>(&self, now: Timestamp, outcome: &Result<T, BackendError>) {
        let mut reached = self.0.lock();
        match outcome {
            Err(error @ (BackendError::Unreachable(_) | BackendError::Denied)) => {
                reached.failure = Some((now, error.to_string()));
                reached.failures = reached.failures.saturating_add(1);
            }
            _ => *reached = Reached { at: Some(now), ..Reached::default() },
        }
    }

    /// When it is worth another try: twice as late after each failure.
    pub(super) fn may_try_at(&self) -> Timestamp {
        let reached = self.0.lock();
        let Some((at, _)) = &reached.failure else { return Timestamp::MIN };
        let pause = 1_i64.checked_shl(reached.failures.min(10)).unwrap_or(LONGEST_PAUSE);
        let pause = jiff::SignedDuration::from_secs(pause.min(LONGEST_PAUSE));
        at.checked_add(pause).unwrap_or(Timestamp::MAX)
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
    /// Secrets that could not be written there.
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
    /// How the other stores of the project do.
    pub fn backends(
        &self,
        permit: &Permit<'_, ManageVault>,
    ) -> Result<Vec<BackendStatus>, VaultError> {
        let all = self.backends.all.iter();
        let own = all.filter(|backend| backend.options.project == *permit.project());
        own.map(|backend| self.backend_status(backend)).collect()
    }

    fn backend_status(&self, backend: &Backend) -> Result<BackendStatus, VaultError> {
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
            faults: Vec::new(),
        };
        for (path, known) in self.mirrors(backend) {
            let mirror = self.read_mirror(&options.project, &known)?;
            if mirror.remote.is_some() {
                status.secrets += 1;
                let oldest = status.oldest.unwrap_or(Timestamp::MAX);
                status.oldest = Some(oldest.min(mirror.confirmed_at));
            }
            if let Some(Failure { why, .. }) = mirror.failure
                && status.faults.len() < MOST_FAULTS
            {
                status.faults.push(BackendFault { path, why });
            }
        }
        Ok(status)
    }

    /// All mirrors of a store, by path.
    pub(super) fn mirrors(
        &self,
        backend: &Backend,
    ) -> Vec<(String, std::sync::Arc<crate::vault::records::Known>)> {
        let prefix = backend.mirror_id("");
        let records = &self.vault.records;
        let found = records.beginning_with(
            &backend.options.project,
            RecordKind::Mirror,
            &prefix,
            std::ops::Bound::Unbounded,
            usize::MAX,
        );
        let path = |id: &str| id.get(prefix.len()..).unwrap_or_default().to_owned();
        found.into_iter().map(|known| (path(&known.record.id), known)).collect()
    }
}
