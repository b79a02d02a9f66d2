//! What is counted for connections while they are called: rates, calls at once, how the service fares.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use keyreeve_core::{
    limit::GcraCell,
    name::ProjectName,
    vault::{SecretRecord, VersionNumber},
};
use papaya::HashMap;

use super::{Credential, Place, PlaceRef};
use crate::{cells::CellTable, connections::Connection};

/// Clients that are kept apart, of all connections together; the rest shares one count.
const MOST_CLIENTS: usize = 100_000;

/// Counts of all connections. They outlast changes of a connection's settings, but begin anew where its
/// secret or its service is another.
#[derive(Debug)]
pub(crate) struct ConnectionStates {
    states: HashMap<Place, Arc<State>>,
    /// By a digest of the connection and the client.
    pub(super) clients: CellTable<u64>,
}

impl Default for ConnectionStates {
    fn default() -> Self {
        Self { states: HashMap::new(), clients: CellTable::new(MOST_CLIENTS) }
    }
}

impl ConnectionStates {
    /// The counts of a connection.
    pub(super) fn of(&self, project: &ProjectName, connection: &Connection) -> Arc<State> {
        let states = self.states.pin();
        let settings = &connection.settings;
        let about = format!("{} {}", settings.secret.as_str(), settings.base_url);
        if let Some(state) = states.get(&PlaceRef(project, &connection.name))
            && state.about == about
        {
            return state.clone();
        }
        // With another secret or service, what was learnt of the old one is not true any more.
        let place = (project.clone(), connection.name.clone());
        let state = Arc::new(State { about, ..State::default() });
        states.insert(place, state.clone());
        state
    }

    /// Lets go of what was counted for a connection that is gone.
    pub(super) fn forget(&self, project: &ProjectName, name: &str) {
        self.states.pin().remove(&PlaceRef(project, name));
    }
}

/// The counts of one connection.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The secret and the service.
    about: String,
    pub(super) rate: GcraCell,
    pub(super) spend: GcraCell,
    pub(super) in_flight: Arc<AtomicU32>,
    pub(super) rejections: Rejections,
}

/// How often the service refused a version of the credential, in a row.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    version: AtomicU64,
    in_a_row: AtomicU32,
    /// The last version that the service took.
    taken: AtomicU64,
    /// The version that is not used although it is current, because the service refuses it.
    refused: AtomicU64,
}

impl Rejections {
    /// Counts a refusal; gives how many there were in a row. A version that the service has taken is good:
    /// what it refuses then is the call, and not the credential.
    pub(super) fn count(&self, version: VersionNumber) -> u32 {
        if self.taken.load(Ordering::Acquire) == version {
            return 0;
        }
        if self.version.swap(version, Ordering::AcqRel) != version {
            self.in_a_row.store(0, Ordering::Release);
        }
        self.in_a_row.fetch_add(1, Ordering::AcqRel).saturating_add(1)
    }

    /// The service took this version.
    pub(super) fn accepted(&self, version: VersionNumber) {
        if self.taken.load(Ordering::Relaxed) != version {
            self.taken.store(version, Ordering::Release);
        }
    }

    /// Whether this version is not to be used any more.
    pub(super) fn is_refused(&self, version: VersionNumber) -> bool {
        version != 0 && self.refused.load(Ordering::Acquire) == version
    }

    /// Uses this version no more; gives whether it was used until now.
    pub(super) fn refuse(&self, version: VersionNumber) -> bool {
        self.refused.swap(version, Ordering::AcqRel) != version
    }
}

/// A credential, and what it was made of.
#[derive(Debug)]
pub(crate) struct Made {
    pub(super) connection: Arc<Connection>,
    pub(super) credential: Arc<Credential>,
    pub(super) secret: Arc<SecretRecord>,
    /// How many changes of secrets there had been when that was looked at.
    pub(super) secret_changes: u64,
}

/// Credentials that were made lately. They go when the vault is sealed.
#[derive(Debug, Default)]
pub(crate) struct MadeCredentials(HashMap<Place, Made>);

impl MadeCredentials {
    /// What somebody takes of what was made for a connection.
    pub(super) fn look<T>(
        &self,
        project: &ProjectName,
        name: &str,
        look: impl FnOnce(&Made) -> Option<T>,
    ) -> Option<T> {
        self.0.pin().get(&PlaceRef(project, name)).and_then(look)
    }

    pub(super) fn keep(&self, project: &ProjectName, made: Made) {
        let place = (project.clone(), made.connection.name.clone());
        self.0.pin().insert(place, made);
    }

    /// Lets go of the credential of a connection that is gone, or whose secret is.
    pub(crate) fn forget(&self, project: &ProjectName, name: &str) {
        self.0.pin().remove(&PlaceRef(project, name));
    }
}
