//! The engine: everything a use-case needs, in one place, passed in by the composition root.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    audit::{Actor, AuditEntry, Hash, Outcome, Target},
    key::{Digester, foreign::HmacSecret},
    name::ProjectName,
};
use serde_json::{Map, json};
use tracing::warn;

use crate::{
    Action, Caller, Clock, Countries, Denied, Entropy, Error, PerThread, Permit, RequestId, Sealer,
    ServiceLimits,
    abuse::AbuseTracker,
    admission::Admission,
    cells::CellTable,
    claims::ClaimQueue,
    connections::{CallLedger, ConnectionStates},
    denials::{DenialKind, DenialLedger},
    fingerprint::Fingerprints,
    live::{LiveKey, LiveTable},
    read_through::Turns,
    shared_counts::SharedCounts,
    store::{Change, Store, StoreError, Tx, UsageDelta, begin},
    usage::UsageLedger,
    vault::{BackendOptions, Backends, CredentialTypes, Sinks, Vault},
    verify::{RequestSubject, SlowHashes},
    webhooks::VerdictLedger,
};

/// Addresses and routes that per-address and per-route limits keep apart.
const MOST_REQUEST_CELLS: usize = 200_000;

/// Keys whose usage is stored in one unit of work.
const KEYS_PER_FLUSH: usize = 1_000;

/// What an engine is made of.
pub struct EngineOptions {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// How key digests are made.
    pub digester: Digester,
    /// The verifier key of the audit, as handed to whoever wants to check it.
    pub audit_public_key: String,
    /// How long the answer to a repeatable request is kept.
    pub idempotency_keep: SignedDuration,
    /// How often the service itself may be called.
    pub limits: ServiceLimits,
    /// Where addresses are; `None` if there is no database.
    pub countries: Option<Arc<dyn Countries>>,
    /// Under what another system made the HMACs of its keys.
    pub import_secret: Option<HmacSecret>,
    /// How many keys memory has room for; `None` if for all.
    pub most_keys_in_memory: Option<usize>,
    /// Who knows credentials; `None` if nobody looks at what is kept.
    pub credential_types: Option<Arc<dyn CredentialTypes>>,
    /// Other stores that hold secrets.
    pub backends: Vec<BackendOptions>,
    /// Where all nodes count together; `None` if each counts for itself.
    pub shared: Option<SharedCounting>,
    /// How old the knowledge of what other nodes did may be before this one vouches for nothing.
    pub bound: Duration,
}

/// Where all nodes count together.
#[derive(Clone)]
pub struct SharedCounting {
    /// The counts.
    pub counts: Arc<dyn SharedCounts>,
    /// How much of each limit a node gives by itself while they cannot be reached, in thousandths.
    pub outage_per_mille: u16,
}

/// All use-cases.
pub struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) digester: Digester,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) usage: UsageLedger,
    pub(crate) denials: DenialLedger,
    pub(crate) audit_public_key: String,
    pub(crate) idempotency_keep: SignedDuration,
    pub(crate) admission: Admission,
    pub(crate) bad_keys: AbuseTracker,
    pub(crate) bad_credentials: AbuseTracker,
    pub(crate) lockouts: AtomicU64,
    pub(crate) claims: ClaimQueue,
    pub(crate) countries: Option<Arc<dyn Countries>>,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) import_secret: Option<HmacSecret>,
    pub(crate) credential_types: Option<Arc<dyn CredentialTypes>>,
    pub(crate) backends: Backends,
    pub(crate) connections: ConnectionStates,
    pub(crate) calls: CallLedger,
    pub(crate) verdicts: Arc<VerdictLedger>,
    pub(crate) request_cells: CellTable<RequestSubject>,
    pub(crate) slow_hashes: SlowHashes,
    pub(crate) shared: Option<SharedCounting>,
    /// Requests that were limited on this node alone, for want of the common counts.
    pub(crate) degraded: AtomicU64,
    /// Whether the audit says that the nodes count together, and of how many outages it knows.
    pub(crate) noted_together: AtomicBool,
    pub(crate) noted_outages: AtomicU64,
    /// When the last outage was noted, on the monotonic clock; 0 if none was.
    pub(crate) noted_ns: AtomicU64,
    pub(crate) key_turns: Turns,
    pub(crate) key_reads: AtomicU64,
    pub(crate) bound_ns: u64,
    local_sealer: Sealer,
    pub(crate) process: u64,
    /// Makes numbers of this process that nobody outside can guess.
    secret_seed: u64,
    numbers: AtomicU64,
    requests: PerThread<AtomicU64>,
}

