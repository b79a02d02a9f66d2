//! A webhook on its way in: read whole, verified, stored; then it is acknowledged.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use keyreeve_core::{
    name::ProjectName,
    webhook::{Certificate, CertificateUrl, HandshakeAnswer, HeaderLine, Reason},
};
use keyreeve_engine::{
    RequestMeta,
    vault::VaultError,
    webhooks::{HookRefused, HookRequest, HookVerdict, Received, WebhookSource},
};
use tokio::{sync::SemaphorePermit, time::timeout};

use super::{HOOKS_PREFIX, Webhooks, certificates::CertificateFault, deliver::Asked};
use crate::{Refusal, RefusalKind};

/// How long a body may take to come in.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most requests of one address that are read at once.
const MOST_OF_AN_ADDRESS: u32 = 64;
const EVENT_ID: HeaderName = HeaderName::from_static("keyreeve-event-id");
const DUPLICATE: HeaderName = HeaderName::from_static("keyreeve-duplicate");

/// A place among the requests that are read.
struct Room<'w> {
    webhooks: &'w Webhooks,
    ip: Option<IpAddr>,
    _permit: SemaphorePermit<'w>,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut senders = self.webhooks.senders.lock();
        if let Some(of_sender) = senders.get_mut(&self.ip) {
            *of_sender -= 1;
            if *of_sender == 0 {
                senders.remove(&self.ip);
            }
        }
    }
}

/// Which source a path names.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    project: ProjectName,
    source: &'a str,
    /// What stands behind it, with its first `/`.
    rest: &'a str,
}

impl<'a> Place<'a> {
    /// Of `/hooks/<source>`, or of `/hooks/@<project>/<source>` for other projects than the first.
    fn read(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix(HOOKS_PREFIX)?;
        let (project, path) = match path.strip_prefix('@') {
            Some(path) => {
                let (project, path) = path.split_once('/')?;
                (project.parse().ok()?, path)
            }
            None => (ProjectName::default_project(), path),
        };
        let (source, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        (!source.is_empty()).then_some(Self { project, source, rest })
    }
}

impl Webhooks {
    /// Serves one request whose path begins with [`HOOKS_PREFIX`].
    pub async fn receive(
        self: Arc<Self>,
        request: Request<Incoming>,
        meta: RequestMeta,
    ) -> Result<Response<Bytes>, Refusal> {
        let mut answer = self.take(request, meta).await?;
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(answer)
    }

    async fn take(
        self: Arc<Self>,
        request: Request<Incoming>,
        meta: RequestMeta,
    ) -> Result<Response<Bytes>, Refusal> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST && parts.method != Method::GET {
            return Err(Refusal::new(RefusalKind::Method));
        }
        let nothing = || Refusal::saying(RefusalKind::NotFound, "there is no such source");
        let place = Place::read(parts.uri.path()).ok_or_else(nothing)?;
        let source = self.engine.webhook_source_for(&place.project, place.source);
        let source = source.map_err(unavailable)?.ok_or_else(nothing)?;
        let settings = &source.settings;
        let received = if settings.allows_from(meta.ip) {
            // Held until the event is stored: what waits for a slow disk counts, too.
            let _room = self.room(meta.ip)?;
            let body = self.read(body, settings.max_body_bytes).await?;
            let headers: Vec<HeaderLine<'_>> = (parts.headers.iter())
                .map(|(name, value)| HeaderLine { name: name.as_str(), value: value.as_bytes() })
                .collect();
            let mut request = HookRequest {
                method: parts.method.as_str(),
                rest: place.rest,
                query: parts.uri.query(),
                headers: &headers,
                body: &body,
                meta,
                certificate: None,
            };
            let certificate = match self.engine.webhook_certificate(&source, &request) {
                Ok(Some(url)) => self.certificate(&source, &url).await?.map(Some),
                Ok(None) => Ok(None),
                Err(refused) => Err(refused),
            };
            match certificate {
                Ok(certificate) => {
                    request.certificate = certificate.as_deref();
                    self.engine.receive_webhook(&place.project, &source, &request).await
                }
                Err(refused) => Err(refused),
            }
        } else {
            Err(HookRefused::NotVerified(Reason::IpNotAllowed))
        };
        if let Some(verdict) = verdict(&received) {
            self.engine.note_webhook_verdict(&place.project, &source.name, verdict).await;
        }
        self.answer(&place.project, &source, received).await
    }

