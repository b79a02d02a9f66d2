//! A store on a database: reading is the same for all, the rest is the backend's.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use keyreeve_core::{
    key::KeyId,
    model::{ApiKey, Environment, Keyspace, Owner, Project, Role},
    name::{KeyspaceName, OwnerId, ProjectName, RoleName},
    quota::Stored as StoredQuota,
    vault::VersionNumber,
};
use keyreeve_engine::store::{
    AuditFilter, AuditRecord, CallBatch, CallCount, ChangeSink, CommitError, DutyTerm, EventFilter,
    IdempotentResult, KeyFilter, ListPage, PageRequest, QuotaSubject, Receipt, RecordKind,
    SealedOf, SequencedEntry, Store, StoreError, StoredKey, UnitOfWork, VaultRecord, WebhookEvent,
};

use super::{
    audit, calls, commands::DutyRequest, keys, quota, readers::Readers, tenancy, vault, webhooks,
};

/// What a database does in its own way.
#[async_trait]
pub(crate) trait Writing: Send + Sync {
    /// As [`Store::commit`].
    async fn commit(&self, unit: UnitOfWork) -> Result<Receipt, CommitError>;

    /// As [`Store::load`].
    async fn load(&self, sink: Arc<dyn ChangeSink>) -> Result<u64, StoreError>;

    /// As [`Store::take_duty`].
    async fn take_duty(&self, request: DutyRequest) -> Result<Option<DutyTerm>, StoreError>;

    /// Whether something can be written now.
    async fn check(&self) -> Result<(), StoreError>;

    /// Finishes what was accepted and lets go of the database. `readers` end before its last
    /// connection does.
    async fn close(&self, readers: Arc<Readers>);

    /// What was written since the store was opened.
    fn statistics(&self) -> Statistics;
}

/// What was written since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Units of work made durable.
    pub units: u64,
    /// Commits of the database that took.
    pub batches: u64,
}

/// A store on a database.
pub struct DatabaseStore {
    readers: Arc<Readers>,
    writing: Box<dyn Writing>,
}

impl DatabaseStore {
    pub(crate) fn new(readers: Arc<Readers>, writing: Box<dyn Writing>) -> Self {
        Self { readers, writing }
    }

    /// What was written since the store was opened.
    pub fn statistics(&self) -> Statistics {
        self.writing.statistics()
    }
}

#[async_trait]
impl Store for DatabaseStore {
    async fn commit(&self, unit: UnitOfWork) -> Result<Receipt, CommitError> {
        self.writing.commit(unit).await
    }

    async fn load(&self, sink: Arc<dyn ChangeSink>) -> Result<u64, StoreError> {
        self.writing.load(sink).await
    }

    async fn take_duty(
        &self,
        duty: &'static str,
        holder: &str,
        length: Duration,
    ) -> Result<Option<DutyTerm>, StoreError> {
        let request = DutyRequest { duty, holder: holder.to_owned(), length };
        self.writing.take_duty(request).await
    }

    async fn has_results_before(&self, time: Timestamp) -> Result<bool, StoreError> {
        self.readers.read(move |db| tenancy::has_results_before(db, time)).await
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.readers.read(tenancy::projects).await
    }

