//! Removing what has ended: tokens, secret ids, wrapped answers.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use keyreeve_core::{
    audit::Target,
    name::ProjectName,
    vault::{EnvelopeError, Keyring, SecretId, VaultToken, Wrapping},
};
use serde_json::{Map, json};

use super::{VaultError, records::Known, secrets::is_conflict};
use crate::{
    Engine,
    connections::ClientToken,
    store::{Change, RecordKind},
};

/// The most records that one unit removes.
const AT_ONCE: usize = 200;
const DUTY: &str = "vault-sweep";

impl Engine {
    /// Removes records that have ended, if that is this node's duty. Gives whether there may be more.
    pub async fn sweep_vault(&self, duty_length: Duration) -> Result<bool, VaultError> {
        if self.keyring().is_err() {
            return Ok(false);
        }
        let ended = self.ended_records()?;
        let Some((project, _)) = ended.first() else { return Ok(false) };
        let holder = format!("{:016x}", self.process);
        let Some(term) = self.store.take_duty(DUTY, &holder, duty_length).await? else {
            return Ok(false);
        };
        let project = project.clone();
        let mut tx = self.begin(&project).with(Change::OnDuty(term));
        let mut removed = 0;
        for (_, known) in ended.iter().filter(|(of, _)| *of == project).take(AT_ONCE) {
            let record = &known.record;
            let (kind, id, revision) = (record.kind, record.id.clone(), record.revision);
            tx = tx.with(Change::DeleteRecord { kind, id, revision });
            removed += 1;
        }
        let details = Map::from_iter([("removed".to_owned(), json!(removed))]);
        let mut entry = self.system_entry(&project, "vault", "vault.sweep", details);
        entry.target = Target::new("vault", "ended");
        match tx.commit(entry).await.map_err(VaultError::from) {
            Ok(_) => Ok(ended.len() > removed),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn ended_records(&self) -> Result<Vec<(ProjectName, Arc<Known>)>, VaultError> {
        let now = self.now();
        let mut ended = Vec::new();
        let kinds = [
            RecordKind::Token,
            RecordKind::SecretId,
            RecordKind::Wrapping,
            RecordKind::ClientToken,
        ];
        for kind in kinds {
            for (project, known) in self.vault.records.everywhere(kind) {
                let keyring = self.keyring()?;
                // What was tampered with is left for people to look at.
                if has_ended(&project, &known, &keyring, now) == Ok(true) {
                    ended.push((project, known));
                }
            }
        }
        Ok(ended)
    }
}

fn has_ended(
    project: &ProjectName,
    known: &Known,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<bool, EnvelopeError> {
    Ok(match known.record.kind {
        RecordKind::Token => !known.parsed::<VaultToken>(project, keyring)?.is_live(now),
        RecordKind::SecretId => !known.parsed::<SecretId>(project, keyring)?.is_live(now),
        RecordKind::ClientToken => !known.parsed::<ClientToken>(project, keyring)?.is_live(now),
        RecordKind::Wrapping => known.parsed::<Wrapping>(project, keyring)?.expires_at <= now,
        _ => false,
    })
}
