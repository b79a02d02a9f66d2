//! What is fetched from providers: certificates that sign webhooks. And what is called there: addresses
//! that confirm subscriptions.
//!
//! Which certificate signed is said by whoever sends something, before anything is proved. So what was
//! fetched is kept, what failed is not tried again at once, and few are under way at a time.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use keyreeve_core::{
    Invalid,
    egress::{HostName, Origin, Scheme},
    webhook::{Certificate, CertificateUrl, ConfirmationUrl},
};
use parking_lot::Mutex;
use rustls::{RootCertStore, pki_types::TrustAnchor};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use crate::{
    body::RequestBody,
    proxy::{Answered, prepare},
    upstream::{Destination, DialError, Dialer, Purpose},
};

/// How long a certificate is kept, in seconds. It may end within that time, or be taken back: a day later
/// it is looked at again.
const KEPT_S: u64 = 24 * 3_600;
/// How long a failure is remembered, in seconds.
const FAILED_S: u64 = 30;
/// How long a certificate is used while it cannot be looked at again, in seconds.
const USED_S: u64 = 7 * KEPT_S;
/// The most certificates that are kept, more than providers have in use; and as many failures beside them,
/// so that addresses that somebody invents drive no certificate out.
const MOST_KEPT: usize = 1_000;
/// The most calls at once.
const MOST_AT_ONCE: usize = 8;
/// How long a call may take, from the look for the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const MOST_ANSWER_BYTES: usize = 64 << 10;
const USER_AGENT: &str = concat!("keyreeve/", env!("CARGO_PKG_VERSION"));
const UNFIT: &str = "the provider's address fits no request";

/// Why there is no certificate, or no confirmation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CertificateFault {
    /// As many calls go on as may. This is not remembered.
    #[error("too many calls to providers go on")]
    Busy,
    /// There is no connection, or it broke off.
    #[error("{0}")]
    Unreachable(&'static str),
    /// It took too long.
    #[error("the provider did not answer in time")]
    TimedOut,
    /// It answered with another status; where it sends us instead does not matter.
    #[error("the provider's answer is none of success")]
    Refused,
    /// No certificate is that long.
    #[error("the provider's answer is longer than 64 KiB")]
    TooLong,
    /// It breaks a rule.
    #[error("what the provider has there {0}")]
    NotCertificate(Invalid),
}

/// A certificate, or why there is none.
type Found = Result<Arc<Certificate>, CertificateFault>;
/// One that is on its way. Nothing as long as it is.
type Coming = watch::Receiver<Option<Found>>;

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// An answer on its way.
type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Answer, CertificateFault>> + Send + 'a>>;

/// Gets what is at an address of a host.
trait Fetch: Send + Sync {
    fn fetch<'a>(&'a self, host: &'a HostName, url: &'a str) -> Fetching<'a>;
}

/// Certificates of providers, fetched when they are needed.
#[derive(Clone)]
pub(super) struct Certificates(Arc<Inner>);

struct Inner {
    provider: Box<dyn Fetch>,
    /// To whom certificates have to lead.
    roots: Vec<TrustAnchor<'static>>,
    room: Arc<Semaphore>,
    /// Confirmations have room of their own: what asks for one is proved.
    confirming: Semaphore,
    memory: Mutex<Memory>,
}

/// What is known of addresses, and since when, in seconds of Unix time.
#[derive(Default)]
struct Memory {
    certificates: HashMap<CertificateUrl, (u64, Arc<Certificate>)>,
    failures: HashMap<CertificateUrl, (u64, CertificateFault)>,
    under_way: HashMap<CertificateUrl, Coming>,
}

impl Certificates {
    /// None yet. They have to lead to one of these roots.
    pub(super) fn new(dialer: Arc<Dialer>, roots: RootCertStore) -> Self {
        Self::of(Box::new(Provider(dialer)), roots.roots)
    }

    fn of(provider: Box<dyn Fetch>, roots: Vec<TrustAnchor<'static>>) -> Self {
        Self(Arc::new(Inner {
            provider,
            roots,
            room: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            confirming: Semaphore::new(MOST_AT_ONCE),
            memory: Mutex::default(),
        }))
    }

