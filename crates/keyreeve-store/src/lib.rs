//! Backends of the [`Store`](keyreeve_engine::store::Store) trait.
//!
//! An installation runs on one SQLite file ([`sqlite`]) or, with any number of nodes, on one PostgreSQL
//! database ([`postgres`]); [`memory::MemoryStore`] forgets everything and is for tests. All pass one
//! conformance suite (feature `conformance`), and so must any further backend. [`transfer`] copies from
//! one database to another, and [`valkey`] is where nodes count together.

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
