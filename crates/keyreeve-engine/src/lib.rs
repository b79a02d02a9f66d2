//! Use-cases: the one way in for the API, the command line and the schedulers.
//!
//! The way of every change is the same: authenticate ([`Caller`]), authorise ([`Permit`]), a
//! use-case on [`Engine`], and a [`store::Tx`] whose commit takes the audit entry by value.
//! Verification takes the same first two steps and then reads only memory.

mod abuse;
mod admission;
mod audit;
mod authenticate;
mod bootstrap;
mod caller;
mod cells;
mod claims;
pub mod connections;
mod countries;
mod degradation;
mod denials;
mod engine;
mod environments;
mod error;
mod fingerprint;
mod forgetting;
mod idempotency;
pub mod keys;
mod keyspaces;
pub mod live;
mod owners;
mod permit;
mod projects;
mod read_through;
mod roles;
pub mod shared_counts;
mod sources;
pub mod store;
mod thread;
mod usage;
pub mod vault;
mod verify;
mod waiting;
pub mod webhooks;

pub use admission::{ServiceLimits, TooMany};
pub use audit::AuditExport;
pub use authenticate::AuthenticationError;
pub use bootstrap::FirstKey;
pub use caller::{Caller, RequestId, RequestMeta};
pub use countries::Countries;
pub use engine::{Engine, EngineOptions, SharedCounting};
pub use environments::EnvironmentSpec;
pub use error::{Error, FieldError};
pub use idempotency::{Idempotency, IdempotencyKey, Sealer};
pub use keyspaces::{KeyspaceChange, KeyspaceSpec, Life};
pub use owners::{OwnerChange, OwnerSpec};
pub use permit::{Action, Denied, Permit, Scope, action};
pub use projects::CreatedProject;
pub use roles::{RoleChange, RoleRecord, RoleSpec};
pub use sources::{Clock, Entropy, EntropyFailed};
pub use thread::PerThread;
pub use verify::{
    CheckOutcome, Cost, Explanation, Lease, LimitLevel, QuotaState, Reservation, ReservationId,
    Reserve, Simulation, Verdict, VerifyInput,
};
