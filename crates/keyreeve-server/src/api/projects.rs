//! `/api/v1/projects`.

use axum::{Json, extract::State};
use http::StatusCode;
use keyreeve_api::{
    CreateProjectRequest, CreatedApiKeyView, CreatedProjectView, Page, ProjectView,
};
use keyreeve_engine::{
    action::{ManageProjects, ReadProjects},
    store::{StoredKey, Usage},
};

use super::fields::Fields;
use crate::{
    extract::{Authenticated, EngineRef, JsonBody},
    problem::Answer,
    view,
};

/// Lists projects, by name. Admins of the default project may.
#[utoipa::path(
    get,
    path = "/api/v1/projects",
    tag = "projects",
    responses((status = 200, description = "All projects", body = Page<ProjectView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Json<Page<ProjectView>>> {
    let permit = engine.authorize::<ReadProjects>(&caller).await?;
    Ok(Json(view::whole(&engine.projects(permit).await?, view::project)))
}

/// Makes a project with its first admin key. Admins of the default project may.
#[utoipa::path(
    post,
    path = "/api/v1/projects",
    tag = "projects",
    request_body = CreateProjectRequest,
    responses((status = 201, description = "Made", body = CreatedProjectView))
)]
pub(crate) async fn create(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: JsonBody<CreateProjectRequest>,
) -> Answer<(StatusCode, Json<CreatedProjectView>)> {
    let permit = engine.authorize::<ManageProjects>(&caller).await?;
    let mut fields = Fields::default();
    let name = fields.parse("name", &body.value.name);
    let made = engine.create_project(permit, fields.finish(name)?).await?;
    let stored = StoredKey { key: made.first_key.key, usage: Usage::default() };
    let admin_key = CreatedApiKeyView {
        key: view::shown_once(made.first_key.token.text()),
        details: view::api_key(stored, engine.now()),
    };
    let made = CreatedProjectView { project: view::project(&made.project), admin_key };
    Ok((StatusCode::CREATED, Json(made)))
}
