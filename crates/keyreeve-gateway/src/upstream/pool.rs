//! Connections that wait to be used again. Each core has its own, so none is locked or handed over
//! between cores.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use hyper::client::conn::{http1, http2};
use tokio::time::Instant;

use super::{Lane, Line, Purpose};
use crate::body::RequestBody;

/// The most of each kind that wait for one service on one core.
const MOST_IDLE: usize = 64;
/// How long one waits before it is closed. Below what most servers and balancers wait.
const LONGEST_IDLE: Duration = Duration::from_secs(50);
/// How often a core looks for connections that have waited for too long.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// Services whose connections are kept apart on one core.
const MOST_DESTINATIONS: usize = 10_000;

/// The near end of a connection.
pub(crate) enum Sender {
    /// One request at a time, at hand as a whole.
    Line(Box<Line>),
    /// One request at a time, streamed.
    Http1(Alone),
    /// Many at a time.
    Http2(Shared),
}

/// The near end of a connection that one request after the other has to itself.
pub(crate) struct Alone {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    /// The header that names the service in each of them, made once.
    pub(crate) host: HeaderValue,
}

/// The near end of a connection that many requests share; its clones lead to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) sender: http2::SendRequest<RequestBody>,
    /// Each request that goes on holds one, and so does the pool.
    uses: Arc<Streams>,
}

/// How many requests the other side of a connection takes at once (RFC 9113 §5.1.2).
#[derive(Debug)]
pub(super) struct Streams {
    most: AtomicUsize,
}

impl Default for Streams {
    fn default() -> Self {
        // Until it says otherwise; the least that the RFC recommends.
        Self { most: AtomicUsize::new(100) }
    }
}

impl Streams {
    pub(super) fn allow(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn new(sender: http2::SendRequest<RequestBody>) -> Self {
        Self { sender, uses: Arc::default() }
    }

    /// How many requests it takes, for whoever hears that from the other side.
    pub(super) fn streams(&self) -> Weak<Streams> {
        Arc::downgrade(&self.uses)
    }

    /// Whether the other side takes one more request before another one has ended.
    fn has_room(&self) -> bool {
        self.going_on() < self.uses.most.load(Ordering::Relaxed)
    }

    fn going_on(&self) -> usize {
        Arc::strong_count(&self.uses).saturating_sub(1)
    }
}

#[derive(Default)]
struct Waiting {
    lines: Vec<(Box<Line>, Instant)>,
    http1: Vec<(Alone, Instant)>,
    http2: Vec<(Shared, Instant)>,
}

thread_local! {
    static POOL: RefCell<HashMap<Lane, Waiting>> = RefCell::default();
    static IS_SWEPT: Cell<bool> = const { Cell::new(false) };
}

/// The pool of the core that asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool;

impl Pool {
    /// A connection for whole or streamed requests that waits, if one does. Of one that hyper has, it shows
    /// only when it is used whether it has ended since.
    pub(crate) fn take(lane: &Lane, purpose: Purpose, now: Instant) -> Option<Sender> {
        POOL.with_borrow_mut(|pool| {
            let waiting = pool.get_mut(lane)?;
            if !waiting.http2.is_empty() {
                waiting.http2.retain(|(shared, _)| !shared.sender.is_closed());
                let free = waiting.http2.iter_mut().find(|(shared, _)| shared.has_room());
                if let Some((shared, since)) = free {
                    *since = now;
                    return Some(Sender::Http2(shared.clone()));
                }
            }
            // The one that was used last is the likeliest to be good.
            if purpose == Purpose::Whole {
                while let Some((mut line, since)) = waiting.lines.pop() {
                    if now.duration_since(since) > LONGEST_IDLE {
                        waiting.lines.clear();
                        return None;
                    }
                    if line.is_good() {
                        return Some(Sender::Line(line));
                    }
                }
                return None;
            }
            while let Some((alone, since)) = waiting.http1.pop() {
                if now.duration_since(since) > LONGEST_IDLE {
                    waiting.http1.clear();
                    return None;
                }
                if !alone.sender.is_closed() {
                    return Some(Sender::Http1(alone));
                }
            }
            None
        })
    }

    /// Lets other calls use a connection that has just been made, if it is one that can be shared.
    pub(crate) fn share(lane: &Lane, sender: &Sender, now: Instant) {
        if let Sender::Http2(shared) = sender {
            Self::put(lane, Sender::Http2(shared.clone()), now);
        }
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
                Sender::Line(line) if waiting.lines.len() < MOST_IDLE => {
                    waiting.lines.push((line, now));
                }
                Sender::Http1(alone)
                    if !alone.sender.is_closed() && waiting.http1.len() < MOST_IDLE =>
                {
                    waiting.http1.push((alone, now));
                }
                Sender::Line(_) | Sender::Http1(_) => {}
                Sender::Http2(shared) => {
                    let is_there =
                        waiting.http2.iter().any(|(it, _)| Arc::ptr_eq(&it.uses, &shared.uses));
                    if !is_there && waiting.http2.len() < MOST_IDLE {
                        waiting.http2.push((shared, now));
                    }
                }
            }
        });
    }

    /// Closes what has waited for too long.
    fn sweep(now: Instant) {
        POOL.with_borrow_mut(|pool| {
            pool.retain(|_, waiting| {
                let young = |(alone, since): &(Alone, Instant)| {
                    now.duration_since(*since) <= LONGEST_IDLE && !alone.sender.is_closed()
                };
                waiting.http1.retain(young);
                waiting.lines.retain_mut(|(line, since)| {
                    now.duration_since(*since) <= LONGEST_IDLE && line.is_good()
                });
                waiting.http2.retain(|(shared, since)| {
                    let is_used = shared.going_on() > 0;
                    (is_used || now.duration_since(*since) <= LONGEST_IDLE)
                        && !shared.sender.is_closed()
                });
                !(waiting.lines.is_empty() && waiting.http1.is_empty() && waiting.http2.is_empty())
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
