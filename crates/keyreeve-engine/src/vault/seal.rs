//! What the root key comes from, and what is done with it: opening, sealing, changing it.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use keyreeve_core::{
    Invalid, Secret,
    audit::{Actor, AuditEntry, Outcome, Target},
    name::ProjectName,
    vault::{PassphraseParameters, RootKey, Share, ShareCounts, check_passphrase, combine},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use tokio::sync::Semaphore;

use super::{VaultError, VaultState};
use crate::{Engine, FieldError, Permit, RequestMeta, action::ManageVault};

/// What the root key comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Seal {
    /// A key that is kept somewhere: in a file, the environment, a credential of systemd.
    #[default]
    Key,
    /// A passphrase that people know.
    Passphrase {
        /// How it becomes a key.
        parameters: PassphraseParameters,
    },
    /// Shares that several people have.
    Shares {
        /// How many there are.
        shares: u8,
        /// How many are needed.
        threshold: u8,
    },
}

impl Seal {
    /// As people call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Passphrase { .. } => "passphrase",
            Self::Shares { .. } => "shares",
        }
    }
}

/// What opens the vault.
#[derive(Debug)]
pub enum Unlock {
    /// The root key itself.
    Key(RootKey),
    /// The passphrase that it comes from.
    Passphrase(Secret<String>),
}

/// What the root key is to come from.
#[derive(Debug)]
pub enum NewRoot {
    /// This key, which is kept somewhere.
    Key(RootKey),
    /// This passphrase.
    Passphrase(Secret<String>),
    /// This key, which was split into shares.
    Shares(RootKey, ShareCounts),
}

/// How far opening by shares has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnsealProgress {
    /// Shares that were given.
    pub given: u8,
}

