//! The thread that learns of changes, its own node's and those of others, all in one way and in
//! one order, and tells the sinks.
//!
//! It listens for notifications, which are quick and may be lost, and looks by itself at a steady
//! beat, which is slower and misses nothing. After each look it says of which moment it knows
//! everything: verification denies when that moment is too far back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use keyreeve_core::name::ProjectName;
use keyreeve_engine::{
    Clock,
    store::{Change, ChangeSink, CommitError, QuotaClaim, Receipt, StoreError},
};
use tokio::sync::oneshot;

use super::{
    changes::{self, KEPT_EPOCHS, Present},
    session::{PostgresSession, failed},
};
use crate::sql::{failure::Broken, query, replay};

/// The name under which nodes tell each other that there is something new.
pub(super) const CHANNEL: &str = "keyreeve_changes";
/// Epochs read at once.
const STEP: u64 = 500;
/// How long to wait before a server that went away is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What the thread is asked to do.
pub(super) enum Order {
    /// Answer authors once the sinks have seen what they did.
    Deliver(Delivery),
    /// Tell a sink what is stored, and from then on what changes.
    Load(Arc<dyn ChangeSink>, oneshot::Sender<Result<u64, StoreError>>),
}

/// Units that are durable, and whose authors wait for the sinks.
pub(super) struct Delivery {
    /// The last of their epochs.
    pub(super) epoch: u64,
    /// Whom to answer, and what.
    pub(super) answers: Vec<Answer>,
}

/// An author, and what there is to say.
pub(super) type Answer =
    (oneshot::Sender<Result<Receipt, CommitError>>, Result<Receipt, CommitError>);

impl Delivery {
    /// Tells the authors.
    pub(super) fn answer(self) {
        for (author, answer) in self.answers {
            // Whoever asked may be gone; then nobody needs to know.
            let _ = author.send(answer);
        }
    }
}

/// The thread's own things.
pub(super) struct Feed {
    pub(super) session: PostgresSession,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) clock: Arc<dyn Clock>,
    /// What this node calls itself in the log.
    pub(super) node: Arc<str>,
    /// How often it looks by itself.
    pub(super) beat: Duration,
    /// Set when it is to end.
    pub(super) stop: Arc<AtomicBool>,
    /// Whether there is anybody to tell.
    pub(super) has_sinks: Arc<AtomicBool>,
    pub(super) sinks: Vec<Arc<dyn ChangeSink>>,
    /// All epochs up to this one have been told.
    pub(super) told: u64,
    pub(super) waiting: Vec<Delivery>,
    /// The number of the connection that notifications come in on; 0 before the first.
    pub(super) listening_on: u64,
}

impl Feed {
    /// Works until it is stopped.
    pub(super) fn run(mut self) {
        let mut failing = false;
        while !self.stop.load(Ordering::Acquire) {
            match self.look() {
                Ok(()) => failing = false,
                Err(broken) => {
                    self.session.disconnect();
                    if !failing {
                        let error = StoreError::from(broken);
                        tracing::warn!(%error, cause = ?error, "cannot follow changes; trying again");
                    }
                    failing = true;
                    thread::sleep(RETRY);
                }
            }
        }
        // What is durable is durable, but nobody can say any more that the sinks know.
        self.take_orders();
        for delivery in self.waiting.drain(..) {
            for (author, _) in delivery.answers {
                let _ = author.send(Err(StoreError::Closed.into()));
            }
        }
    }

    /// Looks what is new, tells it, and waits for more.
    fn look(&mut self) -> Result<(), Broken> {
        let connection = self.session.connection_number().map_err(failed)?;
        if self.listening_on != connection {
            self.session.run(&format!("LISTEN {CHANNEL}"))?;
            self.listening_on = connection;
        }
        for (sink, answer) in self.take_orders() {
            let loaded = self.load(&sink);
            let failed = loaded.is_err();
            let _ = answer.send(loaded.map_err(StoreError::from));
            if failed {
                self.session.disconnect();
                return Ok(());
            }
        }
        // Before the question: what is committed until now is in its answer.
        let asked_ns = self.clock.monotonic_ns();
        if !self.sinks.is_empty() {
            let newest = self.newest()?;
            self.tell_up_to(newest)?;
            for sink in &self.sinks {
                sink.vouch(asked_ns);
            }
        }
        self.answer();
        self.wait()
    }

