//! The things Keyreeve keeps, as plain values. Wire forms live in `keyreeve-api`, rows in
//! `keyreeve-store`; neither shape leaks in here.

mod api_key;
mod keyspace;
mod policy;
mod tenancy;

pub use api_key::{ApiKey, Metadata, Tags};
pub use keyspace::{FailPolicy, Keyspace};
pub use policy::{Policy, PolicyHolder};
pub use tenancy::{Environment, Owner, Project, Role};

/// Counts the stored changes of a thing. A writer that saw revision 3 may only write if it is
/// still 3, so two people changing one key cannot overwrite each other unseen.
pub type Revision = u64;
