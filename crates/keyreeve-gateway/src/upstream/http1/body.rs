//! The body of an answer, read as it is asked for.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use httparse::Status;
use tokio_util::io::poll_read_buf;

use super::{
    Fault, Line,
    framing::{self, Chunk, Framing},
};
use crate::upstream::dial::MOST_HEADERS;

/// How much of a long body is read at once.
const MOST_AT_ONCE: usize = if cfg!(fuzzing) { 128 } else { 64 << 10 };
/// The most bytes of headers behind a body.
const MOST_TRAILER_BYTES: usize = if cfg!(fuzzing) { 256 } else { 8 << 10 };
/// Less room than that is not worth a read. What TLS gives at once, too (RFC 8446 §5.1).
const LEAST_AT_ONCE: usize = if cfg!(fuzzing) { 32 } else { 16 << 10 };

/// The body of an answer, and the connection that it comes on.
pub(crate) struct Http1Body {
    /// `None` once it was taken or is of no more use.
    line: Option<Box<Line>>,
    framing: Framing,
    may_be_used_again: bool,
    /// Where a long body is read to, and whether it is one.
    long: BytesMut,
    is_long: bool,
}

impl Http1Body {
    pub(super) fn new(line: Box<Line>, framing: Framing, may_be_used_again: bool) -> Self {
        let line = Some(line);
        Self { line, framing, may_be_used_again, long: BytesMut::new(), is_long: false }
    }

