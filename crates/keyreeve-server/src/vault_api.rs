//! The Vault API under `/v1`: what clients of OpenBao and Vault speak, so that they work unchanged.
//!
//! Which calls there are and what their answers look like is known from watching OpenBao 2.7 and its
//! clients. One mount, `secret/`, of the kind KV version 2; paths in it are the paths of secrets.

mod answer;
mod duration;
mod kv;
mod policy;
mod request;
mod seal;
mod system;
mod token;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use http::Method;
use keyreeve_api::ErrorCode;
use keyreeve_engine::vault::{VaultAccess, VaultState};

use self::{answer::Refusal, request::VaultRequest};
use crate::{
    api::AppState,
    authenticate::{self, Arrival},
    problem::Failure,
};

/// What all its paths begin with.
pub(crate) const PREFIX: &str = "/v1/";
/// All of them, as the router and the metrics know them.
pub(crate) const ROUTE: &str = "/v1/{*path}";
/// The one mount.
const MOUNT: &str = "secret";

/// Its routes. Paths hold slashes and methods are not only those of HTTP, so they are told apart here
/// and not by the router.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route(ROUTE, any(serve))
}

async fn serve(State(state): State<AppState>, request: Request) -> Response<Body> {
    let arrival = request.extensions().get::<Arrival>().copied();
    let Some(arrival) = arrival else {
        return Failure::new(ErrorCode::Internal).respond(&state.engine.next_request_id());
    };
    let id = arrival.meta.id;
    let answer = match VaultRequest::read(request).await {
        Ok(request) => route(&state, &request, &arrival).await,
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|refusal| refusal.respond(&id))
}

/// Every call, on one page.
async fn route(
    state: &AppState,
    request: &VaultRequest,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    let segments: Vec<&str> = request.path.split('/').collect();
    let read = matches!(request.parts.method, Method::GET | Method::HEAD);
    // Those that need no token and are served while the vault is sealed.
    match segments.as_slice() {
        ["sys", "health"] if read => return system::health(state, request),
        ["sys", "seal-status"] if read => return Ok(system::seal_status(state)),
        ["sys", "leader"] if read => return Ok(system::leader()),
        ["sys", "init"] if read => return Ok(system::init(state)),
        ["sys", "unseal"] if request.writes() => {
            return seal::unseal(state, request, arrival).await;
        }
        _ => {}
    }
    if !matches!(state.engine.vault_state(), VaultState::Open { .. }) {
        return Err(Refusal::sealed());
    }
    let caller = authenticate::caller(&state.engine, &request.parts, arrival).await?;
    let access = state.engine.vault_access(&caller).await?;
    let id = &arrival.meta.id;
    match segments.as_slice() {
        ["sys", "internal", "ui", "mounts", rest @ ..] if read => {
            system::mount_of(rest.first().copied(), id)
        }
        ["sys", "mounts"] if read => Ok(system::mounts(id)),
        ["sys", "auth"] if read => Ok(system::auth_methods(id)),
        ["sys", "audit"] if read => Ok(system::audit_devices(id)),
        ["sys", "capabilities" | "capabilities-self"] if request.writes() => {
            system::capabilities(&access, request, id)
        }
        ["sys", "seal"] if request.writes() => seal::seal(state, &caller).await,
        ["sys", "rotate"] | ["sys", "rotate", "keyring"] if request.writes() => {
            seal::rotate(state, &caller).await
        }
        ["sys", "key-status"] if read => seal::key_status(state, &caller, id).await,
        ["sys", "keyreeve", "rekey"] if request.writes() => {
            seal::rekey(state, &caller, request).await
        }
        ["auth", "token", "lookup-self"] => token::lookup_self(state, &caller, request, id).await,
        ["auth", "token", "renew-self"] if request.writes() => {
            token::renew_self(state, &caller, request, id).await
        }
        ["auth", "token", "revoke-self"] if request.writes() => Err(Refusal::bad_request(
            "this token is an API key; revoke it with `keyreeve key revoke`",
        )),
        ["sys", "policies", "acl"] | ["sys", "policy"] => {
            policy::serve(&state.engine, &caller, request, None, id).await
        }
        ["sys", "policies", "acl", name] | ["sys", "policy", name] => {
            policy::serve(&state.engine, &caller, request, Some(name), id).await
        }
        [MOUNT, rest @ ..] => in_mount(state, &access, request, rest, id).await,
        ["sys" | "auth", ..] | [] => Err(Refusal::unsupported()),
        _ => Err(Refusal::no_mount(&request.path)),
    }
}

async fn in_mount(
    state: &AppState,
    access: &VaultAccess,
    request: &VaultRequest,
    rest: &[&str],
    id: &keyreeve_engine::RequestId,
) -> Result<Response<Body>, Refusal> {
    let engine = &state.engine;
    let method = &request.parts.method;
    let read = *method == Method::GET;
    let Some((operation, path)) = rest.split_first() else { return Err(Refusal::unsupported()) };
    let path = path.join("/");
    match *operation {
        "config" if path.is_empty() && read => kv::config(engine, access, id).await,
        "config" if path.is_empty() && request.writes() => {
            kv::change_config(engine, access, request).await
        }
        "data" if read => kv::read(engine, access, request, &path, id).await,
        "data" if request.writes() => kv::write(engine, access, request, &path, id).await,
        "data" if *method == Method::PATCH => kv::patch(engine, access, request, &path, id).await,
        "data" if *method == Method::DELETE => kv::delete_current(engine, access, &path).await,
        "delete" | "undelete" | "destroy" if request.writes() => {
            kv::change_versions(engine, access, request, operation, &path).await
        }
        "metadata" if request.lists() => kv::list(engine, access, request, &path, id).await,
        "metadata" if read => kv::metadata(engine, access, &path, id).await,
        "metadata" if request.writes() || *method == Method::PATCH => {
            kv::change_metadata(engine, access, request, &path).await
        }
        "metadata" if *method == Method::DELETE => kv::remove(engine, access, &path).await,
        _ => Err(Refusal::unsupported()),
    }
}
