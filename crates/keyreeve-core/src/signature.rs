//! Signatures that other services ask for or give.

pub mod aws;
