//! Switching keys on and off, for a while or for good.

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    duration,
    key::KeyId,
    lifecycle::{InvalidTransition, KeyState, Lifecycle},
    model::ApiKey,
};

use super::{TRIES, target};
use crate::{
    Action, Engine, Error, Permit,
    action::{DeleteKey, DisableKey, EnableKey, FinishRotation, PurgeKey, RevokeKey, UndeleteKey},
    store::{Change, CommitError, Kind, StoredKey},
};

impl Engine {
    /// Refuses a key for good. When this returns, the next verification denies. Revoking twice
    /// changes nothing and is no error, so an emergency script can be run again.
    pub async fn revoke_key(
        &self,
        permit: Permit<'_, RevokeKey>,
        id: KeyId,
        reason: Option<String>,
    ) -> Result<StoredKey, Error> {
        let revoked = self
            .change_state(&permit, id, reason.clone(), |key, now| {
                key.lifecycle.clone().revoke(reason.clone(), now)
            })
            .await;
        match revoked {
            Err(Error::WrongState(InvalidTransition::Already(KeyState::Revoked))) => {
                Ok(self.with_pending_usage(self.stored_key(&permit, id).await?))
            }
            other => other,
        }
    }

    /// Switches a key off.
    pub async fn disable_key(
        &self,
        permit: Permit<'_, DisableKey>,
        id: KeyId,
        reason: Option<String>,
    ) -> Result<StoredKey, Error> {
        self.change_state(&permit, id, reason, |key, now| key.lifecycle.clone().disable(now)).await
    }

    /// Switches a key on again.
    pub async fn enable_key(
        &self,
        permit: Permit<'_, EnableKey>,
        id: KeyId,
        reason: Option<String>,
    ) -> Result<StoredKey, Error> {
        self.check_revival(&permit, id).await?;
        self.change_state(&permit, id, reason, |key, _| key.lifecycle.clone().enable()).await
    }

    /// Takes a key out of sight. It is refused from now on and can be brought back for 30 days.
    pub async fn delete_key(
        &self,
        permit: Permit<'_, DeleteKey>,
        id: KeyId,
    ) -> Result<StoredKey, Error> {
        self.change_state(&permit, id, None, |key, now| key.lifecycle.clone().delete(now)).await
    }

    /// Brings a deleted key back as it was.
    pub async fn undelete_key(
        &self,
        permit: Permit<'_, UndeleteKey>,
        id: KeyId,
        reason: Option<String>,
    ) -> Result<StoredKey, Error> {
        self.check_revival(&permit, id).await?;
        self.change_state(&permit, id, reason, |key, now| key.lifecycle.clone().undelete(now)).await
    }

    /// Ends the grace of a replaced key now; with `if_silent_for`, only if it was not used for
    /// that long.
    pub async fn finish_rotation(
        &self,
        permit: Permit<'_, FinishRotation>,
        id: KeyId,
        if_silent_for: Option<SignedDuration>,
    ) -> Result<StoredKey, Error> {
        if let Some(silence) = if_silent_for {
            let stored = self.with_pending_usage(self.stored_key(&permit, id).await?);
            let used = stored.usage.last_used_at;
            if used.is_some_and(|at| self.now().duration_since(at) < silence) {
                return Err(Error::NotSilent(duration::format(silence)));
            }
        }
        self.change_state(&permit, id, None, |key, now| key.lifecycle.clone().finish_rotation(now))
            .await
    }

    /// Removes a key that was deleted more than 30 days ago. Its audit entries stay.
    pub async fn purge_key(
        &self,
        permit: Permit<'_, PurgeKey>,
        id: KeyId,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let stored = self.stored_key(&permit, id).await?;
        let now = self.now();
        stored.key.lifecycle.check_purge(now)?;
        let mut entry = permit.entry(now, target(id));
        entry.reason = reason;
        self.begin(permit.project())
            .with(Change::PurgeKey { id, revision: stored.key.revision })
            .commit(entry)
            .await?;
        Ok(())
    }

    /// A key that works again must not grant more than whoever brings it back has: what somebody
    /// stronger switched off, they may have switched off for a reason.
    async fn check_revival<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        id: KeyId,
    ) -> Result<(), Error> {
        let stored = self.stored_key(permit, id).await?;
        self.check_key_grant(permit, &stored.key).await
    }

    /// Reads, decides, writes; again with fresh data if somebody else was faster.
    async fn change_state<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        id: KeyId,
        reason: Option<String>,
        transition: impl Fn(&ApiKey, Timestamp) -> Result<Lifecycle, InvalidTransition>,
    ) -> Result<StoredKey, Error> {
        for _ in 0..TRIES {
            let mut stored = self.stored_key(permit, id).await?;
            let now = self.now();
            stored.key.lifecycle = transition(&stored.key, now)?;
            stored.key.revision += 1;
            let mut entry = permit.entry(now, target(id));
            entry.reason.clone_from(&reason);
            let update = Change::UpdateKey(Box::new(stored.key.clone()));
            match self.begin(permit.project()).with(update).commit(entry).await {
                Ok(_) => return Ok(self.with_pending_usage(stored)),
                Err(CommitError::ChangedMeanwhile(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::ApiKey))
    }
}
