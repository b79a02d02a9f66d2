//! `PATCH /api/v1/api-keys/{id}`.

use axum::{Json, extract::State};
use jiff::Timestamp;
use keyreeve_api::{ApiKeyView, Patch, UpdateApiKeyRequest};
use keyreeve_engine::{
    action::UpdateKey,
    keys::{KeyChange, Replace},
};

use crate::{
    api::fields::Fields,
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::{Answer, Failure},
    view,
};

/// Changes what a key carries. Absent fields stay as they are.
#[utoipa::path(
    patch,
    path = "/api/v1/api-keys/{id}",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    request_body = UpdateApiKeyRequest,
    responses((status = 200, description = "The key as it is now", body = ApiKeyView))
)]
pub(crate) async fn update(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: JsonBody<UpdateApiKeyRequest>,
) -> Answer<Json<ApiKeyView>> {
    let permit = engine.authorize::<UpdateKey>(&caller).await?;
    let updated = engine.update_key(permit, id.parse("id")?, change(body.value)?).await?;
    Ok(Json(view::api_key(updated, engine.now())))
}

fn change(request: UpdateApiKeyRequest) -> Result<KeyChange, Failure> {
    let mut fields = Fields::default();
    let owner = match request.owner {
        Patch::Keep => Replace::Keep,
        Patch::Clear => Replace::Clear,
        Patch::Set(id) => fields.parse("owner", &id).map_or(Replace::Keep, Replace::With),
    };
    let policy = fields.policy_change(
        &request.restrictions,
        request.limits.as_ref(),
        request.quota,
        request.concurrency,
    );
    let change = KeyChange {
        policy,
        not_before: moment(&request.not_before),
        name: fields.optional("name", request.name.as_deref()),
        owner,
        roles: request.roles.and_then(|roles| fields.roles(&roles)),
        permissions: request.permissions.and_then(|texts| fields.permissions(&texts)),
        metadata: request.metadata.and_then(|map| fields.metadata(map)),
        tags: request.tags.and_then(|tags| fields.tags(tags)),
        expires_at: moment(&request.expires_at),
        revision: request.revision,
    };
    fields.finish(Some(change))
}

fn moment(patch: &Patch<Timestamp>) -> Replace<Timestamp> {
    match patch {
        Patch::Keep => Replace::Keep,
        Patch::Clear => Replace::Clear,
        Patch::Set(at) => Replace::With(*at),
    }
}
