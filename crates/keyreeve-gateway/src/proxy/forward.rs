//! The call is sent on, and answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header, request::Parts,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use keyreeve_core::{
    egress::{Scheme, Target},
    vault::VersionNumber,
};
use keyreeve_engine::{
    RequestMeta,
    connections::{Admitted, Client, Connection, Injection, Slot, Spent},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Proxy, Refusal, RefusalKind, headers,
    inject::{self, Needs, Outgoing},
    kept::{self, Cached},
    proof::Proof,
    record::{CallRecord, Ending, Used},
};
use crate::{
    body::{AnswerBody, BodyError, Cut, RequestBody, SignedRequest, StreamedRequest},
    upstream::{Breaker, Destination, DialError, Lane, Pool, Sender},
};

/// One call on its way.
pub(super) struct Call {
    pub(super) connection: Arc<Connection>,
    pub(super) destination: Destination,
    pub(super) lane: Lane,
    pub(super) breaker: Arc<Breaker>,
    pub(super) record: CallRecord,
    pub(super) cut: Cut,
}

impl Call {
    /// Lets a call through to the service unless that is left alone for a while.
    pub(super) fn admit_to_service(&self, proxy: &Proxy) -> Result<(), Refusal> {
        self.breaker.admit(proxy.now_ns()).map_err(|wait| {
            let seconds = wait.as_secs().saturating_add(1);
            Refusal::new(RefusalKind::CircuitOpen).retry_after(seconds)
        })
    }

    /// Records a call that was not answered by the service.
    pub(super) fn not_answered(self, refusal: Refusal) -> Refusal {
        let status = match refusal.kind {
            RefusalKind::TimedOut => 504,
            RefusalKind::Unreachable | RefusalKind::BadAnswer => 502,
            RefusalKind::TooLarge => 413,
            RefusalKind::Invalid => 400,
            _ => 503,
        };
        Ending::new(self.record.answered(status), None).end(0, 0, false);
        refusal
    }
}

/// What is asked of a service.
struct Asked {
    parts: Parts,
    body: Incoming,
    /// Where the bytes of the body are counted; `None` if there is none.
    sent: Option<Arc<AtomicU64>>,
    target: Target,
    client: Client,
    meta: RequestMeta,
}

/// A body that can be sent more than once, or not.
enum Sendable {
    Whole(Bytes),
    Once(Option<RequestBody>),
    /// Signed piece by piece as it comes, and how long it is.
    Signed(Option<Box<StreamedRequest>>, u64),
}

impl Sendable {
    fn take(&mut self) -> Option<RequestBody> {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => Some(RequestBody::Empty),
            Self::Whole(bytes) => Some(RequestBody::Whole(Some(bytes.clone()))),
            Self::Once(body) => body.take(),
            Self::Signed(..) => None,
        }
    }

    fn can_be_sent(&self) -> bool {
        !matches!(self, Self::Once(None) | Self::Signed(None, _))
    }
}

impl Proxy {
    /// Puts the credential in, sends the call on, and gives the answer as the client gets it. From here on
    /// the call leaves a record, whatever becomes of it.
    pub(super) async fn forward(
        &self,
        mut parts: Parts,
        body: Incoming,
        admitted: Admitted,
        credential_header: HeaderName,
        meta: RequestMeta,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let Admitted { connection, target, credential, client, units, spent, slot } = admitted;
        let mut call =
            self.begin(&connection, &client, &parts.method, &target, (units, spent, slot));
        let mut proof = match self.proof(&client, &connection, credential, meta).await {
            Ok(proof) => proof,
            Err(refusal) => return Err(call.not_answered(refusal)),
        };
        let is_upgrade = super::upgrade::is_wanted(&parts);
        let upgrade_headers = is_upgrade.then(|| super::upgrade::headers(&parts.headers));
        let scrubs = !proof.scrub().is_empty();
        headers::for_service(&mut parts.headers, &credential_header, scrubs);
        if let Some(more) = upgrade_headers {
            parts.headers.extend(more);
            let upgraded = self.forward_upgrade(parts, call, &target, &client, &proof);
            return Box::pin(upgraded).await;
        }
        let cached = self.cached(&call, &client, &parts, &target, &proof);
        if let Some(Cached::Answer(kept)) = cached {
            call.record.sent_with(proof.version());
            return Ok(kept::again(call, kept));
        }
        let sent = (!body.is_end_stream()).then(|| call.record.request_bytes());
        let asked = Asked { parts, body, sent, target, client, meta };
        let method = asked.parts.method.clone();
        match self.exchange(&call, &mut proof, asked).await {
            Ok((response, used)) => {
                let answer = call.answer(&proof, response, Some(used), &method)?;
                Ok(self.keep(&connection, cached, answer))
            }
            Err(refusal) => Err(call.not_answered(refusal)),
        }
    }

