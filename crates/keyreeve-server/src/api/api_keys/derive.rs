//! `POST /api/v1/api-keys/derive`.

use axum::{extract::State, response::Response};
use keyreeve_api::{CreatedApiKeyView, DeriveApiKeyRequest};
use keyreeve_engine::{action::DeriveKey, keys::DeriveSpec};

use super::created;
use crate::{
    api::fields::Fields,
    extract::{Authenticated, EngineRef, IdempotencyHeader, JsonBody},
    problem::{Answer, Failure},
    view,
};

/// Derives a key from the one that calls: good only while that one is, and for no more.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/derive",
    tag = "api-keys",
    request_body = DeriveApiKeyRequest,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a retry return the first answer")),
    responses((status = 201, description = "Made", body = CreatedApiKeyView))
)]
pub(crate) async fn derive(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    idempotency: IdempotencyHeader,
    body: JsonBody<DeriveApiKeyRequest>,
) -> Answer<Response> {
    let permit = engine.authorize::<DeriveKey>(&caller).await?;
    let idempotency = idempotency.with_body(&body.bytes);
    let issued = engine.derive_key(permit, spec(body.value)?, idempotency).await?;
    let view = CreatedApiKeyView {
        key: view::shown_once(&issued.text),
        details: view::api_key(issued.stored, engine.now()),
    };
    Ok(created(&view.details.id.clone(), issued.replayed, view))
}

fn spec(request: DeriveApiKeyRequest) -> Result<DeriveSpec, Failure> {
    let mut fields = Fields::default();
    let name = fields.parse("name", &request.name);
    let roles = fields.roles(&request.roles);
    let permissions = fields.permissions(&request.permissions);
    let policy = fields.policy(
        &request.restrictions,
        &request.limits,
        request.quota.as_deref(),
        request.concurrency.as_deref(),
    );
    let metadata = fields.metadata(request.metadata);
    let tags = fields.tags(request.tags);
    let expiry = fields.expiry(request.expires_in.as_deref(), request.expires_at);
    let spec = (|| {
        Some(DeriveSpec {
            name: name?,
            roles: roles?,
            permissions: permissions?,
            metadata: metadata?,
            tags: tags?,
            not_before: request.not_before,
            expiry,
            policy,
        })
    })();
    fields.finish(spec)
}
