//! One connection: HTTP/1.1 or HTTP/2, with limits on its head and its idle time, and a graceful
//! end.

mod aside;
mod idle;
mod line;

use std::{
    convert::Infallible,
    fmt::Display,
    future::poll_fn,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use keyreeve_net::Socket;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

use self::{
    aside::Aside,
    idle::{Activity, Watched},
    line::Line,
};
use crate::{
    options::Limits,
    service::{Connected, Service},
};

/// How many requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 200;
/// How long a peer that was told to go may take to say goodbye. Half a head gets no longer either.
const FAREWELL: Duration = Duration::from_secs(1);
/// Hyper's own limit, below which it keeps headers on the stack.
const HEADERS_ON_STACK: usize = 100;
/// Hyper takes no smaller buffer.
const SMALLEST_BUFFER: usize = 8192;
/// What every connection over HTTP/2 begins with (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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
    mut stop: watch::Receiver<bool>,
) {
    let patience = service.limits.header_timeout;
    // Idle from here on, whenever the first byte comes.
    let activity = Activity::new();
    let is_http1 = tokio::select! {
        begun = timeout(patience, begins_as_http1(&socket)) => begun,
        _ = stop.wait_for(|is_over| *is_over) => return,
    };
    match is_http1 {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return serve(Socket::new(socket), peer, service, stop).await,
        Ok(Err(error)) => {
            debug!(%error, "connection ended early");
            return;
        }
        Err(_) => {
            debug!("idle connection cut off");
            return;
        }
    }
    let line = Line::new(socket);
    let builder = http1_builder(&service.limits);
    let requests = activity.clone();
    let connected = Arc::new(Connected { service, peer });
    let handler = service_fn(move |request| answer(&connected, &requests, request));
    let connection = builder.serve_connection(TokioIo::new(line.clone()), handler).with_upgrades();
    let connection = pin!(connection);
    let end = http1::UpgradeableConnection::graceful_shutdown;
    run(connection, end, &activity, Some(&line), patience, stop).await;
}

/// The same over anything else, such as TLS, and where HTTP/2 may be spoken.
pub(crate) async fn serve<I>(io: I, peer: Peer, service: Arc<Service>, stop: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = builder(&service.limits);
    let patience = service.limits.header_timeout;
    let activity = Activity::new();
    let requests = activity.clone();
    let connected = Arc::new(Connected { service, peer });
    let handler = service_fn(move |request| answer(&connected, &requests, request));
    let connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), handler));
    let end = auto::UpgradeableConnection::graceful_shutdown;
    run(connection, end, &activity, None, patience, stop).await;
}

/// Whether the first bytes that come are not those of HTTP/2. They are left where they are.
async fn begins_as_http1(socket: &TcpStream) -> io::Result<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    let size = socket.peek(&mut first).await?;
    Ok(!HTTP2_PREFACE.starts_with(&first[..size]))
}

/// Answers one request of a connection.
fn answer(
    connected: &Arc<Connected>,
    activity: &Arc<Activity>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Watched>, Infallible>> + Send + use<> {
    let busy = activity.begin(connected.service.gives_up(&request));
    let answer = connected.clone().serve(request);
    answer.map(move |answer| Ok(answer.map(|body| Watched::new(body, &busy))))
}

/// Lets a connection go on until it ends. If there is a line, it is heard there whether the peer goes while
/// something is done for it alone, such as a call that is passed on: that then ends at once.
///
/// Hyper's own timers do not cover a peer that never says what it speaks, nor one that speaks
/// HTTP/2 and only answers pings. Such peers need no credential and would hold their place for
/// good, so idle time is measured here, the same for all.
async fn run<C, E>(
    mut connection: Pin<&mut C>,
    end_gracefully: impl Fn(Pin<&mut C>),
    activity: &Activity,
    line: Option<&Line>,
    patience: Duration,
    mut stop: watch::Receiver<bool>,
) where
    C: Future<Output = Result<(), E>>,
    E: Display,
{
    // Not set anew by each request: when it rings, it is looked up what happened meanwhile.
    let mut alarm = pin!(sleep_until(activity.deadline(patience)));
    let mut told_idle = false;
    let gone = || {
        poll_fn(|context| match line {
            Some(line) if activity.is_for_peer() => line.poll_closed(context),
            _ => Poll::Pending,
        })
    };
    let news = stop.clone();
    let mut stopping = *stop.borrow();
    if stopping {
        end_gracefully(connection.as_mut());
    }
    let mut stopped = pin!(stop.changed());
    let (mut stop_aside, mut alarm_aside) = (Aside::default(), Aside::default());
    let ended = loop {
        tokio::select! {
            // The connection first: a request that has arrived makes it busy.
            biased;
            ended = connection.as_mut() => break ended,
            () = gone() => {
                debug!("the peer went, and what was done for it ends");
                return;
            }
            _ = poll_fn(|context| {
                let has_come = || news.has_changed().unwrap_or(true);
                stop_aside.poll(context, has_come, |context| stopped.as_mut().poll(context))
            }), if !stopping => {
                stopping = true;
                end_gracefully(connection.as_mut());
            }
            () = poll_fn(|context| {
                let is_due = alarm.is_elapsed();
                alarm_aside.poll(context, || is_due, |context| alarm.as_mut().poll(context))
            }) => {
                let deadline = activity.deadline(patience);
                if deadline > Instant::now() {
                    alarm.as_mut().reset(deadline);
                } else if told_idle || !activity.used() {
                    debug!("idle connection cut off");
                    return;
                } else {
                    told_idle = true;
                    end_gracefully(connection.as_mut());
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

/// For HTTP/1.1 alone. Whether the peer is still there is heard on the line, so hyper does not read on.
fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(limits.max_header_bytes.max(SMALLEST_BUFFER));
    if limits.max_headers != HEADERS_ON_STACK {
        builder.max_headers(limits.max_headers);
    }
    builder
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper sets no alarm for each head: a head that takes too long is idle time.
    let mut http1 = builder.http1();
    http1.header_read_timeout(None).max_buf_size(limits.max_header_bytes.max(SMALLEST_BUFFER));
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
