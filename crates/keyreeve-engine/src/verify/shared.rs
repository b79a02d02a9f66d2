//! Asking where all nodes count together.

use tracing::debug;

use crate::{
    Engine,
    shared_counts::{SharedAnswer, SharedAsk},
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
}

impl Shared {
    /// The answer, if this was the question.
    pub(super) fn answer_to(&self, ask: &SharedAsk) -> Option<(&SharedAsk, &SharedAnswer)> {
        match self {
            Self::Answered(answered) if answered.ask.wants_the_same(ask) => {
                Some((&answered.ask, &answered.answer))
            }
            _ => None,
        }
    }
}

impl Engine {
    /// Takes what is asked for from the common counts, or only looks.
    pub(super) async fn ask_shared(&self, ask: SharedAsk, simulate: bool) -> Shared {
        let Some(options) = &self.shared else { return Shared::Unreachable };
        let answer = if simulate {
            options.counts.peek(&ask).await
        } else {
            options.counts.take(&ask).await
        };
        match answer {
            Ok(answer) => Shared::Answered(Box::new(Answered { ask, answer })),
            Err(_) => Shared::Unreachable,
        }
    }

    /// Gives back what was taken for a request that is refused after all, or that turned out to
    /// need something else. What cannot be given back drains, and places end by themselves.
    pub(super) async fn give_back_shared(&self, shared: Shared) {
        let (Some(options), Shared::Answered(answered)) = (&self.shared, shared) else { return };
        if answered.answer.taken
            && let Err(error) = options.counts.give_back(&answered.ask, &answered.answer).await
        {
            debug!(%error, "what a refused request took was not given back");
        }
    }
}
