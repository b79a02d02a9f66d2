//! Limits: all or nothing, and given back exactly.

use std::sync::Arc;

use keyreeve_core::{
    limit::{Exceeded, GcraCell, Level, LimitName, Per, Taken, standing},
    restriction::RequestFacts,
    verdict::VerdictCode,
};
use smallvec::SmallVec;

use super::{
    Verdict, VerifyInput,
    bounding::{Applied, Bounding, Cell, looks_at},
    decide::{Refused, Stop},
};
use crate::{
    Engine,
    cells::SubjectCell,
    live::{LimitCell, LiveKey, Place},
    shared_counts::SharedAnswer,
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
    pub(super) holder: u64,
    pub(super) limit: u64,
    pub(super) subject: u128,
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

impl LimitsTaken {
    fn add(&mut self, cell: &Cell<'_>, took: Taken) {
        match cell {
            Cell::Own(cell) => self.own.push(((*cell).clone(), took)),
            Cell::Subject(cell) => self.subjects.push((cell.clone(), took)),
            // Given back with everything else that was asked for there.
            Cell::Shared(_) => {}
        }
    }
}

impl Cell<'_> {
    /// The count, unless it is elsewhere.
    fn gcra(&self) -> Option<&GcraCell> {
        match self {
            Self::Own(cell) => Some(&cell.gcra),
            Self::Subject(cell) => Some(&cell.gcra),
            Self::Shared(_) => None,
        }
    }
}

impl Engine {
    /// Takes from every limit that looks at the request, or from none.
    pub(super) fn take_limits(
        &self,
        bounding: &Bounding<'_>,
        answer: Option<&SharedAnswer>,
        input: &VerifyInput<'_>,
        verdict: &mut Verdict,
        taken: &mut LimitsTaken,
    ) -> Result<(), Stop> {
        let applied = &bounding.limits;
        if applied.is_empty() && bounding.ask.is_none() {
            return Ok(());
        }
        let now_ns = bounding.now_ns;
        verdict.limits.reserve_exact(applied.len());
        let mut refused = Refusal::default();
        // Asked first and taken then, so that a request that is refused takes nothing from
        // others, not even for a moment.
        for (limit, asked) in standings(bounding, answer, now_ns) {
            refused.note(&asked);
            verdict.limits.push(limit.level(&asked));
        }
        if !refused.any
            && answer.is_none()
            && let Some(ask) = &bounding.ask
        {
            return Err(Stop::Shared(ask.clone()));
        }
        if !refused.any && input.simulate.is_none() {
            for (limit, shown) in applied.iter().zip(&mut verdict.limits) {
                let Some(cell) = limit.cell.gcra() else { continue };
                let asked = cell.take(&limit.rate, limit.cost, now_ns);
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
            let why = "a limit is reached";
            return Err(Refused { code: VerdictCode::RateLimited, why }.into());
        }
        Ok(())
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

/// Rounded up: whoever waits that long has waited long enough.
pub(super) fn whole_seconds(ns: u64) -> u64 {
    ns.div_ceil(SECOND_NS)
}

/// Every limit as it stands for this request; those that are counted elsewhere only if that
/// answered. Takes nothing.
fn standings<'a>(
    bounding: &'a Bounding<'_>,
    answer: Option<&'a SharedAnswer>,
    now_ns: u64,
) -> impl Iterator<Item = (&'a Applied<'a>, Result<Level, Exceeded>)> {
    let mut shared = answer.into_iter().flat_map(|answer| &answer.limits);
    bounding.limits.iter().filter_map(move |limit| {
        let asked = if let Some(cell) = limit.cell.gcra() {
            cell.peek(&limit.rate, limit.cost, now_ns)
        } else {
            // In the order in which they were asked for.
            let (tat, answer) = (*shared.next()?, answer?);
            // What was taken is in it already.
            let cost = if answer.taken { 0 } else { limit.cost };
            standing(&limit.rate, tat, cost, answer.now_ns)
        };
        Some((limit, asked))
    })
}

/// Every limit as it stands for this request. Takes nothing.
pub(super) fn limit_levels(
    bounding: &Bounding<'_>,
    answer: Option<&SharedAnswer>,
) -> Vec<LimitLevel> {
    let standings = standings(bounding, answer, bounding.now_ns);
    standings.map(|(limit, asked)| limit.level(&asked)).collect()
}
