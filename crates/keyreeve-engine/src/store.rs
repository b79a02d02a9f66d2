//! What the engine asks of a store, and nothing of how.
//!
//! Reads return owned domain values. Writes are collected in a [`Tx`] and applied as one
//! [`UnitOfWork`] together with its audit entry: there is no other way to write. A unit states
//! what it expects (revisions, absent names), so a store can commit many units with one flush to
//! disk without holding locks between reading and writing: `docs/adr/0001-store-and-group-commit.md`.

mod error;
mod page;
mod query;
mod unit;
mod vault;
mod webhook;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use keyreeve_core::{
    audit::AuditEntry,
    key::KeyId,
    model::{ApiKey, Environment, Keyspace, Owner, Project, Role},
    name::{KeyspaceName, OwnerId, ProjectName, RoleName},
    quota::Stored as StoredQuota,
    vault::VersionNumber,
};

pub use error::{CommitError, Kind, StoreError};
pub use page::{Cursor, ListPage, PageRequest};
pub use query::{AuditFilter, AuditRecord, KeyFilter, SequencedEntry};
pub use unit::{
    CallBatch, CallCount, Change, DutyTerm, IdempotentResult, Peaks, QuotaClaim, QuotaSubject,
    Receipt, Tx, UnitOfWork, UsageDelta,
};
pub use vault::{RecordKind, SealedOf, SealedRow, VaultRecord};
pub use webhook::{EventFilter, EventOrder, EventProgress, EventState, EventStep, WebhookEvent};

/// How a key was used, as far as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Times it was found valid.
    pub verifications: u64,
    /// The last of them.
    pub last_used_at: Option<Timestamp>,
    /// Where it came from.
    pub last_ip: Option<std::net::IpAddr>,
    /// With which user agent.
    pub last_user_agent: Option<String>,
    /// The busiest spans.
    pub peaks: Peaks,
}

/// A key with its stored usage.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredKey {
    /// The key.
    pub key: ApiKey,
    /// Its usage as of the last flush.
    pub usage: Usage,
}

/// Learns of every change after it is durable and before its author is answered.
pub trait ChangeSink: Send + Sync {
    /// Takes one change. Called in commit order by one thread, except while loading.
    fn apply(&self, project: &ProjectName, change: &Change);

    /// Whether it wants to be told of every key while loading. Else it is told of keys of other
    /// systems, which cannot be found by their ids, and of what is claimed by owners; the rest it
    /// reads when it needs it.
    fn wants_all_keys(&self) -> bool {
        true
    }

    /// All changes up to `epoch` have been applied.
    fn advance(&self, epoch: u64);

    /// Another process claimed of a quota or gave back: so much is claimed since. In the order of
    /// the commits, among those of this process.
    fn claimed_elsewhere(&self, _project: &ProjectName, _claim: &QuotaClaim) {}

    /// Everything that was durable at that moment of the monotonic clock has been applied. A store
    /// that one process has to itself need not say so: there nothing happens elsewhere.
    fn vouch(&self, _as_of_ns: u64) {}

    /// Changes may have been missed, and none will follow: nothing seen so far can be vouched for
    /// any more. Must not panic.
    fn lost(&self) {}
}

