//! How requests are served.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use jiff::SignedDuration;
use keyreeve_core::{Invalid, client_address::TrustedProxies};
use serde::Deserialize;

use super::{
    fault::Rules,
    rule::{path, timer, whole},
};

const SHORTEST: SignedDuration = SignedDuration::from_millis(100);
const TEN_MINUTES: SignedDuration = SignedDuration::from_mins(10);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// `[server]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerConfig {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Threads that serve requests; `None` means one per core.
    pub(crate) threads: Option<NonZeroUsize>,
    /// Connections open at the same time, over all threads.
    pub(crate) max_connections: usize,
    /// The largest body of a request.
    pub(crate) max_body_bytes: usize,
    /// The largest head of a request.
    pub(crate) max_header_bytes: usize,
    /// Headers of one request.
    pub(crate) max_headers: usize,
    /// How long the head of a request may take to arrive, idle time before it included.
    pub(crate) header_timeout: Duration,
    /// How long a request may take from its head to the end of the answer.
    pub(crate) request_timeout: Duration,
    /// How long a stop waits for requests under way.
    pub(crate) drain_timeout: Duration,
    /// Who may read the metrics.
    pub(crate) metrics: MetricsAccess,
    /// Certificate and key; `None` means plain HTTP.
    pub(crate) tls: Option<TlsConfig>,
    /// Origins whose pages may call from a browser.
    pub(crate) allowed_origins: Vec<String>,
    /// Proxies whose word on where a request came from is taken.
    pub(crate) trusted_proxies: TrustedProxies,
}

/// Who may read the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsAccess {
    /// Everyone who reaches the port.
    Open,
    /// Everyone with a key that may.
    Authenticated,
}

/// `[server.tls]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    /// PEM file with the certificate chain.
    pub(crate) cert: PathBuf,
    /// PEM file with the private key.
    pub(crate) key: PathBuf,
    /// How often to look whether they have changed.
    pub(crate) reload_interval: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    listen: String,
    threads: i64,
    max_connections: i64,
    max_body_bytes: i64,
    max_header_bytes: i64,
    max_headers: i64,
    header_timeout: String,
    request_timeout: String,
    drain_timeout: String,
    metrics: String,
    trusted_proxies: Vec<String>,
    tls: RawTls,
    cors: RawCors,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    cert: String,
    key: String,
    reload_interval: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCors {
    allowed_origins: Vec<String>,
}

/// How `[server.tls]` can turn out.
enum Transport {
    Plain,
    Tls(TlsConfig),
}

impl RawServer {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<ServerConfig> {
        let listen = rules.keep("server.listen", address(&self.listen));
        let threads = rules.keep("server.threads", whole(self.threads, &(0..=1024)));
        let connections = whole(self.max_connections, &(1..=1_000_000));
        let connections = rules.keep("server.max_connections", connections);
        let body = whole(self.max_body_bytes, &(1024..=64 * 1024 * 1024));
        let body = rules.keep("server.max_body_bytes", body);
        // The HTTP library takes no less than 8 KiB.
        let header = whole(self.max_header_bytes, &(8192..=1024 * 1024));
        let header = rules.keep("server.max_header_bytes", header);
        let headers = rules.keep("server.max_headers", whole(self.max_headers, &(16..=1000)));
        let quick = SHORTEST..=TEN_MINUTES;
        let header_timeout = timer(&self.header_timeout, &quick);
        let header_timeout = rules.keep("server.header_timeout", header_timeout);
        let request_timeout = timer(&self.request_timeout, &quick);
        let request_timeout = rules.keep("server.request_timeout", request_timeout);
        let drain_timeout = timer(&self.drain_timeout, &(SignedDuration::ZERO..=TEN_MINUTES));
        let drain_timeout = rules.keep("server.drain_timeout", drain_timeout);
        let metrics = rules.keep("server.metrics", metrics(&self.metrics));
        let proxies = rules.keep("server.trusted_proxies", proxies(&self.trusted_proxies));
        let transport = self.tls.resolve(rules);
        let origins = origins(self.cors.allowed_origins);
        let allowed_origins = rules.keep("server.cors.allowed_origins", origins);
        Some(ServerConfig {
            listen: listen?,
            threads: NonZeroUsize::new(threads?),
            max_connections: connections?,
            max_body_bytes: body?,
            max_header_bytes: header?,
            max_headers: headers?,
            header_timeout: header_timeout?,
            request_timeout: request_timeout?,
            drain_timeout: drain_timeout?,
            metrics: metrics?,
            tls: match transport? {
                Transport::Plain => None,
                Transport::Tls(tls) => Some(tls),
            },
            allowed_origins: allowed_origins?,
            trusted_proxies: proxies?,
        })
    }
}

