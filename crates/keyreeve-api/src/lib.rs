//! The wire: request and answer types, the table of error codes, and a typed client.
//!
//! Types ending in `Request` come in, types ending in `View` go out. Both directions are derived
//! on each, so the server, the client, the tests and the OpenAPI document share one definition.

mod client;
mod error;
mod problem;
mod wire;

pub use client::{
    AuditExport, BackendFaultView, BackendView, Client, ClientError, Endpoint, PathExplanation,
    Promoted, Rekey, SealStatusView, SecretAbout, SecretBounds, SecretFields, SecretMetadataView,
    SecretVersionView, SecretView, SyncedView, Token, VaultKeyView, WriteHow, field_text,
};
pub use error::ErrorCode;
pub use problem::{FieldProblem, Problem};
pub use wire::*;
