//! What bounds secrets, and what is noted about them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Invalid,
    audit::{Outcome, Target},
    vault::{
        About, Capability, CustomMetadata, MountConfig, SecretPath, SecretRecord, SecretSettings,
        VersionNumber, check_custom_metadata,
    },
};

use serde_json::json;

use super::{
    VaultAccess, VaultError,
    access::PathPermit,
    backends::{Agreed, Follow, Next},
    secrets::{MOUNT, is_conflict},
};
use crate::{
    Engine, Error, FieldError,
    store::{Change, Kind, RecordKind},
};

/// What of the bounds is to be different.
#[derive(Clone, Debug, Default)]
pub struct SettingsChange {
    /// How many versions are kept; 0 leaves it to what stands above.
    pub max_versions: Option<u32>,
    /// Whether every write has to say which version it has seen.
    pub cas_required: Option<bool>,
    /// How long a version lives.
    pub delete_version_after: Option<SignedDuration>,
}

impl SettingsChange {
    fn apply(&self, settings: &mut SecretSettings) {
        settings.max_versions = self.max_versions.unwrap_or(settings.max_versions);
        settings.cas_required = self.cas_required.unwrap_or(settings.cas_required);
        settings.delete_version_after =
            self.delete_version_after.unwrap_or(settings.delete_version_after);
    }
}

/// What of a secret's notes and bounds is to be different.
#[derive(Clone, Debug, Default)]
pub struct MetadataChange {
    /// The bounds.
    pub settings: SettingsChange,
    /// The notes.
    pub custom: Option<NotesChange>,
}

/// How notes change.
#[derive(Clone, Debug)]
pub enum NotesChange {
    /// These are all of them.
    Replace(CustomMetadata),
    /// These are put in; those without a value go.
    Merge(Vec<(String, Option<String>)>),
}

impl NotesChange {
    fn apply(&self, notes: &mut CustomMetadata) {
        match self {
            Self::Replace(new) => notes.clone_from(new),
            Self::Merge(changes) => {
                for (name, value) in changes {
                    match value {
                        Some(value) => drop(notes.insert(name.clone(), value.clone())),
                        None => drop(notes.remove(name)),
                    }
                }
            }
        }
    }
}

impl Engine {
    /// What is known of a secret.
    pub async fn secret_metadata(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
    ) -> Result<Arc<SecretRecord>, VaultError> {
        // Whoever may see the name may see what is known of it; the value is another matter.
        let lists = access.capabilities(path.as_str()).allow(Capability::List);
        let capability = if lists { Capability::List } else { Capability::Read };
        let permit = self.permit_path(access, capability, path).await?;
        self.follow(access, path).await?;
        let stored = self.secret(access, permit.path()).await?;
        let stored = stored.ok_or_else(|| VaultError::NotFound(path.clone()))?;
        let entry = access.entry(self, "secret.metadata.read", path.as_str(), Outcome::Done);
        self.begin(access.project()).commit(entry).await?;
        Ok(stored.secret)
    }

