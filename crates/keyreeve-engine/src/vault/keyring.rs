//! Opening and sealing the vault, and the keys in between.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use keyreeve_core::{
    Secret,
    audit::Target,
    name::ProjectName,
    vault::{EnvelopeError, Keyring, KeyringError, RootKey, SealedKey},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::VaultError;
use crate::{
    Engine, Entropy, Error,
    store::{Change, CommitError, Kind, RecordKind, VaultRecord},
};

/// The keyring's id: there is one.
const KEYRING: &str = "keyring";

/// The keys of an open vault.
#[derive(Debug)]
pub(super) struct Opened {
    /// Kept so that keys which another node made can be opened, too.
    root: RootKey,
    keyring: ArcSwap<Keyring>,
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
struct Stored {
    /// What the keys belong to.
    installation: String,
    keys: Vec<StoredKey>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredKey {
    number: u32,
    created_at: Timestamp,
    /// In base64.
    wrapped: String,
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

    fn open(&self, root: &RootKey) -> Result<Keyring, VaultError> {
        let keys = self.sealed_keys().map_err(tampered)?;
        Keyring::open(root, &self.installation, &keys).map_err(|error| match error {
            KeyringError::Empty => tampered(EnvelopeError::Malformed),
            KeyringError::WrongRoot { .. } => VaultError::WrongRoot,
        })
    }
}

fn tampered(why: EnvelopeError) -> VaultError {
    VaultError::Tampered { what: "the keyring".to_owned(), why }
}

/// The keys at one moment.
pub(super) type OpenKeyring = Guard<Arc<Keyring>>;

impl Engine {
    /// Whether the vault can be used.
    pub fn vault_state(&self) -> VaultState {
        match &*self.vault.opened.load() {
            Some(opened) => {
                let keyring = opened.keyring.load();
                VaultState::Open { key: keyring.current(), keys: keyring.numbers().count() }
            }
            None if self.stored_keyring().is_some() => VaultState::Sealed,
            None => VaultState::New,
        }
    }

    /// Opens the vault; makes its first key if it has none.
    pub async fn open_vault(&self, root: RootKey) -> Result<(), VaultError> {
        for _ in 0..2 {
            if let Some(record) = self.stored_keyring() {
                let keyring = parse(&record)?.open(&root)?;
                let keyring = ArcSwap::from_pointee(keyring);
                self.vault.opened.store(Some(Arc::new(Opened { root, keyring })));
                return Ok(());
            }
            if !self.vault.records.is_empty() {
                // Somebody took the keys out of the database: new ones would open nothing of it.
                return Err(tampered(EnvelopeError::Malformed));
            }
            match self.make_keyring(&root).await {
                // Another node was faster: its keyring is the one that counts.
                Ok(()) => {}
                Err(VaultError::Engine(Error::AlreadyExists(_))) => {
                    let project = ProjectName::default_project();
                    let kind = RecordKind::Keyring;
                    // The news of it may not be here yet.
                    if let Some(record) = self.store.vault_record(&project, kind, KEYRING).await? {
                        self.vault.records.put(&project, Arc::new(record));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(CommitError::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Forgets the keys. Nothing can be read or written until the vault is opened again.
    pub fn seal_vault(&self) {
        self.vault.opened.store(None);
    }

    async fn make_keyring(&self, root: &RootKey) -> Result<(), VaultError> {
        let installation = self.new_id()?;
        let key = Secret::new(self.entropy.bytes::<32>()?);
        let made =
            root.make_key(&installation, 1, &key, self.entropy.bytes()?).map_err(tampered)?;
        let now = self.now();
        let key = StoredKey {
            number: made.number,
            created_at: now,
            wrapped: BASE64_STANDARD.encode(&made.wrapped),
        };
        let stored = Stored { installation, keys: vec![key] };
        let record = VaultRecord {
            kind: RecordKind::Keyring,
            id: KEYRING.into(),
            revision: 1,
            follows: 0,
            key: 0,
            tag: [0; 32],
            body: serde_json::to_string(&stored).map_err(|_| tampered(EnvelopeError::Malformed))?,
        };
        let project = ProjectName::default_project();
        let mut details = Map::new();
        details.insert("key".to_owned(), json!(1));
        let mut entry = self.system_entry(&project, "vault", "vault.create", details);
        entry.target = Target::new("vault", "keyring");
        let change = Change::PutRecord(Arc::new(record));
        self.begin(&project).with(change).commit(entry).await?;
        Ok(())
    }

    fn stored_keyring(&self) -> Option<Arc<VaultRecord>> {
        let project = ProjectName::default_project();
        let known = self.vault.records.get(&project, RecordKind::Keyring, KEYRING)?;
        Some(known.record.clone())
    }

    /// The keys, if the vault is open.
    pub(super) fn keyring(&self) -> Result<OpenKeyring, VaultError> {
        let opened = self.vault.opened.load();
        let opened = opened.as_ref().ok_or(VaultError::Sealed)?;
        Ok(opened.keyring.load())
    }

    /// The keys, with that one among them: another node may have made it since.
    pub(super) fn keyring_with(&self, number: u32) -> Result<OpenKeyring, VaultError> {
        let keyring = self.keyring()?;
        if keyring.numbers().any(|known| known == number) {
            return Ok(keyring);
        }
        let opened = self.vault.opened.load();
        let opened = opened.as_ref().ok_or(VaultError::Sealed)?;
        if let Some(record) = self.stored_keyring() {
            opened.keyring.store(Arc::new(parse(&record)?.open(&opened.root)?));
        }
        Ok(opened.keyring.load())
    }
}

fn parse(record: &VaultRecord) -> Result<Stored, VaultError> {
    serde_json::from_str(&record.body).map_err(|_| tampered(EnvelopeError::Malformed))
}

/// Fresh randomness for one sealing.
pub(super) fn sealing_randomness(
    entropy: &dyn Entropy,
) -> Result<keyreeve_core::vault::SealingRandomness, VaultError> {
    let data_key = Secret::new(entropy.bytes::<32>()?);
    Ok(keyreeve_core::vault::SealingRandomness { data_key, salt: entropy.bytes()? })
}
