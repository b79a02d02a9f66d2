//! How much may be called through a connection.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

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

impl Engine {
    /// Takes what a call costs of the connection's limits, all or nothing.
    pub(super) fn take_call(
        &self,
        connection: &Connection,
        state: &State,
        client: u64,
    ) -> Result<Slot, CallRefused> {
        let now_ns = self.clock.monotonic_ns();
        let too_many = |limit, rate, wait_ns: Option<u64>| {
            let retry_after_s = wait_ns.unwrap_or_default().div_ceil(1_000_000_000);
            CallRefused::TooMany(TooMany { limit, rate, retry_after_s })
        };
        let slot = take_slot(connection, state)?;
        let own = connection.rate_per_client.as_ref().map(|rate| {
            let cell = self.connections.clients.cell(client, now_ns);
            let taken = cell.gcra.take(rate, 1, now_ns);
            taken.map(|taken| (cell, taken)).map_err(|exceeded| {
                too_many("connection, each client", *rate, exceeded.retry_after_ns)
            })
        });
        let own = own.transpose()?;
        if let Some(rate) = &connection.rate
            && let Err(exceeded) = state.rate.take(rate, 1, now_ns)
        {
            if let Some((cell, taken)) = own {
                cell.gcra.give_back(&taken, || self.clock.monotonic_ns());
            }
            return Err(too_many("connection", *rate, exceeded.retry_after_ns));
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
