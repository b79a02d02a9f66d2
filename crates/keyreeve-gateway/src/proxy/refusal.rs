//! Why a call was not made.

use keyreeve_core::restriction::Broken;
use keyreeve_engine::{AuthenticationError, connections::CallRefused, vault::VaultError};

/// Why a call was not made, or not answered. What is here is for the caller: nothing of a secret, of an
/// inner address or of another tenant.
#[derive(Debug)]
pub struct Refusal {
    /// Whose fault it is.
    pub kind: RefusalKind,
    /// More of it in words.
    pub detail: Option<String>,
    /// Whole seconds after which trying again may help.
    pub retry_after_s: Option<u64>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Whose fault it is that there is no answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RefusalKind {
            $($(#[$doc])* $name,)*
        }

        impl RefusalKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As figures name it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// The request cannot be read in one way only.
    Invalid = "invalid",
    /// A credential is there twice.
    TwoCredentials = "two_credentials",
    /// No credential was shown.
    Unauthenticated = "unauthenticated",
    /// The credential is not good.
    BadCredential = "bad_credential",
    /// A webhook was not sent by who it says, or not recently.
    NotVerified = "not_verified",
    /// The credential is good, but not for this.
    Forbidden = "forbidden",
    /// The page is not one that may call.
    Origin = "origin",
    /// There is no such connection.
    NotFound = "not_found",
    /// The method is not passed on.
    Method = "method",
    /// The body is longer than the connection allows.
    TooLarge = "too_large",
    /// A limit is reached.
    RateLimited = "rate_limited",
    /// Too many bad credentials came from this address.
    LockedOut = "locked_out",
    /// The vault is sealed.
    Sealed = "sealed",
    /// There is no credential to call with.
    NoCredential = "no_credential",
    /// This node does not know enough, or cannot write.
    Unavailable = "unavailable",
    /// The service cannot be reached, or may not be.
    Unreachable = "unreachable",
    /// The service did not answer in time.
    TimedOut = "timed_out",
    /// The service did not answer the last calls, so it is left alone for a while.
    CircuitOpen = "circuit_open",
    /// What the service answered is no HTTP, or cannot be looked through.
    BadAnswer = "bad_answer",
    /// Something went wrong on our side.
    Internal = "internal",
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind) -> Self {
        Self { kind, detail: None, retry_after_s: None }
    }

    pub(crate) fn saying(kind: RefusalKind, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(kind) }
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl From<CallRefused> for Refusal {
    fn from(refused: CallRefused) -> Self {
        let words = refused.to_string();
        match refused {
            CallRefused::Origin => Self::new(RefusalKind::Origin),
            CallRefused::Restricted(why) if why.broken == Broken::Origin => {
                Self::new(RefusalKind::Origin)
            }
            CallRefused::Authentication(error) => error.into(),
            CallRefused::NotAllowed { .. }
            | CallRefused::Disabled
            | CallRefused::NotForToken(_)
            | CallRefused::Restricted(_) => Self::saying(RefusalKind::Forbidden, words),
            CallRefused::NoSuchConnection => Self::saying(RefusalKind::NotFound, words),
            CallRefused::Target(_) => Self::saying(RefusalKind::Invalid, words),
            CallRefused::TooMany(too_many) => {
                Self::saying(RefusalKind::RateLimited, words).retry_after(too_many.retry_after_s)
            }
            CallRefused::TooManyAtOnce { .. } => {
                Self::saying(RefusalKind::RateLimited, words).retry_after(1)
            }
            CallRefused::NoCredential(_) => Self::saying(RefusalKind::NoCredential, words),
            CallRefused::Vault(VaultError::Sealed) => Self::new(RefusalKind::Sealed),
            CallRefused::Vault(error) => {
                tracing::error!(%error, "the vault gave no credential for a call");
                Self::new(RefusalKind::NoCredential)
            }
            CallRefused::Stale | CallRefused::NotRecorded => {
                Self::new(RefusalKind::Unavailable).retry_after(1)
            }
            _ => Self::new(RefusalKind::Internal),
        }
    }
}

impl From<AuthenticationError> for Refusal {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::LockedOut { retry_after_s } => {
                Self::new(RefusalKind::LockedOut).retry_after(retry_after_s)
            }
            AuthenticationError::Refused(verdict) => {
                let kind = match verdict.code.http_status() {
                    429 => RefusalKind::RateLimited,
                    503 => RefusalKind::Unavailable,
                    _ => RefusalKind::Forbidden,
                };
                let why = verdict.why.as_deref().unwrap_or("the key is not good for this request");
                let refusal = Self::saying(kind, why);
                match verdict.retry_after_s {
                    Some(wait) => refusal.retry_after(wait),
                    None => refusal,
                }
            }
            _ => Self::new(RefusalKind::BadCredential),
        }
    }
}
