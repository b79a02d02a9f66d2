//! `/api/v1/environments`.

use axum::{Json, extract::State};
use http::StatusCode;
use keyreeve_api::{CreateEnvironmentRequest, EnvironmentView, Page};
use keyreeve_engine::{
    EnvironmentSpec,
    action::{ManageEnvironments, ReadEnvironments},
};

use super::fields::Fields;
use crate::{
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::Answer,
    view,
};

/// Lists environments, by name.
#[utoipa::path(
    get,
    path = "/api/v1/environments",
    tag = "environments",
    responses((status = 200, description = "All environments", body = Page<EnvironmentView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Json<Page<EnvironmentView>>> {
    let permit = engine.authorize::<ReadEnvironments>(&caller).await?;
    Ok(Json(view::whole(&engine.environments(permit).await?, view::environment)))
}

/// Makes an environment.
#[utoipa::path(
    post,
    path = "/api/v1/environments",
    tag = "environments",
    request_body = CreateEnvironmentRequest,
    responses((status = 201, description = "Made", body = EnvironmentView))
)]
pub(crate) async fn create(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: JsonBody<CreateEnvironmentRequest>,
) -> Answer<(StatusCode, Json<EnvironmentView>)> {
    let permit = engine.authorize::<ManageEnvironments>(&caller).await?;
    let mut fields = Fields::default();
    let name = fields.parse("name", &body.value.name);
    let tag = fields.parse("tag", &body.value.tag);
    let spec = name.zip(tag).map(|(name, tag)| EnvironmentSpec { name, tag });
    let made = engine.create_environment(permit, fields.finish(spec)?).await?;
    Ok((StatusCode::CREATED, Json(view::environment(&made))))
}

/// Removes an environment that has no keys.
#[utoipa::path(
    delete,
    path = "/api/v1/environments/{name}",
    tag = "environments",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "Gone"))
)]
pub(crate) async fn delete(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<ManageEnvironments>(&caller).await?;
    engine.delete_environment(permit, name.parse("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
