//! Finding keys of another system by what they are, since their text holds no id of ours.

use std::{
    collections::HashMap as StdHashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use keyreeve_core::key::{
    Imported, KeyDigest, KeyId,
    foreign::{ForeignHash, HmacSecret, sha256, sha512},
};
use papaya::HashMap;
use parking_lot::RwLock;

/// The most keys with one start that are tried one by one.
pub(crate) const MOST_CANDIDATES: usize = 4;

/// The imported keys of one project.
#[derive(Debug, Default)]
pub(super) struct ImportedIndex {
    by_sha256: HashMap<[u8; 32], KeyId>,
    by_sha512: HashMap<[u8; 64], KeyId>,
    by_hmac: HashMap<[u8; 32], KeyId>,
    /// Salted hashes cannot be looked up: their keys are found by how they begin.
    by_start: RwLock<StdHashMap<Box<str>, Vec<KeyId>>>,
    known: AtomicUsize,
}

/// What the text of a foreign key leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This key, by its whole text.
    Key(KeyId),
    /// Perhaps one of these: their hashes are slow to try.
    Perhaps(Vec<KeyId>),
    /// Nothing.
    Nothing,
}

impl ImportedIndex {
    pub(super) fn put(&self, id: KeyId, digest: &KeyDigest, imported: &Imported) {
        self.known.fetch_add(1, Ordering::Release);
        match (&imported.hash, digest) {
            (None, KeyDigest::Sha256(hash)) | (Some(ForeignHash::Sha256(hash)), _) => {
                self.by_sha256.pin().insert(*hash, id);
            }
            // With a pepper the digest is no plain hash: it is looked up like another's HMAC.
            (None, KeyDigest::Peppered(hash)) | (Some(ForeignHash::HmacSha256(hash)), _) => {
                self.by_hmac.pin().insert(*hash, id);
            }
            (Some(ForeignHash::Sha512(hash)), _) => {
                self.by_sha512.pin().insert(**hash, id);
            }
            (Some(ForeignHash::Bcrypt(_) | ForeignHash::Argon2(_)), _) => {
                let Some(start) = &imported.start else { return };
                let mut by_start = self.by_start.write();
                let ids = by_start.entry(start.clone()).or_default();
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            (None, KeyDigest::Foreign) => {}
        }
    }

    /// Takes a key out that is gone, or that is about to be put in anew.
    pub(super) fn forget(&self, id: KeyId, digest: &KeyDigest, imported: &Imported) {
        let is_its = |found: &KeyId| *found == id;
        match (&imported.hash, digest) {
            (None, KeyDigest::Sha256(hash)) | (Some(ForeignHash::Sha256(hash)), _) => {
                let _ = self.by_sha256.pin().remove_if(hash, |_, found| is_its(found));
            }
            (None, KeyDigest::Peppered(hash)) | (Some(ForeignHash::HmacSha256(hash)), _) => {
                let _ = self.by_hmac.pin().remove_if(hash, |_, found| is_its(found));
            }
            (Some(ForeignHash::Sha512(hash)), _) => {
                let _ = self.by_sha512.pin().remove_if(&**hash, |_, found| is_its(found));
            }
            (Some(ForeignHash::Bcrypt(_) | ForeignHash::Argon2(_)), _) => {
                let Some(start) = &imported.start else { return };
                let mut by_start = self.by_start.write();
                if let Some(ids) = by_start.get_mut(start) {
                    ids.retain(|known| *known != id);
                    if ids.is_empty() {
                        by_start.remove(start);
                    }
                }
            }
            (None, KeyDigest::Foreign) => {}
        }
    }

    /// Looks the text up under every kind of hash that a key here has.
    pub(super) fn find(
        &self,
        text: &str,
        peppered: Option<[u8; 32]>,
        hmac: Option<&HmacSecret>,
    ) -> Found {
        let hashes = [peppered, hmac.map(|secret| secret.hash(text))];
        if let Some(id) = self.by_digest(text, &hashes) {
            return Found::Key(id);
        }
        let starts = (4..=32.min(text.len())).filter_map(|length| text.get(..length));
        let ids: Vec<KeyId> = {
            let by_start = self.by_start.read();
            starts.filter_map(|start| by_start.get(start)).flatten().copied().collect()
        };
        if !ids.is_empty() {
            return Found::Perhaps(ids);
        }
        // It may have been recognised between the two looks.
        self.by_digest(text, &hashes).map_or(Found::Nothing, Found::Key)
    }

    fn by_digest(&self, text: &str, hashes: &[Option<[u8; 32]>]) -> Option<KeyId> {
        if let Some(id) = self.by_sha256.pin().get(&sha256(text)) {
            return Some(*id);
        }
        for hash in hashes.iter().flatten() {
            if let Some(id) = self.by_hmac.pin().get(hash) {
                return Some(*id);
            }
        }
        if self.by_sha512.is_empty() {
            return None;
        }
        self.by_sha512.pin().get(&sha512(text)).copied()
    }

    /// The keys with a salted hash that begin so.
    pub(super) fn candidates(&self, start: &str) -> Vec<KeyId> {
        self.by_start.read().get(start).cloned().unwrap_or_default()
    }

    /// Whether a key with this very hash is here. Salted hashes of one key differ each time.
    pub(super) fn has(&self, hash: &ForeignHash) -> bool {
        match hash {
            ForeignHash::Sha256(hash) => self.by_sha256.pin().contains_key(hash),
            ForeignHash::Sha512(hash) => self.by_sha512.pin().contains_key(&**hash),
            ForeignHash::HmacSha256(hash) => self.by_hmac.pin().contains_key(hash),
            ForeignHash::Bcrypt(_) | ForeignHash::Argon2(_) => false,
        }
    }

    /// Whether there was ever a key here.
    pub(super) fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire) > 0
    }

    /// How many keys with a salted hash begin so.
    pub(super) fn with_start(&self, start: &str) -> usize {
        self.by_start.read().get(start).map_or(0, Vec::len)
    }
}
