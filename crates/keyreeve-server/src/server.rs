//! The server: one thread and one runtime a core, started together and drained together.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use keyreeve_engine::{Clock, Engine};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};

use crate::{
    DataPlane, Metrics, ServerOptions,
    api::{self, AppState},
    listen::{self, BindError, Certificates, Gate, TlsError},
    service::Service,
};

/// Connections at once on the local socket. They have places of their own, so that strangers who
/// take every place on TCP do not lock the owner out.
const LOCAL_CONNECTIONS: usize = 64;

/// A server whose sockets are bound but not yet served.
pub struct Server {
    options: ServerOptions,
    address: SocketAddr,
    tcp: Vec<std::net::TcpListener>,
    local: Option<std::os::unix::net::UnixListener>,
    certificates: Option<Arc<Certificates>>,
    metrics: Metrics,
}

/// How a server's stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still open when patience ran out.
    pub cut_off: usize,
}

/// Why a server could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// A socket could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Server {
    /// Reads certificates and binds every socket, so that whatever can fail fails before
    /// anything is served.
    pub fn bind(options: ServerOptions, metrics: Metrics) -> Result<Self, SetUpError> {
        let certificates = options.tls.clone().map(Certificates::load).transpose()?.map(Arc::new);
        let (address, tcp) = listen::bind_tcp(options.listen, options.threads)?;
        let local = options.socket.as_deref().map(listen::bind_local).transpose()?;
        Ok(Self { options, address, tcp, local, certificates, metrics })
    }

    /// Where the server listens; tells the port if any was allowed.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` becomes true, then lets open requests end. Blocks the calling thread.
    pub fn run(
        self,
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        data_plane: Arc<dyn DataPlane>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Stopped, TlsError> {
        let acceptor = self.certificates.as_ref().map(|tls| tls.acceptor()).transpose()?;
        let draining = Arc::new(AtomicBool::new(false));
        let state = AppState::new(
            engine.clone(),
            self.metrics.clone(),
            data_plane,
            draining.clone(),
            &self.options,
        );
        let service = Arc::new(Service {
            engine,
            clock,
            router: api::router(state.clone(), &self.options),
            state,
            metrics: self.metrics.clone(),
            limits: self.options.limits,
            origins: self.options.origins(),
            trusted_proxies: self.options.trusted_proxies.clone(),
            authorizer: self.options.authorizer.clone(),
            tls: acceptor.is_some(),
        });
        let gate = Gate::new(self.options.limits.max_connections, self.metrics.clone());
        let local_gate = Gate::new(LOCAL_CONNECTIONS, self.metrics);
        let mut local = self.local;
        let cores: Vec<_> = self
            .tcp
            .into_iter()
            .enumerate()
            .map(|(number, tcp)| Core {
                number,
                tcp,
                local: local.take(),
                certificates: self.certificates.clone().filter(|_| number == 0),
                acceptor: acceptor.clone(),
                gate: gate.clone(),
                local_gate: local_gate.clone(),
                service: service.clone(),
                stop: stop.clone(),
            })
            .collect();
        thread::scope(|scope| {
            for core in cores {
                scope.spawn(|| core.run());
            }
            // The cores wait on `stop` themselves; this thread only tells the health check.
            if let Ok(runtime) = current_thread() {
                let _ = runtime.block_on(stop.wait_for(|stop| *stop));
            }
            draining.store(true, Ordering::Release);
        });
        if let Some(path) = &self.options.socket {
            let _ = std::fs::remove_file(path);
        }
        Ok(Stopped { cut_off: gate.open() + local_gate.open() })
    }
}

/// What one core serves.
struct Core {
    number: usize,
    tcp: std::net::TcpListener,
    local: Option<std::os::unix::net::UnixListener>,
    certificates: Option<Arc<Certificates>>,
    acceptor: Option<TlsAcceptor>,
    gate: Gate,
    local_gate: Gate,
    service: Arc<Service>,
    stop: watch::Receiver<bool>,
}

impl Core {
    fn run(self) {
        let number = self.number;
        let served = current_thread().and_then(|runtime| runtime.block_on(self.serve()));
        if let Err(error) = served {
            error!(core = number, %error, "a core stopped serving");
        }
    }

    async fn serve(self) -> io::Result<()> {
        let Self { tcp, local, certificates, acceptor, gate, local_gate, service, stop, .. } = self;
        if let Some(certificates) = certificates {
            tokio::spawn(watch_certificates(certificates));
        }
        if let Some(local) = local {
            let (gate, service, stop) = (local_gate.clone(), service.clone(), stop.clone());
            tokio::spawn(async move {
                if let Err(error) = listen::accept_local(local, gate, service, stop).await {
                    error!(%error, "the local socket stopped serving");
                }
            });
        }
        let drain = service.limits.drain_timeout;
        listen::accept_tcp(tcp, acceptor, gate.clone(), service, stop).await?;
        drained(&[gate, local_gate], drain).await;
        Ok(())
    }
}

/// Waits until no connection is open, or until patience ends.
async fn drained(gates: &[Gate], patience: Duration) {
    let wait = async {
        while gates.iter().any(|gate| gate.open() > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(patience, wait).await;
}

async fn watch_certificates(certificates: Arc<Certificates>) {
    loop {
        tokio::time::sleep(certificates.reload_interval()).await;
        match certificates.reload_if_changed() {
            Ok(true) => info!("TLS certificate reloaded"),
            Ok(false) => {}
            Err(error) => warn!(%error, "TLS certificate not reloaded; the old one stays"),
        }
    }
}

fn current_thread() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
