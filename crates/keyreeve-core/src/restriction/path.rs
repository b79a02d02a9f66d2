//! Paths of requests, read so that no two readers can disagree on what they name.
//!
//! Services differ in what they make of `//`, `..`, `%2f`, `\` or `;`. A rule that is checked
//! against one reading and served by another is no rule, so whatever has two readings is refused.

use std::iter;

/// A path with one reading only, without its query.
#[derive(Clone, Copy)]
pub(super) struct ClearPath<'a>(&'a str);

impl<'a> ClearPath<'a> {
    /// The path of a request target, cut at the query. Nothing if it is not clear.
    pub(super) fn of_target(target: &'a str) -> Option<Self> {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let mut segments = path.strip_prefix('/')?.split('/').peekable();
        while let Some(segment) = segments.next() {
            let closing_slash = segment.is_empty() && segments.peek().is_none();
            if !closing_slash && !is_clear(segment) {
                return None;
            }
        }
        Some(Self(path))
    }

    /// The path as it was written. Begins with a slash.
    pub(super) fn as_str(self) -> &'a str {
        self.0
    }
}

fn is_clear(segment: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#');
    segment.bytes().all(plain) && encoding_is_clear(segment) && !could_be_dots(segment)
}

/// Every `%` begins a pair of hexadecimal digits, and none hides a character with a meaning of its
/// own or one that decoders disagree on (0xC0 and 0xC1 occur in overlong UTF-8 only).
fn encoding_is_clear(segment: &str) -> bool {
    segment.split('%').skip(1).all(|after| {
        let value = after.as_bytes().first_chunk().copied().and_then(hex_pair);
        value.is_some_and(|b| {
            !b.is_ascii_control() && !matches!(b, b'/' | b'\\' | b'.' | b'%' | 0xC0 | 0xC1)
        })
    })
}

/// Whether some reader takes the segment for `.`, `..` or nothing: after none to two dots it ends,
/// or goes on with what a reader may cut off (`;` and its parameters, an encoded `;` or space).
fn could_be_dots(segment: &str) -> bool {
    let rest = segment.trim_start_matches('.');
    let dots = segment.len() - rest.len();
    let encoded_semicolon = rest.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("%3b"));
    dots <= 2
        && (rest.is_empty()
            || rest.starts_with(';')
            || encoded_semicolon
            || dots > 0 && rest.starts_with('%'))
}

/// One character of a path, after taking the percent-encoding off those that do not need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Octet {
    /// Stands for itself.
    Plain(u8),
    /// Differs from the plain character, or has none.
    Encoded(u8),
}

impl Octet {
    /// How the character is written, with upper-case digits in an encoding.
    pub(super) fn text(self) -> impl Iterator<Item = char> {
        let digit =
            |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
        let characters = match self {
            Self::Plain(b) => [Some(char::from(b)), None, None],
            Self::Encoded(b) => [Some('%'), Some(digit(b >> 4)), Some(digit(b & 15))],
        };
        characters.into_iter().flatten()
    }
}

/// The characters of a clear segment, normal in the sense of RFC 3986 §6.2.2.1 and §6.2.2.2.
pub(super) fn octets(segment: &str) -> impl Iterator<Item = Octet> {
    let mut rest = segment.as_bytes();
    iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        let pair = after.split_first_chunk().filter(|_| *first == b'%');
        if let Some((value, after)) = pair.and_then(|(pair, after)| Some((hex_pair(*pair)?, after)))
        {
            rest = after;
            return Some(if is_unreserved(value) {
                Octet::Plain(value)
            } else {
                Octet::Encoded(value)
            });
        }
        rest = after;
        Some(Octet::Plain(*first))
    })
}

fn hex_pair(pair: [u8; 2]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(pair[0])? << 4 | digit(pair[1])?)
}

/// RFC 3986 §2.3.
fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(segment: &str) -> String {
        octets(segment).flat_map(Octet::text).collect()
    }

    #[test]
    fn paths_with_one_reading() {
        for (target, path) in [
            ("/", "/"),
            ("/v1", "/v1"),
            ("/v1/", "/v1/"),
            ("/v1/users?a=/../b#", "/v1/users"),
            ("/?", "/"),
            ("/a.b/...x/.well-known/x..", "/a.b/...x/.well-known/x.."),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/%20x/%C3%A4", "/%20x/%C3%A4"),
            ("/a:b@c!$&'()*+,=~-_", "/a:b@c!$&'()*+,=~-_"),
        ] {
            assert_eq!(ClearPath::of_target(target).map(ClearPath::as_str), Some(path));
        }
    }

    #[test]
    fn paths_with_more_than_one_reading() {
        for target in [
            "",
            "*",
            "v1",
            "?",
            "http://a/b",
            "//",
            "//v1",
            "/v1//users",
            "/v1//",
            "/.",
            "/..",
            "/./v1",
            "/v1/../v2",
            "/v1/..",
            "/v1/.?x",
            "/..;/v1",
            "/..;x=1/v1",
            "/.;/v1",
            "/;/v1",
            "/;x",
            "/..%3b/v1",
            "/%3B/v1",
            "/..%20/v1",
            "/.%20",
            "/%2e/v1",
            "/%2E%2e/v1",
            "/.%2e/v1",
            "/a%2Fb",
            "/a%2fb",
            "/a%5Cb",
            "/a%252fb",
            "/a%00",
            "/a%0a",
            "/a%7F",
            "/a%c0%af",
            "/a%C1%9c",
            "/a\\b",
            "/a#b",
            "/a b",
            "/a\tb",
            "/a\u{0}",
            "/a\u{7f}",
            "/ä",
            "/%",
            "/%4",
            "/%zz",
            "/a%",
            "/%+1",
        ] {
            assert!(ClearPath::of_target(target).is_none(), "{target:?}");
        }
    }

    #[test]
    fn encoding_is_taken_off_where_it_means_nothing() {
        for (segment, expected) in [
            ("users", "users"),
            ("%75ser%73", "users"),
            ("%7ea%2db", "~a-b"),
            ("%c3%a4", "%C3%A4"),
            ("a%3ab", "a%3Ab"),
            ("a:b", "a:b"),
            ("%2a", "%2A"),
        ] {
            assert_eq!(normal(segment), expected);
        }
    }

    proptest! {
        #[test]
        fn normal_text_stays(segment in "([a-z:*;.]|%[2-7b-fB-F][0-9a-fA-F]){1,4}") {
            prop_assume!(is_clear(&segment));
            let once = normal(&segment);
            prop_assert_eq!(normal(&once), once);
        }

        #[test]
        fn never_panics(target in "\\PC{0,20}|[/.%;?0-9a-fü\\\\]{0,20}") {
            if let Some(path) = ClearPath::of_target(&target) {
                prop_assert!(target.starts_with(path.as_str()));
            }
            let _ = normal(&target);
        }
    }
}
