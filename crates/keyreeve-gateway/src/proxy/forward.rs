//! The call is sent on, and answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use keyreeve_core::{egress::Target, vault::VersionNumber};
use keyreeve_engine::{
    RequestMeta,
    connections::{Admitted, Client, Connection, Credential, Injection},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Proxy, Refusal, RefusalKind, headers,
    inject::{self, Needs, Outgoing},
    kept::{self, Cached},
    proof::Proof,
    record::{CallRecord, Ending, Used},
    send::{Answered, SendError, prepare},
};
use crate::{
    body::{AnswerBody, BodyError, Cut, RequestBody, ServiceBody, SignedRequest, StreamedRequest},
    cache::{CacheKey, Kept},
    upstream::{
        Breaker, Destination, DialError, Lane, MOST_HEAD_BYTES, MOST_HEADERS, Pool, Purpose, Sender,
    },
};

/// One call on its way.
pub(super) struct Call {
    pub(super) target: Target,
    pub(super) breaker: Arc<Breaker>,
    pub(super) record: CallRecord,
    pub(super) cut: Cut,
    pub(super) meta: RequestMeta,
}

/// What a call is answered with.
pub(super) enum Forwarded {
    /// What the service said, what it was asked with, and where the answer is kept if it may be.
    Answered {
        response: Response<ServiceBody>,
        used: Used,
        proof: Proof,
        place: Option<Box<CacheKey>>,
    },
    /// What it said before.
    Kept(Kept),
}

