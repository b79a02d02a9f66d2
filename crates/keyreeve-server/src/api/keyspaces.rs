//! `/api/v1/keyspaces`.

use axum::{Json, extract::State};
use http::StatusCode;
use keyreeve_api::{CreateKeyspaceRequest, KeyspaceView, Page, UpdateKeyspaceRequest};
use keyreeve_engine::{
    KeyspaceChange, KeyspaceSpec,
    action::{ManageKeyspaces, ReadKeyspaces},
};

use super::fields::Fields;
use crate::{
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::{Answer, Failure},
    view,
};

/// Lists keyspaces, by name.
#[utoipa::path(
    get,
    path = "/api/v1/keyspaces",
    tag = "keyspaces",
    responses((status = 200, description = "All keyspaces", body = Page<KeyspaceView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Json<Page<KeyspaceView>>> {
    let permit = engine.authorize::<ReadKeyspaces>(&caller).await?;
    Ok(Json(view::whole(&engine.keyspaces(permit).await?, view::keyspace)))
}

/// Makes a keyspace.
#[utoipa::path(
    post,
    path = "/api/v1/keyspaces",
    tag = "keyspaces",
    request_body = CreateKeyspaceRequest,
    responses((status = 201, description = "Made", body = KeyspaceView))
)]
pub(crate) async fn create(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: JsonBody<CreateKeyspaceRequest>,
) -> Answer<(StatusCode, Json<KeyspaceView>)> {
    let permit = engine.authorize::<ManageKeyspaces>(&caller).await?;
    let made = engine.create_keyspace(permit, spec(&body.value)?).await?;
    Ok((StatusCode::CREATED, Json(view::keyspace(&made))))
}

/// One keyspace.
#[utoipa::path(
    get,
    path = "/api/v1/keyspaces/{name}",
    tag = "keyspaces",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The keyspace", body = KeyspaceView))
)]
pub(crate) async fn show(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<Json<KeyspaceView>> {
    let permit = engine.authorize::<ReadKeyspaces>(&caller).await?;
    Ok(Json(view::keyspace(&engine.keyspace(permit, &name.parse("name")?).await?)))
}

/// Changes a keyspace's defaults. Keys that exist keep their expiry.
#[utoipa::path(
    patch,
    path = "/api/v1/keyspaces/{name}",
    tag = "keyspaces",
    params(("name" = String, Path, description = "Its name")),
    request_body = UpdateKeyspaceRequest,
    responses((status = 200, description = "The keyspace as it is now", body = KeyspaceView))
)]
pub(crate) async fn update(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
    body: JsonBody<UpdateKeyspaceRequest>,
) -> Answer<Json<KeyspaceView>> {
    let permit = engine.authorize::<ManageKeyspaces>(&caller).await?;
    let name = name.parse("name")?;
    let changed = engine.update_keyspace(permit, &name, change(&body.value)?).await?;
    Ok(Json(view::keyspace(&changed)))
}

/// Removes a keyspace that has no keys.
#[utoipa::path(
    delete,
    path = "/api/v1/keyspaces/{name}",
    tag = "keyspaces",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "Gone"))
)]
pub(crate) async fn delete(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<ManageKeyspaces>(&caller).await?;
    engine.delete_keyspace(permit, name.parse("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn spec(request: &CreateKeyspaceRequest) -> Result<KeyspaceSpec, Failure> {
    let mut fields = Fields::default();
    let name = fields.parse("name", &request.name);
    let prefix = fields.parse("prefix", &request.prefix);
    let default_expires_in =
        fields.life("default_expires_in", request.default_expires_in.as_deref());
    let default_grace = fields.duration("default_grace", request.default_grace.as_deref());
    let fail_policy = fields.optional("fail_policy", request.fail_policy.as_deref());
    let policy = fields.policy(
        &request.restrictions,
        &request.limits,
        request.quota.as_deref(),
        request.concurrency.as_deref(),
    );
    let spec = name.zip(prefix).map(|(name, prefix)| KeyspaceSpec {
        name,
        prefix,
        default_expires_in,
        default_grace,
        fail_policy,
        policy,
    });
    fields.finish(spec)
}

fn change(request: &UpdateKeyspaceRequest) -> Result<KeyspaceChange, Failure> {
    let mut fields = Fields::default();
    let change = KeyspaceChange {
        default_expires_in: fields
            .life("default_expires_in", request.default_expires_in.as_deref()),
        default_grace: fields.duration("default_grace", request.default_grace.as_deref()),
        fail_policy: fields.optional("fail_policy", request.fail_policy.as_deref()),
        policy: fields.policy_change(
            &request.restrictions,
            request.limits.as_ref(),
            request.quota.clone(),
            request.concurrency.clone(),
        ),
    };
    fields.finish(Some(change))
}
