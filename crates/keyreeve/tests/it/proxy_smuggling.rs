//! Requests that two readers would take for different ones. Whatever is behind the proxy sees one request,
//! framed in one way, or none.

use std::fmt::Write as _;

use crate::{
    proxy::{Proxied, SECRET},
    raw_http::{Heard, hear},
    service::Seen,
};

/// What an attacker wants the service to take for a request of its own.
const SMUGGLED: &str = "GET /proxy/echo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// What is to become of a shape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is answered with 4xx, or the connection ends.
    Refused,
    /// It has one reading, if an odd one, and is written anew for the service.
    Rewritten,
}

struct Shape {
    name: &'static str,
    fate: Fate,
    text: String,
}

/// Writes shapes with a client's key in them.
struct Shapes {
    key: String,
    all: Vec<Shape>,
}

impl Shapes {
    /// Line and headers with the key, then what is told.
    fn add(&mut self, fate: Fate, name: &'static str, line: &str, headers: &str, body: &str) {
        let key = &self.key;
        let text = format!("{line}\r\nX-Keyreeve-Key: {key}\r\n{headers}\r\n{body}");
        self.all.push(Shape { name, fate, text });
    }

    fn post(&mut self, fate: Fate, name: &'static str, headers: &str, body: &str) {
        let headers = format!("Host: a\r\n{headers}");
        self.add(fate, name, "POST /proxy/echo/first HTTP/1.1", &headers, body);
    }

