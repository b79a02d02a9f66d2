//! An outside service on this machine, as a proxy meets them: it answers, streams, misbehaves, and keeps
//! everything that it was sent. It speaks HTTP/1.1 byte by byte, so that it can do so badly.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    support::{PATIENCE, text},
    web_socket,
};

/// How much of a body is kept. The rest is counted.
const MOST_KEPT: usize = 1 << 20;
/// How much of a body is read or written at once.
const PIECE: usize = 64 << 10;
/// How far apart the events of a stream are.
const BETWEEN_EVENTS: Duration = Duration::from_millis(100);

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case, in the order they came in.
    pub(crate) headers: Vec<(String, String)>,
    /// The first mebibyte of the body.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// How long the body was.
    pub(crate) size: u64,
    /// Whether all of it came.
    pub(crate) is_whole: bool,
}

impl Seen {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that may stand once at most; empty if it does not.
    pub(crate) fn header(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() < 2, "{name}: {all:?}");
        all.first().copied().unwrap_or_default()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        text(&self.body)
    }

    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a parameter of the query.
    fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str, usual: usize) -> usize {
        self.parameter(name).map_or(usual, |text| text.parse().unwrap())
    }

    /// What the service takes for its credential.
    fn credential(&self) -> &str {
        let authorization = self.header("authorization");
        authorization.split_once(' ').map_or(authorization, |(_, credential)| credential)
    }

    fn take(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        let room = MOST_KEPT.saturating_sub(self.body.len()).min(piece.len());
        self.body.extend_from_slice(&piece[..room]);
    }
}

/// An answer that a test wants for a path.
#[derive(Clone)]
struct Said {
    kind: String,
    body: String,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    said: Mutex<HashMap<String, Said>>,
    /// The credentials that are taken where only some are.
    good: Mutex<Vec<String>>,
    connected: AtomicUsize,
    /// Events that were sent, on all streams together.
    events: AtomicUsize,
    /// Streams that have not ended.
    streams: AtomicUsize,
}

/// A service that runs until the tests end.
pub(crate) struct Service {
    address: SocketAddr,
    state: Arc<State>,
}

impl Service {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = state.clone();
        // Ends with the process: it waits for connections until then.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.connected.fetch_add(1, Ordering::SeqCst);
                let state = shared.clone();
                thread::spawn(move || {
                    if let Ok(mut visit) = Visit::new(stream, state) {
                        // Whoever breaks off has said enough.
                        let _ = visit.serve();
                    }
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests, in the order they came in.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().clone()
    }

    /// The last request.
    pub(crate) fn last(&self) -> Seen {
        self.state.seen.lock().last().cloned().unwrap()
    }

    /// Lets go of the requests so far.
    pub(crate) fn forget(&self) {
        self.state.seen.lock().clear();
    }

    /// How many connections were made to it.
    pub(crate) fn connected(&self) -> usize {
        self.state.connected.load(Ordering::SeqCst)
    }

    /// How many events were sent.
    pub(crate) fn events(&self) -> usize {
        self.state.events.load(Ordering::SeqCst)
    }

    /// How many streams are going on.
    pub(crate) fn streams(&self) -> usize {
        self.state.streams.load(Ordering::SeqCst)
    }

    /// What a path is answered with from now on.
    pub(crate) fn says(&self, path: &str, kind: &str, body: &str) {
        let said = Said { kind: kind.to_owned(), body: body.to_owned() };
        self.state.said.lock().insert(path.to_owned(), said);
    }

    /// The only credentials that `/reject-versions` takes from now on.
    pub(crate) fn takes(&self, credentials: &[&str]) {
        *self.state.good.lock() = credentials.iter().map(|it| (*it).to_owned()).collect();
    }
}

/// One connection to the service.
struct Visit {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
    state: Arc<State>,
    /// Whether the request is one whose answer has no body.
    is_head: bool,
}

/// What comes after an answer.
enum After {
    Next,
    End,
}

impl Visit {
    fn new(stream: TcpStream, state: Arc<State>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self { reader, stream, state, is_head: false })
    }

    fn serve(&mut self) -> io::Result<()> {
        while let Some(seen) = self.read()? {
            if let After::End = self.answer(&seen)? {
                break;
            }
        }
        self.stream.shutdown(Shutdown::Both)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        Ok(text(&line))
    }

