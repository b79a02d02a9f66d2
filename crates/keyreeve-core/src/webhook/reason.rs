//! Why a request was refused.

use std::fmt;

/// Why a request was refused, as a code that machines read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No signature fits any key.
    BadSignature,
    /// The shared token is another one.
    BadToken,
    /// A header that the scheme needs is not there.
    MissingHeader,
    /// The place of the signature is there, but no signature.
    MissingSignature,
    /// The time that is signed is not there.
    MissingTimestamp,
    /// A header, or what stands for one in the body, cannot be read.
    MalformedHeader,
    /// A header that may stand once stands more than once.
    DuplicateHeader,
    /// It was signed too long ago.
    StaleTimestamp,
    /// It was signed in the future.
    FutureTimestamp,
    /// It was seen before.
    Replay,
    /// There are signatures, but none of a kind that is looked at.
    NoSupportedSignature,
    /// It names an algorithm that is not taken.
    UnsupportedAlgorithm,
    /// What was signed says that the body is another one.
    BodyHashMismatch,
    /// What was signed says nothing about the body.
    UnauthenticatedBody,
    /// The certificate is not where the provider keeps its own.
    UntrustedCertUrl,
    /// Signed by the service, but for a topic that is not ours.
    TopicNotAllowed,
    /// It came from an address that is not allowed.
    IpNotAllowed,
    /// The source is not set up so that anything could be verified.
    ConfigError,
}

impl Reason {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::BadToken => "bad_token",
            Self::MissingHeader => "missing_header",
            Self::MissingSignature => "missing_signature",
            Self::MissingTimestamp => "missing_timestamp",
            Self::MalformedHeader => "malformed_header",
            Self::DuplicateHeader => "duplicate_header",
            Self::StaleTimestamp => "stale_timestamp",
            Self::FutureTimestamp => "future_timestamp",
            Self::Replay => "replay",
            Self::NoSupportedSignature => "no_supported_signature",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::BodyHashMismatch => "body_hash_mismatch",
            Self::UnauthenticatedBody => "unauthenticated_body",
            Self::UntrustedCertUrl => "untrusted_cert_url",
            Self::TopicNotAllowed => "topic_not_allowed",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::ConfigError => "config_error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
