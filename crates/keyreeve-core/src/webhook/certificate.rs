//! Certificates that sign webhooks: where they may be, who has to have issued them, and what they sign.
//! Besides, the other address that a provider may have us call: the one that confirms a subscription.

use std::fmt;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime, pem::PemObject as _};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

use super::Reason;
use crate::{Invalid, egress::HostName};

/// The header in which `PayPal` says where its certificate is.
pub(super) const PAYPAL_CERTIFICATE: &str = "PAYPAL-CERT-URL";
/// The names that `PayPal`'s certificates are made out to.
const PAYPAL_SUBJECTS: [&str; 2] =
    ["messageverificationcerts.paypal.com", "messageverificationcerts.sandbox.paypal.com"];
/// The names that Amazon's are made out to.
const SNS_SUBJECTS: [&str; 2] = ["sns.amazonaws.com", "sns.amazonaws.com.cn"];
/// The longest address of a certificate that is taken.
const LONGEST_URL: usize = 512;
/// The longest address of a confirmation, which has a token and a topic in it.
const LONGEST_CONFIRMATION: usize = 2_048;
/// The most certificates of a chain that are read.
const LONGEST_CHAIN: usize = 8;

/// Where a provider keeps the certificate that signed a request. The host is the provider's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateUrl {
    host: HostName,
    url: String,
    subjects: &'static [&'static str],
    /// Whether the provider's file has those that issued the certificate, too.
    has_issuers: bool,
}

impl CertificateUrl {
    /// The whole address; `https`, on the usual port.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Its host.
    pub fn host(&self) -> &HostName {
        &self.host
    }
}

/// Address of a certificate of `PayPal`.
pub(super) fn paypal_url(text: &str) -> Result<CertificateUrl, Reason> {
    let is_theirs = |host: &str, _: &str| host == "paypal.com" || host.ends_with(".paypal.com");
    checked(text, is_theirs, &PAYPAL_SUBJECTS, true)
}

/// Address of a certificate of Amazon SNS: `sns.<region>.amazonaws.com`, or `.com.cn`.
pub(super) fn sns_url(text: &str) -> Result<CertificateUrl, Reason> {
    let is_theirs =
        |host: &str, path: &str| is_sns_host(host) && path.rsplit('.').next() == Some("pem");
    checked(text, is_theirs, &SNS_SUBJECTS, false)
}

/// Whether that is Amazon SNS in some region: `us-west-2`, `us-gov-east-1`. Names of other services have the
/// same form but for that, such as `sns.s3-us-west-2.amazonaws.com`, where anybody may keep something.
fn is_sns_host(host: &str) -> bool {
    let region = host.strip_prefix("sns.").and_then(|rest| {
        rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
    });
    let parts: Vec<&str> = region.unwrap_or_default().split('-').collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.as_slice() {
        [land, words @ .., number] => {
            land.len() == 2
                && is_word(land)
                && !words.is_empty()
                && words.iter().all(is_word)
                && (1..=2).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_digit())
        }
        _ => false,
    }
}

/// What is called to confirm a subscription. The host is the provider's own.
///
/// Its query holds a token that confirms, so that `Debug` shows the host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmationUrl {
    host: HostName,
    url: String,
}

impl ConfirmationUrl {
    /// The whole address; `https`, on the usual port.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Its host.
    pub fn host(&self) -> &HostName {
        &self.host
    }
}

impl fmt::Debug for ConfirmationUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfirmationUrl").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What Amazon SNS has us call to confirm a subscription. SNS signed it, but what is called for whoever
/// writes to us must not be anything else either.
pub(super) fn sns_subscribe_url(text: &str) -> Result<ConfirmationUrl, Reason> {
    let malformed = Reason::MalformedHeader;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:%&=/+".contains(&byte);
    if text.len() > LONGEST_CONFIRMATION {
        return Err(malformed);
    }
    let rest = text.strip_prefix("https://").ok_or(malformed)?;
    let (authority, query) = rest.split_once("/?").ok_or(malformed)?;
    let host = HostName::parse(authority).map_err(|_| malformed)?;
    let is_theirs = host.as_str() == authority && is_sns_host(authority);
    if !is_theirs || query.is_empty() || !query.bytes().all(plain) {
        return Err(malformed);
    }
    Ok(ConfirmationUrl { host, url: text.to_owned() })
}

