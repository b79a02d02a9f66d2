//! What the databases have in common: statements, and rows as values of the domain.
//!
//! A backend brings a [`session::Session`] and its schema; what is asked of it and how rows are
//! read stands here once. Why: `docs/adr/0010-postgresql.md`.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod calls;
pub(crate) mod columns;
pub(crate) mod commands;
pub(crate) mod duties;
pub(crate) mod failure;
pub(crate) mod head;
mod key_rows;
pub(crate) mod keys;
mod lifecycle;
pub(crate) mod query;
pub(crate) mod quota;
pub(crate) mod readers;
pub(crate) mod replay;
mod rows;
pub(crate) mod session;
pub(crate) mod store;
pub(crate) mod tenancy;
pub(crate) mod vault;
pub(crate) mod webhooks;
