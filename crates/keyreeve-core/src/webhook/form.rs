//! `application/x-www-form-urlencoded`, read as its senders write it and no other way.

use super::Reason;
use crate::encoding::percent_decoded;

/// The most fields that are read.
const MOST_FIELDS: usize = 1_000;

/// The fields of a form or a query, decoded, in their order.
///
/// `+` is a space. An escape in small letters, a byte that would have had to be escaped, a field without
/// its `=` and text that is not UTF-8 are refused: they read the same as another spelling, and of what
/// was signed there is one spelling only.
pub(super) fn fields(text: &[u8]) -> Result<Vec<(String, String)>, Reason> {
    let text = std::str::from_utf8(text).map_err(|_| Reason::BadSignature)?;
    let mut fields = Vec::new();
    if text.is_empty() {
        return Ok(fields);
    }
    for pair in text.split('&') {
        if fields.len() == MOST_FIELDS {
            return Err(Reason::BadSignature);
        }
        let (name, value) = pair.split_once('=').ok_or(Reason::BadSignature)?;
        fields.push((decoded(name)?, decoded(value)?));
    }
    Ok(fields)
}

/// The first field of a query with that name, decoded; escapes in any case.
pub(super) fn query_field(query: &str, name: &str) -> Option<String> {
    query_fields(query, name).next()
}

/// The fields of a query with that name, however it is written, decoded.
pub(super) fn query_fields(query: &str, name: &str) -> impl Iterator<Item = String> {
    let named = query.split('&').filter(move |field| is_named(field, name));
    named.map(|field| loosely_decoded(field.split_once('=').map_or("", |(_, value)| value)))
}

/// A query without the fields of that name, however it is written.
pub(super) fn without_field(query: &str, name: &str) -> String {
    let others = query.split('&').filter(|field| !is_named(field, name));
    others.collect::<Vec<_>>().join("&")
}

fn is_named(field: &str, name: &str) -> bool {
    loosely_decoded(field.split('=').next().unwrap_or(field)) == name
}

fn loosely_decoded(text: &str) -> String {
    String::from_utf8(percent_decoded(&text.replace('+', " "))).unwrap_or_default()
}

fn decoded(text: &str) -> Result<String, Reason> {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let plain = match byte {
            b'%' => bytes.get(at + 1..at + 3).is_some_and(|digits| {
                digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'))
            }),
            other => other.is_ascii_graphic(),
        };
        if !plain {
            return Err(Reason::BadSignature);
        }
    }
    String::from_utf8(percent_decoded(&text.replace('+', " "))).map_err(|_| Reason::BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let pairs = fields(b"a=1&b=x+y%2B%C3%A4&c=&d==").unwrap();
        let expected = [("a", "1"), ("b", "x y+\u{e4}"), ("c", ""), ("d", "=")]
            .map(|(a, b)| (a.into(), b.into()));
        assert_eq!(pairs, expected);
    }

    #[test]
    fn other_spellings_of_the_same_are_refused() {
        for text in [
            &b"a=%2b"[..],
            b"a= b",
            b"a=%",
            b"a=%4",
            b"a=%zz",
            b"a=\xc3\xa4",
            b"a=%FF",
            b"a\n=1",
            b"a",
            b"a=1&",
            b"a=&&b=",
        ] {
            assert!(fields(text).is_err(), "{text:?}");
        }
        let many = "a=&".repeat(MOST_FIELDS) + "a=";
        assert!(fields(many.as_bytes()).is_err());
    }

    #[test]
    fn fields_of_a_query_are_found() {
        assert_eq!(query_field("hub.mode=x&hub.challenge=1%202", "hub.challenge").unwrap(), "1 2");
        assert_eq!(query_field("ab=1", "a"), None);
    }
}
