//! The pure domain of Keyreeve.
//!
//! Everything here is a value or a function of its arguments: no IO, no clock, no randomness,
//! no async. Time arrives as [`jiff::Timestamp`], entropy as byte arrays. That is what lets each
//! law be a property test and each state machine be driven by hand.

pub mod audit;
pub mod client_address;
pub mod duration;
pub mod egress;
pub mod encoding;
mod invalid;
pub mod key;
pub mod lifecycle;
pub mod limit;
pub mod model;
pub mod name;
pub mod percentage;
pub mod permission;
pub mod quota;
pub mod restriction;
pub mod role;
mod secret;
pub mod signature;
pub mod suggestion;
pub mod vault;
pub mod verdict;
pub mod webhook;

pub use invalid::Invalid;
pub use secret::Secret;
