//! A bare hyper server with the shape of Keyreeve's: what the machine can do at best.
//!
//! One current-thread runtime a core, each with a listener of its own on the same port. It reads
//! the whole request body and answers a fixed one.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;

use anyhow::{Context as _, anyhow};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections the kernel holds for a listener that is busy.
const BACKLOG: i32 = 1_024;
/// What every body begins with, so that the load generator checks both servers alike.
const BODY: &str = r#"{"valid":true}"#;

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
}

/// Serves until the process is killed.
pub(crate) fn run(args: &BareArgs) -> anyhow::Result<()> {
    let body = Bytes::from(body_of(args.response_bytes));
    let mut listeners = Vec::new();
    for _ in 0..args.threads.get() {
        let listener = listen(args.listen)
            .with_context(|| format!("the bare server cannot listen on {}", args.listen))?;
        listeners.push(listener);
    }
    let mut threads = Vec::new();
    for listener in listeners {
        let body = body.clone();
        let thread = thread::Builder::new()
            .name("bare".to_owned())
            .spawn(move || serve(listener, body))
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
fn serve(listener: std::net::TcpListener, body: Bytes) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept(listener, body))
}

/// Accepts connections for ever, and answers each in a task of its own.
async fn accept(listener: std::net::TcpListener, body: Bytes) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await.context("cannot accept a connection")?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, body.clone()));
            // A peer that goes away ends its connection, and nothing else.
            let _ended =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Reads the whole request, and answers the fixed body.
async fn answer(
    request: Request<Incoming>,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let _received = request.into_body().collect().await?.to_bytes();
    let mut response = Response::new(Full::new(body));
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
    fn two_listeners_share_a_port() -> anyhow::Result<()> {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        listen(first.local_addr()?)?;
        Ok(())
    }
}
