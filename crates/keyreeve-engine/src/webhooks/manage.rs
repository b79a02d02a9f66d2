//! Making, changing and removing sources.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::SignedDuration;
use keyreeve_core::{
    Invalid, Secret,
    audit::Target,
    name::WebhookSourceName,
    restriction::IpNetwork,
    vault::{Capability, SecretPath},
};
use serde_json::json;

use super::{
    SourceProof, SourceSettings, WebhookSource,
    source::{StoredSigning, StoredSource},
};
use crate::{
    Engine, Error, FieldError, Permit,
    action::{ManageWebhooks, ReadWebhooks},
    permit::Action,
    store::{Change, Kind, RecordKind},
    vault::{Kept, VaultError},
};

/// The most sources of a project.
const MOST_SOURCES: usize = 1_000;
/// For how long the secret before is signed with, too.
const LONGEST_OVERLAP: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A source that is to be made.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Names it within its project, and in its address.
    pub name: String,
    /// What is decided about it.
    pub settings: SourceSettings,
}

/// What of a source is to be another; what is `None` stays.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "as in SourceSettings")]
pub struct SourceChange {
    pub proof: Option<SourceProof>,
    pub secret: Option<SecretPath>,
    pub field: Option<Option<String>>,
    pub public_url: Option<String>,
    pub to: Option<String>,
    pub allow_internal: Option<bool>,
    pub allow_plaintext: Option<bool>,
    pub tolerance_s: Option<Option<u32>>,
    pub allow_from: Option<Vec<IpNetwork>>,
    pub event_id: Option<Option<String>>,
    pub handshake_field: Option<Option<String>>,
    pub max_body_bytes: Option<u64>,
    pub attempts: Option<u32>,
    pub patience_ms: Option<u32>,
    pub max_concurrent: Option<u32>,
    pub order_by: Option<Option<String>>,
    pub answer_within_ms: Option<Option<u32>>,
    pub paused: Option<bool>,
}

impl SourceChange {
    fn apply(self, to: &mut SourceSettings) {
        replace(&mut to.proof, self.proof);
        replace(&mut to.secret, self.secret);
        replace(&mut to.field, self.field);
        replace(&mut to.public_url, self.public_url);
        replace(&mut to.to, self.to);
        replace(&mut to.allow_internal, self.allow_internal);
        replace(&mut to.allow_plaintext, self.allow_plaintext);
        replace(&mut to.tolerance_s, self.tolerance_s);
        replace(&mut to.allow_from, self.allow_from);
        replace(&mut to.event_id, self.event_id);
        replace(&mut to.handshake_field, self.handshake_field);
        replace(&mut to.max_body_bytes, self.max_body_bytes);
        replace(&mut to.attempts, self.attempts);
        replace(&mut to.patience_ms, self.patience_ms);
        replace(&mut to.max_concurrent, self.max_concurrent);
        replace(&mut to.order_by, self.order_by);
        replace(&mut to.answer_within_ms, self.answer_within_ms);
    }
}

fn replace<T>(old: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *old = new;
    }
}

fn invalid(field: &str, rule: impl Into<String>) -> VaultError {
    VaultError::Invalid(FieldError::new(field, Invalid::new(rule.into())))
}

impl Engine {
    /// Makes a source. Gives it and the secret that events are signed with for the app. Whoever makes one
    /// uses a secret, so they must be allowed to read it.
    pub async fn add_webhook_source(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        spec: SourceSpec,
    ) -> Result<(Arc<WebhookSource>, Secret<String>), VaultError> {
        let project = permit.project();
        spec.name
            .parse::<WebhookSourceName>()
            .map_err(|rule| VaultError::Invalid(FieldError::new("name", rule)))?;
        if self.webhook_source_for(project, &spec.name)?.is_some() {
            return Err(Error::AlreadyExists(Kind::WebhookSource).into());
        }
        if self.count_kept(project, RecordKind::WebhookSource) >= MOST_SOURCES {
            return Err(invalid("name", "cannot be taken: there are 1000 sources already"));
        }
        let now = self.now();
        let (signing, secret) = self.new_signing(permit, &spec.name, 1)?;
        let stored = StoredSource {
            name: spec.name,
            settings: spec.settings,
            paused: false,
            created_at: now,
            updated_at: now,
            created_by: permit.actor().to_string(),
            signing: vec![signing],
        };
        self.check_source(permit, &stored).await?;
        let source = self.keep_source(permit, stored, 0, "webhook_source.create").await?;
        Ok((source, secret))
    }

    /// A secret that events are signed with, and as it is stored.
    fn new_signing(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        name: &str,
        generation: u64,
    ) -> Result<(StoredSigning, Secret<String>), VaultError> {
        let bytes = Secret::new(self.entropy.bytes::<32>()?);
        // EXPOSE: becomes the text that the app is given.
        let text = Secret::new(format!("whsec_{}", BASE64_STANDARD.encode(bytes.expose())));
        let place = format!("webhook-source {name}");
        // EXPOSE: encrypted.
        let sealed =
            self.seal_bytes(permit.project(), &place, generation, text.expose().as_bytes())?;
        let sealed = BASE64_STANDARD.encode(sealed);
        Ok((StoredSigning { generation, sealed, ends_at: None }, text))
    }

