//! Plain maps, and a way to change several of them at once or not at all.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use keyreeve_core::{
    key::KeyId,
    model::{ApiKey, Environment, Keyspace, Owner, Project, Role},
    name::{EnvironmentName, KeyspaceName, OwnerId, ProjectName, RoleName},
    quota::Stored as StoredQuota,
    vault::{SealedVersion, VersionNumber},
};
use keyreeve_engine::store::{
    CallBatch, CallCount, IdempotentResult, QuotaSubject, RecordKind, Usage, VaultRecord,
    WebhookEvent,
};

/// Everything but the audit log.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) projects: BTreeMap<ProjectName, Project>,
    pub(super) environments: BTreeMap<(ProjectName, EnvironmentName), Environment>,
    pub(super) keyspaces: BTreeMap<(ProjectName, KeyspaceName), Keyspace>,
    pub(super) owners: BTreeMap<(ProjectName, OwnerId), Owner>,
    pub(super) roles: BTreeMap<(ProjectName, RoleName), Role>,
    pub(super) keys: BTreeMap<KeyId, ApiKey>,
    pub(super) usage: BTreeMap<KeyId, Usage>,
    pub(super) claims: BTreeMap<(ProjectName, QuotaSubject), StoredQuota>,
    /// Term and holder of each.
    pub(super) duties: BTreeMap<&'static str, (u64, String)>,
    pub(super) records: BTreeMap<(ProjectName, RecordKind, Arc<str>), Arc<VaultRecord>>,
    pub(super) sealed: BTreeMap<(ProjectName, Arc<str>, VersionNumber), SealedVersion>,
    /// By the end of the last call and the digest.
    pub(super) call_batches: BTreeMap<(ProjectName, Timestamp, String), CallBatch>,
    /// By day, connection and client.
    pub(super) call_counts: BTreeMap<(ProjectName, (String, String, String)), CallCount>,
    pub(super) webhook_events: BTreeMap<(ProjectName, String), WebhookEvent>,
    /// When each was left.
    pub(super) webhook_marks: BTreeMap<(ProjectName, String, [u8; 32]), Timestamp>,
    pub(super) results: BTreeMap<(ProjectName, [u8; 32]), IdempotentResult>,
}

/// Names one of the maps.
pub(super) type Table<K, V> = fn(&mut Tables) -> &mut BTreeMap<K, V>;

/// Changes that can still be taken back.
pub(super) struct Draft<'t> {
    tables: &'t mut Tables,
    undo: Vec<Undo>,
}

type Undo = Box<dyn FnOnce(&mut Tables)>;

impl Tables {
    /// A project's key.
    pub(super) fn key(&self, project: &ProjectName, id: KeyId) -> Option<&ApiKey> {
        self.keys.get(&id).filter(|key| key.project == *project)
    }

    /// Makes the changes, or none of them if one fails.
    pub(super) fn all_or_nothing<E>(
        &mut self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut draft = Draft { tables: &mut *self, undo: Vec::new() };
        let result = change(&mut draft);
        let undo = draft.undo;
        if result.is_err() {
            for step in undo.into_iter().rev() {
                step(self);
            }
        }
        result
    }
}

impl Draft<'_> {
    /// The maps as the changes so far left them.
    pub(super) fn tables(&self) -> &Tables {
        self.tables
    }

    /// Puts a row in, over an older one of the same key.
    pub(super) fn put<K, V>(&mut self, table: Table<K, V>, key: K, row: V)
    where
        K: Ord + Clone + 'static,
        V: 'static,
    {
        let before = table(self.tables).insert(key.clone(), row);
        self.remember(table, key, before);
    }

    /// Takes a row out. Returns whether there was one.
    pub(super) fn remove<K, V>(&mut self, table: Table<K, V>, key: K) -> bool
    where
        K: Ord + 'static,
        V: 'static,
    {
        let before = table(self.tables).remove(&key);
        let was_there = before.is_some();
        self.remember(table, key, before);
        was_there
    }

    fn remember<K, V>(&mut self, table: Table<K, V>, key: K, before: Option<V>)
    where
        K: Ord + 'static,
        V: 'static,
    {
        self.undo.push(Box::new(move |tables| {
            match before {
                Some(row) => table(tables).insert(key, row),
                None => table(tables).remove(&key),
            };
        }));
    }
}
