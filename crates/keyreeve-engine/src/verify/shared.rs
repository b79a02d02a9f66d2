//! Asking where all nodes count together, and giving back what was taken for nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::runtime::Handle;
use tracing::debug;

use crate::{
    engine::SharedCounting,
    shared_counts::{SharedAnswer, SharedAsk, SharedCounts},
};

/// What the common counts said of a request.
pub(super) enum Shared {
    /// They were not asked, or not for this.
    NotAsked,
    /// They answered.
    Answered(Box<Answered>),
    /// They did not.
    Unreachable,
}

/// A question and its answer.
pub(super) struct Answered {
    ask: SharedAsk,
    answer: SharedAnswer,
    /// Whether the decision at hand stands on it.
    used: AtomicBool,
}

impl Shared {
    /// The answer, if this was the question.
    pub(super) fn answer_to(&self, ask: &SharedAsk) -> Option<(&SharedAsk, &SharedAnswer)> {
        match self {
            Self::Answered(answered) if answered.ask.wants_the_same(ask) => {
                answered.used.store(true, Ordering::Relaxed);
                Some((&answered.ask, &answered.answer))
            }
            _ => None,
        }
    }
}

/// Takes what is asked for from the common counts, or only looks.
pub(super) async fn ask(options: &SharedCounting, ask: SharedAsk, simulate: bool) -> Shared {
    let answer =
        if simulate { options.counts.peek(&ask).await } else { options.counts.take(&ask).await };
    match answer {
        Ok(answer) => {
            let used = AtomicBool::new(false);
            Shared::Answered(Box::new(Answered { ask, answer, used }))
        }
        Err(_) => Shared::Unreachable,
    }
}

/// What one request took from the common counts. Given back unless it is kept: also when the request
/// is dropped half-way, because its caller is gone or its time is over.
pub(super) struct Held<'e> {
    options: Option<&'e SharedCounting>,
    /// What was said.
    pub(super) shared: Shared,
    /// What is being asked for just now, and may be taken without anybody hearing of it.
    asking: Option<SharedAsk>,
}

impl<'e> Held<'e> {
    /// Nothing yet.
    pub(super) fn nothing(options: Option<&'e SharedCounting>) -> Self {
        Self { options, shared: Shared::NotAsked, asking: None }
    }

    /// A decision begins that may or may not stand on what was said.
    pub(super) fn begin_decision(&self) {
        if let Shared::Answered(answered) = &self.shared {
            answered.used.store(false, Ordering::Relaxed);
        }
    }

    /// Gives back what was taken for something else, and asks for this.
    pub(super) async fn ask_for(&mut self, wanted: SharedAsk, simulate: bool) {
        self.give_back().await;
        let Some(options) = self.options else {
            self.shared = Shared::Unreachable;
            return;
        };
        self.asking = (!simulate).then(|| wanted.clone());
        self.shared = ask(options, wanted, simulate).await;
        self.asking = None;
    }

    /// The decision is good: what it stands on stays taken.
    pub(super) async fn keep(mut self) {
        match &self.shared {
            Shared::Answered(answered) if answered.used.load(Ordering::Relaxed) => {
                self.shared = Shared::NotAsked;
            }
            _ => self.give_back().await,
        }
    }

    /// Gives back what was taken, and waits until that is done. It goes on if nobody waits any more.
    pub(super) async fn give_back(&mut self) {
        let Some((counts, answered)) = self.taken() else { return };
        let given = tokio::spawn(async move { give_back(&*counts, &answered).await });
        // Whether it was, the task has said.
        let _ = given.await;
    }

    fn taken(&mut self) -> Option<(Arc<dyn SharedCounts>, Box<Answered>)> {
        let options = self.options?;
        match std::mem::replace(&mut self.shared, Shared::NotAsked) {
            Shared::Answered(answered) if answered.answer.taken => {
                Some((options.counts.clone(), answered))
            }
            _ => None,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let (asking, taken) = (self.asking.take(), self.taken());
        let (Some(options), Ok(runtime)) = (self.options, Handle::try_current()) else { return };
        if let Some((counts, answered)) = taken {
            runtime.spawn(async move { give_back(&*counts, &answered).await });
        }
        if let Some(ask) = asking.filter(|ask| !ask.places.is_empty()) {
            let counts = options.counts.clone();
            // Limits drain; a place would be held until its lease ends.
            runtime.spawn(async move {
                let places: Vec<_> = ask.places.iter().map(|place| place.count).collect();
                if let Err(error) = counts.release(&ask.project, &places, ask.lease).await {
                    debug!(%error, "a place that may have been taken was not given up");
                }
            });
        }
    }
}

/// What cannot be given back drains, and places end by themselves.
async fn give_back(counts: &dyn SharedCounts, answered: &Answered) {
    if let Err(error) = counts.give_back(&answered.ask, &answered.answer).await {
        debug!(%error, "what a refused request took was not given back");
    }
}