    /// The next request. What came of one that broke off is kept, too.
    fn read(&mut self) -> io::Result<Option<Seen>> {
        let first = self.line()?;
        if first.is_empty() {
            return Ok(None);
        }
        let mut words = first.split_whitespace();
        let mut word = || words.next().unwrap_or_default().to_owned();
        let mut seen = Seen { method: word(), target: word(), ..Seen::default() };
        seen.headers = self.fields()?;
        self.is_head = seen.method == "HEAD";
        let read = self.body(&mut seen);
        seen.is_whole = read.is_ok();
        self.state.seen.lock().push(seen.clone());
        read.map(|()| Some(seen))
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, seen: &mut Seen) -> io::Result<()> {
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        if seen.all("transfer-encoding").is_empty() {
            let length = seen.all("content-length").first().map(|text| text.parse::<u64>());
            let length = length.transpose().map_err(|_| bad())?;
            return self.exactly(length.unwrap_or(0), seen);
        }
        loop {
            let size = self.line()?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(|_| bad())?;
            if size == 0 {
                seen.trailers = self.fields()?;
                return Ok(());
            }
            self.exactly(size, seen)?;
            if !self.line()?.trim_end_matches(['\r', '\n']).is_empty() {
                return Err(bad());
            }
        }
    }

    fn exactly(&mut self, mut left: u64, seen: &mut Seen) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let size = self.reader.read(&mut piece[..most])?;
            if size == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            seen.take(&piece[..size]);
            left -= size as u64;
        }
        Ok(())
    }

    fn answer(&mut self, seen: &Seen) -> io::Result<After> {
        let said = self.state.said.lock().get(seen.path()).cloned();
        if let Some(said) = said {
            return self.say(
                "200 OK",
                &[("content-type", said.kind.as_str())],
                said.body.as_bytes(),
            );
        }
        let mut segments = seen.path().split('/').skip(1);
        let first = segments.next().unwrap_or_default();
        if let Some(bytes) = misbehaviour(first) {
            self.stream.write_all(&bytes)?;
            return Ok(After::End);
        }
        match first {
            "status" => {
                let status = format!("{} As Asked", segments.next().unwrap_or_default());
                self.say(&status, &[], b"as asked")
            }
            "redirect" => {
                let location =
                    format!("{}?token={}", seen.parameter("to").unwrap(), seen.credential());
                self.say("302 Found", &[("location", location.as_str())], b"")
            }
            "reject-versions" => self.judge(seen),
            "slow-head" => {
                let wait = seen.number("ms", 3_000);
                thread::sleep(Duration::from_millis(wait.try_into().unwrap()));
                self.say("200 OK", &[], b"late")
            }
            "gzip" => self.say("200 OK", &[("content-encoding", "gzip")], b"\x1f\x8b and so on"),
            "private-headers" => self.say(
                "200 OK",
                &[
                    ("access-control-allow-origin", "*"),
                    ("access-control-allow-credentials", "true"),
                    ("set-cookie", "session=of-the-service"),
                    ("server", "made-up/1.0"),
                    ("x-of-the-service", "kept"),
                ],
                b"",
            ),
            "big" => self.big(seen),
            "sse" => self.events(seen),
            "silent" => {
                self.begin("text/plain")?;
                self.chunk(b"only this")?;
                // Until the other side has had enough.
                let _ = self.reader.read(&mut [0]);
                Ok(After::End)
            }
            "trailers" => self.trailers(seen),
            "secret-in-pieces" => self.pieces(seen.credential()),
            "ws" => self.web_socket(seen),
            _ => self.echo(seen),
        }
    }

    fn say(&mut self, status: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<After> {
        let has_none = ["204", "304"].iter().any(|none| status.starts_with(none));
        let mut answer = format!("HTTP/1.1 {status}\r\n");
        for (name, value) in headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if !has_none {
            answer.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let mut answer = format!("{answer}\r\n").into_bytes();
        if !has_none && !self.is_head {
            answer.extend_from_slice(body);
        }
        self.stream.write_all(&answer)?;
        Ok(After::Next)
    }

    /// What was asked, the credential included, as some services have it in their errors.
    fn echo(&mut self, seen: &Seen) -> io::Result<After> {
        let said = json!({
            "method": seen.method,
            "target": seen.target,
            "headers": seen.headers,
            "body": seen.text(),
            "size": seen.size,
        });
        let repeated = seen.headers.iter().find(|(name, _)| name == "authorization");
        let repeated = repeated.map_or("", |(_, value)| value.as_str()).to_owned();
        let headers = [("content-type", "application/json"), ("x-repeated", repeated.as_str())];
        self.say("200 OK", &headers, said.to_string().as_bytes())
    }

    fn judge(&mut self, seen: &Seen) -> io::Result<After> {
        let credential = seen.credential().to_owned();
        if self.state.good.lock().contains(&credential) {
            return self.say("200 OK", &[], b"welcome");
        }
        let words = format!("{{\"error\":\"{credential} is no key\"}}");
        self.say("401 Unauthorized", &[("content-type", "application/json")], words.as_bytes())
    }

    fn big(&mut self, seen: &Seen) -> io::Result<After> {
        let mut left = seen.number("n", PIECE);
        let is_chunked = seen.parameter("chunked").is_some();
        if is_chunked {
            self.begin("application/octet-stream")?;
        } else {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {left}\r\n\r\n");
            self.stream.write_all(head.as_bytes())?;
        }
        let piece = vec![b'.'; PIECE];
        while left > 0 {
            let size = left.min(PIECE);
            if is_chunked {
                self.chunk(&piece[..size])?;
            } else {
                self.stream.write_all(&piece[..size])?;
            }
            left -= size;
        }
        if is_chunked {
            self.end(&[])?;
        }
        Ok(After::Next)
    }

    fn events(&mut self, seen: &Seen) -> io::Result<After> {
        self.state.streams.fetch_add(1, Ordering::SeqCst);
        let sent = self.send_events(seen.number("n", 20));
        self.state.streams.fetch_sub(1, Ordering::SeqCst);
        sent
    }

    fn send_events(&mut self, count: usize) -> io::Result<After> {
        self.begin("text/event-stream")?;
        for number in 0..count {
            self.chunk(format!("data: {number}\n\n").as_bytes())?;
            self.state.events.fetch_add(1, Ordering::SeqCst);
            thread::sleep(BETWEEN_EVENTS);
        }
        self.end(&[])?;
        Ok(After::Next)
    }

    fn trailers(&mut self, seen: &Seen) -> io::Result<After> {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\
                    trailer: x-checksum, x-repeated\r\n\r\n";
        self.stream.write_all(head.as_bytes())?;
        self.chunk(b"before the trailers")?;
        self.end(&[("x-checksum", "made-up-checksum"), ("x-repeated", seen.credential())])?;
        Ok(After::Next)
    }

    /// The credential in forms that answers have it in, cut to pieces that are shorter than any.
    fn pieces(&mut self, credential: &str) -> io::Result<After> {
        self.begin("text/plain")?;
        for form in forms(credential) {
            for piece in format!("<{form}>\n").as_bytes().chunks(5) {
                self.chunk(piece)?;
            }
        }
        self.end(&[])?;
        Ok(After::Next)
    }

    fn web_socket(&mut self, seen: &Seen) -> io::Result<After> {
        let accept = web_socket::accept(seen.header("sec-websocket-key"));
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes())?;
        self.state.streams.fetch_add(1, Ordering::SeqCst);
        let repeated = self.repeat(seen.credential());
        self.state.streams.fetch_sub(1, Ordering::SeqCst);
        repeated.map(|()| After::End)
    }

    /// Says every message again; to `credential?` it says that.
    fn repeat(&mut self, credential: &str) -> io::Result<()> {
        while let Some((opcode, payload)) = web_socket::read_frame(&mut self.reader)? {
            let said = if payload == b"credential?" { credential.as_bytes() } else { &payload };
            web_socket::write_frame(&mut self.stream, opcode, said, false)?;
            if opcode == web_socket::CLOSE {
                break;
            }
        }
        Ok(())
    }

    /// The head of an answer whose length is not told.
    fn begin(&mut self, kind: &str) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes())
    }

    fn chunk(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        self.stream.write_all(&chunk)
    }

    fn end(&mut self, trailers: &[(&str, &str)]) -> io::Result<()> {
        let mut end = "0\r\n".to_owned();
        for (name, value) in trailers {
            end.push_str(&format!("{name}: {value}\r\n"));
        }
        end.push_str("\r\n");
        self.stream.write_all(end.as_bytes())
    }
}

