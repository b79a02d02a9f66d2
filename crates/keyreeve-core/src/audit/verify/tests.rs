use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::{
    audit::{Actor, Outcome, Target},
    name::ProjectName,
};

struct Log {
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
}

impl Log {
    fn of(size: u64) -> Self {
        let entries: Vec<_> = (0..size).map(|seq| entry(seq, "key.create")).collect();
        let leaves = entries.iter().map(|bytes| Hash::leaf(bytes)).collect();
        Self { entries, leaves }
    }

    fn head(&self, size: usize) -> Checkpoint {
        let root = super::super::root(&self.leaves[..size]);
        Checkpoint::new("keyreeve/test", size as u64, root).unwrap()
    }

    fn check(&self, heads: &[usize], original: &Self, with_leaves: bool) -> Report {
        let heads: Vec<_> = heads.iter().map(|size| original.head(*size)).collect();
        let mut verifier = LogVerifier::new(heads);
        for (seq, (bytes, leaf)) in self.entries.iter().zip(&self.leaves).enumerate() {
            verifier.entry(seq as u64, bytes, with_leaves.then_some(leaf));
        }
        verifier.finish()
    }
}

fn entry(seq: u64, action: &'static str) -> Vec<u8> {
    AuditEntry {
        at: Timestamp::UNIX_EPOCH,
        project: ProjectName::default_project(),
        actor: Actor::Anonymous,
        action: action.into(),
        target: Target::new("api_key", seq),
        outcome: Outcome::Done,
        reason: None,
        request: None,
        details: Map::new(),
    }
    .encode(seq)
}

#[test]
fn an_untouched_log_is_intact() {
    let log = Log::of(20);
    let report = log.check(&[3, 20], &log, true);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.size, 20);
    assert_eq!(report.root, log.head(20).root());
    assert!(log.check(&[20], &log, false).is_intact());
    assert!(Log::of(0).check(&[0], &Log::of(0), true).is_intact());
}

#[test]
fn a_rewritten_entry_with_a_rewritten_leaf_is_found_between_heads() {
    let original = Log::of(20);
    let mut log = Log::of(20);
    log.entries[7] = entry(7, "key.revoke");
    log.leaves[7] = Hash::leaf(&log.entries[7]);
    let report = log.check(&[5, 10, 20], &original, true);
    assert_eq!(report.faults, [Fault::NotAsSigned { first: 5, last: 9 }]);
}

#[test]
fn truncation_before_a_head_is_found() {
    let original = Log::of(20);
    let report = Log::of(15).check(&[10, 20], &original, true);
    assert_eq!(report.faults, [Fault::Missing { first: 15, last: 19 }]);
}

#[test]
fn entries_after_the_last_head_are_reported() {
    let log = Log::of(20);
    let report = log.check(&[18], &log, true);
    assert_eq!(report.faults, [Fault::Unsigned { first: 18, last: 19 }]);
}

#[test]
fn a_fork_is_found() {
    let log = Log::of(4);
    let other = Checkpoint::new("keyreeve/test", 4, Hash::empty()).unwrap();
    let verifier = LogVerifier::new([log.head(4), other]);
    assert!(!verifier.finish().is_intact());
}

proptest! {
    #[test]
    fn any_flipped_byte_is_found_and_named(
        seq in 0usize..20, at: prop::sample::Index, bit in 0u8..8,
    ) {
        let original = Log::of(20);
        let mut log = Log::of(20);
        let at = at.index(log.entries[seq].len());
        log.entries[seq][at] ^= 1 << bit;
        let report = log.check(&[20], &original, true);
        prop_assert_eq!(&report.faults[0], &Fault::Changed { seq: seq as u64 });
    }

    #[test]
    fn any_swap_or_removal_is_found(a in 0usize..20, b in 0usize..20, remove: bool) {
        prop_assume!(a != b);
        let original = Log::of(20);
        let mut log = Log::of(20);
        if remove {
            log.entries.remove(a);
            log.leaves.remove(a);
        } else {
            log.entries.swap(a, b);
            log.leaves.swap(a, b);
        }
        prop_assert!(!log.check(&[20], &original, true).is_intact());
    }
}
