//! `sys/…`: sealing, unsealing, and the keys over everything.

use axum::body::Body;
use http::Response;
use keyreeve_core::{Secret, vault::ShareCounts};
use keyreeve_engine::{
    Caller, RequestId,
    action::ManageVault,
    vault::{NewRoot, Seal, VaultState, parse_root_key},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Refusal, data, done},
    request::VaultRequest,
    system,
};
use crate::{api::AppState, authenticate::Arrival, problem::Failure};

#[derive(Default, Deserialize)]
struct UnsealBody {
    #[serde(default)]
    key: String,
    #[serde(default)]
    reset: bool,
}

/// Takes the root key, the passphrase or a share. Nobody who could open the vault has a token yet, so
/// none is asked for; guesses are bounded as for other callers without one.
pub(super) async fn unseal(
    state: &AppState,
    request: &VaultRequest,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    let engine = &state.engine;
    engine.admit_anonymous(arrival.meta.ip).map_err(Failure::from)?;
    let UnsealBody { key, reset } = request.json()?;
    let key = Secret::new(key);
    if reset {
        engine.reset_unseal();
        return Ok(system::seal_status(state));
    }
    // EXPOSE: asked whether there is any.
    if key.expose().is_empty() {
        return Err(Refusal::bad_request(
            "'key' must be specified in request body as JSON, or 'reset' set to true",
        ));
    }
    engine.unseal(key, arrival.meta).await?;
    Ok(system::seal_status(state))
}

/// Forgets the keys on this node.
pub(super) async fn seal(state: &AppState, caller: &Caller) -> Result<Response<Body>, Refusal> {
    let permit = state.engine.authorize::<ManageVault>(caller).await.map_err(Failure::from)?;
    state.engine.seal_vault(&permit).await?;
    Ok(done())
}

/// Makes a new key over everything.
pub(super) async fn rotate(state: &AppState, caller: &Caller) -> Result<Response<Body>, Refusal> {
    let permit = state.engine.authorize::<ManageVault>(caller).await.map_err(Failure::from)?;
    state.engine.rotate_vault_key(&permit).await?;
    Ok(done())
}

/// Which key everything is sealed under.
pub(super) async fn key_status(
    state: &AppState,
    caller: &Caller,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    state.engine.authorize::<ManageVault>(caller).await.map_err(Failure::from)?;
    let VaultState::Open { key, keys } = state.engine.vault_state() else {
        return Err(Refusal::sealed());
    };
    let answer = json!({
        "term": key,
        "keys": keys,
        "install_time": state.engine.newest_key_made_at().map(|at| at.to_string()),
        "rewrapping": state.engine.rewrap_pending().await?,
        "seal": state.engine.vault_seal().map(|seal| seal.kind()),
    });
    Ok(data(id, answer))
}

#[derive(Default, Deserialize)]
struct RekeyBody {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    passphrase: Option<String>,
    #[serde(default)]
    secret_shares: u8,
    #[serde(default)]
    secret_threshold: u8,
}

/// Changes what the root key comes from. The new one is made by the caller, who so has it in any case.
pub(super) async fn rekey(
    state: &AppState,
    caller: &Caller,
    request: &VaultRequest,
) -> Result<Response<Body>, Refusal> {
    let permit = state.engine.authorize::<ManageVault>(caller).await.map_err(Failure::from)?;
    let body: RekeyBody = request.json()?;
    let shares = (body.secret_shares, body.secret_threshold);
    let key = body.key.map(Secret::new).map(|key| parse_root_key(&key));
    let key = key.transpose().map_err(|rule| Refusal::bad_request(format!("key {rule}")))?;
    let new = match (key, body.passphrase.map(Secret::new), shares) {
        (None, Some(passphrase), (0, 0)) => NewRoot::Passphrase(passphrase),
        (Some(key), None, (0, 0)) => NewRoot::Key(key),
        (Some(key), None, (shares, threshold)) => {
            let counts = ShareCounts::new(shares, threshold)
                .map_err(|rule| Refusal::bad_request(format!("secret_shares {rule}")))?;
            NewRoot::Shares(key, counts)
        }
        _ => return Err(Refusal::bad_request("give either a key or a passphrase")),
    };
    state.engine.rekey_vault(&permit, new).await?;
    Ok(done())
}

/// How many shares there are and are needed; 1 of 1 for whatever is no share.
pub(super) fn shares(seal: Option<&Seal>) -> (u8, u8) {
    match seal {
        Some(Seal::Shares { shares, threshold }) => (*shares, *threshold),
        _ => (1, 1),
    }
}

/// What clients know as the type of a seal, and ours.
pub(super) fn kind(seal: Option<&Seal>) -> Value {
    json!(seal.map_or("key", Seal::kind))
}
