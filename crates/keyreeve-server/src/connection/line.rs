//! A TCP socket that can be asked whether its peer is still there, while somebody else reads from it
//! and writes to it.
//!
//! Hyper finds that out by reading on while a request is being answered, for which it takes a buffer of
//! 8 KiB for each request. Taken, filled with nothing and overwritten, that buffer costs a verification
//! more than all that is decided about it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The socket. All who hold one belong to the same task, so nobody ever waits for the lock.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<TcpStream>>);

impl Line {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(socket)))
    }

    /// Ready once the peer has closed its side and all it sent was read. Until then the task is woken
    /// when something comes; if something has come that nobody has read, that is left to whoever reads.
    pub(super) fn poll_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        match self.0.lock().poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write_vectored(context, pieces)
    }

    /// As TCP sockets always can.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Line::new(listener.accept().await.unwrap().0), peer)
    }

    /// Whether the peer is seen to be gone within a moment.
    async fn is_closed(line: &Line) -> bool {
        let closed = poll_fn(|context| line.poll_closed(context));
        tokio::time::timeout(std::time::Duration::from_millis(200), closed).await.is_ok()
    }

    #[tokio::test]
    async fn a_peer_that_goes_is_heard() {
        let (line, peer) = pair().await;
        assert!(!is_closed(&line).await);
        drop(peer);
        assert!(is_closed(&line).await);
    }

    #[tokio::test]
    async fn what_came_before_is_read_first() {
        let (mut line, mut peer) = pair().await;
        peer.write_all(b"more").await.unwrap();
        peer.shutdown().await.unwrap();
        assert!(!is_closed(&line).await);
        let mut read = [0; 4];
        line.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"more");
        assert!(is_closed(&line).await);
    }

    #[tokio::test]
    async fn listening_takes_nothing_from_whoever_reads() {
        let (mut line, mut peer) = pair().await;
        for _ in 0..3 {
            assert!(!is_closed(&line).await);
            peer.write_all(b"word").await.unwrap();
            let mut read = [0; 4];
            line.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"word");
        }
    }
}
