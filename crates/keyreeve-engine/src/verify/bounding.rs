//! What bounds how often and how much at once, put together for one request, and where it counts:
//! on this node, or where all nodes count together.

use std::sync::Arc;

use keyreeve_core::{
    audit::Hash,
    key::KeyId,
    limit::{Limit, LimitScope, Per, Rate},
    model::{FailPolicy, PolicyHolder},
    restriction::RequestFacts,
};
use smallvec::SmallVec;

use super::{VerifyInput, chain::Chain, in_flight::Places, limits::RequestSubject, shared::Shared};
use crate::{
    Engine,
    cells::{AddressGroup, SubjectCell},
    live::{BoundLimit, KeyBounds, LimitCell, LiveKey, Place},
    shared_counts::{CountName, LimitAsk, PlaceAsk, SharedAsk},
};

/// A chain's keys, each with what bounds it.
pub(super) type ChainBounds<'a> = SmallVec<[(&'a Arc<LiveKey>, Arc<KeyBounds>); 2]>;

/// Where the limits of a request count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// On this node: there is no other place.
    Node,
    /// Where all nodes count together.
    Shared,
    /// On this node, as that cannot be reached: so many thousandths of each limit.
    Degraded(u16),
}

/// Everything that bounds one request.
pub(super) struct Bounding<'a> {
    pub(super) key: KeyId,
    pub(super) reach: Reach,
    /// When the limits were looked at, by the monotonic clock; 0 where nothing bounds the request.
    pub(super) now_ns: u64,
    pub(super) limits: SmallVec<[Applied<'a>; 4]>,
    pub(super) places: Places<'a>,
    /// Whether any of it counts on this node alone that should count for all.
    pub(super) is_degraded: bool,
    /// What has to be asked of the common counts, if anything.
    pub(super) ask: Option<Box<SharedAsk>>,
}

/// One limit as it applies to one request.
pub(super) struct Applied<'a> {
    pub(super) bound: &'a BoundLimit,
    pub(super) cell: Cell<'a>,
    pub(super) rate: Rate,
    pub(super) cost: u32,
    pub(super) why: Option<String>,
}

/// Where a limit counts.
pub(super) enum Cell<'a> {
    Own(&'a Arc<LimitCell>),
    Subject(Arc<SubjectCell>),
    /// Where all nodes count together.
    Shared(CountName),
}

impl Cell<'_> {
    /// Whether both count in one place, as the limits of an owner do for a key and for the key it
    /// was derived from.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(one), Self::Own(other)) => Arc::ptr_eq(one, other),
            (Self::Subject(one), Self::Subject(other)) => Arc::ptr_eq(one, other),
            (Self::Shared(one), Self::Shared(other)) => one == other,
            _ => false,
        }
    }
}