    /// The certificate that signs a request. That there is none is the sender's fault: it said where to
    /// look.
    async fn certificate(
        &self,
        source: &WebhookSource,
        url: &CertificateUrl,
    ) -> Result<Result<Arc<Certificate>, HookRefused>, Refusal> {
        let now_s = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let fault = match self.certificates.get(url, now_s).await {
            Ok(certificate) => return Ok(Ok(certificate)),
            Err(fault) => fault,
        };
        tracing::info!(source = source.name, %fault, "no certificate for a webhook");
        match fault {
            CertificateFault::NotCertificate(_)
            | CertificateFault::Refused
            | CertificateFault::TooLong => {
                Ok(Err(HookRefused::NotVerified(Reason::UntrustedCertUrl)))
            }
            CertificateFault::Busy
            | CertificateFault::Unreachable(_)
            | CertificateFault::TimedOut => {
                let said = "the sender's certificate cannot be fetched now";
                Err(Refusal::saying(RefusalKind::Unavailable, said).retry_after(10))
            }
        }
    }

    /// What the sender is told.
    async fn answer(
        self: Arc<Self>,
        project: &ProjectName,
        source: &WebhookSource,
        received: Result<Received, HookRefused>,
    ) -> Result<Response<Bytes>, Refusal> {
        match received {
            Ok(Received::Accepted(id)) => {
                self.wake.notify_one();
                Ok(naming(EVENT_ID, HeaderValue::try_from(id)))
            }
            Ok(Received::Asks(due)) => {
                let within = source.settings.answer_within_ms.unwrap_or_default();
                pass_on(self.ask(*due, Duration::from_millis(within.into())).await)
            }
            // The sender is to stop sending it; it is here already.
            Ok(Received::Duplicate) => Ok(naming(DUPLICATE, HeaderValue::try_from("true"))),
            Ok(Received::Handshake(answer)) => handshake(answer),
            Ok(Received::Confirm(url)) => match self.certificates.confirm(&url).await {
                Ok(()) => {
                    let noted = self.engine.note_webhook_confirmed(project, source).await;
                    noted.map_err(unavailable)?;
                    Ok(Response::new(Bytes::new()))
                }
                Err(fault) => {
                    tracing::warn!(source = source.name, %fault, "a subscription is not confirmed");
                    let said = "the subscription cannot be confirmed now";
                    Err(Refusal::saying(RefusalKind::Unavailable, said).retry_after(10))
                }
            },
            Err(HookRefused::NotVerified(reason)) => {
                tracing::info!(source = source.name, reason = reason.as_str(), "webhook refused");
                Err(not_verified(reason))
            }
            Err(HookRefused::Gone) => {
                Err(Refusal::saying(RefusalKind::NotFound, "there is no such source"))
            }
            Err(HookRefused::NoSecret) => {
                tracing::error!(source = source.name, "a source of webhooks has no usable secret");
                Err(Refusal::new(RefusalKind::NoCredential).retry_after(60))
            }
            Err(HookRefused::Vault(error)) => Err(unavailable(error)),
        }
    }

    /// A place among the requests that are read, of which one address has a share only.
    fn room(&self, ip: Option<IpAddr>) -> Result<Room<'_>, Refusal> {
        let full = || Refusal::new(RefusalKind::Unavailable).retry_after(1);
        let permit = self.reading.try_acquire().map_err(|_| full())?;
        let mut senders = self.senders.lock();
        let of_sender = senders.entry(ip).or_default();
        if *of_sender >= MOST_OF_AN_ADDRESS {
            return Err(full());
        }
        *of_sender += 1;
        Ok(Room { webhooks: self, ip, _permit: permit })
    }

    /// The whole body, byte for byte.
    async fn read(&self, body: Incoming, most: u64) -> Result<Bytes, Refusal> {
        if body.size_hint().lower() > most {
            return Err(Refusal::new(RefusalKind::TooLarge));
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        match timeout(PATIENCE, Limited::new(body, most).collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Refusal::new(RefusalKind::TooLarge))
            }
            Ok(Err(_)) => {
                Err(Refusal::saying(RefusalKind::Invalid, "the body did not arrive whole"))
            }
            Err(_) => Err(Refusal::saying(RefusalKind::Invalid, "the body took too long")),
        }
    }
}