impl RawTls {
    fn resolve(&self, rules: &mut Rules<'_>) -> Option<Transport> {
        let reload_interval = timer(&self.reload_interval, &(SHORTEST..=DAY));
        let reload_interval = rules.keep("server.tls.reload_interval", reload_interval);
        if self.cert.is_empty() && self.key.is_empty() {
            return reload_interval.map(|_| Transport::Plain);
        }
        let cert = rules.keep("server.tls.cert", pem_path(&self.cert, "server.tls.key"));
        let key = rules.keep("server.tls.key", pem_path(&self.key, "server.tls.cert"));
        let reload_interval = reload_interval?;
        Some(Transport::Tls(TlsConfig { cert: cert?, key: key?, reload_interval }))
    }
}

fn address(text: &str) -> Result<SocketAddr, Invalid> {
    text.parse().map_err(|_| {
        Invalid::new("must be an IP address and a port, such as 127.0.0.1:7420 or [::]:7420")
    })
}

fn metrics(text: &str) -> Result<MetricsAccess, Invalid> {
    match text {
        "open" => Ok(MetricsAccess::Open),
        "authenticated" => Ok(MetricsAccess::Authenticated),
        _ => Err(Invalid::new("must be open or authenticated")),
    }
}

fn pem_path(text: &str, other: &str) -> Result<PathBuf, Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(format!("must be there when {other} is")));
    }
    if text.contains("-----BEGIN") {
        return Err(Invalid::new("must be the path of a PEM file, not what is in it"));
    }
    path(text)
}

fn proxies(texts: &[String]) -> Result<TrustedProxies, Invalid> {
    if texts.len() > 100 {
        return Err(Invalid::new("must hold at most 100 networks"));
    }
    let networks: Result<_, Invalid> = texts.iter().map(|text| text.parse()).collect();
    Ok(TrustedProxies::new(networks?))
}

fn origins(texts: Vec<String>) -> Result<Vec<String>, Invalid> {
    if texts.len() > 100 {
        return Err(Invalid::new("must hold at most 100 origins"));
    }
    if texts.iter().any(|text| text.contains('*')) {
        return Err(Invalid::new(
            "must list each origin: '*' would let a page on any site call this server from a \
             visitor's browser",
        ));
    }
    if texts.iter().all(|text| is_origin(text)) {
        return Ok(texts);
    }
    Err(Invalid::new(
        "must hold origins as browsers send them, such as https://app.example.com: http or https, \
         a host in lower case, a port only if it is not the usual one, and nothing after it",
    ))
}

/// Whether a browser would send this text as an origin.
fn is_origin(text: &str) -> bool {
    let (host, usual_port) = match text.split_once("://") {
        Some(("https", host)) => (host, ":443"),
        Some(("http", host)) => (host, ":80"),
        _ => return false,
    };
    !host.is_empty()
        && host.len() <= 255
        && !host.starts_with(':')
        && !host.ends_with(':')
        && !host.ends_with(usual_port)
        && host.bytes().all(|b| {
            b.is_ascii_lowercase()
                || b.is_ascii_digit()
                || matches!(b, b'.' | b'-' | b':' | b'[' | b']')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_exact() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://[2001:db8::1]:8443",
            "http://127.0.0.1",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://App.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://user@app.example.com",
            "ftp://app.example.com",
            "https://:8443",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_wildcard_is_refused_with_its_reason() {
        for wildcard in ["*", "https://*.example.com"] {
            let error = origins(vec![wildcard.to_owned()]).unwrap_err();
            assert!(error.rule().contains("a page on any site"), "{error}");
        }
    }

    #[test]
    fn key_material_is_not_a_path() {
        let error = pem_path("-----BEGIN PRIVATE KEY-----\ncanary", "x").unwrap_err();
        assert_eq!(error.rule(), "must be the path of a PEM file, not what is in it");
    }
}
