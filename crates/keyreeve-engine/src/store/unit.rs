//! Changes, and the unit in which they become durable.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use keyreeve_core::{
    audit::AuditEntry,
    key::{KeyDigest, KeyId},
    model::{ApiKey, Environment, Keyspace, Owner, Project, Revision, Role},
    name::{EnvironmentName, KeyspaceName, OwnerId, ProjectName, RoleName},
    quota::Stored as StoredQuota,
    vault::VersionNumber,
};

use super::{CommitError, EventStep, RecordKind, SealedRow, Store, VaultRecord, WebhookEvent};

/// One change. An update carries the new value with its revision one higher than the stored one;
/// a store refuses it otherwise.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new project. The unit's project must be the new one or the default one.
    CreateProject(Project),
    /// A new environment.
    CreateEnvironment(Environment),
    /// An environment without keys goes.
    DeleteEnvironment(EnvironmentName),
    /// A new keyspace.
    CreateKeyspace(Keyspace),
    /// A changed keyspace.
    UpdateKeyspace(Keyspace),
    /// A keyspace without keys goes.
    DeleteKeyspace(KeyspaceName),
    /// A new owner.
    CreateOwner(Owner),
    /// An owner that is made unless it exists.
    EnsureOwner(Owner),
    /// A changed owner.
    UpdateOwner(Owner),
    /// An owner without keys goes.
    DeleteOwner(OwnerId),
    /// A new role.
    CreateRole(Role),
    /// A changed role.
    UpdateRole(Role),
    /// A role that no key carries goes.
    DeleteRole(RoleName),
    /// A new key.
    CreateKey(Box<ApiKey>),
    /// A changed key.
    UpdateKey(Box<ApiKey>),
    /// A key goes for good, its usage and the answers that made it with it, unless it has changed
    /// since it was read.
    PurgeKey {
        /// Which key.
        id: KeyId,
        /// The stored revision that the purge was decided on.
        revision: Revision,
    },
    /// The text of an imported key was seen for the first time: from now on its own digest counts.
    RecogniseKey {
        /// Which key.
        id: KeyId,
        /// The digest of its text.
        digest: KeyDigest,
    },
    /// Keys were used.
    AddUsage(Vec<UsageDelta>),
    /// So much of these quotas may be spent. Refused if anything else is claimed than what is known
    /// ([`Stored::claimed_after`](keyreeve_core::quota::Stored::claimed_after)).
    ClaimQuota(Vec<QuotaClaim>),
    /// Just so much of what is known to be claimed of these quotas was spent; the rest is given back
    /// ([`Stored::settled`](keyreeve_core::quota::Stored::settled)).
    SettleQuota(Vec<QuotaClaim>),
    /// A request was answered under an idempotency key.
    RememberResult(IdempotentResult),
    /// Calls were made through connections.
    AddCalls(Box<CallBatch>),
    /// Batches of calls that ended before this are forgotten, in all projects; their sums are not.
    ForgetCallsBefore(Timestamp),
    /// An event came in that was not seen before: refused if one of its source left one of these marks.
    AcceptEvent {
        /// The event.
        event: Box<WebhookEvent>,
        /// What no other event of the source may leave.
        marks: Vec<[u8; 32]>,
    },
    /// Events were delivered, or tried, or are to be tried again.
    StepEvents(Vec<EventStep>),
    /// All events of a source that wait are dead.
    EndEvents {
        /// The source.
        source: String,
        /// Why, in words without values.
        failure: &'static str,
        /// Since when.
        at: Timestamp,
    },
    /// Events that ended before this are forgotten, in all projects, and marks that were left before it.
    ForgetEventsBefore(Timestamp),
    /// Answers older than this are forgotten, in all projects.
    ForgetResultsBefore(Timestamp),
    /// A record of the vault as it is now; refused unless what is stored is what it follows.
    PutRecord(Arc<VaultRecord>),
    /// A record of the vault goes, unless it has changed since it was read.
    DeleteRecord {
        /// What it is about.
        kind: RecordKind,
        /// Which.
        id: Arc<str>,
        /// The stored revision that this was decided on.
        revision: Revision,
    },
    /// A new version of a secret.
    PutSealed(SealedRow),
    /// The same version under another key, unless it is there no more or was moved meanwhile.
    MoveSealed {
        /// The version as it is to be.
        row: SealedRow,
        /// The number of the key it was read under.
        from: u32,
    },
    /// Versions of a secret go for good. Those that are not there are passed over.
    DropSealed {
        /// The secret's own id.
        secret: Arc<str>,
        /// Which.
        versions: Vec<VersionNumber>,
    },
    /// Changes nothing; refused if somebody else has taken over this duty since. What a duty is
    /// about goes into one unit with this, so that whoever was asleep for too long does nothing
    /// twice.
    OnDuty(DutyTerm),
}

