//! A request in the one form that both sides sign.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::{Query, UnsignedRequest};
use crate::encoding::{hex, push_percent_encoded};

/// Headers by name in lower case, each with its values in the order they stood in.
pub(super) type Headers = BTreeMap<String, Vec<Zeroizing<String>>>;

/// SHA-256 of the canonical request, in hexadecimal. `names` are those of the headers; `payload` is
/// what stands for the body.
pub(super) fn canonical_digest(
    request: &UnsignedRequest<'_>,
    is_s3: bool,
    headers: &Headers,
    names: &str,
    payload: &str,
) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |piece: &str| context.update(piece.as_bytes());
    let path = if is_s3 { s3_path(request.path) } else { tidy_path(request.path) };
    let query = canonical_query(request.query);
    for line in [request.method, path.as_str(), query.as_str()] {
        add(line);
        add("\n");
    }
    for (name, values) in headers {
        add(name);
        let mut mark = ":";
        for value in values {
            add(mark);
            add(value);
            mark = ",";
        }
        add("\n");
    }
    add("\n");
    add(names);
    add("\n");
    add(payload);
    hex(context.finish().as_ref())
}

/// A path without empty segments and dots, each segment encoded, whether it already was or not.
pub(super) fn tidy_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(encoded(segment)),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// A path with every segment that it has, encoded once. S3 takes the path that was sent apart and
/// encodes it its own way: a `=` that was sent as it is, is `%3D` there.
pub(super) fn s3_path(path: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    // A slash that was sent as an escape stays one: it is no border between segments.
    let segments: Vec<_> = path.split('/').map(recoded).collect();
    segments.join("/")
}

/// A query, encoded and then sorted by name and value.
pub(super) fn canonical_query(query: Query<'_>) -> String {
    let mut pairs: Vec<_> = match query {
        Query::Pairs(pairs) => {
            pairs.iter().map(|(name, value)| (encoded(name), encoded(value))).collect()
        }
        Query::Raw(raw) => raw.split('&').filter(|pair| !pair.is_empty()).map(sent_pair).collect(),
    };
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Name and value of a pair as it is sent, encoded as signatures want them.
fn sent_pair(pair: &str) -> (String, String) {
    let meant = |text: &str| recoded(&text.replace('+', " "));
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (meant(name), meant(value))
}

/// A header's value without spaces around it, and with one where more stood in a row.
pub(super) fn folded(value: &str) -> Zeroizing<String> {
    // The room is made at once: growing would leave a copy of a session token behind.
    let mut folded = Zeroizing::new(String::with_capacity(value.len()));
    for word in value.split_ascii_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    folded
}

/// Every byte but RFC 3986's unreserved ones as `%XX`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    push_percent_encoded(&mut encoded, text.as_bytes());
    encoded
}

/// The same for a text that holds escapes already, which stand for their bytes.
fn recoded(text: &str) -> String {
    let mut recoded = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = escape(rest).unwrap_or((*first, after));
        push_percent_encoded(&mut recoded, &[byte]);
        rest = after;
    }
    recoded
}

/// The byte that an escape at the start of a text stands for, and what follows the escape.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let (escape, after) = text.split_first_chunk::<3>()?;
    let [b'%', high, low] = *escape else { return None };
    let digit = |sign: u8| char::from(sign).to_digit(16);
    let byte = u8::try_from(16 * digit(high)? + digit(low)?).ok()?;
    Some((byte, after))
}
