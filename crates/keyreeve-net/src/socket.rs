//! A TCP connection whose short messages go out together with those of others.

use std::{
    fmt,
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, tcp::OwnedReadHalf},
    task::coop::poll_proceed,
};

use crate::{
    end::End,
    outbox::{LONGEST, Outbox},
};

/// A TCP connection.
///
/// A message of up to 2 KiB, in one piece or several, is taken at once and written when the tasks that were
/// ready have had their turn; flushing it changes nothing about that. A longer one is written as it is
/// given, behind what was taken before. As with the buffers of the system, an error may show only with
/// what is read or written next. Dropped, the connection is closed when all that was taken has been written,
/// or at once if the other side takes no more.
pub struct Socket {
    read: OwnedReadHalf,
    end: Arc<End>,
    outbox: Arc<Outbox>,
}

impl Socket {
    /// Over that stream, served by the runtime of this thread.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read, end: End::new(write), outbox: Outbox::of_this_core() }
    }

    /// Looks at what comes next, and leaves it where it is.
    pub fn poll_peek(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        self.end.stream().poll_peek(context, buffer)
    }

    /// Ready once all that was taken is written.
    fn poll_written(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.is_waiting() {
            self.outbox.flush();
        }
        self.end.poll_in_time(context)
    }

    fn poll_write_now(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(context))?;
        let stream = self.end.stream();
        loop {
            ready!(stream.poll_write_ready(context))?;
            match write(stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Socket").field("stream", self.end.stream()).finish_non_exhaustive()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.end.abandon();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if length <= LONGEST {
            // Whoever has always something to write gives way now and then.
            let budget = ready!(poll_proceed(context));
            if self.outbox.take(&self.end, pieces) {
                budget.made_progress();
                return Poll::Ready(Ok(length));
            }
        }
        self.poll_write_now(context, |stream| match pieces {
            // The system takes longer over a list than over bytes.
            [only] => stream.try_write(only),
            _ => stream.try_write_vectored(pieces),
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll_in_time(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(context))?;
        Poll::Ready(SockRef::from(self.end.stream()).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests;
