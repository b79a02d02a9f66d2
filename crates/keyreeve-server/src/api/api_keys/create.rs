//! `POST /api/v1/api-keys`.

use axum::{extract::State, response::Response};
use keyreeve_api::{CreateApiKeyRequest, CreatedApiKeyView};
use keyreeve_core::model::Keyspace;
use keyreeve_engine::{action::IssueKey, keys::KeySpec};

use super::created;
use crate::{
    api::{AppState, fields::Fields},
    extract::{Authenticated, IdempotencyHeader, JsonBody},
    problem::{Answer, Failure},
    view,
};

pub(super) const DEFAULT_ENVIRONMENT: &str = "production";

/// Makes a key. The answer is the only place where it is ever shown.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys",
    tag = "api-keys",
    request_body = CreateApiKeyRequest,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a retry return the first answer")),
    responses((status = 201, description = "Made", body = CreatedApiKeyView))
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated,
    idempotency: IdempotencyHeader,
    body: JsonBody<CreateApiKeyRequest>,
) -> Answer<Response> {
    let permit = state.engine.authorize::<IssueKey>(&caller).await?;
    let idempotency = idempotency.with_body(&body.bytes);
    let issued = state.engine.issue_key(permit, spec(body.value)?, idempotency).await?;
    let view = CreatedApiKeyView {
        key: view::shown_once(&issued.text),
        details: view::api_key(issued.stored, state.engine.now()),
    };
    Ok(created(&view.details.id.clone(), issued.replayed, view))
}

fn spec(request: CreateApiKeyRequest) -> Result<KeySpec, Failure> {
    let mut fields = Fields::default();
    let name = fields.parse("name", &request.name);
    let keyspace = request.keyspace.as_deref().unwrap_or(Keyspace::DEFAULT_NAME);
    let keyspace = fields.parse("keyspace", keyspace);
    let environment = request.environment.as_deref().unwrap_or(DEFAULT_ENVIRONMENT);
    let environment = fields.parse("environment", environment);
    let owner = fields.optional("owner", request.owner.as_deref());
    let roles = fields.roles(&request.roles);
    let permissions = fields.permissions(&request.permissions);
    let metadata = fields.metadata(request.metadata);
    let tags = fields.tags(request.tags);
    let expiry = fields.expiry(request.expires_in.as_deref(), request.expires_at);
    let policy = fields.policy(
        &request.restrictions,
        &request.limits,
        request.quota.as_deref(),
        request.concurrency.as_deref(),
    );
    let spec = (|| {
        Some(KeySpec {
            name: name?,
            keyspace: keyspace?,
            environment: environment?,
            owner,
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