    /// Whether the settings can be meant, and the secret is one for the scheme.
    async fn check_source(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        stored: &StoredSource,
    ) -> Result<(), VaultError> {
        let scheme = stored.settings.check().map_err(VaultError::Invalid)?;
        let access = self.vault_access(permit.caller()).await?;
        let path = &stored.settings.secret;
        self.permit_path(&access, Capability::Read, path).await?;
        let Some(secret) = self.known_secret(permit.project(), path)? else {
            if self.has_backend(permit.project(), path) {
                return Ok(());
            }
            return Err(invalid("secret", "must exist: there is nothing at this path"));
        };
        let keyreeve_core::vault::Found::Readable(version, _) = secret.find(None, self.now())
        else {
            return Err(invalid("secret", "must have a version that can be read"));
        };
        let fields = self.open_version_for(&access, path, version).await?;
        let values = crate::connections::Values::of(&fields);
        let text = match &stored.settings.field {
            Some(name) => values.named(name, &[]),
            None => values.only(),
        };
        let text = text.ok_or_else(|| {
            let rule = "must name a field of the secret with a text, where it has several";
            invalid("field", rule)
        })?;
        scheme
            .key(text)
            .map_err(|rule| invalid("secret", format!("has a value that {}", rule.rule())))?;
        if let Some(name) = &stored.settings.handshake_field
            && values.named(name, &[]).is_none()
        {
            return Err(invalid("handshake_field", "must be a field of the secret"));
        }
        Ok(())
    }

    async fn keep_source<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        stored: StoredSource,
        follows: u64,
        action: &'static str,
    ) -> Result<Arc<WebhookSource>, VaultError> {
        let project = permit.project();
        let kind = RecordKind::WebhookSource;
        let record = self.tagged_record(project, kind, &stored.name, &stored, follows)?;
        let mut entry = permit.entry(self.now(), Target::new("webhook_source", &stored.name));
        entry.action = action.into();
        let settings = &stored.settings;
        entry.details.insert("to".to_owned(), json!(settings.to));
        entry.details.insert("secret".to_owned(), json!(settings.secret.as_str()));
        entry.details.insert("allow_internal".to_owned(), json!(settings.allow_internal));
        entry.details.insert("allow_plaintext".to_owned(), json!(settings.allow_plaintext));
        entry.details.insert("paused".to_owned(), json!(stored.paused));
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        WebhookSource::try_from(stored).map(Arc::new).map_err(VaultError::Invalid)
    }

    /// All sources of the project, by name.
    pub fn webhook_sources(
        &self,
        permit: &Permit<'_, ReadWebhooks>,
    ) -> Result<Vec<Arc<WebhookSource>>, VaultError> {
        let all = self.all_kept::<WebhookSource>(permit.project(), RecordKind::WebhookSource)?;
        Ok(all.into_iter().map(|kept| kept.body).collect())
    }

    /// One source.
    pub fn webhook_source(
        &self,
        permit: &Permit<'_, ReadWebhooks>,
        name: &str,
    ) -> Result<Arc<WebhookSource>, VaultError> {
        let found = self.webhook_source_for(permit.project(), name)?;
        found.ok_or_else(|| Error::NotFound(Kind::WebhookSource).into())
    }

    /// Changes a source.
    pub async fn update_webhook_source(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        name: &str,
        change: SourceChange,
    ) -> Result<Arc<WebhookSource>, VaultError> {
        let kept = self.kept_source(permit, name)?;
        let mut stored = kept.body.stored();
        stored.paused = change.paused.unwrap_or(stored.paused);
        change.apply(&mut stored.settings);
        if stored == kept.body.stored() {
            return Ok(kept.body);
        }
        if stored.settings != kept.body.settings {
            self.check_source(permit, &stored).await?;
        }
        stored.updated_at = self.now();
        self.keep_source(permit, stored, kept.revision, "webhook_source.update").await
    }

    /// Makes a new secret that events are signed with. Until the overlap ends, the one before signs, too.
    pub async fn rotate_webhook_secret(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        name: &str,
        overlap: SignedDuration,
    ) -> Result<Secret<String>, VaultError> {
        if overlap.is_negative() || overlap > LONGEST_OVERLAP {
            return Err(invalid("overlap", "must be at most 30d"));
        }
        let kept = self.kept_source(permit, name)?;
        let mut stored = kept.body.stored();
        let now = self.now();
        let newest = stored.signing.iter().map(|it| it.generation).max().unwrap_or_default();
        let (signing, secret) = self.new_signing(permit, name, newest + 1)?;
        let until = now.saturating_add(overlap).unwrap_or(now);
        stored.signing.retain(|it| it.ends_at.is_none_or(|end| now < end));
        // Two at once: a third would only be one that somebody forgot.
        stored.signing.truncate(1);
        for before in &mut stored.signing {
            before.ends_at = Some(until);
        }
        stored.signing.insert(0, signing);
        stored.updated_at = now;
        self.keep_source(permit, stored, kept.revision, "webhook_source.rotate_secret").await?;
        Ok(secret)
    }

    /// Removes a source. What came in and waits is dead: another source of that name has nothing to do with
    /// it.
    pub async fn remove_webhook_source(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        name: &str,
    ) -> Result<(), VaultError> {
        let kept = self.kept_source(permit, name)?;
        let mut entry = permit.entry(self.now(), Target::new("webhook_source", name));
        entry.action = "webhook_source.delete".into();
        let gone = Change::DeleteRecord {
            kind: RecordKind::WebhookSource,
            id: name.into(),
            revision: kept.revision,
        };
        let end = Change::EndEvents {
            source: name.to_owned(),
            failure: "its source was removed",
            at: self.now(),
        };
        self.begin(permit.project()).with(gone).with(end).commit(entry).await?;
        Ok(())
    }

    fn kept_source(
        &self,
        permit: &Permit<'_, ManageWebhooks>,
        name: &str,
    ) -> Result<Kept<WebhookSource>, VaultError> {
        let kind = RecordKind::WebhookSource;
        let kept = self.kept::<WebhookSource>(permit.project(), kind, name)?;
        kept.ok_or_else(|| Error::NotFound(Kind::WebhookSource).into())
    }
}
