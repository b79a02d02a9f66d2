//! `POST /api/v1/api-keys/cleanup-expired`.

use axum::{Json, extract::State};
use jiff::SignedDuration;
use keyreeve_api::{CleanupExpiredRequest, CleanupExpiredView};
use keyreeve_engine::action::CleanupExpired;

use crate::{
    api::fields::Fields,
    extract::{Authenticated, EngineRef, OptionalJsonBody},
    problem::Answer,
};

/// Deletes expired keys; they can be brought back for 30 days.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/cleanup-expired",
    tag = "api-keys",
    request_body = CleanupExpiredRequest,
    responses((status = 200, description = "What was done", body = CleanupExpiredView))
)]
pub(crate) async fn cleanup_expired(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: OptionalJsonBody<CleanupExpiredRequest>,
) -> Answer<Json<CleanupExpiredView>> {
    let permit = engine.authorize::<CleanupExpired>(&caller).await?;
    let mut fields = Fields::default();
    let expired_for = fields.duration("expired_for", body.value.expired_for.as_deref());
    fields.finish(Some(()))?;
    let expired_for = expired_for.unwrap_or(SignedDuration::ZERO);
    let dry_run = body.value.dry_run;
    let done = engine.cleanup_expired(permit, expired_for, dry_run).await?;
    let ids = done.ids.iter().map(ToString::to_string).collect();
    Ok(Json(CleanupExpiredView { count: done.count, ids, dry_run }))
}
