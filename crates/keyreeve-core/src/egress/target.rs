//! Paths that are sent on, read once so that no two readers can disagree on what they name.
//!
//! Policy looks at a path before a credential is added, and the service behind looks at it again.
//! Where the two read it differently, a policy can be talked round. So a path is brought into one
//! form, what has two readings is refused, and the bytes that were judged are the bytes that go
//! out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// The most bytes of path and query together.
const LONGEST: usize = 64 * 1024;
/// How many layers of percent-encoding below the first are looked into. More is nobody's path.
const MOST_LAYERS: usize = 3;
/// How overlong UTF-8 of three and four bytes begins, up to the first digit that tells.
const OVERLONG: [&str; 3] = ["%E0%8", "%E0%9", "%F0%8"];

/// How much a service may make of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathRules {
    /// Refuses encoded slashes, empty segments and parameters, which services read in different
    /// ways.
    #[default]
    Strict,
    /// Lets those through as they are, for services that need them. A pattern then takes a segment
    /// as it is written: `a%2Fb` is one, whatever the service makes of it.
    Lenient,
}

/// Why a path cannot be sent on. Never repeats the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TargetFault {
    /// It does not begin with a slash.
    #[error("the path must begin with a slash")]
    NotAbsolute,
    /// Path and query are too long together.
    #[error("the path must be at most 65536 bytes, its query included")]
    TooLong,
    /// A character is outside ASCII.
    #[error("the path must be ASCII, and so must its query: percent-encode the rest")]
    NotAscii,
    /// A space or a control character, which may be encoded.
    #[error("the path must not have spaces, nor control characters even if encoded, nor its query")]
    Control,
    /// A backslash, plain or encoded: a slash to some readers.
    #[error("the path must not have a backslash, plain or percent-encoded")]
    Backslash,
    /// The beginning of a query or a fragment in the path, or of a fragment in the query.
    #[error("the path must not have '#' or '?', and its query no '#'")]
    Delimiter,
    /// A percent sign that begins no encoding, or bytes that are no good UTF-8 but pass for it.
    #[error("the path must have two hexadecimal digits after each '%', and no overlong UTF-8")]
    Encoding,
    /// A dot segment (RFC 3986 §3.3), or what some reader takes for one.
    #[error("the path must not have the segments '.' and '..', in whatever way they are written")]
    DotSegment,
    /// An encoding of an encoding of what is refused plain.
    #[error(
        "the path must not have dots, slashes, backslashes or control characters that are \
         percent-encoded more than once, nor anything that is so more than four times"
    )]
    DoubleEncoding,
    /// An encoded slash, by [`PathRules::Strict`].
    #[error("the path must not have a percent-encoded slash")]
    EncodedSlash,
    /// Two slashes in a row, by [`PathRules::Strict`].
    #[error("the path must not have empty segments, except for one slash at its end")]
    EmptySegment,
    /// A semicolon, plain or encoded, by [`PathRules::Strict`].
    #[error("the path must not have a semicolon, plain or percent-encoded")]
    Parameter,
}

impl From<TargetFault> for Invalid {
    fn from(fault: TargetFault) -> Self {
        Self::new(format!("must have a path with one reading only: {fault}"))
    }
}

/// Path and query of a request that is sent on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    path: String,
    query: Option<String>,
}

impl Target {
    /// Reads what stands behind the connection's name in a request: `path` up to the question mark
    /// and `query` after it, `None` without one.
    ///
    /// An empty path is `/`. Unreserved characters lose their percent-encoding (RFC 3986 §6.2.2.2),
    /// every other encoding gets upper-case digits (§6.2.2.1), and nothing else changes. Refused
    /// are, besides what `rules` say, characters outside ASCII, spaces, control characters,
    /// backslashes, `#` and `?`, broken and overlong encodings, dot segments in every way of
    /// writing them, and whatever would come to one of these after more decoding. One or two dots
    /// with a semicolon or an encoding right behind them count as a dot segment, because readers
    /// cut there.
    ///
    /// The query stays as it is, byte for byte. It may be any printable ASCII but spaces and `#`.
    pub fn parse(path: &str, query: Option<&str>, rules: PathRules) -> Result<Self, TargetFault> {
        if path.len().saturating_add(query.map_or(0, str::len)) > LONGEST {
            return Err(TargetFault::TooLong);
        }
        let path = if path.is_empty() { "/" } else { path };
        if !path.starts_with('/') {
            return Err(TargetFault::NotAbsolute);
        }
        let path = normalise(path)?;
        check_path(&path, rules)?;
        if let Some(query) = query {
            check_query(query)?;
        }
        Ok(Self { path, query: query.map(str::to_owned) })
    }

