//! `sys/keyreeve/backends`: other stores that hold secrets of this vault.

use std::time::Duration;

use axum::body::Body;
use http::Response;
use keyreeve_engine::{
    Caller, RequestId,
    action::ManageVault,
    vault::{BackendStatus, SyncNow},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Refusal, data},
    request::VaultRequest,
};
use crate::{api::AppState, problem::Failure};

/// For how long a node has the duty to give before each secret: longer than its calls can take.
const DUTY: Duration = Duration::from_mins(5);

/// How they do.
pub(super) async fn list(
    state: &AppState,
    caller: &Caller,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let permit = state.engine.authorize::<ManageVault>(caller).await.map_err(Failure::from)?;
    let backends: Vec<Value> = state.engine.backends(&permit).await?.iter().map(view).collect();
    Ok(data(id, json!({ "backends": backends })))
}

#[derive(Default, Deserialize)]
struct SyncBody {
    #[serde(default)]
    overwrite: bool,
    /// Where the call before left off.
    #[serde(default)]
    after: Option<String>,
}

/// Gives one of them some of what it lacks, and says where to go on.
pub(super) async fn sync(
    state: &AppState,
    caller: &Caller,
    request: &VaultRequest,
    name: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let permit = state.engine.authorize::<ManageVault>(caller).await.map_err(Failure::from)?;
    let SyncBody { overwrite, after } =
        if request.body.is_empty() { SyncBody::default() } else { request.json()? };
    let synced = state.engine.sync_now(&permit, name, SyncNow { overwrite, after }, DUTY).await?;
    let synced = synced.ok_or_else(Refusal::nothing)?;
    let answer = json!({
        "written": synced.written,
        "deleted": synced.deleted,
        "failed": synced.failed,
        "put_off": synced.put_off,
        "next": synced.next,
    });
    Ok(data(id, answer))
}

fn view(status: &BackendStatus) -> Value {
    let faults = status.faults.iter();
    let faults = faults.map(|fault| json!({ "path": fault.path, "why": fault.why }));
    json!({
        "name": status.name,
        "project": status.project.as_str(),
        "kind": status.kind,
        "mode": status.mode,
        "folder": status.folder,
        "remote_folder": status.remote_folder,
        "secrets": status.secrets,
        "oldest": status.oldest.map(|at| at.to_string()),
        "reached_at": status.reached_at.map(|at| at.to_string()),
        "failing_since": status.failure.as_ref().map(|(at, _)| at.to_string()),
        "failure": status.failure.as_ref().map(|(_, why)| why),
        "fault_count": status.fault_count,
        "faults": faults.collect::<Vec<_>>(),
    })
}
