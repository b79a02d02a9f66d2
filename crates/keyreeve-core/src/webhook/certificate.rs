//! Certificates that sign webhooks: where they may be, who has to have issued them, and what they sign.

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
/// The longest address that is taken.
const LONGEST_URL: usize = 512;
/// The most certificates of a chain that are read.
const LONGEST_CHAIN: usize = 8;

/// Where a provider keeps the certificate that signed a request. The host is the provider's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateUrl {
    host: HostName,
    url: String,
    subjects: &'static [&'static str],
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
    checked(text, &PAYPAL_SUBJECTS, |host, _| host == "paypal.com" || host.ends_with(".paypal.com"))
}

/// Address of a certificate of Amazon SNS: `sns.<region>.amazonaws.com`, or `.com.cn`.
pub(super) fn sns_url(text: &str) -> Result<CertificateUrl, Reason> {
    checked(text, &SNS_SUBJECTS, |host, path| {
        let region = host.strip_prefix("sns.").and_then(|rest| {
            rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
        });
        let is_region = region.is_some_and(|region| {
            let label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            region.len() >= 3 && region.bytes().all(label)
        });
        is_region && path.rsplit('.').next() == Some("pem")
    })
}

/// An address that has one reading only, on a host that the provider keeps.
fn checked(
    text: &str,
    subjects: &'static [&'static str],
    is_allowed: impl Fn(&str, &str) -> bool,
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
    Ok(CertificateUrl { host, url: text.to_owned(), subjects })
}

/// A certificate whose signatures count.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// `SubjectPublicKeyInfo` in DER.
    public_key: Vec<u8>,
    /// The last second in which it is good, of Unix time.
    checked_at_s: u64,
}

impl Certificate {
    /// The first certificate of a PEM file, if it leads to one of these roots by way of the others, is
    /// made out to the provider, and is good at this moment.
    ///
    /// Fails with the rule that is broken.
    pub fn verified(
        pem: &[u8],
        url: &CertificateUrl,
        roots: &[TrustAnchor<'_>],
        now_s: u64,
    ) -> Result<Self, Invalid> {
        let chain = chain(pem)?;
        let (leaf, others) = chain.split_first().ok_or_else(no_certificate)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| no_certificate())?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s));
        certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                roots,
                others,
                now,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(|_| Invalid::new("must be a certificate that a public authority issued"))?;
        let is_theirs = url.subjects.iter().any(|subject| {
            ServerName::try_from(*subject)
                .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        });
        if !is_theirs {
            return Err(Invalid::new("must be a certificate that is made out to the provider"));
        }
        Ok(Self::of(&certificate, now_s))
    }

    /// The first certificate of a PEM file, whoever issued it: for one that is trusted as it is.
    pub fn trusted(pem: &[u8]) -> Result<Self, Invalid> {
        let chain = chain(pem)?;
        let leaf = chain.first().ok_or_else(no_certificate)?;
        Ok(Self::of(&EndEntityCert::try_from(leaf).map_err(|_| no_certificate())?, 0))
    }

    fn of(certificate: &EndEntityCert<'_>, checked_at_s: u64) -> Self {
        let public_key = certificate.subject_public_key_info().as_ref().to_vec();
        Self { public_key, checked_at_s }
    }

    /// When it was looked at last, in seconds of Unix time.
    pub fn checked_at_s(&self) -> u64 {
        self.checked_at_s
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
    use super::*;

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
        ] {
            assert!(sns_url(good).is_ok(), "{good}");
        }
        for bad in [
            "https://sns.us-west-2.amazonaws.com.evil.example/x.pem",
            "https://sns.amazonaws.com/x.pem",
            "https://s3.us-west-2.amazonaws.com/x.pem",
            "https://sns.a.b.amazonaws.com/x.pem",
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
