//! From a credential to a [`Caller`].

use keyreeve_core::{key::ParsedKey, verdict::VerdictCode};

use crate::{Caller, Engine, RequestMeta};

/// The credential is not good. Why is not told to whoever showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential is not valid")]
pub struct AuthenticationError;

impl Engine {
    /// Takes a key as a credential for Keyreeve itself. No database is asked.
    pub fn authenticate(
        &self,
        token: &str,
        request: RequestMeta,
        user_agent: Option<&str>,
    ) -> Result<Caller, AuthenticationError> {
        let parsed = ParsedKey::parse(token).map_err(|_| AuthenticationError)?;
        let key = self.live.key(&parsed.id).ok_or(AuthenticationError)?;
        if !self.digester.matches(key.digest(), &parsed.token) {
            return Err(AuthenticationError);
        }
        let now = self.now();
        if key.standing(now) != VerdictCode::Valid {
            return Err(AuthenticationError);
        }
        self.usage.record(&key, now, request.ip, user_agent);
        Ok(Caller::key(key, request))
    }
}
