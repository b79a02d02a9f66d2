//! What a call is made with: a credential, and a token that was minted with it where it is of that kind.

use std::sync::Arc;

use http::header;
use keyreeve_core::{egress::ScrubSet, vault::VersionNumber};
use keyreeve_engine::connections::{Connection, Credential, Injection};

use super::{Proxy, Refusal, forward::Call, inject::Outgoing};
use crate::tokens::{Failure, Minted, NotMinted};

/// What a call is made with.
pub(crate) struct Proof {
    credential: Arc<Credential>,
    /// The token that goes out instead of the credential.
    pub(super) minted: Option<Arc<Minted>>,
}

impl Proof {
    pub(crate) fn injection(&self) -> &Injection {
        &self.credential.injection
    }

    pub(super) fn version(&self) -> VersionNumber {
        self.credential.version
    }

    /// Whether there may be another one to call with, should the service refuse this one.
    pub(super) fn may_be_replaced(&self) -> bool {
        self.minted.is_some() || self.credential.has_previous
    }

    /// What is taken out of answers.
    pub(super) fn scrub(&self) -> &Arc<ScrubSet> {
        self.minted.as_ref().map_or(&self.credential.scrub, |minted| &minted.scrub)
    }

    /// Puts in what goes into headers. What the client put there goes.
    pub(crate) fn set_headers(&self, outgoing: &mut Outgoing<'_>) -> Result<(), Refusal> {
        outgoing.set_headers(self.injection())?;
        if let Some(minted) = &self.minted {
            outgoing.headers.insert(header::AUTHORIZATION, minted.authorization.clone());
        }
        Ok(())
    }
}

impl Proxy {
    /// What calls are made with that have this credential.
    pub(super) async fn proof(
        &self,
        call: &Call,
        credential: Arc<Credential>,
    ) -> Result<Proof, Refusal> {
        if !is_minted_with(&credential) {
            return Ok(Proof { credential, minted: None });
        }
        // Apart, so that other calls do not carry what only these need.
        Box::pin(self.with_token(call, credential)).await
    }

    /// What one call is made with that asks whether the credential is good: a token is minted for it, and
    /// used by nothing else.
    pub(crate) async fn proof_of_its_own(
        &self,
        connection: &Arc<Connection>,
        credential: Arc<Credential>,
    ) -> Result<Proof, NotMinted> {
        if !is_minted_with(&credential) {
            return Ok(Proof { credential, minted: None });
        }
        let minted = Box::pin(self.tokens.fresh(connection, &credential)).await?;
        Ok(Proof { credential, minted: Some(minted) })
    }

    async fn with_token(
        &self,
        call: &Call,
        mut credential: Arc<Credential>,
    ) -> Result<Proof, Refusal> {
        let (client, connection, meta) = (call.client(), call.connection(), call.meta);
        loop {
            let minted = self.tokens.bearer(&client.project, connection, &credential).await;
            let failure = match minted {
                Ok(minted) => return Ok(Proof { credential, minted: Some(minted) }),
                Err(failure) => failure,
            };
            match failure {
                Failure { why: NotMinted::Forbidden, is_new: true } => {
                    self.figures().address_refused();
                }
                // The issuer refuses a version as a service would.
                Failure { why: NotMinted::Refused, is_new: true } => {
                    let version = credential.version;
                    let other =
                        self.engine.credential_refused(client, connection, version, meta).await?;
                    if let Some(other) = other {
                        credential = other;
                        continue;
                    }
                }
                _ => {}
            }
            return Err(failure.into());
        }
    }

    /// Another token in the place of one that the service refused, if these calls have one and there is
    /// another to be had.
    pub(super) async fn another_token(&self, call: &Call, proof: &Proof) -> Option<Arc<Minted>> {
        let refused = proof.minted.as_ref()?;
        let (project, credential) = (&call.client().project, &proof.credential);
        Box::pin(self.tokens.another(project, call.connection(), credential, refused)).await
    }
}

/// Whether calls go out with a token that is minted with the credential.
fn is_minted_with(credential: &Credential) -> bool {
    matches!(credential.injection, Injection::OAuth2Client { .. } | Injection::OAuth2Jwt { .. })
}