/// What a service says that is broken.
fn misbehaviour(kind: &str) -> Option<Vec<u8>> {
    let with_headers = |headers: &str| {
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n").into_bytes()
    };
    Some(match kind {
        "close" => Vec::new(),
        "garbage" => b"this is no HTTP at all\r\n\r\n".to_vec(),
        "half" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789".to_vec(),
        "bad-chunks" => {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\nzz\r\nbad\r\n0\r\n\r\n"
                .to_vec()
        }
        "two-lengths" => {
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 9\r\n\r\ngood12345".to_vec()
        }
        "ninety-headers" => with_headers(&"x-more: of the same\r\n".repeat(89)),
        "one-header-more" => with_headers(&"x-more: of the same\r\n".repeat(100)),
        "many-headers" => with_headers(&"x-more: of the same\r\n".repeat(1_000)),
        "huge-header" => with_headers(&format!("x-huge: {}\r\n", "h".repeat(1 << 20))),
        "switch" => {
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n"
                .to_vec()
        }
        _ => return None,
    })
}

/// A credential in the forms in which it is looked for in answers.
pub(crate) fn forms(credential: &str) -> [String; 5] {
    let percent = credential.bytes().map(|byte| match byte {
        b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    let hex = credential.bytes().map(|byte| format!("{byte:02x}"));
    [
        credential.to_owned(),
        BASE64_STANDARD.encode(credential),
        percent.collect(),
        hex.collect(),
        credential.replace('/', "\\/"),
    ]
}
