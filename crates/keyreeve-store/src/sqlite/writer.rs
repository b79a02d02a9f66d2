//! The one thread that writes. It takes whatever has queued up, applies it in one transaction,
//! and so makes many units durable with one flush to disk.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use keyreeve_core::audit::CheckpointSigner;
use keyreeve_engine::store::{ChangeSink, CommitError, DutyTerm, Receipt, StoreError, UnitOfWork};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::mpsc;

use super::load;
use crate::{
    log_head::LogHead,
    sql::{
        apply,
        commands::{Command, Counters, DutyRequest, Waiting},
        duties,
        failure::{Broken, Refusal},
        head,
        readers::Job,
        session::Session,
    },
};

/// The most commands taken at once. A batch this long spends far more time on its units than on
/// the flush, so a longer one would gain nothing and keep its callers waiting.
const MOST_AT_ONCE: usize = 257;
/// The least units of a batch after which the next one is waited for. Fewer authors gain nothing by
/// waiting for one another.
const BUSY: usize = 16;
/// How long a busy writer lets the authors of the last batch come back with their next unit, so that
/// one flush serves them all. Far less than a flush and its answers take.
const GATHERING: Duration = Duration::from_micros(500);

/// Everyone who is told of changes. Should the writer panic, they learn that they may have missed
/// some: what is durable by then may not have come to them.
#[derive(Default)]
pub(super) struct Sinks(Vec<Arc<dyn ChangeSink>>);

impl Drop for Sinks {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for sink in &self.0 {
            // The sink that broke may break again; the others must hear of it all the same.
            if catch_unwind(AssertUnwindSafe(|| sink.lost())).is_err() {
                tracing::error!("a sink panicked when told that it may have missed changes");
            }
        }
    }
}

/// The thread's own things.
pub(super) struct Writer {
    /// First, so that in a panic they are told before anything else is let go of.
    pub(super) sinks: Sinks,
    /// The units at hand. Not on the stack, so that in a panic their authors learn of it after the
    /// sinks.
    pub(super) batch: Vec<Waiting>,
    /// Whether the database failed when it was last written to.
    pub(super) failed: bool,
    pub(super) connection: Connection,
    pub(super) head: LogHead,
    pub(super) signer: CheckpointSigner,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) readers: mpsc::Sender<Job>,
    pub(super) parts: u32,
    pub(super) counters: Arc<Counters>,
    /// Says that the file is ours. Last, so that it outlives the connection in any case.
    pub(super) lock: File,
}

impl Writer {
    /// Works until nobody can send commands any more, then gives back the connection and the lock
    /// on the file.
    ///
    /// Should it panic, the sinks are told, everything in the queue is dropped, and every author
    /// learns by the dropped answer that the store is closed.
    pub(super) fn run(mut self) -> (Connection, File) {
        let mut commands = Vec::with_capacity(MOST_AT_ONCE);
        let (mut duties, mut checks) = (Vec::new(), Vec::new());
        let mut last_batch = 0;
        while self.commands.blocking_recv_many(&mut commands, MOST_AT_ONCE) > 0 {
            if last_batch >= BUSY && commands.len() < last_batch {
                thread::sleep(GATHERING);
                self.take_more(&mut commands);
            }
            last_batch = commands.len();
            for command in commands.drain(..) {
                match command {
                    Command::Commit(waiting) => self.batch.push(*waiting),
                    Command::Load(sink, answer) => {
                        self.commit();
                        // Whoever asked may be gone; then nobody needs to know.
                        let _ = answer.send(self.load(sink).map_err(StoreError::from));
                    }
                    Command::TakeDuty(request, answer) => duties.push((request, answer)),
                    Command::Check(answer) => checks.push(answer),
                }
            }
            self.commit();
            for (request, answer) in duties.drain(..) {
                let _ = answer.send(self.take_duty(&request).map_err(StoreError::from));
            }
            // Afterwards: a check need not part the units, and so knows how they fared.
            for answer in checks.drain(..) {
                let _ = answer.send(self.check().map_err(StoreError::from));
            }
        }
        (self.connection, self.lock)
    }

    /// Takes what has queued up by now, without waiting for more.
    fn take_more(&mut self, commands: &mut Vec<Command>) {
        while commands.len() < MOST_AT_ONCE
            && let Ok(command) = self.commands.try_recv()
        {
            commands.push(command);
        }
    }

    fn load(&mut self, sink: Arc<dyn ChangeSink>) -> Result<u64, Broken> {
        load::run(&self.connection, &self.readers, self.parts, &sink)?;
        let epoch = self.head.size();
        sink.advance(epoch);
        self.sinks.0.push(sink);
        Ok(epoch)
    }

