//! `auth/token/…`: the caller's own token, which is an API key.

use axum::body::Body;
use http::Response;
use keyreeve_engine::{Caller, RequestId};
use serde_json::{Value, json};

use super::{
    answer::{Envelope, Refusal, data},
    request::VaultRequest,
};
use crate::api::AppState;

struct Standing {
    accessor: String,
    display_name: String,
    created_s: i64,
    created: String,
    expires: Value,
    ttl_s: i64,
    policies: Value,
}

async fn standing(state: &AppState, caller: &Caller) -> Result<Standing, Refusal> {
    let engine = &state.engine;
    let now = engine.now();
    let policies = json!(engine.policy_names(caller));
    let Some(key) = engine.own_key(caller).await.map_err(crate::problem::Failure::from)? else {
        return Ok(Standing {
            accessor: String::new(),
            display_name: caller.actor().to_string(),
            created_s: 0,
            created: now.to_string(),
            expires: Value::Null,
            ttl_s: 0,
            policies,
        });
    };
    let ttl_s = key.expires_at.map_or(0, |at| (at.as_second() - now.as_second()).max(0));
    Ok(Standing {
        accessor: key.id.to_string(),
        display_name: key.name.to_string(),
        created_s: key.created_at.as_second(),
        created: key.created_at.to_string(),
        expires: key.expires_at.map_or(Value::Null, |at| json!(at.to_string())),
        ttl_s,
        policies,
    })
}

pub(super) async fn lookup_self(
    state: &AppState,
    caller: &Caller,
    request: &VaultRequest,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let it = standing(state, caller).await?;
    let answer = json!({
        "accessor": it.accessor,
        "creation_time": it.created_s,
        "creation_ttl": it.ttl_s,
        "display_name": it.display_name,
        "entity_id": "",
        "expire_time": it.expires,
        "explicit_max_ttl": 0,
        "id": request.token(),
        "issue_time": it.created,
        "meta": null,
        "num_uses": 0,
        "orphan": true,
        "path": "auth/token/create",
        "policies": it.policies,
        "renewable": false,
        "ttl": it.ttl_s,
        "type": "service",
    });
    Ok(data(id, answer))
}

/// An API key is not renewed: it is answered as it stands.
pub(super) async fn renew_self(
    state: &AppState,
    caller: &Caller,
    request: &VaultRequest,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let it = standing(state, caller).await?;
    let auth = json!({
        "client_token": request.token(),
        "accessor": it.accessor,
        "policies": it.policies,
        "token_policies": it.policies,
        "metadata": null,
        "lease_duration": it.ttl_s,
        "renewable": false,
        "entity_id": "",
        "token_type": "service",
        "orphan": true,
        "mfa_requirement": null,
        "num_uses": 0,
    });
    Ok(Envelope { auth, ..Envelope::default() }.respond(id))
}
