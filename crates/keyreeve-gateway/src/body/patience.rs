//! How long a body is waited for, and the signal that ends all of them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::BodyError;

/// Ends everything that holds it, at once.
#[derive(Clone, Debug)]
pub(crate) struct Cut(pub(crate) Arc<CancellationToken>);

/// Waits for a body, as long as was agreed on.
///
/// Most bodies come without being waited for, so the alarm is set only by those that are.
pub(crate) struct Patient {
    idle: Duration,
    cut: Option<Cut>,
    waiting: Option<Pin<Box<Waiting>>>,
}

struct Waiting {
    alarm: Pin<Box<Sleep>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// When something came last.
    since: Instant,
    came: bool,
}

impl Patient {
    pub(crate) fn new(idle: Duration, cut: Cut) -> Self {
        Self { idle, cut: Some(cut), waiting: None }
    }

    /// For a body that is never waited for.
    pub(crate) fn never() -> Self {
        Self { idle: Duration::ZERO, cut: None, waiting: None }
    }

    /// Whether it is to end now, however much is there.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.0.is_cancelled())
    }

    /// Something came.
    pub(crate) fn something_came(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.came = true;
        }
    }

    /// Waits on; ready with the reason why no longer.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        let Some(cut) = &self.cut else { return Poll::Pending };
        let idle = self.idle;
        let waiting = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            Box::pin(Waiting {
                alarm: Box::pin(sleep_until(now + idle)),
                cut: Box::pin(cut.0.as_ref().clone().cancelled_owned()),
                since: now,
                came: false,
            })
        });
        if waiting.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(BodyError::Cut);
        }
        if std::mem::take(&mut waiting.came) {
            waiting.since = Instant::now();
        }
        // Not set anew by each piece: when it rings, it is looked up what came meanwhile.
        while waiting.alarm.as_mut().poll(context).is_ready() {
            let deadline = waiting.since + idle;
            if deadline <= Instant::now() {
                return Poll::Ready(BodyError::Idle);
            }
            waiting.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
