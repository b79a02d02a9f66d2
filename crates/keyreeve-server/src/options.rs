//! What a server is told.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::HeaderValue;
use keyreeve_core::client_address::TrustedProxies;

use crate::AuthorizerOptions;

/// Everything a server is told.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Cores to serve on.
    pub threads: usize,
    /// The local socket; its user is the admin.
    pub socket: Option<PathBuf>,
    /// TLS on the TCP listener.
    pub tls: Option<TlsOptions>,
    /// Origins that browsers may call from, exactly as browsers send them.
    pub allowed_origins: Vec<String>,
    /// Who may read the metrics.
    pub metrics: MetricsAccess,
    /// Limits on what comes in.
    pub limits: Limits,
    /// Proxies whose word on where a request came from is taken.
    pub trusted_proxies: TrustedProxies,
    /// What gateways are told; `None` answers them that there is nothing here.
    pub authorizer: Option<Arc<AuthorizerOptions>>,
}

impl ServerOptions {
    /// The allowed origins as they stand in headers.
    pub(crate) fn origins(&self) -> Vec<HeaderValue> {
        let origins = self.allowed_origins.iter();
        origins.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect()
    }
}

/// Certificate and key, reread when they change.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// How often to look whether they changed.
    pub reload_interval: Duration,
}

/// Who may read the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Anyone who reaches the port. Then they hold no names and no ids.
    Open,
    /// Callers with `keyreeve.metrics.read` in the default project.
    Authenticated,
}

/// Limits on what comes in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once over TCP, all cores together. The local socket has its own places.
    pub max_connections: usize,
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// Bytes of a request body that brings keys of another system in.
    pub max_import_bytes: usize,
    /// Bytes of all headers of a request together.
    pub max_header_bytes: usize,
    /// Headers of a request.
    pub max_headers: usize,
    /// Time for the head of a request to arrive, idle time between requests included.
    pub header_timeout: Duration,
    /// Time for a request to be served, its body's arrival included.
    pub request_timeout: Duration,
    /// Time for open requests to end after the server was told to stop.
    pub drain_timeout: Duration,
}