    /// Sends the call on, once more where the service refuses what it was sent with and there is another.
    async fn exchange(
        &self,
        call: &Call,
        proof: &mut Proof,
        asked: Asked,
    ) -> Result<(Response<Incoming>, Used), Refusal> {
        let Asked { mut parts, body, sent, target, client, meta } = asked;
        let connection = &call.connection;
        let headers = &parts.headers;
        let mut sendable = self.sendable(call, body, headers, proof.injection(), sent).await?;
        let mut is_first = true;
        loop {
            let may_be_replaced = proof.may_be_replaced();
            let outgoing = Outgoing::new(
                parts.method.clone(),
                &connection.origin,
                &connection.settings.base_url.path,
                &target,
                proof.injection(),
                if may_be_replaced {
                    parts.headers.clone()
                } else {
                    std::mem::take(&mut parts.headers)
                },
            );
            let request = self.request(outgoing, proof, &mut sendable)?;
            let (response, used) = self.send(call, request, proof.version()).await?;
            let status = response.status();
            if status == 401 && std::mem::take(&mut is_first) {
                let minted = self.another_token(&client, connection, proof).await;
                if minted.is_some() && sendable.can_be_sent() {
                    proof.minted = minted;
                    continue;
                }
            }
            if status != 401 && status != 403 {
                self.engine.credential_accepted(&client, connection, proof.version());
            } else {
                let version = proof.version();
                let other = self.engine.credential_refused(&client, connection, version, meta);
                if let Some(other) =
                    Box::pin(other).await?.filter(|_| may_be_replaced && sendable.can_be_sent())
                {
                    *proof = self.proof(&client, connection, other, meta).await?;
                    continue;
                }
            }
            return Ok((response, used));
        }
    }

    fn begin(
        &self,
        connection: &Arc<Connection>,
        client: &Client,
        method: &Method,
        target: &Target,
        taken: (u32, Spent, Slot),
    ) -> Call {
        let lane = Lane(connection.clone());
        Call {
            record: CallRecord::new(self, connection, client, method, target, taken),
            destination: Destination {
                origin: connection.origin.clone(),
                allow_internal: connection.settings.allow_internal,
            },
            breaker: self.breakers.of(&lane),
            lane,
            connection: connection.clone(),
            cut: self.cut_of(&client.project),
        }
    }

