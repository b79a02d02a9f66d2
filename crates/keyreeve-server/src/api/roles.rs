//! `/api/v1/roles`.

use axum::{Json, extract::State};
use http::StatusCode;
use keyreeve_api::{CreateRoleRequest, Page, RoleView, UpdateRoleRequest};
use keyreeve_engine::{
    RoleChange, RoleSpec,
    action::{ManageRoles, ReadRoles},
};

use super::fields::Fields;
use crate::{
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::{Answer, Failure},
    view,
};

/// Lists roles: the built-in ones, then the project's own by name.
#[utoipa::path(
    get,
    path = "/api/v1/roles",
    tag = "roles",
    responses((status = 200, description = "All roles", body = Page<RoleView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Json<Page<RoleView>>> {
    let permit = engine.authorize::<ReadRoles>(&caller).await?;
    Ok(Json(view::whole(&engine.roles(permit).await?, view::role)))
}

/// Makes a role. It cannot grant more than its maker has.
#[utoipa::path(
    post,
    path = "/api/v1/roles",
    tag = "roles",
    request_body = CreateRoleRequest,
    responses((status = 201, description = "Made", body = RoleView))
)]
pub(crate) async fn create(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: JsonBody<CreateRoleRequest>,
) -> Answer<(StatusCode, Json<RoleView>)> {
    let permit = engine.authorize::<ManageRoles>(&caller).await?;
    let made = engine.create_role(permit, spec(body.value)?).await?;
    Ok((StatusCode::CREATED, Json(view::role(&made))))
}

/// One role.
#[utoipa::path(
    get,
    path = "/api/v1/roles/{name}",
    tag = "roles",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The role", body = RoleView))
)]
pub(crate) async fn show(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<Json<RoleView>> {
    let permit = engine.authorize::<ReadRoles>(&caller).await?;
    Ok(Json(view::role(&engine.role(permit, &name.parse("name")?).await?)))
}

/// Changes a role. Keys that carry it follow before this answers.
#[utoipa::path(
    patch,
    path = "/api/v1/roles/{name}",
    tag = "roles",
    params(("name" = String, Path, description = "Its name")),
    request_body = UpdateRoleRequest,
    responses((status = 200, description = "The role as it is now", body = RoleView))
)]
pub(crate) async fn update(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
    body: JsonBody<UpdateRoleRequest>,
) -> Answer<Json<RoleView>> {
    let permit = engine.authorize::<ManageRoles>(&caller).await?;
    let changed = engine.update_role(permit, &name.parse("name")?, change(body.value)?).await?;
    Ok(Json(view::role(&changed)))
}

/// Removes a role that no key carries.
#[utoipa::path(
    delete,
    path = "/api/v1/roles/{name}",
    tag = "roles",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "Gone"))
)]
pub(crate) async fn delete(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<ManageRoles>(&caller).await?;
    engine.delete_role(permit, name.parse("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn spec(request: CreateRoleRequest) -> Result<RoleSpec, Failure> {
    let mut fields = Fields::default();
    let name = fields.parse("name", &request.name);
    let description = fields.description(request.description);
    let permissions = fields.permissions(&request.permissions);
    let spec =
        (|| Some(RoleSpec { name: name?, description: description?, permissions: permissions? }))();
    fields.finish(spec)
}

fn change(request: UpdateRoleRequest) -> Result<RoleChange, Failure> {
    let mut fields = Fields::default();
    let change = RoleChange {
        description: request.description.and_then(|text| fields.description(text)),
        permissions: request.permissions.and_then(|texts| fields.permissions(&texts)),
    };
    fields.finish(Some(change))
}
