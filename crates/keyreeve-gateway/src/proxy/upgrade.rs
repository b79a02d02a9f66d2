//! Calls that change the protocol (RFC 9110 §7.8), as WebSocket does (RFC 6455 §4).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts,
};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use keyreeve_core::{egress::ScrubSet, vault::VersionNumber};
use keyreeve_engine::connections::Credential;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    time::{Instant, timeout},
};
use tracing::debug;

use super::{
    Proxy, Refusal, RefusalKind,
    forward::Call,
    headers,
    inject::{self, Needs, Outgoing},
    proof::Proof,
    record::Ending,
};
use crate::{
    body::{AnswerBody, Cut, RequestBody, Scrubbing, ServiceBody},
    upstream::{Purpose, Sender},
};

/// For how long the end of what came is held back because a secret could begin with it.
const LONGEST_HOLD: Duration = Duration::from_millis(50);
/// How much is read at once, in each direction.
const PIECE: usize = 16 << 10;

/// Whether the client wants to speak something else. HTTP/2 has another way for that.
pub(super) fn is_wanted(parts: &Parts) -> bool {
    parts.version == http::Version::HTTP_11
        && parts.method == http::Method::GET
        && is_web_socket(&parts.headers)
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
        && !parts.headers.contains_key(header::TRANSFER_ENCODING)
        && parts.headers.get_all(header::CONNECTION).iter().any(|value| {
            let text = value.to_str().unwrap_or_default();
            text.split(',').any(|it| it.trim().eq_ignore_ascii_case("upgrade"))
        })
}

/// Whether it is the one protocol that passes: behind another one anything could be called.
fn is_web_socket(headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    let (first, second) = (upgrades.next(), upgrades.next());
    first.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && second.is_none()
}

/// The headers that ask for it.
fn asked_for(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let upgrade = headers.get(header::UPGRADE).cloned();
    let mut asked = vec![(header::CONNECTION, HeaderValue::from_static("upgrade"))];
    asked.extend(upgrade.map(|value| (header::UPGRADE, value)));
    asked
}

impl Proxy {
    pub(super) async fn forward_upgrade(
        &self,
        call: Call,
        parts: &mut Parts,
        credential: Arc<Credential>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let proof = match self.proof(&call, credential).await {
            Ok(proof) => proof,
            Err(refusal) => return Err(call.not_answered(refusal)),
        };
        let wanted = asked_for(&parts.headers);
        headers::for_service(&mut parts.headers, !proof.scrub().is_empty());
        parts.headers.extend(wanted);
        let asked = upgrade_request(parts, &call, &proof);
        let (on_client, request) = match asked {
            Ok(asked) => asked,
            Err(refusal) => return Err(call.not_answered(refusal)),
        };
        let mut response = match self.ask_to_upgrade(&call, request, proof.version()).await {
            Ok(response) => response,
            Err(refusal) => return Err(call.not_answered(refusal)),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            if response.status() == StatusCode::UNAUTHORIZED {
                // For the next attempt: nothing of this one is kept that could be sent again.
                self.another_token(&call, &proof).await;
            }
            let response = response.map(ServiceBody::Hyper);
            return call.answer(&proof, response, None, &parts.method);
        }
        if !is_web_socket(response.headers()) {
            let words = "the service changed to another protocol than was asked for";
            return Err(call.not_answered(Refusal::saying(RefusalKind::BadAnswer, words)));
        }
        let on_service = hyper::upgrade::on(&mut response);
        let upgrade = response.headers().get(header::UPGRADE).cloned();
        let (mut answered, _) = response.into_parts();
        answered.extensions.clear();
        let mut scrubbing = Scrubbing::of(proof.scrub());
        if let Some(scrubbing) = &mut scrubbing {
            scrubbing.mask_headers(&mut answered.headers);
        }
        headers::for_client(&mut answered.headers);
        answered.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(upgrade) = upgrade {
            answered.headers.insert(header::UPGRADE, upgrade);
        }
        let tunnel = Tunnel {
            idle: call.connection().settings.patience.idle(),
            cut: call.cut.clone(),
            scrub: proof.scrub().clone(),
        };
        let record = call.record.answered(101);
        let ending = Ending::new(record, None);
        tokio::spawn(async move {
            let (Ok(client), Ok(service)) = tokio::join!(on_client, on_service) else { return };
            let (bytes, hits) = tunnel.run(client, service).await;
            ending.end(bytes, hits, true);
        });
        Ok(Response::from_parts(answered, AnswerBody::whole(Bytes::new())))
    }

    /// Asks the service on a connection of its own, and waits for its head.
    async fn ask_to_upgrade(
        &self,
        call: &Call,
        mut request: Request<RequestBody>,
        version: VersionNumber,
    ) -> Result<Response<Incoming>, Refusal> {
        call.admit_to_service(self)?;
        let patience = call.connection().settings.patience;
        let Sender::Http1(mut alone) = self.dial(call, patience.connect(), Purpose::Http1).await?
        else {
            return Err(Refusal::new(RefusalKind::Internal));
        };
        request.headers_mut().insert(header::HOST, alone.host);
        call.record.sent_with(version);
        let answer = alone.sender.send_request(request);
        match timeout(patience.first_byte(), answer).await {
            Ok(Ok(response)) => {
                call.breaker.succeeded();
                Ok(response)
            }
            Ok(Err(error)) => {
                debug!(connection = call.connection().name, %error, "an upgrade was not answered");
                call.breaker.failed(self.now_ns());
                Err(Refusal::new(RefusalKind::Unreachable))
            }
            Err(_) => {
                call.breaker.failed(self.now_ns());
                Err(Refusal::new(RefusalKind::TimedOut))
            }
        }
    }
}

