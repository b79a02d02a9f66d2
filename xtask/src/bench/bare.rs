//! A bare hyper server with the shape of Keyreeve's: what the machine can do at best.
//!
//! One current-thread runtime a core, each with a listener of its own on the same port. It reads
//! the whole request body and answers a fixed one. With a bearer token it is also what proxies are put
//! in front of: it answers records, small and big, to whoever shows that token.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use anyhow::{Context as _, anyhow};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections the kernel holds for a listener that is busy.
const BACKLOG: i32 = 1_024;
/// What every body begins with, so that the load generator checks both servers alike.
const BODY: &str = r#"{"valid":true}"#;
/// What proxies ask for: an answer of the usual length, and a big one.
pub(super) const SMALL: &str = "/small";
pub(super) const BIG: &str = "/big";
/// A stream of events without end, of which one comes, to whoever shows the bearer token.
pub(super) const EVENTS: &str = "/events";
pub(super) const EVENT: &[u8] = b"data: 1\n\n";
/// What every record says, so that the load generator knows one.
pub(super) const RECORD: &[u8] = b"\"state\":\"active\"";
/// What those are told that do not show the bearer token.
const REFUSED: &[u8] = br#"{"error":"the bearer token is not the one that is asked for"}"#;

/// Options of `xtask bare-server`.
#[derive(Debug, clap::Args)]
pub(crate) struct BareArgs {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// Threads, each with a runtime and a listener.
    #[arg(long)]
    threads: NonZeroUsize,
    /// How long the body of every answer is.
    #[arg(long)]
    response_bytes: usize,
    /// What has to be shown for `/small` and `/big`, which answer records; without it these are paths
    /// as all others.
    #[arg(long)]
    bearer: Option<String>,
    /// How long the body of `/big` is.
    #[arg(long, default_value_t = 0)]
    big_bytes: usize,
}

/// What is answered, made once.
#[derive(Debug)]
struct Answers {
    plain: Bytes,
    small: Bytes,
    big: Bytes,
    authorization: Option<HeaderValue>,
}

impl Answers {
    fn of(args: &BareArgs) -> anyhow::Result<Self> {
        let value =
            args.bearer.as_ref().map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        Ok(Self {
            plain: body_of(args.response_bytes).into(),
            small: records(args.response_bytes).into(),
            big: records(args.big_bytes).into(),
            authorization: value.transpose().context("no header can hold the bearer token")?,
        })
    }

    /// The answer to a request for this path that shows this credential.
    fn choose(&self, path: &str, shown: Option<&HeaderValue>) -> (StatusCode, Bytes) {
        let body = match path {
            SMALL if self.authorization.is_some() => &self.small,
            BIG if self.authorization.is_some() => &self.big,
            _ => return (StatusCode::OK, self.plain.clone()),
        };
        if shown == self.authorization.as_ref() {
            (StatusCode::OK, body.clone())
        } else {
            (StatusCode::UNAUTHORIZED, Bytes::from_static(REFUSED))
        }
    }
}

/// Serves until the process is killed.
pub(crate) fn run(args: &BareArgs) -> anyhow::Result<()> {
    let answers = Arc::new(Answers::of(args)?);
    let mut listeners = Vec::new();
    for _ in 0..args.threads.get() {
        let listener = listen(args.listen)
            .with_context(|| format!("the bare server cannot listen on {}", args.listen))?;
        listeners.push(listener);
    }
    let mut threads = Vec::new();
    for listener in listeners {
        let answers = Arc::clone(&answers);
        let thread = thread::Builder::new()
            .name("bare".to_owned())
            .spawn(move || serve(listener, answers))
            .context("cannot start a server thread")?;
        threads.push(thread);
    }
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a server thread panicked"))??;
    }
    Ok(())
}

/// A JSON body of exactly this many bytes; spaces make up the length.
fn body_of(bytes: usize) -> Vec<u8> {
    let mut body = BODY.as_bytes().to_vec();
    body.resize(bytes, b' ');
    body
}

