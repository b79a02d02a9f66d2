//! What surrounds every request: its id, its time limit, a net for panics, security headers, one
//! log line and one figure. Verification is served here in place; the rest goes to the router.

use std::{
    any::Any,
    future::poll_fn,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, extract::MatchedPath};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use keyreeve_api::ErrorCode;
use keyreeve_core::{
    Invalid,
    client_address::{TrustedProxies, client_address},
};
use keyreeve_engine::{Clock, Engine, RequestId, RequestMeta};
use tokio::time::error::Elapsed;
use tower::ServiceExt;
use tracing::{debug, error, info};

use crate::{
    AuthorizerOptions, Passed,
    api::{AppState, import},
    authenticate::Arrival,
    authz,
    connection::Peer,
    metrics::{HotRoute, Metrics},
    options::Limits,
    problem::{self, Failure},
    response_body::ResponseBody,
    vault_api, verify,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What scripts of allowed origins may read beyond the headers that all may read.
const EXPOSED: &str = "x-request-id, idempotency-replayed, retry-after, www-authenticate, location";
/// Methods that figures and the log name. Any other token could be anything, even a secret, and
/// every new one would be one more time series.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// Serves requests. One for all cores; everything in it is read-mostly.
pub(crate) struct Service {
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) router: Router,
    /// What handlers share that are not reached through the router.
    pub(crate) state: AppState,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    /// Origins that browsers may call from.
    pub(crate) origins: Vec<HeaderValue>,
    pub(crate) tls: bool,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) authorizer: Option<Arc<AuthorizerOptions>>,
}

/// What the requests of one connection share. Each of them holds on to it: to count who holds the service
/// itself would be dear, for all cores would write to one place with each request.
pub(crate) struct Connected {
    pub(crate) service: Arc<Service>,
    pub(crate) peer: Peer,
}

/// Who may be reading an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// A browser, too, which could show it as a page.
    Anybody,
    /// A program that sent JSON, which no link and no form can do. What tells browsers how to show a
    /// page is lost on it, and verdicts are many.
    Program,
}

impl Connected {
    /// Serves one request. Whatever happens inside, there is an answer.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async function keeps what it is given beside what it makes of it: the request would \
                  be there twice, and each is moved into its connection with all its room"
    )]
    pub(crate) fn serve(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + 'static {
        async move {
            let (service, peer) = (&*self.service, self.peer);
            let id = service.request_id(&request);
            let origin = service.allowed_origin(&request);
            let gateway = request.uri().path().starts_with(authz::PREFIX);
            // A gateway tells where the request it asks about came from, once it showed its secret.
            let ip = if gateway { Ok(peer.ip) } else { service.client(&request, peer.ip) };
            let Ok(ip) = ip else {
                let mut response =
                    Failure::field("header x-forwarded-for", "must be a list of IP addresses")
                        .respond(&id);
                service.finish(response.headers_mut(), &id, origin, Reader::Anybody);
                return response.map(ResponseBody::from);
            };
            let arrival = Arrival { meta: RequestMeta { id, ip }, local_user: peer.local_user };
            let mut reader = Reader::Anybody;
            // What takes more room than a verification is boxed: each request would carry it about.
            let mut response = if let (true, Some(options)) = (gateway, &service.authorizer) {
                Box::pin(service.authorize(request, options, &arrival))
                    .await
                    .map(ResponseBody::from)
            } else if request.uri().path() == verify::PATH && request.method() == Method::POST {
                let verify = pin!(service.verify(&mut request, &arrival));
                let served = AssertUnwindSafe(verify).catch_unwind().await;
                let response =
                    served.unwrap_or_else(|panic| panicked(&*panic, &id).map(ResponseBody::from));
                service.note_verify(response.status().as_u16(), &id);
                if response.status() == StatusCode::OK {
                    reader = Reader::Program;
                }
                response
            } else if service.state.data_plane.takes(request.uri().path()) {
                let (mut response, origin) = service.pass(request, &arrival).await;
                // What passes through says itself how it may be kept and shown.
                service.finish_passed(response.headers_mut(), &id, origin);
                return response.map(ResponseBody::from);
            } else if request.uri().path().starts_with(vault_api::PREFIX)
                && request.method() != Method::OPTIONS
            {
                Box::pin(service.vault(request, &arrival)).await.map(ResponseBody::from)
            } else {
                Box::pin(service.route(request, arrival)).await.map(ResponseBody::from)
            };
            service.finish(response.headers_mut(), &id, origin, reader);
            response
        }
    }
}

impl Service {
    /// Whether a request is given up once whoever sent it is gone. All others are done to their end, which
    /// is near, where it is for us to choose: over HTTP/2 and TLS hyper drops what it has nobody to tell.
    pub(crate) fn gives_up(&self, request: &Request<Incoming>) -> bool {
        self.state.data_plane.gives_up(request.uri().path())
    }

