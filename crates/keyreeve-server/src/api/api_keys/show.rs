//! `GET /api/v1/api-keys/{id}`.

use axum::{Json, extract::State};
use keyreeve_api::ApiKeyView;
use keyreeve_engine::action::ReadKey;

use crate::{
    extract::{Authenticated, EngineRef, Segment},
    problem::Answer,
    view,
};

/// One key, without its secret, with usage counted to this moment.
#[utoipa::path(
    get,
    path = "/api/v1/api-keys/{id}",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    responses((status = 200, description = "The key", body = ApiKeyView))
)]
pub(crate) async fn show(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<Json<ApiKeyView>> {
    let permit = engine.authorize::<ReadKey>(&caller).await?;
    let found = engine.key(permit, id.parse("id")?).await?;
    Ok(Json(view::api_key(found, engine.now())))
}
