//! The thread that writes for this node. It takes whatever has queued up and commits it in one
//! transaction, as SQLite's does. The row with the head of the audit log is what nodes take turns
//! by: whoever has locked it knows the whole log, and nobody else can extend it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread,
    time::Duration,
};

use keyreeve_core::audit::CheckpointSigner;
use keyreeve_engine::store::{
    AuditRecord, CommitError, DutyTerm, QuotaClaim, Receipt, StoreError, UnitOfWork,
};
use tokio::sync::mpsc;

use super::{
    changes::{self, Entry},
    feed::{Answer, CHANNEL, Delivery, Order},
    session::{DatabaseFailure, PostgresSession},
};
use crate::{
    log_head::LogHead,
    sql::{
        apply,
        columns::Columns,
        commands::{Command, Counters, DutyRequest, Waiting},
        duties,
        failure::{Broken, Refusal},
        head, query,
        session::values,
    },
};

/// The most commands taken at once.
const MOST_AT_ONCE: usize = 257;
/// How often a batch is tried that others were in the way of, or whose connection broke before it
/// could have become durable.
const MOST_TRIES: u32 = 30;
/// How long to wait between two of them.
const RETRY: Duration = Duration::from_millis(100);
/// How often it is asked whether a commit came through whose answer was lost.
const MOST_QUESTIONS: u32 = 100;

/// The thread's own things.
pub(super) struct Writer {
    pub(super) session: PostgresSession,
    /// The head as this node last saw it.
    pub(super) head: LogHead,
    pub(super) signer: CheckpointSigner,
    /// What this node calls itself in the log of changes.
    pub(super) node: Arc<str>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) feed: Sender<Order>,
    pub(super) has_sinks: Arc<AtomicBool>,
    pub(super) counters: Arc<Counters>,
}

type Results = Vec<Result<Receipt, CommitError>>;

/// Why a batch was not written.
enum Undone {
    /// It is not durable; the flag says whether another try may help.
    Failed(Broken, bool),
    /// Nobody can tell whether it is: the connection broke while it was being committed.
    InDoubt(Box<Doubt>),
}

/// What becomes true if a commit came through whose answer was lost.
struct Doubt {
    results: Results,
    head: LogHead,
    /// The last entry of it.
    last: AuditRecord,
    broken: Broken,
}

impl From<Broken> for Undone {
    fn from(broken: Broken) -> Self {
        let error = StoreError::from(broken);
        let again = match &error {
            StoreError::Backend(cause) => {
                cause.downcast_ref::<DatabaseFailure>().is_some_and(|failure| failure.again)
            }
            _ => false,
        };
        Self::Failed(error.into(), again)
    }
}

impl Writer {
    /// Works until nobody can send commands any more.
    pub(super) fn run(mut self) {
        let mut commands = Vec::with_capacity(MOST_AT_ONCE);
        while self.commands.blocking_recv_many(&mut commands, MOST_AT_ONCE) > 0 {
            let (mut batch, mut duties, mut checks) = (Vec::new(), Vec::new(), Vec::new());
            for command in commands.drain(..) {
                match command {
                    Command::Commit(waiting) => batch.push(*waiting),
                    Command::Load(sink, answer) => self.tell_feed(Order::Load(sink, answer)),
                    Command::TakeDuty(request, answer) => duties.push((request, answer)),
                    Command::Check(answer) => checks.push(answer),
                }
            }
            if !batch.is_empty() {
                self.commit(batch);
            }
            for (request, answer) in duties {
                let _ = answer.send(self.take_duty(&request).map_err(StoreError::from));
            }
            for answer in checks {
                // Whoever asked may be gone; then nobody needs to know.
                let _ = answer.send(self.check().map_err(StoreError::from));
            }
        }
    }

    /// Gives the feed something to do, and wakes it.
    fn tell_feed(&mut self, order: Order) {
        if self.feed.send(order).is_ok() {
            self.session.wake_listeners();
        }
    }

    /// Commits units and has their authors answered.
    fn commit(&mut self, batch: Vec<Waiting>) {
        let before = self.head.clone();
        match self.write_surely(&batch) {
            Ok(results) => self.publish(batch, results),
            Err(broken) => {
                self.head = before;
                // One failure, told to many.
                let cause = Arc::new(StoreError::from(broken));
                for waiting in batch {
                    let error = StoreError::Backend(Box::new(Arc::clone(&cause)));
                    let _ = waiting.answer.send(Err(error.into()));
                }
            }
        }
    }

