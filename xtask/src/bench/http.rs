//! The little HTTP/1.1 a load generator needs: requests as bytes, answers read whole.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// How much an answer buffer holds at first.
const FIRST_BUFFER: usize = 16 * 1024;
/// An answer longer than this is a fault of the server.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;
/// The line before a chunk is its size; a longer one is a fault of the server.
const LONGEST_CHUNK_LINE: usize = 1_024;
/// An answer with more headers is a fault of the server.
const MOST_HEADERS: usize = 64;
/// What ends a line.
const END_OF_LINE: &[u8] = b"\r\n";
/// What ends the head of an answer, and the last chunk of one.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The bytes of a `GET` request.
pub(crate) fn get(path: &str) -> Vec<u8> {
    get_showing(path, "Accept", "application/json")
}

/// The bytes of a `GET` request with this header.
pub(crate) fn get_showing(path: &str, header: &str, value: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}: {value}\r\n\r\n").into_bytes()
}

/// The bytes of a `POST` request with a bearer token and a JSON body.
pub(crate) fn post(path: &str, bearer: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// Where the body begins.
    body_at: usize,
    /// How long the body is.
    length: Length,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// As the head says.
    Known(usize),
    /// Until the last chunk.
    Chunked,
}

/// The head at the front of these bytes, or nothing while it is not complete.
///
/// Read by a library that takes little time for it, so that a server whose heads are longer than another's
/// pays as little as can be for the load generator's work.
fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(bytes).context("the head of the answer is no HTTP/1")?;
    let httparse::Status::Complete(body_at) = parsed else { return Ok(None) };
    let status = answer.code.context("the answer has no status code")?;
    let mut content_length: Option<usize> = None;
    let mut is_chunked = false;
    for header in answer.headers.iter() {
        let value = || std::str::from_utf8(header.value).map(str::trim).unwrap_or_default();
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let value = value();
            ensure!(
                value.eq_ignore_ascii_case("chunked"),
                "the answer has a Transfer-Encoding that is not read: {value}"
            );
            is_chunked = true;
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = value();
            let length =
                value.parse::<usize>().with_context(|| format!("not a Content-Length: {value}"))?;
            ensure!(
                content_length.is_none_or(|earlier| earlier == length),
                "the answer has two different Content-Lengths"
            );
            content_length = Some(length);
        }
    }
    let length = match content_length {
        Some(_) if is_chunked => bail!("the answer is in chunks and has a Content-Length"),
        Some(length) => Length::Known(length),
        None if is_chunked => Length::Chunked,
        None if matches!(status, 204 | 304) => Length::Known(0),
        None => bail!("the answer (status {status}) has no Content-Length"),
    };
    Ok(Some(Head { status, body_at, length }))
}

/// The size that the line before a chunk says; what stands behind it means nothing here.
fn chunk_size(line: &[u8]) -> anyhow::Result<usize> {
    let line = std::str::from_utf8(line).context("the size of a chunk is not text")?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(digits, 16)
        .with_context(|| format!("not the size of a chunk: {line}"))?;
    ensure!(size <= LONGEST_ANSWER, "a chunk is longer than {LONGEST_ANSWER} bytes");
    Ok(size)
}

/// Where the needle first occurs.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Whether the needle occurs.
pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    find(haystack, needle).is_some()
}

/// The buffer the answers of one connection are read into, one after the other.
#[derive(Debug)]
pub(crate) struct Incoming {
    buffer: Vec<u8>,
    filled: usize,
    /// The head, once it is here, so that a long answer is not read from its front again and again.
    head: Option<Head>,
    /// Where the first chunk begins that was not wholly here when last looked at.
    chunk_at: usize,
}

impl Incoming {
    /// An empty buffer.
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; FIRST_BUFFER], filled: 0, head: None, chunk_at: 0 }
    }

    /// Room for the next read; never empty.
    pub(crate) fn spare(&mut self) -> anyhow::Result<&mut [u8]> {
        if self.filled == self.buffer.len() {
            ensure!(
                self.filled < LONGEST_ANSWER,
                "an answer is longer than {LONGEST_ANSWER} bytes"
            );
            self.buffer.resize(self.filled * 2, 0);
        }
        Ok(&mut self.buffer[self.filled..])
    }

    /// Takes note of a read of this many bytes; none means that the server hung up.
    pub(crate) fn advance(&mut self, read: usize) -> anyhow::Result<()> {
        ensure!(read > 0, "the server closed the connection {} bytes into an answer", self.filled);
        self.filled += read;
        Ok(())
    }

    /// The head of the answer, once its whole body is here too.
    pub(crate) fn complete(&mut self) -> anyhow::Result<Option<Head>> {
        let Some(head) = self.parsed_head()? else {
            return Ok(None);
        };
        let end = match head.length {
            Length::Known(length) => head.body_at + length,
            Length::Chunked => match self.end_of_chunks()? {
                Some(end) => end,
                None => return Ok(None),
            },
        };
        ensure!(
            self.filled <= end,
            "the server sent {} bytes more than the answer has",
            self.filled.saturating_sub(end)
        );
        Ok((self.filled == end).then_some(head))
    }

    /// The head, parsed once.
    fn parsed_head(&mut self) -> anyhow::Result<Option<Head>> {
        if self.head.is_none() {
            self.head = parse_head(&self.buffer[..self.filled])?;
            self.chunk_at = self.head.map_or(0, |head| head.body_at);
        }
        Ok(self.head)
    }

    /// Where a body in chunks ends, once its last one is here.
    fn end_of_chunks(&mut self) -> anyhow::Result<Option<usize>> {
        loop {
            let rest = &self.buffer[self.chunk_at..self.filled];
            let line = &rest[..rest.len().min(LONGEST_CHUNK_LINE)];
            let Some(line_end) = find(line, END_OF_LINE) else {
                ensure!(line.len() < LONGEST_CHUNK_LINE, "the size of a chunk has no end");
                return Ok(None);
            };
            let size = chunk_size(&line[..line_end])?;
            if size == 0 {
                // Headers may stand behind the last chunk; an empty line ends them.
                let end = find(&rest[line_end..], END_OF_HEAD);
                return Ok(end.map(|at| self.chunk_at + line_end + at + END_OF_HEAD.len()));
            }
            let data_end = line_end + END_OF_LINE.len() + size;
            let Some(after) = rest.get(data_end..data_end + END_OF_LINE.len()) else {
                return Ok(None);
            };
            ensure!(after == END_OF_LINE, "a chunk is not as long as it says");
            self.chunk_at += data_end + END_OF_LINE.len();
        }
    }

    /// The body of a complete answer; of one in chunks with the sizes between them.
    pub(crate) fn body(&self, head: Head) -> &[u8] {
        self.buffer.get(head.body_at..self.filled).unwrap_or_default()
    }

    /// Forgets the answer, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
        self.head = None;
        self.chunk_at = 0;
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// A connection for one request after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    incoming: Incoming,
}

