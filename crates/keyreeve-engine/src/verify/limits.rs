//! Limits and places in flight: all or nothing, and given back exactly.

use std::sync::Arc;

use keyreeve_core::{
    limit::{Concurrency, Exceeded, GcraCell, Level, Limit, LimitName, Per, Rate, Taken},
    restriction::RequestFacts,
    verdict::VerdictCode,
};
use smallvec::SmallVec;

use super::{Lease, Verdict, VerifyInput, chain::Chain, decide::Refused, spending::ReservationId};
use crate::{
    Engine,
    cells::{AddressGroup, SubjectCell},
    live::{BoundLimit, Counters, KeyBounds, LimitCell, LiveKey, Place},
};

const SECOND_NS: u64 = 1_000_000_000;

/// Where a limit stands after a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitLevel {
    /// Its name.
    pub name: LimitName,
    /// What it counts.
    pub per: Per,
    /// Requests in a period, adaptation included.
    pub limit: u32,
    /// The period, in whole seconds, rounded up.
    pub period_s: u64,
    /// What is left now.
    pub remaining: u32,
    /// Whole seconds until all of it is back, rounded up.
    pub reset_s: u64,
    /// Whether there was too little.
    pub exceeded: bool,
    /// Why an adaptive limit is not what was set.
    pub why: Option<String>,
}

/// A key's count for one address or one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestSubject {
    holder: u64,
    limit: u64,
    subject: u128,
}

/// A cell of either kind.
enum Cell<'a> {
    Own(&'a Arc<LimitCell>),
    Subject(Arc<SubjectCell>),
}

/// One limit as it applies to one request.
struct Applied<'a> {
    bound: &'a BoundLimit,
    cell: Cell<'a>,
    rate: Rate,
    cost: u32,
    why: Option<String>,
}

/// Whether any limit refused, and for how long.
#[derive(Default)]
struct Refusal {
    any: bool,
    /// The longest wait. A cost beyond a whole limit never fits: there is no time to wait for.
    retry_ns: Option<u64>,
}

impl Refusal {
    fn note(&mut self, asked: &Result<Level, Exceeded>) {
        if let Err(exceeded) = asked {
            self.any = true;
            self.retry_ns = self.retry_ns.max(exceeded.retry_after_ns);
        }
    }
}

/// What was taken from limits.
#[derive(Default)]
pub(super) struct LimitsTaken {
    own: SmallVec<[(Arc<LimitCell>, Taken); 4]>,
    subjects: SmallVec<[(Arc<SubjectCell>, Taken); 1]>,
}

/// What bounds the requests in flight, and where they are counted.
type Places = SmallVec<[(Concurrency, Arc<Counters>); 2]>;

/// Places that were taken among the requests in flight.
pub(super) struct Leased {
    places: SmallVec<[Arc<Counters>; 2]>,
    id: u64,
}

impl LimitsTaken {
    fn add(&mut self, cell: &Cell<'_>, took: Taken) {
        match cell {
            Cell::Own(cell) => self.own.push(((*cell).clone(), took)),
            Cell::Subject(cell) => self.subjects.push((cell.clone(), took)),
        }
    }
}

impl Cell<'_> {
    fn gcra(&self) -> &GcraCell {
        match self {
            Self::Own(cell) => &cell.gcra,
            Self::Subject(cell) => &cell.gcra,
        }
    }
}

