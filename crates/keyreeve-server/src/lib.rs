//! The control plane: REST API, metrics and health over TCP, TLS and a local socket.
//!
//! The way of a request, and the file of each step: listen (`listen`) → frame (`connection`) →
//! limits and headers around every answer (`service`) → authenticate (`authenticate`) → route
//! (`api::router`; in place `verify`, `authz`, `vault_api` and what is not for us, `data_plane`) → use-case (`keyreeve_engine`) → answer (`view`,
//! `problem`).

mod api;
mod authenticate;
mod authz;
mod connection;
mod data_plane;
mod extract;
mod json;
mod listen;
mod metrics;
mod options;
mod problem;
mod response_body;
mod server;
mod service;
mod vault_api;
mod verify;
mod view;

pub use api::{PUBLIC_ROUTES, openapi};
pub use authz::AuthorizerOptions;
pub use data_plane::{Body, DataPlane, Incoming, NotPassed, Passed, Passing, Probing};
pub use listen::{BindError, TlsError};
pub use metrics::Metrics;
pub use options::{Limits, MetricsAccess, ServerOptions, TlsOptions};
pub use server::{Server, SetUpError, Stopped};
