//! The text form of an issued key, and what is kept of it.
//!
//! `<prefix>_<env>_<id>_<secret><check>`, for example
//! `kr_live_4Tn0Zs8QbW1c_…`. Reasons for each part: `docs/adr/0003-key-format.md`.

mod base62;
mod digest;
pub mod foreign;
mod id;
mod token;

pub use digest::{Digester, KeyDigest, Pepper};
pub use foreign::Imported;
pub use id::KeyId;
pub use token::{EnvTag, IssuedToken, MalformedKey, ParsedKey, Token};
