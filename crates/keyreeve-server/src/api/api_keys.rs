//! `/api/v1/api-keys`.

pub(super) mod cleanup;
pub(super) mod create;
pub(super) mod derive;
pub(super) mod explain;
pub(crate) mod import;
pub(super) mod list;
pub(super) mod rotate;
pub(super) mod show;
pub(super) mod state;
pub(super) mod update;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

/// Says that the answer is that of an earlier, equal request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// `201 Created` with where the key can be seen.
fn created(id: &str, replayed: bool, view: impl Serialize) -> Response {
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/api-keys/{id}")) {
        headers.insert(http::header::LOCATION, location);
    }
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
