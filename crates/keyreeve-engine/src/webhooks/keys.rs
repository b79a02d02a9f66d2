//! What requests of a source are verified with: opened once, and again when something changed.

use std::sync::Arc;

use keyreeve_core::{
    Secret,
    audit::Outcome,
    name::ProjectName,
    vault::{Found, VersionNumber},
    webhook::SigningKey,
};
use papaya::HashMap;
use serde_json::json;

use super::{HookRefused, WebhookSource};
use crate::{
    Engine, Error, RequestMeta,
    connections::{Place, PlaceRef, Values},
    vault::{VaultAccess, VaultError},
};

/// The keys of sources while the vault is open.
#[derive(Debug, Default)]
pub(crate) struct SourceKeys(HashMap<Place, Arc<Opened>>);

/// What requests of one source are verified with.
#[derive(Debug)]
pub(super) struct Opened {
    source: Arc<WebhookSource>,
    secret_id: String,
    versions: Vec<VersionNumber>,
    /// The newest first.
    pub(super) keys: Vec<SigningKey>,
    /// What Meta's subscription has to show.
    pub(super) handshake: Option<Secret<String>>,
}

impl SourceKeys {
    /// Lets go of the keys of a source that is gone.
    pub(crate) fn forget(&self, project: &ProjectName, name: &str) {
        self.0.pin().remove(&PlaceRef(project, name));
    }
}

impl Engine {
    /// The keys of a source: of the current version of its secret and of the one before.
    pub(super) async fn keys_of(
        &self,
        project: &ProjectName,
        source: &Arc<WebhookSource>,
        meta: RequestMeta,
    ) -> Result<Arc<Opened>, HookRefused> {
        let path = &source.settings.secret;
        let access = VaultAccess::of_webhook(project.clone(), &source.name, meta);
        if self.has_backend(project, path) {
            self.follow_secret(&access, path).await?;
        }
        let secret = self.known_secret(project, path)?;
        let secret = secret.ok_or(HookRefused::NoSecret)?;
        let now = self.now();
        let readable = |asked| match secret.find(asked, now) {
            Found::Readable(version, _) => Some(version),
            Found::Gone(..) | Found::Missing => None,
        };
        let current = readable(None).ok_or(HookRefused::NoSecret)?;
        let before = (secret.previous != 0 && secret.previous != current)
            .then(|| readable(Some(secret.previous)))
            .flatten();
        let versions: Vec<VersionNumber> = [Some(current), before].into_iter().flatten().collect();
        let known = self
            .vault
            .source_keys(|all| all.0.pin().get(&PlaceRef(project, &source.name)).cloned());
        if let Some(Some(known)) = known
            && Arc::ptr_eq(&known.source, source)
            && known.secret_id == secret.id
            && known.versions == versions
        {
            return Ok(known);
        }
        let mut opened = Opened {
            source: source.clone(),
            secret_id: secret.id.clone(),
            versions,
            keys: Vec::new(),
            handshake: None,
        };
        for version in opened.versions.clone() {
            match self.open_key(&access, &mut opened, version).await {
                // What was current before may be what was mended.
                Err(HookRefused::NoSecret) if version != current => tracing::warn!(
                    source = source.name,
                    version,
                    "the version before the current one is no secret of this sender"
                ),
                opened => opened?,
            }
        }
        let opened = Arc::new(opened);
        let place = (project.clone(), source.name.clone());
        self.vault.source_keys(|all| all.0.pin().insert(place, opened.clone()).is_some());
        Ok(opened)
    }

    /// Opens a version. Durable in the audit before it is used.
    async fn open_key(
        &self,
        access: &VaultAccess,
        opened: &mut Opened,
        version: VersionNumber,
    ) -> Result<(), HookRefused> {
        let settings = &opened.source.settings;
        let path = &settings.secret;
        let fields = self.open_version_for(access, path, version).await?;
        let values = Values::of(&fields);
        let text = match &settings.field {
            Some(name) => values.named(name, &[]),
            None => values.only(),
        };
        let text = text.ok_or(HookRefused::NoSecret)?;
        opened.keys.push(opened.source.scheme().key(text).map_err(|_| HookRefused::NoSecret)?);
        if let Some(name) = &settings.handshake_field
            && opened.handshake.is_none()
        {
            let token = values.named(name, &[]).ok_or(HookRefused::NoSecret)?;
            opened.handshake = Some(Secret::new(token.to_owned()));
        }
        let mut entry = access.entry(self, "secret.verify_with", path.as_str(), Outcome::Done);
        entry.details.insert("version".to_owned(), json!(version));
        entry.details.insert("webhook_source".to_owned(), json!(opened.source.name));
        let committed = self.begin(access.project()).commit(entry).await;
        committed.map_err(|error| VaultError::from(Error::from(error)))?;
        Ok(())
    }
}