    /// The certificate at an address, which is fetched unless it is here. Of those that ask at once, one
    /// has it fetched and all wait for it.
    pub(super) async fn get(&self, url: &CertificateUrl, now_s: u64) -> Found {
        let mut coming = {
            let mut memory = self.0.memory.lock();
            if let Some(known) = memory.known(url, now_s) {
                return known;
            }
            if let Some(certificate) = memory.aged(url, now_s) {
                // Nobody waits for the look, and if there is no room for it, the next one looks.
                if !memory.under_way.contains_key(url) {
                    let _ = self.begin(&mut memory, url, now_s);
                }
                return Ok(certificate);
            }
            match memory.under_way.get(url).cloned() {
                Some(coming) => coming,
                None => self.begin(&mut memory, url, now_s)?,
            }
        };
        let found = coming.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        found.unwrap_or_else(|| {
            // Whoever was at it is gone: the next one may try.
            self.0.memory.lock().under_way.remove(url);
            Err(CertificateFault::Unreachable("the call to the provider broke off"))
        })
    }

    /// Has a certificate fetched in a task of its own: whoever asked for it may go away, and must not have
    /// us begin anew each time.
    fn begin(
        &self,
        memory: &mut Memory,
        url: &CertificateUrl,
        now_s: u64,
    ) -> Result<Coming, CertificateFault> {
        let room = self.0.room.clone().try_acquire_owned().map_err(|_| CertificateFault::Busy)?;
        let (tell, coming) = watch::channel(None);
        memory.under_way.insert(url.clone(), coming.clone());
        let (inner, url) = (self.0.clone(), url.clone());
        tokio::spawn(async move {
            let found = inner.fetched(&url, now_s).await.map(Arc::new);
            inner.memory.lock().settle(&url, &found, now_s);
            drop(room);
            // Nobody may wait any more.
            let _ = tell.send(Some(found));
        });
        Ok(coming)
    }

    /// Confirms a subscription, of which the provider has proved that it asks for it.
    pub(super) async fn confirm(&self, url: &ConfirmationUrl) -> Result<(), CertificateFault> {
        self.0.confirmed(url.host(), url.as_str()).await
    }
}

impl Inner {
    async fn fetched(
        &self,
        url: &CertificateUrl,
        now_s: u64,
    ) -> Result<Certificate, CertificateFault> {
        let answer = self.asked(url.host(), url.as_str()).await?;
        if answer.status.is_server_error() {
            return Err(CertificateFault::Unreachable("the provider cannot serve anybody now"));
        }
        if answer.status != StatusCode::OK {
            return Err(CertificateFault::Refused);
        }
        Certificate::verified(&answer.body, url, &self.roots, now_s)
            .map_err(CertificateFault::NotCertificate)
    }

    async fn confirmed(&self, host: &HostName, url: &str) -> Result<(), CertificateFault> {
        let _room = self.confirming.try_acquire().map_err(|_| CertificateFault::Busy)?;
        let answer = self.asked(host, url).await?;
        if answer.status.is_success() { Ok(()) } else { Err(CertificateFault::Refused) }
    }

    async fn asked(&self, host: &HostName, url: &str) -> Result<Answer, CertificateFault> {
        let answer = timeout(PATIENCE, self.provider.fetch(host, url)).await;
        answer.unwrap_or(Err(CertificateFault::TimedOut))
    }
}

impl Memory {
    fn known(&self, url: &CertificateUrl, now_s: u64) -> Option<Found> {
        // Clocks are set back now and then: what seems to be of tomorrow is as old as what is of yesterday.
        let is_young = |since_s: u64, longest_s: u64| now_s.abs_diff(since_s) < longest_s;
        if let Some((since_s, certificate)) = self.certificates.get(url)
            && is_young(*since_s, KEPT_S)
        {
            return Some(Ok(certificate.clone()));
        }
        let (since_s, fault) = self.failures.get(url)?;
        if !is_young(*since_s, FAILED_S) {
            return None;
        }
        // As long as it cannot be looked at again, the one that is here has to do.
        Some(self.aged(url, now_s).ok_or_else(|| fault.clone()))
    }

    /// A certificate that should be looked at again.
    fn aged(&self, url: &CertificateUrl, now_s: u64) -> Option<Arc<Certificate>> {
        let (since_s, certificate) = self.certificates.get(url)?;
        (now_s.abs_diff(*since_s) < USED_S).then(|| certificate.clone())
    }

    fn settle(&mut self, url: &CertificateUrl, found: &Found, now_s: u64) {
        self.under_way.remove(url);
        match found {
            Ok(certificate) => {
                self.failures.remove(url);
                keep(&mut self.certificates, url, certificate.clone(), now_s);
            }
            Err(fault) => {
                // What cannot be reached may be as it was; what is there and is another one is not.
                if matches!(fault, CertificateFault::NotCertificate(_) | CertificateFault::Refused)
                {
                    self.certificates.remove(url);
                }
                keep(&mut self.failures, url, fault.clone(), now_s);
            }
        }
    }
}

