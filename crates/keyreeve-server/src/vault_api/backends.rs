//! `sys/keyreeve/backends`: other stores that hold secrets of this vault.

use axum::body::Body;
use http::Response;
use keyreeve_engine::{Caller, RequestId, action::ManageVault, vault::BackendStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Refusal, data},
    request::VaultRequest,
};
use crate::{api::AppState, problem::Failure};

/// How they do.
pub(super) async fn list(
    state: &AppState,
    caller: &Caller,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let permit = state.engine.authorize::<ManageVault>(caller).await.map_err(Failure::from)?;
    let backends: Vec<Value> = state.engine.backends(&permit)?.iter().map(view).collect();
    Ok(data(id, json!({ "backends": backends })))
}

#[derive(Default, Deserialize)]
struct SyncBody {
    #[serde(default)]
    overwrite: bool,
}

/// Gives one of them what it lacks.
pub(super) async fn sync(
    state: &AppState,
    caller: &Caller,
    request: &VaultRequest,
    name: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let permit = state.engine.authorize::<ManageVault>(caller).await.map_err(Failure::from)?;
    let SyncBody { overwrite } =
        if request.body.is_empty() { SyncBody::default() } else { request.json()? };
    let synced = state.engine.sync_now(&permit, name, overwrite).await?;
    let synced = synced.ok_or_else(Refusal::nothing)?;
    let answer = json!({
        "written": synced.written,
        "deleted": synced.deleted,
        "failed": synced.failed,
        "more": synced.more,
    });
    Ok(data(id, answer))
}

fn view(status: &BackendStatus) -> Value {
    let faults = status.faults.iter();
    let faults = faults.map(|fault| json!({ "path": fault.path, "why": fault.why }));
    json!({
        "name": status.name,
        "kind": status.kind,
        "mode": status.mode,
        "folder": status.folder,
        "remote_folder": status.remote_folder,
        "secrets": status.secrets,
        "oldest": status.oldest.map(|at| at.to_string()),
        "reached_at": status.reached_at.map(|at| at.to_string()),
        "failing_since": status.failure.as_ref().map(|(at, _)| at.to_string()),
        "failure": status.failure.as_ref().map(|(_, why)| why),
        "faults": faults.collect::<Vec<_>>(),
    })
}