impl Engine {
    /// Loads what verification needs and begins to follow changes.
    pub async fn start(options: EngineOptions) -> Result<Self, Error> {
        let live = Arc::new(match options.most_keys_in_memory {
            None => LiveTable::default(),
            Some(most) => LiveTable::with_room_for(most, options.clock.clone()),
        });
        let vault = Arc::new(Vault::default());
        let verdicts = Arc::new(VerdictLedger::default());
        let sinks = Sinks { live: live.clone(), vault: vault.clone(), verdicts: verdicts.clone() };
        options.store.load(Arc::new(sinks)).await?;
        live.set_loaded();
        let lockout_ns = u64::try_from(options.limits.lockout.as_nanos()).unwrap_or(u64::MAX);
        let failed_auth = options.limits.failed_auth;
        let fingerprints = Fingerprints::new(&options.entropy.bytes()?);
        let secret_seed = u64::from_le_bytes(options.entropy.bytes()?);
        Ok(Self {
            live,
            vault,
            local_sealer: Sealer::random(&*options.entropy)?,
            process: u64::from_le_bytes(options.entropy.bytes()?),
            store: options.store,
            clock: options.clock,
            entropy: options.entropy,
            digester: options.digester,
            audit_public_key: options.audit_public_key,
            idempotency_keep: options.idempotency_keep,
            usage: UsageLedger::new(options.most_keys_in_memory.is_some()),
            denials: DenialLedger::default(),
            bad_keys: AbuseTracker::new(failed_auth, lockout_ns),
            bad_credentials: AbuseTracker::new(failed_auth, lockout_ns),
            lockouts: AtomicU64::new(0),
            claims: ClaimQueue::default(),
            countries: options.countries,
            fingerprints,
            import_secret: options.import_secret,
            credential_types: options.credential_types,
            backends: Backends::new(options.backends),
            shared: options.shared,
            degraded: AtomicU64::new(0),
            noted_together: AtomicBool::new(true),
            noted_outages: AtomicU64::new(0),
            noted_ns: AtomicU64::new(0),
            key_turns: Turns::default(),
            key_reads: AtomicU64::new(0),
            bound_ns: u64::try_from(options.bound.as_nanos()).unwrap_or(u64::MAX),
            connections: ConnectionStates::default(),
            calls: CallLedger::default(),
            verdicts,
            request_cells: CellTable::new(MOST_REQUEST_CELLS),
            slow_hashes: SlowHashes::default(),
            secret_seed,
            numbers: AtomicU64::new(0),
            requests: PerThread::default(),
            admission: Admission::new(options.limits),
        })
    }

    /// The time, to the millisecond.
    pub fn now(&self) -> Timestamp {
        self.clock.now_ms()
    }

    /// What verification reads.
    pub fn live(&self) -> &LiveTable {
        &self.live
    }

    /// A fresh request id.
    pub fn next_request_id(&self) -> RequestId {
        RequestId::next(self.process, &self.requests)
    }

    /// A number that did not come before and cannot be guessed.
    pub(crate) fn random_number(&self) -> u64 {
        let count = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut hasher = DefaultHasher::new();
        (self.secret_seed, count).hash(&mut hasher);
        hasher.finish()
    }

