//! Sockets over loopback, with a peer that reads when it is told to.

use std::{
    future::poll_fn,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream as Peer},
    task::Waker,
    time::Duration,
};

use socket2::{Domain, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::yield_now,
    time::timeout,
};

use super::*;
use crate::outbox::MOST;

/// More than the system keeps for somebody who does not read.
const MORE_THAN_IS_KEPT: usize = 64 << 20;

async fn pair() -> (Socket, Peer) {
    pair_that_keeps(None).await
}

/// For which the system keeps that many bytes on their way, or hardly more.
async fn pair_that_keeps(bytes: Option<usize>) -> (Socket, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(bytes) = bytes {
        peer.set_recv_buffer_size(bytes).unwrap();
        SockRef::from(&listener).set_send_buffer_size(bytes).unwrap();
    }
    peer.connect(&address.into()).unwrap();
    let peer = Peer::from(peer);
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    let stream = TcpStream::from_std(stream).unwrap();
    stream.writable().await.unwrap();
    (Socket::new(stream), peer)
}

/// Writes without waiting: how much was taken, if anything.
fn write(socket: &mut Socket, pieces: &[&[u8]]) -> Poll<io::Result<usize>> {
    let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut nobody = Context::from_waker(Waker::noop());
    Pin::new(socket).poll_write_vectored(&mut nobody, &pieces)
}

fn is_taken(socket: &mut Socket, pieces: &[&[u8]]) -> bool {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    matches!(write(socket, pieces), Poll::Ready(Ok(count)) if count == length)
}

fn has_come(peer: &Peer) -> bool {
    peer.set_nonblocking(true).unwrap();
    let has_come = peer.peek(&mut [0]).is_ok();
    peer.set_nonblocking(false).unwrap();
    has_come
}

fn read(peer: &mut Peer, count: usize) -> Vec<u8> {
    let mut read = vec![0; count];
    peer.read_exact(&mut read).unwrap();
    read
}

/// Until nothing more comes, while the runtime goes on.
async fn read_on(mut peer: Peer) -> Vec<u8> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        // A reset is an end, too.
        let _ = peer.read_to_end(&mut all);
        all
    });
    timeout(Duration::from_secs(20), reading).await.expect("the connection stays").unwrap()
}

/// Whether nothing goes out. The system may make more room for who does not read, for a while.
async fn is_stuck(socket: &mut Socket) -> bool {
    timeout(Duration::from_millis(50), socket.flush()).await.is_err()
}

/// Short messages that were taken until no more were, no two of them alike.
async fn fill(socket: &mut Socket) -> Vec<u8> {
    let mut all = Vec::new();
    for number in 0_u32.. {
        let message = number.to_le_bytes().repeat(LONGEST / 4);
        match write(socket, &[&message]) {
            Poll::Ready(taken) => assert_eq!(taken.unwrap(), message.len()),
            Poll::Pending if is_stuck(socket).await => break,
            Poll::Pending => continue,
        }
        all.extend_from_slice(&message);
        assert!(all.len() < MORE_THAN_IS_KEPT, "somebody keeps all of it");
        yield_now().await;
    }
    all
}

#[tokio::test]
async fn short_messages_go_out_when_all_had_their_turn() {
    let ((mut one, mut its_peer), (mut other, mut other_peer)) = (pair().await, pair().await);
    assert!(is_taken(&mut one, &[b"he", b"", b"ad"]) && is_taken(&mut other, &[b"else"]));
    assert!(is_taken(&mut one, &[b"body"]));
    assert!(!has_come(&its_peer) && !has_come(&other_peer));
    yield_now().await;
    assert_eq!(read(&mut its_peer, 8), b"headbody");
    assert_eq!(read(&mut other_peer, 4), b"else");
    let outbox = Outbox::of_this_core();
    assert!(Arc::ptr_eq(&outbox, &one.outbox) && Arc::ptr_eq(&outbox, &other.outbox));
}

#[tokio::test]
async fn a_long_message_goes_out_behind_what_was_taken_before() {
    let (mut socket, mut peer) = pair().await;
    let (head, long) = ([b'a'; LONGEST], [b'b'; LONGEST + 1]);
    assert!(is_taken(&mut socket, &[&head[1..], b"a"]));
    assert!(!has_come(&peer));
    socket.write_all(&long).await.unwrap();
    assert_eq!(read(&mut peer, 2 * LONGEST + 1), [&head[..], &long].concat());
    assert!(is_taken(&mut socket, &[b"short"]));
    let pieces = [IoSlice::new(&long[..LONGEST]), IoSlice::new(b"cc")];
    let written = poll_fn(|context| Pin::new(&mut socket).poll_write_vectored(context, &pieces));
    assert_eq!(written.await.unwrap(), LONGEST + 2);
    assert_eq!(read(&mut peer, LONGEST + 7), [b"short", &long[..LONGEST], b"cc"].concat());
}

#[tokio::test]
async fn more_than_can_wait_goes_out_at_once() {
    let (mut socket, mut peer) = pair().await;
    let messages: Vec<_> = (0..100_u8).map(|number| [number; 1 << 10]).collect();
    for message in &messages {
        assert!(is_taken(&mut socket, &[message]));
    }
    // All the while the runtime stands still.
    peer.peek(&mut [0]).unwrap();
    yield_now().await;
    assert_eq!(read(&mut peer, 100 << 10), messages.concat());
}