impl Engine {
    /// What bounds the keys of a chain.
    pub(super) fn bounds_of<'a>(&self, chain: &'a Chain) -> ChainBounds<'a> {
        chain.keys().filter_map(|key| Some((key, key.bounds(&self.live)?))).collect()
    }

    /// What bounds a request with that chain.
    pub(super) fn bounding<'a>(
        &self,
        chain: &'a Chain,
        bounds: &'a ChainBounds<'_>,
        input: &VerifyInput<'_>,
        shared: &Shared,
    ) -> Bounding<'a> {
        let mut places = if input.in_flight { self.concurrency(chain) } else { Places::new() };
        let mut limits: SmallVec<[Applied<'a>; 4]> = SmallVec::new();
        let key = chain.key.id();
        if bounds.is_empty() && places.is_empty() {
            let (reach, now_ns, is_degraded, ask) = (Reach::Node, 0, false, None);
            return Bounding { key, reach, now_ns, limits, places, is_degraded, ask };
        }
        let reach = self.reach(chain, shared);
        let now_ns = self.clock.monotonic_ns();
        let mut counts_together = !places.is_empty();
        for (key, bounds) in bounds {
            for bound in &bounds.limits {
                let Some(applied) = self.apply_limit(key, bound, input, reach, now_ns) else {
                    continue;
                };
                counts_together |= bound.limit().scope == LimitScope::Cluster;
                // Counted once, however many keys of the chain are bounded by it.
                if limits.iter().all(|known| !known.cell.is(&applied.cell)) {
                    limits.push(applied);
                }
            }
        }
        if let Reach::Degraded(per_mille) = reach {
            for place in &mut places {
                place.rule = place.rule.scaled(per_mille);
            }
        }
        let is_degraded = counts_together && matches!(reach, Reach::Degraded(_));
        let ask = (reach == Reach::Shared).then(|| self.ask(chain, &limits, &places));
        let ask = ask.filter(|ask| !ask.is_empty());
        Bounding { key, reach, now_ns, limits, places, is_degraded, ask }
    }

    /// Where all nodes count together if that can be reached. Else the keyspace's fail policy says
    /// how much of each limit this node gives by itself.
    fn reach(&self, chain: &Chain, shared: &Shared) -> Reach {
        let Some(options) = &self.shared else { return Reach::Node };
        let answers = match shared {
            Shared::Answered(_) => true,
            Shared::NotAsked => options.counts.is_reachable(),
            Shared::Unreachable => false,
        };
        if answers {
            return Reach::Shared;
        }
        match chain.key.keyspace_content().fail_policy {
            FailPolicy::Closed => Reach::Degraded(options.outage_per_mille),
            FailPolicy::Open => Reach::Degraded(1_000),
        }
    }

    fn ask(&self, chain: &Chain, limits: &[Applied<'_>], places: &Places<'_>) -> Box<SharedAsk> {
        let project = chain.key.project().clone();
        let limits = limits.iter().filter_map(|limit| match limit.cell {
            Cell::Shared(count) => Some(LimitAsk { count, rate: limit.rate, cost: limit.cost }),
            Cell::Own(_) | Cell::Subject(_) => None,
        });
        let places =
            places.iter().map(|place| PlaceAsk { count: place.name(&project), rule: place.rule });
        let (limits, places) = (limits.collect(), places.collect());
        Box::new(SharedAsk { limits, places, lease: self.random_number(), project })
    }

    fn apply_limit<'a>(
        &self,
        key: &LiveKey,
        bound: &'a BoundLimit,
        input: &VerifyInput<'_>,
        reach: Reach,
        now_ns: u64,
    ) -> Option<Applied<'a>> {
        let limit = bound.limit();
        if !looks_at(limit, &input.request) {
            return None;
        }
        let of_cluster = limit.scope == LimitScope::Cluster;
        let is_shared = of_cluster && reach == Reach::Shared;
        let cost = input.cost.of_limit(&limit.name);
        let (mut cell, mut rate) = match &bound.place {
            Place::Here(cell, rate) => (Cell::Own(cell), *rate),
            Place::ByRequest { of, .. } if is_shared => {
                let subject = shared_subject(bound.per, &input.request);
                let name = count_name(key, limit, of_holder(*of), &subject);
                (Cell::Shared(name), *subject_rate(limit, bound.per, &input.request))
            }
            Place::ByRequest { holder, .. } => self.subject_cell(bound, *holder, input, now_ns),
        };
        let mut why = None;
        if let Cell::Own(own) = cell {
            if let Some(range) = &limit.adaptive {
                let state = own.adapted(*range, now_ns);
                rate = rate.scaled(state.factor_per_mille(range));
                why = Some(state.why().to_string());
            }
            if is_shared {
                cell = Cell::Shared(count_name(key, limit, bound.per, &[]));
            }
        }
        if let Reach::Degraded(per_mille @ ..1_000) = reach
            && of_cluster
        {
            rate = rate.scaled(per_mille);
            why = Some("the nodes cannot count together now".to_owned());
        }
        Some(Applied { bound, cell, rate, cost, why })
    }

    /// The cell of the request's address or route. A request that does not tell them is counted
    /// together with all others that do not.
    fn subject_cell(
        &self,
        bound: &BoundLimit,
        holder: u64,
        input: &VerifyInput<'_>,
        now_ns: u64,
    ) -> (Cell<'static>, Rate) {
        let limit = bound.limit();
        let facts = &input.request;
        let subject = if bound.per == Per::Ip {
            facts.ip.map(AddressGroup::of).map_or(u128::MAX, AddressGroup::bits)
        } else {
            let (method, path) = route_of(facts);
            u128::from(self.subject_hash(&[method, path]))
        };
        let name = self.subject_hash(&[limit.name.as_str()]);
        let subject = RequestSubject { holder, limit: name, subject };
        let cell = Cell::Subject(self.request_cells.cell(subject, now_ns));
        (cell, *subject_rate(limit, bound.per, facts))
    }
}

