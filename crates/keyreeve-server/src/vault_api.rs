//! The Vault API under `/v1`: what clients of OpenBao and Vault speak, so that they work unchanged.
//!
//! Which calls there are and what their answers look like is known from watching OpenBao 2.7 and its
//! clients. One mount, `secret/`, of the kind KV version 2; paths in it are the paths of secrets.

mod about;
mod answer;
mod approle;
mod backends;
mod duration;
mod kv;
mod policy;
mod request;
mod seal;
mod system;
mod token;
mod visitor;
mod wrapping;

use axum::{body::Body, extract::Request, response::Response};
use http::Method;
use keyreeve_api::ErrorCode;
use keyreeve_engine::RequestId;
use keyreeve_engine::vault::{VaultAccess, VaultState};

use self::{answer::Refusal, request::VaultRequest, visitor::Visitor, wrapping::Wrapper};
use crate::{api::AppState, authenticate::Arrival, problem::Failure};

/// What all its paths begin with.
pub(crate) const PREFIX: &str = "/v1/";
/// All of them, as the log and the metrics know them.
pub(crate) const ROUTE: &str = "/v1/{*path}";
/// The one mount.
const MOUNT: &str = "secret";

/// Answers one call. Paths hold slashes and methods are not only those of HTTP, so they are told apart
/// here and not by the router, where every reading of a secret would pass layers it has no use for.
pub(crate) async fn serve(state: &AppState, request: Request, arrival: &Arrival) -> Response<Body> {
    let id = arrival.meta.id;
    let answer = match VaultRequest::read(request).await {
        Ok(request) => answer(state, &request, arrival).await,
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|refusal| refusal.respond(&id))
}

/// What a call is told that was not answered in time.
pub(crate) fn out_of_time(id: &RequestId) -> Response<Body> {
    Refusal::from(Failure::new(ErrorCode::Timeout)).respond(id)
}

/// The answer, wrapped if that is wanted.
async fn answer(
    state: &AppState,
    request: &VaultRequest,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    let wrapped_for = wrapping::wanted(request)?;
    let mut answer = route(state, request, arrival).await?;
    let wrapper = answer.extensions_mut().remove::<Wrapper>();
    match (wrapped_for, wrapper) {
        (Some(ttl), Some(wrapper)) => {
            wrapping::wrap(&state.engine, &wrapper, request, ttl, answer, arrival).await
        }
        _ => Ok(answer),
    }
}

/// Calls that need no token, then those that need one.
async fn route(
    state: &AppState,
    request: &VaultRequest,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    let engine = &state.engine;
    let segments: Vec<&str> = request.path.split('/').collect();
    let read = matches!(request.parts.method, Method::GET | Method::HEAD);
    // These are served while the vault is sealed, too.
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
    if !matches!(engine.vault_state(), VaultState::Open { .. }) {
        return Err(Refusal::sealed());
    }
    match segments.as_slice() {
        ["auth", "approle", "login"] if request.writes() => {
            return approle::login(engine, request, arrival).await;
        }
        ["sys", "wrapping", call @ ("unwrap" | "lookup")] => {
            return wrapping::open(engine, request, call, arrival).await;
        }
        _ => {}
    }
    let visitor = Visitor::of(engine, request, arrival).await?;
    let mut answer = for_visitor(state, request, &visitor, &segments, &arrival.meta.id).await?;
    answer.extensions_mut().insert(Wrapper::of(&visitor.access));
    Ok(answer)
}

async fn for_visitor(
    state: &AppState,
    request: &VaultRequest,
    visitor: &Visitor,
    segments: &[&str],
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let (engine, access) = (&state.engine, &visitor.access);
    let read = matches!(request.parts.method, Method::GET | Method::HEAD);
    match segments {
        ["sys", "internal", "ui", "mounts", rest @ ..] if read => {
            system::mount_of(rest.first().copied(), id)
        }
        ["sys", "mounts"] if read => Ok(system::mounts(id)),
        ["sys", "auth"] if read => Ok(system::auth_methods(id)),
        ["sys", "audit"] if read => Ok(system::audit_devices(id)),
        ["sys", which @ ("capabilities" | "capabilities-self")] if request.writes() => {
            let of_another = *which == "capabilities";
            system::capabilities(engine, access, request, of_another, id).await
        }
        ["sys", "seal"] if request.writes() => {
            seal::seal(state, visitor.caller(engine, request).await?).await
        }
        ["sys", "rotate"] | ["sys", "rotate", "keyring"] if request.writes() => {
            seal::rotate(state, visitor.caller(engine, request).await?).await
        }
        ["sys", "key-status"] if read => {
            seal::key_status(state, visitor.caller(engine, request).await?, id).await
        }
        ["sys", "keyreeve", "rekey"] if request.writes() => {
            seal::rekey(state, visitor.caller(engine, request).await?, request).await
        }
        ["sys", "keyreeve", "explain"] if request.writes() => {
            about::explain(engine, visitor, request, id).await
        }
        ["sys", "keyreeve", "backends"] if read => {
            backends::list(state, visitor.caller(engine, request).await?, id).await
        }
        ["sys", "keyreeve", "backends", name, "sync"] if request.writes() => {
            let caller = visitor.caller(engine, request).await?;
            backends::sync(state, caller, request, name, id).await
        }
        ["sys", "wrapping", "wrap"] if request.writes() => {
            wrapping::echo(engine, visitor, request, id).await
        }
        ["sys", "policies", "acl"] | ["sys", "policy"] => {
            policy::serve(engine, visitor.caller(engine, request).await?, request, None, id).await
        }
        ["sys", "policies", "acl", name] | ["sys", "policy", name] => {
            policy::serve(engine, visitor.caller(engine, request).await?, request, Some(name), id)
                .await
        }
        ["auth", "token", call @ ..] => token::serve(engine, visitor, request, call, id).await,
        ["auth", "approle", "role", call @ ..] => {
            approle::serve(engine, visitor, request, call, id).await
        }
        [MOUNT, rest @ ..] => in_mount(state, access, request, rest, id).await,
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
        "promote" if request.writes() => about::promote(engine, access, request, &path, id).await,
        "label" if request.writes() => about::label(engine, access, request, &path).await,
        "about" => about::serve(engine, access, request, &path, id).await,
        "metadata" if request.lists() => kv::list(engine, access, request, &path, id).await,
        "metadata" if read => kv::metadata(engine, access, &path, id).await,
        "metadata" if request.writes() || *method == Method::PATCH => {
            kv::change_metadata(engine, access, request, &path).await
        }
        "metadata" if *method == Method::DELETE => kv::remove(engine, access, &path).await,
        _ => Err(Refusal::unsupported()),
    }
}
