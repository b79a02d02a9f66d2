//! Routes a key is bound to: method, host and path of a request.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    host::{HostPattern, split_port},
    path::{ClearPath, Octet, octets},
};
use crate::Invalid;

const LONGEST: usize = 512;
const LONGEST_METHOD: usize = 32;

/// Which requests a key may make: `METHOD [host]/path`, such as `GET /v1/*`,
/// `* /v1/users/*/keys` or `POST *.example.com/v1/*`.
///
/// The method is upper-case, or `*` for every one. Without a host every host is meant;
/// `*.example.com` is every host below, never the bare domain. In the path a segment `*` takes
/// exactly one segment; as the last segment it takes all the rest, at least one segment.
///
/// A closing slash makes an empty last segment: `/v1/*` covers `/v1/` (and `/*` covers `/`) but not
/// `/v1`, and `/v1` does not cover `/v1/`. Patterns have no closing slash, except `/` alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoutePattern {
    /// `None` stands for every method.
    method: Option<Box<str>>,
    /// `None` stands for every host.
    host: Option<HostPattern>,
    /// Begins with a slash. Percent-encoding is normal: no unreserved character has it, and its
    /// letters are upper-case.
    path: Box<str>,
}

impl RoutePattern {
    /// Whether the pattern covers a request.
    ///
    /// Methods are compared by case, as they are in HTTP. A port and the closing dot of `host` do
    /// not count; a pattern with a host covers no request without one. `path` may carry a query.
    /// Percent-encoded unreserved characters equal the plain ones (RFC 3986 §6.2.2.2).
    ///
    /// A path that the service behind could take for another one is never covered: with `.`, `..`
    /// or empty segments (except a closing slash), `\`, `#`, spaces, control characters, anything
    /// outside ASCII, broken percent-encoding, or percent-encoded `/`, `\`, `.`, `%`, control
    /// characters and bytes that only overlong UTF-8 has.
    pub fn matches(&self, method: &str, host: Option<&str>, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.host.as_ref().is_none_or(|wanted| covers_host(wanted, host))
            && ClearPath::of_target(path).is_some_and(|path| covers_path(&self.path, path))
    }
}

fn covers_host(wanted: &HostPattern, host: Option<&str>) -> bool {
    host.and_then(split_port)
        .is_some_and(|(host, _)| wanted.covers(host.strip_suffix('.').unwrap_or(host)))
}

fn covers_path(wanted: &str, path: ClearPath<'_>) -> bool {
    let mut wanted = wanted.split('/').peekable();
    let mut asked = path.as_str().split('/');
    loop {
        match (wanted.next(), asked.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) if wanted.peek().is_none() => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(asked)) if octets(wanted).eq(octets(asked)) => {}
            _ => return false,
        }
    }
}

impl FromStr for RoutePattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be a method and a path, such as GET /v1/*, * /v1/users/*/keys or \
                            POST api.example.com/v1/*";
        if text.len() > LONGEST {
            return Err(Invalid::new(format!("must not be longer than {LONGEST} characters")));
        }
        let (method, target) = text.split_once(' ').ok_or_else(|| Invalid::new(RULE))?;
        let slash = target.find('/').ok_or_else(|| Invalid::new(RULE))?;
        let (host, path) = target.split_at(slash);
        Ok(Self {
            method: pattern_method(method)?,
            host: if host.is_empty() { None } else { Some(host.parse()?) },
            path: pattern_path(path)?,
        })
    }
}

fn pattern_method(text: &str) -> Result<Option<Box<str>>, Invalid> {
    if text == "*" {
        return Ok(None);
    }
    let good = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    if text.is_empty() || text.len() > LONGEST_METHOD || !text.bytes().all(good) {
        return Err(Invalid::new("must begin with a method in upper case, such as GET, or with *"));
    }
    Ok(Some(text.into()))
}

fn pattern_path(text: &str) -> Result<Box<str>, Invalid> {
    if text.contains('?') {
        return Err(Invalid::new("must not have a query"));
    }
    let path = ClearPath::of_target(text).ok_or_else(|| {
        Invalid::new(
            "must have a clear path: no empty, '.' or '..' segments, no spaces, '\\' or '#', and \
             none of '/', '\\', '.' and '%' percent-encoded",
        )
    })?;
    let mut normal = String::with_capacity(text.len());
    for segment in path.as_str().split('/').skip(1) {
        if segment.is_empty() && text != "/" {
            return Err(Invalid::new("must not end in a slash"));
        }
        if segment != "*" && segment.contains('*') {
            return Err(Invalid::new("must have * only as a whole segment"));
        }
        normal.push('/');
        normal.extend(octets(segment).flat_map(Octet::text));
    }
    Ok(normal.into())
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.method.as_deref().unwrap_or("*"))?;
        if let Some(host) = &self.host {
            write!(f, "{host}")?;
        }
        f.write_str(&self.path)
    }
}

serde_as_text!(RoutePattern);

#[cfg(test)]
mod tests;
