//! The one table of errors a caller can get. `docs/adr/0004-error-table.md` says why it is closed.

macro_rules! error_table {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// Why a request was not served.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// One line for people, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

error_table! {
    /// The request, or a field of it, breaks a rule. `errors` names field and rule.
    InvalidRequest = "invalid_request", 400, "The request is not valid";
    /// A header that must be there once is there twice.
    DuplicateHeader = "duplicate_header", 400, "A header that must stand once stands twice";
    /// No credential was shown.
    Unauthenticated = "unauthenticated", 401, "A credential is needed";
    /// The credential is unknown, expired, revoked or malformed; which, is not told.
    InvalidCredential = "invalid_credential", 401, "The credential is not valid";
    /// The webhook was not sent by who it says, or not recently. `detail` is the reason's code.
    WebhookNotVerified = "webhook_not_verified", 401, "The webhook could not be verified";
    /// The credential does not allow this.
    Forbidden = "forbidden", 403, "The credential does not allow this";
    /// The new key or role would allow more than its creator may do.
    Escalation = "escalation", 403, "Nobody can grant more than they have";
    /// No such thing in the caller's project, or no such path.
    NotFound = "not_found", 404, "There is no such thing here";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "The path does not take this method";
    /// The page at this origin may not call through the connection.
    ForbiddenOrigin = "forbidden_origin", 403, "Pages of this origin may not call here";
    /// The request did not arrive or was not served in time.
    Timeout = "timeout", 408, "The request took too long";
    /// The name is taken.
    AlreadyExists = "already_exists", 409, "A thing of that name exists";
    /// Something depends on it.
    InUse = "in_use", 409, "Something else depends on it";
    /// The thing's state rules the change out.
    WrongState = "wrong_state", 409, "The state of the thing rules this out";
    /// Somebody else changed the thing in between. Read it again and retry.
    ChangedMeanwhile = "changed_meanwhile", 409, "The thing was changed in between";
    /// The first answer under this idempotency key cannot be shown again.
    IdempotencyResultGone = "idempotency_result_gone", 409,
        "The first answer can no longer be shown";
    /// The body is larger than the limit.
    PayloadTooLarge = "payload_too_large", 413, "The body is too large";
    /// The body must be JSON and say so.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body must be application/json";
    /// The idempotency key was used with another request.
    IdempotencyMismatch = "idempotency_mismatch", 422,
        "The idempotency key was used with another request";
    /// A limit is reached, of the service or of the caller's own key.
    RateLimited = "rate_limited", 429, "Too many requests";
    /// Too many bad credentials came from this address; it is locked out for a while.
    LockedOut = "locked_out", 429, "Too many bad credentials came from this address";
    /// A bug or a broken machine; the log holds the details under the request id.
    Internal = "internal", 500, "Something went wrong on our side";
    /// The service behind the connection cannot be reached, or broke off.
    ServiceUnreachable = "service_unreachable", 502, "The service behind it cannot be reached";
    /// What the service behind the connection answered cannot be passed on.
    ServiceAnswer = "service_answer", 502, "The answer of the service behind it cannot be passed on";
    /// The service behind the connection took too long.
    ServiceTimeout = "service_timeout", 504, "The service behind it took too long";
    /// The service behind the connection did not answer the last calls, so it is left alone for a while.
    CircuitOpen = "circuit_open", 503, "The service behind it is left alone for a while";
    /// The vault is sealed, so there is no credential to call with.
    VaultSealed = "vault_sealed", 503, "The vault is sealed";
    /// The connection's credential is missing or does not fit.
    CredentialUnavailable = "credential_unavailable", 503,
        "There is no credential to call with";
    /// More requests are waiting than the limit allows.
    Overloaded = "overloaded", 503, "Too many requests are waiting";
    /// The store cannot be reached or cannot write.
    StoreUnavailable = "store_unavailable", 503, "The store is not available";
    /// The counts that all nodes share cannot be reached.
    CountsUnavailable = "counts_unavailable", 503, "The counts of all nodes are not available";
}

impl ErrorCode {
    /// The code of that name.
    pub fn named(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == code)
    }

    /// The RFC 9457 `type`: a path on the server that explains the error.
    pub fn type_uri(self) -> String {
        format!("/errors/{}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_errors_have_error_statuses() {
        for (n, code) in ErrorCode::ALL.iter().enumerate() {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert_eq!(ErrorCode::named(code.as_str()), Some(*code));
            for other in &ErrorCode::ALL[n + 1..] {
                assert_ne!(code.as_str(), other.as_str());
                assert_ne!(code.title(), other.title());
            }
        }
    }

    #[test]
    fn every_code_is_documented() {
        let page = include_str!("../../../docs/errors.md");
        for code in ErrorCode::ALL {
            let heading = format!("| `{}` | {} |", code.as_str(), code.status());
            assert!(page.contains(&heading), "docs/errors.md lacks {heading}");
        }
    }
}
