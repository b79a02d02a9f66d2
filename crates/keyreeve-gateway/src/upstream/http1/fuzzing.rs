//! An answer that comes in pieces, read to its end.

use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Line;

/// What was understood of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, as they are sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
    /// How many headers came behind that.
    pub trailers: usize,
    /// Whether the connection may be used again.
    pub is_kept: bool,
}

/// What comes of a call to a service that sends these pieces and then closes, if it is answered; and how
/// many bytes of what it sent were left alone.
///
/// # Panics
///
/// If the call waits for more.
pub fn http1_answer(method: &str, pieces: &[&[u8]]) -> (Option<Answer>, usize) {
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| piece.to_vec());
    let left = Arc::new(Mutex::new(pieces.collect::<VecDeque<_>>()));
    let service = Service { pieces: left.clone(), is_asked: false };
    let line = Line::new(service, HeaderValue::from_static("api.example"));
    let answer = {
        let mut reading = pin!(read(Box::new(line), method));
        match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("it waits for more than all"),
        }
    };
    let left = left.lock().iter().map(Vec::len).sum();
    (answer, left)
}

async fn read(line: Box<Line>, method: &str) -> Option<Answer> {
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let request = Request::builder().method(method).uri("/").body(()).ok()?;
    let (parts, mut body) = line.send(&request, Bytes::new()).await.ok()?.into_parts();
    let (mut bytes, mut trailers) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers += frame.trailers_ref().map_or(0, http::HeaderMap::len),
        }
    }
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Some(Answer {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body: bytes,
        trailers,
        is_kept: body.take_line().is_some(),
    })
}

/// Once it is asked, sends its pieces, each with one read, and takes everything.
struct Service {
    pieces: Arc<Mutex<VecDeque<Vec<u8>>>>,
    is_asked: bool,
}

impl AsyncRead for Service {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked {
            return Poll::Pending;
        }
        let mut pieces = self.pieces.lock();
        if let Some(mut piece) = pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Service {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
