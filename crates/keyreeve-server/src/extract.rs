//! What handlers take from a request.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::{HeaderName, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use keyreeve_api::ErrorCode;
use keyreeve_core::Invalid;
use keyreeve_engine::{
    Caller, Idempotency, IdempotencyKey, Sealer,
    store::{Cursor, PageRequest},
};
use serde::de::DeserializeOwned;

use crate::{
    api::AppState,
    authenticate::{self, Arrival},
    json,
    problem::Failure,
    verify::require_json,
};

/// A caller whose credential was good. Rights are checked by `engine.authorize`.
pub(crate) struct Authenticated(pub(crate) Caller);

impl FromRequestParts<AppState> for Authenticated {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Failure> {
        let arrival = *parts
            .extensions
            .get::<Arrival>()
            .ok_or_else(|| Failure::new(ErrorCode::Unauthenticated))?;
        authenticate::caller(&state.engine, (&*parts).into(), &arrival).await.map(Self)
    }
}

/// A JSON body, with its bytes.
pub(crate) struct JsonBody<T> {
    pub(crate) value: T,
    pub(crate) bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<AppState> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Failure> {
        require_json(request.headers())?;
        let bytes = collect(request, state.max_body_bytes).await?;
        Ok(Self { value: json::parse(&bytes)?, bytes })
    }
}

/// A JSON body that may be absent, which is the same as `{}`.
pub(crate) struct OptionalJsonBody<T> {
    pub(crate) value: T,
    pub(crate) bytes: Bytes,
}

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OptionalJsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Failure> {
        let declared = require_json(request.headers());
        let bytes = collect(request, state.max_body_bytes).await?;
        if bytes.is_empty() {
            return Ok(Self { value: T::default(), bytes });
        }
        declared?;
        Ok(Self { value: json::parse(&bytes)?, bytes })
    }
}

/// The body of a request that may be larger than others, not yet read: handlers read it once they
/// know that the caller may send it.
pub(crate) struct LargeBody {
    request: Request,
    most: usize,
}

impl FromRequest<AppState> for LargeBody {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Failure> {
        require_json(request.headers())?;
        Ok(Self { request, most: state.max_import_bytes })
    }
}

impl LargeBody {
    /// Reads it, off the thread that serves others.
    pub(crate) async fn json<T: DeserializeOwned + Send + 'static>(self) -> Result<T, Failure> {
        let bytes = collect(self.request, self.most).await?;
        let parsed = tokio::task::spawn_blocking(move || json::parse(&bytes)).await;
        parsed.unwrap_or_else(|_| Err(Failure::new(ErrorCode::Internal)))
    }
}

async fn collect(request: Request, most: usize) -> Result<Bytes, Failure> {
    match Limited::new(request.into_body(), most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Failure::new(ErrorCode::PayloadTooLarge))
        }
        Err(_) => {
            Err(Failure::new(ErrorCode::InvalidRequest).detail("the body did not arrive whole"))
        }
    }
}

/// The query string.
pub(crate) struct QueryString<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for QueryString<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Failure> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let text = rejection.body_text();
                let message =
                    text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                // "field: what is wrong", where the field is known.
                let (path, message) = match message.split_once(": ") {
                    Some((path, rest)) if !path.contains(' ') => (path, rest),
                    _ => (".", message),
                };
                Err(json::broken_rule(path, message))
            }
        }
    }
}

/// One segment of the path.
pub(crate) struct Segment(pub(crate) String);

impl FromRequestParts<AppState> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Failure> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(_) => Err(Failure::field("path", "must be UTF-8 in percent-encoding")),
        }
    }
}

impl Segment {
    /// Reads the segment as a name; what breaks the name's rule is the caller's fault.
    pub(crate) fn parse<T: std::str::FromStr<Err = Invalid>>(
        &self,
        field: &'static str,
    ) -> Result<T, Failure> {
        self.0.parse().map_err(|rule: Invalid| Failure::field(field, rule.rule()))
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What makes a request repeatable, if the caller asked for it.
pub(crate) struct IdempotencyHeader {
    key: Option<IdempotencyKey>,
    sealer: Option<Sealer>,
    request: String,
}

impl FromRequestParts<AppState> for IdempotencyHeader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Failure> {
        let key = authenticate::single(&parts.headers, &IDEMPOTENCY_KEY)?
            .map(IdempotencyKey::parse)
            .transpose()
            .map_err(|rule| Failure::field("header idempotency-key", rule.rule()))?;
        let sealer = match (&key, authenticate::credential(&parts.headers)?) {
            (None, _) => None,
            (Some(_), Some(token)) => Sealer::from_credential(token),
            (Some(_), None) => Some(state.engine.local_sealer().clone()),
        };
        let request = format!("{} {}", parts.method, parts.uri.path());
        Ok(Self { key, sealer, request })
    }
}

impl IdempotencyHeader {
    pub(crate) fn with_body(self, body: &[u8]) -> Option<Idempotency> {
        let request = [self.request.as_bytes(), body];
        Some(Idempotency::new(self.key?, &request, self.sealer?))
    }
}

/// The page a list request asks for.
pub(crate) fn page_request(
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<PageRequest, Failure> {
    let limit = limit.unwrap_or(100);
    if !(1..=PageRequest::MOST).contains(&limit) {
        return Err(Failure::field("limit", "must be 1 to 1000"));
    }
    let after = cursor
        .map(|text| {
            Cursor::parse(text).ok_or_else(|| {
                Failure::field("cursor", "must be the next_cursor of an earlier page")
            })
        })
        .transpose()?;
    Ok(PageRequest { limit, after })
}

/// Shared by handlers that only need the engine.
pub(crate) type EngineRef = Arc<keyreeve_engine::Engine>;
