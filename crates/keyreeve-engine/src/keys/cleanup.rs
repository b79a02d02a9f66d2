//! Putting expired keys away.

use jiff::SignedDuration;
use keyreeve_core::key::KeyId;
use serde_json::json;

use crate::{
    Engine, Error, Permit,
    action::CleanupExpired,
    store::{Change, CommitError},
};

const KEYS_PER_UNIT: u32 = 500;
/// 100,000 keys a call; a caller with more calls again.
const MOST_UNITS: usize = 200;
const MOST_IDS: usize = 1000;

/// What a clean-up did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleanup {
    /// Keys deleted, or that would be.
    pub count: u64,
    /// Their ids, the first 1000.
    pub ids: Vec<KeyId>,
}

impl Engine {
    /// Deletes keys that expired at least `expired_for` ago. They can be brought back for 30
    /// days. With `dry_run`, says which and changes nothing.
    pub async fn cleanup_expired(
        &self,
        permit: Permit<'_, CleanupExpired>,
        expired_for: SignedDuration,
        dry_run: bool,
    ) -> Result<Cleanup, Error> {
        let mut done = Cleanup::default();
        if dry_run {
            let at = self.expired_before(expired_for);
            let most = KEYS_PER_UNIT * u32::try_from(MOST_UNITS).unwrap_or(u32::MAX);
            let keys = self.store.expired_keys(permit.project(), at, most).await?;
            done.note(keys.iter().map(|key| key.id));
            return Ok(done);
        }
        for _ in 0..MOST_UNITS {
            match self.cleanup_some(&permit, expired_for, &mut done).await {
                Ok(0) => break,
                // Somebody changed one of the keys; the next round reads them afresh.
                Ok(_) | Err(Error::ChangedMeanwhile(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    async fn cleanup_some(
        &self,
        permit: &Permit<'_, CleanupExpired>,
        expired_for: SignedDuration,
        done: &mut Cleanup,
    ) -> Result<usize, Error> {
        let at = self.expired_before(expired_for);
        let keys = self.store.expired_keys(permit.project(), at, KEYS_PER_UNIT).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        let now = self.now();
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        let mut tx = self.begin(permit.project());
        for mut key in keys {
            key.lifecycle = key.lifecycle.delete(now)?;
            key.revision += 1;
            tx = tx.with(Change::UpdateKey(Box::new(key)));
        }
        let target = keyreeve_core::audit::Target::new("project", permit.project());
        let mut entry = permit.entry(now, target);
        let names = ids.iter().map(|id| json!(id.to_string())).collect();
        entry.details.insert("deleted".to_owned(), names);
        tx.commit(entry).await.map_err(|error: CommitError| Error::from(error))?;
        done.note(ids.iter().copied());
        Ok(ids.len())
    }

    fn expired_before(&self, expired_for: SignedDuration) -> jiff::Timestamp {
        self.now().saturating_sub(expired_for).unwrap_or(jiff::Timestamp::MIN)
    }
}

impl Cleanup {
    fn note(&mut self, ids: impl ExactSizeIterator<Item = KeyId>) {
        self.count += ids.len() as u64;
        let room = MOST_IDS.saturating_sub(self.ids.len());
        self.ids.extend(ids.take(room));
    }
}