/// As it is counted. What we could not do counts for nobody.
fn verdict(received: &Result<Received, HookRefused>) -> Option<HookVerdict> {
    match received {
        Ok(Received::Accepted(_) | Received::Asks(_)) => Some(HookVerdict::Accepted),
        Ok(Received::Duplicate) => Some(HookVerdict::Duplicate),
        Ok(Received::Handshake(_) | Received::Confirm(_)) => Some(HookVerdict::Handshake),
        Err(HookRefused::NotVerified(reason)) => Some(HookVerdict::Refused(*reason)),
        Err(HookRefused::Gone | HookRefused::NoSecret | HookRefused::Vault(_)) => None,
    }
}

/// An answer that says one thing in its head.
fn naming<E>(name: HeaderName, value: Result<HeaderValue, E>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    if let Ok(value) = value {
        response.headers_mut().insert(name, value);
    }
    response
}

/// What the app answered, to the sender who waits for it.
fn pass_on(asked: Asked) -> Result<Response<Bytes>, Refusal> {
    match asked {
        Asked::Answer(answer) => {
            let body = answer.body.ok_or_else(|| {
                let said = "the app took the event; its answer broke off or is longer than 1 MiB";
                Refusal::saying(RefusalKind::BadAnswer, said)
            })?;
            let mut response = Response::new(body);
            *response.status_mut() = answer.status;
            if let Some(kind) = answer.content_type {
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            Ok(response)
        }
        Asked::Busy => {
            let said = "the app has as much to do as it may; the event is kept and delivered later";
            Err(Refusal::saying(RefusalKind::CircuitOpen, said).retry_after(5))
        }
        Asked::Unreachable => {
            let said = "the app did not answer; the event is kept and delivered later";
            Err(Refusal::saying(RefusalKind::Unreachable, said))
        }
        Asked::TooSlow => {
            let said = "the app did not answer in time; the event is kept";
            Err(Refusal::saying(RefusalKind::TimedOut, said))
        }
    }
}

fn handshake(answer: HandshakeAnswer) -> Result<Response<Bytes>, Refusal> {
    let mut response = Response::new(Bytes::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).map_err(|_| Refusal::new(RefusalKind::Internal))?;
    if let Some(kind) = answer.content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    Ok(response)
}

/// What a sender is told. Why it is refused is no secret: it says nothing of the secret, and whoever sets
/// a sender up needs it.
fn not_verified(reason: Reason) -> Refusal {
    let kind = match reason {
        Reason::IpNotAllowed | Reason::TopicNotAllowed | Reason::BadToken => RefusalKind::Forbidden,
        Reason::ConfigError => RefusalKind::NoCredential,
        _ => RefusalKind::NotVerified,
    };
    Refusal::saying(kind, reason.as_str())
}

fn unavailable(error: VaultError) -> Refusal {
    match error {
        VaultError::Sealed => Refusal::new(RefusalKind::Sealed).retry_after(1),
        error => {
            tracing::error!(%error, "a webhook could not be taken");
            Refusal::new(RefusalKind::Unavailable).retry_after(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_sources() {
        let place = |path| {
            Place::read(path)
                .map(|it| (it.project.to_string(), it.source.to_owned(), it.rest.to_owned()))
        };
        let of = |project: &str, source: &str, rest: &str| {
            Some((project.to_owned(), source.to_owned(), rest.to_owned()))
        };
        assert_eq!(place("/hooks/stripe"), of("default", "stripe", ""));
        assert_eq!(place("/hooks/sms/token"), of("default", "sms", "/token"));
        assert_eq!(place("/hooks/@acme/stripe"), of("acme", "stripe", ""));
        for bad in
            ["/hooks/", "/hooks/@acme", "/hooks/@/x", "/hooks/@A B/x", "/hook/x", "/hooks//x"]
        {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
