//! Replacing a key without a gap.

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Secret,
    key::KeyId,
    lifecycle::Lifecycle,
    model::{ApiKey, Keyspace},
};
use serde_json::json;

use super::{ShownText, TRIES, issue, target};
use crate::{
    Engine, Error, Idempotency, Permit,
    action::RotateKey,
    keys::Expiry,
    store::{Change, Kind, StoredKey},
};

/// How a key is to be replaced.
#[derive(Clone, Debug, Default)]
pub struct RotateSpec {
    /// How long the old key stays good; the keyspace's default if `None`.
    pub grace: Option<SignedDuration>,
    /// When the new key expires; after as long a life as the old key's if `None`.
    pub expiry: Option<Expiry>,
}

/// The new key of a rotation.
#[derive(Debug)]
pub struct Rotated {
    /// The new key as stored.
    pub stored: StoredKey,
    /// Its text, to be shown once.
    pub text: Secret<String>,
    /// The first moment at which the old key is refused.
    pub grace_ends_at: Timestamp,
    /// Whether this is the answer of an earlier, equal request.
    pub replayed: bool,
}

impl Engine {
    /// Replaces a key. The new key keeps keyspace, environment, owner, rights, metadata, tags and
    /// lineage. If the old key itself still had a predecessor in its grace, that one ends now.
    ///
    /// Whoever rotates gets the new key's text, so they must have all its rights.
    pub async fn rotate_key(
        &self,
        permit: Permit<'_, RotateKey>,
        id: KeyId,
        spec: RotateSpec,
        idempotency: Option<Idempotency>,
    ) -> Result<Rotated, Error> {
        for _ in 0..TRIES {
            if let Some(first) = self.replay(&permit, idempotency.as_ref()).await? {
                return self.rotated_again(&permit, first).await;
            }
            let old = self.stored_key(&permit, id).await?.key;
            self.check_key_grant(&permit, &old).await?;
            let keyspace = self.keyspace_of(&permit, &old.keyspace).await?;
            match self.try_rotate(&permit, old, &keyspace, &spec, idempotency.as_ref()).await {
                Err(Error::ChangedMeanwhile(_) | Error::AlreadyExists(Kind::IdempotentResult)) => {}
                // An equal request may have rotated between our two reads: then its answer is
                // ours too.
                Err(Error::WrongState(reason)) => {
                    return match self.replay(&permit, idempotency.as_ref()).await? {
                        Some(first) => self.rotated_again(&permit, first).await,
                        None => Err(Error::WrongState(reason)),
                    };
                }
                other => return other,
            }
        }
        Err(Error::ChangedMeanwhile(Kind::ApiKey))
    }

    async fn try_rotate(
        &self,
        permit: &Permit<'_, RotateKey>,
        mut old: ApiKey,
        keyspace: &Keyspace,
        spec: &RotateSpec,
        idempotency: Option<&Idempotency>,
    ) -> Result<Rotated, Error> {
        let now = self.now();
        let (token, new_id) = self.new_token(keyspace, &old)?;
        let grace = spec.grace.unwrap_or(keyspace.default_grace);
        let new = ApiKey {
            id: new_id,
            created_at: now,
            created_by: permit.actor().to_string(),
            expires_at: issue::expiry(
                Some(spec.expiry.unwrap_or_else(|| same_life(&old))),
                keyspace,
                now,
            )?,
            lifecycle: Lifecycle::Active,
            digest: self.digester.digest(&token.token()),
            // The new key has a text of ours; the old one's hash is not its own.
            imported: None,
            last_four: token.last_four(),
            predecessor: Some(old.id),
            revision: 1,
            ..old.clone()
        };
        old.lifecycle = old.lifecycle.rotate(new_id, grace, old.expires_at, now)?;
        old.revision += 1;
        let Lifecycle::Rotating { grace_ends_at, .. } = old.lifecycle else {
            return Err(Error::NotFound(Kind::ApiKey));
        };

        let mut entry = permit.entry(now, target(old.id));
        entry.details.extend([
            ("successor".to_owned(), json!(new_id.to_string())),
            ("grace_ends_at".to_owned(), json!(grace_ends_at.to_string())),
        ]);
        let mut tx = self.begin(permit.project()).with(Change::CreateKey(Box::new(new.clone())));
        if let Some(ended) = self.end_grace_of_predecessor(permit, &old, now).await? {
            entry.details.insert("ended".to_owned(), json!(ended.id.to_string()));
            tx = tx.with(Change::UpdateKey(Box::new(ended)));
        }
        tx = tx.with(Change::UpdateKey(Box::new(old)));
        if let Some(result) = self.remember(permit, idempotency, &token, now)? {
            tx = tx.with(Change::RememberResult(result));
        }
        tx.commit(entry).await?;
        let issued = issue::issued(new, ShownText::Fresh(token));
        Ok(Rotated {
            stored: issued.stored,
            text: issued.text,
            grace_ends_at,
            replayed: issued.replayed,
        })
    }

    /// The key before the old one, with its grace ended, if that was still running.
    async fn end_grace_of_predecessor(
        &self,
        permit: &Permit<'_, RotateKey>,
        old: &ApiKey,
        now: Timestamp,
    ) -> Result<Option<ApiKey>, Error> {
        let Some(id) = old.predecessor else {
            return Ok(None);
        };
        let Some(StoredKey { key: mut oldest, .. }) = self.store.key(permit.project(), id).await?
        else {
            return Ok(None);
        };
        match oldest.lifecycle {
            Lifecycle::Rotating { grace_ends_at, .. } if grace_ends_at > now => {}
            _ => return Ok(None),
        }
        oldest.lifecycle = oldest.lifecycle.finish_rotation(now)?;
        oldest.revision += 1;
        Ok(Some(oldest))
    }

    async fn rotated_again(
        &self,
        permit: &Permit<'_, RotateKey>,
        first: issue::Issued,
    ) -> Result<Rotated, Error> {
        let predecessor = match first.stored.key.predecessor {
            Some(id) => self.store.key(permit.project(), id).await?,
            None => None,
        };
        let grace_ends_at = match predecessor.map(|stored| stored.key.lifecycle) {
            Some(Lifecycle::Rotating { grace_ends_at, .. }) => grace_ends_at,
            // Revoked, disabled or gone since: it is refused already.
            _ => self.now(),
        };
        Ok(Rotated {
            stored: first.stored,
            text: first.text,
            grace_ends_at,
            replayed: first.replayed,
        })
    }
}

/// As long a life as the old key was given.
fn same_life(old: &ApiKey) -> Expiry {
    match old.expires_at {
        Some(at) => Expiry::In(at.duration_since(old.created_at)),
        None => Expiry::Never,
    }
}