    /// Takes the lock that writing needs, and gives it back. That does not touch the disk, so after
    /// a failure nothing counts but to have written.
    fn check(&mut self) -> Result<(), Broken> {
        let tx = match self.connection.transaction_with_behavior(TransactionBehavior::Immediate) {
            // Somebody keeps changes out, as moving to another database does. Reading goes on, and so
            // must verification.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                return Ok(());
            }
            tx => tx?,
        };
        if !self.failed {
            return Ok(tx.rollback()?);
        }
        head::save_again(&mut &*tx)?;
        tx.commit()?;
        self.failed = false;
        Ok(())
    }

    fn take_duty(&mut self, request: &DutyRequest) -> Result<Option<DutyTerm>, Broken> {
        let DutyRequest { duty, holder, length } = request;
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let term = duties::take(&mut &*tx, duty, holder, *length, true)?;
        tx.commit()?;
        Ok(term)
    }

    /// Commits the units at hand and answers their authors.
    fn commit(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let before = self.head.clone();
        match self.write() {
            Ok(results) => {
                if results.iter().any(|result| matches!(result, Err(CommitError::Store(_)))) {
                    self.failed = true;
                } else if self.head.size() > before.size() {
                    self.failed = false;
                }
                self.publish(results);
            }
            Err(broken) => {
                self.failed = true;
                self.head = before;
                refuse_all(self.batch.drain(..), broken);
            }
        }
    }

    /// Applies the batch in one transaction. An error means that nothing of it is stored.
    fn write(&mut self) -> Result<Vec<Result<Receipt, CommitError>>, Broken> {
        let before = self.head.size();
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let results = if let [only] = &self.batch[..] {
            // There is nothing else in the transaction that its failure could take down.
            vec![write_unit(&tx, &mut self.head, &only.unit).map_err(CommitError::from)]
        } else {
            let mut results = Vec::with_capacity(self.batch.len());
            for waiting in &self.batch {
                results.push(write_guarded(&tx, &mut self.head, &waiting.unit)?);
            }
            results
        };
        let units = self.head.size() - before;
        if units > 0 {
            head::save(&mut &*tx, before, &mut self.head, &self.signer)?;
            tx.commit()?;
            self.counters.count(units);
        }
        Ok(results)
    }

    /// Tells the sinks what is durable now, then the authors: an author who has the answer can
    /// count on every verification seeing the change.
    fn publish(&mut self, results: Vec<Result<Receipt, CommitError>>) {
        for (waiting, result) in self.batch.iter().zip(&results) {
            let Ok(receipt) = result else {
                continue;
            };
            for sink in &self.sinks.0 {
                for change in waiting.unit.changes() {
                    sink.apply(waiting.unit.project(), change);
                }
                sink.advance(receipt.epoch);
            }
        }
        for (waiting, result) in self.batch.drain(..).zip(results) {
            let _ = waiting.answer.send(result);
        }
    }
}

fn refuse_all(batch: impl Iterator<Item = Waiting>, broken: Broken) {
    // One failure, told to many.
    let cause = Arc::new(StoreError::from(broken));
    for waiting in batch {
        let error = StoreError::Backend(Box::new(Arc::clone(&cause)));
        let _ = waiting.answer.send(Err(error.into()));
    }
}

/// Applies one unit so that its failure leaves the rest of the batch alone. One without changes is a
/// single statement, which leaves nothing behind when it fails.
fn write_guarded(
    connection: &Connection,
    head: &mut LogHead,
    unit: &UnitOfWork,
) -> Result<Result<Receipt, CommitError>, Broken> {
    if unit.changes().is_empty() {
        return match write_unit(connection, head, unit) {
            Err(refusal) if connection.is_autocommit() => Err(ended(refusal)),
            outcome => Ok(outcome.map_err(CommitError::from)),
        };
    }
    run(connection, "SAVEPOINT one_unit")?;
    match write_unit(connection, head, unit) {
        Ok(receipt) => {
            run(connection, "RELEASE one_unit")?;
            Ok(Ok(receipt))
        }
        Err(refusal) if connection.is_autocommit() => Err(ended(refusal)),
        Err(refusal) => {
            run(connection, "ROLLBACK TO one_unit")?;
            run(connection, "RELEASE one_unit")?;
            Ok(Err(refusal.into()))
        }
    }
}

/// Some failures end the whole transaction. Going on would write outside of one.
fn ended(refusal: Refusal) -> Broken {
    StoreError::Backend(Box::new(CommitError::from(refusal))).into()
}

fn write_unit(
    mut connection: &Connection,
    head: &mut LogHead,
    unit: &UnitOfWork,
) -> Result<Receipt, Refusal> {
    for change in unit.changes() {
        apply::apply(&mut connection, unit.project(), change)?;
    }
    let mut next = head.clone();
    let record = next.append(unit.entry());
    head::insert(&mut connection, unit.entry(), &record)?;
    *head = next;
    Ok(Receipt { seq: record.seq, epoch: head.size() })
}

fn run(mut connection: &Connection, sql: &str) -> Result<(), Broken> {
    Session::execute(&mut connection, sql, &[])?;
    Ok(())
}