impl Engine {
    /// Takes from every limit that looks at the request, or from none.
    pub(super) fn take_limits(
        &self,
        chain: &Chain,
        input: &VerifyInput<'_>,
        verdict: &mut Verdict,
        taken: &mut LimitsTaken,
    ) -> Result<(), Refused> {
        let bounds: SmallVec<[Arc<KeyBounds>; 2]> =
            chain.keys().filter_map(|key| key.bounds(&self.live)).collect();
        if bounds.is_empty() {
            return Ok(());
        }
        let now_ns = self.clock.monotonic_ns();
        let applied: SmallVec<[Applied<'_>; 4]> = bounds
            .iter()
            .flat_map(|bounds| &bounds.limits)
            .filter_map(|bound| self.apply_limit(bound, input, now_ns))
            .collect();
        verdict.limits.reserve_exact(applied.len());
        let mut refused = Refusal::default();
        // Asked first and taken then, so that a request that is refused takes nothing from
        // others, not even for a moment.
        for limit in &applied {
            let asked = limit.cell.gcra().peek(&limit.rate, limit.cost, now_ns);
            refused.note(&asked);
            verdict.limits.push(limit.level(&asked));
        }
        if !refused.any && input.simulate.is_none() {
            for (limit, shown) in applied.iter().zip(&mut verdict.limits) {
                let asked = limit.cell.gcra().take(&limit.rate, limit.cost, now_ns);
                *shown = limit.level(&asked.as_ref().map(|took| took.level).map_err(|e| *e));
                match asked {
                    Ok(took) => taken.add(&limit.cell, took),
                    // Another request was faster.
                    Err(exceeded) => {
                        refused.note(&Err(exceeded));
                        break;
                    }
                }
            }
        }
        if refused.any {
            self.give_back_limits(taken);
            *taken = LimitsTaken::default();
            verdict.retry_after_s = refused.retry_ns.map(whole_seconds);
            return Err(Refused { code: VerdictCode::RateLimited, why: "a limit is reached" });
        }
        Ok(())
    }

    fn apply_limit<'a>(
        &self,
        bound: &'a BoundLimit,
        input: &VerifyInput<'_>,
        now_ns: u64,
    ) -> Option<Applied<'a>> {
        let limit = bound.limit();
        if !looks_at(limit, &input.request) {
            return None;
        }
        let cost = input.cost.of_limit(&limit.name);
        let (cell, mut rate) = match &bound.place {
            Place::Here(cell, rate) => (Cell::Own(cell), *rate),
            Place::ByRequest { holder } => self.subject_cell(bound, *holder, input, now_ns),
        };
        let mut why = None;
        if let (Some(range), Cell::Own(cell)) = (&limit.adaptive, &cell) {
            let state = cell.adapted(*range, now_ns);
            rate = rate.scaled(state.factor_per_mille(range));
            why = Some(state.why().to_string());
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
        let (subject, rate) = if bound.per == Per::Ip {
            let group = facts.ip.map(AddressGroup::of);
            let rate = match facts.ip {
                Some(ip) if !limit.overrides.is_empty() => limit.rate_for(&ip.to_string()),
                _ => &limit.rate,
            };
            (group.map_or(u128::MAX, AddressGroup::bits), rate)
        } else {
            let path = facts.path.unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            let method = facts.method.unwrap_or_default();
            let rate = if limit.overrides.is_empty() {
                &limit.rate
            } else {
                limit.rate_for(&format!("{method} {path}"))
            };
            (u128::from(self.subject_hash(&[method, path])), rate)
        };
        let name = self.subject_hash(&[limit.name.as_str()]);
        let subject = RequestSubject { holder, limit: name, subject };
        (Cell::Subject(self.request_cells.cell(subject, now_ns)), *rate)
    }

    pub(super) fn give_back_limits(&self, taken: &LimitsTaken) {
        let clock = || self.clock.monotonic_ns();
        for (cell, took) in &taken.own {
            cell.gcra.give_back(took, clock);
        }
        for (cell, took) in &taken.subjects {
            cell.gcra.give_back(took, clock);
        }
    }

    /// Tells the adaptive limits that look at a request how it went.
    pub(super) fn note_outcome(
        &self,
        key: &LiveKey,
        request: &RequestFacts<'_>,
        code: VerdictCode,
    ) {
        // What the limit itself refused says nothing about the key.
        let failed = !matches!(
            code,
            VerdictCode::Valid
                | VerdictCode::RateLimited
                | VerdictCode::Concurrency
                | VerdictCode::QuotaExceeded
        );
        let Some(bounds) = key.bounds(&self.live).filter(|bounds| bounds.adaptive) else { return };
        for bound in &bounds.limits {
            let limit = bound.limit();
            if let (Some(range), Place::Here(cell, _)) = (&limit.adaptive, &bound.place)
                && looks_at(limit, request)
            {
                cell.note(*range, failed, self.clock.monotonic_ns());
            }
        }
    }

