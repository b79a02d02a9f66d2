//! A store that forgets everything: for tests, here and in the engine.
//!
//! It accepts and refuses exactly what the durable backends do; the conformance suite holds it to
//! that. Everything happens under one lock, so a sink must not call back into the store.

mod apply;
mod calls;
mod lists;
mod log;
mod tables;
mod vault;
mod webhooks;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use keyreeve_core::{
    audit::CheckpointSigner,
    key::KeyId,
    model::{ApiKey, Environment, Keyspace, Owner, Project, Role},
    name::{KeyspaceName, OwnerId, ProjectName, RoleName},
    quota::Stored as StoredQuota,
    vault::VersionNumber,
};
use keyreeve_engine::store::{
    AuditFilter, AuditRecord, CallBatch, CallCount, Change, ChangeSink, CommitError, DutyTerm,
    EventFilter, IdempotentResult, KeyFilter, ListPage, PageRequest, QuotaClaim, QuotaSubject,
    Receipt, RecordKind, SealedOf, SequencedEntry, Store, StoreError, StoredKey, UnitOfWork,
    VaultRecord, WebhookEvent,
};
use parking_lot::{Mutex, MutexGuard};

use self::{log::Log, tables::Tables};

/// A store in memory.
pub struct MemoryStore {
    state: Mutex<State>,
}

struct State {
    tables: Tables,
    log: Log,
    sinks: Vec<Arc<dyn ChangeSink>>,
    closed: bool,
}

impl MemoryStore {
    /// An empty store that signs its audit log with this key.
    pub fn new(signer: CheckpointSigner) -> Self {
        let state = State {
            tables: Tables::default(),
            log: Log::new(signer),
            sinks: Vec::new(),
            closed: false,
        };
        Self { state: Mutex::new(state) }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        if state.closed { Err(StoreError::Closed) } else { Ok(state) }
    }
}

impl State {
    fn commit(&mut self, unit: &UnitOfWork) -> Result<Receipt, CommitError> {
        self.tables.all_or_nothing(|draft| {
            let mut changes = unit.changes().iter();
            changes.try_for_each(|change| apply::apply(draft, unit.project(), change))
        })?;
        let receipt = self.log.append(unit.entry());
        for sink in &self.sinks {
            for change in unit.changes() {
                sink.apply(unit.project(), change);
            }
            sink.advance(receipt.epoch);
        }
        Ok(receipt)
    }

    fn load(&self, sink: &dyn ChangeSink) {
        let tables = &self.tables;
        for (name, project) in &tables.projects {
            sink.apply(name, &Change::CreateProject(project.clone()));
        }
        for ((project, _), environment) in &tables.environments {
            sink.apply(project, &Change::CreateEnvironment(environment.clone()));
        }
        for ((project, _), keyspace) in &tables.keyspaces {
            sink.apply(project, &Change::CreateKeyspace(keyspace.clone()));
        }
        for ((project, _), owner) in &tables.owners {
            sink.apply(project, &Change::CreateOwner(owner.clone()));
        }
        for ((project, _), role) in &tables.roles {
            sink.apply(project, &Change::CreateRole(role.clone()));
        }
        for ((project, ..), record) in &tables.records {
            sink.apply(project, &Change::PutRecord(record.clone()));
        }
        let all = sink.wants_all_keys();
        let wanted = |key: &&ApiKey| !lists::is_deleted(key) && (all || key.imported.is_some());
        for key in tables.keys.values().filter(wanted) {
            sink.apply(&key.project, &Change::CreateKey(Box::new(key.clone())));
        }
        let is_told = |subject: &QuotaSubject| match subject {
            QuotaSubject::Owner(_) => true,
            QuotaSubject::Lineage(id) => {
                tables.keys.values().any(|key| key.lineage == *id && key.imported.is_some())
            }
        };
        let claims = tables.claims.iter().filter(|((_, subject), _)| all || is_told(subject));
        for ((project, subject), stored) in claims {
            let claim = QuotaClaim { subject: subject.clone(), stored: *stored, known: 0 };
            sink.apply(project, &Change::ClaimQuota(vec![claim]));
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, unit: UnitOfWork) -> Result<Receipt, CommitError> {
        self.state()?.commit(&unit)
    }

    async fn load(&self, sink: Arc<dyn ChangeSink>) -> Result<u64, StoreError> {
        let mut state = self.state()?;
        state.load(&*sink);
        let epoch = state.log.size();
        sink.advance(epoch);
        state.sinks.push(sink);
        Ok(epoch)
    }

    async fn take_duty(
        &self,
        duty: &'static str,
        holder: &str,
        _length: Duration,
    ) -> Result<Option<DutyTerm>, StoreError> {
        let mut state = self.state()?;
        let (number, current) = state.tables.duties.entry(duty).or_default();
        if current != holder {
            *number += 1;
            holder.clone_into(current);
        }
        Ok(Some(DutyTerm { duty, number: *number }))
    }

    async fn has_results_before(&self, time: Timestamp) -> Result<bool, StoreError> {
        Ok(self.state()?.tables.results.values().any(|result| result.at < time))
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        Ok(self.state()?.tables.projects.values().cloned().collect())
    }

    async fn environments(&self, project: &ProjectName) -> Result<Vec<Environment>, StoreError> {
        Ok(lists::of_project(&self.state()?.tables.environments, project))
    }

    async fn keyspaces(&self, project: &ProjectName) -> Result<Vec<Keyspace>, StoreError> {
        Ok(lists::of_project(&self.state()?.tables.keyspaces, project))
    }

    async fn keyspace(
        &self,
        project: &ProjectName,
        name: &KeyspaceName,
    ) -> Result<Option<Keyspace>, StoreError> {
        let key = (project.clone(), name.clone());
        Ok(self.state()?.tables.keyspaces.get(&key).cloned())
    }

    async fn owners(
        &self,
        project: &ProjectName,
        page: &PageRequest,
    ) -> Result<ListPage<Owner>, StoreError> {
        lists::owners(&self.state()?.tables, project, page)
    }

    async fn owner(
        &self,
        project: &ProjectName,
        id: &OwnerId,
    ) -> Result<Option<Owner>, StoreError> {
        let key = (project.clone(), id.clone());
        Ok(self.state()?.tables.owners.get(&key).cloned())
    }

    async fn roles(&self, project: &ProjectName) -> Result<Vec<Role>, StoreError> {
        Ok(lists::of_project(&self.state()?.tables.roles, project))
    }

    async fn role(
        &self,
        project: &ProjectName,
        name: &RoleName,
    ) -> Result<Option<Role>, StoreError> {
        let key = (project.clone(), name.clone());
        Ok(self.state()?.tables.roles.get(&key).cloned())
    }

    async fn key(&self, project: &ProjectName, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let state = self.state()?;
        let key = state.tables.key(project, id);
        Ok(key.map(|key| lists::stored(&state.tables, key)))
    }

    async fn any_key(&self, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.state()?.tables.keys.get(&id).cloned())
    }

