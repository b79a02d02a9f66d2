//! Recognising keys of another system by slow hashes.

use std::sync::{Arc, atomic::AtomicUsize};

use keyreeve_core::{Secret, audit::Target, key::KeyId, name::ProjectName};
use serde_json::Map;
use tokio::sync::Semaphore;
use tracing::{error, warn};

use crate::{
    Engine,
    live::MOST_CANDIDATES,
    store::{Change, CommitError},
    waiting::Waiting,
};

/// Slow hashes that may wait for their turn before more are refused.
const MOST_WAITING: usize = 32;

/// One slow hash at a time: each may take half a second of a core.
#[derive(Debug)]
pub(crate) struct SlowHashes {
    turn: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for SlowHashes {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), waiting: AtomicUsize::new(0) }
    }
}

/// What became of a text that may be a key of another system.
pub(super) enum Recognised {
    /// It is worth looking for it by its digest again.
    Perhaps,
    /// It is none of the candidates.
    No,
    /// Nobody can tell now.
    Busy,
}

impl Engine {
    /// Tries the candidates one by one, off the threads that serve. The first that matches gets a
    /// digest of our own, and is found at once from then on.
    pub(super) async fn recognise(
        &self,
        project: &ProjectName,
        candidates: Vec<KeyId>,
        text: &str,
    ) -> Recognised {
        let Some(_waiting) = Waiting::one_of(MOST_WAITING, &self.slow_hashes.waiting) else {
            warn!("too many keys of another system are waiting to be recognised");
            return Recognised::Busy;
        };
        let Ok(_turn) = self.slow_hashes.turn.clone().acquire_owned().await else {
            return Recognised::Busy;
        };
        for id in candidates.into_iter().take(MOST_CANDIDATES) {
            let Some(key) = self.live.key(&id).filter(|key| key.project() == project) else {
                continue;
            };
            let Some(hash) = key.imported().and_then(|imported| imported.hash.clone()) else {
                // Another request was first while this one waited, perhaps with the same text.
                return Recognised::Perhaps;
            };
            let shown = Secret::new(text.to_owned());
            // EXPOSE: hashed on a thread of its own and dropped there.
            let tried = tokio::task::spawn_blocking(move || hash.matches(shown.expose(), None));
            match tried.await {
                Ok(true) if self.adopt(project, id, text).await => return Recognised::Perhaps,
                Ok(true) => return Recognised::Busy,
                Ok(false) => {}
                Err(broken) => error!(error = %broken, "a slow hash broke off"),
            }
        }
        Recognised::No
    }

    async fn adopt(&self, project: &ProjectName, id: KeyId, text: &str) -> bool {
        let digest = self.digester.digest_text(text);
        let mut entry = self.system_entry(project, "import", "key.recognise", Map::new());
        entry.target = Target::new("api_key", id);
        let change = Change::RecogniseKey { id, digest };
        match self.begin(project).with(change).commit(entry).await {
            // Somebody else may have been first: then it is found by its digest too.
            Ok(_) | Err(CommitError::ChangedMeanwhile(_)) => true,
            Err(error) => {
                warn!(%error, "a key of another system was recognised but not stored");
                false
            }
        }
    }
}
