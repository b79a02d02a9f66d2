//! The tamper-evident record: entries, the Merkle tree over them, signed tree heads, and the
//! check that anyone holding the public key can make offline.
//!
//! Entry `n` (counted from 0) is leaf `n` of one RFC 6962 tree per installation. A checkpoint is
//! a signed tree head; any later tree can be proven to extend it.

mod checkpoint;
mod entry;
mod export;
mod hash;
mod tree;
mod verify;

pub use checkpoint::{Checkpoint, CheckpointError, CheckpointSigner, CheckpointVerifier};
pub use entry::{Actor, AuditEntry, MalformedEntry, Outcome, RequestOrigin, Target};
pub use export::{ExportHeader, ExportLine, MalformedExport};
pub use hash::Hash;
pub use tree::{
    Frontier, ProofError, consistency_proof, inclusion_proof, root, verify_consistency,
    verify_inclusion,
};
pub use verify::{Fault, LogVerifier, Report};
