//! Secrets in the files of other tools: what is read when secrets are taken over, and what is
//! written for tools that cannot ask for them.
//!
//! Everything here is text in, text out: which files and which secrets is for the commands to say.

pub(crate) mod dotenv;
pub(crate) mod export;
pub(crate) mod structured;