    /// Takes what came in; gives the sinks that are to be loaded.
    #[expect(clippy::type_complexity, reason = "two halves of an order, taken apart at once")]
    fn take_orders(
        &mut self,
    ) -> Vec<(Arc<dyn ChangeSink>, oneshot::Sender<Result<u64, StoreError>>)> {
        let mut loads = Vec::new();
        for order in self.orders.try_iter() {
            match order {
                Order::Deliver(delivery) => self.waiting.push(delivery),
                Order::Load(sink, answer) => loads.push((sink, answer)),
            }
        }
        loads
    }

    /// How many units there are, which is the last epoch.
    fn newest(&mut self) -> Result<u64, Broken> {
        let sql = "SELECT size FROM audit_state";
        let newest = query::number(&mut self.session, sql, &[])?;
        newest.ok_or_else(|| Broken::damaged("the head of the audit log is gone"))
    }

    /// Tells the sinks all epochs up to this one.
    fn tell_up_to(&mut self, newest: u64) -> Result<(), Broken> {
        if newest < self.told || newest - self.told > KEPT_EPOCHS {
            // Not the database it was, or too much of its log is gone.
            for sink in &self.sinks {
                sink.lost();
            }
            return Err(Broken::damaged("changes were missed; this node has to start anew"));
        }
        while self.told < newest {
            let until = newest.min(self.told + STEP);
            let entries = changes::read(&mut self.session, self.told, until)?;
            let present = Present::of(&mut self.session, &entries)?;
            let mut entries = entries.into_iter().peekable();
            for epoch in self.told + 1..=until {
                while let Some(entry) = entries.next_if(|entry| entry.epoch == epoch) {
                    if let Some((project, node, claim)) = entry.quota()? {
                        self.tell_of_quota(project, node, &claim);
                    } else if let Some((project, change)) =
                        present.change(&mut self.session, &entry)?
                    {
                        for sink in &self.sinks {
                            sink.apply(&project, &change);
                        }
                    }
                }
                for sink in &self.sinks {
                    sink.advance(epoch);
                }
                self.told = epoch;
            }
        }
        Ok(())
    }

    /// What this node claimed it may spend; what others claimed they may have spent.
    fn tell_of_quota(&self, project: &ProjectName, node: &str, claim: &QuotaClaim) {
        let own = (*node == *self.node).then(|| Change::ClaimQuota(vec![claim.clone()]));
        for sink in &self.sinks {
            match &own {
                Some(change) => sink.apply(project, change),
                None => sink.claimed_elsewhere(project, claim),
            }
        }
    }

    /// Answers the authors of what the sinks have seen.
    fn answer(&mut self) {
        let seen = |delivery: &mut Delivery| self.sinks.is_empty() || delivery.epoch <= self.told;
        for delivery in self.waiting.extract_if(.., seen) {
            delivery.answer();
        }
    }

    /// Waits for a notification or the next beat.
    fn wait(&mut self) -> Result<(), Broken> {
        self.session.link().map_err(failed)?.wait_for_news(self.beat);
        Ok(())
    }

    /// Tells a sink everything as of one moment, and has it follow from there.
    fn load(&mut self, sink: &Arc<dyn ChangeSink>) -> Result<u64, Broken> {
        self.session.begin(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
        )?;
        let asked_ns = self.clock.monotonic_ns();
        let newest = self.newest()?;
        replay::surroundings(&mut self.session, &**sink)?;
        replay::keys(&mut self.session, "", &[], &**sink)?;
        replay::claims(&mut self.session, &**sink)?;
        self.session.commit()?;
        // Those who follow already come as far, so that from here on all go together.
        if self.sinks.is_empty() {
            self.told = newest;
        } else {
            self.tell_up_to(newest)?;
        }
        sink.advance(newest);
        sink.vouch(asked_ns);
        self.sinks.push(Arc::clone(sink));
        self.has_sinks.store(true, Ordering::Release);
        Ok(newest)
    }
}
