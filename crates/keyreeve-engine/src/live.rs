//! What verification reads: every key that could be accepted or must be refused by name, in
//! memory, kept in step with the store.
//!
//! Readers never lock. One thread writes, in commit order, after a change is durable and before
//! its author is answered; that order is what makes "when `revoke` returns, the next verify
//! denies" true.

mod bounds;
mod counters;
mod imported;
mod key;
mod key_index;
mod residence;
#[cfg(test)]
mod sample;
mod shape;
mod slots;
mod table;
mod tier;

pub(crate) use bounds::{BoundLimit, KeyBounds, Place};
pub(crate) use counters::{Counters, LimitCell};
pub(crate) use imported::{Found, MOST_CANDIDATES};
pub use key::{LiveKey, Seen};
pub use table::LiveTable;
pub(crate) use table::{KeyRead, Lookup};
pub use tier::Tier;
