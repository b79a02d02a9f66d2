//! `sys/…`: what clients ask before they do anything.

use axum::body::Body;
use http::{Response, StatusCode};
use keyreeve_core::vault::Capability;
use keyreeve_engine::{
    Engine, RequestId,
    vault::{VaultAccess, VaultState},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    MOUNT,
    answer::{Refusal, data, plain, spread},
    request::VaultRequest,
    seal,
};
use crate::api::AppState;

/// What clients see as the server's version: that of the API that is spoken.
const VERSION: &str = "2.7.2";

fn statuses(state: &AppState) -> (bool, bool) {
    match state.engine.vault_state() {
        VaultState::New => (false, true),
        VaultState::Sealed => (true, true),
        VaultState::Open { .. } => (true, false),
    }
}

/// The state as a status. A client may choose other statuses.
pub(super) fn health(state: &AppState, request: &VaultRequest) -> Result<Response<Body>, Refusal> {
    let (initialized, sealed) = statuses(state);
    let (parameter, usual) = match (initialized, sealed) {
        (false, _) => ("uninitcode", 501),
        (true, true) => ("sealedcode", 503),
        (true, false) => ("activecode", 200),
    };
    let status = match request.query(parameter) {
        None => usual,
        Some(text) => text
            .parse()
            .ok()
            .filter(|status| (100..1000).contains(status))
            .ok_or_else(|| Refusal::bad_request(format!("{parameter} must be a status")))?,
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let body = json!({
        "initialized": initialized,
        "sealed": sealed,
        "standby": false,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": state.engine.now().as_second(),
        "version": VERSION,
        "cluster_name": "keyreeve",
        "cluster_id": "",
    });
    Ok(plain(status, &body))
}

pub(super) fn seal_status(state: &AppState) -> Response<Body> {
    let (initialized, sealed) = statuses(state);
    let seal = state.engine.vault_seal();
    let (shares, threshold) = seal::shares(seal.as_ref());
    let body = json!({
        "type": "shamir",
        "keyreeve_seal": seal::kind(seal.as_ref()),
        "initialized": initialized,
        "sealed": sealed,
        "t": threshold,
        "n": shares,
        "progress": state.engine.unseal_progress().given,
        "nonce": "",
        "version": VERSION,
        "build_date": "",
        "migration": false,
        "cluster_name": "keyreeve",
        "cluster_id": "",
        "recovery_seal": false,
        "storage_type": "keyreeve",
    });
    plain(StatusCode::OK, &body)
}

pub(super) fn leader() -> Response<Body> {
    plain(StatusCode::OK, &json!({ "ha_enabled": false }))
}

pub(super) fn init(state: &AppState) -> Response<Body> {
    plain(StatusCode::OK, &json!({ "initialized": statuses(state).0 }))
}

fn kv_mount() -> Value {
    json!({
        "accessor": "kv_keyreeve",
        "config": {
            "default_lease_ttl": 0,
            "force_no_cache": false,
            "max_lease_ttl": 0,
        },
        "description": "secrets",
        "external_entropy_access": false,
        "local": false,
        "options": { "version": "2" },
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": false,
        "type": "kv",
        "uuid": "",
    })
}

fn named(mut mount: Value) -> Value {
    if let Value::Object(members) = &mut mount {
        members.insert("path".to_owned(), json!(format!("{MOUNT}/")));
    }
    mount
}

/// Which mount a path is in. `bao kv` asks this before every other call.
pub(super) fn mount_of(mount: Option<&str>, id: &RequestId) -> Result<Response<Body>, Refusal> {
    match mount {
        None | Some("") => {
            Ok(data(id, json!({ "secret": { format!("{MOUNT}/"): kv_mount() }, "auth": {} })))
        }
        Some(MOUNT) => Ok(data(id, named(kv_mount()))),
        Some(_) => Err(Refusal::bad_request("no such mount: there is one, secret/")),
    }
}

pub(super) fn mounts(id: &RequestId) -> Response<Body> {
    spread(id, json!({ format!("{MOUNT}/"): kv_mount() }))
}

pub(super) fn auth_methods(id: &RequestId) -> Response<Body> {
    let method = json!({
        "accessor": "auth_token_keyreeve",
        "config": {
            "default_lease_ttl": 0,
            "force_no_cache": false,
            "max_lease_ttl": 0,
            "token_type": "default-service",
        },
        "description": "API keys",
        "external_entropy_access": false,
        "local": false,
        "options": null,
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": false,
        "type": "token",
        "uuid": "",
    });
    let mut approle = method.clone();
    if let Value::Object(members) = &mut approle {
        members.insert("accessor".to_owned(), json!("auth_approle_keyreeve"));
        members.insert("description".to_owned(), json!("roles that programs log in as"));
        members.insert("type".to_owned(), json!("approle"));
    }
    spread(id, json!({ "token/": method, "approle/": approle }))
}

/// There are none to configure: everything is always audited.
pub(super) fn audit_devices(id: &RequestId) -> Response<Body> {
    spread(id, json!({}))
}

#[derive(Default, Deserialize)]
struct CapabilitiesBody {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    paths: Vec<String>,
    /// Whose; the asker's if there is none.
    #[serde(default)]
    token: Option<String>,
}

/// What may be done at paths as Vault's clients name them.
pub(super) async fn capabilities(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    of_another: bool,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let body: CapabilitiesBody = request.json()?;
    let another = body.token.filter(|token| of_another && token != request.token());
    let found = match another {
        Some(token) => Some(engine.access_of_token(access, &token).await?),
        None => None,
    };
    let access = found.as_ref().unwrap_or(access);
    let paths: Vec<String> = body.path.into_iter().chain(body.paths).collect();
    if paths.is_empty() || paths.len() > 1_000 {
        return Err(Refusal::bad_request("paths must name 1 to 1000 paths"));
    }
    let mut map = Map::new();
    for path in &paths {
        let names: Vec<_> =
            access.capabilities(logical(path)).iter().map(Capability::as_str).collect();
        let names = if names.is_empty() { vec!["deny"] } else { names };
        map.insert(path.clone(), json!(names));
    }
    if let [only] = paths.as_slice() {
        let names = map.get(only).cloned().unwrap_or_default();
        map.insert("capabilities".to_owned(), names);
    }
    Ok(spread(id, Value::Object(map)))
}

/// The path of a secret in a path of the API: `secret/data/app` is `app`.
fn logical(path: &str) -> &str {
    let inner = path.trim_start_matches('/').strip_prefix("secret/").unwrap_or(path);
    let operations = ["data", "metadata", "delete", "undelete", "destroy"];
    match inner.split_once('/') {
        Some((operation, rest)) if operations.contains(&operation) => rest,
        _ => inner,
    }
}
