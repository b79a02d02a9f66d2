//! `POST /api/v1/verify`, served in place: no router, no extractor, one allocation for the
//! answer.

mod body;
mod json_object;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use jiff::SignedDuration;
use keyreeve_api::{
    CostRequest, ErrorCode, RequestContext, ReserveRequest, VerifyRequest, VerifyView,
};
use keyreeve_core::{
    permission::Query,
    restriction::{RequestFacts, origin_of_referrer},
};
use keyreeve_engine::{
    Cost, Engine, Permit, RequestId, Reserve, Simulation, VerifyInput, action::VerifyKey,
};
use tower::BoxError;

use crate::{
    authenticate::{self, Arrival},
    json,
    metrics::Metrics,
    problem::Failure,
};

/// The path that is served here.
pub(crate) const PATH: &str = "/api/v1/verify";

/// Room for the headers of most answers, so that it is made once. No more: room that is not used is
/// overwritten with the rest.
const HEADERS: usize = 6;

/// Answers whether a key is good and grants what is required.
#[utoipa::path(
    post,
    path = "/api/v1/verify",
    tag = "verify",
    request_body = VerifyRequest,
    responses((status = 200, description = "The verdict, whatever it is", body = VerifyView))
)]
pub(crate) async fn verify(
    engine: &Arc<Engine>,
    metrics: &Metrics,
    request: &mut Request<Incoming>,
    arrival: &Arrival,
    most_body_bytes: usize,
) -> Result<Response<Bytes>, Failure> {
    let caller = authenticate::verifier(engine, (&*request).into(), arrival).await?;
    let permit = match Permit::<VerifyKey>::check(&caller) {
        Ok(permit) => permit,
        // The slow way: it records the refusal.
        Err(_) => Box::pin(engine.authorize::<VerifyKey>(&caller)).await?,
    };
    require_json(request.headers())?;
    let body = read(request.body_mut(), most_body_bytes).await?;
    let request: VerifyRequest = json::parse(&body)?;
    // EXPOSE: borrowed for parsing and hashing; nothing of it is kept or shown.
    let key = request.key.expose();
    if key.len() > VerifyInput::LONGEST_KEY {
        return Err(Failure::field("key", "must be at most 512 characters"));
    }
    let query = request
        .require
        .as_deref()
        .map(Query::parse)
        .transpose()
        .map_err(|rule| Failure::field("require", rule.rule()))?;
    let limits: Vec<(&str, u32)> = request
        .cost
        .iter()
        .flat_map(|cost| &cost.limits)
        .map(|(name, cost)| (name.as_str(), *cost))
        .collect();
    let input = VerifyInput {
        require: query.as_ref(),
        request: facts(request.request.as_ref()),
        user_agent: request.request.as_ref().and_then(|context| context.user_agent.as_deref()),
        cost: cost(request.cost.as_ref(), &limits),
        reserve: request.reserve.as_ref().map(reserve).transpose()?,
        simulate: simulation(&request)?,
        ..VerifyInput::new(key)
    };
    let verdict = engine.verify(&permit, &input).await;
    metrics.count_verdict(verdict.code);
    Ok(respond(body::write(&verdict, &arrival.meta.id)))
}

/// The whole body. Most come in one piece, which is then all there is to keep.
async fn read(body: &mut Incoming, most_bytes: usize) -> Result<Bytes, Failure> {
    let mut body = Limited::new(body, most_bytes);
    let broken = |error: BoxError| {
        if error.is::<LengthLimitError>() {
            return Failure::new(ErrorCode::PayloadTooLarge);
        }
        Failure::new(ErrorCode::InvalidRequest).detail("the body did not arrive whole")
    };
    let Some(first) = body.frame().await else { return Ok(Bytes::new()) };
    let first = first.map_err(broken)?.into_data().unwrap_or_default();
    if body.is_end_stream() {
        return Ok(first);
    }
    let rest = Box::pin(body.collect()).await.map_err(broken)?.to_bytes();
    Ok([first, rest].concat().into())
}

/// What is known of the request that carried the key.
pub(crate) fn facts(context: Option<&RequestContext>) -> RequestFacts<'_> {
    let Some(context) = context else { return RequestFacts::default() };
    let origin = context.origin.as_deref();
    RequestFacts {
        ip: context.ip,
        origin: origin.map(|origin| origin_of_referrer(origin).unwrap_or(origin)),
        method: context.method.as_deref(),
        host: context.host.as_deref(),
        path: context.path.as_deref(),
        ..RequestFacts::default()
    }
}

/// What the request costs.
pub(crate) fn cost<'a>(cost: Option<&CostRequest>, limits: &'a [(&'a str, u32)]) -> Cost<'a> {
    Cost { quota: cost.and_then(|cost| cost.quota).unwrap_or(1), limits }
}

fn reserve(reserve: &ReserveRequest) -> Result<Reserve, Failure> {
    let ttl_s = reserve.ttl_s.unwrap_or(60);
    if reserve.amount == 0 {
        return Err(Failure::field("reserve.amount", "must be at least 1"));
    }
    if !(1..=86_400).contains(&ttl_s) {
        return Err(Failure::field("reserve.ttl_s", "must be 1 to 86400"));
    }
    let for_at_most = SignedDuration::from_secs(ttl_s.into());
    Ok(Reserve { amount: reserve.amount, for_at_most })
}

/// Only a question may be about another time: what is spent is spent now.
fn simulation(request: &VerifyRequest) -> Result<Option<Simulation>, Failure> {
    let at = request.request.as_ref().and_then(|context| context.at);
    match (request.dry_run, at) {
        (true, at) => Ok(Some(Simulation { at })),
        (false, None) => Ok(None),
        (false, Some(_)) => {
            Err(Failure::field("request.at", "must stand only together with dry_run"))
        }
    }
}

/// The body must say that it is JSON, so that no form in a browser can send one.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = declared.map(|value| value.split(';').next().unwrap_or(value).trim());
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Failure::new(ErrorCode::UnsupportedMediaType)),
    }
}

fn respond(body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// For handlers outside this file that need the request id as text.
pub(crate) fn request_id_header(id: &RequestId) -> HeaderValue {
    HeaderValue::from_bytes(id.as_bytes()).unwrap_or(HeaderValue::from_static("-"))
}