    /// Changes bounds and notes of a secret; makes one without versions where none is, unless it
    /// `must_exist`.
    pub async fn change_metadata(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        change: &MetadataChange,
        must_exist: bool,
    ) -> Result<(), VaultError> {
        let permit = self.permit_path(access, Capability::Configure, path).await?;
        for attempt in 0..16 {
            let (mut secret, revision) = match self.secret_for(access, path, attempt).await? {
                Some(stored) => ((*stored.secret).clone(), stored.revision),
                None if must_exist => return Err(VaultError::NotFound(path.clone())),
                None => (SecretRecord::new(self.new_id()?, self.now()), 0),
            };
            change.settings.apply(&mut secret.settings);
            if let Some(notes) = &change.custom {
                notes.apply(&mut secret.custom_metadata);
                check_custom_metadata(&secret.custom_metadata).map_err(|rule| {
                    VaultError::Invalid(FieldError::new("custom_metadata", rule))
                })?;
            }
            secret.metadata_version += 1;
            secret.updated_at = self.now();
            let mut entry = access.entry(self, "secret.metadata", path.as_str(), Outcome::Done);
            entry.details.insert("settings".to_owned(), json!(secret.settings));
            entry.details.insert("custom_metadata".to_owned(), json!(secret.custom_metadata));
            let path = permit.path();
            match self.commit_secret(access, path, &secret, revision, None, entry).await {
                Err(error) if is_conflict(&error) => {}
                outcome => return outcome,
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Makes a version the current one; the one that waits if none is named. Gives its number.
    pub async fn promote_version(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        version: Option<VersionNumber>,
    ) -> Result<VersionNumber, VaultError> {
        let permit = self.permit_path(access, Capability::Update, path).await?;
        let _turn = self.turn_behind(access, path).await?;
        self.follow_in_turn(access, path, Follow::Now).await?;
        self.change_versions(&permit, "secret.promote", "version", |secret, now| {
            secret.promote(version, now)
        })
        .await
    }

    /// Gives a version another name, or takes a name away.
    pub async fn label_version(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        alias: &str,
        version: Option<VersionNumber>,
    ) -> Result<(), VaultError> {
        let permit = self.permit_path(access, Capability::Configure, path).await?;
        self.change_versions(&permit, "secret.label", "label", |secret, now| {
            secret.set_alias(alias, version, now).map(|()| version.unwrap_or(0))
        })
        .await
        .map(drop)
    }

    /// Changes which versions are called what, or says which rule that would break.
    async fn change_versions(
        &self,
        permit: &PathPermit<'_>,
        action: &'static str,
        field: &'static str,
        change: impl Fn(&mut SecretRecord, Timestamp) -> Result<VersionNumber, Invalid>,
    ) -> Result<VersionNumber, VaultError> {
        let (access, path) = (permit.access(), permit.path());
        let (mut agreed, mut first) = (Agreed::default(), None);
        for attempt in 0..16 {
            let stored = self.secret_for(access, path, attempt).await?;
            let stored = stored.ok_or_else(|| VaultError::NotFound(path.clone()))?;
            let mut secret = (*stored.secret).clone();
            let version = change(&mut secret, self.now())
                .map_err(|rule| VaultError::Invalid(FieldError::new(field, rule)))?;
            // What another store has already is that version, whichever waits meanwhile.
            if agreed.is_written() && first != Some(version) {
                break;
            }
            first = Some(version);
            let mut entry = access.entry(self, action, path.as_str(), Outcome::Done);
            entry.details.insert("version".to_owned(), json!(version));
            entry.details.insert("aliases".to_owned(), json!(secret.aliases));
            let mirror = if secret.current == stored.secret.current {
                None
            } else {
                let fields = self.open_fields(access, path, &stored, secret.current).await?;
                let next = Next::Version(&secret.id, secret.current, &fields);
                self.write_behind(access, path, Some(&stored), next, &mut agreed).await?
            };
            match self.commit_secret(access, path, &secret, stored.revision, mirror, entry).await {
                Ok(()) => return Ok(version),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    /// Says whose a secret is and what is to be done with it.
    pub async fn describe_secret(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        change: impl Fn(&mut About),
    ) -> Result<(), VaultError> {
        let permit = self.permit_path(access, Capability::Configure, path).await?;
        let stored = self.secret(access, path).await?;
        let stored = stored.ok_or_else(|| VaultError::NotFound(path.clone()))?;
        let mut about = stored.secret.about.clone();
        change(&mut about);
        about.check().map_err(|rule| VaultError::Invalid(FieldError::new("about", rule)))?;
        self.change_secret(&permit, "secret.describe", |secret, now| {
            let before = secret.about.clone();
            change(&mut secret.about);
            let changed = secret.about != before;
            if changed {
                secret.updated_at = now;
            }
            (changed, Vec::new(), Vec::new())
        })
        .await
    }

    /// What bounds all secrets of the project that say nothing themselves.
    pub async fn mount(&self, access: &VaultAccess) -> Result<MountConfig, VaultError> {
        if !access.sees_folder("") {
            return Err(self.refuse_path(access, Capability::List, "").await);
        }
        self.mount_config(access).await
    }

    /// Changes what bounds all secrets of the project. Needs the right to do so at every path.
    pub async fn change_mount(
        &self,
        access: &VaultAccess,
        change: &SettingsChange,
    ) -> Result<(), VaultError> {
        if !access.capabilities("").allow(Capability::Sudo) {
            return Err(self.refuse_path(access, Capability::Sudo, "config").await);
        }
        let project = access.project();
        let known = self.vault.records.get(project, RecordKind::Mount, MOUNT);
        let revision = known.map_or(0, |known| known.record.revision);
        let mut mount = self.mount_config(access).await?;
        change.apply(&mut mount.settings);
        let record = self.record(project, RecordKind::Mount, MOUNT, &mount, revision)?;
        let mut entry = access.entry(self, "vault.configure", MOUNT, Outcome::Done);
        entry.details.insert("settings".to_owned(), json!(mount.settings));
        entry.target = Target::new("vault", MOUNT);
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        Ok(())
    }
}
