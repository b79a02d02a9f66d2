//! From an origin to a connection: names looked up once, every address checked, the checked one
//! dialled.

use std::{future::poll_fn, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use http::HeaderValue;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keyreeve_core::egress::{HostName, Origin, Scheme};
use keyreeve_net::Socket;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracing::debug;

use super::{
    Destination, guard,
    http1::Line,
    pool::{Alone, Sender, Shared},
};

/// How long one of several addresses is waited for before the next is tried.
const NEXT_ADDRESS: Duration = Duration::from_secs(2);
/// How often an HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How many bytes of one answer, and of all on a connection, a service may send before they are taken. The
/// second is far more than the first: one client that does not read must not hold up the others.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// The most bytes of an answer's head.
pub(crate) const MOST_HEAD_BYTES: usize = 64 << 10;
/// The most headers in it, over HTTP/1.1. It is hyper's own bound, below which it keeps them on the stack; a
/// higher one would cost every call memory. The same for calls that hyper has no part in.
pub(crate) const MOST_HEADERS: usize = 100;

/// Why there is no connection to a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("its name cannot be looked up")]
    Lookup(#[source] io::Error),
    #[error(transparent)]
    Forbidden(#[from] guard::Forbidden),
    #[error("it cannot be connected to")]
    Connect(#[source] io::Error),
    #[error("TLS to it failed")]
    Tls(#[source] io::Error),
    #[error("HTTP to it could not be begun")]
    Handshake(#[source] hyper::Error),
    #[error("it took too long to accept a connection")]
    TimedOut,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Calls whose request is at hand as a whole.
    Whole,
    /// Calls whose request comes while it is sent.
    Streamed,
    /// What only HTTP/1.1 can do, such as to change to another protocol.
    Http1,
}

/// Looks names up.
pub(crate) trait Resolve: Send + Sync {
    /// All addresses of a name.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The addresses of a name, on their way.
pub(crate) type Resolving<'a> =
    Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// As the system does it.
struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }
}

/// Makes connections.
pub(crate) struct Dialer {
    names: Box<dyn Resolve>,
    /// Offers HTTP/2 and HTTP/1.1.
    any: TlsConnector,
    /// Offers HTTP/1.1 alone, for what only that can do.
    http1: TlsConnector,
    /// Offers nothing, for services that speak no HTTP.
    plain: TlsConnector,
    own_ports: Vec<u16>,
}

impl Dialer {
    pub(crate) fn new(tls: &ClientConfig, own_ports: Vec<u16>) -> Self {
        let with = |protocols: &[&[u8]]| {
            let mut config = tls.clone();
            config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        Self {
            names: Box::new(System),
            any: with(&[b"h2", b"http/1.1"]),
            http1: with(&[b"http/1.1"]),
            plain: with(&[]),
            own_ports,
        }
    }

    /// Connects, and begins to speak HTTP.
    pub(crate) async fn dial(
        &self,
        destination: &Destination,
        patience: Duration,
        purpose: Purpose,
    ) -> Result<Sender, DialError> {
        let dialled = timeout(patience, self.connect(destination, purpose)).await;
        dialled.unwrap_or(Err(DialError::TimedOut))
    }

    async fn connect(
        &self,
        destination: &Destination,
        purpose: Purpose,
    ) -> Result<Sender, DialError> {
        let origin = &destination.origin;
        let stream = self.tcp(origin.host(), origin.port(), destination.allow_internal).await?;
        let stream = Socket::new(stream);
        if origin.scheme() == Scheme::Http {
            return speak_http1(stream, origin, purpose).await;
        }
        let connector = if purpose == Purpose::Http1 { &self.http1 } else { &self.any };
        let stream = secured(connector, origin.host(), stream).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            return speak_http2(stream).await;
        }
        speak_http1(stream, origin, purpose).await
    }

    /// A connection on which TLS is spoken, and then whatever the caller speaks.
    pub(crate) async fn secure(
        &self,
        host: &HostName,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        secured(&self.plain, host, stream).await
    }

    /// A connection to a host, at an address that may be called.
    pub(crate) async fn tcp(
        &self,
        host: &HostName,
        port: u16,
        allow_internal: bool,
    ) -> Result<TcpStream, DialError> {
        let addresses: Vec<SocketAddr> = match host.ip() {
            Some(ip) => vec![SocketAddr::new(ip, port)],
            // Once: what is looked at is what is dialled.
            None => self.names.resolve(host.as_str(), port).await.map_err(DialError::Lookup)?,
        };
        let addresses = guard::check(addresses, allow_internal)?;
        let mut last = None;
        for address in &addresses {
            // The last one has all the time that is left.
            let is_last = Some(address) == addresses.last();
            let connecting = TcpStream::connect(address);
            let connected = if is_last {
                connecting.await
            } else {
                timeout(NEXT_ADDRESS, connecting)
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            };
            match connected {
                Ok(stream) => {
                    let local = stream.local_addr().map_err(DialError::Connect)?;
                    guard::check_not_own(local, *address, &self.own_ports)?;
                    // Requests are complete pieces; waiting to fill a packet only delays them.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(DialError::Connect(last.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
    }
}

async fn secured<I>(
    connector: &TlsConnector,
    host: &HostName,
    stream: I,
) -> Result<TlsStream<I>, DialError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let name = match host.ip() {
        Some(ip) => ServerName::IpAddress(ip.into()),
        None => ServerName::try_from(host.as_str().to_owned())
            .map_err(|error| DialError::Tls(io::Error::other(error)))?,
    };
    connector.connect(name, stream).await.map_err(DialError::Tls)
}

async fn speak_http1<I>(io: I, origin: &Origin, purpose: Purpose) -> Result<Sender, DialError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = HeaderValue::try_from(origin.authority());
    let host = host.map_err(|error| DialError::Lookup(io::Error::other(error)))?;
    if purpose == Purpose::Whole {
        return Ok(Sender::Line(Box::new(Line::new(io, host))));
    }
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD_BYTES)
        .handshake(TokioIo::new(io))
        .await
        .map_err(DialError::Handshake)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "connection to a service ended");
        }
    });
    Ok(Sender::Http1(Alone { sender, host }))
}