    async fn environments(&self, project: &ProjectName) -> Result<Vec<Environment>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| tenancy::environments(db, &project)).await
    }

    async fn keyspaces(&self, project: &ProjectName) -> Result<Vec<Keyspace>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| tenancy::keyspaces(db, &project)).await
    }

    async fn keyspace(
        &self,
        project: &ProjectName,
        name: &KeyspaceName,
    ) -> Result<Option<Keyspace>, StoreError> {
        let (project, name) = (project.clone(), name.clone());
        self.readers.read(move |db| tenancy::keyspace(db, &project, &name)).await
    }

    async fn owners(
        &self,
        project: &ProjectName,
        page: &PageRequest,
    ) -> Result<ListPage<Owner>, StoreError> {
        let (project, page) = (project.clone(), page.clone());
        self.readers.read(move |db| tenancy::owners(db, &project, &page)).await
    }

    async fn owner(
        &self,
        project: &ProjectName,
        id: &OwnerId,
    ) -> Result<Option<Owner>, StoreError> {
        let (project, id) = (project.clone(), id.clone());
        self.readers.read(move |db| tenancy::owner(db, &project, &id)).await
    }

    async fn roles(&self, project: &ProjectName) -> Result<Vec<Role>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| tenancy::roles(db, &project)).await
    }

    async fn role(
        &self,
        project: &ProjectName,
        name: &RoleName,
    ) -> Result<Option<Role>, StoreError> {
        let (project, name) = (project.clone(), name.clone());
        self.readers.read(move |db| tenancy::role(db, &project, &name)).await
    }

    async fn key(&self, project: &ProjectName, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| keys::key(db, &project, id)).await
    }

    async fn any_key(&self, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        let found = self.readers.read(move |db| keys::with_ids(db, &[id])).await?;
        Ok(found.into_iter().next())
    }

    async fn quota_claim(
        &self,
        project: &ProjectName,
        subject: &QuotaSubject,
    ) -> Result<Option<StoredQuota>, StoreError> {
        let (project, subject) = (project.clone(), subject.clone());
        self.readers.read(move |db| quota::claim(db, &project, &subject)).await
    }

    async fn keys(
        &self,
        project: &ProjectName,
        filter: &KeyFilter,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, StoreError> {
        let (project, filter, page) = (project.clone(), filter.clone(), page.clone());
        self.readers.read(move |db| keys::list(db, &project, &filter, &page)).await
    }

    async fn expiring_keys(
        &self,
        project: &ProjectName,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, StoreError> {
        let (project, page) = (project.clone(), page.clone());
        self.readers.read(move |db| keys::expiring(db, &project, from, until, &page)).await
    }

    async fn expired_keys(
        &self,
        project: &ProjectName,
        at: Timestamp,
        limit: u32,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| keys::expired(db, &project, at, limit)).await
    }

    async fn idempotent_result(
        &self,
        project: &ProjectName,
        lookup: &[u8; 32],
    ) -> Result<Option<IdempotentResult>, StoreError> {
        let (project, lookup) = (project.clone(), *lookup);
        self.readers.read(move |db| tenancy::idempotent_result(db, &project, &lookup)).await
    }

    async fn audit_entries(
        &self,
        project: &ProjectName,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<ListPage<SequencedEntry>, StoreError> {
        let (project, filter, page) = (project.clone(), filter.clone(), page.clone());
        self.readers.read(move |db| audit::entries(db, &project, &filter, &page)).await
    }

    async fn audit_log(&self, first: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.readers.read(move |db| audit::log(db, first, limit)).await
    }

    async fn checkpoints(&self) -> Result<Vec<String>, StoreError> {
        self.readers.read(audit::checkpoints).await
    }

    async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        self.readers.read(audit::checkpoint).await
    }

    async fn vault_record(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
    ) -> Result<Option<VaultRecord>, StoreError> {
        let (project, id) = (project.clone(), id.to_owned());
        self.readers.read(move |db| vault::record(db, &project, kind, &id)).await
    }

    async fn sealed_version(
        &self,
        project: &ProjectName,
        secret: &str,
        version: VersionNumber,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (project, secret) = (project.clone(), secret.to_owned());
        self.readers.read(move |db| vault::sealed(db, &project, &secret, version)).await
    }

    async fn sealed_under_other_keys(
        &self,
        key: u32,
        limit: u32,
    ) -> Result<Vec<SealedOf>, StoreError> {
        self.readers.read(move |db| vault::sealed_under_other_keys(db, key, limit)).await
    }

    async fn call_batches(
        &self,
        project: &ProjectName,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<CallBatch>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| calls::batches(db, &project, before, limit)).await
    }

    async fn has_calls_before(&self, before: Timestamp) -> Result<bool, StoreError> {
        self.readers.read(move |db| calls::exist_before(db, before)).await
    }

    async fn call_counts(
        &self,
        project: &ProjectName,
        from_day: &str,
        limit: u32,
    ) -> Result<Vec<CallCount>, StoreError> {
        let (project, from_day) = (project.clone(), from_day.to_owned());
        self.readers.read(move |db| calls::counts(db, &project, &from_day, limit)).await
    }

    async fn webhook_events(
        &self,
        project: &ProjectName,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<WebhookEvent>, StoreError> {
        let (project, filter) = (project.clone(), filter.clone());
        self.readers.read(move |db| webhooks::list(db, &project, &filter, limit)).await
    }

    async fn webhook_event(
        &self,
        project: &ProjectName,
        id: &str,
    ) -> Result<Option<WebhookEvent>, StoreError> {
        let (project, id) = (project.clone(), id.to_owned());
        self.readers.read(move |db| webhooks::one(db, &project, &id)).await
    }

    async fn sources_with_due_events(
        &self,
        at: Timestamp,
    ) -> Result<Vec<(ProjectName, String)>, StoreError> {
        self.readers.read(move |db| webhooks::sources_due(db, at)).await
    }

    async fn due_webhook_events(
        &self,
        project: &ProjectName,
        source: &str,
        at: Timestamp,
        limit: u32,
    ) -> Result<Vec<WebhookEvent>, StoreError> {
        let (project, source) = (project.clone(), source.to_owned());
        self.readers.read(move |db| webhooks::due(db, &project, &source, at, limit)).await
    }

    async fn has_webhook_events_before(&self, before: Timestamp) -> Result<bool, StoreError> {
        self.readers.read(move |db| webhooks::exist_before(db, before)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.checkpoint().await?;
        self.writing.check().await
    }

    async fn close(&self) {
        self.writing.close(Arc::clone(&self.readers)).await;
    }
}
