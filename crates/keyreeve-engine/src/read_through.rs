//! Reading keys from the store that memory has no room for.

use keyreeve_core::key::KeyId;
use tracing::warn;

use crate::{
    Engine,
    live::{KeyRead, Lookup},
    store::{QuotaSubject, StoreError},
};

/// How often a key is read anew that changed while it was read.
const MOST_READS: usize = 20;
/// Keys that are read at once, at most; those of one part after one another.
const PARTS: usize = 64;

/// Turns at reading. Who waits for a key that another request is reading finds it there.
#[derive(Debug)]
pub(crate) struct Turns([tokio::sync::Mutex<()>; PARTS]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| tokio::sync::Mutex::default()))
    }
}

impl Turns {
    fn of(&self, id: &KeyId) -> &tokio::sync::Mutex<()> {
        // Ids are random to their last letter.
        let last = id.as_str().bytes().last().unwrap_or_default();
        &self.0[usize::from(last) % PARTS]
    }
}

impl Engine {
    /// Puts the key into memory, or the knowledge that there is none. False if that could not be
    /// found out.
    pub(crate) async fn read_key(&self, id: KeyId) -> bool {
        let _turn = self.key_turns.of(&id).lock().await;
        for _ in 0..MOST_READS {
            if !matches!(self.live.lookup(&id), Lookup::Unknown) {
                return true;
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
        self.key_reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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
        self.key_reads.load(std::sync::atomic::Ordering::Relaxed)
    }
}