    /// The body as it can be sent: whole where the credential goes into it, else as it comes.
    async fn sendable(
        &self,
        call: &Call,
        body: Incoming,
        headers: &HeaderMap,
        injection: &Injection,
        sent: Option<Arc<AtomicU64>>,
    ) -> Result<Sendable, Refusal> {
        let settings = &call.connection.settings;
        let limits = &settings.limits;
        let most = limits.max_request_bytes;
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        let too_large = |most: u64| {
            let words = format!("the body must be at most {most} bytes for this connection");
            Refusal::saying(RefusalKind::TooLarge, words)
        };
        if let Some(most) = most.filter(|most| announced.is_some_and(|size: u64| size > *most)) {
            return Err(too_large(most));
        }
        // Counted only where there is a body.
        let Some(sent) = sent else { return Ok(Sendable::Whole(Bytes::new())) };
        let idle = settings.patience.idle();
        let streamed = |body, sent| {
            let (cut, reserved) = (call.cut.clone(), inject::reserved(injection));
            Box::new(StreamedRequest::new(body, most, idle, cut, sent, reserved))
        };
        if inject::needs(injection) == Needs::Nothing {
            return Ok(Sendable::Once(Some(RequestBody::Stream(streamed(body, sent)))));
        }
        let is_long = |size: &u64| *size > limits.max_buffered_bytes;
        if let Some(length) = announced.filter(is_long)
            && inject::signs_pieces(injection, &call.connection.origin)
        {
            return Ok(Sendable::Signed(Some(streamed(body, sent)), length));
        }
        let most = most.unwrap_or(u64::MAX).min(limits.max_buffered_bytes);
        let limit = usize::try_from(most).unwrap_or(usize::MAX);
        match Box::pin(timeout(idle, Limited::new(body, limit).collect())).await {
            Ok(Ok(collected)) => {
                let bytes = collected.to_bytes();
                sent.store(bytes.len() as u64, Ordering::Relaxed);
                Ok(Sendable::Whole(bytes))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most)),
            Ok(Err(_)) => {
                Err(Refusal::saying(RefusalKind::Invalid, "the body did not arrive whole"))
            }
            Err(_) => Err(Refusal::saying(RefusalKind::Invalid, "the body did not arrive in time")),
        }
    }

    fn request(
        &self,
        mut outgoing: Outgoing,
        proof: &Proof,
        sendable: &mut Sendable,
    ) -> Result<Request<RequestBody>, Refusal> {
        let injection = proof.injection();
        proof.set_headers(&mut outgoing)?;
        if let (Needs::Whole, Sendable::Whole(bytes)) = (inject::needs(injection), &*sendable) {
            let bytes = outgoing.finish(injection, bytes.clone(), self.clock.now())?;
            outgoing.headers.remove(header::CONTENT_LENGTH);
            let body =
                if bytes.is_empty() { RequestBody::Empty } else { RequestBody::Whole(Some(bytes)) };
            return outgoing.into_request(body);
        }
        if let Sendable::Signed(stream, length) = sendable {
            let stream = stream.take().ok_or_else(|| Refusal::new(RefusalKind::Internal))?;
            let signer = outgoing.sign_pieces(injection, *length, self.clock.now())?;
            let signed = SignedRequest::new(*stream, signer, *length);
            return outgoing.into_request(RequestBody::Signed(Box::new(signed)));
        }
        let body = sendable.take().ok_or_else(|| Refusal::new(RefusalKind::Internal))?;
        outgoing.into_request(body)
    }

    /// Sends a request, on a connection that waits or on a new one. What fails on one that waited is sent
    /// once more, on a new one, where nothing is done twice by that.
    pub(super) async fn send(
        &self,
        call: &Call,
        mut request: Request<RequestBody>,
        version: VersionNumber,
    ) -> Result<(Response<Incoming>, Used), Refusal> {
        call.admit_to_service(self)?;
        let patience = call.connection.settings.patience;
        let mut waiting = Pool::take(&call.lane, Instant::now());
        loop {
            let is_reused = waiting.is_some();
            let mut sender = match waiting.take() {
                Some(sender) => sender,
                // Boxed, as everything that comes seldom: else each call would carry its room.
                None => Box::pin(self.dial(call, patience.connect(), false)).await?,
            };
            prepare(&mut request, &sender, &call.destination)?;
            call.record.sent_with(version);
            let again = (is_reused && is_repeatable(&request)).then(|| copy(&request));
            let uploaded = request.body().uploaded();
            let outcome = tokio::select! {
                outcome = sender.send(request) => outcome,
                () = too_late(uploaded.clone(), patience.first_byte()) => {
                    call.breaker.failed(self.now_ns());
                    debug!(connection = call.connection.name, "the service did not answer in time");
                    return Err(Refusal::new(RefusalKind::TimedOut));
                }
                () = call.cut.0.cancelled() => return Err(Refusal::new(RefusalKind::Unavailable)),
            };
            match outcome {
                Ok(response) => {
                    call.breaker.succeeded();
                    let lane = call.lane.clone();
                    return Ok((response, Used { lane, sender, uploaded }));
                }
                Err(Failed { unsent: Some(unsent), .. }) if is_reused => request = *unsent,
                Err(failed) => match again {
                    Some(copy) => request = copy,
                    None => return Err(self.failed(call, &failed.error, uploaded.as_ref())),
                },
            }
        }
    }

    /// Says what went wrong, as far as the caller may know.
    fn failed(
        &self,
        call: &Call,
        error: &hyper::Error,
        uploaded: Option<&CancellationToken>,
    ) -> Refusal {
        // What the client did, or did not do, is not the service's fault.
        if let Some(own) =
            std::error::Error::source(error).and_then(|it| it.downcast_ref::<BodyError>())
        {
            return match own {
                BodyError::TooLong(most) => {
                    let words =
                        format!("the body must be at most {most} bytes for this connection");
                    Refusal::saying(RefusalKind::TooLarge, words)
                }
                BodyError::Cut => Refusal::new(RefusalKind::Unavailable),
                _ => Refusal::saying(RefusalKind::Invalid, "the body did not arrive whole"),
            };
        }
        // Over HTTP/2 nobody tells whose fault it is while a body is on its way: perhaps the client's.
        if uploaded.is_none_or(CancellationToken::is_cancelled) {
            call.breaker.failed(self.now_ns());
        }
        warn!(connection = call.connection.name, %error, "the service broke off");
        if error.is_parse() {
            let words = "the service answered something that is no HTTP";
            return Refusal::saying(RefusalKind::BadAnswer, words);
        }
        Refusal::saying(RefusalKind::Unreachable, "the service broke off before it answered")
    }

    /// A new connection to the service.
    pub(super) async fn dial(
        &self,
        call: &Call,
        patience: Duration,
        only_http1: bool,
    ) -> Result<Sender, Refusal> {
        let dialled = self.dialer.dial(&call.destination, patience, only_http1).await;
        let dialled = dialled.inspect(|made| Pool::share(&call.lane, made, Instant::now()));
        dialled.map_err(|error| {
            let name = &call.connection.name;
            warn!(connection = name, error = full(&error), "no connection to the service");
            if let DialError::Forbidden(_) = error {
                self.figures.address_refused();
                let words = "the service's address is one that this connection may not call";
                return Refusal::saying(RefusalKind::Unreachable, words);
            }
            call.breaker.failed(self.now_ns());
            match error {
                DialError::TimedOut => Refusal::new(RefusalKind::TimedOut),
                DialError::Tls(_) => Refusal::saying(
                    RefusalKind::Unreachable,
                    "the service's certificate is not one that can be trusted, or it speaks no TLS",
                ),
                _ => Refusal::new(RefusalKind::Unreachable),
            }
        })
    }
}

