//! Tells an idle connection from a busy one, so that idle ones can be ended.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::response_body::ResponseBody;

/// What the requests of one connection are doing.
///
/// Only requests count, and answers that move. Pings, half a preface and answers that the peer
/// does not take in are no reason to keep a connection.
pub(super) struct Activity(Mutex<State>);

struct State {
    open: usize,
    /// Those of them that are for nobody once the peer is gone.
    for_peer: usize,
    used: bool,
    last: Instant,
}

/// Something is being done for the peer, until this is dropped.
pub(super) struct Busy {
    activity: Arc<Activity>,
    is_for_peer: bool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let state = State { open: 0, for_peer: 0, used: false, last: Instant::now() };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Something is begun: only for the peer, or something that is done to its end once it is begun.
    pub(super) fn begin(self: &Arc<Self>, is_for_peer: bool) -> Busy {
        let mut state = self.0.lock();
        state.open += 1;
        state.for_peer += usize::from(is_for_peer);
        state.used = true;
        Busy { activity: self.clone(), is_for_peer }
    }

    /// When the connection will have been idle for `patience`, if nothing more happens.
    pub(super) fn deadline(&self, patience: Duration) -> Instant {
        let state = self.0.lock();
        let since = if state.open > 0 { Instant::now() } else { state.last };
        since + patience
    }

    /// Whether something is being done that is for nobody once the peer is gone.
    pub(super) fn is_for_peer(&self) -> bool {
        self.0.lock().for_peer > 0
    }

    /// Whether there ever was a request.
    pub(super) fn used(&self) -> bool {
        self.0.lock().used
    }

    fn moved(&self) {
        self.0.lock().last = Instant::now();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.activity.0.lock();
        state.open -= 1;
        state.for_peer -= usize::from(self.is_for_peer);
        state.last = Instant::now();
    }
}

/// The body of an answer. Each piece that is taken from it counts as activity, and so does the
/// time we need to make a piece; a peer that takes no more pieces becomes idle.
pub(super) struct Watched {
    body: ResponseBody,
    activity: Arc<Activity>,
    making: Option<Busy>,
}

impl Watched {
    /// The request is served: from here on only pieces that are taken count. A peer that takes
    /// none must not keep its connection.
    pub(super) fn new(body: ResponseBody, busy: &Busy) -> Self {
        Self { body, activity: busy.activity.clone(), making: None }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if frame.is_pending() {
            if this.making.is_none() {
                this.making = Some(this.activity.begin(true));
            }
        } else if this.making.take().is_none() {
            this.activity.moved();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_body_that_is_not_taken_is_no_activity() {
        let activity = Activity::new();
        let busy = activity.begin(false);
        let body = Watched::new(Bytes::from("answer").into(), &busy);
        drop(busy);
        let silent = activity.deadline(PATIENCE);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(activity.deadline(PATIENCE), silent);
        drop(body);
        assert_eq!(activity.deadline(PATIENCE), silent);
    }

    #[test]
    fn open_requests_push_the_deadline_on() {
        let activity = Activity::new();
        let silent = activity.deadline(PATIENCE);
        assert_eq!(activity.deadline(PATIENCE), silent);
        assert!(!activity.used());
        std::thread::sleep(Duration::from_millis(2));
        let (first, second) = (activity.begin(true), activity.begin(false));
        assert!(activity.used() && activity.deadline(PATIENCE) > silent);
        assert!(activity.is_for_peer());
        drop(first);
        assert!(!activity.is_for_peer());
        let open = activity.deadline(PATIENCE);
        std::thread::sleep(Duration::from_millis(2));
        assert!(activity.deadline(PATIENCE) > open);
        drop(second);
        assert_eq!(activity.deadline(PATIENCE), activity.deadline(PATIENCE));
    }
}
