//! Bringing everything under the newest key, a little at a time. What is still to be done is what the
//! database says, so it can be broken off anywhere and goes on after a restart.

use std::{sync::Arc, time::Duration};

use keyreeve_core::{
    audit::Target,
    name::ProjectName,
    vault::{Binding, SealedVersion},
};
use serde_json::{Map, json};
use tracing::warn;

use super::{VaultError, records::check, secrets::is_conflict};
use crate::{
    Engine,
    store::{Change, DutyTerm, RecordKind, SealedOf, SealedRow, VaultRecord},
};

/// How many versions or records one unit moves.
const AT_ONCE: u32 = 200;
const DUTY: &str = "vault-rewrap";

impl Engine {
    /// Brings some versions and records under the newest key, if that is this node's duty. Gives whether
    /// there may be more.
    pub async fn rewrap_some(&self, duty_length: Duration) -> Result<bool, VaultError> {
        let Ok(keyring) = self.keyring() else { return Ok(false) };
        let newest = keyring.current();
        if newest == 1 {
            return Ok(false);
        }
        drop(keyring);
        let holder = format!("{:016x}", self.process);
        let Some(term) = self.store.take_duty(DUTY, &holder, duty_length).await? else {
            return Ok(false);
        };
        let versions = self.store.sealed_under_other_keys(newest, AT_ONCE).await?;
        let mut changes: Vec<(ProjectName, Change)> = Vec::new();
        for version in versions {
            // A node that has not heard of the newest key may have sealed it under an older one; one that
            // has an even newer one, under that.
            if let Some(change) = self.rewrapped(&version)? {
                changes.push((version.project, change));
            }
        }
        if changes.is_empty() {
            changes = self.records_to_tag(newest);
        }
        let Some((project, _)) = changes.first() else { return Ok(false) };
        let project = project.clone();
        // A unit is of one project; those of others come next.
        let changes: Vec<Change> = changes
            .into_iter()
            .filter_map(|(of, change)| (of == project).then_some(change))
            .collect();
        if self.commit_moved(&project, term, newest, &changes).await? {
            return Ok(true);
        }
        // One of them was changed meanwhile, or is gone: it must not hold up the others.
        let mut moved = false;
        for change in &changes {
            moved |=
                self.commit_moved(&project, term, newest, std::slice::from_ref(change)).await?;
        }
        Ok(moved)
    }

    /// Commits some changes; false if somebody was faster with one of them.
    async fn commit_moved(
        &self,
        project: &ProjectName,
        term: DutyTerm,
        newest: u32,
        changes: &[Change],
    ) -> Result<bool, VaultError> {
        let mut tx = self.begin(project).with(Change::OnDuty(term));
        for change in changes {
            tx = tx.with(change.clone());
        }
        let moved = changes.len();
        let details =
            Map::from_iter([("key".to_owned(), json!(newest)), ("moved".to_owned(), json!(moved))]);
        let mut entry = self.system_entry(project, "vault", "vault.rewrap", details);
        entry.target = Target::new("vault", "keyring");
        match tx.commit(entry).await.map_err(VaultError::from) {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rewrapped(&self, version: &SealedOf) -> Result<Option<Change>, VaultError> {
        let SealedOf { project, row } = version;
        let Ok(sealed) = SealedVersion::from_bytes(row.sealed.as_bytes().to_vec()) else {
            warn!(secret = %row.secret, version = row.version, "a version cannot be read: left as it is");
            return Ok(None);
        };
        let (project, secret) = (project.as_str(), &*row.secret);
        let binding = Binding { project, secret, version: row.version };
        let salt = self.entropy.bytes()?;
        let from = sealed.key_number();
        match self.keyring()?.rewrap_version(&binding, &sealed, salt) {
            Ok(sealed) => {
                let row = SealedRow { sealed, secret: row.secret.clone(), version: row.version };
                Ok(Some(Change::MoveSealed { row, from }))
            }
            Err(why) => {
                warn!(secret, version = row.version, %why, "a version cannot be opened: left as it is");
                Ok(None)
            }
        }
    }

    /// Records under older keys, tagged by the newest.
    fn records_to_tag(&self, newest: u32) -> Vec<(ProjectName, Change)> {
        let tag = |(project, record): (ProjectName, Arc<VaultRecord>)| {
            let tagged = self.tag_again(&project, &record);
            if let Err(error) = &tagged {
                warn!(%error, kind = record.kind.as_str(), "a record is left under its key");
            }
            Some((project, tagged.ok()?))
        };
        let older = self.vault.records.under_other_keys(newest, AT_ONCE as usize);
        older.into_iter().filter_map(tag).collect()
    }

    fn tag_again(&self, project: &ProjectName, record: &VaultRecord) -> Result<Change, VaultError> {
        // What was tampered with stays what it is.
        let keyring = self.keyring()?;
        check(record, project, &keyring)
            .map_err(|why| VaultError::Tampered { what: record.id.to_string(), why })?;
        let tagged = self.record_of_text(
            project,
            record.kind,
            &record.id,
            record.body.clone(),
            record.revision,
        )?;
        Ok(Change::PutRecord(Arc::new(tagged)))
    }

    /// Whether anything is still under an older key, as far as memory and one look into the database
    /// tell.
    pub async fn rewrap_pending(&self) -> Result<bool, VaultError> {
        let newest = self.keyring()?.current();
        if !self.vault.records.under_other_keys(newest, 1).is_empty() {
            return Ok(true);
        }
        Ok(!self.store.sealed_under_other_keys(newest, 1).await?.is_empty())
    }
}

/// Kinds whose records carry a tag.
pub(super) fn is_tagged(kind: RecordKind) -> bool {
    kind != RecordKind::Keyring
}
