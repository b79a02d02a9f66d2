//! `/api/v1/connections`.

use std::borrow::Cow;

use axum::{
    Json,
    extract::{Query, State},
};
use http::StatusCode;
use jiff::Timestamp;
use keyreeve_api::{
    CacheRulesView, CallCostView, CallCountView, CallLimitsView, CallUsageQuery, CallView,
    ConnectionTestView, ConnectionView, CreateConnectionRequest, ErrorCode, ListCallsQuery, Page,
    Patch, PatienceView, TestConnectionRequest, UpdateConnectionRequest,
};
use keyreeve_core::{Invalid, egress::PathRules, vault::SecretPath};
use keyreeve_engine::{
    FieldError,
    action::{ManageConnections, ReadConnections},
    connections::{
        CacheRules, CacheScope, CallCost, CallLimits, Connection, ConnectionChange, ConnectionSpec,
        Patience, ProbeSpec, StoredCall,
    },
    vault::VaultError,
};

use super::{AppState, fields::Fields};
use crate::{
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::{Answer, Failure},
    view,
};

/// The fields that two requests have in common, as the engine takes them.
macro_rules! change {
    ($fields:ident, $given:ident) => {
        ConnectionChange {
            base_url: $given.base_url.as_deref().and_then(|it| $fields.parse("base_url", it)),
            secret: $given.secret.as_deref().and_then(|it| $fields.parse("secret", it)),
            inject: $given.inject,
            parameters: $given.parameters,
            public: $given.public,
            allow_internal: $given.allow_internal,
            allow_plaintext: $given.allow_plaintext,
            path_rules: $given.path_rules.as_deref().and_then(|it| path_rules(&mut $fields, it)),
            restrictions: $given.restrictions.as_ref().map(|it| $fields.restrictions(it)),
            costs: $given.costs.as_ref().map(|it| costs(&mut $fields, it)),
            clients: $given.clients,
            limits: $given.limits.map(limits),
            patience: $given.patience.map(|it| patience(&it)),
            cache: match $given.cache {
                Patch::Keep => None,
                Patch::Clear => Some(None),
                Patch::Set(view) => Some(cache(&mut $fields, &view)),
            },
            enabled: $given.enabled,
        }
    };
}

/// Lists connections, by name.
#[utoipa::path(
    get,
    path = "/api/v1/connections",
    tag = "connections",
    responses((status = 200, description = "All connections", body = Page<ConnectionView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Json<Page<ConnectionView>>> {
    let permit = engine.authorize::<ReadConnections>(&caller).await?;
    let all = engine.connections(&permit)?;
    Ok(Json(view::whole(&all, |connection| connection_view(connection))))
}

/// Makes a connection. Needs the right to read its secret.
#[utoipa::path(
    post,
    path = "/api/v1/connections",
    tag = "connections",
    request_body = CreateConnectionRequest,
    responses((status = 201, description = "Made", body = ConnectionView))
)]
pub(crate) async fn create(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: JsonBody<CreateConnectionRequest>,
) -> Answer<(StatusCode, Json<ConnectionView>)> {
    let permit = engine.authorize::<ManageConnections>(&caller).await?;
    let made = engine.add_connection(&permit, spec(body.value)?).await?;
    Ok((StatusCode::CREATED, Json(connection_view(&made))))
}

/// One connection.
#[utoipa::path(
    get,
    path = "/api/v1/connections/{name}",
    tag = "connections",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The connection", body = ConnectionView))
)]
pub(crate) async fn show(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<Json<ConnectionView>> {
    let permit = engine.authorize::<ReadConnections>(&caller).await?;
    Ok(Json(connection_view(&*engine.connection(&permit, &name.0)?)))
}

/// Changes a connection. Needs the right to read its secret.
#[utoipa::path(
    patch,
    path = "/api/v1/connections/{name}",
    tag = "connections",
    params(("name" = String, Path, description = "Its name")),
    request_body = UpdateConnectionRequest,
    responses((status = 200, description = "The connection as it is now", body = ConnectionView))
)]
pub(crate) async fn update(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
    body: JsonBody<UpdateConnectionRequest>,
) -> Answer<Json<ConnectionView>> {
    let permit = engine.authorize::<ManageConnections>(&caller).await?;
    let mut fields = Fields::default();
    let request = body.value;
    let change = change!(fields, request);
    let change = fields.finish(Some(change))?;
    let changed = engine.update_connection(&permit, &name.0, change).await?;
    Ok(Json(connection_view(&changed)))
}

/// Removes a connection.
#[utoipa::path(
    delete,
    path = "/api/v1/connections/{name}",
    tag = "connections",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "Gone"))
)]
pub(crate) async fn delete(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<ManageConnections>(&caller).await?;
    engine.remove_connection(&permit, &name.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all calls of the project that are going on, streams and tunnels among them. New ones are taken.
#[utoipa::path(
    post,
    path = "/api/v1/connection-cuts",
    tag = "connections",
    responses((status = 204, description = "All calls are ended"))
)]
pub(crate) async fn cut(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated,
) -> Answer<StatusCode> {
    let permit = state.engine.authorize::<ManageConnections>(&caller).await?;
    state.engine.note_cut(&permit).await?;
    state.data_plane.cut(caller.project());
    Ok(StatusCode::NO_CONTENT)
}

