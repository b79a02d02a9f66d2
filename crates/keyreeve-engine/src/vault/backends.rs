//! Other stores that hold secrets of this vault.
//!
//! A folder can be kept in another store: then that one counts, and what is here is a copy of it, sealed
//! and versioned like everything else ([`read_through`]). Or it is kept here and the other store is given
//! every version that becomes current ([`sync`]). What the two last agreed on is a record, the mirror.

mod backend;
mod give;
mod listing;
mod mirror;
mod read_through;
mod status;
mod sync;

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, atomic::AtomicUsize},
};

use jiff::SignedDuration;
use keyreeve_core::{
    name::ProjectName,
    vault::{SecretPath, SecretPathPrefix},
};

pub use self::{
    backend::{BackendError, BackendVersion, Expect, SecretBackend},
    status::{BackendFault, BackendStatus},
    sync::{SyncNow, Synced},
};
pub(super) use self::{
    mirror::Mirror,
    read_through::{Agreed, Follow, Next},
};
use self::{status::Reach, sync::Pass};
use super::VaultError;
use crate::waiting::Waiting;

/// Paths that are looked at in other stores at once, at most; those of one part after one another.
const PARTS: usize = 64;
/// Requests that may wait for other stores. More are refused at once.
const MOST_WAITING: usize = 2_000;

/// Another store, and which secrets it holds.
#[derive(Debug)]
pub struct BackendOptions {
    /// What the settings call it: no slashes.
    pub name: String,
    /// The tenant.
    pub project: ProjectName,
    /// The folder here.
    pub folder: SecretPathPrefix,
    /// The same folder there: empty, or ending in a slash.
    pub remote_folder: String,
    /// Stands for where all of that is. What was agreed on with another place counts for nothing.
    pub place: String,
    /// Which of the two counts.
    pub mode: BackendMode,
    /// How it is reached.
    pub remote: Arc<dyn SecretBackend>,
}

/// Which of two stores counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendMode {
    /// The other one: what is here is a copy.
    ReadThrough {
        /// How old a copy may be that is read without asking.
        fresh: SignedDuration,
        /// How old one may be that is read while the other store cannot be reached.
        stale: SignedDuration,
    },
    /// This one: the other gets every version that becomes current.
    Sync {
        /// Whether what somebody else wrote there is written over.
        overwrite: bool,
    },
}

impl BackendMode {
    /// As the settings name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadThrough { .. } => "read-through",
            Self::Sync { .. } => "sync",
        }
    }
}

/// All other stores.
pub(crate) struct Backends {
    all: Vec<Backend>,
    turns: [tokio::sync::Mutex<()>; PARTS],
    waiting: AtomicUsize,
}

impl Backends {
    pub(crate) fn new(options: Vec<BackendOptions>) -> Self {
        let all = options.into_iter().map(|options| Backend {
            options,
            reach: Reach::default(),
            pass: Pass::default(),
            giving: tokio::sync::Mutex::default(),
        });
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::default());
        Self { all: all.collect(), turns, waiting: AtomicUsize::new(0) }
    }

    /// The store that counts for a path, if that is another one.
    pub(super) fn behind(&self, project: &ProjectName, path: &SecretPath) -> Option<&Backend> {
        self.all.iter().find(|backend| backend.is_read_through() && backend.holds(project, path))
    }

    /// One more that waits for another store, if there is room.
    fn one_more(&self) -> Result<Waiting<'_>, VaultError> {
        Waiting::one_of(MOST_WAITING, &self.waiting).ok_or(VaultError::Busy)
    }

    /// One at a time deals with a path.
    fn turn(&self, path: &SecretPath) -> &tokio::sync::Mutex<()> {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let part = usize::try_from(hasher.finish() % PARTS as u64).unwrap_or_default();
        &self.turns[part]
    }
}

/// One of them, and what is known of it.
pub(super) struct Backend {
    options: BackendOptions,
    reach: Reach,
    /// How far the giving is.
    pass: Pass,
    /// One at a time gives.
    giving: tokio::sync::Mutex<()>,
}

impl Backend {
    fn is_read_through(&self) -> bool {
        matches!(self.options.mode, BackendMode::ReadThrough { .. })
    }

    fn holds(&self, project: &ProjectName, path: &SecretPath) -> bool {
        self.options.project == *project && path.as_str().starts_with(self.options.folder.as_str())
    }

    /// What the store calls a path of ours in its folder.
    fn remote_path(&self, path: &str) -> String {
        let rest = path.strip_prefix(self.options.folder.as_str()).unwrap_or(path);
        format!("{}{rest}", self.options.remote_folder)
    }

    fn name(&self) -> &str {
        &self.options.name
    }

    fn remote(&self) -> &dyn SecretBackend {
        &*self.options.remote
    }
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(Backend::name)).finish()
    }
}