    /// Stands for texts in counters that must stay small. Differs from process to process.
    pub(crate) fn subject_hash(&self, texts: &[&str]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.secret_seed, texts).hash(&mut hasher);
        hasher.finish()
    }

    /// Seals answers for callers on the local socket, who show no credential. Lasts as long as
    /// the process.
    pub fn local_sealer(&self) -> &Sealer {
        &self.local_sealer
    }

    /// Whether the store can read and write now.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    /// Lets a caller do `A`, or records that it was refused.
    pub async fn authorize<'c, A: Action>(
        &self,
        caller: &'c Caller,
    ) -> Result<Permit<'c, A>, Error> {
        match Permit::check(caller) {
            Ok(permit) => Ok(permit),
            Err(denied) => {
                self.record_denial(caller, denied).await?;
                Err(denied.into())
            }
        }
    }

    /// Records a refusal. Durable before the caller is answered.
    async fn record_denial(&self, caller: &Caller, denied: Denied) -> Result<(), Error> {
        let entry = AuditEntry {
            at: self.now(),
            project: caller.project().clone(),
            actor: caller.actor(),
            action: denied.action.into(),
            target: Target::new("permission", denied.missing),
            outcome: Outcome::Denied,
            reason: None,
            request: Some(caller.request().origin()),
            details: Map::new(),
        };
        self.begin(caller.project()).commit(entry).await?;
        Ok(())
    }

    /// Refuses to let a caller hand out more than they have, and records the refusal.
    pub(crate) async fn refuse_escalation<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        missing: Vec<String>,
    ) -> Error {
        match self.record_escalation(permit, &missing).await {
            Ok(()) => Error::Escalation { missing },
            Err(error) => error,
        }
    }

    /// Records that a caller tried to hand out more than they have.
    pub(crate) async fn record_escalation<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        missing: &[String],
    ) -> Result<(), Error> {
        let mut entry = permit.entry(self.now(), Target::new("permission", missing.join(" ")));
        entry.outcome = Outcome::Denied;
        entry.reason = Some("grants more than the caller has".to_owned());
        self.begin(permit.project()).commit(entry).await?;
        Ok(())
    }

    pub(crate) fn begin(&self, project: &ProjectName) -> Tx<'_> {
        begin(&*self.store, project)
    }

    /// Counts a request that came without a good credential.
    pub fn count_failed_authentication(&self, ip: Option<IpAddr>, code: &'static str) {
        let kind = DenialKind::Authentication { ip, code };
        self.denials.count(&ProjectName::default_project(), kind);
    }

    /// Stores counted use and counted denials. Called at an interval and at a graceful stop.
    ///
    /// What cannot be stored is kept for the next call; the last error is returned.
    pub async fn flush(&self) -> Result<(), Error> {
        let mut outcome = self.flush_calls().await;
        for batch in self.denials.drain() {
            let details = batch.details();
            let entry = self.system_entry(&batch.project, "denials", "denial.batch", details);
            if let Err(error) = self.begin(&batch.project).commit(entry).await {
                self.denials.restore(batch);
                outcome = Err(error.into());
            }
        }
        for (project, used) in self.usage.drain() {
            // In pieces, so that no revocation waits behind a million counters.
            for some in used.chunks(KEYS_PER_FLUSH) {
                if let Err(error) = self.store_usage(&project, some).await {
                    for (key, delta) in some {
                        self.usage.restore(key, delta.verifications);
                    }
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    async fn store_usage(
        &self,
        project: &ProjectName,
        used: &[(Arc<LiveKey>, UsageDelta)],
    ) -> Result<(), Error> {
        let deltas: Vec<_> = used.iter().map(|(_, delta)| delta.clone()).collect();
        let entry = self.system_entry(project, "usage", "usage.batch", summary(&deltas));
        self.begin(project).with(Change::AddUsage(deltas)).commit(entry).await?;
        Ok(())
    }

    pub(crate) fn system_entry(
        &self,
        project: &ProjectName,
        task: &'static str,
        action: &'static str,
        details: Map<String, serde_json::Value>,
    ) -> AuditEntry {
        AuditEntry {
            at: self.now(),
            project: project.clone(),
            actor: Actor::System(task.into()),
            action: action.into(),
            target: Target::new("project", project),
            outcome: Outcome::Done,
            reason: None,
            request: None,
            details,
        }
    }

    /// Whether what verification reads is known to miss nothing. If not, nothing may be accepted.
    pub fn can_vouch(&self) -> bool {
        !self.live.is_lost() && self.age_ns() <= self.bound_ns
    }

    /// For how long other nodes may have done what this one does not know yet.
    pub fn age(&self) -> Duration {
        Duration::from_nanos(self.age_ns())
    }

    /// The same in milliseconds, rounded up.
    pub(crate) fn age_ms(&self) -> u64 {
        self.age_ns().div_ceil(1_000_000)
    }

    fn age_ns(&self) -> u64 {
        self.live.age_ns(|| self.clock.monotonic_ns())
    }

    /// Lets go of what is counted for keys that are gone.
    pub fn sweep(&self) {
        self.live.sweep_counters();
    }

    /// As [`Engine::flush`], for callers that can only go on.
    pub async fn flush_or_log(&self) {
        if let Err(error) = self.flush().await {
            warn!(%error, "counts were not stored; they are kept and tried again");
        }
    }

    /// Lets the store finish what it accepted and closes it.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Leaves the table of keys in memory until the process ends, which is to be now. Taking a million keys
    /// apart takes seconds and is of use to nobody: what is in it stands in the database, too, and of a key
    /// no more than a digest. The vault goes with the engine, and what it holds is overwritten.
    pub fn leave_keys(&self) {
        std::mem::forget(self.live.clone());
    }
}

/// What the audit keeps of a usage batch: totals, and the digest of the rows, so that rows
/// altered later can be told from those that were counted.
fn summary(deltas: &[UsageDelta]) -> Map<String, serde_json::Value> {
    let mut rows = String::new();
    for delta in deltas {
        rows.push_str(&format!(
            "{} {} {}\n",
            delta.key,
            delta.verifications,
            delta.last_used_at.as_millisecond()
        ));
    }
    let verifications: u64 = deltas.iter().map(|delta| delta.verifications).sum();
    Map::from_iter([
        ("keys".to_owned(), json!(deltas.len())),
        ("verifications".to_owned(), json!(verifications)),
        ("sha256".to_owned(), json!(Hash::of(rows.as_bytes()).to_string())),
    ])
}
