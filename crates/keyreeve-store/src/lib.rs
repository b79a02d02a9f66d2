//! Backends of the [`Store`](keyreeve_engine::store::Store) trait.
//!
//! An installation runs on one SQLite file ([`sqlite`]); [`memory::MemoryStore`] forgets everything and
//! is for tests. Both pass one conformance suite (feature `conformance`), and so must any further
//! backend.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod cursor;
mod gate;
mod log_head;
pub mod memory;
mod millis;
pub mod postgres;
mod sql;
pub mod sqlite;
pub mod transfer;
pub mod valkey;

pub use sql::store::{DatabaseStore, Statistics};
