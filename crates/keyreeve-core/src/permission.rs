//! Permissions: what a key may do, and the question whether it may.
//!
//! A permission is dot-separated segments, such as `documents.read`. In a granted permission `*`
//! stands for one or more whole segments. Names under `keyreeve.` open Keyreeve's own API; a
//! wildcard reaches them only when it is written `keyreeve.…`, so a customer's key with `*` can
//! never manage keys.

mod pattern;
mod query;
mod set;

pub use pattern::{Permission, RESERVED_SEGMENT};
pub use query::Query;
pub use set::PermissionSet;
