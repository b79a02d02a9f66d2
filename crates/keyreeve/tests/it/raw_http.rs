//! Requests byte by byte, as no well-behaved client would send them.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::support::{PATIENCE, text};

/// How long nothing may come before what came is taken for all of it.
const QUIET: Duration = Duration::from_millis(300);

/// One connection to a server.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    /// What came and was not given away yet.
    read: Vec<u8>,
}

/// What a server said to some bytes.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) text: String,
    /// Whether it ended the connection.
    pub(crate) is_closed: bool,
}

impl Heard {
    /// The statuses of all answers.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let answers = self.text.split("HTTP/1.").skip(1);
        let words = answers.filter_map(|answer| answer.split_whitespace().nth(1));
        words.filter_map(|status| status.parse().ok()).collect()
    }
}

impl Raw {
    /// Connects to a server by its URL.
    pub(crate) fn connect(url: &str) -> Self {
        let authority = url.trim_start_matches("http://").trim_end_matches('/');
        let stream = TcpStream::connect(authority).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes; whether the server took them.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads until this has come, and gives all up to its end.
    pub(crate) fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.read.windows(end.len()).position(|it| it == end.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                return text(&std::mem::replace(&mut self.read, rest));
            }
            let mut piece = vec![0; 1 << 14];
            let size = self.stream.read(&mut piece).unwrap();
            assert!(size > 0, "the connection ended after {}", text(&self.read));
            self.read.extend_from_slice(&piece[..size]);
        }
    }

    /// The head of an answer, in lower case, without its last line.
    pub(crate) fn head(&mut self) -> String {
        self.until("\r\n\r\n").to_ascii_lowercase()
    }

    /// Everything that comes until the connection ends, or, once something came, nothing more does.
    pub(crate) fn rest(&mut self) -> Heard {
        let mut is_closed = false;
        let mut piece = vec![0; 1 << 14];
        loop {
            match self.stream.read(&mut piece) {
                Ok(size @ 1..) => self.read.extend_from_slice(&piece[..size]),
                Ok(_) => is_closed = true,
                Err(error) => {
                    // What has a time limit says so in one of two ways, by the system.
                    let waited = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                    is_closed = !waited.contains(&error.kind());
                    break;
                }
            }
            if is_closed {
                break;
            }
            self.stream.set_read_timeout(Some(QUIET)).unwrap();
        }
        Heard { text: text(&std::mem::take(&mut self.read)), is_closed }
    }
}

/// What a server says to these bytes on a connection of their own.
pub(crate) fn hear(url: &str, bytes: &[u8]) -> Heard {
    let mut raw = Raw::connect(url);
    // A server that has heard enough may end the connection before all is sent.
    raw.send(bytes);
    raw.rest()
}
