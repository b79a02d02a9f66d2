//! What verification answers.

macro_rules! verdicts {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $check:literal, $status:literal;)*) => {
        /// The outcome of verifying a key, as callers see it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum VerdictCode {
            $($(#[$doc])* $variant,)*
        }

        impl VerdictCode {
            /// All codes, in the order of the checks.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The check that decided.
            pub const fn check(self) -> &'static str {
                match self { $(Self::$variant => $check,)* }
            }

            /// The status that tells a client so, where a gateway asks on its behalf. A caller of
            /// the API gets 200 and the verdict.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }
        }
    };
}

verdicts! {
    /// The key is good and grants what was required.
    Valid = "VALID", "none", 200;
    /// No key was shown. Only gateways meet this: the API asks for a key.
    Missing = "MISSING", "credential", 401;
    /// Two keys were shown. Only gateways meet this.
    Duplicate = "DUPLICATE", "credential", 400;
    /// Too many bad keys came from this address.
    AbuseLocked = "ABUSE_LOCKED", "abuse", 429;
    /// The text is not a key. No lookup was made.
    Malformed = "MALFORMED", "format", 401;
    /// Keys are locked down.
    Lockdown = "LOCKDOWN", "lockdown", 403;
    /// No such key in the caller's project.
    NotFound = "NOT_FOUND", "lookup", 401;
    /// Revoked for good.
    Revoked = "REVOKED", "state", 401;
    /// Switched off.
    Disabled = "DISABLED", "state", 401;
    /// Before its time.
    NotYetValid = "NOT_YET_VALID", "not_before", 401;
    /// Past its expiry.
    Expired = "EXPIRED", "expiry", 401;
    /// Replaced, and the grace is over.
    GraceEnded = "GRACE_ENDED", "expiry", 401;
    /// Used from an address it may not be used from.
    ForbiddenIp = "FORBIDDEN_IP", "ip", 403;
    /// Used from a country it may not be used from.
    ForbiddenGeo = "FORBIDDEN_GEO", "country", 403;
    /// Used at a time it may not be used at.
    ForbiddenTime = "FORBIDDEN_TIME", "window", 403;
    /// Used by a page it may not be used by.
    ForbiddenOrigin = "FORBIDDEN_ORIGIN", "origin", 403;
    /// Used for something it may not be used for.
    ForbiddenRoute = "FORBIDDEN_ROUTE", "route", 403;
    /// Good, but does not grant what was required.
    InsufficientPermissions = "INSUFFICIENT_PERMISSIONS", "permissions", 403;
    /// A limit is reached.
    RateLimited = "RATE_LIMITED", "limits", 429;
    /// Too many requests at once.
    Concurrency = "CONCURRENCY", "concurrency", 429;
    /// The quota is spent.
    QuotaExceeded = "QUOTA_EXCEEDED", "quota", 429;
    /// This node cannot vouch for what it knows.
    Stale = "STALE", "freshness", 503;
    /// Something went wrong on our side.
    Error = "ERROR", "error", 503;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_only_one_is_good() {
        for (n, code) in VerdictCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, n, "the order of the list is that of the enum");
            assert_eq!(code.http_status() == 200, *code == VerdictCode::Valid, "{code:?}");
            for other in &VerdictCode::ALL[n + 1..] {
                assert_ne!(code.as_str(), other.as_str());
            }
        }
    }
}
