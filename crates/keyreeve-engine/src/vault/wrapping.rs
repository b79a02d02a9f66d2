//! Wrapped answers: one token for one look. Whoever finds that somebody else has looked knows that the
//! answer is in wrong hands, so the second look is an alarm.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Secret,
    audit::{Actor, AuditEntry, Outcome, Target},
    name::ProjectName,
    vault::{
        Binding, EnvelopeError, LONGEST_LIFE, SealedVersion, WRAPPING_PREFIX, Wrapping,
        credential_digest, new_credential,
    },
};
use serde_json::json;
use tracing::error;

use super::{VaultAccess, VaultError, keyring::sealing_randomness, secrets::is_conflict};
use crate::{
    Engine, FieldError, RequestMeta,
    store::{Change, RecordKind},
};

/// The most wrapped answers of a project: each may be a MiB, and every node holds them.
const MOST_WRAPPINGS: usize = 1_000;

/// An answer that was wrapped.
#[derive(Debug)]
pub struct WrappedAnswer {
    /// The token for it.
    pub token: Secret<String>,
    /// What is known of it.
    pub wrapping: Wrapping,
}

impl Engine {
    /// Keeps an answer for whoever shows the token first.
    pub async fn wrap_answer(
        &self,
        (project, actor): (&ProjectName, &Actor),
        creation_path: &str,
        ttl: SignedDuration,
        answer: &Secret<Vec<u8>>,
        meta: RequestMeta,
    ) -> Result<WrappedAnswer, VaultError> {
        if !ttl.is_positive() || ttl > LONGEST_LIFE {
            let rule = keyreeve_core::Invalid::new("must be a second to 768 hours");
            return Err(VaultError::Invalid(FieldError::new("X-Vault-Wrap-TTL", rule)));
        }
        if self.vault.records.count(project, RecordKind::Wrapping) >= MOST_WRAPPINGS {
            let rule = keyreeve_core::Invalid::new("cannot be kept: there are 1000 already");
            return Err(VaultError::Invalid(FieldError::new("answer", rule)));
        }
        let random = Secret::new(self.entropy.bytes::<32>()?);
        let token = new_credential(WRAPPING_PREFIX, &random);
        // EXPOSE: becomes the digest that it is found by.
        let id = credential_digest(token.expose());
        let keyring = self.keyring()?;
        let what = wrapped_as(&id);
        let binding = Binding { project: project.as_str(), secret: &what, version: 1 };
        let randomness = sealing_randomness(&*self.entropy)?;
        // EXPOSE: goes into the cipher.
        let sealed = keyring.seal(&binding, answer.expose(), randomness);
        drop(keyring);
        let sealed = sealed.map_err(|why| VaultError::Tampered { what: what.clone(), why })?;
        let now = self.now();
        let wrapping = Wrapping {
            accessor: self.new_id()?,
            creation_path: creation_path.to_owned(),
            created_at: now,
            expires_at: now.saturating_add(ttl).unwrap_or(Timestamp::MAX),
            ttl,
            sealed: Some(BASE64_STANDARD.encode(sealed.as_bytes())),
        };
        let record = self.record(project, RecordKind::Wrapping, &id, &wrapping, 0)?;
        let mut entry =
            self.wrapping_entry("wrapping.wrap", project, &wrapping, meta, Outcome::Done);
        entry.actor = actor.clone();
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        Ok(WrappedAnswer { token, wrapping })
    }

    /// Gives out a wrapped answer, once.
    pub async fn unwrap_answer(
        &self,
        token: &str,
        meta: RequestMeta,
    ) -> Result<Secret<Vec<u8>>, VaultError> {
        match self.open_wrapping(token, meta).await {
            Err(error) => {
                let nobody = VaultAccess::of_nobody(ProjectName::default_project(), meta);
                Err(self.record_tampering(&nobody, error).await)
            }
            answer => answer,
        }
    }

