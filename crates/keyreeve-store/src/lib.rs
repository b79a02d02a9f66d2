//! Backends of the [`Store`](keyreeve_engine::store::Store) trait.
//!
//! An installation runs on [`sqlite::SqliteStore`]; [`memory::MemoryStore`] forgets everything and
//! is for tests. Both pass one conformance suite (feature `conformance`), and so must any further
//! backend.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod cursor;
mod log_head;
pub mod memory;
mod millis;
mod sql;
pub mod sqlite;
