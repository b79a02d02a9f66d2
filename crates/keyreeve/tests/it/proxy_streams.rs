//! What the proxy passes on while it comes: events, messages, long bodies, trailers.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    time::Duration,
};

use serde_json::json;

use crate::{
    backends::eventually,
    proxy::{Proxied, SECRET, answer, answered, http},
    raw_http::Raw,
    support::{PATIENCE, block_on},
    web_socket::{self, CLOSE, TEXT},
};

const MIB: usize = 1 << 20;
/// A body that nobody keeps as a whole.
const LONG: usize = 64 * MIB;
/// How much more memory the server may have needed for it at any time.
const MOST_MORE_KIB: u64 = 16 << 10;

impl Proxied {
    /// A connection of the client to the server.
    fn raw(&self) -> Raw {
        Raw::connect(&self.server.url)
    }

    /// Asks for a WebSocket.
    pub(crate) fn web_socket(&self, path: &str) -> Raw {
        let mut raw = self.raw();
        let head = self.head(&format!("GET /proxy/{path}"));
        let upgrade = "connection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        raw.send(format!("{head}{upgrade}").as_bytes());
        raw
    }

    /// The most memory that the server had at any time, in KiB; `None` where that is not told.
    fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Holds the server to a bound on memory while something is done.
    fn within_memory(&self, act: impl FnOnce()) {
        let before = self.peak_memory();
        act();
        if let (Some(before), Some(after)) = (before, self.peak_memory()) {
            assert!(after - before < MOST_MORE_KIB, "{before} KiB before, {after} KiB after");
        }
    }
}

#[test]
fn events_arrive_one_by_one_and_the_stream_may_be_long() {
    const EVENTS: usize = 20;
    let proxied = Proxied::start();
    let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let http2 = builder.http2_prior_knowledge().build().unwrap();
    for client in [http(), http2] {
        let sent_before = proxied.service.events();
        let url = proxied.url(&format!("echo/sse?n={EVENTS}"));
        let all = block_on(async {
            let request = client.get(url).header("x-keyreeve-key", &proxied.key);
            let mut response = request.send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let mut all = response.chunk().await.unwrap().unwrap().to_vec();
            // The first is here, and the last was not even sent.
            assert!(proxied.service.events() - sent_before < EVENTS);
            assert!(all.starts_with(b"data: 0\n\n"));
            while let Some(piece) = response.chunk().await.unwrap() {
                all.extend_from_slice(&piece);
            }
            crate::support::text(&all)
        });
        let expected = (0..EVENTS).map(|number| format!("data: {number}\n\n"));
        assert_eq!(all, expected.collect::<String>());
    }
}

#[test]
fn a_web_socket_talks_both_ways_and_no_message_has_the_credential() {
    let proxied = Proxied::start();
    let mut raw = proxied.web_socket("echo/ws");
    let head = raw.head();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    let accept = web_socket::accept("dGhlIHNhbXBsZSBub25jZQ==").to_ascii_lowercase();
    assert!(head.contains(&format!("sec-websocket-accept: {accept}\r\n")), "{head}");
    let seen = proxied.service.last();
    assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    assert!(!format!("{seen:?}").contains(&proxied.key), "{seen:?}");

    let stars = "*".repeat(SECRET.len());
    let long = "long ".repeat(1_000);
    for message in ["hello!", long.as_str(), ""] {
        web_socket::write_frame(&mut raw.stream, TEXT, message.as_bytes(), true).unwrap();
        let (opcode, payload) = web_socket::read_frame(&mut raw.stream).unwrap().unwrap();
        assert_eq!((opcode, payload.as_slice()), (TEXT, message.as_bytes()));
    }
    web_socket::write_frame(&mut raw.stream, TEXT, b"credential?", true).unwrap();
    // What follows tells that the one before was not the beginning of something longer.
    web_socket::write_frame(&mut raw.stream, TEXT, b"!", true).unwrap();
    let (_, payload) = web_socket::read_frame(&mut raw.stream).unwrap().unwrap();
    assert_eq!(payload, stars.as_bytes());
    let (_, payload) = web_socket::read_frame(&mut raw.stream).unwrap().unwrap();
    assert_eq!(payload, b"!");
    web_socket::write_frame(&mut raw.stream, CLOSE, &1000_u16.to_be_bytes(), true).unwrap();
    let (opcode, _) = web_socket::read_frame(&mut raw.stream).unwrap().unwrap();
    assert_eq!(opcode, CLOSE);
    assert_eq!(web_socket::read_frame(&mut raw.stream).unwrap(), None);
    drop(raw);
    eventually("the call is recorded", || {
        proxied.calls().iter().any(|call| call.status == 101 && call.scrubbed > 0)
    });
}