    async fn open_wrapping(
        &self,
        token: &str,
        meta: RequestMeta,
    ) -> Result<Secret<Vec<u8>>, VaultError> {
        let id = credential_digest(token);
        let (project, wrapping, revision) = self.find_wrapping(&id)?;
        let Some(sealed) = &wrapping.sealed else {
            return Err(self.second_look(&project, &wrapping, meta).await);
        };
        let tampered = |why| VaultError::Tampered { what: wrapped_as(&id), why };
        let sealed = BASE64_STANDARD.decode(sealed).map_err(|_| EnvelopeError::Malformed);
        let sealed = sealed.and_then(SealedVersion::from_bytes).map_err(tampered)?;
        let answer = {
            let what = wrapped_as(&id);
            let binding = Binding { project: project.as_str(), secret: &what, version: 1 };
            let keyring = self.keyring()?;
            keyring.open_version(&binding, &sealed).map_err(tampered)?
        };
        // What stays tells a second look from a token that never was.
        let looked = Wrapping { sealed: None, ..wrapping };
        let record = self.record(&project, RecordKind::Wrapping, &id, &looked, revision)?;
        let entry = self.wrapping_entry("wrapping.unwrap", &project, &looked, meta, Outcome::Done);
        let tx = self.begin(&project).with(Change::PutRecord(Arc::new(record)));
        match tx.commit(entry).await.map_err(VaultError::from) {
            Ok(_) => Ok(answer),
            // Two looked at once: the other was first.
            Err(error) if is_conflict(&error) => {
                Err(self.second_look(&project, &looked, meta).await)
            }
            Err(error) => Err(error),
        }
    }

    /// What is known of a wrapped answer that nobody has looked at.
    pub fn look_up_wrapping(&self, token: &str) -> Result<Wrapping, VaultError> {
        let (_, wrapping, _) = self.find_wrapping(&credential_digest(token))?;
        if wrapping.sealed.is_none() { Err(VaultError::BadWrapping) } else { Ok(wrapping) }
    }

    fn find_wrapping(
        &self,
        id: &str,
    ) -> Result<(ProjectName, Wrapping, keyreeve_core::model::Revision), VaultError> {
        let found = self.vault.records.find(RecordKind::Wrapping, id);
        let (project, known) = found.ok_or(VaultError::BadWrapping)?;
        let wrapping: Arc<Wrapping> = {
            let keyring = self.keyring()?;
            let parsed = known.parsed(&project, &keyring);
            parsed.map_err(|why| VaultError::Tampered { what: wrapped_as(id), why })?
        };
        if self.now() >= wrapping.expires_at {
            return Err(VaultError::BadWrapping);
        }
        Ok((project, (*wrapping).clone(), known.record.revision))
    }

    /// Somebody shows a token whose answer was given out before: one of the two should not have it.
    async fn second_look(
        &self,
        project: &ProjectName,
        wrapping: &Wrapping,
        meta: RequestMeta,
    ) -> VaultError {
        error!(
            accessor = wrapping.accessor,
            creation_path = wrapping.creation_path,
            "ALARM: a wrapped answer was asked for a second time; treat what is in it as known to others"
        );
        let entry =
            self.wrapping_entry("wrapping.second_unwrap", project, wrapping, meta, Outcome::Denied);
        match self.begin(project).commit(entry).await {
            Ok(_) => VaultError::BadWrapping,
            Err(error) => error.into(),
        }
    }

    fn wrapping_entry(
        &self,
        action: &'static str,
        project: &ProjectName,
        wrapping: &Wrapping,
        meta: RequestMeta,
        outcome: Outcome,
    ) -> AuditEntry {
        let details = serde_json::Map::from_iter([(
            "creation_path".to_owned(),
            json!(wrapping.creation_path),
        )]);
        let mut entry = self.system_entry(project, "vault", action, details);
        entry.actor = Actor::Anonymous;
        entry.target = Target::new("wrapping", &wrapping.accessor);
        entry.request = Some(meta.origin());
        entry.outcome = outcome;
        entry
    }
}

/// What a wrapped answer is bound to.
fn wrapped_as(id: &str) -> String {
    format!("wrapping {id}")
}