/// Puts it in, for which the oldest one goes if there is no room.
fn keep<V>(
    kept: &mut HashMap<CertificateUrl, (u64, V)>,
    url: &CertificateUrl,
    value: V,
    now_s: u64,
) {
    if kept.len() >= MOST_KEPT && !kept.contains_key(url) {
        let oldest = kept.iter().min_by_key(|(_, (since_s, _))| *since_s);
        if let Some(oldest) = oldest.map(|(url, _)| url.clone()) {
            kept.remove(&oldest);
        }
    }
    kept.insert(url.clone(), (now_s, value));
}

/// Providers as they are, called the same guarded way as services.
struct Provider(Arc<Dialer>);

impl Fetch for Provider {
    fn fetch<'a>(&'a self, host: &'a HostName, url: &'a str) -> Fetching<'a> {
        Box::pin(self.call(host, url))
    }
}

impl Provider {
    async fn call(&self, host: &HostName, url: &str) -> Result<Answer, CertificateFault> {
        use CertificateFault::{TooLong, Unreachable};

        let origin = Origin::new(Scheme::Https, host.clone(), None);
        let origin = Arc::new(origin.map_err(|_| Unreachable(UNFIT))?);
        let mut request = request(url).ok_or(Unreachable(UNFIT))?;
        let destination = Destination { origin, allow_internal: false };
        let sender = self.0.dial(&destination, PATIENCE, Purpose::Http1).await;
        let sender = sender.map_err(|error| Unreachable(words(&error)))?;
        prepare(&mut request, &sender, &destination.origin).map_err(|_| Unreachable(UNFIT))?;
        let answer = sender.send(&mut request).await;
        let answer = answer.map_err(|_| Unreachable("the provider broke off"))?;
        let Answered { response, sender: _kept } = answer;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MOST_ANSWER_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                TooLong
            } else {
                Unreachable("the provider broke off")
            }
        })?;
        Ok(Answer { status: parts.status, body: body.to_bytes() })
    }
}

fn request(url: &str) -> Option<Request<RequestBody>> {
    let url = Uri::try_from(url).ok()?;
    Request::get(url.path_and_query()?.as_str())
        .header(header::USER_AGENT, USER_AGENT)
        .body(RequestBody::Empty)
        .ok()
}

