//! Places among the requests in flight: everywhere or nowhere.

use std::sync::Arc;

use keyreeve_core::{
    key::KeyId,
    limit::Concurrency,
    name::{OwnerId, ProjectName},
    verdict::VerdictCode,
};
use smallvec::SmallVec;

use super::{
    Lease, Verdict, VerifyInput,
    bounding::{Bounding, Reach},
    chain::Chain,
    decide::Refused,
    limits::whole_seconds,
    spending::ReservationId,
};
use crate::{
    Engine,
    live::Counters,
    shared_counts::{CountName, PlaceState, SharedAnswer, SharedAsk},
};

const REFUSED: &str = "as many requests as may be are in flight";

/// Where a request takes a place.
pub(super) struct Place<'a> {
    pub(super) rule: Concurrency,
    counters: Arc<Counters>,
    of: PlaceOf<'a>,
}

/// Among whose requests.
#[derive(Clone, Copy)]
enum PlaceOf<'a> {
    Lineage(KeyId),
    Owner(&'a OwnerId),
}

/// The places of a request: seldom more than its key's and its owner's.
pub(super) type Places<'a> = SmallVec<[Place<'a>; 2]>;

impl Place<'_> {
    /// What all nodes call it.
    pub(super) fn name(&self, project: &ProjectName) -> CountName {
        let project = project.as_str().as_bytes();
        match self.of {
            PlaceOf::Lineage(id) => {
                CountName::of(&[b"in flight", project, b"key", id.as_str().as_bytes()])
            }
            PlaceOf::Owner(id) => {
                CountName::of(&[b"in flight", project, b"owner", id.as_str().as_bytes()])
            }
        }
    }
}

/// Places that were taken on this node.
pub(super) struct Leased {
    places: SmallVec<[Arc<Counters>; 2]>,
    id: u64,
}

impl Engine {
    /// What bounds the requests in flight: of the key and its ancestors, and of their owner.
    pub(super) fn concurrency<'a>(&self, chain: &'a Chain) -> Places<'a> {
        let own = chain.keys().filter_map(|key| {
            let rule = key.policy().concurrency?;
            let of = PlaceOf::Lineage(key.lineage());
            Some(Place { rule, counters: key.counters(&self.live), of })
        });
        let mut places: Places<'a> = own.collect();
        if let (Some((policy, counters)), Some(owner)) =
            (chain.key.owner_bounds(), chain.key.owner_name())
            && let Some(rule) = policy.concurrency
        {
            let of = PlaceOf::Owner(owner);
            places.push(Place { rule, counters: counters.clone(), of });
        }
        places
    }

    /// How many requests are in flight wherever they are bounded, and how many may be.
    pub(super) fn places(
        &self,
        bounding: &Bounding<'_>,
        answer: Option<&SharedAnswer>,
    ) -> Vec<(u32, u32)> {
        let now_ns = self.clock.monotonic_ns();
        let standing = |(n, place): (usize, &Place<'_>)| {
            let shared = answer.and_then(|answer| answer.places.get(n));
            let here = || place.counters.leases.lock().in_flight(now_ns);
            (shared.map_or_else(here, |state| state.in_flight), place.rule.most())
        };
        bounding.places.iter().enumerate().map(standing).collect()
    }

    /// Takes a place among the requests in flight wherever they are bounded, or nowhere.
    pub(super) fn take_lease(
        &self,
        bounding: &Bounding<'_>,
        shared: Option<(&SharedAsk, &SharedAnswer)>,
        input: &VerifyInput<'_>,
        verdict: &mut Verdict,
    ) -> Result<Leased, Refused> {
        if let (Reach::Shared, Some((ask, answer))) = (bounding.reach, shared) {
            show_places(bounding, ask.lease, answer, input, verdict)?;
            return Ok(Leased { places: SmallVec::new(), id: 0 });
        }
        let mut leased = Leased { places: SmallVec::new(), id: 0 };
        if bounding.places.is_empty() {
            return Ok(leased);
        }
        leased.id = self.random_number();
        let now_ns = self.clock.monotonic_ns();
        for place in &bounding.places {
            let Place { rule, counters, .. } = place;
            let taken = if input.simulate.is_some() {
                counters.leases.lock().clone().take(rule, leased.id, now_ns)
            } else {
                counters.leases.lock().take(rule, leased.id, now_ns)
            };
            match taken {
                Ok(_) if input.simulate.is_some() => {}
                Ok(level) => {
                    leased.places.push(counters.clone());
                    let id = ReservationId::of_lease(bounding.key, leased.id);
                    let lasts_ns = level.expires_ns.saturating_sub(now_ns);
                    note_tightest(verdict, id, level.in_flight, level.most, lasts_ns);
                }
                Err(refused) => {
                    self.give_back_lease(&leased);
                    return Err(refuse(verdict, refused.retry_after_ns));
                }
            }
        }
        Ok(leased)
    }

    pub(super) fn give_back_lease(&self, leased: &Leased) {
        for counters in &leased.places {
            counters.leases.lock().release(leased.id, self.clock.monotonic_ns());
        }
    }

    /// Gives up places that a request took on this node. Whether it had any.
    pub(super) fn release_here(&self, places: &Places<'_>, id: u64) -> bool {
        let now_ns = self.clock.monotonic_ns();
        let mut released = false;
        for place in places {
            released |= place.counters.leases.lock().release(id, now_ns);
        }
        released
    }
}

/// What all nodes' common counts said of the places.
fn show_places(
    bounding: &Bounding<'_>,
    lease: u64,
    answer: &SharedAnswer,
    input: &VerifyInput<'_>,
    verdict: &mut Verdict,
) -> Result<(), Refused> {
    let lasts_ns = |state: &PlaceState| state.ends_ns.saturating_sub(answer.now_ns);
    let full = answer.places.iter().filter(|state| state.full);
    if let Some(retry_ns) = full.map(lasts_ns).max() {
        return Err(refuse(verdict, retry_ns));
    }
    if input.simulate.is_none() {
        for (place, state) in bounding.places.iter().zip(&answer.places) {
            let id = ReservationId::of_lease(bounding.key, lease);
            note_tightest(verdict, id, state.in_flight, place.rule.most(), lasts_ns(state));
        }
    }
    Ok(())
}

fn refuse(verdict: &mut Verdict, retry_after_ns: u64) -> Refused {
    verdict.lease = None;
    verdict.retry_after_s = Some(whole_seconds(retry_after_ns));
    Refused { code: VerdictCode::Concurrency, why: REFUSED }
}

/// Keeps the place that has the fewest others beside it.
fn note_tightest(verdict: &mut Verdict, id: ReservationId, in_flight: u32, most: u32, ns: u64) {
    let left = most.saturating_sub(in_flight);
    let known = verdict.lease.map(|known| known.most.saturating_sub(known.in_flight));
    if known.is_none_or(|known| left < known) {
        verdict.lease = Some(Lease { id, in_flight, most, lasts_ms: ns / 1_000_000 });
    }
}
