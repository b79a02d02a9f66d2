//! Reaching the server, and knowing whether that makes sense.

use std::{
    fmt, fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use keyreeve_engine::shared_counts::Unreachable;
use redis::{
    AsyncConnectionConfig, Client, InfoDict, RedisError, RedisResult, TlsCertificates,
    aio::MultiplexedConnection,
};
use tokio::{
    runtime::{self, Runtime},
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{OpenError, ValkeyOptions, script::CountScript};

/// How long the server may take to answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after a failure it is tried again, at first and at last.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The least time between two looks at a server that refused something.
const BETWEEN_PROBES: Duration = Duration::from_secs(1);

/// A connection, while there is one.
pub(super) struct Link {
    shared: Arc<Shared>,
    /// Drives the connection and makes new ones. `None` only while being dropped.
    runtime: Option<Runtime>,
}

struct Shared {
    place: String,
    connection: ArcSwapOption<MultiplexedConnection>,
    outages: AtomicU64,
    /// The connection is of no use any more, or something was refused over it.
    news: Notify,
}

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Where it is, without the password.
    pub place: String,
    /// Its version, such as `redis 7.0.15`.
    pub version: String,
    /// What it drops when its memory is full.
    pub eviction: String,
    /// Whether what is said on the way can be read by others.
    pub speaks_tls: bool,
    /// Whether it is on this machine.
    pub is_near: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("at", &self.shared.place).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn open(
        options: &ValkeyOptions,
        script: Arc<CountScript>,
    ) -> Result<Self, OpenError> {
        let client = client(options)?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("keyreeve-valkey")
            .enable_all()
            .build()
            .map_err(OpenError::Thread)?;
        let shared = Arc::new(Shared {
            place: place_of(&client),
            connection: ArcSwapOption::empty(),
            outages: AtomicU64::new(0),
            news: Notify::new(),
        });
        runtime.spawn(keep_up(client, shared.clone(), options.timeout, script));
        Ok(Self { shared, runtime: Some(runtime) })
    }

    pub(super) fn is_up(&self) -> bool {
        self.shared.connection.load().is_some()
    }

    pub(super) fn outages(&self) -> u64 {
        self.shared.outages.load(Ordering::Acquire)
    }

    /// Does something over the connection. Whoever loses it takes it away from the others, too: they
    /// would only wait.
    pub(super) async fn run<T, F: Future<Output = RedisResult<T>>>(
        &self,
        work: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Unreachable> {
        let connection = self.shared.connection.load_full().ok_or(Unreachable)?;
        work(MultiplexedConnection::clone(&connection)).await.map_err(|error| {
            if is_lost(&error) {
                self.shared.lose(&connection, &error);
            } else {
                // The server's own word, perhaps about this key alone: whoever keeps up the connection
                // finds out.
                self.shared.news.notify_one();
            }
            Unreachable
        })
    }
}

/// Whether an error is about the connection and not about what was asked.
fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waited for: this may be a thread that must not wait.
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn lose(&self, connection: &Arc<MultiplexedConnection>, error: &RedisError) {
        let current = self.connection.compare_and_swap(connection, None);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            let place = &self.place;
            warn!(%place, %error, "the counts of all nodes are out of reach; each node limits alone");
            self.outages.fetch_add(1, Ordering::AcqRel);
            self.news.notify_one();
        }
    }
}

