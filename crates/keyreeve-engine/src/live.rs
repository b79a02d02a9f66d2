//! What verification reads: every key that could be accepted or must be refused by name, in
//! memory, kept in step with the store.
//!
//! Readers never lock. One thread writes, in commit order, after a change is durable and before
//! its author is answered; that order is what makes "when `revoke` returns, the next verify
//! denies" true.

mod key;
mod slots;
mod table;

pub use key::{LiveKey, Seen};
pub use table::LiveTable;
