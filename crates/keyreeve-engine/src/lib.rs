//! Use-cases: the one way in for the API, the command line and the schedulers.
//!
//! The way of every change is the same: authenticate ([`Caller`]), authorise ([`Permit`]), a
//! use-case on [`Engine`], and a [`store::Tx`] whose commit takes the audit entry by value.
//! Verification takes the same first two steps and then reads only memory.

mod audit;
mod authenticate;
mod bootstrap;
mod caller;
mod denials;
mod engine;
mod environments;
mod error;
mod idempotency;
pub mod keys;
mod keyspaces;
pub mod live;
mod owners;
mod permit;
mod projects;
mod roles;
mod sources;
pub mod store;
mod usage;
mod verify;

pub use audit::AuditExport;
pub use authenticate::AuthenticationError;
pub use bootstrap::FirstKey;
pub use caller::{Caller, RequestId, RequestMeta};
pub use engine::{Engine, EngineOptions};
pub use environments::EnvironmentSpec;
pub use error::{Error, FieldError};
pub use idempotency::{Idempotency, IdempotencyKey, Sealer};
pub use keyspaces::{KeyspaceChange, KeyspaceSpec, Life};
pub use owners::{OwnerChange, OwnerSpec};
pub use permit::{Action, Denied, Permit, Scope, action};
pub use projects::CreatedProject;
pub use roles::{RoleChange, RoleRecord, RoleSpec};
pub use sources::{Clock, Entropy, EntropyFailed};
pub use verify::{Verdict, VerifyInput};
