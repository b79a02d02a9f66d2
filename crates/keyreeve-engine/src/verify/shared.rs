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
    asking: Option<Box<SharedAsk>>,
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
        self.asking = (!simulate).then(|| Box::new(wanted.clone()));
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
        // Most nodes count by themselves: looked at first, as every verification comes by here.
        let Some(options) = self.options else { return };
        let (asking, taken) = (self.asking.take(), self.taken());
        let Ok(runtime) = Handle::try_current() else { return };
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use keyreeve_core::name::ProjectName;
    use parking_lot::Mutex;
    use smallvec::SmallVec;

    use super::*;
    use crate::shared_counts::{CountName, PlaceAsk, Unreachable};

    /// Writes down what it is told. Taking waits for good if it is slow.
    #[derive(Default)]
    struct Book {
        said: Mutex<Vec<&'static str>>,
        slow: bool,
    }

    #[async_trait]
    impl SharedCounts for Book {
        async fn take(&self, _ask: &SharedAsk) -> Result<SharedAnswer, Unreachable> {
            if self.slow {
                std::future::pending::<()>().await;
            }
            let (limits, places) = (SmallVec::new(), SmallVec::new());
            Ok(SharedAnswer { taken: true, now_ns: 1, limits, places })
        }

        async fn peek(&self, ask: &SharedAsk) -> Result<SharedAnswer, Unreachable> {
            Ok(SharedAnswer { taken: false, ..self.take(ask).await? })
        }

        async fn give_back(&self, _: &SharedAsk, _: &SharedAnswer) -> Result<(), Unreachable> {
            self.said.lock().push("given back");
            Ok(())
        }

        async fn release(
            &self,
            _project: &ProjectName,
            _places: &[CountName],
            _lease: u64,
        ) -> Result<bool, Unreachable> {
            self.said.lock().push("released");
            Ok(true)
        }

        fn is_reachable(&self) -> bool {
            true
        }

        fn outages(&self) -> u64 {
            0
        }
    }

    fn counting(slow: bool) -> (Arc<Book>, SharedCounting) {
        let book = Arc::new(Book { slow, ..Book::default() });
        (book.clone(), SharedCounting { counts: book, outage_per_mille: 333 })
    }

    fn wanted() -> SharedAsk {
        let place = PlaceAsk { count: CountName::of(&[b"x"]), rule: "5/30s".parse().unwrap() };
        SharedAsk {
            project: ProjectName::default_project(),
            limits: SmallVec::new(),
            places: SmallVec::from_iter([place]),
            lease: 1,
        }
    }

    /// What was said once all tasks are done.
    async fn said(book: &Book) -> Vec<&'static str> {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        book.said.lock().clone()
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    #[test]
    fn what_a_good_decision_stands_on_is_kept_and_all_else_given_back() {
        run(async {
            let (book, options) = counting(false);
            let mut held = Held::nothing(Some(&options));
            held.ask_for(wanted(), false).await;
            assert!(held.shared.answer_to(&wanted()).is_some());
            held.keep().await;
            assert!(said(&book).await.is_empty());

            // Taken, and then not needed.
            let mut held = Held::nothing(Some(&options));
            held.ask_for(wanted(), false).await;
            assert!(held.shared.answer_to(&wanted()).is_some());
            held.begin_decision();
            held.keep().await;
            assert_eq!(said(&book).await, ["given back"]);

            let mut held = Held::nothing(Some(&options));
            held.ask_for(wanted(), true).await;
            held.give_back().await;
            assert_eq!(said(&book).await, ["given back"], "nothing was taken");
        });
    }

    #[test]
    fn a_dropped_request_gives_back() {
        run(async {
            let (book, options) = counting(false);
            let mut held = Held::nothing(Some(&options));
            held.ask_for(wanted(), false).await;
            drop(held);
            assert_eq!(said(&book).await, ["given back"]);

            let (book, options) = counting(true);
            let mut held = Held::nothing(Some(&options));
            {
                let mut asking = std::pin::pin!(held.ask_for(wanted(), false));
                let waker = std::task::Waker::noop();
                let mut context = std::task::Context::from_waker(waker);
                assert!(asking.as_mut().poll(&mut context).is_pending());
            }
            drop(held);
            assert_eq!(said(&book).await, ["released"]);
        });
    }
}
