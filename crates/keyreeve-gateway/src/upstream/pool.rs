//! Connections that wait to be used again. Each core has its own, so none is locked or handed over
//! between cores.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use tokio::time::Instant;

use super::Lane;
use crate::body::RequestBody;

/// The most that wait for one service on one core.
const MOST_IDLE: usize = 64;
/// How long one waits before it is closed. Below what most servers and balancers wait.
const LONGEST_IDLE: Duration = Duration::from_secs(50);
/// How often a core looks for connections that have waited for too long.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// Services whose connections are kept apart on one core.
const MOST_DESTINATIONS: usize = 10_000;

/// The near end of a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<RequestBody>),
    /// Many at a time; its clones lead to the same connection.
    Http2(http2::SendRequest<RequestBody>),
}

#[derive(Default)]
struct Waiting {
    http1: Vec<(http1::SendRequest<RequestBody>, Instant)>,
    http2: Option<http2::SendRequest<RequestBody>>,
}

thread_local! {
    static POOL: RefCell<HashMap<Lane, Waiting>> = RefCell::default();
    static IS_SWEPT: Cell<bool> = const { Cell::new(false) };
}

/// The pool of the core that asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool;

impl Pool {
    /// A connection that waits, if one does. It may have ended since: that shows when it is used.
    pub(crate) fn take(lane: &Lane, now: Instant) -> Option<Sender> {
        POOL.with_borrow_mut(|pool| {
            let waiting = pool.get_mut(lane)?;
            if let Some(sender) = &waiting.http2 {
                if !sender.is_closed() {
                    return Some(Sender::Http2(sender.clone()));
                }
                waiting.http2 = None;
            }
            // The one that was used last is the likeliest to be good.
            while let Some((sender, since)) = waiting.http1.pop() {
                if now.duration_since(since) > LONGEST_IDLE {
                    waiting.http1.clear();
                    return None;
                }
                if !sender.is_closed() {
                    return Some(Sender::Http1(sender));
                }
            }
            None
        })
    }

    /// Keeps a connection for the next call.
    pub(crate) fn put(lane: &Lane, sender: Sender, now: Instant) {
        if !IS_SWEPT.replace(true) {
            tokio::spawn(sweep_now_and_then());
        }
        POOL.with_borrow_mut(|pool| {
            if !pool.contains_key(lane) {
                if pool.len() >= MOST_DESTINATIONS {
                    pool.clear();
                }
                pool.insert(lane.clone(), Waiting::default());
            }
            let Some(waiting) = pool.get_mut(lane) else { return };
            match sender {
                Sender::Http1(sender) if !sender.is_closed() && waiting.http1.len() < MOST_IDLE => {
                    waiting.http1.push((sender, now));
                }
                Sender::Http1(_) => {}
                Sender::Http2(sender) => waiting.http2 = Some(sender),
            }
        });
    }

    /// Closes what has waited for too long.
    fn sweep(now: Instant) {
        POOL.with_borrow_mut(|pool| {
            pool.retain(|_, waiting| {
                let young = |(sender, since): &(http1::SendRequest<_>, Instant)| {
                    now.duration_since(*since) <= LONGEST_IDLE && !sender.is_closed()
                };
                waiting.http1.retain(young);
                waiting.http2.take_if(|sender| sender.is_closed());
                !waiting.http1.is_empty() || waiting.http2.is_some()
            });
        });
    }
}

/// Goes on for as long as the core serves.
async fn sweep_now_and_then() {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        Pool::sweep(Instant::now());
    }
}
