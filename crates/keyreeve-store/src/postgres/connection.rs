//! Reaching the server.

use std::{fmt, fs, io, path::PathBuf, sync::Arc, time::Duration};

use postgres::{Client, Config, NoTls, config::Host, config::SslMode};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::open_error::OpenError;

/// How long the server may take to answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// When a silent peer is asked whether it is still there, and how long sent data may go unheard.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Said to the server at the start of each connection. A statement that takes longer, or waits
/// longer for its turn, is broken off by the server; so is a transaction that goes quiet, which
/// would hold up every other node. The names of things are found in this order and nowhere else.
const SETTINGS: &str = "
    SET client_min_messages = warning;
    SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s';
    SET synchronous_commit = on;
    SET standard_conforming_strings = on;
    SET default_transaction_isolation = 'read committed';
";

/// Where the server is and how to reach it. Does not show the password.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("at", &self.place()).finish_non_exhaustive()
    }
}

impl Server {
    /// Reads a URL such as `postgres://user:password@host:5432/database?sslmode=require`.
    ///
    /// Unless the URL says otherwise, a server on another machine must speak TLS; one on this
    /// machine need not.
    pub(super) fn at(url: &str, authorities: Option<&PathBuf>) -> Result<Self, OpenError> {
        // What the parser says of a URL may repeat it, and it may hold a password.
        let mut config: Config = url.parse().map_err(|_| OpenError::BadUrl)?;
        if config.get_hosts().is_empty() || config.get_user().is_none() {
            return Err(OpenError::BadUrl);
        }
        if !url.contains("sslmode=") {
            let near = config.get_hosts().iter().all(is_near);
            config.ssl_mode(if near { SslMode::Disable } else { SslMode::Require });
        }
        config
            .application_name("keyreeve")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(KEEPALIVE);
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(Arc::new(client_config(authorities)?)),
        };
        Ok(Self { config, tls })
    }

    /// The server's place for people: without the password.
    pub(super) fn place(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "?".to_owned(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let user = self.config.get_user().unwrap_or_default();
        let database = self.config.get_dbname().unwrap_or(user);
        format!("postgres://{host}:{port}/{database}")
    }

    /// A new connection.
    pub(super) fn connect(&self) -> Result<Client, postgres::Error> {
        let mut client = match &self.tls {
            None => self.config.connect(NoTls)?,
            Some(tls) => self.config.connect(MakeRustlsConnect::new((**tls).clone()))?,
        };
        client.batch_execute(SETTINGS)?;
        Ok(client)
    }
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
    }
}

/// Trusts the authorities in that file, or those of the system.
fn client_config(authorities: Option<&PathBuf>) -> Result<ClientConfig, OpenError> {
    let untrusted = |error: Box<dyn std::error::Error + Send + Sync>| OpenError::Authorities {
        path: authorities.cloned(),
        source: error,
    };
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        let pem = fs::read(path).map_err(|error| untrusted(error.into()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| untrusted(error.into()))?;
            roots.add(certificate).map_err(|error| untrusted(error.into()))?;
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
    }
    if roots.is_empty() {
        return Err(untrusted(io::Error::from(io::ErrorKind::NotFound).into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| untrusted(error.into()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_servers_may_speak_in_clear() {
        for (url, mode) in [
            ("postgres://u:p@127.0.0.1/db", SslMode::Disable),
            ("postgres://u:p@localhost:5433/db", SslMode::Disable),
            ("postgres://u:p@db.example.com/db", SslMode::Require),
            ("postgres://u:p@db.example.com/db?sslmode=disable", SslMode::Disable),
            ("postgres://u:p@127.0.0.1/db?sslmode=require", SslMode::Require),
        ] {
            let Ok(server) = Server::at(url, None) else {
                // Where the system trusts nobody, TLS cannot be spoken.
                assert_eq!(mode, SslMode::Require, "{url}");
                continue;
            };
            assert_eq!(server.config.get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let server = Server::at("postgres://u:hunter2@127.0.0.1:5433/db", None).unwrap();
        assert_eq!(server.place(), "postgres://127.0.0.1:5433/db");
        assert!(!format!("{server:?}").contains("hunter2"));
        for url in ["postgres://u:hunter2@[::1/db", "postgres:///db", "hunter2"] {
            let refused = Server::at(url, None).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{url}");
        }
    }
}