/// Asks a service whether a credential is good, by one request or one sign-in. For a secret it needs the
/// right to read that.
#[utoipa::path(
    post,
    path = "/api/v1/connection-tests",
    tag = "connections",
    request_body = TestConnectionRequest,
    responses((status = 200, description = "What the service said", body = ConnectionTestView))
)]
pub(crate) async fn test(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated,
    body: JsonBody<TestConnectionRequest>,
) -> Answer<Json<ConnectionTestView>> {
    let permit = state.engine.authorize::<ManageConnections>(&caller).await?;
    let probe = state.engine.prepare_probe(&permit, probe_spec(body.value)?).await?;
    let (service, version) = (probe.service.clone(), probe.version);
    let probed = state.data_plane.probe(probe).await;
    Ok(Json(ConnectionTestView {
        verdict: probed.verdict.as_str().to_owned(),
        detail: probed.detail,
        service,
        version,
        status: probed.status,
        took_ms: u64::try_from(probed.took.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// What was called through connections, by day and client.
#[utoipa::path(
    get,
    path = "/api/v1/connection-usage",
    tag = "connections",
    params(CallUsageQuery),
    responses((status = 200, description = "Sums by day", body = Page<CallCountView>))
)]
pub(crate) async fn usage(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    query: Result<Query<CallUsageQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<Page<CallCountView>>> {
    let permit = engine.authorize::<ReadConnections>(&caller).await?;
    let Query(query) = query.map_err(|_| Failure::field("from", "must be a day"))?;
    let counts = engine.call_usage(&permit, query.from.as_deref()).await?;
    Ok(Json(view::whole(&counts, |count| CallCountView {
        day: count.day.clone(),
        connection: count.connection.clone(),
        client: count.client.clone(),
        calls: count.calls,
        failed: count.failed,
        request_bytes: count.request_bytes,
        answer_bytes: count.answer_bytes,
        average_us: count.took_us / count.calls.max(1),
        units: count.units,
    })))
}

/// Single calls, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/connection-calls",
    tag = "connections",
    params(ListCallsQuery),
    responses((status = 200, description = "Calls", body = Page<CallView>))
)]
pub(crate) async fn calls(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    query: Result<Query<ListCallsQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Json<Page<CallView>>> {
    let permit = engine.authorize::<ReadConnections>(&caller).await?;
    let rule = "must be a moment, and limit a number of 1 to 1000";
    let Query(query) = query.map_err(|_| Failure::field("before", rule))?;
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Failure::field("limit", "must be 1 to 1000"));
    }
    let rows = engine.recent_calls(&permit, query.before, limit).await?;
    let items = rows.into_iter().map(call_view).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

fn spec(request: CreateConnectionRequest) -> Result<ConnectionSpec, Failure> {
    let mut fields = Fields::default();
    let secret = request.secret.as_deref().unwrap_or_default();
    let secret = fields.parse::<SecretPath>("secret", secret);
    let (name, provider) = (request.name.clone(), request.provider.clone());
    let change = change!(fields, request);
    let spec = secret.map(|secret| ConnectionSpec {
        name,
        provider,
        base_url: change.base_url.clone(),
        secret,
        inject: change.inject.clone(),
        change: ConnectionChange { secret: None, ..change },
    });
    fields.finish(spec)
}

fn probe_spec(request: TestConnectionRequest) -> Result<ProbeSpec, Failure> {
    let mut fields = Fields::default();
    let spec = match (request.connection, request.secret) {
        (Some(name), None) => Some(ProbeSpec::Connection { name, path: request.path }),
        (None, Some(secret)) => {
            fields.parse::<SecretPath>("secret", &secret).map(|path| ProbeSpec::Secret {
                path,
                provider: request.provider,
                parameters: request.parameters.unwrap_or_default(),
                allow_internal: request.allow_internal.unwrap_or_default(),
                allow_plaintext: request.allow_plaintext.unwrap_or_default(),
            })
        }
        _ => {
            let rule = "must be given, or `secret` instead: one of them";
            return Err(Failure::field("connection", rule));
        }
    };
    fields.finish(spec)
}

fn path_rules(fields: &mut Fields, text: &str) -> Option<PathRules> {
    let rules = match text {
        "strict" => Ok(PathRules::Strict),
        "lenient" => Ok(PathRules::Lenient),
        _ => Err(Invalid::new("must be strict or lenient")),
    };
    fields.take("path_rules", rules)
}

fn costs(fields: &mut Fields, views: &[CallCostView]) -> Vec<CallCost> {
    let routes: Vec<String> = views.iter().map(|view| view.route.clone()).collect();
    let routes = fields.list("costs", &routes);
    routes
        .into_iter()
        .zip(views)
        .map(|(route, view)| CallCost { route, units: view.units })
        .collect()
}

fn cache(fields: &mut Fields, view: &CacheRulesView) -> Option<CacheRules> {
    let scope = match view.scope.as_deref() {
        None | Some("client") => Ok(CacheScope::Client),
        Some("connection") => Ok(CacheScope::Connection),
        Some(_) => Err(Invalid::new("must be client or connection")),
    };
    Some(CacheRules {
        routes: fields.list("cache.routes", &view.routes),
        max_age_s: view.max_age_s,
        scope: fields.take("cache.scope", scope)?,
        max_entry_bytes: view.max_entry_bytes.unwrap_or(1 << 20),
    })
}

fn limits(view: CallLimitsView) -> CallLimits {
    let usual = CallLimits::default();
    CallLimits {
        rate: view.rate,
        rate_per_client: view.rate_per_client,
        spend: view.spend,
        spend_per_client: view.spend_per_client,
        concurrency: view.concurrency,
        max_request_bytes: view.max_request_bytes,
        max_response_bytes: view.max_response_bytes,
        max_buffered_bytes: view.max_buffered_bytes.unwrap_or(usual.max_buffered_bytes),
    }
}

fn patience(view: &PatienceView) -> Patience {
    let usual = Patience::default();
    Patience {
        connect_ms: view.connect_ms.unwrap_or(usual.connect_ms),
        first_byte_ms: view.first_byte_ms.unwrap_or(usual.first_byte_ms),
        idle_ms: view.idle_ms.unwrap_or(usual.idle_ms),
    }
}

fn call_view(call: StoredCall<'static>) -> CallView {
    CallView {
        at: Timestamp::from_millisecond(call.at_ms).unwrap_or_default(),
        client: call.client.into_owned(),
        token: call.token.map(Cow::into_owned),
        connection: call.connection.into_owned(),
        method: call.method.into_owned(),
        path: call.template.into_owned(),
        status: call.status,
        request_bytes: call.request_bytes,
        answer_bytes: call.answer_bytes,
        took_us: call.took_us,
        units: call.units,
        version: call.version,
        scrubbed: call.scrubbed,
        whole: !call.is_broken,
    }
}

fn connection_view(connection: &Connection) -> ConnectionView {
    let settings = connection.settings.clone();
    let (limits, patience) = (settings.limits, settings.patience);
    ConnectionView {
        name: connection.name.clone(),
        provider: settings.provider,
        base_url: settings.base_url.to_string(),
        secret: settings.secret.as_str().to_owned(),
        inject: settings.inject,
        parameters: settings.parameters,
        public: settings.public,
        allow_internal: settings.allow_internal,
        allow_plaintext: settings.allow_plaintext,
        path_rules: match settings.path_rules {
            PathRules::Strict => "strict",
            PathRules::Lenient => "lenient",
        }
        .to_owned(),
        restrictions: view::restrictions(&settings.restrictions),
        costs: settings
            .costs
            .iter()
            .map(|cost| CallCostView { route: cost.route.to_string(), units: cost.units })
            .collect(),
        clients: settings.clients,
        limits: CallLimitsView {
            rate: limits.rate,
            rate_per_client: limits.rate_per_client,
            spend: limits.spend,
            spend_per_client: limits.spend_per_client,
            concurrency: limits.concurrency,
            max_request_bytes: limits.max_request_bytes,
            max_response_bytes: limits.max_response_bytes,
            max_buffered_bytes: Some(limits.max_buffered_bytes),
        },
        patience: PatienceView {
            connect_ms: Some(patience.connect_ms),
            first_byte_ms: Some(patience.first_byte_ms),
            idle_ms: Some(patience.idle_ms),
        },
        cache: settings.cache.map(|rules| CacheRulesView {
            routes: rules.routes.iter().map(ToString::to_string).collect(),
            max_age_s: rules.max_age_s,
            scope: Some(
                match rules.scope {
                    CacheScope::Client => "client",
                    CacheScope::Connection => "connection",
                }
                .to_owned(),
            ),
            max_entry_bytes: Some(rules.max_entry_bytes),
        }),
        enabled: connection.enabled,
        permission: connection.permission().to_owned(),
        path: format!("/proxy/{}/", connection.name),
        created_by: connection.created_by.clone(),
        created_at: connection.created_at,
        updated_at: connection.updated_at,
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let words = error.to_string();
        match error {
            VaultError::Sealed => Self::new(ErrorCode::VaultSealed).retry_after(1),
            VaultError::Denied { .. } => Self::new(ErrorCode::Forbidden).detail(words),
            VaultError::NotFound(_) => Self::field("secret", "must exist: nothing is at this path"),
            VaultError::Invalid(FieldError { field, rule }) => {
                Self::field(field, rule.rule().to_owned())
            }
            VaultError::Engine(error) => error.into(),
            other => {
                tracing::error!(error = %other, "the vault failed");
                Self::new(ErrorCode::Internal)
            }
        }
    }
}
