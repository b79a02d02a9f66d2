//! Which headers go on, in both directions.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

/// Headers of one connection only (RFC 9110 §7.6.1), which are never passed on.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// What a client's request carries that is none of the service's business: who asked and from where, what
/// the client's browser keeps for this host, how we were to answer.
static PRIVATE: [HeaderName; 21] = [
    header::HOST,
    header::EXPECT,
    header::COOKIE,
    header::ORIGIN,
    header::REFERER,
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-request-id"),
    super::request::OWN_SLOT,
    // What is another method or another path to some services would go past the rules for these.
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-host"),
];

/// Headers that carry credentials of any kind, and what decides on how a body is read.
static CREDENTIALS: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// What an answer carries that is meant for whoever holds the credential, or for another host name.
static ANSWER_PRIVATE: [HeaderName; 7] = [
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::CONTENT_SECURITY_POLICY,
    header::ALT_SVC,
    header::SERVER,
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("clear-site-data"),
];

/// What the service says to browsers of other pages: here the connection says that.
const CORS: &str = "access-control-";
/// What browsers add about the page: it is none of the service's business.
const FETCH_METADATA: &str = "sec-fetch-";

/// Takes away what belongs to one connection; gives whether trailers are welcome.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) -> bool {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let trailers = headers.get_all(header::TE).iter().any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.split(',').any(|it| it.trim().eq_ignore_ascii_case("trailers"))
    });
    for name in named {
        // Naming these takes nothing away from a request that it needs to be understood.
        if name != header::HOST && name != header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
    remove_all(headers, |name| HOP_BY_HOP.contains(name));
    trailers
}

/// The headers that hold the client's credential: the slot it was taken from, and others, for clients that
/// fill one slot with it fill another, too. None of them goes on.
pub(super) fn that_hold(headers: &HeaderMap, shown: &str, slot: HeaderName) -> Holders {
    let finder = shown.as_bytes();
    let holds = |value: &HeaderValue| {
        !finder.is_empty() && value.as_bytes().windows(finder.len()).any(|part| part == finder)
    };
    let mut found: Holders = headers
        .iter()
        .filter(|(name, value)| **name != slot && value.len() >= finder.len() && holds(value))
        .map(|(name, _)| name.clone())
        .collect();
    let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if basic.is_some_and(|value| basic_holds(value, shown)) {
        found.push(header::AUTHORIZATION);
    }
    found.push(slot);
    found
}

/// Seldom more than one.
pub(super) type Holders = SmallVec<[HeaderName; 2]>;

/// Whether `Basic …` (RFC 7617) holds a text.
fn basic_holds(value: &str, text: &str) -> bool {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let encoded = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let decoded = encoded.and_then(|(_, rest)| BASE64_STANDARD.decode(rest.trim()).ok());
    let decoded = decoded.map(zeroize::Zeroizing::new);
    decoded.is_some_and(|it| std::str::from_utf8(&it).is_ok_and(|pair| pair.contains(text)))
}

/// Takes away what stands behind a body and is not the client's to say: what stands before it neither
/// passes, and what the credential goes into.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap, reserved: &[HeaderName]) {
    strip_hop_by_hop(trailers);
    remove_all(trailers, |name| {
        is_private(name) || CREDENTIALS.contains(name) || reserved.contains(name)
    });
}

/// A client's headers as the service gets them, without any credential yet.
pub(super) fn for_service(headers: &mut HeaderMap, scrubs: bool) {
    let trailers = strip_hop_by_hop(headers);
    remove_all(headers, is_private);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if scrubs {
        // What is compressed cannot be looked through, and a range may begin within a secret.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
}

/// A service's headers as the client gets them.
pub(crate) fn for_client(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    remove_all(headers, |name| ANSWER_PRIVATE.contains(name) || name.as_str().starts_with(CORS));
}

fn is_private(name: &HeaderName) -> bool {
    PRIVATE.contains(name) || name.as_str().starts_with(FETCH_METADATA)
}

/// Takes headers away. A request has few, and what may not pass are many: so it is asked of each that is
/// there.
fn remove_all(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let found: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::request::OWN_SLOT, *};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_connection_names_goes_too() {
        let mut map = headers(&[
            ("connection", "close, X-Secret-Hop"),
            ("connection", "keep-alive,x-other"),
            ("x-secret-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("accept", "*/*"),
        ]);
        assert!(strip_hop_by_hop(&mut map));
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn a_request_keeps_its_length_whatever_connection_names() {
        let mut map = headers(&[("connection", "content-length, host"), ("content-length", "5")]);
        strip_hop_by_hop(&mut map);
        assert!(map.contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn the_clients_key_goes_wherever_it_stands() {
        let mut map = headers(&[
            ("authorization", "Bearer kr_live_1"),
            ("x-keyreeve-key", "kr_live_1"),
            ("x-custom", "a kr_live_1 b"),
            ("accept", "kr_live_2"),
        ]);
        let basic = headers(&[("authorization", "Basic dTprcl9saXZlXzE=")]);
        let holders = that_hold(&basic, "kr_live_1", OWN_SLOT);
        assert_eq!(*holders, [header::AUTHORIZATION, OWN_SLOT]);
        for name in that_hold(&map, "kr_live_1", OWN_SLOT) {
            map.remove(name);
        }
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn nothing_of_the_client_reaches_the_service() {
        let mut map = headers(&[
            ("cookie", "session=1"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-keyreeve-key", "ours"),
            ("sec-fetch-site", "cross-site"),
            ("range", "bytes=0-1"),
            ("accept-encoding", "gzip"),
            ("content-type", "text/plain"),
        ]);
        for_service(&mut map, true);
        let left: Vec<_> =
            map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!(map[header::ACCEPT_ENCODING], "identity");
        assert_eq!(map[header::CONTENT_TYPE], "text/plain");
    }
}