impl Connection {
    /// Connects; every wait, now and later, is at most `limit` long.
    pub(crate) fn open(address: SocketAddr, limit: Duration) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, limit)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self { stream, incoming: Incoming::new() })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).context("cannot send the request")?;
        self.incoming.clear();
        loop {
            let room = self.incoming.spare()?;
            let read = self.stream.read(room).context("cannot read the answer")?;
            self.incoming.advance(read)?;
            if let Some(head) = self.incoming.complete()? {
                let body = self.incoming.body(head).to_vec();
                return Ok(Answer { status: head.status, body });
            }
        }
    }
}

/// Sends one request on a connection of its own; every wait is at most `limit` long.
pub(crate) fn exchange(
    address: SocketAddr,
    request: &[u8],
    limit: Duration,
) -> anyhow::Result<Answer> {
    Connection::open(address, limit)?.call(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer that has read these bytes.
    fn read(mut bytes: &[u8]) -> anyhow::Result<Incoming> {
        let mut incoming = Incoming::new();
        while !bytes.is_empty() {
            let read = bytes.read(incoming.spare()?)?;
            incoming.advance(read)?;
        }
        Ok(incoming)
    }

    #[test]
    fn an_answer_is_complete_with_its_last_byte() -> anyhow::Result<()> {
        let whole = b"HTTP/1.1 201 Created\r\ncontent-LENGTH: 5\r\nx: y\r\n\r\nhello";
        for short in 1..whole.len() {
            assert_eq!(read(&whole[..short])?.complete()?, None, "after {short} bytes");
        }
        let mut incoming = read(whole)?;
        let head = incoming.complete()?.context("complete")?;
        assert_eq!(head.status, 201);
        assert_eq!(incoming.body(head), b"hello");
        Ok(())
    }

    #[test]
    fn a_long_answer_grows_the_buffer() -> anyhow::Result<()> {
        let body = "x".repeat(FIRST_BUFFER * 3);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut incoming = read(answer.as_bytes())?;
        let head = incoming.complete()?.context("complete")?;
        assert_eq!(incoming.body(head), body.as_bytes());
        Ok(())
    }

    #[test]
    fn an_answer_in_chunks_is_complete_with_its_last_byte() -> anyhow::Result<()> {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        for end in ["0\r\n\r\n", "0;a=b\r\nLast: of all\r\n\r\n"] {
            let whole = format!("{head}5\r\nhello\r\n00A;x=y\r\n0123456789\r\n{end}");
            let mut incoming = Incoming::new();
            for (index, byte) in whole.bytes().enumerate() {
                assert_eq!(incoming.complete()?, None, "after {index} bytes");
                incoming.spare()?[0] = byte;
                incoming.advance(1)?;
            }
            let head = incoming.complete()?.context("complete")?;
            assert_eq!(head.status, 200);
            assert!(contains(incoming.body(head), b"0123456789"));
            assert!(read(whole.as_bytes())?.complete()?.is_some());
            assert!(read(format!("{whole}x").as_bytes())?.complete().is_err());
        }
        Ok(())
    }

    #[test]
    fn a_chunk_that_is_not_as_it_says_is_an_error() -> anyhow::Result<()> {
        let line = "1".repeat(LONGEST_CHUNK_LINE);
        for bad in ["5\r\nhello!\r\n", "five\r\n", "\r\n", "-1\r\n", "fffffff\r\n", line.as_str()] {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
            assert!(read(answer.as_bytes())?.complete().is_err(), "accepted: {bad}");
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() -> anyhow::Result<()> {
        for bad in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
            "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert!(read(bad.as_bytes())?.complete().is_err(), "accepted: {bad}");
        }
        Ok(())
    }

    #[test]
    fn a_hang_up_is_an_error() {
        assert!(Incoming::new().advance(0).is_err());
    }

    #[test]
    fn no_content_needs_no_length() -> anyhow::Result<()> {
        let head = read(b"HTTP/1.1 204 No Content\r\n\r\n")?.complete()?.context("complete")?;
        assert_eq!((head.status, head.length), (204, Length::Known(0)));
        Ok(())
    }

    #[test]
    fn a_cleared_buffer_reads_the_next_answer() -> anyhow::Result<()> {
        let mut incoming = read(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        incoming.clear();
        assert_eq!(incoming.complete()?, None);
        Ok(())
    }
}
