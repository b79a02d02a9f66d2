//! Browsers: which pages may call, by the Fetch standard (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::{PREFIX, Proxy, Refusal, RefusalKind, Served};
use crate::body::AnswerBody;

/// How long a browser may remember what it was told, in seconds.
const REMEMBER_S: u32 = 600;

/// Whether a browser asks if it may ask.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl Proxy {
    /// The origin, if a connection of that name allows calls from there. Whose connection it is, is told
    /// by the credential, and a browser shows none when it asks if it may ask.
    pub(super) fn allowed_origin(&self, connection: &str, origin: &str) -> Option<HeaderValue> {
        let allowed = self.engine.any_connection_allows_origin(connection, origin);
        allowed.then(|| HeaderValue::from_str(origin).ok()).flatten()
    }

    pub(super) fn preflight<B>(
        &self,
        request: &Request<B>,
        origin: Option<&HeaderValue>,
    ) -> Served {
        let behind = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        let name = behind.split('/').next().unwrap_or_default();
        let origin = origin.and_then(|origin| origin.to_str().ok());
        let Some(allowed) = origin.and_then(|origin| self.allowed_origin(name, origin)) else {
            return Served { answer: Err(Refusal::new(RefusalKind::Origin)), cors: None };
        };
        let mut response = Response::new(AnswerBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let asked = |name| request.headers().get(name).cloned();
        let headers = response.headers_mut();
        if let Some(method) = asked(header::ACCESS_CONTROL_REQUEST_METHOD) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
        }
        // A header that is not to be passed on is stripped from the call itself.
        if let Some(wanted) = asked(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(REMEMBER_S));
        Served { answer: Ok(response), cors: Some(allowed) }
    }
}
