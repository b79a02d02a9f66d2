//! `POST /api/v1/api-keys/{id}/rotate` and `…/finish-rotation`.

use axum::{Json, extract::State, response::Response};
use keyreeve_api::{ApiKeyView, FinishRotationRequest, RotateApiKeyRequest, RotatedApiKeyView};
use keyreeve_engine::{
    action::{FinishRotation, RotateKey},
    keys::RotateSpec,
};

use super::created;
use crate::{
    api::{AppState, fields::Fields},
    extract::{Authenticated, EngineRef, IdempotencyHeader, OptionalJsonBody, Segment},
    problem::{Answer, Failure},
    view,
};

/// Replaces a key. Old and new are good until the grace ends.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/rotate",
    tag = "api-keys",
    params(
        ("id" = String, Path, description = "The old key's public id"),
        ("idempotency-key" = Option<String>, Header, description = "Makes a retry return the first answer"),
    ),
    request_body = RotateApiKeyRequest,
    responses((status = 201, description = "The new key", body = RotatedApiKeyView))
)]
pub(crate) async fn rotate(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated,
    id: Segment,
    idempotency: IdempotencyHeader,
    body: OptionalJsonBody<RotateApiKeyRequest>,
) -> Answer<Response> {
    let permit = state.engine.authorize::<RotateKey>(&caller).await?;
    let idempotency = idempotency.with_body(&body.bytes);
    let spec = spec(&body.value)?;
    let rotated = state.engine.rotate_key(permit, id.parse("id")?, spec, idempotency).await?;
    let view = RotatedApiKeyView {
        key: view::shown_once(&rotated.text),
        grace_ends_at: rotated.grace_ends_at,
        details: view::api_key(rotated.stored, state.engine.now()),
    };
    Ok(created(&view.details.id.clone(), rotated.replayed, view))
}

fn spec(request: &RotateApiKeyRequest) -> Result<RotateSpec, Failure> {
    let mut fields = Fields::default();
    let grace = fields.duration("grace", request.grace.as_deref());
    let expiry = fields.expiry(request.expires_in.as_deref(), None);
    fields.finish(Some(RotateSpec { grace, expiry }))
}

/// Ends the grace of a replaced key now; on request only if the key is no longer used.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/finish-rotation",
    tag = "api-keys",
    params(("id" = String, Path, description = "The old key's public id")),
    request_body = FinishRotationRequest,
    responses((status = 200, description = "The old key as it is now", body = ApiKeyView))
)]
pub(crate) async fn finish_rotation(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: OptionalJsonBody<FinishRotationRequest>,
) -> Answer<Json<ApiKeyView>> {
    let permit = engine.authorize::<FinishRotation>(&caller).await?;
    let mut fields = Fields::default();
    let silence = fields.duration("if_silent_for", body.value.if_silent_for.as_deref());
    fields.finish(Some(()))?;
    let finished = engine.finish_rotation(permit, id.parse("id")?, silence).await?;
    Ok(Json(view::api_key(finished, engine.now())))
}