fn words(error: &DialError) -> &'static str {
    match error {
        DialError::Lookup(_) => "the provider's name cannot be looked up",
        DialError::Forbidden(_) => "the provider's address is one that may not be called",
        DialError::Connect(_) => "the provider cannot be connected to",
        DialError::Tls(_) => "TLS to the provider failed",
        DialError::Handshake(_) => "HTTP to the provider could not be begun",
        DialError::TimedOut => "the provider took too long to accept a connection",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use keyreeve_core::webhook::{HeaderLine, ReceivedRequest, certificate_needed, named};
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    use tokio::task::yield_now;

    use super::*;

    /// A day in 2027.
    const NOW_S: u64 = 1_800_000_000;
    /// Who issued the other one; both are good from 2020 to 2048, and nobody has their keys.
    const ROOT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHjCBxqADAgECAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBHJvb3QwHhcN
MjAwMTAxMDAwMDAwWhcNNDkwMTAxMDAwMDAwWjAPMQ0wCwYDVQQDDARyb290MFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEptas/mMAdRACAnP4U2HT0UmySNIbfjyv
LAT3srhbIfsH4jJZxvyZ9YGFk+mVfJZKxEx1sRHWCJVBvz/cOJkxlKMTMBEwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAK2mBvDMyw4+CUV2oeHkvn
ZkiWzw9Fr04BBoNk4Q5L5QIgJTd40LNn3324KlB07aDafGd8MoMHddhdx0WnUIED
lJg=
-----END CERTIFICATE-----
";
    /// Made out to `messageverificationcerts.paypal.com`.
    const LEAF: &str = "\
-----BEGIN CERTIFICATE-----
MIIBPzCB5aADAgECAgECMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBHJvb3QwHhcN
MjAwMTAxMDAwMDAwWhcNNDkwMTAxMDAwMDAwWjAPMQ0wCwYDVQQDDARsZWFmMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDDe3lIh5+osFX0U0s7CgCpf+bLbyVuxf
J0N8IDzNLg4xtcX6e58yl4OLmfAylCpOh6YcmD4fQ/5cdgODNciz5qMyMDAwLgYD
VR0RBCcwJYIjbWVzc2FnZXZlcmlmaWNhdGlvbmNlcnRzLnBheXBhbC5jb20wCgYI
KoZIzj0EAwIDSQAwRgIhAK9Z/1LDJXLE6ILlEmmQpiJB8zSaI2uSOp4YofPGFLYt
AiEAmyXI+AqlLjggNVj3P+kQ6YeGEFqal72zp9E4DDwL7+Q=
-----END CERTIFICATE-----
";

    /// Answers everything in the same way, once it may.
    struct Fake {
        calls: AtomicUsize,
        answer: Mutex<(StatusCode, &'static str)>,
        may: Semaphore,
    }

    impl Fetch for Arc<Fake> {
        fn fetch<'a>(&'a self, _host: &'a HostName, _url: &'a str) -> Fetching<'a> {
            Box::pin(async move {
                self.calls.fetch_add(1, Ordering::Relaxed);
                self.may.acquire().await.unwrap().forget();
                let (status, body) = *self.answer.lock();
                Ok(Answer { status, body: Bytes::from_static(body.as_bytes()) })
            })
        }
    }

    impl Fake {
        /// One that answers so often.
        fn new(often: usize) -> (Arc<Self>, Certificates) {
            let fake = Arc::new(Self {
                calls: AtomicUsize::new(0),
                answer: Mutex::new((StatusCode::OK, LEAF)),
                may: Semaphore::new(often),
            });
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(ROOT.as_bytes()).unwrap()).unwrap();
            (fake.clone(), Certificates::of(Box::new(fake), roots.roots))
        }

        fn calls(&self) -> usize {
            self.calls.load(Ordering::Relaxed)
        }

        fn answers(&self, status: u16, body: &'static str) {
            *self.answer.lock() = (StatusCode::from_u16(status).unwrap(), body);
        }
    }

    fn url(name: &str) -> CertificateUrl {
        let text = format!("https://api.paypal.com/v1/notifications/certs/{name}");
        let headers = [HeaderLine { name: "PAYPAL-CERT-URL", value: text.as_bytes() }];
        let request = ReceivedRequest {
            method: "POST",
            url: "https://app.example.com/hooks/in",
            headers: &headers,
            body: b"{}",
            remote_ip: None,
            now_ms: 0,
        };
        certificate_needed(&named("paypal").unwrap(), &request).unwrap().unwrap()
    }

    /// Lets tasks go on until they wait.
    async fn settled() {
        for _ in 0..100 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn certificates_are_kept_for_a_day() {
        let (fake, certificates) = Fake::new(100);
        for (name, now_s, calls) in [
            ("a", NOW_S, 1),
            ("a", NOW_S + 1, 1),
            ("a", NOW_S + KEPT_S - 1, 1),
            ("b", NOW_S, 2),
            ("a", NOW_S + KEPT_S, 3),
            ("a", NOW_S + KEPT_S + 1, 3),
        ] {
            assert!(certificates.get(&url(name), now_s).await.is_ok(), "{name} {now_s}");
            // Who asks for one of yesterday does not wait for that of today.
            settled().await;
            assert_eq!(fake.calls(), calls, "{name} {now_s}");
        }
    }

    #[tokio::test]
    async fn one_of_yesterday_has_to_do_while_the_provider_is_away() {
        let (fake, certificates) = Fake::new(100);
        let get = async |now_s| {
            let found = certificates.get(&url("a"), now_s).await.is_ok();
            settled().await;
            found
        };
        assert!(get(NOW_S).await);
        fake.answers(503, "");
        let tomorrow = NOW_S + KEPT_S;
        assert!(get(tomorrow).await && get(tomorrow + 1).await);
        assert_eq!(fake.calls(), 2, "looked at again, and not each time");
        assert!(get(NOW_S + USED_S - 1).await);
        assert!(!get(NOW_S + USED_S + FAILED_S).await, "not for ever");
        fake.answers(200, LEAF);
        assert!(get(NOW_S + USED_S + 3 * FAILED_S).await);
        fake.answers(404, "");
        let later = NOW_S + USED_S + 3 * FAILED_S + KEPT_S;
        assert!(get(later).await, "not known yet");
        assert!(!get(later + 1).await, "what was taken away is not used");
    }

    #[tokio::test]
    async fn failures_are_remembered_for_a_while() {
        let (fake, certificates) = Fake::new(100);
        let get = async |now_s| certificates.get(&url("a"), now_s).await.err();
        fake.answers(302, LEAF);
        assert_eq!(get(NOW_S).await, Some(CertificateFault::Refused));
        fake.answers(200, LEAF);
        assert_eq!(get(NOW_S + FAILED_S - 1).await, Some(CertificateFault::Refused));
        assert_eq!(fake.calls(), 1);
        assert_eq!(get(NOW_S + FAILED_S).await, None);
        assert_eq!(fake.calls(), 2);

        for (name, body) in [("b", ""), ("c", "no certificate"), ("d", ROOT)] {
            fake.answers(200, body);
            let fault = certificates.get(&url(name), NOW_S).await.err();
            assert!(matches!(fault, Some(CertificateFault::NotCertificate(_))), "{name} {fault:?}");
            fake.answers(200, LEAF);
            assert_eq!(certificates.get(&url(name), NOW_S).await.err(), fault, "{name}");
        }
        assert_eq!(fake.calls(), 5);
    }

    #[tokio::test]
    async fn those_who_ask_at_once_wait_for_one() {
        let (fake, certificates) = Fake::new(0);
        let ask = |name: &str| {
            let (certificates, url) = (certificates.clone(), url(name));
            tokio::spawn(async move { certificates.get(&url, NOW_S).await })
        };
        let asking: Vec<_> = (0..20).map(|_| ask("a")).collect();
        settled().await;
        assert_eq!(fake.calls(), 1);
        fake.may.add_permits(1);
        for one in asking {
            assert!(one.await.unwrap().is_ok());
        }

        // Whoever goes away meanwhile does not have it begun anew.
        let gone = ask("b");
        settled().await;
        gone.abort();
        settled().await;
        let stays = ask("b");
        settled().await;
        assert_eq!(fake.calls(), 2);
        fake.may.add_permits(1);
        assert!(stays.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn few_calls_go_on_at_once() {
        let (fake, certificates) = Fake::new(0);
        let ask = |name: String| {
            let (certificates, url) = (certificates.clone(), url(&name));
            tokio::spawn(async move { certificates.get(&url, NOW_S).await })
        };
        let asking: Vec<_> = (0..MOST_AT_ONCE).map(|number| ask(format!("{number}"))).collect();
        settled().await;
        let refused = certificates.get(&url("more"), NOW_S).await.err();
        assert_eq!(refused, Some(CertificateFault::Busy));
        let waits = ask("0".to_owned());
        settled().await;
        assert_eq!(fake.calls(), MOST_AT_ONCE);
        fake.may.add_permits(MOST_AT_ONCE + 1);
        for one in asking.into_iter().chain([waits]) {
            assert!(one.await.unwrap().is_ok());
        }
        assert!(certificates.get(&url("more"), NOW_S).await.is_ok(), "that is not remembered");
    }

    #[tokio::test]
    async fn the_oldest_goes_and_failures_drive_no_certificate_out() {
        let (fake, certificates) = Fake::new(10_000);
        for (number, now_s) in (NOW_S..).take(MOST_KEPT + 1).enumerate() {
            assert!(certificates.get(&url(&format!("{number}")), now_s).await.is_ok());
        }
        fake.answers(404, "");
        for number in 0..=MOST_KEPT {
            assert!(certificates.get(&url(&format!("no-{number}")), NOW_S).await.is_err());
        }
        let calls = fake.calls();
        assert!(certificates.get(&url(&format!("{MOST_KEPT}")), NOW_S).await.is_ok());
        assert!(certificates.get(&url("1"), NOW_S).await.is_ok());
        assert_eq!(fake.calls(), calls);
        assert!(certificates.get(&url("0"), NOW_S).await.is_err(), "asked for again");
        assert_eq!(fake.calls(), calls + 1);
        assert!(certificates.0.memory.lock().failures.len() <= MOST_KEPT);
    }

    #[tokio::test]
    async fn confirmations_are_calls_that_succeed() {
        let (fake, certificates) = Fake::new(100);
        let host = HostName::parse("sns.us-west-2.amazonaws.com").unwrap();
        for (status, expected) in [
            (200, Ok(())),
            (204, Ok(())),
            (301, Err(CertificateFault::Refused)),
            (403, Err(CertificateFault::Refused)),
            (500, Err(CertificateFault::Refused)),
        ] {
            fake.answers(status, "");
            let confirmed = certificates.0.confirmed(&host, "https://example.com/?x=y").await;
            assert_eq!(confirmed, expected, "{status}");
        }
        assert_eq!(fake.calls(), 5, "nothing of it is remembered");
    }

    #[test]
    fn requests_have_path_and_query_of_the_address() {
        let url = "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:a";
        let request = request(url).unwrap();
        let target = "/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:a";
        assert_eq!(request.uri().to_string(), target);
    }
}
