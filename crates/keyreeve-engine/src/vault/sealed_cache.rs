//! Sealed versions that were read lately: ciphertext, as in the database, in bounded memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use keyreeve_core::vault::{SealedVersion, VersionNumber};
use papaya::HashMap;

/// The most bytes that are kept.
const MOST_BYTES: usize = 16 << 20;

type Place = (Arc<str>, VersionNumber);

/// Versions by their secret's id and number.
#[derive(Debug, Default)]
pub(super) struct SealedCache {
    versions: HashMap<Place, Arc<SealedVersion>>,
    bytes: AtomicUsize,
}

impl SealedCache {
    pub(super) fn get(
        &self,
        secret: &Arc<str>,
        version: VersionNumber,
    ) -> Option<Arc<SealedVersion>> {
        self.versions.pin().get(&(secret.clone(), version)).cloned()
    }

    /// Keeps a version. When there is no room, all make room: what is used is read again at once.
    pub(super) fn keep(
        &self,
        secret: Arc<str>,
        version: VersionNumber,
        sealed: Arc<SealedVersion>,
    ) {
        let size = sealed.as_bytes().len();
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size > MOST_BYTES {
            self.versions.pin().clear();
            self.bytes.store(size, Ordering::Relaxed);
        }
        self.versions.pin().insert((secret, version), sealed);
    }

    pub(super) fn forget(&self, secret: &Arc<str>, version: VersionNumber) {
        self.versions.pin().remove(&(secret.clone(), version));
    }
}
