//! HTTP/2 requests that would be two requests, or another one, if they were written down as HTTP/1.1 as they
//! stand (RFC 9113 §8.2, §8.3). Whatever is behind the proxy sees one request, framed in one way, or none.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::{
    proxy::{Proxied, SECRET},
    proxy_smuggling::two_readings,
    support::PATIENCE,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long nothing may come before what came is taken for all of it.
const QUIET: Duration = Duration::from_millis(150);

/// Kinds of frames (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// Flags of frames.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What an attacker wants the service to take for a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// What is to become of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The service hears nothing of it.
    Refused,
    /// The service hears of it at most once, with one reading.
    OneReading,
}
use Fate::{OneReading, Refused};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A text with its length before it, as it is (RFC 7541 §5.2).
fn string(text: &str, to: &mut Vec<u8>) {
    let length = text.len();
    if length < 127 {
        to.push(u8::try_from(length).unwrap());
    } else {
        to.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            to.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        to.push(u8::try_from(rest).unwrap());
    }
    to.extend(text.as_bytes());
}

/// Headers, none of them taken from a table (RFC 7541 §6.2.2).
fn block(headers: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        string(name, &mut block);
        string(value, &mut block);
    }
    block
}

/// What became of a request.
#[derive(Debug, Default)]
struct Heard {
    is_answered: bool,
    is_ended: bool,
}

/// Sends one request on a connection of its own.
fn ask(url: &str, headers: &[(String, String)], body: Option<&str>) -> Heard {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut said = PREFACE.to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    let last = if body.is_none() { END_STREAM } else { 0 };
    said.extend(frame(HEADERS, END_HEADERS | last, 1, &block(headers)));
    if let Some(body) = body {
        said.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
    }
    // It may be cut off in the middle.
    let _ = stream.write_all(&said);
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let mut heard = Heard::default();
    loop {
        match stream.read(&mut piece) {
            Ok(0) => {
                heard.is_ended = true;
                break;
            }
            Ok(size) => read.extend_from_slice(&piece[..size]),
            Err(_) => break,
        }
    }
    let mut rest = read.as_slice();
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        match head[3] {
            HEADERS => heard.is_answered = true,
            RST_STREAM | GOAWAY => heard.is_ended = true,
            _ => {}
        }
        rest = behind.get(length..).unwrap_or_default();
    }
    heard
}

/// A shape: its name, what is to become of it, its headers in the order they stand in, its body.
type Shape = (&'static str, Fate, Vec<(String, String)>, Option<&'static str>);