    async fn quota_claim(
        &self,
        project: &ProjectName,
        subject: &QuotaSubject,
    ) -> Result<Option<StoredQuota>, StoreError> {
        let key = (project.clone(), subject.clone());
        Ok(self.state()?.tables.claims.get(&key).copied())
    }

    async fn keys(
        &self,
        project: &ProjectName,
        filter: &KeyFilter,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, StoreError> {
        lists::keys(&self.state()?.tables, project, filter, page)
    }

    async fn expiring_keys(
        &self,
        project: &ProjectName,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, StoreError> {
        lists::expiring(&self.state()?.tables, project, from, until, page)
    }

    async fn expired_keys(
        &self,
        project: &ProjectName,
        at: Timestamp,
        limit: u32,
    ) -> Result<Vec<ApiKey>, StoreError> {
        Ok(lists::expired(&self.state()?.tables, project, at, limit))
    }

    async fn idempotent_result(
        &self,
        project: &ProjectName,
        lookup: &[u8; 32],
    ) -> Result<Option<IdempotentResult>, StoreError> {
        let key = (project.clone(), *lookup);
        Ok(self.state()?.tables.results.get(&key).cloned())
    }

    async fn audit_entries(
        &self,
        project: &ProjectName,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<ListPage<SequencedEntry>, StoreError> {
        self.state()?.log.entries(project, filter, page)
    }

    async fn audit_log(&self, first: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        Ok(self.state()?.log.records(first, limit))
    }

    async fn checkpoints(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.state()?.log.checkpoints())
    }

    async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        Ok(Some(self.state()?.log.checkpoint().to_owned()))
    }

    async fn vault_record(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
    ) -> Result<Option<VaultRecord>, StoreError> {
        let key = (project.clone(), kind, id.into());
        Ok(self.state()?.tables.records.get(&key).map(|record| (**record).clone()))
    }

    async fn sealed_version(
        &self,
        project: &ProjectName,
        secret: &str,
        version: VersionNumber,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let key = (project.clone(), secret.into(), version);
        Ok(self.state()?.tables.sealed.get(&key).map(|sealed| sealed.as_bytes().to_vec()))
    }

    async fn sealed_under_other_keys(
        &self,
        key: u32,
        limit: u32,
    ) -> Result<Vec<SealedOf>, StoreError> {
        Ok(vault::under_other_keys(&self.state()?.tables, key, limit))
    }

    async fn call_batches(
        &self,
        project: &ProjectName,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<CallBatch>, StoreError> {
        Ok(calls::batches(&self.state()?.tables, project, before, limit))
    }

    async fn has_calls_before(&self, before: Timestamp) -> Result<bool, StoreError> {
        Ok(self.state()?.tables.call_batches.keys().any(|(_, until, _)| *until < before))
    }

    async fn call_counts(
        &self,
        project: &ProjectName,
        from_day: &str,
        limit: u32,
    ) -> Result<Vec<CallCount>, StoreError> {
        Ok(calls::counts(&self.state()?.tables, project, from_day, limit))
    }

    async fn webhook_events(
        &self,
        project: &ProjectName,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<WebhookEvent>, StoreError> {
        Ok(webhooks::list(&self.state()?.tables, project, filter, limit))
    }

    async fn webhook_event(
        &self,
        project: &ProjectName,
        id: &str,
    ) -> Result<Option<WebhookEvent>, StoreError> {
        let place = (project.clone(), id.to_owned());
        Ok(self.state()?.tables.webhook_events.get(&place).cloned())
    }

    async fn sources_with_due_events(
        &self,
        at: Timestamp,
    ) -> Result<Vec<(ProjectName, String)>, StoreError> {
        Ok(webhooks::sources_due(&self.state()?.tables, at))
    }

    async fn due_webhook_events(
        &self,
        project: &ProjectName,
        source: &str,
        at: Timestamp,
        limit: u32,
    ) -> Result<Vec<WebhookEvent>, StoreError> {
        Ok(webhooks::due(&self.state()?.tables, project, source, at, limit))
    }

    async fn has_webhook_events_before(&self, before: Timestamp) -> Result<bool, StoreError> {
        Ok(webhooks::exist_before(&self.state()?.tables, before))
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.state().map(|_| ())
    }

    async fn close(&self) {
        self.state.lock().closed = true;
    }
}
