//! How much may be called through a connection.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use keyreeve_core::limit::Rate;
use smallvec::SmallVec;

use super::{CallRefused, Connection, state::State};
use crate::{Engine, TooMany};

/// A place among the calls of a connection that are going on; given up when dropped.
#[derive(Debug)]
pub struct Slot(Option<Arc<AtomicU32>>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.0 {
            in_flight.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Whose counts a call takes from, of those that are kept for each client.
pub(super) struct Subjects {
    /// For calls.
    pub(super) calls: u64,
    /// For units.
    pub(super) units: u64,
}

impl Engine {
    /// Takes what a call costs of the connection's limits, all or nothing.
    pub(super) fn take_call(
        &self,
        connection: &Connection,
        state: &State,
        subjects: &Subjects,
        units: u32,
    ) -> Result<Slot, CallRefused> {
        let slot = take_slot(connection, state)?;
        let now_ns = self.clock.monotonic_ns();
        let clients = &self.connections.clients;
        let cell =
            |rate: &Option<Rate>, subject| rate.is_some().then(|| clients.cell(subject, now_ns));
        let own = cell(&connection.rate_per_client, subjects.calls);
        let own_spend = cell(&connection.spend_per_client, subjects.units);
        let own = own.as_ref().map(|cell| &cell.gcra);
        let own_spend = own_spend.as_ref().map(|cell| &cell.gcra);
        let limits = [
            ("connection, each client", connection.rate_per_client, own, 1),
            ("connection, spend of each client", connection.spend_per_client, own_spend, units),
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
        Ok(slot)
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
