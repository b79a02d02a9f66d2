//! Waiting for something that seldom comes, beside something that goes on all the time.

use std::task::{Context, Poll, Waker};

use tokio::task::coop::has_budget_remaining;

/// Polls a future only when it may have come to its end. A task that serves requests is woken for each
/// of them, and to poll everything else it waits for takes locks, some of which all cores share.
#[derive(Default)]
pub(super) struct Aside {
    /// Whom the future wakes; `None` until it was polled.
    waker: Option<Waker>,
}

impl Aside {
    /// As `poll`, which is left out while the future will wake this task and `may_be_over` says that it
    /// has not ended.
    pub(super) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        may_be_over: impl FnOnce() -> bool,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let wakes_us = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if wakes_us && !may_be_over() {
            return Poll::Pending;
        }
        // Without a budget, futures of tokio give way at once, and then wake nobody when they end.
        let is_heard = has_budget_remaining();
        let polled = poll(context);
        self.waker = (is_heard && polled.is_pending()).then(|| context.waker().clone());
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, time::Duration};

    use tokio::{task::coop, time::sleep};

    use super::*;

    #[tokio::test]
    async fn one_that_gave_way_is_polled_again() {
        let mut alarm = pin!(sleep(Duration::from_millis(5)));
        let mut aside = Aside::default();
        let mut is_first = true;
        let rung = poll_fn(|context| {
            if std::mem::take(&mut is_first) {
                // As a peer does that sends a lot: nothing is left for whoever is polled after it.
                while let Poll::Ready(budget) = coop::poll_proceed(context) {
                    budget.made_progress();
                }
                let is_due = alarm.is_elapsed();
                let polled = aside.poll(context, || is_due, |it| alarm.as_mut().poll(it));
                assert!(polled.is_pending() && aside.waker.is_none());
                return Poll::Pending;
            }
            let is_due = alarm.is_elapsed();
            aside.poll(context, || is_due, |context| alarm.as_mut().poll(context))
        });
        tokio::time::timeout(Duration::from_secs(5), rung).await.unwrap();
    }

    /// With a waker of tokio, which knows a clone of its own: not every waker does.
    #[tokio::test]
    async fn is_polled_when_it_may_be_over_and_when_it_wakes_nobody() {
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let mut context = Context::from_waker(&waker);
        let mut aside = Aside::default();
        let mut polls = 0;
        let mut poll = |may_be_over, polled: Poll<()>| {
            let polled = aside.poll(
                &mut context,
                || may_be_over,
                |_| {
                    polls += 1;
                    polled
                },
            );
            (polls, polled)
        };
        assert_eq!(poll(false, Poll::Pending), (1, Poll::Pending), "the first time");
        assert_eq!(poll(false, Poll::Pending), (1, Poll::Pending));
        assert_eq!(poll(true, Poll::Pending), (2, Poll::Pending));
        assert_eq!(poll(true, Poll::Ready(())), (3, Poll::Ready(())));
        assert_eq!(poll(false, Poll::Pending), (4, Poll::Pending), "it was begun anew");
    }
}