async fn speak_http2<I>(io: I) -> Result<Sender, DialError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(MOST_HEAD_BYTES).unwrap_or(u32::MAX))
        .handshake(TokioIo::new(io))
        .await
        .map_err(DialError::Handshake)?;
    let shared = Shared::new(sender);
    let streams = shared.streams();
    tokio::spawn(async move {
        let ended = poll_fn(|context| {
            let polled = Pin::new(&mut connection).poll(context);
            if let Some(streams) = streams.upgrade() {
                streams.allow(connection.current_max_send_streams());
            }
            polled
        });
        if let Err(error) = ended.await {
            debug!(%error, "connection to a service ended");
        }
    });
    Ok(Sender::Http2(shared))
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// Answers each question with the next list, as somebody does who has told one thing to whoever looks
    /// and another one to whoever dials.
    struct Changing {
        answers: Vec<Vec<SocketAddr>>,
        asked: Arc<AtomicUsize>,
    }

    impl Resolve for Changing {
        fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> Resolving<'a> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let last = self.answers.len() - 1;
            let answer = self.answers[number.min(last)].clone();
            Box::pin(async move { Ok(answer) })
        }
    }

    fn dialer(answers: &[&[SocketAddr]]) -> (Dialer, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let answers = answers.iter().map(|list| list.to_vec()).collect();
        let mut dialer = Dialer::new(
            &super::super::tls(super::super::roots(None).unwrap()).unwrap(),
            Vec::new(),
        );
        dialer.names = Box::new(Changing { answers, asked: asked.clone() });
        (dialer, asked)
    }

    async fn dial(dialer: &Dialer, allow_internal: bool) -> Result<TcpStream, DialError> {
        let host = HostName::parse("rebinding.example").unwrap();
        let patience = Duration::from_millis(300);
        let dialled = timeout(patience, dialer.tcp(&host, 443, allow_internal)).await;
        dialled.unwrap_or(Err(DialError::TimedOut))
    }

    #[tokio::test]
    async fn a_name_that_changes_between_look_and_dial_gains_nothing() {
        let listener = || {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            (listener, address)
        };
        let ((first, at_first), (second, at_second)) = (listener(), listener());
        let came_to = |listener: &TcpListener| listener.accept().is_ok();
        let metadata = SocketAddr::from(([169, 254, 169, 254], 80));

        // What was looked at is dialled, whatever the name has become meanwhile.
        let (changing, asked) = dialer(&[&[at_first], &[at_second], &[metadata]]);
        assert!(dial(&changing, true).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 1, "looked up once for one dial");
        assert!(came_to(&first) && !came_to(&second));
        // Each dial looks again, and at what it is now.
        assert!(dial(&changing, true).await.is_ok());
        assert!(!came_to(&first) && came_to(&second));
        let now = dial(&changing, true).await;
        assert!(matches!(now, Err(DialError::Forbidden(guard::Forbidden::Never(_)))), "{now:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        // Of somebody else's network, which is not dialled here: everything is looked at before.
        let outside = SocketAddr::from(([93, 184, 215, 14], 443));
        // One bad address among good ones spoils all of them.
        for mixed in [[outside, at_first], [at_first, outside]] {
            let (mixed, _) = dialer(&[&mixed]);
            let refused = dial(&mixed, false).await;
            assert!(matches!(refused, Err(DialError::Forbidden(_))), "{refused:?}");
        }
        assert!(!came_to(&first));
    }
}