    /// Writes the batch, trying again where that can do no harm.
    fn write_surely(&mut self, batch: &[Waiting]) -> Result<Results, Broken> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.write(batch) {
                Ok(results) => return Ok(results),
                Err(Undone::Failed(_, true)) if tries < MOST_TRIES => {
                    self.session.roll_back();
                    thread::sleep(RETRY);
                }
                Err(Undone::Failed(broken, _)) => {
                    self.session.roll_back();
                    return Err(broken);
                }
                Err(Undone::InDoubt(doubt)) => {
                    let Doubt { results, head, last, broken } = *doubt;
                    if self.came_through(&last, broken)? {
                        self.head = head;
                        return Ok(results);
                    }
                    if tries >= MOST_TRIES {
                        let why = "the connection breaks at each commit";
                        return Err(StoreError::Backend(why.into()).into());
                    }
                }
            }
        }
    }

    /// Applies the batch in one transaction.
    fn write(&mut self, batch: &[Waiting]) -> Result<Results, Undone> {
        self.session.begin("BEGIN")?;
        let before = self.lock_head()?;
        let mut head = self.head.clone();
        let mut log = Vec::new();
        let mut last = None;
        let mut results = Vec::with_capacity(batch.len());
        for waiting in batch {
            self.session.mark()?;
            match write_unit(&mut self.session, &mut head, &waiting.unit) {
                Ok((record, quotas)) => {
                    self.session.pass_mark();
                    let (epoch, project) = (head.size(), waiting.unit.project());
                    let changes = waiting.unit.changes().iter();
                    log.extend(changes.filter_map(|change| Entry::of(epoch, project, change)));
                    let of_quota = |claim| Entry::of_quota(epoch, project, &self.node, claim);
                    log.extend(quotas.iter().map(of_quota));
                    results.push(Ok(Receipt { seq: record.seq, epoch }));
                    last = Some(record);
                }
                Err(Refusal::Refused(refused)) => {
                    self.session.back_to_mark()?;
                    results.push(Err(refused));
                }
                Err(Refusal::Broken(broken)) => match Undone::from(broken) {
                    // The failure of one unit leaves the rest of the batch alone.
                    Undone::Failed(broken, false) => {
                        self.session.back_to_mark()?;
                        results.push(Err(StoreError::from(broken).into()));
                    }
                    undone => return Err(undone),
                },
            }
        }
        let Some(last) = last else {
            self.session.roll_back();
            return Ok(results);
        };
        let units = head.size() - before;
        head::save(&mut self.session, before, &mut head, &self.signer)?;
        changes::write(&mut self.session, &log, before, head.size())?;
        if let Err(broken) = self.session.commit_after(&format!("NOTIFY {CHANNEL}")) {
            self.session.disconnect();
            return Err(Undone::InDoubt(Box::new(Doubt { results, head, last, broken })));
        }
        self.head = head;
        self.counters.count(units);
        Ok(results)
    }

    /// Waits for this node's turn. If others wrote meanwhile, looks at the end of the log anew.
    fn lock_head(&mut self) -> Result<u64, Broken> {
        let sql = "SELECT size FROM audit_state FOR UPDATE";
        let size = query::number(&mut self.session, sql, &[])?;
        if size != Some(self.head.size()) {
            self.head = head::open(&mut self.session, &self.signer)?;
        }
        Ok(self.head.size())
    }

    /// Whether a commit became durable whose answer was lost: then its last entry is in the log.
    fn came_through(&mut self, last: &AuditRecord, broken: Broken) -> Result<bool, Broken> {
        for _ in 0..MOST_QUESTIONS {
            if let Ok(answer) = self.is_logged(last) {
                return Ok(answer);
            }
            self.session.disconnect();
            thread::sleep(RETRY);
        }
        Err(broken)
    }

    fn is_logged(&mut self, record: &AuditRecord) -> Result<bool, Broken> {
        self.session.begin("BEGIN")?;
        // Where the lost transaction is still going on, this waits for its end.
        self.lock_head()?;
        let sql = "SELECT leaf FROM audit_entries WHERE seq = ?1";
        let place = values![query::count(record.seq)];
        let leaf = query::first(&mut self.session, sql, &place, leaf)?;
        self.session.roll_back();
        Ok(leaf == Some(*record.leaf.as_bytes()))
    }

    /// Has the authors answered: by the feed once the sinks know, at once where there are none.
    fn publish(&mut self, batch: Vec<Waiting>, results: Results) {
        let epoch = results.iter().flatten().map(|receipt| receipt.epoch).max();
        let answers: Vec<Answer> =
            batch.into_iter().map(|waiting| waiting.answer).zip(results).collect();
        let delivery = Delivery { epoch: epoch.unwrap_or_default(), answers };
        if epoch.is_some() && self.has_sinks.load(Ordering::Acquire) {
            self.tell_feed(Order::Deliver(delivery));
        } else {
            delivery.answer();
        }
    }

    /// Takes the lock that writing needs, and writes the head as it is once more.
    fn check(&mut self) -> Result<(), Broken> {
        self.locked(|writer| head::save_again(&mut writer.session))
    }

    /// Under the lock of all writing: a unit that is on duty is refused or done before another node
    /// takes over, never afterwards.
    fn take_duty(&mut self, request: &DutyRequest) -> Result<Option<DutyTerm>, Broken> {
        let DutyRequest { duty, holder, length } = request;
        self.locked(|writer| duties::take(&mut writer.session, duty, holder, *length, false))
    }

    /// Does something in a transaction while no other node writes.
    fn locked<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        self.session.begin("BEGIN")?;
        match self.lock_head().and_then(|_| work(self)) {
            Ok(done) => self.session.commit().map(|()| done),
            Err(broken) => {
                self.session.roll_back();
                Err(broken)
            }
        }
    }
}

fn leaf(columns: &mut Columns<'_>) -> Result<[u8; 32], Broken> {
    columns.bytes_32()
}

fn write_unit(
    session: &mut PostgresSession,
    head: &mut LogHead,
    unit: &UnitOfWork,
) -> Result<(AuditRecord, Vec<QuotaClaim>), Refusal> {
    let mut quotas = Vec::new();
    for change in unit.changes() {
        quotas.extend(apply::apply(session, unit.project(), change)?);
    }
    let mut next = head.clone();
    let record = next.append(unit.entry());
    head::insert(session, unit.entry(), &record)?;
    *head = next;
    Ok((record, quotas))
}
