//! Connections: outside services that are called with a credential of the vault, by clients who never
//! see it.

mod admit;
mod connection;
mod credential;
mod limits;
mod manage;
mod provider;
mod record;
mod state;

pub use self::{
    admit::{Admitted, CallRefused, Client, ProxyCall},
    connection::{CallLimits, Connection, ConnectionSettings, Patience},
    credential::{Credential, Injection},
    limits::Slot,
    manage::{ConnectionChange, ConnectionSpec},
    record::CallSummary,
};
pub(crate) use self::{
    record::CallLedger,
    state::{ConnectionStates, MadeCredentials},
};