/// An error with everything that caused it.
pub(crate) fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A request that was not answered.
pub(crate) struct Failed {
    pub(super) error: hyper::Error,
    /// The request itself, if nothing of it was sent.
    unsent: Option<Box<Request<RequestBody>>>,
}

impl Sender {
    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failed> {
        let failed = |mut error: hyper::client::conn::TrySendError<Request<RequestBody>>| {
            let unsent = error.take_message().map(Box::new);
            Failed { error: error.into_error(), unsent }
        };
        match self {
            Self::Http1(sender) => {
                // The one before may still have to be put away.
                if let Err(error) = sender.ready().await {
                    return Err(Failed { error, unsent: Some(Box::new(request)) });
                }
                sender.try_send_request(request).await.map_err(failed)
            }
            Self::Http2(shared) => {
                let sender = &mut shared.sender;
                if let Err(error) = sender.ready().await {
                    return Err(Failed { error, unsent: Some(Box::new(request)) });
                }
                sender.try_send_request(request).await.map_err(failed)
            }
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }
}

impl Outgoing {
    /// The request, addressed as HTTP/1.1 has it.
    pub(crate) fn into_request(self, body: RequestBody) -> Result<Request<RequestBody>, Refusal> {
        let uri = Uri::try_from(self.path.as_str()).map_err(|_| inject::unusable())?;
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        if request.body().is_end_stream() {
            // The length of a body that is not there would be taken from the next request.
            request.headers_mut().remove(header::CONTENT_LENGTH);
            if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
                request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        let host = HeaderValue::try_from(self.origin.authority());
        let host = host.map_err(|_| Refusal::new(RefusalKind::Internal))?;
        request.headers_mut().insert(header::HOST, host);
        Ok(request)
    }
}

/// Gives a request the form that the connection speaks: HTTP/2 has the host in the address.
pub(crate) fn prepare(
    request: &mut Request<RequestBody>,
    sender: &Sender,
    destination: &Destination,
) -> Result<(), Refusal> {
    if !sender.is_http2() {
        if request.version() == http::Version::HTTP_2 {
            // It was written for a connection that is gone.
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
            *request.version_mut() = http::Version::HTTP_11;
            let host = HeaderValue::try_from(destination.origin.authority());
            let host = host.map_err(|_| Refusal::new(RefusalKind::Internal))?;
            request.headers_mut().insert(header::HOST, host);
        }
        return Ok(());
    }
    let path = request.uri().path_and_query().cloned();
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(match destination.origin.scheme() {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    });
    uri.authority = destination.origin.authority().parse().ok();
    uri.path_and_query = path;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Refusal::new(RefusalKind::Internal))?;
    request.headers_mut().remove(header::HOST);
    *request.version_mut() = http::Version::HTTP_2;
    Ok(())
}

/// Done when the service has had all of the request for that long and has not answered.
async fn too_late(uploaded: Option<CancellationToken>, patience: Duration) {
    if let Some(uploaded) = uploaded {
        uploaded.cancelled().await;
    }
    sleep(patience).await;
}

/// Whether a request can be sent twice without doing anything twice (RFC 9110 §9.2.2).
fn is_repeatable(request: &Request<RequestBody>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_end_stream()
}

fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
