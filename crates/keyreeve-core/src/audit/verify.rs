//! Checking a whole log against its signed tree heads.

use std::collections::BTreeMap;

use super::{AuditEntry, Checkpoint, Frontier, Hash};

/// Something wrong with the log. Each names the entry, or the range of entries, it concerns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The entry's bytes are not those that were recorded.
    #[error("entry {seq} was changed after it was recorded")]
    Changed {
        /// Position of the entry.
        seq: u64,
    },
    /// Entries that must be there are not.
    #[error("entries {first} to {last} are missing")]
    Missing {
        /// First missing position.
        first: u64,
        /// Last missing position.
        last: u64,
    },
    /// The entry says it belongs elsewhere.
    #[error("entry {seq} stands in the place of another entry")]
    Misplaced {
        /// Position at which it was found.
        seq: u64,
    },
    /// The entries do not hash to the signed tree head.
    #[error("entries {first} to {last} are not those that were signed")]
    NotAsSigned {
        /// First position that no good tree head covers.
        first: u64,
        /// Last position under the tree head that fails.
        last: u64,
    },
    /// Two tree heads of one size differ: the log was forked.
    #[error("two signed tree heads of size {size} differ")]
    Forked {
        /// Their size.
        size: u64,
    },
    /// No signed tree head covers the last entries.
    #[error("entries {first} to {last} are not covered by a signed tree head")]
    Unsigned {
        /// First uncovered position.
        first: u64,
        /// Last uncovered position.
        last: u64,
    },
}

/// What checking a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Entries read.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
    /// Signed tree heads that were compared.
    pub checkpoints: usize,
    /// Everything wrong, at most 100; empty means that the log is as it was recorded.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether the log is as it was recorded.
    pub fn is_intact(&self) -> bool {
        self.faults.is_empty()
    }
}

const MOST_FAULTS: usize = 100;

/// Reads a log in order and compares it with signed tree heads. Memory stays constant in the
/// number of entries.
pub struct LogVerifier {
    frontier: Frontier,
    heads: BTreeMap<u64, Hash>,
    checkpoints: usize,
    signed_up_to: u64,
    largest_head: u64,
    faults: Vec<Fault>,
}

impl LogVerifier {
    /// `checkpoints` are tree heads whose signatures the caller has checked.
    pub fn new(checkpoints: impl IntoIterator<Item = Checkpoint>) -> Self {
        let mut verifier = Self {
            frontier: Frontier::default(),
            heads: BTreeMap::new(),
            checkpoints: 0,
            signed_up_to: 0,
            largest_head: 0,
            faults: Vec::new(),
        };
        for checkpoint in checkpoints {
            verifier.checkpoints += 1;
            let (size, root) = (checkpoint.size(), checkpoint.root());
            verifier.largest_head = verifier.largest_head.max(size);
            if verifier.heads.insert(size, root).is_some_and(|other| other != root) {
                verifier.fault(Fault::Forked { size });
            }
        }
        verifier.compare_head();
        verifier
    }

    /// Takes the next entry: where it stands, its bytes, and the leaf hash kept beside it.
    ///
    /// With the leaf hash the very entry that was changed can be named; without it, only the
    /// range between two tree heads.
    pub fn entry(&mut self, seq: u64, bytes: &[u8], kept_leaf: Option<&Hash>) {
        let expected = self.frontier.size();
        if seq > expected {
            self.fault(Fault::Missing { first: expected, last: seq - 1 });
            // Without the missing leaves no later tree head can be compared.
            self.heads.clear();
            while self.frontier.size() < seq.min(expected + 1_000_000) {
                self.frontier.push(Hash::empty());
            }
        } else if seq < expected {
            self.fault(Fault::Misplaced { seq });
            return;
        }
        let computed = Hash::leaf(bytes);
        let changed = kept_leaf.is_some_and(|kept| *kept != computed);
        if changed {
            self.fault(Fault::Changed { seq });
        } else {
            match AuditEntry::decode(bytes) {
                Ok((own_seq, _)) if own_seq != seq => self.fault(Fault::Misplaced { seq }),
                Ok(_) => {}
                Err(_) => self.fault(Fault::Changed { seq }),
            }
        }
        // A changed entry is named above; going on from the kept leaf still checks the rest.
        self.frontier.push(kept_leaf.copied().unwrap_or(computed));
        self.compare_head();
    }

    /// Ends the log.
    pub fn finish(mut self) -> Report {
        let size = self.frontier.size();
        if self.largest_head > size {
            self.fault(Fault::Missing { first: size, last: self.largest_head - 1 });
        } else if self.signed_up_to < size && self.faults.is_empty() {
            self.fault(Fault::Unsigned { first: self.signed_up_to, last: size - 1 });
        }
        Report {
            size,
            root: self.frontier.root(),
            checkpoints: self.checkpoints,
            faults: self.faults,
        }
    }

    fn compare_head(&mut self) {
        let size = self.frontier.size();
        let Some(signed) = self.heads.remove(&size) else {
            return;
        };
        if signed == self.frontier.root() {
            self.signed_up_to = size;
        } else if size > 0 {
            let first = self.signed_up_to;
            // One altered leaf breaks every later head; the first says it all.
            self.heads.clear();
            self.fault(Fault::NotAsSigned { first, last: size - 1 });
        }
    }

    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }
}

#[cfg(test)]
mod tests;