/// What all nodes call a limit's count. `of` says whose it is; the subject tells apart what one
/// holder counts for each address or route.
fn count_name(key: &LiveKey, limit: &Limit, of: Per, subject: &[u8]) -> CountName {
    let lineage = key.lineage();
    let holder = match of {
        Per::Owner => key.owner_id().unwrap_or_default(),
        Per::Keyspace => key.keyspace(),
        Per::Key | Per::Ip | Per::Route => lineage.as_str(),
    };
    let project = key.project().as_str();
    let texts = ["limit", project, of.as_str(), holder, limit.name.as_str()];
    let [kind, project, of, holder, name] = texts.map(str::as_bytes);
    CountName::of(&[kind, project, of, holder, name, subject])
}

/// Whose count a limit is that counts for each address or route.
fn of_holder(holder: PolicyHolder) -> Per {
    match holder {
        PolicyHolder::Key => Per::Key,
        PolicyHolder::Owner => Per::Owner,
        PolicyHolder::Keyspace => Per::Keyspace,
    }
}

fn route_of<'a>(facts: &RequestFacts<'a>) -> (&'a str, &'a str) {
    let path = facts.path.unwrap_or_default();
    (facts.method.unwrap_or_default(), path.split('?').next().unwrap_or_default())
}

/// Counts that one limit keeps at most for addresses or routes, where all nodes count together. More
/// subjects than that share them: strangers choose them, and the memory is everybody's.
const MOST_SUBJECTS: u32 = 1 << 17;

/// The request's address or route, as one of so many.
fn shared_subject(per: Per, facts: &RequestFacts<'_>) -> [u8; 4] {
    let digest = Hash::of(&subject_text(per, facts));
    let [a, b, c, d, ..] = *digest.as_bytes();
    (u32::from_be_bytes([a, b, c, d]) % MOST_SUBJECTS).to_be_bytes()
}

/// The request's address or route as one text.
fn subject_text(per: Per, facts: &RequestFacts<'_>) -> Vec<u8> {
    if per == Per::Ip {
        let group = facts.ip.map(AddressGroup::of).map_or(u128::MAX, AddressGroup::bits);
        return [b"ip".as_slice(), &group.to_be_bytes()].concat();
    }
    let (method, path) = route_of(facts);
    format!("route{method} {path}").into_bytes()
}

/// The rate for the request's address or route.
fn subject_rate<'a>(limit: &'a Limit, per: Per, facts: &RequestFacts<'_>) -> &'a Rate {
    if limit.overrides.is_empty() {
        return &limit.rate;
    }
    if per == Per::Ip {
        return facts.ip.map_or(&limit.rate, |ip| limit.rate_for(&ip.to_string()));
    }
    let (method, path) = route_of(facts);
    limit.rate_for(&format!("{method} {path}"))
}

/// Whether a limit is about such requests.
pub(super) fn looks_at(limit: &Limit, request: &RequestFacts<'_>) -> bool {
    limit.route.as_ref().is_none_or(|route| {
        let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        route.matches(method, request.host, path)
    })
}