/// An address that has one reading only, on a host that the provider keeps.
fn checked(
    text: &str,
    is_allowed: impl Fn(&str, &str) -> bool,
    subjects: &'static [&'static str],
    has_issuers: bool,
) -> Result<CertificateUrl, Reason> {
    let untrusted = Reason::UntrustedCertUrl;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    if text.len() > LONGEST_URL || !text.bytes().all(plain) || text.contains("..") {
        return Err(untrusted);
    }
    let rest = text.strip_prefix("https://").ok_or(untrusted)?;
    let (authority, path) = rest.split_at(rest.find('/').ok_or(untrusted)?);
    // A port of one's own is no host, and another spelling of the host is not compared.
    let host = HostName::parse(authority).map_err(|_| untrusted)?;
    if host.as_str() != authority || !is_allowed(authority, path) {
        return Err(untrusted);
    }
    Ok(CertificateUrl { host, url: text.to_owned(), subjects, has_issuers })
}

/// A certificate whose signatures count.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// `SubjectPublicKeyInfo` in DER.
    public_key: Vec<u8>,
}

impl Certificate {
    /// The first certificate of a PEM file, if it leads to one of these roots by way of the others, is
    /// made out to the provider, and is good at this moment.
    ///
    /// Amazon serves its certificate alone, without those that issued it, so that nothing leads to a root.
    /// There, that TLS proved the host has to do, and the name; when it ends is not looked at.
    ///
    /// Until when it is good is not known here: whoever keeps it looks again now and then. Fails with the
    /// rule that is broken.
    pub fn verified(
        pem: &[u8],
        url: &CertificateUrl,
        roots: &[TrustAnchor<'_>],
        now_s: u64,
    ) -> Result<Self, Invalid> {
        let chain = chain(pem)?;
        let (leaf, others) = chain.split_first().ok_or_else(no_certificate)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| no_certificate())?;
        if url.has_issuers || !others.is_empty() {
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s));
            let usage = KeyUsage::server_auth();
            let algorithms = ALL_VERIFICATION_ALGS;
            certificate
                .verify_for_usage(algorithms, roots, others, now, usage, None, None)
                .map_err(|_| {
                    Invalid::new("must be a certificate that a public authority issued")
                })?;
        }
        let is_theirs = url.subjects.iter().any(|subject| {
            ServerName::try_from(*subject)
                .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        });
        if !is_theirs {
            return Err(Invalid::new("must be a certificate that is made out to the provider"));
        }
        Ok(Self::of(&certificate))
    }

    /// The first certificate of a PEM file, whoever issued it: for one that is trusted as it is.
    pub fn trusted(pem: &[u8]) -> Result<Self, Invalid> {
        let chain = chain(pem)?;
        let leaf = chain.first().ok_or_else(no_certificate)?;
        Ok(Self::of(&EndEntityCert::try_from(leaf).map_err(|_| no_certificate())?))
    }

    fn of(certificate: &EndEntityCert<'_>) -> Self {
        Self { public_key: certificate.subject_public_key_info().as_ref().to_vec() }
    }

    pub(super) fn signed(&self, sha1: bool, message: &[u8], signature: &[u8]) -> bool {
        let parameters = if sha1 {
            &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY
        } else {
            &RSA_PKCS1_2048_8192_SHA256
        };
        UnparsedPublicKey::new(parameters, &self.public_key).verify(message, signature).is_ok()
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    CertificateDer::pem_slice_iter(pem)
        .take(LONGEST_CHAIN)
        .collect::<Result<_, _>>()
        .map_err(|_| no_certificate())
}

