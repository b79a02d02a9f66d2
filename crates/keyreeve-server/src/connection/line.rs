//! A TCP socket that can be asked whether its peer is still there, while somebody else reads from it
//! and writes to it, and that leaves nothing of what was read in a buffer that is used again.
//!
//! Hyper finds out by itself whether a peer is there, by reading on while a request is being answered.
//! It takes a buffer of 8 KiB for that, for each request; taking it, and overwriting it when it is given
//! back, costs a tenth of a verification. Without that it reads the next request into the buffer of the
//! one before, whose key would stand there until then.

use std::{
    io::{self, IoSlice},
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use keyreeve_net::Socket;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The socket. Only the task of the connection uses it, or, after an upgrade, the one that has it then:
/// nobody ever waits for the lock.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Held>>);

struct Held {
    socket: Socket,
    /// The addresses that what was read last stands at, until that room is free again.
    read: Range<usize>,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Held { socket: Socket::new(stream), read: 0..0 })))
    }

    /// Ready once the peer has closed its side and nothing is left to read from the socket. Until then the
    /// task is woken when something comes; what has come and nobody has read is left to whoever reads.
    pub(super) fn poll_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        match self.0.lock().socket.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

/// The address at which the next byte is put.
fn next_address(buffer: &ReadBuf<'_>) -> usize {
    buffer.filled().as_ptr_range().end.addr()
}

impl Held {
    /// Overwrites what was read before, as far as its room is handed out to be read into again. Until then
    /// it is in use; and a buffer that is not used again is overwritten when it is freed.
    fn overwrite(&mut self, buffer: &mut ReadBuf<'_>) {
        let next = next_address(buffer);
        if next >= self.read.end {
            return;
        }
        let free = (self.read.end - next).min(buffer.remaining());
        buffer.initialize_unfilled_to(free).fill(0);
        // What stands before may be the beginning of the next request, which was moved there.
        self.read = if next > self.read.start { self.read.start..next } else { 0..0 };
    }

    fn note(&mut self, read: Range<usize>) {
        if read.start == self.read.end {
            self.read.end = read.end;
        } else if !read.is_empty() {
            self.read = read;
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut held = self.0.lock();
        held.overwrite(buffer);
        let begin = next_address(buffer);
        let polled = Pin::new(&mut held.socket).poll_read(context, buffer);
        held.note(begin..next_address(buffer));
        polled
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.lock().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.lock().socket).poll_write_vectored(context, pieces)
    }

    /// As TCP sockets always can.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().socket).poll_shutdown(context)
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

    /// Reads so many bytes into that room; or, as hyper does, finds out by reading that there are none.
    async fn read(line: &mut Line, room: &mut [u8], wanted: usize) {
        let mut buffer = ReadBuf::new(room);
        poll_fn(|context| {
            let polled = Pin::new(&mut *line).poll_read(context, &mut buffer);
            if wanted == 0 { Poll::Ready(Ok(())) } else { polled }
        })
        .await
        .unwrap();
        assert_eq!(buffer.filled().len(), wanted);
    }

    #[tokio::test]
    async fn what_was_read_is_overwritten_once_its_room_is_free() {
        let (mut line, mut peer) = pair().await;
        let mut room = [0; 16];
        peer.write_all(b"secret").await.unwrap();
        read(&mut line, &mut room, 6).await;
        peer.write_all(b"more").await.unwrap();
        read(&mut line, &mut room[6..], 4).await;
        read(&mut line, &mut room[10..], 0).await;
        assert_eq!(room, *b"secretmore\0\0\0\0\0\0", "all of it is in use");
        read(&mut line, &mut room, 0).await;
        assert_eq!(room, [0; 16], "before anything else comes");
        peer.write_all(b"next").await.unwrap();
        read(&mut line, &mut room, 4).await;
        assert_eq!(room, *b"next\0\0\0\0\0\0\0\0\0\0\0\0");
    }

    #[tokio::test]
    async fn of_what_was_moved_nothing_stays_where_it_stood() {
        let (mut line, mut peer) = pair().await;
        let mut room = [0; 16];
        peer.write_all(b"secretGET").await.unwrap();
        read(&mut line, &mut room, 9).await;
        // The next request has begun, and is moved to the front.
        room.copy_within(6..9, 0);
        read(&mut line, &mut room[3..], 0).await;
        assert_eq!(room, *b"GET\0\0\0\0\0\0\0\0\0\0\0\0\0");
        peer.write_all(b" /x").await.unwrap();
        read(&mut line, &mut room[3..], 3).await;
        assert_eq!(&room[..6], b"GET /x");
        read(&mut line, &mut room, 0).await;
        assert_eq!(room, [0; 16]);
    }

    #[tokio::test]
    async fn a_peer_that_goes_is_heard() {
        let (line, peer) = pair().await;
        assert!(!is_closed(&line).await);
        drop(peer);
        assert!(is_closed(&line).await);
    }

    #[tokio::test]
    async fn a_peer_that_breaks_off_is_heard() {
        let (line, peer) = pair().await;
        // Without a word of goodbye: a reset in the place of an end.
        socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
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