    /// The path in its normal form, without the query. Begins with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands after the question mark; `None` if there is none.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

/// Leaves the query out: it may carry a secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("path", &self.path).finish_non_exhaustive()
    }
}

fn normalise(path: &str) -> Result<String, TargetFault> {
    path.bytes().try_for_each(check_plain)?;
    let mut pieces = path.split('%');
    // No piece grows, so this is the only allocation.
    let mut normal = String::with_capacity(path.len());
    normal.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let value = piece.as_bytes().first_chunk().copied().and_then(hex_pair);
        let (value, rest) = value.zip(piece.get(2..)).ok_or(TargetFault::Encoding)?;
        check_encoded(value)?;
        if is_unreserved(value) {
            normal.push(char::from(value));
        } else {
            normal.push('%');
            normal.extend(piece.chars().take(2).map(|digit| digit.to_ascii_uppercase()));
        }
        normal.push_str(rest);
    }
    Ok(normal)
}

fn check_plain(byte: u8) -> Result<(), TargetFault> {
    match byte {
        0x80..=0xff => Err(TargetFault::NotAscii),
        0..=b' ' | 0x7f => Err(TargetFault::Control),
        b'\\' => Err(TargetFault::Backslash),
        b'#' | b'?' => Err(TargetFault::Delimiter),
        _ => Ok(()),
    }
}

fn check_encoded(value: u8) -> Result<(), TargetFault> {
    match value {
        b'\\' => Err(TargetFault::Backslash),
        // These occur in overlong UTF-8 only.
        0xC0 | 0xC1 => Err(TargetFault::Encoding),
        _ if value.is_ascii_control() => Err(TargetFault::Control),
        _ => Ok(()),
    }
}

/// What is wrong with a path whose encoding is normal.
fn check_path(path: &str, rules: PathRules) -> Result<(), TargetFault> {
    if !path.contains('%') {
        return check_unencoded(path, rules);
    }
    let mut segments = path.split('/').flat_map(|segment| segment.split("%2F"));
    if segments.any(could_be_dots) {
        return Err(TargetFault::DotSegment);
    }
    if hides_more(path) {
        return Err(TargetFault::DoubleEncoding);
    }
    if OVERLONG.into_iter().any(|beginning| path.contains(beginning)) {
        return Err(TargetFault::Encoding);
    }
    if rules == PathRules::Lenient {
        return Ok(());
    }
    if path.contains("%2F") {
        return Err(TargetFault::EncodedSlash);
    }
    if path.contains("//") {
        return Err(TargetFault::EmptySegment);
    }
    if path.contains(';') || path.contains("%3B") {
        return Err(TargetFault::Parameter);
    }
    Ok(())
}

/// The same for a path without any encoding, as most are: all that is looked for besides is encoded.
fn check_unencoded(path: &str, rules: PathRules) -> Result<(), TargetFault> {
    if path.split('/').any(could_be_dots) {
        return Err(TargetFault::DotSegment);
    }
    if rules == PathRules::Lenient {
        return Ok(());
    }
    if path.as_bytes().array_windows().any(|pair| pair == b"//") {
        return Err(TargetFault::EmptySegment);
    }
    if path.contains(';') {
        return Err(TargetFault::Parameter);
    }
    Ok(())
}

/// Whether some reader takes the segment for `.` or `..`: it is that, or goes on with what a reader
/// cuts off (parameters) or decodes to something it cuts off.
fn could_be_dots(segment: &str) -> bool {
    let rest = segment.trim_start_matches('.');
    let dots = segment.len() - rest.len();
    matches!(dots, 1 | 2) && (rest.is_empty() || rest.starts_with([';', '%']))
}

/// Whether decoding more than once brings out something with a meaning of its own. A percent sign
/// that is followed by anything else is a percent sign, as in `100%25`.
fn hides_more(path: &str) -> bool {
    if !path.contains("%25") {
        return false;
    }
    let (mut layer, _) = peel(path.as_bytes());
    for _ in 0..MOST_LAYERS {
        let (below, reveals) = peel(&layer);
        if reveals {
            return true;
        }
        if below.len() == layer.len() {
            return false;
        }
        layer = below;
    }
    true
}

