//! `/api/v1/owners`.

use axum::{Json, extract::State};
use http::StatusCode;
use keyreeve_api::{CreateOwnerRequest, OwnerView, Page, PageQuery, Patch, UpdateOwnerRequest};
use keyreeve_engine::{
    OwnerChange, OwnerSpec,
    action::{ReadOwners, WriteOwners},
};

use super::fields::Fields;
use crate::{
    extract::{Authenticated, EngineRef, JsonBody, QueryString, Segment, page_request},
    problem::{Answer, Failure},
    view,
};

/// Lists owners, by id.
#[utoipa::path(
    get,
    path = "/api/v1/owners",
    tag = "owners",
    params(PageQuery),
    responses((status = 200, description = "A page of owners", body = Page<OwnerView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    QueryString(query): QueryString<PageQuery>,
) -> Answer<Json<Page<OwnerView>>> {
    let permit = engine.authorize::<ReadOwners>(&caller).await?;
    let page = page_request(query.limit, query.cursor.as_deref())?;
    Ok(Json(view::page(engine.owners(permit, &page).await?, view::owner)))
}

/// Makes an owner. Creating a key for an unknown owner does this too.
#[utoipa::path(
    post,
    path = "/api/v1/owners",
    tag = "owners",
    request_body = CreateOwnerRequest,
    responses((status = 201, description = "Made", body = OwnerView))
)]
pub(crate) async fn create(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: JsonBody<CreateOwnerRequest>,
) -> Answer<(StatusCode, Json<OwnerView>)> {
    let permit = engine.authorize::<WriteOwners>(&caller).await?;
    let made = engine.create_owner(permit, spec(body.value)?).await?;
    Ok((StatusCode::CREATED, Json(view::owner(made))))
}

/// One owner.
#[utoipa::path(
    get,
    path = "/api/v1/owners/{id}",
    tag = "owners",
    params(("id" = String, Path, description = "Your own id for it")),
    responses((status = 200, description = "The owner", body = OwnerView))
)]
pub(crate) async fn show(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<Json<OwnerView>> {
    let permit = engine.authorize::<ReadOwners>(&caller).await?;
    Ok(Json(view::owner(engine.owner(permit, &id.parse("id")?).await?)))
}

/// Changes an owner.
#[utoipa::path(
    patch,
    path = "/api/v1/owners/{id}",
    tag = "owners",
    params(("id" = String, Path, description = "Your own id for it")),
    request_body = UpdateOwnerRequest,
    responses((status = 200, description = "The owner as it is now", body = OwnerView))
)]
pub(crate) async fn update(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: JsonBody<UpdateOwnerRequest>,
) -> Answer<Json<OwnerView>> {
    let permit = engine.authorize::<WriteOwners>(&caller).await?;
    let changed = engine.update_owner(permit, &id.parse("id")?, change(body.value)?).await?;
    Ok(Json(view::owner(changed)))
}

/// Removes an owner that has no keys.
#[utoipa::path(
    delete,
    path = "/api/v1/owners/{id}",
    tag = "owners",
    params(("id" = String, Path, description = "Your own id for it")),
    responses((status = 204, description = "Gone"))
)]
pub(crate) async fn delete(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<WriteOwners>(&caller).await?;
    engine.delete_owner(permit, id.parse("id")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn spec(request: CreateOwnerRequest) -> Result<OwnerSpec, Failure> {
    let mut fields = Fields::default();
    let id = fields.parse("id", &request.id);
    let name = fields.optional("name", request.name.as_deref());
    let metadata = fields.metadata(request.metadata);
    let policy = fields.policy(
        &request.restrictions,
        &request.limits,
        request.quota.as_deref(),
        request.concurrency.as_deref(),
    );
    let spec = id.zip(metadata).map(|(id, metadata)| OwnerSpec { id, name, metadata, policy });
    fields.finish(spec)
}

fn change(request: UpdateOwnerRequest) -> Result<OwnerChange, Failure> {
    let mut fields = Fields::default();
    let name = match request.name {
        Patch::Keep => None,
        Patch::Clear => Some(None),
        Patch::Set(name) => fields.parse("name", &name).map(Some),
    };
    let policy = fields.policy_change(
        &request.restrictions,
        request.limits.as_ref(),
        request.quota,
        request.concurrency,
    );
    let metadata = request.metadata.and_then(|map| fields.metadata(map));
    fields.finish(Some(OwnerChange { name, metadata, policy }))
}
