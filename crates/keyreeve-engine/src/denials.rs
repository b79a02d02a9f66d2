//! Denials that are too many to write one by one.
//!
//! A refused verification and a request with no good credential cost their sender nothing, so
//! each must not cost us a flush to disk. They are counted by what they have in common and
//! recorded in batches: exact counts, bounded memory.

use std::{collections::HashMap, net::IpAddr};

use keyreeve_core::{key::KeyId, name::ProjectName};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

/// How many different kinds are told apart between two flushes; the rest is counted as "other".
const MOST_KINDS: usize = 1000;

/// What denials have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DenialKind {
    /// A verification refused a key.
    Verification {
        /// The key, if its id is one of ours.
        key: Option<KeyId>,
        /// The verdict.
        code: &'static str,
    },
    /// A request came without a good credential.
    Authentication {
        /// Where it came from.
        ip: Option<IpAddr>,
        /// `unauthenticated` or `invalid_credential`.
        code: &'static str,
    },
}

#[derive(Debug, Default)]
pub(crate) struct DenialLedger {
    counts: Mutex<HashMap<(ProjectName, Option<DenialKind>), u64>>,
}

/// Denials of one project since the last flush, most frequent first.
pub(crate) struct DenialBatch {
    pub(crate) project: ProjectName,
    counts: Vec<(Option<DenialKind>, u64)>,
}

impl DenialLedger {
    pub(crate) fn count(&self, project: &ProjectName, kind: DenialKind) {
        self.add(project, Some(kind), 1);
    }

    fn add(&self, project: &ProjectName, kind: Option<DenialKind>, more: u64) {
        let mut counts = self.counts.lock();
        let slot = (project.clone(), kind);
        if let Some(count) = counts.get_mut(&slot) {
            *count += more;
        } else if counts.len() < MOST_KINDS {
            counts.insert(slot, more);
        } else {
            *counts.entry((slot.0, None)).or_default() += more;
        }
    }

    pub(crate) fn drain(&self) -> Vec<DenialBatch> {
        let counts = std::mem::take(&mut *self.counts.lock());
        let mut by_project: HashMap<ProjectName, Vec<(Option<DenialKind>, u64)>> = HashMap::new();
        for ((project, kind), count) in counts {
            by_project.entry(project).or_default().push((kind, count));
        }
        let batch = |(project, mut counts): (_, Vec<_>)| {
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            DenialBatch { project, counts }
        };
        by_project.into_iter().map(batch).collect()
    }

    /// Puts back what could not be recorded, so that the next flush tries again.
    pub(crate) fn restore(&self, batch: DenialBatch) {
        for (kind, count) in batch.counts {
            self.add(&batch.project, kind, count);
        }
    }
}

impl DenialBatch {
    /// What the audit keeps.
    pub(crate) fn details(&self) -> Map<String, Value> {
        let rows = self.counts.iter().map(|(kind, count)| match kind {
            Some(DenialKind::Verification { key, code }) => json!({
                "check": "verification",
                "key": key.map(|id| id.to_string()),
                "code": code,
                "count": count,
            }),
            Some(DenialKind::Authentication { ip, code }) => {
                json!({"check": "authentication", "ip": ip, "code": code, "count": count})
            }
            None => json!({"check": "other", "count": count}),
        });
        Map::from_iter([
            ("total".to_owned(), json!(self.total())),
            ("denials".to_owned(), rows.collect()),
        ])
    }

    fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_and_memory_is_bounded() {
        let ledger = DenialLedger::default();
        let project = ProjectName::default_project();
        for n in 0..3000u16 {
            let [high, low] = n.to_be_bytes();
            let ip = Some(IpAddr::from([198, 51, high, low]));
            ledger.count(&project, DenialKind::Authentication { ip, code: "unauthenticated" });
        }
        assert!(ledger.counts.lock().len() <= MOST_KINDS + 1);
        let batches = ledger.drain();
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].total(), 3000);
        assert!(ledger.drain().is_empty());
        ledger.restore(batches.into_iter().next().unwrap());
        assert_eq!(ledger.drain()[0].total(), 3000, "restored whole");
    }
}
