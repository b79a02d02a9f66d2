//! TCP: one listener a core on the same port, so that each core accepts its own connections and
//! no request changes cores.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::Gate;
use crate::{
    connection::{self, Peer},
    service::Service,
};

const BACKLOG: i32 = 1024;

/// Why a listener could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{0} is in use by another program")]
    InUse(String),
    /// The address is not ours, the port needs rights, or the like.
    #[error("cannot listen on {address}")]
    Other {
        /// Where.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Binds `count` listeners to one port. Port 0 picks a free one.
pub(crate) fn bind_tcp(
    address: SocketAddr,
    count: usize,
) -> Result<(SocketAddr, Vec<StdListener>), BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address.to_string()),
        _ => BindError::Other { address: address.to_string(), source },
    };
    // Sharing a port is for our own cores. A first bind without sharing makes sure that no
    // second server quietly takes half of another's connections.
    let probe = bind(address, false).map_err(failed)?;
    let address = probe.local_addr().map_err(failed)?;
    drop(probe);
    let listeners =
        (0..count).map(|_| bind(address, true)).collect::<Result<_, _>>().map_err(failed)?;
    Ok((address, listeners))
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts and serves until told to stop.
pub(crate) async fn accept_tcp(
    listener: StdListener,
    tls: Option<TlsAcceptor>,
    gate: Gate,
    service: Arc<Service>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return Ok(()),
        };
        match accepted {
            Ok((stream, address)) => {
                let (gate, service, stop) = (gate.clone(), service.clone(), stop.clone());
                tokio::spawn(welcome(stream, address, tls.clone(), gate, service, stop));
            }
            Err(error) => {
                // Out of file handles, most likely. Waiting lets some connections end.
                warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn welcome(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    gate: Gate,
    service: Arc<Service>,
    stop: watch::Receiver<bool>,
) {
    let Some(_pass) = gate.enter() else {
        if tls.is_none() {
            Gate::refuse(stream).await;
        }
        return;
    };
    // Answers are small and complete; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let peer = Peer { ip: Some(address.ip().to_canonical()), local_user: None };
    match tls {
        None => connection::serve_tcp(stream, peer, service, stop).await,
        Some(tls) => {
            let patience = service.limits.header_timeout;
            match tokio::time::timeout(patience, tls.accept(keyreeve_net::Socket::new(stream)))
                .await
            {
                Ok(Ok(stream)) => connection::serve(stream, peer, service, stop).await,
                Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
                Err(_) => debug!("TLS handshake took too long"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_an_error_even_between_sharers() {
        let (address, _first) = bind_tcp("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert!(matches!(bind_tcp(address, 2), Err(BindError::InUse(_))));
    }

    #[test]
    fn a_foreign_address_is_an_error() {
        let result = bind_tcp("192.0.2.1:0".parse().unwrap(), 1);
        assert!(matches!(result, Err(BindError::Other { .. })));
    }
}