/// The usual headers, with some of them changed and some more.
fn shape(
    key: &str,
    (name, fate): (&'static str, Fate),
    changed: &[(&str, &str)],
    more: &[(&str, &str)],
    body: Option<&'static str>,
) -> Shape {
    let method = if body.is_some() { "POST" } else { "GET" };
    let usual = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/proxy/echo/first"),
        ("x-keyreeve-key", key),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let find = |name: &str| changed.iter().find(|(it, _)| *it == name).map(|(_, value)| *value);
    let usual = usual.into_iter().map(|(name, value)| owned((name, find(name).unwrap_or(value))));
    let headers = usual.chain(more.iter().map(|it| owned(*it))).collect();
    (name, fate, headers, body)
}

fn shapes(key: &str) -> Vec<Shape> {
    let changed = |about, changed: &[(&str, &str)]| shape(key, about, changed, &[], None);
    let more = |about, more: &[(&str, &str)]| shape(key, about, &[], more, None);
    let sent = |about, more: &[(&str, &str)], body| shape(key, about, &[], more, Some(body));
    let lines = "/proxy/echo/first HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled";
    vec![
        changed(("a path with lines in it", Refused), &[(":path", lines)]),
        changed(("a path with a space in it", Refused), &[(":path", "/proxy/echo/first x")]),
        changed(
            ("a path that is an address", Refused),
            &[(":path", "http://b/proxy/echo/smuggled")],
        ),
        changed(("a path that is empty", Refused), &[(":path", "")]),
        changed(("a path that is a star", Refused), &[(":path", "*")]),
        changed(
            ("a method with lines in it", Refused),
            &[(":method", "GET /smuggled HTTP/1.1\r\nX:")],
        ),
        changed(("a method with a space in it", Refused), &[(":method", "GET /smuggled")]),
        changed(("a method that opens a tunnel", Refused), &[(":method", "CONNECT")]),
        changed(("an authority with lines in it", Refused), &[(":authority", "a\r\nX: y")]),
        changed(("an authority with a user", Refused), &[(":authority", "b@a")]),
        changed(("an authority with a path", Refused), &[(":authority", "a/smuggled")]),
        changed(("a scheme with lines in it", Refused), &[(":scheme", "http\r\nX: y")]),
        more(("a path twice", Refused), &[(":path", "/proxy/echo/smuggled")]),
        more(("a method twice", Refused), &[(":method", "POST")]),
        more(("an authority twice", Refused), &[(":authority", "b")]),
        more(("a path behind the headers", Refused), &[("x", "y"), (":path", "/smuggled")]),
        more(("a pseudo-header that nobody knows", Refused), &[(":evil", "1")]),
        more(("a pseudo-header of answers", Refused), &[(":status", "200")]),
        more(("another protocol", Refused), &[(":protocol", "websocket")]),
        more(("another host", Refused), &[("host", "b")]),
        more(("two hosts", Refused), &[("host", "a"), ("host", "a")]),
        more(("a name in upper case", Refused), &[("X-Custom", "y")]),
        more(("a name with lines in it", Refused), &[("x\r\nHost: b\r\nx", "y")]),
        more(("a name with a colon", Refused), &[("x: y\r\nz", "y")]),
        more(("a name that is empty", Refused), &[("", "y")]),
        more(("a value with lines in it", Refused), &[("x", "y\r\nHost: b")]),
        more(("a value with a line feed", Refused), &[("x", "y\nHost: b")]),
        more(("a value with a zero", Refused), &[("x", "y\0z")]),
        more(("a connection header", Refused), &[("connection", "keep-alive")]),
        more(("an upgrade", Refused), &[("upgrade", "websocket")]),
        more(("a keep-alive", Refused), &[("keep-alive", "timeout=5")]),
        more(("a te that is not for trailers", Refused), &[("te", "gzip")]),
        more(("a second credential", Refused), &[("x-keyreeve-key", key)]),
        sent(
            ("a transfer coding", Refused),
            &[("transfer-encoding", "chunked")],
            "0\r\n\r\nGET /smuggled",
        ),
        sent(("a length of nothing", OneReading), &[("content-length", "0")], SMUGGLED),
        sent(("a length that is too short", OneReading), &[("content-length", "3")], SMUGGLED),
        sent(("a length that is too long", OneReading), &[("content-length", "300")], SMUGGLED),
        sent(
            ("two lengths", OneReading),
            &[("content-length", "3"), ("content-length", "37")],
            SMUGGLED,
        ),
        sent(("a length that is no number", OneReading), &[("content-length", "+37")], SMUGGLED),
        sent(("a list of lengths", OneReading), &[("content-length", "37, 3")], SMUGGLED),
        sent(("a body that looks like a request", OneReading), &[], SMUGGLED),
        more(("a length without a body", OneReading), &[("content-length", "37")]),
    ]
}

#[test]
fn no_http2_request_becomes_another_one() {
    let proxied = Proxied::start();
    let good = shape(&proxied.key, ("good", OneReading), &[], &[], None);
    assert!(ask(&proxied.server.url, &good.2, None).is_answered, "the frames are good ones");
    assert_eq!(proxied.service.seen().len(), 1);
    let mut table = String::new();
    let mut faults = Vec::new();
    for (name, fate, headers, body) in shapes(&proxied.key) {
        proxied.service.forget();
        let heard = ask(&proxied.server.url, &headers, body);
        let mut seen = proxied.service.seen();
        seen.retain(|one| one.is_whole);
        let (answered, ended) = (heard.is_answered, heard.is_ended);
        writeln!(
            table,
            "{name:36} answered: {answered:5} ended: {ended:5} reached: {}",
            seen.len()
        )
        .unwrap();
        if fate == Refused && !seen.is_empty() {
            faults.push(format!("{name}: reached the service"));
        }
        if !answered && !ended {
            faults.push(format!("{name}: was neither answered nor ended"));
        }
        if let Some(fault) = two_readings(&seen, &proxied) {
            faults.push(format!("{name}: {fault}"));
        }
        // What comes next gets its own answer.
        let after = proxied.get("echo/after");
        assert_eq!(after.json()["target"], "/after", "{name}");
        let smuggled = proxied.service.seen().iter().any(|one| one.target.contains("smuggled"));
        assert!(!smuggled, "{name}");
    }
    println!("{table}");
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(proxied.service.last().header("authorization"), format!("Bearer {SECRET}"));
}