/// Takes one layer of encoding off, as a reader does that keeps what is no encoding. Tells also
/// whether that brought out what a path must not have.
fn peel(layer: &[u8]) -> (Vec<u8>, bool) {
    let mut below = Vec::with_capacity(layer.len());
    let mut reveals = false;
    let mut rest = layer;
    while let Some((first, after)) = rest.split_first() {
        let pair = after.split_first_chunk().filter(|_| *first == b'%');
        let decoded = pair.and_then(|(pair, after)| Some((hex_pair(*pair)?, after)));
        let (byte, after) = decoded.unwrap_or((*first, after));
        if decoded.is_some() {
            reveals |= byte.is_ascii_control() || matches!(byte, b'.' | b'/' | b'\\' | 0xC0 | 0xC1);
        }
        below.push(byte);
        rest = after;
    }
    (below, reveals)
}

fn check_query(query: &str) -> Result<(), TargetFault> {
    query.bytes().try_for_each(|byte| match byte {
        // Unlike in a path these name nothing.
        b'\\' | b'?' => Ok(()),
        _ => check_plain(byte),
    })
}

fn hex_pair(pair: [u8; 2]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let [high, low] = pair;
    Some((digit(high)? << 4) | digit(low)?)
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(path: &str, rules: PathRules) -> Result<String, TargetFault> {
        Target::parse(path, None, rules).map(|target| target.path)
    }

    #[test]
    fn good_paths_become_normal() {
        for (text, normal) in [
            ("", "/"),
            ("/", "/"),
            ("/v1", "/v1"),
            ("/v1/", "/v1/"),
            ("/a.b/...x/.well-known/x../...", "/a.b/...x/.well-known/x../..."),
            ("/a:b@c!$&'()*+,=~-_|\"{}^`<>[]", "/a:b@c!$&'()*+,=~-_|\"{}^`<>[]"),
            ("/%75sers/%7e%2d%5F%41", "/users/~-_A"),
            ("/a%2eb/x%2e%2e", "/a.b/x.."),
            ("/%c3%a4%3a%20%3f%23", "/%C3%A4%3A%20%3F%23"),
            ("/100%25", "/100%25"),
            ("/%25zz%2541%2520", "/%25zz%2541%2520"),
            ("/%e0%a0%80%f0%90%80%80", "/%E0%A0%80%F0%90%80%80"),
        ] {
            for rules in [PathRules::Strict, PathRules::Lenient] {
                assert_eq!(parse(text, rules).as_deref(), Ok(normal), "{text}");
            }
        }
    }

    #[test]
    fn some_paths_are_good_for_some_services() {
        use TargetFault::{EmptySegment, EncodedSlash, Parameter};
        for (text, normal, fault) in [
            ("/a%2fb", "/a%2Fb", EncodedSlash),
            ("/a%2F%2fb", "/a%2F%2Fb", EncodedSlash),
            ("//", "//", EmptySegment),
            ("//a", "//a", EmptySegment),
            ("/a//b", "/a//b", EmptySegment),
            ("/a//", "/a//", EmptySegment),
            ("/a;v=1/b", "/a;v=1/b", Parameter),
            ("/;a", "/;a", Parameter),
            ("/a%3bb", "/a%3Bb", Parameter),
        ] {
            assert_eq!(parse(text, PathRules::Strict), Err(fault), "{text}");
            assert_eq!(parse(text, PathRules::Lenient).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn paths_with_two_readings_are_refused() {
        use TargetFault::{
            Backslash, Control, Delimiter, DotSegment, DoubleEncoding, Encoding, NotAbsolute,
            NotAscii,
        };
        for (fault, paths) in [
            (NotAbsolute, &["*", "v1", "?", "http://a/b", "%2f", ".."][..]),
            (NotAscii, &["/ä", "/a\u{2028}", "/\u{80}"]),
            (Control, &["/a b", "/\t", "/\0", "/\u{7f}", "/%00", "/a%0a", "/%7F", "/%1f"]),
            (Backslash, &["/a\\b", "/..\\a", "/a%5cb", "/%5C"]),
            (Delimiter, &["/a#b", "/a?b", "/?"]),
            (Encoding, &["/%", "/%4", "/a%", "/%zz", "/%+1", "/%%32e", "/%u002e", "/%2%35"]),
            (Encoding, &["/%c0%ae", "/%C1%9c", "/%E0%80%AE", "/%e0%9F%bf", "/%f0%80%80%ae"]),
            (DotSegment, &["/.", "/..", "/./a", "/../a", "/a/..", "/a/../b", "/a/.", "/../"]),
            (DotSegment, &["/%2e", "/%2E%2e/a", "/.%2e/a", "/a/%2e.", "/%2e%2e%2fa"]),
            (DotSegment, &["/..;/a", "/..;x=1/a", "/.;/a", "/%2e%2e;x", "/..%3b/a", "/.%3Bx"]),
            (DotSegment, &["/..%2fa", "/a%2f..%2Fb", "/a%2F..", "/a%2f%2e", "/..%252fa"]),
            (DotSegment, &["/..%20", "/.%20/a", "/..%3Fx", "/..%23"]),
            (DoubleEncoding, &["/%252e%252e/a", "/%252E.", "/a%252eb", "/a%252fb", "/a%255Cb"]),
            (DoubleEncoding, &["/%25%32%65", "/%25%32e"]),
            (DoubleEncoding, &["/%25252e", "/%2525252e", "/%25%2532e", "/a%2500", "/%250d%250a"]),
            (DoubleEncoding, &["/%25c0%25ae", "/%25252525252525252541"]),
        ] {
            for path in paths {
                for rules in [PathRules::Strict, PathRules::Lenient] {
                    assert_eq!(parse(path, rules), Err(fault), "{path:?}");
                }
            }
        }
    }

    #[test]
    fn every_fault_is_about_the_path() {
        let fault = parse("/canary/../b", PathRules::Strict).unwrap_err();
        assert!(fault.to_string().starts_with("the path must "));
        assert!(!Invalid::from(fault).rule().contains("canary"));
    }

    #[test]
    fn queries_stay_as_they_are() {
        for query in ["", "a=%2e%2E&b=../..&c=\\?%zz", "a=b;c//\"{}"] {
            let target = Target::parse("/%61", Some(query), PathRules::Strict).unwrap();
            assert_eq!((target.path(), target.query()), ("/a", Some(query)));
        }
        for (query, fault) in [
            ("a#b", TargetFault::Delimiter),
            ("a b", TargetFault::Control),
            ("a\n", TargetFault::Control),
            ("ä", TargetFault::NotAscii),
        ] {
            assert_eq!(Target::parse("/", Some(query), PathRules::Lenient), Err(fault));
        }
        let target = Target::parse("/a", Some("key=canary"), PathRules::Strict).unwrap();
        assert!(!format!("{target:?}").contains("canary"));
    }

    #[test]
    fn length_is_bounded() {
        let path = format!("/{}", "a".repeat(LONGEST - 1));
        assert!(parse(&path, PathRules::Strict).is_ok());
        let too_long = Target::parse(&path, Some("a"), PathRules::Strict);
        assert_eq!(too_long, Err(TargetFault::TooLong));
        let deep = format!("/%{}41", "25".repeat(30_000));
        assert_eq!(parse(&deep, PathRules::Strict), Err(TargetFault::DoubleEncoding));
    }

    /// Paths made of what is likely to be read in several ways.
    fn tricky_path() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/", ".", "..", ";", "%", "a", "2", "5", "e", "2e", "2f", "25", "%2e", "%2E", "%2f",
            "%25", "%252e", "%252f", "%3b", "%253b", "%20", "%32", "%35", "%65", "%46", "%c3%a4",
        ]);
        prop::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    fn rules() -> impl Strategy<Value = PathRules> {
        prop::sample::select(vec![PathRules::Strict, PathRules::Lenient])
    }

    fn has_dot_segment(path: &[u8]) -> bool {
        path.split(|b| matches!(b, b'/' | b'\\')).any(|segment| {
            let name = segment.split(|b| *b == b';').next();
            name.is_some_and(|name| name == b"." || name == b"..")
        })
    }

    proptest! {
        #[test]
        fn what_is_normal_stays(path in tricky_path(), rules in rules()) {
            if let Ok(normal) = parse(&path, rules) {
                prop_assert_eq!(parse(&normal, rules), Ok(normal.clone()));
                prop_assert_eq!(parse(&normal, PathRules::Lenient), Ok(normal));
            }
        }

        #[test]
        fn no_decoding_brings_dot_segments(path in tricky_path(), rules in rules()) {
            if let Ok(normal) = parse(&path, rules) {
                let mut bytes = normal.into_bytes();
                for _ in 0..=3 {
                    prop_assert!(!has_dot_segment(&bytes), "{path}");
                    bytes = peel(&bytes).0;
                }
            }
        }

        #[test]
        fn never_panics(
            path in "\\PC{0,20}|/[/.%;?0-9a-fü\\\\*]{0,20}",
            query in "\\PC{0,20}",
            rules in rules(),
        ) {
            let _ = Target::parse(&path, Some(&query), rules);
        }
    }
}
