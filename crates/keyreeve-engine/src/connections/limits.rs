//! How much may be called through a connection.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use keyreeve_core::limit::{Rate, Taken};
use smallvec::SmallVec;

use super::{CallRefused, Connection, state::State};
use crate::{Engine, TooMany, cells::SubjectCell};

/// A place among the calls of a connection that are going on; given up when dropped.
#[derive(Debug)]
pub struct Slot(Option<Arc<AtomicU32>>);

/// Units that were taken for a call.
#[derive(Debug, Default)]
pub struct Spent {
    own: Option<(Arc<SubjectCell>, Taken)>,
    all: Option<(Arc<State>, Taken)>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.0 {
            in_flight.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Whose counts a call takes from, of those that are kept for each client, and how much each may.
pub(super) struct Subjects {
    /// For calls.
    pub(super) calls: Option<(Rate, u64)>,
    /// For units.
    pub(super) units: Option<(Rate, u64)>,
}

impl Engine {
    /// Takes what a call costs of the connection's limits, all or nothing.
    pub(super) fn take_call(
        &self,
        connection: &Connection,
        state: &Arc<State>,
        subjects: &Subjects,
        units: u32,
    ) -> Result<(Slot, Spent), CallRefused> {
        let slot = take_slot(connection, state)?;
        let now_ns = self.clock.monotonic_ns();
        let clients = &self.connections.clients;
        let cell = |of: Option<(Rate, u64)>| of.map(|(_, subject)| clients.cell(subject, now_ns));
        let (own_calls, own_units) = (cell(subjects.calls), cell(subjects.units));
        let rate = |of: Option<(Rate, u64)>| of.map(|(rate, _)| rate);
        let own = own_calls.as_ref().map(|cell| &cell.gcra);
        let own_spend = own_units.as_ref().map(|cell| &cell.gcra);
        let limits = [
            ("connection, each client", rate(subjects.calls), own, 1),
            ("connection, spend of each client", rate(subjects.units), own_spend, units),
            ("connection", connection.rate, Some(&state.rate), 1),
            ("connection, spend", connection.spend, Some(&state.spend), units),
        ];
        let mut given = SmallVec::<[_; 4]>::new();
        for (limit, rate, cell, cost) in limits {
            let (Some(rate), Some(cell)) = (rate, cell) else { continue };
            match cell.take(&rate, cost, now_ns) {
                Ok(taken) => given.push((cell, taken)),
                Err(exceeded) => {
                    for (cell, taken) in given {
                        cell.give_back(&taken, || self.clock.monotonic_ns());
                    }
                    let wait_ns = exceeded.retry_after_ns.unwrap_or_default();
                    let retry_after_s = wait_ns.div_ceil(1_000_000_000);
                    return Err(TooMany { limit, rate, retry_after_s }.into());
                }
            }
        }
        let mut spent = Spent::default();
        for (cell, taken) in given {
            if std::ptr::eq(cell, &raw const state.spend) {
                spent.all = Some((state.clone(), taken));
            } else if let Some(own) =
                own_units.as_ref().filter(|own| std::ptr::eq(cell, &raw const own.gcra))
            {
                spent.own = Some((own.clone(), taken));
            }
        }
        Ok((slot, spent))
    }

    /// Gives back what was taken for a call that the service was not asked.
    pub fn give_back(&self, spent: Spent) {
        let clock = || self.clock.monotonic_ns();
        if let Some((cell, taken)) = spent.own {
            cell.gcra.give_back(&taken, clock);
        }
        if let Some((state, taken)) = spent.all {
            state.spend.give_back(&taken, clock);
        }
    }
}

fn take_slot(connection: &Connection, state: &State) -> Result<Slot, CallRefused> {
    let Some(most) = connection.settings.limits.concurrency else { return Ok(Slot(None)) };
    // Counted first and taken back, so that two cores cannot both take the last place.
    let slot = Slot(Some(state.in_flight.clone()));
    if state.in_flight.fetch_add(1, Ordering::AcqRel) >= most {
        return Err(CallRefused::TooManyAtOnce { most });
    }
    Ok(slot)
}
