//! Connections: outside services that are called with a credential of the vault, by clients who never
//! see it.

mod admit;
mod client_token;
mod connection;
mod cost;
mod credential;
mod limits;
mod manage;
mod place;
mod probe;
mod provider;
mod record;
mod state;

pub use self::{
    admit::{Admitted, CallRefused, Client, ProxyCall},
    client_token::{ClientToken, ClientTokenSpec, IssuedClientToken},
    connection::{CacheRules, CacheScope, CallLimits, Connection, ConnectionSettings, Patience},
    cost::CallCost,
    credential::{Credential, Injection},
    limits::{Slot, Spent},
    manage::{ConnectionChange, ConnectionSpec},
    place::{Place, PlaceRef},
    probe::{Ask, CallProbe, Encryption, Expected, Probe, ProbeSpec, Probed, Protocol, SignIn},
    record::{CallSummary, StoredCall},
};
pub(crate) use self::{
    credential::Values,
    record::CallLedger,
    state::{ConnectionStates, MadeCredentials},
};