/// Connects, again and again, and sees to it that what is connected counts.
async fn keep_up(client: Client, shared: Arc<Shared>, timeout: Duration, script: Arc<CountScript>) {
    let mut was_told = false;
    let mut pause = SHORTEST_PAUSE;
    loop {
        let connected = connect(&client, timeout).await;
        let counts = match connected {
            Ok(connection) => script.probe(connection.clone()).await.map(|()| connection),
            Err(error) => Err(error),
        };
        match counts {
            Ok(connection) => {
                let place = &shared.place;
                info!(%place, "limits count for all nodes together");
                was_told = true;
                let begun = Instant::now();
                let connection = Arc::new(connection);
                shared.connection.store(Some(connection.clone()));
                watch(&shared, &connection, &script).await;
                // One that breaks again and again is tried less and less often.
                if begun.elapsed() >= LONGEST_PAUSE {
                    pause = SHORTEST_PAUSE;
                }
            }
            Err(error) if !was_told => {
                let place = &shared.place;
                warn!(%place, %error, "the counts of all nodes cannot be reached; each node limits alone");
                was_told = true;
            }
            Err(_) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns once the connection is lost, or what is connected does not count any more: a server that is
/// full, or that has become another's replica, still answers.
async fn watch(shared: &Shared, connection: &Arc<MultiplexedConnection>, script: &CountScript) {
    loop {
        shared.news.notified().await;
        if shared.connection.load().is_none() {
            return;
        }
        if let Err(error) = script.probe(MultiplexedConnection::clone(connection)).await {
            shared.lose(connection, &error);
            return;
        }
        warn!(place = %shared.place, "a count was refused, and others are not; its request was limited here");
        // However many are refused.
        sleep(BETWEEN_PROBES).await;
    }
}

/// A connection on which something was answered already.
async fn connect(client: &Client, timeout: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(timeout));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("PING").exec_async(&mut connection).await?;
    Ok(connection)
}

fn client(options: &ValkeyOptions) -> Result<Client, OpenError> {
    // EXPOSE: the driver needs the URL, with the password if it has one.
    let url = options.url.expose().as_str();
    let authorities = match &options.authorities {
        None => None,
        Some(path) => Some(
            fs::read(path)
                .map_err(|source| OpenError::Authorities { path: path.clone(), source })?,
        ),
    };
    // What the parser says of a URL may repeat it.
    match authorities {
        None => Client::open(url),
        Some(root_cert) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
            if url.starts_with("rediss:") || url.starts_with("valkeys:") {
                Client::build_with_tls(url, certificates)
            } else {
                Client::open(url)
            }
        }
    }
    .map_err(|_| OpenError::BadUrl)
}

/// Where the server is. Does not show the password.
fn place_of(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

pub(super) async fn examine(options: &ValkeyOptions) -> Result<ServerFacts, OpenError> {
    let client = client(options)?;
    let place = place_of(&client);
    let asked = async {
        let mut connection = connect(&client, CONNECT_TIMEOUT).await?;
        redis::cmd("INFO").query_async::<InfoDict>(&mut connection).await
    };
    let info = asked
        .await
        .map_err(|error| OpenError::Unreachable { place: place.clone(), source: error.into() })?;
    let text = |name: &str| info.get::<String>(name);
    let version = match text("valkey_version") {
        Some(version) => format!("valkey {version}"),
        None => format!("redis {}", text("redis_version").unwrap_or_else(|| "?".to_owned())),
    };
    let (speaks_tls, is_near) = match client.get_connection_info().addr() {
        redis::ConnectionAddr::Tcp(host, _) => (false, is_near(host)),
        redis::ConnectionAddr::TcpTls { host, .. } => (true, is_near(host)),
        _ => (false, true),
    };
    let eviction = text("maxmemory_policy").unwrap_or_else(|| "?".to_owned());
    Ok(ServerFacts { place, version, eviction, speaks_tls, is_near })
}

fn is_near(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use keyreeve_core::Secret;

    use super::*;

    fn options(url: &str) -> ValkeyOptions {
        let url = Secret::new(url.to_owned());
        let (timeout, prefix) = (Duration::from_millis(100), "kr".to_owned());
        ValkeyOptions { url, authorities: None, timeout, prefix }
    }

    #[test]
    fn the_password_is_never_shown() {
        for url in ["redis://u:hunter2@127.0.0.1:1/0", "valkey://:hunter2@127.0.0.1:1"] {
            let link = Link::open(&options(url), Arc::new(CountScript::new("kr"))).unwrap();
            assert!(!link.is_up());
            let shown = format!("{link:?} {:?}", options(url));
            assert!(shown.contains("127.0.0.1:1") && !shown.contains("hunter2"), "{shown}");
        }
        for url in ["http://u:hunter2@h", "hunter2", "redis://u:hunter2@[::1", "redis://h/hunter2"]
        {
            let error = Link::open(&options(url), Arc::new(CountScript::new("kr"))).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
    }
}