/// The time in which one process of all does a work that must not be done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DutyTerm {
    /// The work.
    pub duty: &'static str,
    /// Goes up each time another process takes over.
    pub number: u64,
}

/// Use of one key since the last flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDelta {
    /// Which key.
    pub key: KeyId,
    /// Times it was found valid.
    pub verifications: u64,
    /// The last of them.
    pub last_used_at: Timestamp,
    /// Where it came from, if known.
    pub last_ip: Option<IpAddr>,
    /// With which user agent, if known.
    pub last_user_agent: Option<String>,
    /// The busiest spans since the process started.
    pub peaks: Peaks,
}

/// Calls of one project through connections, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallBatch {
    /// The digest of the rows, in hexadecimal, as the audit has it.
    pub sha256: String,
    /// The first of them.
    pub from: Timestamp,
    /// The last of them.
    pub until: Timestamp,
    /// How many.
    pub calls: u64,
    /// One JSON object a line.
    pub rows: String,
    /// Sums by day, connection and client.
    pub counts: Vec<CallCount>,
}

/// How much a client called through a connection on a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCount {
    /// The day in UTC, `YYYY-MM-DD`.
    pub day: String,
    /// The connection's name.
    pub connection: String,
    /// The client's key.
    pub client: String,
    /// Calls.
    pub calls: u64,
    /// Those that were answered with 400 and above.
    pub failed: u64,
    /// Bytes of requests' bodies.
    pub request_bytes: u64,
    /// Bytes of answers' bodies.
    pub answer_bytes: u64,
    /// How long all of them took, in microseconds.
    pub took_us: u64,
    /// What they cost, in units.
    pub units: u64,
}

/// The most requests in any one span of each length; spans begin at whole multiples of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// In ten seconds.
    pub ten_seconds: u32,
    /// In an hour.
    pub hour: u32,
    /// In a day.
    pub day: u32,
}

impl Peaks {
    /// The higher of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            ten_seconds: self.ten_seconds.max(other.ten_seconds),
            hour: self.hour.max(other.hour),
            day: self.day.max(other.day),
        }
    }
}

/// Whose quota.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaSubject {
    /// A chain of rotations, by its first key.
    Lineage(KeyId),
    /// An owner.
    Owner(OwnerId),
}

/// What of a quota may have been spent: never less than what was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaClaim {
    /// Whose.
    pub subject: QuotaSubject,
    /// How much, in which period.
    pub stored: StoredQuota,
    /// How much of it was claimed in that period, as far as the claimer knows.
    pub known: u64,
}

/// What was answered under an idempotency key. Holds no plaintext: the issued key is sealed
/// under the caller's own credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentResult {
    /// Digest of caller and idempotency key.
    pub lookup: [u8; 32],
    /// Digest of the request.
    pub fingerprint: [u8; 32],
    /// The key that was made.
    pub key: KeyId,
    /// The key's text, sealed.
    pub sealed: Vec<u8>,
    /// When.
    pub at: Timestamp,
}

/// What a commit tells its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Position of the audit entry.
    pub seq: u64,
    /// The epoch the change belongs to: entries so far.
    pub epoch: u64,
}

/// Changes of one project and the audit entry that records them.
#[derive(Clone, Debug)]
pub struct UnitOfWork {
    project: ProjectName,
    changes: Vec<Change>,
    entry: AuditEntry,
}

impl UnitOfWork {
    /// The tenant.
    pub fn project(&self) -> &ProjectName {
        &self.project
    }

    /// What changes, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What is recorded.
    pub fn entry(&self) -> &AuditEntry {
        &self.entry
    }
}

/// A unit of work being put together. Dropped without a commit, nothing happens.
#[must_use = "nothing is written until commit"]
pub struct Tx<'s> {
    store: &'s dyn Store,
    project: ProjectName,
    changes: Vec<Change>,
}

impl<'s> Tx<'s> {
    pub(super) fn new(store: &'s dyn Store, project: ProjectName) -> Self {
        Self { store, project, changes: Vec::new() }
    }

    /// Adds a change.
    pub fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Makes everything durable with its record. The entry is taken by value: no change can be
    /// stored unaudited.
    pub async fn commit(self, entry: AuditEntry) -> Result<Receipt, CommitError> {
        let unit = UnitOfWork { project: self.project, changes: self.changes, entry };
        self.store.commit(unit).await
    }
}