    /// The connection, for another call, if the body was read to its end and nothing speaks against it.
    pub(crate) fn take_line(&mut self) -> Option<Box<Line>> {
        let is_over = self.framing == Framing::Done && self.may_be_used_again;
        let mut line = self.line.take().filter(|line| is_over && line.is_free())?;
        line.room.wipe();
        Some(line)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Fault>> {
        loop {
            let Some(line) = &mut self.line else {
                let is_done = self.framing == Framing::Done;
                return Poll::Ready(if is_done { Ok(None) } else { Err(Fault::Closed) });
            };
            // Of a long request that was answered before all of it had gone.
            line.poll_write(context);
            let next = match self.framing {
                Framing::Done => return Poll::Ready(Ok(None)),
                Framing::Length(left) => {
                    let data = ready!(self.poll_data(context, left))?.ok_or(Fault::Closed)?;
                    let left = left - data.len() as u64;
                    self.framing = if left == 0 { Framing::Done } else { Framing::Length(left) };
                    return Poll::Ready(Ok(Some(Frame::data(data))));
                }
                Framing::UntilClose => {
                    let data = ready!(self.poll_data(context, u64::MAX))?;
                    if data.is_none() {
                        self.framing = Framing::Done;
                    }
                    return Poll::Ready(Ok(data.map(Frame::data)));
                }
                Framing::Chunked(Chunk::Data(left)) => {
                    let data = ready!(self.poll_data(context, left))?.ok_or(Fault::Closed)?;
                    let left = left - data.len() as u64;
                    let next = if left == 0 { Chunk::DataEnd } else { Chunk::Data(left) };
                    self.framing = Framing::Chunked(next);
                    return Poll::Ready(Ok(Some(Frame::data(data))));
                }
                Framing::Chunked(Chunk::Size) => {
                    framing::chunk_size(line.room.filled())?.map(|(taken, size)| {
                        let next = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
                        (taken, Framing::Chunked(next))
                    })
                }
                Framing::Chunked(Chunk::DataEnd) => match line.room.filled() {
                    [] | [b'\r'] => None,
                    [b'\r', b'\n', ..] => Some((2, Framing::Chunked(Chunk::Size))),
                    _ => return Poll::Ready(Err(Fault::NotHttp("a piece of the body is longer"))),
                },
                Framing::Chunked(Chunk::Trailers) => {
                    if let Some((taken, trailers)) = trailers(line.room.filled())? {
                        line.room.take(taken);
                        self.framing = Framing::Done;
                        let frame = (!trailers.is_empty()).then(|| Frame::trailers(trailers));
                        return Poll::Ready(Ok(frame));
                    }
                    None
                }
            };
            if let Some((taken, next)) = next {
                line.room.take(taken);
                self.framing = next;
            } else if ready!(line.poll_fill(context))? == 0 {
                return Poll::Ready(Err(Fault::Closed));
            }
        }
    }

    /// At most so many bytes of the body; `None` if there are no more.
    fn poll_data(
        &mut self,
        context: &mut Context<'_>,
        left: u64,
    ) -> Poll<Result<Option<Bytes>, Fault>> {
        let Some(line) = &mut self.line else { return Poll::Ready(Ok(None)) };
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let reads_to_room = line.room.is_empty() && !(self.is_long && left > LEAST_AT_ONCE);
        if reads_to_room && ready!(line.poll_fill(context))? == 0 {
            return Poll::Ready(Ok(None));
        }
        let filled = line.room.filled();
        if !filled.is_empty() {
            // Where it stands the next message is read to; and most of them are short.
            self.is_long = line.room.is_full();
            let data = Bytes::copy_from_slice(&filled[..filled.len().min(left)]);
            line.room.take(data.len());
            return Poll::Ready(Ok(Some(data)));
        }
        if self.long.capacity() < LEAST_AT_ONCE {
            self.long = BytesMut::with_capacity(MOST_AT_ONCE.min(left));
        }
        let most = self.long.capacity().min(left);
        let mut place = (&mut self.long).limit(most);
        let read = poll_read_buf(Pin::new(&mut line.stream), context, &mut place);
        let data = self.long.split();
        // As long as much comes at once. Whoever waits needs no such room.
        let has_place = self.long.capacity() >= LEAST_AT_ONCE;
        self.is_long = data.len() == most || (has_place && data.len() >= LEAST_AT_ONCE);
        if !self.is_long {
            self.long = BytesMut::new();
        }
        ready!(read).map_err(Fault::Io)?;
        Poll::Ready(Ok(match data.len() {
            0 => None,
            // A few bytes in so much room would keep all of it.
            1..LEAST_AT_ONCE => Some(Bytes::copy_from_slice(&data)),
            _ => Some(data.freeze()),
        }))
    }
}

/// The headers behind a body, and how many bytes they take; `None` if not all of them have come.
fn trailers(bytes: &[u8]) -> Result<Option<(usize, HeaderMap)>, Fault> {
    let fault = || Fault::NotHttp("the headers behind the body");
    // Nearly always there are none.
    if let Some([b'\r', b'\n']) = bytes.get(..2) {
        return Ok(Some((2, HeaderMap::new())));
    }
    let bytes = &bytes[..bytes.len().min(MOST_TRAILER_BYTES)];
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4);
    let so_far = &bytes[..end.unwrap_or(bytes.len())];
    // A bare line feed ends a line for some and not for others.
    let is_bare = |(at, byte): (usize, &u8)| *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r');
    if so_far.iter().enumerate().any(is_bare) {
        return Err(fault());
    }
    if end.is_none() {
        return if bytes.len() == MOST_TRAILER_BYTES { Err(fault()) } else { Ok(None) };
    }
    let bytes = so_far;
    let mut room = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let parsed = httparse::parse_headers(bytes, &mut room).map_err(|_| fault())?;
    let Status::Complete((taken, headers)) = parsed else { return Err(fault()) };
    if taken != bytes.len() {
        return Err(fault());
    }
    let mut trailers = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| fault())?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| fault())?;
        trailers.append(name, value);
    }
    Ok(Some((taken, trailers)))
}

impl Body for Http1Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = ready!(self.poll(context));
        if polled.is_err() {
            (self.line, self.framing) = (None, Framing::Done);
        }
        Poll::Ready(polled.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.framing == Framing::Done
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Done => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::UntilClose | Framing::Chunked(_) => SizeHint::default(),
        }
    }
}
