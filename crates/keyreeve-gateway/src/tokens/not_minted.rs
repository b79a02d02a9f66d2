//! Why there is no token.

use crate::proxy::{Refusal, RefusalKind};

/// Why no token was minted. Its words are for callers: nothing of what the issuer answered, nor of an
/// inner address, is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotMinted {
    #[error("its tokens are given out at an address that cannot be called")]
    Address,
    #[error("its tokens are given out at an address that this connection may not call")]
    Forbidden,
    #[error(
        "its service account must have a client_email and a private_key: PEM of RSA, P-256 or Ed25519"
    )]
    ServiceAccount,
    #[error("the issuer of its tokens cannot be reached")]
    Unreachable,
    #[error("the issuer of its tokens did not answer in time")]
    TimedOut,
    #[error("the issuer of its tokens refuses it")]
    Refused,
    #[error("the issuer of its tokens gave none that can be used")]
    NoToken,
    #[error("no token can be asked for with it")]
    Internal,
}

/// A call that has no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) why: NotMinted,
    /// Whether the issuer was asked for this very call, and not remembered to have failed.
    pub(crate) is_new: bool,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let words = format!("the connection's credential cannot be used: {}", failure.why);
        Self::saying(RefusalKind::NoCredential, words).retry_after(1)
    }
}
