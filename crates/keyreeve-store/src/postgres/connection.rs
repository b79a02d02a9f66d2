//! Reaching the server.

use std::{fmt, fs, future::poll_fn, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{self, Runtime},
    sync::Notify,
    time::timeout,
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Error, NoTls,
    config::{Host, SslMode},
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
    /// Drives the connections. Those who use them are threads that wait.
    runtime: Arc<Runtime>,
    /// Set when there is something new, by whichever connection listens or by whoever knows.
    pub(super) news: Arc<Notify>,
}

/// An open connection.
pub(super) struct Link {
    pub(super) client: Client,
    runtime: Arc<Runtime>,
    news: Arc<Notify>,
}

impl Link {
    /// Waits for what the client was asked to do.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Waits for a notification, for at most this long. Those that came together are one.
    pub(super) fn wait_for_news(&self, at_most: Duration) {
        // Whether it came or not, the next look tells.
        let _ = self.wait(async { timeout(at_most, self.news.notified()).await });
    }
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
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("keyreeve-postgres")
            .enable_all()
            .build()
            .map_err(|error| OpenError::unreachable(&place_of(&config), error))?;
        Ok(Self { config, tls, runtime: Arc::new(runtime), news: Arc::new(Notify::new()) })
    }

    /// The server's place for people: without the password.
    pub(super) fn place(&self) -> String {
        place_of(&self.config)
    }

    /// A new connection.
    pub(super) fn connect(&self) -> Result<Link, Error> {
        let news = Arc::clone(&self.news);
        let client = self.runtime.block_on(async {
            let client = match &self.tls {
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    tokio::spawn(drive(connection, news.clone()));
                    client
                }
                Some(tls) => {
                    let tls = MakeRustlsConnect::new((**tls).clone());
                    let (client, connection) = self.config.connect(tls).await?;
                    tokio::spawn(drive(connection, news.clone()));
                    client
                }
            };
            client.batch_execute(SETTINGS).await?;
            Ok(client)
        })?;
        Ok(Link { client, runtime: Arc::clone(&self.runtime), news })
    }
}

/// Moves what goes over a connection until it ends. Why it ended, its users are told.
async fn drive<S, T>(mut connection: Connection<S, T>, news: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            news.notify_one();
        }
    }
    // Whoever waits for news finds out that there is nobody to send any.
    news.notify_one();
}

fn place_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "?".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    format!("postgres://{host}:{port}/{database}")
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
