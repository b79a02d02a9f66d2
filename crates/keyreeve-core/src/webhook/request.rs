//! A request as it came in.

use std::net::IpAddr;

use super::Reason;

/// One line of a request's head. Cannot be printed: it may hold a token.
#[derive(Clone, Copy)]
pub struct HeaderLine<'a> {
    /// The name, in any case.
    pub name: &'a str,
    /// The value as it came, which need not be text.
    pub value: &'a [u8],
}

/// A request as it came in. Cannot be printed: address, head and body may hold tokens.
#[derive(Clone, Copy)]
pub struct ReceivedRequest<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The address that the sender was given, with the query of this request: scheme, host and path are
    /// configured and never taken from the request's head.
    pub url: &'a str,
    /// The lines of the head.
    pub headers: &'a [HeaderLine<'a>],
    /// The body, byte for byte.
    pub body: &'a [u8],
    /// Where it came from, where that is known.
    pub remote_ip: Option<IpAddr>,
    /// When it came in, in milliseconds of Unix time.
    pub now_ms: i64,
}

impl<'a> ReceivedRequest<'a> {
    /// The value of a header that may stand once: nothing where it is not there.
    pub(super) fn header(&self, name: &str) -> Result<Option<&'a str>, Reason> {
        let mut lines = self.headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
        let Some(line) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            return Err(Reason::DuplicateHeader);
        }
        let text = std::str::from_utf8(line.value).map_err(|_| Reason::MalformedHeader)?;
        Ok(Some(text))
    }

    /// The value of a header that must stand once.
    pub(super) fn required(&self, name: &str) -> Result<&'a str, Reason> {
        self.header(name)?.ok_or(Reason::MissingHeader)
    }

    /// Whether there is such a header at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|line| line.name.eq_ignore_ascii_case(name))
    }

    /// The path of the address, from its first `/` on, without the query.
    pub(super) fn path(&self) -> &'a str {
        let after_scheme = self.url.split_once("://").map_or(self.url, |(_, rest)| rest);
        let path = after_scheme.find('/').map_or("/", |at| &after_scheme[at..]);
        path.split(['?', '#']).next().unwrap_or(path)
    }

    /// What stands behind the first `?` of the address.
    pub(super) fn query(&self) -> &'a str {
        let address = self.url.split('#').next().unwrap_or(self.url);
        address.split_once('?').map_or("", |(_, query)| query)
    }
}