/// The end of the client's side, and what the service is asked.
fn upgrade_request(
    parts: &mut Parts,
    call: &Call,
    proof: &Proof,
) -> Result<(OnUpgrade, Request<RequestBody>), Refusal> {
    let injection = proof.injection();
    if inject::needs(injection) != Needs::Nothing {
        let words = "this connection's credential goes into the body, which an upgrade has not";
        return Err(Refusal::saying(RefusalKind::Invalid, words));
    }
    let on_client = parts.extensions.remove::<OnUpgrade>();
    let on_client = on_client.ok_or_else(|| Refusal::new(RefusalKind::Internal))?;
    let mut outgoing = Outgoing::new(
        parts.method.clone(),
        &call.connection().origin,
        &call.connection().settings.base_url.path,
        &call.target,
        injection,
        std::mem::take(&mut parts.headers),
    );
    proof.set_headers(&mut outgoing)?;
    Ok((on_client, outgoing.into_request(RequestBody::Empty)?))
}

/// Bytes both ways.
struct Tunnel {
    idle: Duration,
    cut: Cut,
    scrub: Arc<ScrubSet>,
}

impl Tunnel {
    /// Until one side ends, nothing comes for too long, or all calls are cut. Gives how many bytes the
    /// service sent, and how many secrets were among them.
    async fn run(self, client: Upgraded, service: Upgraded) -> (u64, u64) {
        let (from_client, to_client) = split(TokioIo::new(client));
        let (from_service, to_service) = split(TokioIo::new(service));
        let mut seen = (0, 0);
        let active = Active::now();
        let up = pump(from_client, to_service, None, (self.idle, &active), None);
        let scrubbing = Scrubbing::of(&self.scrub);
        let both = (self.idle, &active);
        let down = pump(from_service, to_client, scrubbing, both, Some(&mut seen));
        tokio::select! {
            () = async { tokio::join!(up, down); } => {}
            () = self.cut.0.cancelled() => {}
        }
        seen
    }
}

/// When something came last, in either direction.
struct Active(Mutex<Instant>);

impl Active {
    fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn note(&self) {
        *self.0.lock() = Instant::now();
    }

    fn is_within(&self, idle: Duration) -> bool {
        self.0.lock().elapsed() < idle
    }
}

/// Bytes one way. What a service sends is not masked (RFC 6455 §5.1), so it can be looked through, and
/// what is overwritten is as long as before, so frames stay whole.
async fn pump(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    mut to: WriteHalf<TokioIo<Upgraded>>,
    mut scrubbing: Option<Scrubbing>,
    (idle, active): (Duration, &Active),
    mut seen: Option<&mut (u64, u64)>,
) {
    let mut piece = vec![0; PIECE];
    loop {
        let holds = scrubbing.as_ref().is_some_and(|scrubbing| !scrubbing.is_clear());
        let patience = if holds { LONGEST_HOLD } else { idle };
        let size = match timeout(patience, from.read(&mut piece)).await {
            Ok(Ok(size)) => size,
            // Whoever answers only what it has heard would wait for ever.
            Err(_) if holds => {
                let rest = scrubbing.as_mut().and_then(Scrubbing::finish).unwrap_or_default();
                if !send(&mut to, &rest, idle).await {
                    break;
                }
                continue;
            }
            // The other direction may be the one that talks.
            Err(_) if active.is_within(idle) => continue,
            _ => break,
        };
        active.note();
        let Some(bytes) = piece.get(..size).filter(|bytes| !bytes.is_empty()) else { break };
        let written = match &mut scrubbing {
            Some(scrubbing) => match scrubbing.feed(Bytes::copy_from_slice(bytes)) {
                Some(passed) => send(&mut to, &passed, idle).await,
                None => true,
            },
            None => send(&mut to, bytes, idle).await,
        };
        if let Some((bytes, hits)) = seen.as_deref_mut() {
            *bytes += size as u64;
            *hits = scrubbing.as_ref().map_or(0, Scrubbing::hits);
        }
        if !written {
            break;
        }
    }
    if let Some(rest) = scrubbing.as_mut().and_then(Scrubbing::finish) {
        send(&mut to, &rest, idle).await;
    }
    // What was taken for the other side is written first, if that takes it.
    let _ = timeout(idle, to.shutdown()).await;
}

/// Writes what came; false if the other side takes nothing any more.
async fn send(to: &mut WriteHalf<TokioIo<Upgraded>>, bytes: &[u8], idle: Duration) -> bool {
    let writing = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    matches!(timeout(idle, writing).await, Ok(Ok(())))
}
