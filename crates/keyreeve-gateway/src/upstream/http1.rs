//! HTTP/1.1 with services (RFC 9112), for calls whose request is at hand as a whole: those without a body,
//! and those whose body the credential goes into, such as by a signature.
//! Why not with hyper: ADR 0024.
//!
//! A connection has no task of its own. Whoever makes a call writes the request, reads the head of the
//! answer, and has the connection with the answer's body; once that has been read to its end, the
//! connection waits in the pool. What is the least bit unclear about where a message ends, ends the
//! connection: the next call must never get a piece of this one's answer.

mod body;
mod framing;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod head;
mod room;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderValue, Method, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop::unconstrained,
};

pub(crate) use self::{body::Http1Body, head::expects_length};
use self::{head::Head, room::Room};

/// Answers that say that the answer is still to come (RFC 9110 §15.2), before one call.
const MOST_INTERIM: usize = 16;

/// Room for a longer head is not kept for the next one.
const LONGEST_KEPT: usize = 4 << 10;

/// Why a service was not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It closed the connection before its message had come to its end.
    #[error("the connection was closed before the message was complete")]
    Closed,
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// It sent something else.
    #[error("no HTTP: {0}")]
    NotHttp(&'static str),
    /// Its head has more bytes or headers than are read.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
}

/// What bytes are written to and read from: TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that one call after the other has to itself.
pub(crate) struct Line {
    stream: Box<dyn Stream>,
    /// What has come and is not taken yet.
    room: Room,
    /// The header that names the service in each request.
    host: HeaderValue,
    /// The head of the request on its way, and how much of it has gone.
    head: Vec<u8>,
    gone: usize,
    /// What has still to go of its body.
    rest: Bytes,
    /// Whether nothing more can be written.
    is_broken: bool,
}

/// How far the head of an answer is read.
#[derive(Default)]
struct Reading {
    /// How much of what came was looked at in vain.
    seen: usize,
    /// How many answers said only that the answer is to come.
    interim: usize,
    /// Whether one of them left a doubt about where it ends.
    is_doubtful: bool,
}

/// A request that was not answered.
pub(crate) struct Unanswered {
    pub(crate) fault: Fault,
    /// Whether nothing of it was sent.
    pub(crate) is_unsent: bool,
}

impl Line {
    /// On a stream on which nothing was said yet, to that host.
    pub(super) fn new(stream: impl Stream + 'static, host: HeaderValue) -> Self {
        Self {
            stream: Box::new(stream),
            room: Room::default(),
            host,
            head: Vec::new(),
            gone: 0,
            rest: Bytes::new(),
            is_broken: false,
        }
    }

    /// Whether the service waits for a request.
    pub(super) fn is_good(&mut self) -> bool {
        self.look().is_ok()
    }

    /// Looks whether the service has closed the connection, or said anything that nobody asked for.
    fn look(&mut self) -> Result<(), Fault> {
        let mut nobody = Context::from_waker(Waker::noop());
        // Without a budget the socket would say that nothing has come, unlooked at.
        let mut look = pin!(unconstrained(poll_fn(|context| {
            self.room.poll_fill(&mut self.stream, context)
        })));
        match look.as_mut().poll(&mut nobody) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(0)) => Err(Fault::Closed),
            Poll::Ready(Ok(_)) => Err(Fault::NotHttp("it spoke before it was asked")),
            Poll::Ready(Err(error)) => Err(Fault::Io(error)),
        }
    }

    /// Sends a request with that body, and waits for the head of its answer.
    pub(crate) async fn send<B>(
        mut self: Box<Self>,
        request: &Request<B>,
        body: Bytes,
    ) -> Result<Response<Http1Body>, Unanswered> {
        self.look().map_err(|fault| Unanswered { fault, is_unsent: true })?;
        head::write(&mut self.head, request, &self.host, body.len());
        self.gone = 0;
        self.rest = body;
        let mut reading = Reading::default();
        let answered = poll_fn(|context| {
            self.poll_write(context);
            self.poll_head(context, request.method(), &mut reading)
        });
        match answered.await {
            Ok(head) => {
                let body = Http1Body::new(self, head.framing, head.may_be_used_again);
                Ok(Response::from_parts(head.parts, body))
            }
            // Of what the socket took nobody knows how much has gone.
            Err(fault) => Err(Unanswered { fault, is_unsent: false }),
        }
    }

    /// Writes on, as far as the service takes it. If it takes no more it may still have answered.
    fn poll_write(&mut self, context: &mut Context<'_>) {
        if !self.is_broken
            && !self.is_written()
            && let Poll::Ready(Err(_)) = self.poll_write_all(context)
        {
            self.is_broken = true;
        }
    }

    fn poll_write_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        while self.gone < self.head.len() || !self.rest.is_empty() {
            let head = &self.head[self.gone..];
            let count = if head.is_empty() {
                ready!(stream.as_mut().poll_write(context, &self.rest))?
            } else if self.rest.is_empty() {
                ready!(stream.as_mut().poll_write(context, head))?
            } else {
                let pieces = [IoSlice::new(head), IoSlice::new(&self.rest)];
                ready!(stream.as_mut().poll_write_vectored(context, &pieces))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = count.min(self.head.len() - self.gone);
            self.gone += of_head;
            self.rest.advance(count - of_head);
        }
        ready!(stream.poll_flush(context))?;
        // The credential was in it.
        if self.head.len() > LONGEST_KEPT {
            self.head = Vec::new();
        } else {
            self.head.fill(0);
            self.head.clear();
        }
        self.rest = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Whether all of the request has gone out.
    fn is_written(&self) -> bool {
        self.head.is_empty()
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        method: &Method,
        reading: &mut Reading,
    ) -> Poll<Result<Head, Fault>> {
        loop {
            if let Some(mut head) = head::read(&mut self.room, method, &mut reading.seen)? {
                head.may_be_used_again &= !reading.is_doubtful;
                if !head.is_interim() {
                    return Poll::Ready(Ok(head));
                }
                reading.is_doubtful = !head.may_be_used_again;
                reading.interim += 1;
                if reading.interim > MOST_INTERIM {
                    return Poll::Ready(Err(Fault::NotHttp("too many interim answers")));
                }
                continue;
            }
            if ready!(self.poll_fill(context))? == 0 {
                return Poll::Ready(Err(Fault::Closed));
            }
        }
    }

    /// Reads more; 0 if there is nothing more.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        self.room.poll_fill(&mut self.stream, context).map_err(Fault::Io)
    }

    /// Whether another call can be made on it, now that the answer to this one has come to its end.
    fn is_free(&self) -> bool {
        self.is_written() && !self.is_broken && self.room.is_empty()
    }
}

#[cfg(test)]
mod tests;
