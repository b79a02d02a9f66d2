//! The REST API: one file a resource, all routes on one page.

mod api_keys;
mod audit;
mod client_tokens;
mod connections;
mod environments;
mod fields;
mod health;
mod keyspaces;
mod owners;
mod projects;
mod reservations;
mod roles;
mod router;
mod webhooks;

use std::sync::{Arc, atomic::AtomicBool};

use axum::extract::FromRef;

use crate::{DataPlane, Metrics, MetricsAccess, ServerOptions, extract::EngineRef};

pub(crate) use api_keys::import;
pub(crate) use router::router;
pub use router::{PUBLIC_ROUTES, openapi};

/// What handlers share.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) engine: EngineRef,
    pub(crate) metrics: Metrics,
    pub(crate) metrics_access: MetricsAccess,
    pub(crate) data_plane: Arc<dyn DataPlane>,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) max_body_bytes: usize,
    pub(crate) max_import_bytes: usize,
    pub(crate) store_check: health::StoreCheck,
}

impl AppState {
    pub(crate) fn new(
        engine: EngineRef,
        metrics: Metrics,
        data_plane: Arc<dyn DataPlane>,
        draining: Arc<AtomicBool>,
        options: &ServerOptions,
    ) -> Self {
        Self {
            engine,
            metrics,
            metrics_access: options.metrics,
            data_plane,
            draining,
            max_body_bytes: options.limits.max_body_bytes,
            max_import_bytes: options.limits.max_import_bytes,
            store_check: health::StoreCheck::default(),
        }
    }
}

impl FromRef<AppState> for EngineRef {
    fn from_ref(state: &AppState) -> Self {
        state.engine.clone()
    }
}
