//! The growing end of the audit log, the same for every backend.

use keyreeve_core::audit::{AuditEntry, CheckpointSigner, Frontier, Hash};
use keyreeve_engine::store::AuditRecord;

/// A signed tree head is kept for good once this many entries were added since the last kept
/// one. Between two of them a rewritten entry can only be located to that many.
const KEEP_EVERY: u64 = 1024;

/// Where the log ends, and where it last kept a signed tree head.
#[derive(Clone, Debug)]
pub(crate) struct LogHead {
    frontier: Frontier,
    kept: u64,
}

/// A signed tree head over the whole log.
pub(crate) struct Seal {
    /// The signed note.
    pub(crate) note: String,
    /// Whether it is one to keep when a later one replaces it.
    pub(crate) keep: bool,
}

impl LogHead {
    /// A log whose tree ends in `frontier` and whose last kept tree head has the size `kept`.
    pub(crate) fn new(frontier: Frontier, kept: u64) -> Self {
        Self { frontier, kept }
    }

    /// Entries so far, which is also the next position.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The right edge of the tree.
    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Adds an entry; what comes back is to be stored.
    pub(crate) fn append(&mut self, entry: &AuditEntry) -> AuditRecord {
        let seq = self.frontier.size();
        let bytes = entry.encode(seq);
        let leaf = Hash::leaf(&bytes);
        self.frontier.push(leaf);
        AuditRecord { seq, bytes, leaf }
    }

    /// Signs the log as it is now.
    pub(crate) fn seal(&mut self, signer: &CheckpointSigner) -> Seal {
        let size = self.size();
        let keep = size.saturating_sub(self.kept) >= KEEP_EVERY;
        if keep {
            self.kept = size;
        }
        Seal { note: signer.sign(size, self.frontier.root()), keep }
    }
}
