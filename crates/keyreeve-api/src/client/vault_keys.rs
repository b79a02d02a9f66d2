//! The calls that open and seal the vault and change its keys.

use reqwest::{Method, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Client, ClientError};

/// Whether the vault is open, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SealStatusView {
    /// Whether there is a vault.
    pub initialized: bool,
    /// Whether it is closed.
    pub sealed: bool,
    /// What its root key comes from: `key`, `passphrase` or `shares`.
    #[serde(rename(deserialize = "keyreeve_seal"))]
    pub seal: String,
    /// How many shares are needed.
    #[serde(rename(deserialize = "t"))]
    pub threshold: u8,
    /// How many shares there are.
    #[serde(rename(deserialize = "n"))]
    pub shares: u8,
    /// How many were given.
    pub progress: u8,
}

/// Which key everything is sealed under.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct VaultKeyView {
    /// The number of the key that is sealed under.
    pub term: u32,
    /// How many keys there are.
    pub keys: usize,
    /// When the newest was made.
    pub install_time: Option<String>,
    /// Whether something is still under an older one.
    pub rewrapping: bool,
}

/// What the root key is to come from. Does not print.
#[derive(Default, Serialize)]
pub struct Rekey<'r> {
    /// The new root key, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'r str>,
    /// The new passphrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<&'r str>,
    /// How many shares the key was split into; 0 if it was not.
    pub secret_shares: u8,
    /// How many are needed.
    pub secret_threshold: u8,
}

/// How another store does that holds secrets of the vault.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct BackendView {
    /// What the settings call it.
    pub name: String,
    /// The tenant.
    pub project: String,
    /// What kind of store it is.
    pub kind: String,
    /// `read-through` or `sync`.
    pub mode: String,
    /// The folder in the vault.
    pub folder: String,
    /// The same folder there.
    pub remote_folder: String,
    /// Secrets that both have.
    pub secrets: u64,
    /// When the oldest of these was last seen to be the same.
    pub oldest: Option<String>,
    /// When the node that was asked last reached it.
    pub reached_at: Option<String>,
    /// Since when it cannot be reached.
    pub failing_since: Option<String>,
    /// Why.
    pub failure: Option<String>,
    /// How many secrets it did not take.
    pub fault_count: u64,
    /// The first of them.
    pub faults: Vec<BackendFaultView>,
}

/// A secret that another store did not take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct BackendFaultView {
    /// Where it is in the vault.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What a store was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct SyncedView {
    /// Secrets that were written.
    pub written: u64,
    /// Secrets that were deleted there.
    pub deleted: u64,
    /// Secrets that it did not take.
    pub failed: u64,
    /// Whether something has to be tried again.
    pub put_off: bool,
    /// Where the next call goes on; `None` at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct Backends {
    backends: Vec<BackendView>,
}

#[derive(Serialize)]
struct Unseal<'k> {
    key: &'k str,
    reset: bool,
}

impl Client {
    fn sys(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_below(method, &[&["v1", "sys"], path].concat())
    }

    /// Whether the vault is open. Needs no key.
    pub async fn seal_status(&self) -> Result<SealStatusView, ClientError> {
        self.vault_plain(self.sys(Method::GET, &["seal-status"])).await
    }

    /// Gives the root key, the passphrase or a share.
    pub async fn unseal(&self, key: &str) -> Result<SealStatusView, ClientError> {
        let body = Unseal { key, reset: false };
        self.vault_plain(self.sys(Method::PUT, &["unseal"]).json(&body)).await
    }

    /// Forgets the shares that were given.
    pub async fn reset_unseal(&self) -> Result<SealStatusView, ClientError> {
        let body = Unseal { key: "", reset: true };
        self.vault_plain(self.sys(Method::PUT, &["unseal"]).json(&body)).await
    }

    /// Forgets the keys on the node that is asked.
    pub async fn seal(&self) -> Result<(), ClientError> {
        self.vault_answer::<Value>(self.sys(Method::PUT, &["seal"])).await.map(drop)
    }

    /// Makes a new key over everything.
    pub async fn rotate_vault_key(&self) -> Result<(), ClientError> {
        self.vault_answer::<Value>(self.sys(Method::PUT, &["rotate"])).await.map(drop)
    }

    /// Which key everything is sealed under.
    pub async fn vault_key(&self) -> Result<Option<VaultKeyView>, ClientError> {
        self.vault_answer(self.sys(Method::GET, &["key-status"])).await
    }

    /// How other stores do that hold secrets of the vault.
    pub async fn backends(&self) -> Result<Vec<BackendView>, ClientError> {
        let request = self.sys(Method::GET, &["keyreeve", "backends"]);
        let found: Option<Backends> = self.vault_answer(request).await?;
        Ok(found.map(|found| found.backends).unwrap_or_default())
    }

    /// Gives one of them some of what it lacks, behind what the call before gave as next; `None` if there is
    /// none of that name.
    pub async fn sync_backend(
        &self,
        name: &str,
        overwrite: bool,
        after: Option<&str>,
    ) -> Result<Option<SyncedView>, ClientError> {
        let request = self.sys(Method::POST, &["keyreeve", "backends", name, "sync"]);
        self.vault_answer(request.json(&json!({ "overwrite": overwrite, "after": after }))).await
    }

    /// Changes what the root key comes from.
    pub async fn rekey(&self, new: &Rekey<'_>) -> Result<(), ClientError> {
        let request = self.sys(Method::PUT, &["keyreeve", "rekey"]).json(new);
        self.vault_answer::<Value>(request).await.map(drop)
    }
}
