//! What verification answers.

/// The outcome of verifying a key, as callers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerdictCode {
    /// The key is good and grants what was required.
    Valid,
    /// The text is not a key. No lookup was made.
    Malformed,
    /// No such key in the caller's project.
    NotFound,
    /// Revoked for good.
    Revoked,
    /// Switched off.
    Disabled,
    /// Past its expiry.
    Expired,
    /// Replaced, and the grace is over.
    GraceEnded,
    /// Good, but does not grant what was required.
    InsufficientPermissions,
}

impl VerdictCode {
    /// All codes, in the order of the checks.
    pub const ALL: [Self; 8] = [
        Self::Valid,
        Self::Malformed,
        Self::NotFound,
        Self::Revoked,
        Self::Disabled,
        Self::Expired,
        Self::GraceEnded,
        Self::InsufficientPermissions,
    ];

    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Malformed => "MALFORMED",
            Self::NotFound => "NOT_FOUND",
            Self::Revoked => "REVOKED",
            Self::Disabled => "DISABLED",
            Self::Expired => "EXPIRED",
            Self::GraceEnded => "GRACE_ENDED",
            Self::InsufficientPermissions => "INSUFFICIENT_PERMISSIONS",
        }
    }

    /// The check that decided.
    pub fn check(self) -> &'static str {
        match self {
            Self::Valid => "none",
            Self::Malformed => "format",
            Self::NotFound => "lookup",
            Self::Revoked | Self::Disabled => "state",
            Self::Expired | Self::GraceEnded => "expiry",
            Self::InsufficientPermissions => "permissions",
        }
    }
}
