//! From a credential to a [`Caller`].

use keyreeve_core::{restriction::RequestFacts, verdict::VerdictCode};

use crate::{
    Caller, Engine, RequestMeta,
    verify::{Verdict, VerifyInput},
};

/// The credential does not let its bearer in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// It is not good. Why is not told to whoever showed it.
    #[error("the credential is not valid")]
    Invalid,
    /// Too many bad credentials came from this address.
    #[error("too many bad credentials came from this address")]
    LockedOut {
        /// Whole seconds until it may try again.
        retry_after_s: u64,
    },
    /// It is good, but not for this request.
    #[error("the credential is good, but not for this request")]
    Refused(Box<Verdict>),
}

impl Engine {
    /// Takes a key as a credential for Keyreeve itself. Everything that bounds the key bounds its
    /// use here too. Whether knowledge that may be stale is enough, the caller's wish decides: it is
    /// where each answer says so itself.
    pub async fn authenticate(
        &self,
        token: &str,
        meta: RequestMeta,
        request: RequestFacts<'_>,
        user_agent: Option<&str>,
        may_be_stale: bool,
    ) -> Result<Caller, AuthenticationError> {
        if let Some(retry_after_s) = self.locked_out(meta.ip) {
            self.count_failed_authentication(meta.ip, "locked_out");
            return Err(AuthenticationError::LockedOut { retry_after_s });
        }
        let request = RequestFacts { ip: meta.ip, ..request };
        // Its requests end before anybody could give up a place in flight.
        let input = VerifyInput {
            request,
            user_agent,
            in_flight: false,
            may_be_stale,
            ..VerifyInput::new(token)
        };
        let (verdict, chain) = self.settle(None, &input).await;
        if let (VerdictCode::Valid, Some(chain)) = (verdict.code, chain) {
            self.usage.record(&chain.key, verdict.at, meta.ip, user_agent);
            return Ok(Caller::key(chain, meta));
        }
        if verdict.code.http_status() == 401 {
            self.count_bad_credential(meta.ip);
            return Err(AuthenticationError::Invalid);
        }
        self.count_failed_authentication(meta.ip, verdict.code.as_str());
        Err(AuthenticationError::Refused(verdict))
    }
}
