//! `POST /api/v1/verify`, served in place: no router, no extractor, one allocation for the
//! answer.

mod body;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use keyreeve_api::{ErrorCode, VerifyRequest, VerifyView};
use keyreeve_core::permission::Query;
use keyreeve_engine::{Engine, Permit, RequestId, VerifyInput, action::VerifyKey};

use self::body::VerdictBody;
use crate::{
    authenticate::{self, Arrival},
    json,
    metrics::Metrics,
    problem::Failure,
};

/// The path that is served here.
pub(crate) const PATH: &str = "/api/v1/verify";

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
    headers: &HeaderMap,
    arrival: &Arrival,
    body: impl Future<Output = Result<Bytes, Failure>>,
) -> Result<Response<Bytes>, Failure> {
    let caller = authenticate::caller(engine, headers, arrival)?;
    let permit = match Permit::<VerifyKey>::check(&caller) {
        Ok(permit) => permit,
        // The slow way: it records the refusal.
        Err(_) => engine.authorize::<VerifyKey>(&caller).await?,
    };
    require_json(headers)?;
    let body = body.await?;
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
    let context = request.request.as_ref();
    let verdict = engine.verify(
        &permit,
        &VerifyInput {
            key,
            require: query.as_ref(),
            ip: context.and_then(|context| context.ip),
            user_agent: context.and_then(|context| context.user_agent.as_deref()),
        },
    );
    metrics.count_verdict(verdict.code);
    Ok(respond(&VerdictBody::new(&verdict, &arrival.meta.id)))
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

fn respond(body: &VerdictBody<'_>) -> Response<Bytes> {
    let mut bytes = Vec::with_capacity(512);
    // Strings and numbers into memory: there is nothing here that can fail.
    let _ = serde_json::to_writer(&mut bytes, body);
    let mut response = Response::new(bytes.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// For handlers outside this file that need the request id as text.
pub(crate) fn request_id_header(id: &RequestId) -> HeaderValue {
    HeaderValue::from_str(id.as_str()).unwrap_or(HeaderValue::from_static("-"))
}