    fn get(&mut self, fate: Fate, name: &'static str, line: &str, headers: &str) {
        self.add(fate, name, line, headers, "");
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
}

/// Two statements of where the body ends.
fn lengths(to: &mut Shapes) {
    use Fate::{Refused, Rewritten};
    let after_end = format!("0\r\n\r\n{SMUGGLED}");
    let inside = chunk(SMUGGLED);
    let length = SMUGGLED.len();
    for (name, headers, body) in [
        ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n".to_owned(), &after_end),
        ("CL.TE, shorter", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n".into(), &inside),
        ("CL.TE, longer", "Content-Length: 900\r\nTransfer-Encoding: chunked\r\n".into(), &inside),
        ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".into(), &inside),
        ("TE.CL, zero", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".into(), &inside),
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), &inside),
        ("a list of lengths", format!("Content-Length: 0, {length}\r\n"), &inside),
        ("a signed length", "Content-Length: +0\r\n".into(), &inside),
        ("a negative length", "Content-Length: -1\r\n".into(), &inside),
        ("a hexadecimal length", "Content-Length: 0x0\r\n".into(), &inside),
        ("a length with a point", "Content-Length: 0.0\r\n".into(), &inside),
        ("an endless length", "Content-Length: 99999999999999999999\r\n".into(), &inside),
        ("an empty length", "Content-Length:\r\n".into(), &inside),
    ] {
        to.post(Refused, name, &headers, body);
    }
    let same = "Content-Length: 0\r\nContent-Length: 0\r\n";
    to.post(Rewritten, "the same length twice", same, SMUGGLED);
    let named = format!("Connection: content-length, host\r\nContent-Length: {length}\r\n");
    to.post(Rewritten, "a length that Connection names", &named, SMUGGLED);
    let line = "GET /proxy/echo/first HTTP/1.1";
    let headers = format!("Host: a\r\nContent-Length: {length}\r\n");
    to.add(Rewritten, "a GET with a body", line, &headers, SMUGGLED);
}

/// Encodings that not every reader takes for chunked.
fn codings(to: &mut Shapes) {
    use Fate::{Refused, Rewritten};
    let after_end = format!("0\r\n\r\n{SMUGGLED}");
    for (fate, name, coding) in [
        (Refused, "TE.TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        (Refused, "chunked, identity", "Transfer-Encoding: chunked, identity"),
        (Refused, "an unknown coding", "Transfer-Encoding: xchunked"),
        (Refused, "a coding behind a vertical tab", "Transfer-Encoding: \u{b}chunked"),
        (Refused, "a coding in quotes", "Transfer-Encoding: \"chunked\""),
        (Refused, "a coding on a folded line", "Transfer-Encoding:\r\n chunked"),
        (Refused, "a space before the colon of a coding", "Transfer-Encoding : chunked"),
        (Refused, "an empty coding", "Transfer-Encoding:"),
        (Rewritten, "a coding behind a tab", "Transfer-Encoding:\tchunked"),
        (Rewritten, "a coding in capitals", "Transfer-Encoding: CHUNKED"),
    ] {
        to.post(fate, name, &format!("{coding}\r\n"), &after_end);
    }
    let old = "POST /proxy/echo/first HTTP/1.0";
    let headers = "Host: a\r\nTransfer-Encoding: chunked\r\n";
    to.add(Refused, "chunked in HTTP/1.0", old, headers, &after_end);
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (fate, name, body) in [
        (Refused, "a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        (Refused, "a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        (Refused, "a size that overflows", "fffffffffffffffff1\r\nhello\r\n0\r\n\r\n"),
        (Refused, "a size that ends in a bare LF", "5\nhello\r\n0\r\n\r\n"),
        (Refused, "a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        (Refused, "a chunk that is longer than it says", "5\r\nhello!!\r\n0\r\n\r\n"),
        (Refused, "a chunk without its end", "5\r\nhello0\r\n\r\n"),
        (Rewritten, "an extension", "5;a=b\r\nhello\r\n0\r\n\r\n"),
        (Rewritten, "a length in the trailers", "5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n"),
    ] {
        to.post(fate, name, chunked, &format!("{body}{SMUGGLED}"));
    }
}

/// Lines that not every reader ends or takes apart in the same place.
fn lines(to: &mut Shapes) {
    use Fate::{Refused, Rewritten};
    let length = SMUGGLED.len();
    for (name, headers) in [
        ("a folded line", format!("X-A: b\r\n Content-Length: {length}\r\n")),
        ("a line that begins with a space", format!(" Content-Length: {length}\r\n")),
        ("a space before the colon", format!("Content-Length : {length}\r\n")),
        ("a NUL in a value", "X-A: b\0c\r\n".to_owned()),
        ("a NUL in a name", "X-A\0: b\r\n".to_owned()),
        ("a bare CR in a value", format!("X-A: b\rContent-Length: {length}\r\n")),
        ("a line without a colon", "garbage\r\n".to_owned()),
        ("a line without a name", ": b\r\n".to_owned()),
    ] {
        to.post(Refused, name, &headers, SMUGGLED);
    }
    for (name, line) in [
        ("a version that is not there", "GET /proxy/echo/first HTTP/1.2"),
        ("the wrong version", "GET /proxy/echo/first HTTP/2.0"),
        ("no version", "GET /proxy/echo/first"),
        ("two spaces", "GET  /proxy/echo/first HTTP/1.1"),
        ("a space in the path", "GET /proxy/echo/first /second HTTP/1.1"),
        ("a tab in the path", "GET /proxy/echo/first\t/second HTTP/1.1"),
        ("an encoded line end in the path", "GET /proxy/echo/a%0d%0aX:%20b HTTP/1.1"),
    ] {
        to.get(Refused, name, line, "Host: a\r\n");
    }
    // A reader may take a bare LF for the end of a line (RFC 9112 §2.2); what is written has none.
    let bare = format!("X-A: b\nContent-Length: {length}\r\n");
    to.post(Rewritten, "a bare LF", &bare, SMUGGLED);
    let key = &to.key;
    let text = format!("GET /proxy/echo/first HTTP/1.1\nHost: a\nX-Keyreeve-Key: {key}\n\n");
    to.all.push(Shape { name: "bare LFs only", fate: Rewritten, text });
}

/// More than one statement of which host is meant.
fn authorities(to: &mut Shapes) {
    use Fate::{Refused, Rewritten};
    let line = "GET /proxy/echo/first HTTP/1.1";
    for (name, line, headers) in [
        ("Host twice", line, "Host: a\r\nHost: b\r\n"),
        ("no Host", line, ""),
        ("a user in Host", line, "Host: allowed@evil.example\r\n"),
        ("a path in Host", line, "Host: a/b\r\n"),
        (
            "absolute-form with another host",
            "GET http://evil.example/proxy/echo/first HTTP/1.1",
            "Host: a\r\n",
        ),
        ("absolute-form with a user", "GET http://u:p@a/proxy/echo/first HTTP/1.1", "Host: a\r\n"),
        (
            "absolute-form with a user that looks like a host",
            "GET http://a@evil.example/proxy/echo/first HTTP/1.1",
            "Host: a\r\n",
        ),
        (
            "absolute-form without the prefix",
            "GET http://evil.example/first HTTP/1.1",
            "Host: a\r\n",
        ),
        ("authority-form", "CONNECT evil.example:443 HTTP/1.1", "Host: evil.example:443\r\n"),
    ] {
        to.get(Refused, name, line, headers);
    }
    let same = "GET http://a/proxy/echo/first HTTP/1.1";
    to.get(Rewritten, "absolute-form with the same host", same, "Host: a\r\n");
    let h2c = "Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
               HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    to.get(Rewritten, "an upgrade to HTTP/2 that nobody offers", line, h2c);
}

/// What is wrong with what became of a shape.
fn fault(shape: &Shape, heard: &Heard, seen: &[Seen], proxied: &Proxied) -> Option<String> {
    let statuses = heard.statuses();
    let refused = statuses.first().map_or(heard.is_closed, |it| (400..500).contains(it));
    if shape.fate == Fate::Refused && !refused && !heard.is_closed {
        return Some("was neither refused nor cut off".to_owned());
    }
    if shape.fate == Fate::Rewritten && (statuses.first() != Some(&200) || seen.len() != 1) {
        return Some("was not passed on once".to_owned());
    }
    two_readings(seen, proxied)
}

/// Whether what reached the service can be read in two ways.
pub(crate) fn two_readings(seen: &[Seen], proxied: &Proxied) -> Option<String> {
    if seen.len() > 1 || seen.iter().any(|one| one.target.contains("smuggled")) {
        return Some("brought a second request along".to_owned());
    }
    for one in seen {
        let framings = one.all("content-length").len() + one.all("transfer-encoding").len();
        let odd = one.headers.iter().any(|(_, value)| value.contains(['\r', '\n', '\0']));
        let authorization = format!("Bearer {SECRET}");
        if framings > 1 || odd || one.all("host") != [proxied.service.authority()] {
            return Some("reached the service with two readings".to_owned());
        }
        if one.all("authorization") != [authorization] {
            return Some("reached the service with another credential".to_owned());
        }
    }
    None
}

#[test]
fn no_shape_smuggles_a_second_request() {
    let proxied = Proxied::start();
    let mut shapes = Shapes { key: proxied.key.clone(), all: Vec::new() };
    for family in [lengths, codings, lines, authorities] {
        family(&mut shapes);
    }
    let mut table = String::new();
    let mut faults = Vec::new();
    for shape in &shapes.all {
        proxied.service.forget();
        let heard = hear(&proxied.server.url, shape.text.as_bytes());
        // What broke off is no request, and may still be on its way from the shape before.
        let mut seen = proxied.service.seen();
        seen.retain(|one| one.is_whole);
        let statuses: Vec<_> = heard.statuses().iter().map(u16::to_string).collect();
        let end = if heard.is_closed { "closed" } else { "open" };
        let (name, said, reached) = (shape.name, statuses.join(" "), seen.len());
        writeln!(table, "{name:52} {said:8} {end:6} reached the service: {reached}").unwrap();
        if let Some(fault) = fault(shape, &heard, &seen, &proxied) {
            faults.push(format!("{name}: {fault}"));
        }
        // What comes next gets its own answer.
        let after = proxied.get("echo/after");
        assert_eq!(after.status, 200, "{name}");
        assert_eq!(after.json()["target"], "/after", "{name}");
        let smuggled = |one: &Seen| one.target.contains("smuggled");
        assert!(!proxied.service.seen().iter().any(smuggled), "{name}");
    }
    println!("{table}");
    assert!(faults.is_empty(), "{faults:#?}");
}
