//! Heads of messages: a request's is written, an answer's is read.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    response,
};
use httparse::{ParserConfig, Status};

use super::{
    Fault,
    framing::{self, Framing},
    room::Room,
};
use crate::upstream::dial::MOST_HEADERS;

/// So many headers are added to an answer before it goes to the client.
const ADDED: usize = 3;

/// The head of an answer, and how the rest of it is read.
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) framing: Framing,
    /// Whether the service keeps the connection.
    pub(super) may_be_used_again: bool,
}

impl Head {
    /// Whether another one follows, of the answer itself. Not after 101, which ends HTTP.
    pub(super) fn is_interim(&self) -> bool {
        self.parts.status.is_informational() && self.parts.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Whether services expect a length with this method, even if there is no body (RFC 9110 §8.6).
pub(crate) fn expects_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Writes the head of a request with a body of that length. The host and the length are written here,
/// whatever the headers say.
pub(super) fn write<B>(out: &mut Vec<u8>, request: &Request<B>, host: &HeaderValue, length: usize) {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for piece in [request.method().as_str(), " ", path, " HTTP/1.1\r\nhost: "] {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in request.headers() {
        if matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING) {
            continue;
        }
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    if length > 0 || expects_length(request.method()) {
        out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads the head of an answer to a request with that method; `None` if not all of it has come. `seen` is
/// how much was looked at before.
pub(super) fn read(
    room: &mut Room,
    method: &Method,
    seen: &mut usize,
) -> Result<Option<Head>, Fault> {
    let filled = room.filled();
    // What comes byte by byte is not looked through with each of them: only when a line has ended.
    let has_more = filled.get(*seen..).is_some_and(|new| new.contains(&b'\n'));
    let is_first = std::mem::replace(seen, filled.len()) == 0;
    if filled.is_empty() || !(is_first || has_more) {
        return if room.is_at_its_limit() { Err(Fault::HeadTooLarge) } else { Ok(None) };
    }
    if matches!(filled[0], b'\r' | b'\n') {
        // Which would be passed over, and read again with each that comes.
        return Err(Fault::NotHttp("an empty line before the head of the answer"));
    }
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut answer,
        filled,
        &mut headers,
    );
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if room.is_at_its_limit() => return Err(Fault::HeadTooLarge),
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
        Err(_) => return Err(Fault::NotHttp("the head of the answer")),
    };
    let version = match answer.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Fault::NotHttp("the status"))?;
    let headers = owned(&filled[..length], answer.headers)?;
    let (mut parts, ()) = Response::new(()).into_parts();
    (parts.status, parts.version, parts.headers) = (status, version, headers);
    let (framing, is_plain) = framing::of(method, &mut parts)?;
    let may_be_used_again = is_plain
        && has_plain_lines(&filled[..length])
        && version == Version::HTTP_11
        && !framing::closes(&parts.headers);
    room.take(length);
    *seen = 0;
    Ok(Some(Head { parts, framing, may_be_used_again }))
}

/// Whether each line ends with both characters: a line feed alone ends one for some, `httparse` among them,
/// and not for others. A carriage return stands nowhere else, for that it refuses.
fn has_plain_lines(head: &[u8]) -> bool {
    let balance =
        head.iter().map(|byte| i32::from(*byte == b'\r') - i32::from(*byte == b'\n')).sum::<i32>();
    balance == 0
}

/// The headers, whose values share one copy of the head.
fn owned(head: &[u8], headers: &[httparse::Header<'_>]) -> Result<HeaderMap, Fault> {
    let copy = Bytes::copy_from_slice(head);
    let begin = head.as_ptr().addr();
    let mut owned = HeaderMap::with_capacity(headers.len() + ADDED);
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let name = name.map_err(|_| Fault::NotHttp("the name of a header"))?;
        let at = header.value.as_ptr().addr().wrapping_sub(begin);
        let value = copy.get(at..at + header.value.len()).map(|value| copy.slice_ref(value));
        let value = value.and_then(|value| HeaderValue::from_maybe_shared(value).ok());
        owned.append(name, value.ok_or(Fault::NotHttp("the value of a header"))?);
    }
    Ok(owned)
}
