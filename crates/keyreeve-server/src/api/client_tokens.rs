//! `/api/v1/client-tokens`.

use axum::{Json, extract::State};
use http::StatusCode;
use keyreeve_api::{
    ClientTokenView, CreateClientTokenRequest, CreatedClientTokenView, Page, SecretText,
};
use keyreeve_core::Invalid;
use keyreeve_engine::{
    action::{IssueClientToken, ManageClientTokens},
    connections::{ClientToken, ClientTokenSpec},
};

use super::fields::Fields;
use crate::{
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::{Answer, Failure},
    view,
};

/// Lists the tokens that are good now, the oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/client-tokens",
    tag = "connections",
    responses((status = 200, description = "All tokens", body = Page<ClientTokenView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Json<Page<ClientTokenView>>> {
    let permit = engine.authorize::<ManageClientTokens>(&caller).await?;
    let tokens = engine.client_tokens(&permit)?;
    Ok(Json(view::whole(&tokens, |token| token_view(token))))
}

/// Makes a token for a client that cannot keep a key, such as a page in a browser. It is shown once.
#[utoipa::path(
    post,
    path = "/api/v1/client-tokens",
    tag = "connections",
    request_body = CreateClientTokenRequest,
    responses((status = 201, description = "Made", body = CreatedClientTokenView))
)]
pub(crate) async fn create(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: JsonBody<CreateClientTokenRequest>,
) -> Answer<(StatusCode, Json<CreatedClientTokenView>)> {
    let permit = engine.authorize::<IssueClientToken>(&caller).await?;
    let made = engine.issue_client_token(&permit, spec(&body.value)?).await?;
    // EXPOSE: the answer shows it, this once.
    let token = SecretText::new(made.text.expose().clone());
    let details = token_view(&made.token);
    Ok((StatusCode::CREATED, Json(CreatedClientTokenView { token, details })))
}

/// Ends a token at once.
#[utoipa::path(
    delete,
    path = "/api/v1/client-tokens/{id}",
    tag = "connections",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 204, description = "Ended"))
)]
pub(crate) async fn revoke(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<ManageClientTokens>(&caller).await?;
    engine.revoke_client_token(&permit, &id.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn spec(request: &CreateClientTokenRequest) -> Result<ClientTokenSpec, Failure> {
    let mut fields = Fields::default();
    let ip = request.ip.as_deref().and_then(|text| {
        let ip = text.parse().map_err(|_| Invalid::new("must be an IP address"));
        fields.take("ip", ip)
    });
    let spec = ClientTokenSpec {
        connections: request.connections.clone(),
        routes: fields.list("routes", &request.routes),
        origin: fields.optional("origin", request.origin.as_deref()),
        ip,
        life: fields.duration("expires_in", request.expires_in.as_deref()),
    };
    fields.finish(Some(spec))
}

fn token_view(token: &ClientToken) -> ClientTokenView {
    ClientTokenView {
        id: token.id.clone(),
        key: token.key.clone(),
        connections: token.connections.clone(),
        routes: token.routes.iter().map(ToString::to_string).collect(),
        origin: token.origin.as_ref().map(ToString::to_string),
        ip: token.ip.map(|ip| ip.to_string()),
        created_at: token.created_at,
        expires_at: token.expires_at,
    }
}