impl Call {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        self.record.connection()
    }

    pub(super) fn client(&self) -> &Client {
        self.record.client()
    }

    /// The call as the service gets it, with these headers and what of the credential goes into the path.
    fn outgoing(&self, method: &Method, proof: &Proof, headers: HeaderMap) -> Outgoing<'_> {
        let connection = self.connection();
        Outgoing::new(
            method.clone(),
            &connection.origin,
            &connection.settings.base_url.path,
            &self.target,
            proof.injection(),
            headers,
        )
    }

    /// Lets a call through to the service unless that is left alone for a while.
    pub(super) fn admit_to_service(&self, proxy: &Proxy) -> Result<(), Refusal> {
        self.breaker.admit(|| proxy.now_ns()).map_err(|wait| {
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

    fn is_empty(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn can_be_sent(&self) -> bool {
        !matches!(self, Self::Once(None) | Self::Signed(None, _))
    }
}

impl Proxy {
    /// Begins a call that was admitted; gives what it is made with, too. From here on it leaves a record,
    /// whatever becomes of it.
    pub(super) fn begin(
        &self,
        admitted: Admitted,
        method: &Method,
        meta: RequestMeta,
    ) -> (Call, Arc<Credential>) {
        let Admitted { connection, target, credential, client, units, spent, slot } = admitted;
        let lane = Lane(connection);
        let call = Call {
            breaker: self.breakers.of(&lane),
            cut: self.cuts.of(&client.project),
            record: CallRecord::new(
                &self.recorder,
                lane,
                client,
                method,
                &target,
                (units, spent, slot),
            ),
            target,
            meta,
        };
        (call, credential)
    }

    /// Puts the credential in and sends the call on, unless there is an answer that was kept.
    pub(super) async fn forward(
        &self,
        call: &mut Call,
        parts: &mut Parts,
        body: Incoming,
        credential: Arc<Credential>,
    ) -> Result<Forwarded, Refusal> {
        let mut proof = self.proof(call, credential).await?;
        headers::for_service(&mut parts.headers, !proof.scrub().is_empty());
        let place = match self.cached(call, parts, &proof) {
            Some(Cached::Answer(kept)) => {
                call.record.sent_with(proof.version());
                return Ok(Forwarded::Kept(kept));
            }
            Some(Cached::Missing(place)) => Some(place),
            None => None,
        };
        let mut sendable = if body.is_end_stream() {
            Sendable::Whole(Bytes::new())
        } else {
            let sent = call.record.request_bytes();
            Box::pin(self.sendable(call, body, &parts.headers, proof.injection(), sent)).await?
        };
        let (response, used) = self.exchange(call, &mut proof, parts, &mut sendable).await?;
        Ok(Forwarded::Answered { response, used, proof, place })
    }

    /// The answer as the client gets it.
    pub(super) fn answered(
        &self,
        call: Call,
        forwarded: Forwarded,
        method: &Method,
    ) -> Result<Response<AnswerBody>, Refusal> {
        match forwarded {
            Forwarded::Kept(kept) => Ok(kept::again(call, kept)),
            Forwarded::Answered { response, used, proof, place: None } => {
                call.answer(&proof, response, Some(used), method)
            }
            Forwarded::Answered { response, used, proof, place } => {
                let connection = call.connection().clone();
                let answer = call.answer(&proof, response, Some(used), method)?;
                Ok(self.keep(&connection, place, answer))
            }
        }
    }

    /// Sends the call on, once more where the service refuses what it was sent with and there is another.
    async fn exchange(
        &self,
        call: &Call,
        proof: &mut Proof,
        parts: &mut Parts,
        sendable: &mut Sendable,
    ) -> Result<(Response<ServiceBody>, Used), Refusal> {
        let (client, connection) = (call.client(), call.connection());
        let method = &parts.method;
        let is_repeatable = is_safe(method) && sendable.is_empty();
        let spare = proof.may_be_replaced().then(|| Spare::of(&parts.headers));
        let mut headers = Some(std::mem::take(&mut parts.headers));
        let mut is_first = true;
        loop {
            let may_be_replaced = proof.may_be_replaced();
            let given = headers.take().or_else(|| spare.as_ref().map(Spare::headers));
            let given = given.ok_or_else(|| Refusal::new(RefusalKind::Internal))?;
            let outgoing = call.outgoing(method, proof, given);
            let mut request = self.request(outgoing, proof, sendable)?;
            // A credential may have made a body where there was none.
            let is_repeatable = is_repeatable && request.body().is_end_stream();
            let sent = self.send(call, &mut request, proof.version(), is_repeatable);
            let (response, used) = sent.await?;
            let status = response.status();
            if status != 401 && status != 403 {
                self.engine.credential_accepted(client, connection, proof.version());
                return Ok((response, used));
            }
            if status == 401 && std::mem::take(&mut is_first) {
                let minted = self.another_token(call, proof).await;
                if minted.is_some() && sendable.can_be_sent() {
                    proof.minted = minted;
                    continue;
                }
            }
            let version = proof.version();
            let other = self.engine.credential_refused(client, connection, version, call.meta);
            match Box::pin(other).await? {
                Some(other) if may_be_replaced && sendable.can_be_sent() => {
                    *proof = self.proof(call, other).await?;
                }
                _ => return Ok((response, used)),
            }
        }
    }

    /// The body as it can be sent: whole where the credential goes into it, else as it comes.
    async fn sendable(
        &self,
        call: &Call,
        body: Incoming,
        headers: &HeaderMap,
        injection: &Injection,
        sent: Arc<AtomicU64>,
    ) -> Result<Sendable, Refusal> {
        let settings = &call.connection().settings;
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
            && inject::signs_pieces(injection, &call.connection().origin)
        {
            return Ok(Sendable::Signed(Some(streamed(body, sent)), length));
        }
        let most = most.unwrap_or(u64::MAX).min(limits.max_buffered_bytes);
        let limit = usize::try_from(most).unwrap_or(usize::MAX);
        match timeout(idle, Limited::new(body, limit).collect()).await {
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
        mut outgoing: Outgoing<'_>,
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
    async fn send(
        &self,
        call: &Call,
        request: &mut Request<RequestBody>,
        version: VersionNumber,
        is_repeatable: bool,
    ) -> Result<(Response<ServiceBody>, Used), Refusal> {
        call.admit_to_service(self)?;
        let patience = call.connection().settings.patience;
        let mut now = Instant::now();
        let purpose = if request.body().is_at_hand() { Purpose::Whole } else { Purpose::Streamed };
        let mut waiting = Pool::take(call.record.lane(), purpose, now);
        loop {
            let is_reused = waiting.is_some();
            let sender = if let Some(sender) = waiting.take() {
                sender
            } else {
                // Boxed, as everything that comes seldom: else each call would carry its room.
                let dialled = Box::pin(self.dial(call, patience.connect(), purpose)).await?;
                now = Instant::now();
                dialled
            };
            prepare(request, &sender, &call.connection().origin)?;
            call.record.sent_with(version);
            let uploaded = request.body().uploaded();
            let may_go_again = is_reused && is_repeatable;
            let copy = (may_go_again && !sender.leaves_request()).then(|| copy(request));
            let outcome = tokio::select! {
                // First of all the answer: where it is there, nothing else has to be set up.
                biased;
                outcome = sender.send(request) => outcome,
                () = too_late(uploaded.clone(), now, patience.first_byte()) => {
                    call.breaker.failed(self.now_ns());
                    debug!(connection = call.connection().name, "the service did not answer in time");
                    return Err(Refusal::new(RefusalKind::TimedOut));
                }
                () = call.cut.0.cancelled() => return Err(Refusal::new(RefusalKind::Unavailable)),
            };
            match outcome {
                Ok(Answered { response, sender }) => {
                    call.breaker.succeeded();
                    return Ok((response, Used { sender, uploaded }));
                }
                Err(failed)
                    if is_reused
                        && (failed.is_unsent || (is_repeatable && !failed.error.is_answered())) =>
                {
                    if let Some(copy) = copy.filter(|_| !failed.is_unsent) {
                        *request = copy;
                    }
                }
                Err(failed) => return Err(self.failed(call, &failed.error, uploaded.as_ref())),
            }
        }
    }

    /// Says what went wrong, as far as the caller may know.
    fn failed(
        &self,
        call: &Call,
        error: &SendError,
        uploaded: Option<&CancellationToken>,
    ) -> Refusal {
        if let SendError::Streamed = error {
            return Refusal::new(RefusalKind::Internal);
        }
        // What the client did, or did not do, is not the service's fault.
        if let Some(own) = error.of_body() {
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
        warn!(connection = call.connection().name, %error, "the service broke off");
        if error.is_head_too_large() {
            let words = format!(
                "the head of the service's answer is longer than {MOST_HEAD_BYTES} bytes, or has more \
                 than {MOST_HEADERS} headers"
            );
            return Refusal::saying(RefusalKind::BadAnswer, words);
        }
        if error.is_no_http() {
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
        purpose: Purpose,
    ) -> Result<Sender, Refusal> {
        let connection = call.connection();
        let destination = Destination {
            origin: connection.origin.clone(),
            allow_internal: connection.settings.allow_internal,
        };
        let dialled = self.dialer.dial(&destination, patience, purpose).await;
        let lane = call.record.lane();
        let dialled = dialled.inspect(|made| Pool::share(lane, made, Instant::now()));
        dialled.map_err(|error| {
            let name = &connection.name;
            warn!(connection = name, error = full(&error), "no connection to the service");
            if let DialError::Forbidden(_) = error {
                self.figures().address_refused();
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

/// Done when the service has had all of the request for that long, which it has from now on unless that is
/// still on its way, and has not answered.
async fn too_late(uploaded: Option<CancellationToken>, now: Instant, patience: Duration) {
    let Some(uploaded) = uploaded else { return sleep_until(now + patience).await };
    uploaded.cancelled().await;
    sleep(patience).await;
}

/// The same request once more, of which only the head has to be copied: it has no body.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Whether a method does nothing that would be done twice (RFC 9110 §9.2.1), of those that are sent twice.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// A client's headers, in case the call has to be made anew. A list, for a copy of the map would be dearer
/// than that is worth to a call that is made once, as nearly all are.
struct Spare(Vec<(HeaderName, HeaderValue)>);

impl Spare {
    fn of(headers: &HeaderMap) -> Self {
        Self(headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            headers.append(name, value.clone());
        }
        headers
    }
}
