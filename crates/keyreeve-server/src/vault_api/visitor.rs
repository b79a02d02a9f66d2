//! Who calls: the holder of an API key, or of a token of the vault.

use std::sync::Arc;

use keyreeve_api::ErrorCode;
use keyreeve_core::vault::{TOKEN_PREFIX, VaultToken};
use keyreeve_engine::{
    Caller, Engine,
    vault::{VaultAccess, VaultError},
};

use super::{answer::Refusal, request::VaultRequest};
use crate::{
    authenticate::{self, Arrival},
    problem::Failure,
};

/// Somebody whose credential was good.
pub(super) struct Visitor {
    pub(super) who: Who,
    pub(super) access: VaultAccess,
}

/// By what they are known.
pub(super) enum Who {
    /// An API key, or the local user.
    Caller(Caller),
    /// A token of the vault, and its digest.
    Holder { id: String, token: Arc<VaultToken> },
}

impl Visitor {
    /// Who sent a request.
    pub(super) async fn of(
        engine: &Engine,
        request: &VaultRequest,
        arrival: &Arrival,
    ) -> Result<Self, Refusal> {
        let credential = authenticate::credential(&request.parts.headers)?;
        let Some(token) = credential.filter(|text| text.starts_with(TOKEN_PREFIX)) else {
            let caller = authenticate::caller(engine, (&request.parts).into(), arrival).await?;
            let access = engine.vault_access(&caller).await?;
            return Ok(Self { who: Who::Caller(caller), access });
        };
        if !engine.can_vouch() {
            return Err(Failure::new(ErrorCode::StoreUnavailable).into());
        }
        match engine.token_holder(token, arrival.meta).await {
            Ok(holder) => {
                let who = Who::Holder { id: holder.id, token: holder.token };
                Ok(Self { who, access: holder.access })
            }
            Err(error) => {
                if matches!(error, VaultError::BadToken) {
                    // Guesses are bounded as those of keys are.
                    engine.admit_anonymous(arrival.meta.ip).map_err(Failure::from)?;
                    let code = ErrorCode::InvalidCredential.as_str();
                    engine.count_failed_authentication(arrival.meta.ip, code);
                }
                Err(error.into())
            }
        }
    }

    /// The API key, for what tokens may not do; that they tried is recorded.
    pub(super) async fn caller(
        &self,
        engine: &Engine,
        request: &VaultRequest,
    ) -> Result<&Caller, Refusal> {
        match &self.who {
            Who::Caller(caller) => Ok(caller),
            Who::Holder { .. } => Err(self.refuse(engine, request).await),
        }
    }

    /// Refuses a call, and records that.
    pub(super) async fn refuse(&self, engine: &Engine, request: &VaultRequest) -> Refusal {
        // A path may hold anything; the audit keeps as much as names a call.
        let call: String = request.path.chars().filter(|c| !c.is_control()).take(128).collect();
        engine.refuse_call(&self.access, &call).await.into()
    }
}
