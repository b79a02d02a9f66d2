//! The keys over everything: made, loaded, renewed.

use std::{ops::Deref, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use keyreeve_core::{
    Secret,
    audit::{AuditEntry, Target},
    model::Revision,
    name::ProjectName,
    vault::{EnvelopeError, Keyring, KeyringError, RootKey, SealedKey},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use tracing::error;

use super::{Seal, Unlock, Vault, VaultError};
use crate::{
    Engine, Entropy, Error,
    connections::MadeCredentials,
    store::{Change, CommitError, Kind, RecordKind, VaultRecord},
    webhooks::SourceKeys,
};

/// The keyring's id: there is one.
const KEYRING: &str = "keyring";

/// The keys of an open vault.
#[derive(Debug)]
pub(super) struct Opened {
    /// Kept so that keys which another node made can be opened, too. While the root key is changed there
    /// are two.
    roots: Vec<Arc<RootKey>>,
    loaded: ArcSwap<Loaded>,
    /// What connections inject. It goes when the vault is sealed, like everything in clear.
    credentials: MadeCredentials,
    /// What webhooks are verified with.
    source_keys: SourceKeys,
}

impl Opened {
    /// Takes the keys as they are stored; false if no root key opens them.
    fn load(&self, found: &StoredKeyring) -> bool {
        let mut opening = self.roots.iter().map(|root| found.stored.open(root));
        let Some(keyring) = opening.find_map(Result::ok) else { return false };
        self.loaded.store(Arc::new(Loaded { revision: found.revision, keyring }));
        true
    }
}

/// The keys as they were stored at some revision.
#[derive(Debug)]
pub(super) struct Loaded {
    revision: Revision,
    keyring: Keyring,
}

impl Deref for Loaded {
    type Target = Keyring;

    fn deref(&self) -> &Keyring {
        &self.keyring
    }
}

/// Whether the vault can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultState {
    /// It was never opened: there are no keys.
    New,
    /// It has keys, and they are locked.
    Sealed,
    /// It is open.
    Open {
        /// The number of the key that new versions are sealed under.
        key: u32,
        /// How many keys there are.
        keys: usize,
    },
}

/// The keyring as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    /// What the keys belong to.
    pub(super) installation: String,
    /// What the root key comes from.
    #[serde(default)]
    pub(super) seal: Seal,
    keys: Vec<StoredKey>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredKey {
    number: u32,
    created_at: Timestamp,
    /// In base64.
    wrapped: String,
}

impl StoredKey {
    fn new(sealed: &SealedKey, created_at: Timestamp) -> Self {
        let wrapped = BASE64_STANDARD.encode(&sealed.wrapped);
        Self { number: sealed.number, created_at, wrapped }
    }
}

impl Stored {
    fn sealed_keys(&self) -> Result<Vec<SealedKey>, EnvelopeError> {
        let decode = |key: &StoredKey| {
            let wrapped = BASE64_STANDARD.decode(&key.wrapped);
            let wrapped = wrapped.map_err(|_| EnvelopeError::Malformed)?;
            Ok(SealedKey { number: key.number, wrapped })
        };
        self.keys.iter().map(decode).collect()
    }

    /// Opens the keys.
    pub(super) fn open(&self, root: &RootKey) -> Result<Keyring, VaultError> {
        let keys = self.sealed_keys().map_err(tampered)?;
        Keyring::open(root, &self.installation, &keys).map_err(|error| match error {
            KeyringError::Empty | KeyringError::Twice { .. } => tampered(EnvelopeError::Malformed),
            KeyringError::WrongRoot { .. } => VaultError::WrongRoot,
        })
    }
}

pub(super) fn tampered(why: EnvelopeError) -> VaultError {
    VaultError::Tampered { what: "the keyring".to_owned(), why }
}

/// The keys at one moment.
pub(super) type OpenKeyring = Guard<Arc<Loaded>>;

/// What is stored of the keys, and its revision.
pub(super) struct StoredKeyring {
    pub(super) stored: Stored,
    pub(super) revision: Revision,
}

impl Vault {
    /// Looks at what connections inject, while the vault is open.
    pub(crate) fn made_credentials<T>(
        &self,
        look: impl FnOnce(&MadeCredentials) -> T,
    ) -> Option<T> {
        self.opened.load().as_deref().map(|opened| look(&opened.credentials))
    }

    /// Looks at what webhooks are verified with, while the vault is open.
    pub(crate) fn source_keys<T>(&self, look: impl FnOnce(&SourceKeys) -> T) -> Option<T> {
        self.opened.load().as_deref().map(|opened| look(&opened.source_keys))
    }
}

impl Engine {
    /// Whether the vault can be used.
    pub fn vault_state(&self) -> VaultState {
        match self.keyring() {
            Ok(keyring) => {
                VaultState::Open { key: keyring.current(), keys: keyring.numbers().count() }
            }
            Err(_) if self.keyring_record().is_some() => VaultState::Sealed,
            Err(_) => VaultState::New,
        }
    }

    /// Opens the vault; makes its first key if it has none.
    pub async fn open_vault(&self, unlock: Unlock) -> Result<(), VaultError> {
        for _ in 0..2 {
            if let Some(found) = self.stored_keyring()? {
                let root = self.root_key(&unlock, &found.stored.seal).await?;
                return self.load(root, &found);
            }
            if !self.vault.records.is_empty() {
                // Somebody took the keys out of the database: new ones would open nothing of it.
                return Err(tampered(EnvelopeError::Malformed));
            }
            let seal = self.new_seal(&unlock)?;
            let root = self.root_key(&unlock, &seal).await?;
            match self.make_keyring(&root, seal).await {
                // Another node was faster: its keyring is the one that counts.
                Ok(()) => {}
                Err(VaultError::Engine(Error::AlreadyExists(_))) => {
                    self.fetch_keyring().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(CommitError::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Opens what is stored with a root key, and keeps both.
    pub(super) fn load(&self, root: RootKey, found: &StoredKeyring) -> Result<(), VaultError> {
        let keyring = found.stored.open(&root)?;
        self.keep_open(vec![Arc::new(root)], keyring, found.revision);
        Ok(())
    }

    fn keep_open(&self, roots: Vec<Arc<RootKey>>, keyring: Keyring, revision: Revision) {
        let loaded = ArcSwap::from_pointee(Loaded { revision, keyring });
        let opened = Opened {
            roots,
            loaded,
            credentials: MadeCredentials::default(),
            source_keys: SourceKeys::default(),
        };
        self.vault.opened.store(Some(Arc::new(opened)));
    }

    /// The news of a keyring that another node made may not be here yet. Gives whether there were any.
    pub(super) async fn fetch_keyring(&self) -> Result<bool, VaultError> {
        let before = self.vault.records.keyring_revision();
        let project = ProjectName::default_project();
        let stored = self.store.vault_record(&project, RecordKind::Keyring, KEYRING).await?;
        if let Some(record) = stored {
            self.vault.records.put(&project, Arc::new(record));
        }
        Ok(self.vault.records.keyring_revision() > before)
    }

    async fn make_keyring(&self, root: &RootKey, seal: Seal) -> Result<(), VaultError> {
        let installation = self.new_id()?;
        let made = self.new_encryption_key(root, &installation, 1)?;
        let key = StoredKey::new(&made, self.now());
        let stored = Stored { installation, seal, keys: vec![key] };
        let entry = self.keyring_entry("vault.create", 1);
        self.commit_keyring(&stored, 0, entry).await
    }

    fn new_encryption_key(
        &self,
        root: &RootKey,
        installation: &str,
        number: u32,
    ) -> Result<SealedKey, VaultError> {
        let key = Secret::new(self.entropy.bytes::<32>()?);
        root.make_key(installation, number, &key, self.entropy.bytes()?).map_err(tampered)
    }

    fn keyring_entry(&self, action: &'static str, key: u32) -> AuditEntry {
        let details = Map::from_iter([("key".to_owned(), json!(key))]);
        let project = ProjectName::default_project();
        let mut entry = self.system_entry(&project, "vault", action, details);
        entry.target = Target::new("vault", KEYRING);
        entry
    }

    async fn commit_keyring(
        &self,
        stored: &Stored,
        follows: Revision,
        entry: AuditEntry,
    ) -> Result<(), VaultError> {
        let project = ProjectName::default_project();
        let record = VaultRecord {
            kind: RecordKind::Keyring,
            id: KEYRING.into(),
            revision: follows + 1,
            follows,
            // The keys themselves tell whether they were changed.
            key: 0,
            tag: [0; 32],
            body: serde_json::to_string(stored).map_err(|_| tampered(EnvelopeError::Malformed))?,
        };
        let change = Change::PutRecord(Arc::new(record));
        self.begin(&project).with(change).commit(entry).await?;
        Ok(())
    }

    fn keyring_record(&self) -> Option<Arc<VaultRecord>> {
        let project = ProjectName::default_project();
        let known = self.vault.records.get(&project, RecordKind::Keyring, KEYRING)?;
        Some(known.record.clone())
    }

    /// What is stored of the keys.
    pub(super) fn stored_keyring(&self) -> Result<Option<StoredKeyring>, VaultError> {
        let Some(record) = self.keyring_record() else { return Ok(None) };
        let stored =
            serde_json::from_str(&record.body).map_err(|_| tampered(EnvelopeError::Malformed))?;
        Ok(Some(StoredKeyring { stored, revision: record.revision }))
    }

    /// The keys, if the vault is open: as they are stored, whoever changed them last.
    pub(super) fn keyring(&self) -> Result<OpenKeyring, VaultError> {
        let opened = self.vault.opened.load();
        let opened = opened.as_ref().ok_or(VaultError::Sealed)?;
        let loaded = opened.loaded.load();
        if loaded.revision >= self.vault.records.keyring_revision() {
            return Ok(loaded);
        }
        let Some(found) = self.stored_keyring()? else { return Err(VaultError::Sealed) };
        if !opened.load(&found) {
            // The root key was changed on another node, and this one was not told.
            error!(
                "the root key was changed: the vault is sealed here until it is given the new one"
            );
            // Unless somebody has opened it anew meanwhile.
            self.vault.opened.compare_and_swap(opened, None);
            return Err(VaultError::Sealed);
        }
        Ok(opened.loaded.load())
    }

    /// Makes a new key, which everything is sealed under from now on. What is sealed under older ones
    /// follows in the background: [`Engine::rewrap_some`].
    pub(super) async fn add_key(&self, mut entry: AuditEntry) -> Result<u32, VaultError> {
        for _ in 0..4 {
            self.keyring()?;
            let Some(mut found) = self.stored_keyring()? else { return Err(VaultError::Sealed) };
            // Of what is followed, not of what was known before: no number is given twice.
            let highest = found.stored.keys.iter().map(|key| key.number).max();
            let number = highest.unwrap_or(0) + 1;
            let root = self.root_of(&found)?;
            let made = self.new_encryption_key(&root, &found.stored.installation, number)?;
            found.stored.keys.push(StoredKey::new(&made, self.now()));
            entry.details.insert("key".to_owned(), json!(number));
            match self.commit_keyring(&found.stored, found.revision, entry.clone()).await {
                Ok(()) => return Ok(number),
                Err(VaultError::Engine(Error::ChangedMeanwhile(_) | Error::AlreadyExists(_))) => {
                    self.fetch_keyring().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(CommitError::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// The root key that opens what is stored.
    fn root_of(&self, found: &StoredKeyring) -> Result<Arc<RootKey>, VaultError> {
        let opened = self.vault.opened.load();
        let opened = opened.as_ref().ok_or(VaultError::Sealed)?;
        let opens = |root: &&Arc<RootKey>| found.stored.open(root).is_ok();
        opened.roots.iter().find(opens).cloned().ok_or(VaultError::WrongRoot)
    }

    /// Wraps all keys by another root key. Nothing else is written again.
    pub(super) async fn change_root(
        &self,
        root: RootKey,
        seal: Seal,
        entry: AuditEntry,
    ) -> Result<(), VaultError> {
        self.keyring()?;
        let Some(found) = self.stored_keyring()? else { return Err(VaultError::Sealed) };
        let old = self.root_of(&found)?;
        let keyring = found.stored.open(&old)?;
        let installation = found.stored.installation.clone();
        let mut salts = Vec::new();
        for _ in &found.stored.keys {
            salts.push(self.entropy.bytes()?);
        }
        let mut salts = salts.into_iter();
        let wrapped = keyring.rewrap(&root, &installation, || salts.next().unwrap_or_default());
        let created = found.stored.keys.iter().map(|key| key.created_at);
        let wrapped = wrapped.map_err(tampered)?;
        let keys = wrapped.iter().zip(created).map(|(key, at)| StoredKey::new(key, at)).collect();
        let stored = Stored { installation, seal, keys };
        let root = Arc::new(root);
        // Whoever reads between the commit and the last line must find a root key that fits.
        self.keep_open(vec![old.clone(), root.clone()], keyring, found.revision);
        let outcome = self.commit_keyring(&stored, found.revision, entry).await;
        let (roots, revision) = match &outcome {
            Ok(()) => (vec![root], found.revision + 1),
            Err(_) => (vec![old], found.revision),
        };
        if let Some(found) = self.stored_keyring()?
            && let Some(root) = roots.first()
            && let Ok(keyring) = found.stored.open(root)
        {
            self.keep_open(roots, keyring, revision);
        }
        outcome
    }

    /// When the newest key was made.
    pub fn newest_key_made_at(&self) -> Option<Timestamp> {
        let found = self.stored_keyring().ok().flatten()?;
        found.stored.keys.last().map(|key| key.created_at)
    }
}

/// Fresh randomness for one sealing.
pub(super) fn sealing_randomness(
    entropy: &dyn Entropy,
) -> Result<keyreeve_core::vault::SealingRandomness, VaultError> {
    let data_key = Secret::new(entropy.bytes::<32>()?);
    Ok(keyreeve_core::vault::SealingRandomness { data_key, salt: entropy.bytes()? })
}
