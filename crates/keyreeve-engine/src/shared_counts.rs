//! Counts that all nodes share: limits and places in flight, kept beside the store by a server that
//! answers within a fraction of a millisecond.

use std::fmt;

use async_trait::async_trait;
use keyreeve_core::{
    audit::Hash,
    limit::{Concurrency, Rate},
    name::ProjectName,
};
use smallvec::SmallVec;
use thiserror::Error;

/// Where all nodes count together.
///
/// A request asks once, for everything that it needs: all of it is taken, or nothing. Time is the
/// server's, so that the nodes' clocks need not agree.
#[async_trait]
pub trait SharedCounts: Send + Sync + 'static {
    /// Takes from every limit and a place everywhere, or nothing.
    async fn take(&self, ask: &SharedAsk) -> Result<SharedAnswer, Unreachable>;

    /// Says how everything stands. Takes nothing.
    async fn peek(&self, ask: &SharedAsk) -> Result<SharedAnswer, Unreachable>;

    /// Gives back what was taken, less what has drained since, as
    /// [`GcraCell::give_back`](keyreeve_core::limit::GcraCell::give_back) does.
    async fn give_back(&self, ask: &SharedAsk, answer: &SharedAnswer) -> Result<(), Unreachable>;

    /// Gives up a request's places. Whether it held any.
    async fn release(
        &self,
        project: &ProjectName,
        places: &[CountName],
        lease: u64,
    ) -> Result<bool, Unreachable>;

    /// Whether asking makes sense now: the last answer came, or came again since.
    fn is_reachable(&self) -> bool;

    /// How often that ended so far.
    fn outages(&self) -> u64;
}

/// The server did not answer in time, or refused to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the counts that all nodes share cannot be reached")]
pub struct Unreachable;

/// Names one count on all nodes. A digest: whoever looks at the server learns neither addresses nor
/// routes, and a name's length does not depend on them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CountName([u8; 16]);

impl CountName {
    /// The name of what these parts tell apart.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut text = Vec::with_capacity(128);
        for part in parts {
            // The length before the part: no two lists of parts have one text.
            text.extend_from_slice(&part.len().to_le_bytes());
            text.extend_from_slice(part);
        }
        let digest = Hash::of(&text);
        let mut name = [0; 16];
        name.copy_from_slice(&digest.as_bytes()[..16]);
        Self(name)
    }
}

impl fmt::Display for CountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for CountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAsk {
    /// Whose counts.
    pub project: ProjectName,
    /// From which limits it takes; no two have one name.
    pub limits: SmallVec<[LimitAsk; 4]>,
    /// Where it takes a place among the requests in flight; no two have one name.
    pub places: SmallVec<[PlaceAsk; 2]>,
    /// Names the request in its places.
    pub lease: u64,
}

/// How much a request takes from one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitAsk {
    /// Which limit of which subject.
    pub count: CountName,
    /// Its rate.
    pub rate: Rate,
    /// What the request costs.
    pub cost: u32,
}

/// Where a request takes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceAsk {
    /// Among whose requests.
    pub count: CountName,
    /// How many there may be.
    pub rule: Concurrency,
}

impl SharedAsk {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.places.is_empty()
    }

    /// Whether both ask for the same, under whatever name.
    pub fn wants_the_same(&self, other: &Self) -> bool {
        self.project == other.project && self.limits == other.limits && self.places == other.places
    }
}

/// How everything stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAnswer {
    /// Whether everything was taken.
    pub taken: bool,
    /// When, in nanoseconds of the server's clock.
    pub now_ns: u64,
    /// Each limit's theoretical arrival time, with the request in it if it was taken.
    pub limits: SmallVec<[u64; 4]>,
    /// Each place.
    pub places: SmallVec<[PlaceState; 2]>,
}

/// How many requests are in flight in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceState {
    /// How many, with this one if it was taken.
    pub in_flight: u32,
    /// When the request loses its place by itself; if it has none, when there is one at the latest.
    pub ends_ns: u64,
    /// Whether there was none for it.
    pub full: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_lists_of_parts_apart() {
        let names = [
            CountName::of(&[b"ab", b"c"]),
            CountName::of(&[b"a", b"bc"]),
            CountName::of(&[b"abc"]),
            CountName::of(&[b"abc", b""]),
        ];
        for (i, name) in names.iter().enumerate() {
            assert!(names[..i].iter().all(|other| other != name));
            assert_eq!(name.to_string().len(), 32);
        }
        assert_eq!(CountName::of(&[b"ab", b"c"]), names[0]);
    }
}