/// A JSON list of records of exactly this many bytes; spaces make up the length. It is what an API
/// answers, so that a proxy that looks through it has as much to look at as usual.
fn records(bytes: usize) -> Vec<u8> {
    let mut body = "[".to_owned();
    for number in 0_u32.. {
        let separator = if number == 0 { "" } else { "," };
        let record = format!(
            r#"{separator}{{"id":{number},"name":"service-{number}","state":"active","team":{}}}"#,
            number % 7
        );
        if body.len() + record.len() + "]".len() > bytes {
            break;
        }
        body.push_str(&record);
    }
    body.push(']');
    let mut body = body.into_bytes();
    body.resize(bytes, b' ');
    body
}

/// A listener that shares its port with the listeners of the other threads.
fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Runs the runtime of one thread.
fn serve(listener: std::net::TcpListener, answers: Arc<Answers>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept(listener, answers))
}

/// Accepts connections for ever, and answers each in a task of its own.
async fn accept(listener: std::net::TcpListener, answers: Arc<Answers>) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await.context("cannot accept a connection")?;
        stream.set_nodelay(true)?;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&answers)));
            // A peer that goes away ends its connection, and nothing else.
            let _ended = http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// One event, and then nothing for ever.
struct Events(Option<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(event) => Poll::Ready(Some(Ok(Frame::data(event)))),
            None => Poll::Pending,
        }
    }
}

/// Reads the whole request, and answers what is fixed for its path.
async fn answer(
    request: Request<Incoming>,
    answers: Arc<Answers>,
) -> Result<Response<Either<Full<Bytes>, Events>>, hyper::Error> {
    let shown = request.headers().get(AUTHORIZATION);
    if request.uri().path() == EVENTS && shown.is_some() && shown == answers.authorization.as_ref()
    {
        let mut response = Response::new(Either::Right(Events(Some(Bytes::from_static(EVENT)))));
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        return Ok(response);
    }
    let (status, body) = answers.choose(request.uri().path(), shown);
    let _received = request.into_body().collect().await?.to_bytes();
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_length_that_was_asked_for() {
        assert_eq!(body_of(BODY.len()), BODY.as_bytes());
        let long = body_of(200);
        assert_eq!(long.len(), 200);
        assert!(long.starts_with(BODY.as_bytes()));
        assert!(long.ends_with(b"   "));
    }

    #[test]
    fn records_are_json_of_the_length_that_was_asked_for() -> anyhow::Result<()> {
        for bytes in [200, 201, 10_000] {
            let body = records(bytes);
            assert_eq!(body.len(), bytes);
            assert!(body.windows(RECORD.len()).any(|window| window == RECORD));
            let list: Vec<serde_json::Value> = serde_json::from_slice(&body)?;
            assert_eq!(list[1]["name"], "service-1");
        }
        Ok(())
    }

    #[test]
    fn records_are_for_those_who_show_the_token() -> anyhow::Result<()> {
        let mut args = BareArgs {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            threads: NonZeroUsize::MIN,
            response_bytes: 200,
            bearer: Some("one".to_owned()),
            big_bytes: 1_000,
        };
        let (one, other) =
            (HeaderValue::from_static("Bearer one"), HeaderValue::from_static("Bearer two"));
        let answers = Answers::of(&args)?;
        let length = |path, shown| {
            let (status, body) = answers.choose(path, shown);
            (status.as_u16(), body.len())
        };
        assert_eq!(length(SMALL, Some(&one)), (200, 200));
        assert_eq!(length(BIG, Some(&one)), (200, 1_000));
        assert_eq!(length("/healthz", None), (200, 200));
        for shown in [None, Some(&other)] {
            assert_eq!(length(SMALL, shown).0, 401);
            assert_eq!(length(BIG, shown).0, 401);
        }
        args.bearer = None;
        assert_eq!(Answers::of(&args)?.choose(BIG, None).1.len(), 200);
        Ok(())
    }

    #[test]
    fn two_listeners_share_a_port() -> anyhow::Result<()> {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        listen(first.local_addr()?)?;
        Ok(())
    }
}
