//! `DELETE /api/v1/api-keys/{id}` and `POST …/revoke|enable|disable|undelete|purge`.

use axum::{Json, extract::State};
use keyreeve_api::{ApiKeyView, PurgeView, ReasonRequest};
use keyreeve_engine::action::{DeleteKey, DisableKey, EnableKey, PurgeKey, RevokeKey, UndeleteKey};

use crate::{
    api::fields::Fields,
    extract::{Authenticated, EngineRef, OptionalJsonBody, Segment},
    problem::{Answer, Failure},
    view,
};

fn reason(body: ReasonRequest) -> Result<Option<String>, Failure> {
    let mut fields = Fields::default();
    let reason = fields.reason(body.reason);
    fields.finish(Some(reason))
}

/// Refuses a key for good. When this answers, the next verification denies.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/revoke",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    request_body = ReasonRequest,
    responses((status = 200, description = "The key as it is now", body = ApiKeyView))
)]
pub(crate) async fn revoke(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: OptionalJsonBody<ReasonRequest>,
) -> Answer<Json<ApiKeyView>> {
    let permit = engine.authorize::<RevokeKey>(&caller).await?;
    let reason = reason(body.value)?;
    let changed = engine.revoke_key(permit, id.parse("id")?, reason).await?;
    Ok(Json(view::api_key(changed, engine.now())))
}

/// Switches a key off.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/disable",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    request_body = ReasonRequest,
    responses((status = 200, description = "The key as it is now", body = ApiKeyView))
)]
pub(crate) async fn disable(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: OptionalJsonBody<ReasonRequest>,
) -> Answer<Json<ApiKeyView>> {
    let permit = engine.authorize::<DisableKey>(&caller).await?;
    let reason = reason(body.value)?;
    let changed = engine.disable_key(permit, id.parse("id")?, reason).await?;
    Ok(Json(view::api_key(changed, engine.now())))
}

/// Switches a key on again.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/enable",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    request_body = ReasonRequest,
    responses((status = 200, description = "The key as it is now", body = ApiKeyView))
)]
pub(crate) async fn enable(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: OptionalJsonBody<ReasonRequest>,
) -> Answer<Json<ApiKeyView>> {
    let permit = engine.authorize::<EnableKey>(&caller).await?;
    let reason = reason(body.value)?;
    let changed = engine.enable_key(permit, id.parse("id")?, reason).await?;
    Ok(Json(view::api_key(changed, engine.now())))
}

/// Takes a key out of sight; it is refused, and can be brought back for 30 days.
#[utoipa::path(
    delete,
    path = "/api/v1/api-keys/{id}",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    responses((status = 200, description = "The key as it is now", body = ApiKeyView))
)]
pub(crate) async fn delete(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<Json<ApiKeyView>> {
    let permit = engine.authorize::<DeleteKey>(&caller).await?;
    let changed = engine.delete_key(permit, id.parse("id")?).await?;
    Ok(Json(view::api_key(changed, engine.now())))
}

/// Brings a deleted key back as it was.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/undelete",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    request_body = ReasonRequest,
    responses((status = 200, description = "The key as it is now", body = ApiKeyView))
)]
pub(crate) async fn undelete(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: OptionalJsonBody<ReasonRequest>,
) -> Answer<Json<ApiKeyView>> {
    let permit = engine.authorize::<UndeleteKey>(&caller).await?;
    let reason = reason(body.value)?;
    let changed = engine.undelete_key(permit, id.parse("id")?, reason).await?;
    Ok(Json(view::api_key(changed, engine.now())))
}

/// Removes a key that was deleted more than 30 days ago. Its audit entries stay.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/purge",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    request_body = ReasonRequest,
    responses((status = 200, description = "Gone for good", body = PurgeView))
)]
pub(crate) async fn purge(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: OptionalJsonBody<ReasonRequest>,
) -> Answer<Json<PurgeView>> {
    let permit = engine.authorize::<PurgeKey>(&caller).await?;
    let reason = reason(body.value)?;
    engine.purge_key(permit, id.parse("id")?, reason).await?;
    Ok(Json(PurgeView { purged: id.0 }))
}