/// A place to keep everything.
///
/// A new backend is done when it passes `keyreeve_store`'s conformance suite.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies the unit and its audit entry, all or nothing. Returns once both are durable and
    /// every sink has seen them. Dropping the future does not undo the unit.
    async fn commit(&self, unit: UnitOfWork) -> Result<Receipt, CommitError>;

    /// Takes over a duty that nobody has, or goes on with one's own, for `length` from now by the
    /// store's own clock; `None` while somebody else has it. A store that one process has to itself
    /// always gives it: whoever had it is gone.
    async fn take_duty(
        &self,
        duty: &'static str,
        holder: &str,
        length: Duration,
    ) -> Result<Option<DutyTerm>, StoreError>;

    /// Whether any answer is older than that, in any project.
    async fn has_results_before(&self, time: Timestamp) -> Result<bool, StoreError>;

    /// Replays everything verification needs, as creations, then attaches the sink to later
    /// commits, with none in between lost. Returns the epoch.
    async fn load(&self, sink: Arc<dyn ChangeSink>) -> Result<u64, StoreError>;

    /// All projects, by name.
    async fn projects(&self) -> Result<Vec<Project>, StoreError>;

    /// All environments of a project, by name.
    async fn environments(&self, project: &ProjectName) -> Result<Vec<Environment>, StoreError>;

    /// All keyspaces of a project, by name.
    async fn keyspaces(&self, project: &ProjectName) -> Result<Vec<Keyspace>, StoreError>;

    /// One keyspace.
    async fn keyspace(
        &self,
        project: &ProjectName,
        name: &KeyspaceName,
    ) -> Result<Option<Keyspace>, StoreError>;

    /// Owners, by id.
    async fn owners(
        &self,
        project: &ProjectName,
        page: &PageRequest,
    ) -> Result<ListPage<Owner>, StoreError>;

    /// One owner.
    async fn owner(&self, project: &ProjectName, id: &OwnerId)
    -> Result<Option<Owner>, StoreError>;

    /// All custom roles of a project, by name.
    async fn roles(&self, project: &ProjectName) -> Result<Vec<Role>, StoreError>;

    /// One custom role.
    async fn role(
        &self,
        project: &ProjectName,
        name: &RoleName,
    ) -> Result<Option<Role>, StoreError>;

    /// One key.
    async fn key(&self, project: &ProjectName, id: KeyId) -> Result<Option<StoredKey>, StoreError>;

    /// One key of whichever project: for verification, which finds the project by the key.
    async fn any_key(&self, id: KeyId) -> Result<Option<ApiKey>, StoreError>;

    /// What is claimed of a quota.
    async fn quota_claim(
        &self,
        project: &ProjectName,
        subject: &QuotaSubject,
    ) -> Result<Option<StoredQuota>, StoreError>;

    /// Keys, newest first.
    async fn keys(
        &self,
        project: &ProjectName,
        filter: &KeyFilter,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, StoreError>;

    /// Active keys whose expiry lies in `from..until`, soonest first.
    async fn expiring_keys(
        &self,
        project: &ProjectName,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, StoreError>;

    /// At most `limit` keys, neither revoked nor deleted, whose expiry or grace ended at or
    /// before `at`.
    async fn expired_keys(
        &self,
        project: &ProjectName,
        at: Timestamp,
        limit: u32,
    ) -> Result<Vec<ApiKey>, StoreError>;

    /// What was answered under an idempotency key.
    async fn idempotent_result(
        &self,
        project: &ProjectName,
        lookup: &[u8; 32],
    ) -> Result<Option<IdempotentResult>, StoreError>;

    /// A project's audit entries, newest first.
    async fn audit_entries(
        &self,
        project: &ProjectName,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<ListPage<SequencedEntry>, StoreError>;

    /// At most `limit` recorded entries of all projects from position `first` on.
    async fn audit_log(&self, first: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;

    /// Every kept signed tree head, smallest first. The last covers all committed entries.
    async fn checkpoints(&self) -> Result<Vec<String>, StoreError>;

    /// The signed tree head over all committed entries; `None` before the first.
    async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        Ok(self.checkpoints().await?.pop())
    }

    /// One record of the vault.
    async fn vault_record(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
    ) -> Result<Option<VaultRecord>, StoreError>;

    /// A sealed version of a secret, named by the secret's own id, as it is stored: whether it is whole
    /// shows when it is opened.
    async fn sealed_version(
        &self,
        project: &ProjectName,
        secret: &str,
        version: VersionNumber,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` versions, of all projects, that are sealed under another key than this one.
    async fn sealed_under_other_keys(
        &self,
        key: u32,
        limit: u32,
    ) -> Result<Vec<SealedOf>, StoreError>;

    /// At most `limit` batches of calls that ended before a moment, the latest first.
    async fn call_batches(
        &self,
        project: &ProjectName,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<CallBatch>, StoreError>;

    /// Whether there are batches of calls that ended before a moment.
    async fn has_calls_before(&self, before: Timestamp) -> Result<bool, StoreError>;

    /// At most `limit` sums of calls from a day on (UTC, `YYYY-MM-DD`), in the order of days,
    /// connections and clients.
    async fn call_counts(
        &self,
        project: &ProjectName,
        from_day: &str,
        limit: u32,
    ) -> Result<Vec<CallCount>, StoreError>;

    /// At most `limit` events, without their requests, the latest first.
    async fn webhook_events(
        &self,
        project: &ProjectName,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<WebhookEvent>, StoreError>;

    /// One event.
    async fn webhook_event(
        &self,
        project: &ProjectName,
        id: &str,
    ) -> Result<Option<WebhookEvent>, StoreError>;

    /// The sources that have events which are due at a moment, of all projects.
    async fn sources_with_due_events(
        &self,
        at: Timestamp,
    ) -> Result<Vec<(ProjectName, String)>, StoreError>;

    /// At most `limit` events of a source that are due at a moment, the longest due first. Of those that
    /// go one after the other, none is due behind one that waits.
    async fn due_webhook_events(
        &self,
        project: &ProjectName,
        source: &str,
        at: Timestamp,
        limit: u32,
    ) -> Result<Vec<WebhookEvent>, StoreError>;

    /// Whether there are events that ended, or marks that were left, before a moment.
    async fn has_webhook_events_before(&self, before: Timestamp) -> Result<bool, StoreError>;

    /// Whether the store can read and write now.
    async fn check(&self) -> Result<(), StoreError>;

    /// Finishes what was accepted and lets go of files and connections.
    async fn close(&self);
}

/// Starts a unit of work in a project.
pub fn begin<'s>(store: &'s dyn Store, project: &ProjectName) -> Tx<'s> {
    Tx::new(store, project.clone())
}

/// An entry and where it stands; what [`Store::audit_entries`] lists.
impl From<(u64, AuditEntry)> for SequencedEntry {
    fn from((seq, entry): (u64, AuditEntry)) -> Self {
        Self { seq, entry }
    }
}
