//! For machines that watch: health, readiness, metrics, the OpenAPI document, and what error
//! codes mean.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Json,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use keyreeve_api::{ErrorCode, Problem, ReadinessChecksView, ReadinessView};
use keyreeve_engine::{Engine, action::ReadMetrics};
use tokio::{sync::Mutex, time::Instant};

use super::AppState;
use crate::{
    MetricsAccess,
    extract::{Authenticated, Segment},
    problem::{Answer, Failure},
};

/// How long an answer of the store is good for.
const FRESH: Duration = Duration::from_millis(250);

/// Whether the store reads and writes, asked at most once at a time and a few times a second:
/// anybody may call `/readyz`, and nobody may make the store work by it.
#[derive(Clone, Default)]
pub(crate) struct StoreCheck(Arc<Mutex<Option<(Instant, bool)>>>);

impl StoreCheck {
    async fn passes(&self, engine: &Engine) -> bool {
        // Held while the store is asked, so that all others wait for the one answer.
        let mut last = self.0.lock().await;
        if let Some((at, passed)) = *last
            && at.elapsed() < FRESH
        {
            return passed;
        }
        let passed = engine.check().await.is_ok();
        *last = Some((Instant::now(), passed));
        passed
    }
}

/// The process is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operations",
    responses((status = 200, description = "Alive", body = String)),
    security(())
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The server can do its work: the store reads and writes, and it is not about to stop.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "Ready", body = ReadinessView),
        (status = 503, description = "Not ready, and why", body = ReadinessView),
    ),
    security(())
)]
pub(crate) async fn readyz(State(state): State<AppState>) -> Response {
    let draining = state.draining.load(Ordering::Acquire);
    let store = state.store_check.passes(&state.engine).await;
    let fresh = state.engine.can_vouch();
    let ready = store && fresh && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let live = state.engine.live();
    let report = ReadinessView {
        ready,
        checks: ReadinessChecksView {
            store: if store { "ok" } else { "failed" }.to_owned(),
            knowledge: if fresh { "ok" } else { "stale" }.to_owned(),
            limits: if state.engine.counts_together() { "ok" } else { "degraded" }.to_owned(),
            draining,
        },
        epoch: live.epoch(),
        age_ms: u64::try_from(state.engine.age().as_millis()).unwrap_or(u64::MAX),
        live_keys: live.len() as u64,
    };
    let mut response = (status, Json(report)).into_response();
    if !ready {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Figures in the text form of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses((status = 200, description = "Figures", body = String)),
    security(())
)]
pub(crate) async fn metrics(State(state): State<AppState>, mut parts: Parts) -> Answer<Response> {
    let is_authenticated = state.metrics_access == MetricsAccess::Authenticated;
    if is_authenticated {
        let Authenticated(caller) = Authenticated::from_request_parts(&mut parts, &state).await?;
        state.engine.authorize::<ReadMetrics>(&caller).await?;
    }
    let mut page = state.metrics.render(&state.engine);
    state.data_plane.render_figures(&mut page, is_authenticated);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response())
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operations",
    responses((status = 200, description = "The OpenAPI document")),
    security(())
)]
pub(crate) async fn openapi_json() -> Response {
    Json(super::openapi()).into_response()
}

/// What an error code means, for whoever follows a problem's `type`.
#[utoipa::path(
    get,
    path = "/errors/{code}",
    tag = "operations",
    params(("code" = String, Path, description = "The error code")),
    responses(
        (status = 200, description = "What the code means", body = String),
        (
            status = 404,
            description = "No such code",
            body = Problem,
            content_type = "application/problem+json"
        ),
    ),
    security(())
)]
pub(crate) async fn explain_error(code: Segment) -> Answer<String> {
    let code = ErrorCode::named(&code.0)
        .ok_or_else(|| Failure::new(ErrorCode::NotFound).detail("no such error code"))?;
    Ok(format!("{} ({})\n\n{}.\n", code.as_str(), code.status(), code.title()))
}