#[test]
fn a_message_arrives_at_once_though_it_ends_as_the_credential_begins() {
    let proxied = Proxied::start();
    let mut raw = proxied.web_socket("echo/ws");
    raw.head();
    // Whoever answers only what it has heard would wait for ever.
    for length in 1..=3 {
        let message = format!("ends in {}", &SECRET[..length]);
        web_socket::write_frame(&mut raw.stream, TEXT, message.as_bytes(), true).unwrap();
        let (_, payload) = web_socket::read_frame(&mut raw.stream).unwrap().unwrap();
        assert_eq!(payload, message.as_bytes());
    }
}

#[test]
fn a_web_socket_ends_when_either_side_goes() {
    let proxied = Proxied::start();
    let mut raw = proxied.web_socket("echo/ws");
    raw.head();
    eventually("it is open", || proxied.service.streams() == 1);
    drop(raw);
    eventually("the service is let go", || proxied.service.streams() == 0);
    // One that is refused is no WebSocket, and not passed on.
    let mut raw = proxied.raw();
    let head = "GET /proxy/echo/ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\
                upgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";
    proxied.service.forget();
    raw.send(head.as_bytes());
    assert!(raw.head().starts_with("http/1.1 401 "));
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn trailers_pass_both_ways_and_have_no_credential() {
    let proxied = Proxied::start();
    let mut raw = proxied.raw();
    let head = proxied.head("GET /proxy/echo/trailers");
    raw.send(format!("{head}te: trailers\r\nconnection: TE\r\n\r\n").as_bytes());
    assert!(raw.head().starts_with("http/1.1 200 "));
    let body = raw.until("0\r\n").to_ascii_lowercase();
    assert!(body.contains("before the trailers"), "{body}");
    let trailers = raw.until("\r\n\r\n").to_ascii_lowercase();
    assert!(trailers.contains("x-checksum: made-up-checksum\r\n"), "{trailers}");
    let stars = "*".repeat(SECRET.len());
    assert!(trailers.contains(&format!("x-repeated: {stars}\r\n")), "{trailers}");
    assert_eq!(proxied.service.last().header("te"), "trailers");

    let head = proxied.head("POST /proxy/echo/x");
    let chunks = "transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                  5\r\nhello\r\n0\r\nx-sum: 4711\r\n\r\n";
    raw.send(format!("{head}{chunks}").as_bytes());
    assert!(raw.head().starts_with("http/1.1 200 "));
    let seen = proxied.service.last();
    assert_eq!((seen.text().as_str(), seen.is_whole), ("hello", true));
    assert_eq!(seen.trailers, [("x-sum".to_owned(), "4711".to_owned())]);
}

#[test]
fn a_client_that_waits_before_it_sends_is_told_to_go_on_only_if_it_may() {
    let proxied = Proxied::start();
    let mut raw = proxied.raw();
    let head = proxied.head("POST /proxy/echo/x");
    raw.send(format!("{head}expect: 100-continue\r\ncontent-length: 5\r\n\r\n").as_bytes());
    assert!(raw.head().starts_with("http/1.1 100 "));
    raw.send(b"hello");
    assert!(raw.head().starts_with("http/1.1 200 "));
    let seen = proxied.service.last();
    assert_eq!(seen.text(), "hello");
    assert!(seen.all("expect").is_empty(), "{seen:?}");
    proxied.service.forget();
    let nobody = "POST /proxy/echo/x HTTP/1.1\r\nhost: a\r\n".to_owned();
    for head in [nobody, proxied.head("POST /proxy/none/x")] {
        let mut raw = proxied.raw();
        raw.send(format!("{head}expect: 100-continue\r\ncontent-length: 5\r\n\r\n").as_bytes());
        let answer = raw.head();
        assert!(answer.starts_with("http/1.1 40"), "{answer}");
    }
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn an_upload_is_passed_on_while_it_comes() {
    let proxied = Proxied::start();
    let mut raw = proxied.raw();
    proxied.within_memory(|| {
        let head = proxied.head("PUT /proxy/echo/upload");
        raw.send(format!("{head}content-length: {LONG}\r\n\r\n").as_bytes());
        let piece = vec![b'.'; MIB];
        for _ in 0..LONG / MIB {
            raw.stream.write_all(&piece).unwrap();
        }
        assert!(raw.head().starts_with("http/1.1 200 "));
    });
    let seen = proxied.service.last();
    assert_eq!((seen.size, seen.is_whole), (LONG as u64, true));
    assert_eq!(seen.header("content-length"), LONG.to_string());
    eventually("it is recorded", || {
        proxied.calls().iter().any(|call| call.request_bytes == LONG as u64)
    });
}

#[test]
fn a_long_answer_is_passed_on_while_it_comes() {
    let proxied = Proxied::start();
    for more in ["", "&chunked=1"] {
        proxied.within_memory(|| {
            let request = proxied.request("GET", &format!("echo/big?n={LONG}{more}"));
            let size = block_on(async {
                let mut response = request.send().await.unwrap();
                let mut size = 0;
                while let Some(piece) = response.chunk().await.unwrap() {
                    assert!(piece.iter().all(|byte| *byte == b'.'));
                    size += piece.len();
                }
                size
            });
            assert_eq!(size, LONG);
        });
    }
}

#[test]
fn a_client_that_goes_away_gives_its_place_back() {
    let proxied = Proxied::start();
    proxied.connect("one", &json!({ "limits": { "concurrency": 1 } }));
    let mut raw = proxied.raw();
    let head = proxied.head("GET /proxy/one/sse?n=100000");
    raw.send(format!("{head}\r\n").as_bytes());
    raw.until("data: 1\n");
    assert_eq!(proxied.service.streams(), 1);
    assert_eq!(proxied.get("one/x").code(), "429 rate_limited");
    drop(raw);
    eventually("another call has its place", || proxied.get("one/x").status == 200);
    eventually("the service is let go", || proxied.service.streams() == 0);
    eventually("what was cut short is recorded as such", || {
        proxied.calls().iter().any(|call| call.path == "/sse" && !call.whole)
    });

    // The same before the service has answered at all, and in the middle of an upload.
    let upload = "content-length: 100\r\n\r\nthe beginning";
    for (path, rest) in [("slow-head?ms=60000", "\r\n"), ("x", upload)] {
        let mut raw = proxied.raw();
        let head = proxied.head(&format!("POST /proxy/one/{path}"));
        raw.send(format!("{head}{rest}").as_bytes());
        eventually("its place is taken", || proxied.get("one/x").status == 429);
        drop(raw);
        eventually("its place is free", || proxied.get("one/x").status == 200);
    }
}

#[test]
fn silence_is_borne_as_long_as_was_agreed_on() {
    let proxied = Proxied::start();
    proxied.connect("brief", &json!({ "patience": { "idle_ms": 2_000 } }));
    // Events come often enough, and the whole may take longer than any silence.
    let events = proxied.get("brief/sse?n=30");
    assert_eq!(events.body.matches("data: ").count(), 30);
    let silent = block_on(async {
        let mut response = proxied.request("GET", "brief/silent").send().await.unwrap();
        let first = response.chunk().await.unwrap().unwrap();
        assert_eq!(&first[..], b"only this");
        response.chunk().await
    });
    assert!(silent.is_err(), "an answer that stops is not one that ends: {silent:?}");
    // A client that stops sending is not waited for, either.
    let mut raw = proxied.raw();
    let head = proxied.head("POST /proxy/brief/x");
    raw.send(format!("{head}content-length: 100\r\n\r\nthe beginning").as_bytes());
    let heard = raw.rest();
    assert!(heard.is_closed || heard.statuses()[0] >= 400, "{heard:?}");
    assert!(proxied.service.seen().iter().all(|seen| seen.is_whole || seen.size < 100));
}

#[test]
fn a_tunnel_whose_client_reads_nothing_gives_its_place_back() {
    let proxied = Proxied::start();
    let more = json!({ "patience": { "idle_ms": 1_000 }, "limits": { "concurrency": 1 } });
    proxied.connect("brief", &more);
    let mut raw = proxied.web_socket("brief/ws");
    assert!(raw.head().starts_with("http/1.1 101 "));
    assert_eq!(proxied.get("brief/x").code(), "429 rate_limited");
    // Each is sent back, until nobody has room for more.
    raw.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut write = || web_socket::write_frame(&mut raw.stream, TEXT, &[b'x'; 500], true);
    let full = (0..500_000).find_map(|_| write().err()).expect("somebody keeps all of it");
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    eventually("its place is free", || proxied.get("brief/x").status == 200);
    drop(raw);
}

#[test]
fn many_calls_at_once_are_kept_apart() {
    let proxied = Proxied::start();
    let call = |number: usize| {
        let body = format!("{number:06} ").repeat(1_000);
        let request = proxied.request("POST", &format!("echo/{number}")).body(body.clone());
        async move {
            let answer = answered(request).await.json();
            assert_eq!(answer["target"], format!("/{number}"));
            assert_eq!(answer["body"], body);
        }
    };
    block_on(futures_util::future::join_all((0..100).map(call)));
    // And one after the other on the same connections.
    for number in 0..100 {
        let body = if number % 2 == 0 { String::new() } else { number.to_string() };
        let request = proxied.request("PUT", &format!("echo/{number}")).body(body.clone());
        let said = answer(request).json();
        assert_eq!(said["target"], format!("/{number}"));
        assert_eq!(said["body"], body);
    }
    assert!(proxied.service.connected() < 200, "connections are used again");
    assert_eq!(proxied.service.seen().len(), 200, "nothing is sent twice");
}