/// Shares that were given so far, and who derives a key at present.
#[derive(Debug)]
pub(super) struct Unsealing {
    shares: Mutex<BTreeMap<u8, Share>>,
    /// A derivation takes 64 MiB and a good part of a second, and everybody may ask for one.
    derivations: Arc<Semaphore>,
    /// One opens, seals or changes keys at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Default for Unsealing {
    fn default() -> Self {
        Self {
            shares: Mutex::default(),
            derivations: Arc::new(Semaphore::new(1)),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

fn refused(rule: Invalid) -> VaultError {
    VaultError::Invalid(FieldError::new("key", rule))
}

impl Engine {
    /// What the root key comes from; `None` while there is no vault.
    pub fn vault_seal(&self) -> Option<Seal> {
        self.stored_keyring().ok().flatten().map(|found| found.stored.seal)
    }

    /// How far opening by shares has come.
    pub fn unseal_progress(&self) -> UnsealProgress {
        let given = self.vault.unsealing.shares.lock().len();
        UnsealProgress { given: u8::try_from(given).unwrap_or(u8::MAX) }
    }

    /// Forgets the shares that were given.
    pub fn reset_unseal(&self) {
        self.vault.unsealing.shares.lock().clear();
    }

    /// Opens a sealed vault with what its root key comes from: the key in base64, the passphrase, or one
    /// share after the other. Whoever has that may do this; it is recorded.
    pub async fn unseal(&self, text: Secret<String>, meta: RequestMeta) -> Result<(), VaultError> {
        let Some(found) = self.stored_keyring()? else {
            return Err(refused(Invalid::new("opens nothing: there is no vault yet")));
        };
        if matches!(self.vault_state(), VaultState::Open { .. }) {
            return Ok(());
        }
        let seal = found.stored.seal.clone();
        let root = match self.root_given(text, &seal).await {
            Ok(Some(root)) => root,
            Ok(None) => return Ok(()),
            // Nothing was tried: somebody else is being served.
            Err(VaultError::Busy) => return Err(VaultError::Busy),
            Err(error) => {
                self.record_unseal(Outcome::Denied, &seal, meta).await?;
                return Err(error);
            }
        };
        let _turn = self.vault.unsealing.turn.lock().await;
        let Some(found) = self.stored_keyring()? else { return Err(VaultError::Sealed) };
        if matches!(self.vault_state(), VaultState::Open { .. }) {
            return Ok(());
        }
        if let Err(error) = found.stored.open(&root) {
            self.record_unseal(Outcome::Denied, &seal, meta).await?;
            return Err(error);
        }
        // What cannot be recorded is not done.
        self.record_unseal(Outcome::Done, &seal, meta).await?;
        self.load(root, &found)
    }

    /// The root key that was given; `None` while shares are lacking.
    async fn root_given(
        &self,
        text: Secret<String>,
        seal: &Seal,
    ) -> Result<Option<RootKey>, VaultError> {
        let unlock = match *seal {
            Seal::Key => Unlock::Key(parse_root_key(&text).map_err(refused)?),
            Seal::Passphrase { .. } => Unlock::Passphrase(text),
            Seal::Shares { shares, threshold } => {
                match self.take_share(&text, shares, threshold).map_err(refused)? {
                    Some(root) => Unlock::Key(root),
                    None => return Ok(None),
                }
            }
        };
        self.root_key(&unlock, seal).await.map(Some)
    }

    async fn record_unseal(
        &self,
        outcome: Outcome,
        seal: &Seal,
        meta: RequestMeta,
    ) -> Result<(), VaultError> {
        let mut entry = self.seal_entry("vault.unseal", outcome, seal);
        entry.actor = Actor::Anonymous;
        entry.request = Some(meta.origin());
        self.begin(&ProjectName::default_project()).commit(entry).await?;
        Ok(())
    }

    /// Keeps a share; gives the key once there are enough of them.
    fn take_share(
        &self,
        text: &Secret<String>,
        shares: u8,
        threshold: u8,
    ) -> Result<Option<RootKey>, Invalid> {
        // EXPOSE: read as a share.
        let share: Share = text.expose().parse()?;
        if share.threshold() != threshold || share.number() > shares {
            return Err(Invalid::new("is a share of another splitting"));
        }
        let mut shares = self.vault.unsealing.shares.lock();
        if shares.values().next().is_some_and(|first| !first.belongs_with(&share)) {
            return Err(Invalid::new("is a share of another splitting; reset and begin again"));
        }
        let threshold = usize::from(share.threshold());
        shares.insert(share.number(), share);
        if shares.len() < threshold {
            return Ok(None);
        }
        // Right or wrong: whoever has to try again begins anew.
        let enough: Vec<Share> = std::mem::take(&mut *shares).into_values().collect();
        combine(&enough).map(Some)
    }

    /// The root key that this gives.
    pub(super) async fn root_key(
        &self,
        unlock: &Unlock,
        seal: &Seal,
    ) -> Result<RootKey, VaultError> {
        let wrong = || VaultError::OtherSeal { seal: seal.kind() };
        match (unlock, seal) {
            (Unlock::Key(key), Seal::Key | Seal::Shares { .. }) => {
                // EXPOSE: kept for as long as the vault is open.
                Ok(RootKey::new(Secret::new(*key.bytes().expose())))
            }
            (Unlock::Passphrase(passphrase), Seal::Passphrase { parameters }) => {
                self.derive(passphrase, parameters.clone()).await
            }
            _ => Err(wrong()),
        }
    }

    async fn derive(
        &self,
        passphrase: &Secret<String>,
        parameters: PassphraseParameters,
    ) -> Result<RootKey, VaultError> {
        let derivations = self.vault.unsealing.derivations.clone();
        let Ok(turn) = derivations.try_acquire_owned() else {
            return Err(VaultError::Busy);
        };
        // EXPOSE: copied for the thread that derives.
        let passphrase = Secret::new(passphrase.expose().clone());
        let derived = tokio::task::spawn_blocking(move || {
            let key = parameters.root_key(&passphrase);
            drop(turn);
            key
        });
        derived.await.map_err(|_| VaultError::Busy)?.map_err(refused)
    }

    /// What a new vault's root key comes from.
    pub(super) fn new_seal(&self, unlock: &Unlock) -> Result<Seal, VaultError> {
        Ok(match unlock {
            Unlock::Key(_) => Seal::Key,
            Unlock::Passphrase(passphrase) => {
                check_passphrase(passphrase).map_err(|rule| {
                    VaultError::Invalid(FieldError::new("vault.passphrase", rule))
                })?;
                let parameters = PassphraseParameters::new(self.entropy.bytes()?);
                Seal::Passphrase { parameters }
            }
        })
    }

    /// Forgets the keys on this node. Nothing can be read or written here until the vault is opened
    /// again.
    pub async fn seal_vault(&self, permit: &Permit<'_, ManageVault>) -> Result<(), VaultError> {
        let mut entry = permit.entry(self.now(), Target::new("vault", "keyring"));
        entry.action = "vault.seal".into();
        let _turn = self.vault.unsealing.turn.lock().await;
        self.begin(permit.project()).commit(entry).await?;
        self.vault.opened.store(None);
        self.reset_unseal();
        Ok(())
    }

    /// Makes a new key, which everything is sealed under from now on. Gives its number.
    pub async fn rotate_vault_key(
        &self,
        permit: &Permit<'_, ManageVault>,
    ) -> Result<u32, VaultError> {
        let mut entry = permit.entry(self.now(), Target::new("vault", "keyring"));
        entry.action = "vault.rotate_key".into();
        let _turn = self.vault.unsealing.turn.lock().await;
        self.add_key(entry).await
    }

    /// Changes the root key. Secrets stay as they are: only the keys over them are wrapped anew.
    pub async fn rekey_vault(
        &self,
        permit: &Permit<'_, ManageVault>,
        new: NewRoot,
    ) -> Result<(), VaultError> {
        let (root, seal) = match new {
            NewRoot::Key(root) => (root, Seal::Key),
            NewRoot::Shares(root, counts) => {
                let (shares, threshold) = (counts.shares(), counts.threshold());
                (root, Seal::Shares { shares, threshold })
            }
            NewRoot::Passphrase(passphrase) => {
                check_passphrase(&passphrase)
                    .map_err(|rule| VaultError::Invalid(FieldError::new("passphrase", rule)))?;
                let parameters = PassphraseParameters::new(self.entropy.bytes()?);
                let root = self.derive(&passphrase, parameters.clone()).await?;
                (root, Seal::Passphrase { parameters })
            }
        };
        let mut entry = permit.entry(self.now(), Target::new("vault", "keyring"));
        entry.action = "vault.rekey".into();
        entry.details.insert("seal".to_owned(), json!(seal.kind()));
        let _turn = self.vault.unsealing.turn.lock().await;
        self.change_root(root, seal, entry).await
    }

    fn seal_entry(&self, action: &'static str, outcome: Outcome, seal: &Seal) -> AuditEntry {
        let project = ProjectName::default_project();
        let details = Map::from_iter([("seal".to_owned(), json!(seal.kind()))]);
        let mut entry = self.system_entry(&project, "vault", action, details);
        entry.target = Target::new("vault", "keyring");
        entry.outcome = outcome;
        entry
    }
}

/// A root key as it stands in files and variables: 32 bytes in base64, with or without a label.
pub fn parse_root_key(text: &Secret<String>) -> Result<RootKey, Invalid> {
    // EXPOSE: read as a key.
    let text = text.expose().trim();
    let text = text.strip_prefix(ROOT_KEY_LABEL).unwrap_or(text);
    let not_a_key = || Invalid::new("must be 32 bytes in base64");
    let decoded = Secret::new(BASE64_STANDARD.decode(text).map_err(|_| not_a_key())?);
    // EXPOSE: copied into a key.
    let key = <[u8; 32]>::try_from(decoded.expose().as_slice()).map_err(|_| not_a_key())?;
    Ok(RootKey::new(Secret::new(key)))
}

/// What stands before a root key in a file, so that nobody takes it for anything else.
pub const ROOT_KEY_LABEL: &str = "keyreeve-root-key:1:";