fn no_certificate() -> Invalid {
    Invalid::new("must be a certificate in PEM")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der},
        rand::SystemRandom,
        rsa,
        signature::RSA_PKCS1_SHA256,
    };
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;
    use crate::webhook::{
        HeaderLine, ReceivedRequest, Settings, certificate_needed, named, verify,
    };

    /// A day in 2027.
    const NOW_S: u64 = 1_800_000_000;
    const SUBJECT: &str = "messageverificationcerts.paypal.com";

    /// Somebody who issues certificates, and what is trusted of them.
    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        root: CertificateDer<'static>,
    }

    impl Authority {
        /// All have the same name, so that only the key tells them apart.
        fn new() -> Self {
            let key = KeyPair::generate().unwrap();
            let params = issuing("Example Root");
            let root = params.self_signed(&key).unwrap().der().clone();
            Self { issuer: Issuer::new(params, key), root }
        }

        fn issue(&self, params: &CertificateParams) -> String {
            params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().pem()
        }

        /// The rule that a file breaks, if it breaks one.
        fn refuses(&self, pem: &str) -> Option<String> {
            let root = webpki::anchor_from_trusted_cert(&self.root).unwrap();
            let url = paypal_url("https://api.paypal.com/v1/notifications/certs/CERT-1").unwrap();
            let verified = Certificate::verified(pem.as_bytes(), &url, &[root], NOW_S);
            verified.err().map(|broken| broken.rule().to_owned())
        }
    }

    fn issuing(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    /// Good for the years 2025 to 2029.
    fn leaf(subject: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec![subject.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        params
    }

    #[test]
    fn certificates_lead_to_an_authority_and_are_the_providers() {
        let authority = Authority::new();
        assert_eq!(authority.refuses(&authority.issue(&leaf(SUBJECT))), None);

        let elsewhere = authority.refuses(&authority.issue(&leaf("api.paypal.com"))).unwrap();
        assert!(elsewhere.contains("made out to the provider"), "{elsewhere}");

        let mut past = leaf(SUBJECT);
        past.not_after = date_time_ymd(2026, 1, 1);
        let mut future = leaf(SUBJECT);
        future.not_before = date_time_ymd(2029, 1, 1);
        let own = leaf(SUBJECT).self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        for (case, pem) in [
            ("expired", authority.issue(&past)),
            ("not yet good", authority.issue(&future)),
            ("of another authority", Authority::new().issue(&leaf(SUBJECT))),
            ("signed by itself", own),
        ] {
            let rule = authority.refuses(&pem).unwrap_or_else(|| panic!("{case}"));
            assert!(rule.contains("public authority"), "{case}: {rule}");
        }
        for nothing in ["", "\n", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"] {
            let rule = authority.refuses(nothing).unwrap();
            assert!(rule.contains("in PEM"), "{rule}");
        }
    }

    /// All the way that a live request goes: where its certificate is, whether that is the provider's, and
    /// whether it signed the request.
    #[test]
    fn a_request_of_paypal_is_verified_by_what_was_fetched() {
        let authority = Authority::new();
        let private = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&private).unwrap();
        let key = KeyPair::try_from(der.as_ref()).unwrap();
        let pem = leaf(SUBJECT).signed_by(&key, &authority.issuer).unwrap().pem();
        let scheme = named("paypal").unwrap();
        let body = br#"{"id":"WH-EXAMPLE-1","event_type":"PAYMENT.SALE.COMPLETED"}"#;
        let (id, time, webhook) = ("made-up-1", "2027-01-15T08:00:00Z", "1EXAMPLE7777777X");
        let message = format!("{id}|{time}|{webhook}|{}", crc32fast::hash(body));
        let mut signature = vec![0; private.public_modulus_len()];
        private
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .unwrap();
        let signature = STANDARD.encode(signature);
        let headers = [
            ("PAYPAL-TRANSMISSION-ID", id),
            ("PAYPAL-TRANSMISSION-TIME", time),
            ("PAYPAL-TRANSMISSION-SIG", &signature),
            ("PAYPAL-AUTH-ALGO", "SHA256withRSA"),
            (PAYPAL_CERTIFICATE, "https://api.paypal.com/v1/notifications/certs/CERT-1"),
        ]
        .map(|(name, value)| HeaderLine { name, value: value.as_bytes() });
        let request = ReceivedRequest {
            method: "POST",
            url: "https://app.example.com/hooks/in",
            headers: &headers,
            body,
            remote_ip: None,
            now_ms: i64::try_from(NOW_S).unwrap() * 1_000,
        };
        let url = certificate_needed(&scheme, &request).unwrap().unwrap();
        let root = webpki::anchor_from_trusted_cert(&authority.root).unwrap();
        let fetched = Certificate::verified(pem.as_bytes(), &url, &[root], NOW_S).unwrap();
        let verdict = |webhook: &str, certificate, body| {
            let settings = Settings { certificate, ..Settings::default() };
            let keys = [scheme.key(webhook).unwrap()];
            verify(&scheme, &keys, &settings, &ReceivedRequest { body, ..request })
        };
        assert!(verdict(webhook, Some(&fetched), body).is_ok());
        let other = Err(Reason::BadSignature);
        assert_eq!(verdict("2EXAMPLE7777777X", Some(&fetched), body), other);
        assert_eq!(verdict(webhook, Some(&fetched), b"{}"), other);
        assert_eq!(verdict(webhook, None, body), Err(Reason::ConfigError));
    }

    #[test]
    fn amazons_certificate_comes_alone() {
        let authority = Authority::new();
        let url = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-010a.pem";
        let is_good = |pem: &str| {
            let root = webpki::anchor_from_trusted_cert(&authority.root).unwrap();
            Certificate::verified(pem.as_bytes(), &sns_url(url).unwrap(), &[root], NOW_S).is_ok()
        };
        let stranger = Authority::new();
        assert!(is_good(&stranger.issue(&leaf("sns.amazonaws.com"))), "the host vouches for it");
        assert!(!is_good(&stranger.issue(&leaf("evil.example"))), "but not for any name");
        let issuers = stranger.issue(&issuing("Example Between"));
        let both = format!("{}{issuers}", stranger.issue(&leaf("sns.amazonaws.com")));
        assert!(!is_good(&both), "issuers that come along must lead to a root");
    }

    #[test]
    fn certificates_between_are_used() {
        let authority = Authority::new();
        let key = KeyPair::generate().unwrap();
        let params = issuing("Example Between");
        let between = params.signed_by(&key, &authority.issuer).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let pem = leaf(SUBJECT).signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem();
        assert_eq!(authority.refuses(&format!("{pem}{between}")), None);
        assert!(authority.refuses(&pem).is_some(), "nothing is fetched to close a gap");
        assert!(authority.refuses(&format!("{between}{pem}")).is_some(), "the first one signs");
    }

    #[test]
    fn subscriptions_are_confirmed_at_the_provider_only() {
        let query = "Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-west-2:123456789012:MyTopic\
                     &Token=2336412f37";
        for host in ["sns.us-west-2.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn"] {
            let url = format!("https://{host}/?{query}");
            let confirmation = sns_subscribe_url(&url).unwrap();
            assert_eq!((confirmation.as_str(), confirmation.host().as_str()), (&*url, host));
            assert!(!format!("{confirmation:?}").contains("2336412f37"));
        }
        let usual = "https://sns.us-west-2.amazonaws.com";
        for bad in [
            String::new(),
            format!("http://sns.us-west-2.amazonaws.com/?{query}"),
            format!("HTTPS://sns.us-west-2.amazonaws.com/?{query}"),
            format!("https://sns.us-west-2.amazonaws.com.evil.example/?{query}"),
            format!("https://evil.example/?https://sns.us-west-2.amazonaws.com/?{query}"),
            format!("https://s3.us-west-2.amazonaws.com/?{query}"),
            format!("https://SNS.us-west-2.amazonaws.com/?{query}"),
            format!("{usual}.:443/?{query}"),
            format!("{usual}:443/?{query}"),
            format!("{usual}/x?{query}"),
            format!("{usual}/x/?{query}"),
            format!("{usual}?{query}"),
            format!("{usual}/?"),
            format!("{usual}/"),
            format!("{usual}/?{query}#x"),
            format!("{usual}/?{query} HTTP/1.1\r\nX: y"),
            format!("{usual}/?{query}&x={}", "a".repeat(LONGEST_CONFIRMATION)),
            format!("{usual}/?x=\u{e9}"),
            "https://user@sns.us-west-2.amazonaws.com/?x".to_owned(),
        ] {
            assert_eq!(sns_subscribe_url(&bad), Err(Reason::MalformedHeader), "{bad}");
        }
    }

    #[test]
    fn certificates_are_fetched_from_the_provider_only() {
        for good in [
            "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270",
            "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1",
            "https://paypal.com/x",
        ] {
            assert!(paypal_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.paypal.com/x",
            "https://api.paypal.com.evil.example/x",
            "https://evilpaypal.com/x",
            "https://api.paypal.com:8443/x",
            "https://api.paypal.com:443/x",
            "https://user@api.paypal.com/x",
            "https://evil.example/@api.paypal.com/x",
            "https://evil.example#.paypal.com/x",
            "https://evil.example\\.paypal.com/x",
            "https://api.PayPal.com/x",
            "https://api.paypal.com",
            "https://api.paypal.com./x",
            "https://.paypal.com/x",
            "https://api.paypal.com/../x",
            "https://api.paypal.com/x?y",
            "HTTPS://api.paypal.com/x",
            "",
        ] {
            assert_eq!(paypal_url(bad), Err(Reason::UntrustedCertUrl), "{bad}");
        }
        for good in [
            "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-010a.pem",
            "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-010a.pem",
            "https://sns.us-gov-east-1.amazonaws.com/SimpleNotificationService-010a.pem",
        ] {
            assert!(sns_url(good).is_ok(), "{good}");
        }
        for bad in [
            "https://sns.us-west-2.amazonaws.com.evil.example/x.pem",
            "https://sns.amazonaws.com/x.pem",
            "https://s3.us-west-2.amazonaws.com/x.pem",
            "https://sns.a.b.amazonaws.com/x.pem",
            "https://sns.s3-us-west-2.amazonaws.com/x.pem",
            "https://sns.s3-accelerate.amazonaws.com/x.pem",
            "https://sns.us-west.amazonaws.com/x.pem",
            "https://sns.us-2.amazonaws.com/x.pem",
            "https://sns.us--2.amazonaws.com/x.pem",
            "https://sns.US-WEST-2.amazonaws.com/x.pem",
            "https://sns.us.amazonaws.com/x.pem",
            "https://sns.us-west-2.amazonaws.com/x.txt",
            "https://sns.us-west-2.amazonaws.com.cn.cn/x.pem",
            "http://sns.us-west-2.amazonaws.com/x.pem",
        ] {
            assert_eq!(sns_url(bad), Err(Reason::UntrustedCertUrl), "{bad}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bad in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Certificate::trusted(bad.as_bytes()).is_err());
        }
    }
}
