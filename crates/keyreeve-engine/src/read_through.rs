//! Reading keys from the store that memory has no room for.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use keyreeve_core::key::KeyId;
use tracing::warn;

use crate::{
    Engine,
    live::{KeyRead, Lookup},
    store::{QuotaSubject, StoreError},
    waiting::Waiting,
};

/// How often a key is read anew that changed while it was read, or that came before the news of its
/// keyspace or owner.
const MOST_READS: usize = 20;
/// How long to wait for such news.
const UNTIL_NEWS: Duration = Duration::from_millis(10);
/// Keys that are read at once, at most; those of one part after one another.
const PARTS: usize = 64;
/// Requests that may wait for a key. More are refused at once: whoever guesses ids must not hold up
/// everybody else.
const MOST_WAITING: usize = 2_000;
/// How long a reading may take at least, however short the bound is.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// Turns at reading. Who waits for a key that another request is reading finds it there.
#[derive(Debug)]
pub(crate) struct Turns {
    parts: [tokio::sync::Mutex<()>; PARTS],
    waiting: AtomicUsize,
}

impl Default for Turns {
    fn default() -> Self {
        let parts = std::array::from_fn(|_| tokio::sync::Mutex::default());
        Self { parts, waiting: AtomicUsize::new(0) }
    }
}

impl Turns {
    fn of(&self, id: &KeyId) -> &tokio::sync::Mutex<()> {
        // Ids are random to their last letter.
        let last = id.as_str().bytes().last().unwrap_or_default();
        &self.parts[usize::from(last) % PARTS]
    }
}

impl Engine {
    /// Puts the key into memory, or the knowledge that there is none. False if that could not be
    /// found out within the bound, or if too many wait for it.
    pub(crate) async fn read_key(&self, id: KeyId) -> bool {
        let Some(_waiting) = Waiting::one_of(MOST_WAITING, &self.key_turns.waiting) else {
            return false;
        };
        let patience = Duration::from_nanos(self.bound_ns).max(SHORTEST_PATIENCE);
        tokio::time::timeout(patience, self.read_surely(id)).await.unwrap_or_else(|_| {
            warn!(key = %id, "a key could not be read in time");
            false
        })
    }

    async fn read_surely(&self, id: KeyId) -> bool {
        let _turn = self.key_turns.of(&id).lock().await;
        for read in 0..MOST_READS {
            if !matches!(self.live.lookup(&id), Lookup::Unknown) {
                return true;
            }
            if read > 0 {
                tokio::time::sleep(UNTIL_NEWS).await;
            }
            match self.read_once(id).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    warn!(%error, "a key could not be read");
                    return false;
                }
            }
        }
        false
    }

    /// Whether what was read was still so at the end.
    async fn read_once(&self, id: KeyId) -> Result<bool, StoreError> {
        let Some(watch) = self.live.watch_key(id) else { return Ok(true) };
        self.key_reads.fetch_add(1, Ordering::Relaxed);
        let Some(key) = self.store.any_key(id).await? else {
            return Ok(self.live.admit_absent(&watch));
        };
        let Some(lineage) = self.live.watch_lineage(key.lineage) else { return Ok(true) };
        let claim = if key.policy.quota.is_some() {
            let subject = QuotaSubject::Lineage(key.lineage);
            self.store.quota_claim(&key.project, &subject).await?
        } else {
            None
        };
        let usage = self.usage.counter_of(&id);
        Ok(self.live.admit(&watch, &lineage, KeyRead { key: &key, claim, usage }))
    }

    /// Keys that were read because memory did not hold them.
    pub fn key_reads(&self) -> u64 {
        self.key_reads.load(Ordering::Relaxed)
    }
}
