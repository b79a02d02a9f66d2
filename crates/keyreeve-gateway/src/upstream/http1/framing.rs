//! Where the body of an answer ends (RFC 9112 §6.3 and §7.1).

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, response};

use super::Fault;

/// The longest line that a chunk begins with, extensions and all.
const LONGEST_SIZE_LINE: usize = 1024;

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    Done,
    /// So many bytes.
    Length(u64),
    /// All that comes.
    UntilClose,
    /// Pieces, each with its length before it.
    Chunked(Chunk),
}

/// Where in a chunked body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before the length of a piece.
    Size,
    /// So many bytes of a piece are left.
    Data(u64),
    /// Behind its last byte.
    DataEnd,
    /// Behind the last piece.
    Trailers,
}

/// How the body of an answer to a request with that method is read, and whether there is no doubt about
/// it. A length that does not count is taken out.
pub(super) fn of(method: &Method, parts: &mut response::Parts) -> Result<(Framing, bool), Fault> {
    let status = parts.status;
    let headers = &mut parts.headers;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok((Framing::Done, false));
    }
    let has_length = headers.contains_key(header::CONTENT_LENGTH);
    let is_encoded = headers.contains_key(header::TRANSFER_ENCODING);
    if is_encoded {
        headers.remove(header::CONTENT_LENGTH);
    }
    if *method == Method::HEAD {
        return Ok((Framing::Done, true));
    }
    // Its length is that of what was not modified.
    if status == StatusCode::NOT_MODIFIED {
        return Ok((Framing::Done, !is_encoded));
    }
    // These have no body; one that says it has may send it all the same.
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        let is_empty = !has_length || length(headers).is_some_and(|(length, _)| length == 0);
        return Ok((Framing::Done, is_empty && !is_encoded));
    }
    if is_encoded {
        if parts.version == Version::HTTP_10 {
            return Err(Fault::NotHttp("HTTP/1.0 knows no transfer encodings"));
        }
        // Both are said: somebody before us may have believed the other one.
        let is_plain = !has_length;
        return Ok(if is_chunked(headers) {
            (Framing::Chunked(Chunk::Size), is_plain)
        } else {
            (Framing::UntilClose, false)
        });
    }
    if has_length {
        let said = length(headers).ok_or(Fault::NotHttp("the length of the body"))?;
        let (length, times) = said;
        if times > 1 {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        return Ok((if length == 0 { Framing::Done } else { Framing::Length(length) }, true));
    }
    Ok((Framing::UntilClose, false))
}

/// The members of a header that is a list.
fn members(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    // What is no text is no member that anybody knows.
    let lines = headers.get_all(name).into_iter().map(|line| line.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(|member| member.trim_matches([' ', '\t']))
}

/// Whether the last encoding of the body is that in pieces; only then it can be told where it ends.
fn is_chunked(headers: &HeaderMap) -> bool {
    members(headers, header::TRANSFER_ENCODING)
        .last()
        .is_some_and(|last| last.eq_ignore_ascii_case("chunked"))
}

/// Whether the service closes the connection behind this answer.
pub(super) fn closes(headers: &HeaderMap) -> bool {
    members(headers, header::CONNECTION).any(|it| it.eq_ignore_ascii_case("close"))
}

/// The length of the body, if all that say one say the same, and how often it is said.
fn length(headers: &HeaderMap) -> Option<(u64, usize)> {
    let (mut found, mut times) = (None, 0);
    for member in members(headers, header::CONTENT_LENGTH) {
        if member.is_empty() || !member.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let length: u64 = member.parse().ok()?;
        if found.is_some_and(|found| found != length) {
            return None;
        }
        found = Some(length);
        times += 1;
    }
    Some((found?, times))
}

/// The length of a piece, and how many bytes it takes to say that; `None` if not all of them have come.
pub(super) fn chunk_size(bytes: &[u8]) -> Result<Option<(usize, u64)>, Fault> {
    let fault = Fault::NotHttp("the length of a piece of the body");
    let line = &bytes[..bytes.len().min(LONGEST_SIZE_LINE)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() == LONGEST_SIZE_LINE { Err(fault) } else { Ok(None) };
    };
    let Some(line) = line[..end].strip_suffix(b"\r") else { return Err(fault) };
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let is_extension = |rest: &[u8]| {
        let begin = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
        let rest = &rest[begin.unwrap_or(rest.len())..];
        (rest.is_empty() || rest[0] == b';')
            && rest.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
    };
    if digits.is_empty() || digits.len() > 16 || !is_extension(extension) {
        return Err(fault);
    }
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    let size = u64::from_str_radix(digits, 16).map_err(|_| fault)?;
    Ok(Some((end + 1, size)))
}
