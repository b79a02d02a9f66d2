//! `sys/wrapping/…`, and the header that has any answer wrapped.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use keyreeve_core::{
    Secret,
    audit::Actor,
    name::ProjectName,
    vault::{LONGEST_LIFE, WRAPPING_PREFIX},
};
use keyreeve_engine::{
    Engine, RequestId,
    vault::{VaultAccess, WrappedAnswer},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Envelope, Refusal, data, json_response},
    duration,
    request::VaultRequest,
    visitor::Visitor,
};
use crate::{
    authenticate::{self, Arrival},
    problem::Failure,
};

/// Whose answer it is that is wrapped.
#[derive(Clone, Debug)]
pub(super) struct Wrapper {
    pub(super) project: ProjectName,
    pub(super) actor: Actor,
}

impl Wrapper {
    pub(super) fn of(access: &VaultAccess) -> Self {
        Self { project: access.project().clone(), actor: access.actor().clone() }
    }
}

/// For how long an answer is to be kept for whoever asks for it.
pub(super) fn wanted(request: &VaultRequest) -> Result<Option<SignedDuration>, Refusal> {
    let header = request.parts.headers.get("x-vault-wrap-ttl");
    let Some(text) = header.map(HeaderValue::to_str) else { return Ok(None) };
    let refuse = || Refusal::bad_request("X-Vault-Wrap-TTL must be a length of time, such as 60s");
    let text = text.map_err(|_| refuse())?;
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let ttl = duration::parse(&json!(text)).ok_or_else(refuse)?;
    // Before anything is done: an answer that cannot be kept would be lost.
    if !ttl.is_positive() || ttl > LONGEST_LIFE {
        return Err(Refusal::bad_request("X-Vault-Wrap-TTL must be a second to 768 hours"));
    }
    Ok(Some(ttl))
}

/// Keeps an answer, and gives the token for it instead.
pub(super) async fn wrap(
    engine: &Engine,
    wrapper: &Wrapper,
    request: &VaultRequest,
    ttl: SignedDuration,
    answer: Response<Body>,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    if answer.status() != StatusCode::OK {
        // There is nothing in it that anybody could want to hide.
        return Ok(answer);
    }
    let body = answer.into_body().collect().await;
    let body = body.map_err(|_| Refusal::bad_request("the answer did not arrive whole"))?;
    let body = Secret::new(body.to_bytes().to_vec());
    // EXPOSE: looked into for what names the credential in it without opening anything.
    let accessor = accessor_in(body.expose());
    let whose = (&wrapper.project, &wrapper.actor);
    let wrapped = engine.wrap_answer(whose, &request.path, ttl, &body, arrival.meta).await?;
    Ok(respond(&wrapped, accessor, &arrival.meta.id))
}

/// The accessor of the token or secret id that is in an answer.
fn accessor_in(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        auth: Option<Auth>,
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    struct Auth {
        accessor: String,
    }
    #[derive(Deserialize)]
    struct Data {
        secret_id_accessor: Option<String>,
    }
    let Answer { auth, data } = serde_json::from_slice(answer).ok()?;
    auth.map(|auth| auth.accessor).or_else(|| data?.secret_id_accessor)
}

fn respond(
    wrapped: &WrappedAnswer,
    wrapped_accessor: Option<String>,
    id: &RequestId,
) -> Response<Body> {
    let wrapping = &wrapped.wrapping;
    let mut wrap_info = json!({
        // EXPOSE: this answer is where its holder gets it.
        "token": wrapped.token.expose(),
        "accessor": wrapping.accessor,
        "ttl": wrapping.ttl.as_secs(),
        "creation_time": wrapping.created_at.to_string(),
        "creation_path": wrapping.creation_path,
    });
    if let (Value::Object(members), Some(accessor)) = (&mut wrap_info, wrapped_accessor) {
        members.insert("wrapped_accessor".to_owned(), json!(accessor));
    }
    Envelope { wrap_info, ..Envelope::default() }.respond(id)
}

#[derive(Default, Deserialize)]
struct TokenBody {
    #[serde(default)]
    token: String,
}

/// The token for the answer: in the body, or as what the caller shows.
fn token(request: &VaultRequest) -> Result<Secret<String>, Refusal> {
    let body = Secret::new(request.json::<TokenBody>()?.token);
    // EXPOSE: asked whether there is any.
    if !body.expose().is_empty() {
        return Ok(body);
    }
    let shown = authenticate::credential(&request.parts.headers)?;
    shown
        .filter(|shown| shown.starts_with(WRAPPING_PREFIX))
        .map(|shown| Secret::new(shown.to_owned()))
        .ok_or_else(|| Refusal::bad_request("missing \"token\" value in input"))
}

/// `sys/wrapping/unwrap`, `lookup`: the token is all the right that is needed.
pub(super) async fn open(
    engine: &Engine,
    request: &VaultRequest,
    call: &str,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    let id = &arrival.meta.id;
    let token = token(request)?;
    let outcome = if call == "lookup" {
        // EXPOSE: becomes the digest that it is found by.
        engine.look_up_wrapping(token.expose()).map(|wrapping| {
            data(
                id,
                json!({
                    "creation_path": wrapping.creation_path,
                    "creation_time": wrapping.created_at.to_string(),
                    "creation_ttl": wrapping.ttl.as_secs(),
                }),
            )
        })
    } else {
        // EXPOSE: becomes the digest that it is found by.
        let answer = engine.unwrap_answer(token.expose(), arrival.meta).await;
        // EXPOSE: given out, once.
        answer.map(|it| json_response(StatusCode::OK, Body::from(it.expose().clone())))
    };
    if outcome.is_err() {
        engine.admit_anonymous(arrival.meta.ip).map_err(Failure::from)?;
    }
    Ok(outcome?)
}

/// `sys/wrapping/wrap`: keeps what the caller sent.
pub(super) async fn echo(
    engine: &Engine,
    visitor: &Visitor,
    request: &VaultRequest,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    // Whoever has no business in the vault keeps nothing here.
    if !visitor.access.has_any_right() {
        return Err(visitor.refuse(engine, request).await);
    }
    if wanted(request)?.is_none() {
        return Err(Refusal::bad_request("endpoint requires response wrapping to be used"));
    }
    Ok(data(id, request.json::<Value>()?))
}
