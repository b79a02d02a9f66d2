//! One connection: HTTP/1.1 or HTTP/2, with limits on its head and its idle time, and a graceful
//! end.

mod idle;
mod line;

use std::{
    convert::Infallible, future::poll_fn, net::IpAddr, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::debug;

use self::{
    idle::{Activity, Watched},
    line::Line,
};
use crate::{options::Limits, service::Service};

/// How many requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 200;
/// How long a peer that was told to go may take to say goodbye. Half a head gets no longer either.
const FAREWELL: Duration = Duration::from_secs(1);
/// Hyper's own limit, below which it keeps headers on the stack.
const HEADERS_ON_STACK: usize = 100;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) local_user: Option<u32>,
}

/// Serves requests over plain TCP until the peer or `stop` ends the connection, or it is idle for too
/// long.
pub(crate) async fn serve_tcp(
    socket: TcpStream,
    peer: Peer,
    service: Arc<Service>,
    stop: watch::Receiver<bool>,
) {
    let line = Line::new(socket);
    let mut builder = builder(&service.limits);
    // Whether the peer is still there is heard on the line.
    builder.http1().half_close(true);
    run(&builder, line.clone(), Some(line), peer, service, stop).await;
}

/// The same over anything else, such as TLS, where the end of what is read is not the end of the line.
pub(crate) async fn serve<I>(io: I, peer: Peer, service: Arc<Service>, stop: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    run(&builder(&service.limits), io, None, peer, service, stop).await;
}

/// Serves requests. If there is a line, it is heard there whether the peer goes while it is being
/// answered: what is done for it then ends at once.
///
/// Hyper's own timers do not cover a peer that never says what it speaks, nor one that speaks
/// HTTP/2 and only answers pings. Such peers need no credential and would hold their place for
/// good, so idle time is measured here, the same for all.
async fn run<I>(
    builder: &auto::Builder<TokioExecutor>,
    io: I,
    line: Option<Line>,
    peer: Peer,
    service: Arc<Service>,
    mut stop: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = service.limits.header_timeout;
    let activity = Activity::new();
    let requests = activity.clone();
    let handler = service_fn(move |request| {
        let busy = requests.begin();
        let answer = service.clone().serve(request, peer);
        answer.map(move |answer| Ok::<_, Infallible>(answer.map(|body| Watched::new(body, &busy))))
    });
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), handler));
    // Not set anew by each request: when it rings, it is looked up what happened meanwhile.
    let mut alarm = pin!(sleep_until(activity.deadline(patience)));
    let mut told_idle = false;
    let gone = || {
        poll_fn(|context| match &line {
            Some(line) if activity.is_busy() => line.poll_closed(context),
            _ => Poll::Pending,
        })
    };
    let mut stopping = *stop.borrow();
    if stopping {
        connection.as_mut().graceful_shutdown();
    }
    let ended = loop {
        tokio::select! {
            // The connection first: a request that has arrived makes it busy.
            biased;
            ended = connection.as_mut() => break ended,
            () = gone() => {
                debug!("the peer went while it was being answered");
                return;
            }
            _ = stop.changed(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = alarm.as_mut() => {
                let deadline = activity.deadline(patience);
                if deadline > Instant::now() {
                    alarm.as_mut().reset(deadline);
                } else if told_idle || !activity.used() {
                    debug!("idle connection cut off");
                    return;
                } else {
                    told_idle = true;
                    connection.as_mut().graceful_shutdown();
                    alarm.as_mut().reset(Instant::now() + patience.min(FAREWELL));
                }
            }
        }
    };
    if let Err(error) = ended {
        // Peers go away, send garbage or time out: their affair, not ours.
        debug!(%error, "connection ended early");
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper sets no alarm for each head: a head that takes too long is idle time.
    let mut http1 = builder.http1();
    http1.header_read_timeout(None).max_buf_size(limits.max_header_bytes.max(8192));
    if limits.max_headers != HEADERS_ON_STACK {
        http1.max_headers(limits.max_headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(limits.header_timeout))
        .keep_alive_timeout(limits.header_timeout);
    builder
}