    /// What bounds the requests in flight: of the key and its ancestors, and of their owner.
    pub(super) fn concurrency(&self, chain: &Chain) -> Places {
        let own = chain
            .keys()
            .filter_map(|key| Some((key.policy().concurrency?, key.counters(&self.live))));
        let mut rules: Places = own.collect();
        if let Some((policy, counters)) = chain.key.owner_bounds()
            && let Some(rule) = policy.concurrency
        {
            rules.push((rule, counters.clone()));
        }
        rules
    }

    /// How many requests are in flight wherever they are bounded, and how many may be.
    pub(super) fn places(&self, chain: &Chain) -> Vec<(u32, u32)> {
        let now_ns = self.clock.monotonic_ns();
        let standing = |(rule, counters): (Concurrency, Arc<Counters>)| {
            (counters.leases.lock().in_flight(now_ns), rule.most())
        };
        self.concurrency(chain).into_iter().map(standing).collect()
    }

    /// Takes a place among the requests in flight wherever they are bounded, or nowhere.
    pub(super) fn take_lease(
        &self,
        chain: &Chain,
        input: &VerifyInput<'_>,
        verdict: &mut Verdict,
    ) -> Result<Leased, Refused> {
        let mut leased = Leased { places: SmallVec::new(), id: 0 };
        let rules = if input.in_flight { self.concurrency(chain) } else { Places::new() };
        if rules.is_empty() {
            return Ok(leased);
        }
        leased.id = self.random_number();
        let now_ns = self.clock.monotonic_ns();
        for (rule, counters) in rules {
            let taken = if input.simulate.is_some() {
                counters.leases.lock().clone().take(&rule, leased.id, now_ns)
            } else {
                counters.leases.lock().take(&rule, leased.id, now_ns)
            };
            match taken {
                Ok(_) if input.simulate.is_some() => {}
                Ok(level) => {
                    leased.places.push(counters);
                    let lasts_ms = level.expires_ns.saturating_sub(now_ns) / 1_000_000;
                    let tightest = verdict.lease.is_none_or(|known| {
                        level.most - level.in_flight < known.most - known.in_flight
                    });
                    if tightest {
                        verdict.lease = Some(Lease {
                            id: ReservationId::of_lease(chain.key.id(), leased.id),
                            in_flight: level.in_flight,
                            most: level.most,
                            lasts_ms,
                        });
                    }
                }
                Err(refused) => {
                    self.give_back_lease(&leased);
                    verdict.lease = None;
                    verdict.retry_after_s = Some(whole_seconds(refused.retry_after_ns));
                    return Err(Refused {
                        code: VerdictCode::Concurrency,
                        why: "as many requests as may be are in flight",
                    });
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
}

impl Applied<'_> {
    fn level(&self, asked: &Result<Level, Exceeded>) -> LimitLevel {
        let (level, exceeded) = match asked {
            Ok(level) => (*level, false),
            Err(exceeded) => (exceeded.level, true),
        };
        LimitLevel {
            name: self.bound.limit().name,
            per: self.bound.per,
            limit: self.rate.requests(),
            period_s: self.rate.period_s(),
            remaining: level.remaining,
            reset_s: whole_seconds(level.reset_ns),
            exceeded,
            why: self.why.clone(),
        }
    }
}

/// Whether a limit is about such requests.
fn looks_at(limit: &Limit, request: &RequestFacts<'_>) -> bool {
    limit.route.as_ref().is_none_or(|route| {
        let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        route.matches(method, request.host, path)
    })
}

/// Rounded up: whoever waits that long has waited long enough.
pub(super) fn whole_seconds(ns: u64) -> u64 {
    ns.div_ceil(SECOND_NS)
}

impl Engine {
    /// Every limit as it stands for this request. Takes nothing.
    pub(super) fn limit_levels(&self, chain: &Chain, input: &VerifyInput<'_>) -> Vec<LimitLevel> {
        let now_ns = self.clock.monotonic_ns();
        let mut levels = Vec::new();
        for key in chain.keys() {
            let Some(bounds) = key.bounds(&self.live) else { continue };
            let applied = bounds.limits.iter();
            for limit in applied.filter_map(|bound| self.apply_limit(bound, input, now_ns)) {
                let asked = limit.cell.gcra().peek(&limit.rate, limit.cost, now_ns);
                levels.push(limit.level(&asked));
            }
        }
        levels
    }
}
