//! Every route, and every layer around them.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::{MatchedPath, Request},
    middleware::{self, Next},
    response::Response,
    routing::any,
};
use http::{HeaderName, HeaderValue, Method, header};
use keyreeve_api::{ErrorCode, Problem};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState, api_keys, audit, client_tokens, connections, environments, health, keyspaces, owners,
    projects, reservations, roles, webhooks,
};
use crate::{ServerOptions, problem::Failure, verify};

/// Routes that need no credential. A test holds that every other route refuses without one.
pub const PUBLIC_ROUTES: &[&str] =
    &["/healthz", "/readyz", "/metrics", "/openapi.json", "/errors/{code}"];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyreeve",
        description = "Looks after every API key a team issues, holds and has lost.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(verify::verify),
    components(schemas(Problem)),
    modifiers(&BearerKey),
    security(("key" = []))
)]
struct Document;

struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A Keyreeve API key. X-API-Key takes it too."))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The OpenAPI document, generated from the handlers.
pub fn openapi() -> &'static utoipa::openapi::OpenApi {
    static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> =
        LazyLock::new(|| with_refusals(documented().into_openapi()));
    &DOCUMENT
}

/// Every call that needs a credential can be refused, and every one can fail, in the same form.
fn with_refusals(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let problem = |description: &str| {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content)
            .build()
    };
    for (path, item) in &mut document.paths.paths {
        if PUBLIC_ROUTES.contains(&path.as_str()) {
            continue;
        }
        let methods = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in methods.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            responses.insert("4XX".to_owned(), problem("Refused, and why").into());
            responses.insert("5XX".to_owned(), problem("Not served").into());
        }
    }
    document
}

/// Routes with their documentation.
fn documented() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        // Keys.
        .routes(routes!(api_keys::list::list, api_keys::create::create))
        .routes(routes!(api_keys::list::expiring))
        .routes(routes!(api_keys::cleanup::cleanup_expired))
        .routes(routes!(api_keys::show::show, api_keys::update::update, api_keys::state::delete))
        .routes(routes!(api_keys::derive::derive))
        .routes(routes!(api_keys::import::import))
        .routes(routes!(api_keys::explain::explain))
        .routes(routes!(api_keys::explain::suggested_limits))
        .routes(routes!(api_keys::rotate::rotate))
        .routes(routes!(api_keys::rotate::finish_rotation))
        .routes(routes!(api_keys::state::revoke))
        .routes(routes!(api_keys::state::enable))
        .routes(routes!(api_keys::state::disable))
        .routes(routes!(api_keys::state::undelete))
        .routes(routes!(api_keys::state::purge))
        // What verifications set aside.
        .routes(routes!(reservations::commit))
        .routes(routes!(reservations::cancel))
        .routes(routes!(reservations::release))
        // What stands around keys.
        .routes(routes!(keyspaces::list, keyspaces::create))
        .routes(routes!(keyspaces::show, keyspaces::update, keyspaces::delete))
        .routes(routes!(environments::list, environments::create))
        .routes(routes!(environments::delete))
        .routes(routes!(owners::list, owners::create))
        .routes(routes!(owners::show, owners::update, owners::delete))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::show, roles::update, roles::delete))
        .routes(routes!(projects::list, projects::create))
        // Services that are called.
        .routes(routes!(connections::list, connections::create))
        .routes(routes!(connections::show, connections::update, connections::delete))
        .routes(routes!(connections::cut))
        .routes(routes!(connections::test))
        .routes(routes!(connections::usage))
        .routes(routes!(connections::calls))
        .routes(routes!(client_tokens::list, client_tokens::create))
        .routes(routes!(client_tokens::revoke))
        // Services that call us.
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::show, webhooks::update, webhooks::delete))
        .routes(routes!(webhooks::rotate_secret))
        .routes(routes!(webhooks::events))
        .routes(routes!(webhooks::preview))
        .routes(routes!(webhooks::event))
        .routes(routes!(webhooks::replay))
        // The record.
        .routes(routes!(audit::list))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(audit::export))
        // For machines that watch.
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi_json))
        // What problem `type`s point to.
        .routes(routes!(health::explain_error))
}

/// The router with its layers, innermost first.
pub(crate) fn router(state: AppState, options: &ServerOptions) -> Router {
    let (router, _) = documented().split_for_parts();
    router
        // POST is served before the router; this answers every other method.
        .route(verify::PATH, any(async || Failure::new(ErrorCode::MethodNotAllowed)))
        .fallback(async || Failure::new(ErrorCode::NotFound).detail("no such path"))
        .method_not_allowed_fallback(async || Failure::new(ErrorCode::MethodNotAllowed))
        // Tells the service which route answered, for the log and the metrics.
        .layer(middleware::from_fn(name_route))
        // Answers preflights. What other answers need, the service adds to all of them.
        .layer(cors(options.origins()))
        .with_state(state)
}

async fn name_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("idempotency-key"),
        ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_documented_whole() {
        let document = serde_json::to_value(openapi()).unwrap();
        let mut operations = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                operations += 1;
                let place = format!("{method} {path}");
                assert!(
                    operation["description"].is_string() || operation["summary"].is_string(),
                    "{place} says nothing"
                );
                assert!(operation["tags"][0].is_string(), "{place} has no tag");
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
                let public = PUBLIC_ROUTES.contains(&path.as_str());
                assert!(public || responses.contains_key("4XX"), "{place} never fails?");
            }
        }
        assert_eq!(operations, 72);
    }
}