    /// Where the request came from, through proxies whose word is taken.
    fn client(
        &self,
        request: &Request<Incoming>,
        peer: Option<IpAddr>,
    ) -> Result<Option<IpAddr>, Invalid> {
        let Some(peer) = peer.filter(|peer| self.trusted_proxies.contains(*peer)) else {
            return Ok(peer);
        };
        let mut lines = Vec::new();
        for line in request.headers().get_all("x-forwarded-for") {
            lines.push(line.to_str().map_err(|_| Invalid::new("must be visible ASCII"))?);
        }
        if lines.is_empty() {
            return Ok(Some(peer));
        }
        client_address(peer, true, lines.into_iter(), &self.trusted_proxies).map(Some)
    }

    /// Answers a gateway. The body of what it asks about is never looked at.
    async fn authorize(
        &self,
        request: Request<Incoming>,
        options: &AuthorizerOptions,
        arrival: &Arrival,
    ) -> Response<Body> {
        let (parts, _) = request.into_parts();
        let id = arrival.meta.id;
        let answer = authz::serve(&self.engine, &self.metrics, options, &parts, arrival);
        let served = pin!(AssertUnwindSafe(answer).catch_unwind());
        let response = match within(self.limits.request_timeout, served).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => panicked(&*panic, &id),
            Err(_) => Failure::new(ErrorCode::Timeout).respond(&id),
        };
        let status = response.status().as_u16();
        self.metrics.count_hot(HotRoute::Authorize, status);
        // As with verdicts. What a client is refused for, its gateway logs.
        debug!(request.id = id.as_str(), route = authz::PREFIX, status, "served");
        response
    }

    /// The request's origin, if browsers may call from there.
    fn allowed_origin(&self, request: &Request<Incoming>) -> Option<&HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        let origin = request.headers().get(header::ORIGIN)?;
        self.origins.iter().find(|allowed| *allowed == origin)
    }

    fn request_id(&self, request: &Request<Incoming>) -> RequestId {
        request
            .headers()
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .and_then(RequestId::from_caller)
            .unwrap_or_else(|| self.engine.next_request_id())
    }

    async fn verify(
        &self,
        request: &mut Request<Incoming>,
        arrival: &Arrival,
    ) -> Response<ResponseBody> {
        let most_body_bytes = self.limits.max_body_bytes;
        let (engine, metrics) = (&self.engine, &self.metrics);
        let verdict = pin!(verify::verify(engine, metrics, request, arrival, most_body_bytes));
        match within(self.limits.request_timeout, verdict).await {
            Ok(Ok(response)) => response.map(ResponseBody::from),
            Ok(Err(failure)) => failure.respond(&arrival.meta.id).map(ResponseBody::from),
            Err(_) => {
                Failure::new(ErrorCode::Timeout).respond(&arrival.meta.id).map(ResponseBody::from)
            }
        }
    }

    /// Verdicts are too many for a log line each; refusals and failures are not.
    fn note_verify(&self, status: u16, id: &RequestId) {
        self.metrics.count_hot(HotRoute::Verify, status);
        let (method, route) = ("POST", verify::PATH);
        if status == 200 {
            debug!(request.id = id.as_str(), method, route, status, "served");
        } else {
            info!(request.id = id.as_str(), method, route, status, "served");
        }
    }

    /// Has a request served that is not for us. It may be a stream without end, so there is no limit on
    /// its time here.
    async fn pass(
        &self,
        request: Request<Incoming>,
        arrival: &Arrival,
    ) -> (Response<Body>, Option<HeaderValue>) {
        let id = arrival.meta.id;
        let method = method_label(request.method());
        let passing = self.state.data_plane.pass(request, arrival.meta);
        match AssertUnwindSafe(passing).catch_unwind().await {
            Ok(Passed { answer: Ok(response), cors }) => {
                debug!(
                    request.id = id.as_str(),
                    method,
                    status = response.status().as_u16(),
                    "passed"
                );
                (response, cors)
            }
            Ok(Passed { answer: Err(refused), cors }) => {
                let mut failure = Failure::new(refused.code);
                if let Some(detail) = refused.detail {
                    failure = failure.detail(detail);
                }
                if let Some(seconds) = refused.retry_after_s {
                    failure = failure.retry_after(seconds);
                }
                let code = refused.code.as_str();
                info!(request.id = id.as_str(), method, code, "not passed");
                let mut response = failure.respond(&id);
                let never = HeaderValue::from_static("no-store");
                response.headers_mut().insert(header::CACHE_CONTROL, never);
                (response, cors)
            }
            Err(panic) => (panicked(&*panic, &id), None),
        }
    }

    fn finish_passed(&self, headers: &mut HeaderMap, id: &RequestId, origin: Option<HeaderValue>) {
        headers.insert(REQUEST_ID, verify::request_id_header(id));
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        }
        if self.tls {
            headers.insert(
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::from_static("max-age=31536000"),
            );
        }
    }

    /// Answers a client of Vault. What it was told is in the audit, one by one, so only what went
    /// wrong is worth a line of the log.
    async fn vault(&self, request: Request<Incoming>, arrival: &Arrival) -> Response<Body> {
        let begun = self.clock.now();
        let id = arrival.meta.id;
        let method = method_label(request.method());
        let answer = vault_api::serve(&self.state, request.map(Body::new), arrival);
        let served = pin!(AssertUnwindSafe(answer).catch_unwind());
        let response = match within(self.limits.request_timeout, served).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => panicked(&*panic, &id),
            Err(_) => vault_api::out_of_time(&id),
        };
        let status = response.status().as_u16();
        let took = Duration::try_from(self.clock.now().duration_since(begun)).unwrap_or_default();
        self.metrics.count_hot(HotRoute::Vault, status);
        self.metrics.time_vault(took.as_secs_f64());
        let (route, took_us) = (vault_api::ROUTE, took.as_micros());
        if status < 300 {
            debug!(request.id = id.as_str(), method, route, status, took_us, "served");
        } else {
            info!(request.id = id.as_str(), method, route, status, took_us, "served");
        }
        response
    }

    async fn route(&self, request: Request<Incoming>, arrival: Arrival) -> Response<Body> {
        let begun = self.clock.now();
        let id = arrival.meta.id;
        let method = method_label(request.method());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(arrival);
        let patience = match request.uri().path() {
            import::PATH => self.limits.request_timeout.saturating_mul(import::PATIENCE),
            _ => self.limits.request_timeout,
        };
        let serve = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        let mut response = match tokio::time::timeout(patience, serve).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(panic)) => panicked(&*panic, &id),
            Err(_) => Failure::new(ErrorCode::Timeout).respond(&id),
        };
        // The router's template, never the path itself: a path can hold anything.
        let route = response
            .extensions_mut()
            .remove::<MatchedPath>()
            .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
        if let Some(failure) = problem::unwritten(&mut response) {
            // What layers added, such as CORS, stays; what described the empty body does not.
            let mut headers = std::mem::take(response.headers_mut());
            headers.remove(header::CONTENT_LENGTH);
            response = failure.respond(&id);
            response.headers_mut().extend(headers);
        }
        let took = self.clock.now().duration_since(begun);
        let took = Duration::try_from(took).unwrap_or_default();
        let status = response.status().as_u16();
        self.metrics.count_request(&route, method, status, took.as_secs_f64());
        let took_us = took.as_micros();
        if matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics") {
            debug!(request.id = id.as_str(), method, route, status, took_us, "served");
        } else {
            info!(request.id = id.as_str(), method, route, status, took_us, "served");
        }
        response
    }

    fn finish(
        &self,
        headers: &mut HeaderMap,
        id: &RequestId,
        origin: Option<&HeaderValue>,
        reader: Reader,
    ) {
        headers.insert(REQUEST_ID, verify::request_id_header(id));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if reader == Reader::Anybody {
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            headers.insert(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
            );
        }
        if !self.origins.is_empty() {
            // The router's layer says more than this where it has to, for preflights.
            headers.entry(header::VARY).or_insert(HeaderValue::from_static("origin"));
        }
        if let Some(origin) = origin {
            // Inserted, not appended: the router's layer may have put the same value there.
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers
                .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        if self.tls {
            headers.insert(
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::from_static("max-age=31536000"),
            );
        }
    }
}

/// As `tokio::time::timeout`. Most often the future is ready at once, and no alarm has to be set.
///
/// It takes the future where it stands: an async function keeps what it is given beside what it makes
/// of it, so each layer that took it by value would double the room of a request, and all of that
/// is moved into the connection for each.
async fn within<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Result<F::Output, Elapsed> {
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Box::pin(tokio::time::timeout(limit, future)).await,
    }
}

fn method_label(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// A panic is a bug in one request; the others go on. Its message is not shown or logged,
/// because it may hold what the request held; the panic hook has logged the place.
fn panicked(_panic: &(dyn Any + Send), id: &RequestId) -> Response<Body> {
    error!(request.id = id.as_str(), "a request panicked");
    Failure::new(ErrorCode::Internal).respond(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_methods_are_named() {
        assert_eq!(method_label(&Method::PATCH), "PATCH");
        for strange in [&b"get"[..], b"BREW", b"X-0123"] {
            assert_eq!(method_label(&Method::from_bytes(strange).unwrap()), "other");
        }
    }
}