#[tokio::test]
async fn whoever_does_not_read_is_sent_nothing_more_and_loses_nothing() {
    let (mut socket, mut peer) = pair().await;
    for _ in 0..3 {
        let sent = fill(&mut socket).await;
        let count = sent.len();
        let reading = tokio::task::spawn_blocking(move || (read(&mut peer, count), peer));
        let done = timeout(Duration::from_secs(20), async {
            // Whoever waits is woken.
            socket.flush().await.unwrap();
            reading.await.unwrap()
        });
        let (received, the_peer) = done.await.expect("the rest is not written");
        assert!(received == sent);
        peer = the_peer;
    }
}

#[tokio::test]
async fn what_waits_goes_out_before_the_end() {
    let (mut socket, peer) = pair().await;
    assert!(is_taken(&mut socket, &[b"goodbye"]));
    socket.shutdown().await.unwrap();
    assert_eq!(read_on(peer).await, b"goodbye");
    let (mut socket, peer) = pair().await;
    assert!(is_taken(&mut socket, &[b"goodbye"]));
    drop(socket);
    assert_eq!(read_on(peer).await, b"goodbye");
}

#[tokio::test]
async fn whoever_takes_nothing_does_not_keep_a_connection_that_is_dropped() {
    // What was taken is late; or it will be, for the system keeps little and the end of the turn is to come.
    for is_late in [true, false] {
        let (mut socket, peer) = pair_that_keeps(Some(1 << 10)).await;
        let sent = if is_late {
            fill(&mut socket).await
        } else {
            let messages = vec![b'x'; MOST - LONGEST];
            assert!(messages.chunks(LONGEST).all(|message| is_taken(&mut socket, &[message])));
            messages
        };
        assert_eq!((socket.end.is_late(), socket.end.is_waiting()), (is_late, !is_late));
        let end = Arc::downgrade(&socket.end);
        drop(socket);
        // Before anybody reads.
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(end.upgrade().is_none(), "the connection stays");
        let received = read_on(peer).await;
        assert!(received.len() < sent.len() && sent.starts_with(&received));
    }
}

#[tokio::test]
async fn a_connection_that_broke_takes_nothing_more() {
    let (mut socket, peer) = pair().await;
    // A reset, in the place of an end.
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    assert!(socket.read_u8().await.is_err());
    // Nobody knows yet that this will not go out.
    assert!(is_taken(&mut socket, &[b"lost"]));
    yield_now().await;
    let error = socket.write(b"more").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(socket.flush().await.is_err() && socket.shutdown().await.is_err());
}

#[tokio::test]
async fn a_connection_that_breaks_wakes_whoever_waits() {
    let (mut socket, peer) = pair().await;
    fill(&mut socket).await;
    let breaks = async {
        yield_now().await;
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
    };
    let flushes = timeout(Duration::from_secs(10), socket.flush());
    let (flushed, ()) = tokio::join!(flushes, breaks);
    assert!(flushed.expect("nobody was woken").is_err());
}

#[test]
fn another_runtime_on_the_same_thread_has_another_outbox() {
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut socket, mut peer) = runtime.block_on(async {
            let (mut socket, mut peer) = pair().await;
            assert!(is_taken(&mut socket, &[b"first"]));
            yield_now().await;
            assert_eq!(read(&mut peer, 5), b"first");
            assert!(is_taken(&mut socket, &[b"last"]));
            (socket, peer)
        });
        drop(runtime);
        assert_eq!(read(&mut peer, 4), b"last");
        assert!(matches!(write(&mut socket, &[b"never"]), Poll::Ready(Err(_))));
    }
}

#[test]
fn what_a_runtime_that_ends_could_not_write_is_not_waited_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sockets = runtime.block_on(async {
        let (mut late, its_peer) = pair_that_keeps(Some(1 << 10)).await;
        fill(&mut late).await;
        let (mut waiting, other_peer) = pair_that_keeps(Some(1 << 10)).await;
        let messages = vec![b'x'; MOST - LONGEST];
        assert!(messages.chunks(LONGEST).all(|message| is_taken(&mut waiting, &[message])));
        [(late, its_peer), (waiting, other_peer)]
    });
    drop(runtime);
    for (mut socket, _peer) in sockets {
        assert!(socket.end.is_late());
        let mut nobody = Context::from_waker(Waker::noop());
        let flushed = Pin::new(&mut socket).poll_flush(&mut nobody);
        assert!(matches!(flushed, Poll::Ready(Err(_))), "{flushed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_overtakes_another_whatever_thread_it_comes_from() {
    let echoes: Vec<_> = (0..32)
        .map(|_| async {
            let (mut socket, mut peer) = pair().await;
            let all: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
            let expected = all.clone();
            let reading = tokio::task::spawn_blocking(move || {
                peer.write_all(b"!").unwrap();
                assert!(read(&mut peer, expected.len()) == expected);
            });
            socket.read_u8().await.unwrap();
            // Short ones, and now and then a long one.
            let mut sizes = [40, 1_000, 8, 5_000, 2_048, 2_049].into_iter().cycle();
            let mut rest = &all[..];
            while !rest.is_empty() {
                let (message, left) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                socket.write_all(message).await.unwrap();
                rest = left;
                yield_now().await;
            }
            reading.await.unwrap();
        })
        .map(tokio::spawn)
        .collect();
    for echo in echoes {
        timeout(Duration::from_secs(30), echo).await.unwrap().unwrap();
    }
}
