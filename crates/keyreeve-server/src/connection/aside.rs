//! Waiting for something that seldom comes, beside something that goes on all the time.

use std::task::{Context, Poll, Waker};

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
        let polled = poll(context);
        self.waker = polled.is_pending().then(|| context.waker().clone());
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a waker of tokio, which knows a clone of its own: not every waker does.
    #[tokio::test]
    async fn is_polled_when_it_may_be_over_and_when_it_wakes_nobody() {
        let waker = std::future::poll_fn(|context| Poll::Ready(context.waker().clone())).await;
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
