//! A request that was captured, out of a file.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keyreeve_core::webhook::HeaderLine;
use serde::Deserialize;

/// The most lines of a head.
const MOST_LINES: usize = 1_000;

/// A request that was captured. Cannot be printed: it may hold a token.
pub(super) struct Captured {
    pub(super) method: String,
    pub(super) url: String,
    headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    url: String,
    headers: BTreeMap<String, OneOrMore>,
    body: Option<String>,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn post() -> String {
    "POST".to_owned()
}

impl Captured {
    /// Reads JSON, or else the bytes of an HTTP/1.1 request.
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        if bytes.first() == Some(&b'{') { Self::from_json(bytes) } else { Self::from_http(bytes) }
    }

    fn from_json(bytes: &[u8]) -> anyhow::Result<Self> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| {
            anyhow::anyhow!(
                "it is no captured request in JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        let body = match (document.body, document.text) {
            (Some(body), None) => STANDARD.decode(body).ok().context("`body` must be base64")?,
            (None, Some(text)) => text.into_bytes(),
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => bail!("`body` and `text` cannot both be there"),
        };
        let mut headers = Vec::new();
        for (name, values) in document.headers {
            match values {
                OneOrMore::One(value) => headers.push((name, value.into_bytes())),
                OneOrMore::More(values) => headers
                    .extend(values.into_iter().map(|value| (name.clone(), value.into_bytes()))),
            }
        }
        Ok(Self { method: document.method, url: document.url, headers, body })
    }

    fn from_http(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut rest = bytes;
        let first = line(&mut rest).context("it is empty")?;
        let first = std::str::from_utf8(first).ok().context("its first line is not text")?;
        let mut words = first.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            bail!("its first line must be that of a request: POST /path HTTP/1.1");
        };
        ensure!(version.starts_with("HTTP/1."), "its first line must end in HTTP/1.1");
        let mut headers = Vec::new();
        loop {
            let line = line(&mut rest).context("its head has no end: an empty line is missing")?;
            if line.is_empty() {
                break;
            }
            ensure!(headers.len() < MOST_LINES, "its head has more than 1000 lines");
            let colon = line.iter().position(|byte| *byte == b':');
            let colon = colon.context("a line of its head has no colon")?;
            let name = std::str::from_utf8(&line[..colon]).ok().context("a name is not text")?;
            headers.push((name.to_owned(), line[colon + 1..].trim_ascii().to_vec()));
        }
        let mut captured = Self {
            method: method.to_owned(),
            url: target.to_owned(),
            headers,
            body: rest.to_vec(),
        };
        if target.starts_with('/')
            && let Some(host) = captured.header("host")
        {
            captured.url = format!("https://{host}{target}");
        }
        if let Some(length) = captured.header("content-length") {
            let length = length.parse::<usize>().ok().context("its Content-Length is no number")?;
            // An editor may have put a line end behind the body.
            ensure!(length <= captured.body.len(), "its body is shorter than its Content-Length");
            captured.body.truncate(length);
        }
        Ok(captured)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The lines of its head.
    pub(super) fn lines(&self) -> Vec<HeaderLine<'_>> {
        self.headers.iter().map(|(name, value)| HeaderLine { name, value }).collect()
    }
}

/// The bytes up to the next line end, which is taken away.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_request_are_read() {
        let captured = Captured::read(
            b"POST /hooks?a=1 HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nx-a:2 \r\nContent-Length: 3\r\n\r\na\r\n\n",
        )
        .unwrap();
        assert_eq!(captured.method, "POST");
        assert_eq!(captured.url, "https://example.com/hooks?a=1");
        assert_eq!(captured.body, b"a\r\n");
        let lines = captured.lines();
        let values: Vec<_> = lines.iter().map(|line| line.value).collect();
        assert_eq!(values, [&b"example.com"[..], b"1", b"2", b"3"]);
    }

    #[test]
    fn json_is_read() {
        let captured = Captured::read(
            br#"{"method":"GET","url":"https://a.example/","headers":{"X-A":["1","2"],"X-B":"3"},"body":"YWI="}"#,
        )
        .unwrap();
        assert_eq!((captured.method.as_str(), captured.body.as_slice()), ("GET", &b"ab"[..]));
        assert_eq!(captured.lines().len(), 3);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bad in [
            &b""[..],
            b"{}",
            b"{\"headers\":{},\"body\":\"!\"}",
            b"{\"headers\":{},\"body\":\"\",\"text\":\"\"}",
            b"POST /\n\n",
            b"POST / HTTP/1.1\nno colon\n\n",
            b"POST / HTTP/1.1\nA: b\n",
            b"POST / HTTP/1.1\nContent-Length: 5\n\nab",
            b"\xff\n\n",
        ] {
            assert!(Captured::read(bad).is_err(), "{bad:?}");
        }
    }
}
