//! What is known of each provider, read from the files of `catalog/`: data with a schema, checked
//! when the program is built, and again when a user adds files of their own.

mod auth;
mod catalog;
mod check;
mod embedded;
mod judge;
mod liveness;
mod load;
mod pattern;
mod place;
mod provider;
mod template;

pub use self::{
    auth::{Auth, AuthMethod, ClientAuth, HmacHash, HmacMethod, SignatureEncoding, SshProof},
    catalog::{Catalog, Known},
    judge::{Judgement, Objection, Place as CredentialPlace},
    liveness::*,
    load::LARGEST_FILE,
    pattern::Pattern,
    place::Mistake,
    provider::*,
    template::{Part, Template},
};

#[cfg(test)]
mod tests;
