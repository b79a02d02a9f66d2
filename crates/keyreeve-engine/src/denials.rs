//! Denials that are too many to write one by one.
//!
//! A refused verification and a request with no good credential cost their sender nothing, so
//! each must not cost us a flush to disk. They are counted by what they have in common and
//! recorded in batches: exact counts, bounded memory, bounded entries.

use std::{collections::HashMap, net::IpAddr};

use keyreeve_core::{key::KeyId, name::ProjectName};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{cells::AddressGroup, fingerprint::Fingerprint};

/// How many different kinds a project and check can tell apart between two flushes; the rest is
/// counted together. Each has a budget of its own, so that noise about one hides nothing of
/// another.
const MOST_KINDS: usize = 50;

/// What denials have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DenialKind {
    /// A verification refused a key.
    Verification {
        /// The key, if its id is one of ours.
        key: Option<KeyId>,
        /// The verdict.
        code: &'static str,
        /// Tells unknown texts apart without holding any.
        fingerprint: Option<Fingerprint>,
    },
    /// An address showed too many bad keys and is locked out.
    Lockout {
        /// Which.
        ip: Option<IpAddr>,
        /// `verification` or `authentication`.
        of: &'static str,
    },
    /// A request was one too many for the service.
    Admission {
        /// The key it came with; `None` without one.
        key: Option<KeyId>,
        /// Where it came from.
        ip: Option<IpAddr>,
        /// The limit that was reached.
        limit: &'static str,
    },
    /// A call through a connection was refused.
    Call {
        /// The key it came with.
        key: Option<KeyId>,
        /// The connection; `None` if there is none of the name that was asked for.
        connection: Option<String>,
        /// Why.
        code: &'static str,
    },
    /// A request came without a credential that lets it in.
    Authentication {
        /// Where it came from.
        ip: Option<IpAddr>,
        /// What it was answered.
        code: &'static str,
    },
}

#[derive(Debug, Default)]
pub(crate) struct DenialLedger {
    batches: Mutex<HashMap<(ProjectName, &'static str), Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    kinds: HashMap<DenialKind, u64>,
    others: u64,
}

/// Denials of one project by one check since the last flush.
pub(crate) struct DenialBatch {
    pub(crate) project: ProjectName,
    check: &'static str,
    counts: Counts,
}

impl DenialLedger {
    pub(crate) fn count(&self, project: &ProjectName, kind: DenialKind) {
        let kind = kind.grouped();
        let mut batches = self.batches.lock();
        batches.entry((project.clone(), kind.check())).or_default().add(kind, 1);
    }

    pub(crate) fn drain(&self) -> Vec<DenialBatch> {
        let batches = std::mem::take(&mut *self.batches.lock());
        batches
            .into_iter()
            .map(|((project, check), counts)| DenialBatch { project, check, counts })
            .collect()
    }

    /// Puts back what could not be recorded, so that the next flush tries again.
    pub(crate) fn restore(&self, batch: DenialBatch) {
        let mut batches = self.batches.lock();
        let counts = batches.entry((batch.project, batch.check)).or_default();
        counts.others += batch.counts.others;
        for (kind, count) in batch.counts.kinds {
            counts.add(kind, count);
        }
    }
}

impl DenialKind {
    fn check(&self) -> &'static str {
        match self {
            Self::Verification { .. } => "verification",
            Self::Lockout { .. } => "lockout",
            Self::Admission { key: Some(_), .. } => "admission",
            // Apart: noise from nowhere must not hide what keys do.
            Self::Admission { key: None, .. } => "anonymous",
            Self::Call { .. } => "call",
            Self::Authentication { .. } => "authentication",
        }
    }

    /// One subscriber has 2^64 IPv6 addresses: they count as one.
    fn grouped(self) -> Self {
        match self {
            Self::Authentication { ip: Some(ip), code } => {
                Self::Authentication { ip: Some(AddressGroup::of(ip).address()), code }
            }
            Self::Admission { key, ip: Some(ip), limit } => {
                Self::Admission { key, ip: Some(AddressGroup::of(ip).address()), limit }
            }
            Self::Lockout { ip: Some(ip), of } => {
                Self::Lockout { ip: Some(AddressGroup::of(ip).address()), of }
            }
            other => other,
        }
    }

    fn row(&self, count: u64) -> Value {
        match self {
            Self::Verification { key, code, fingerprint: None } => {
                json!({"key": key.map(|id| id.to_string()), "code": code, "count": count})
            }
            Self::Verification { code, fingerprint: Some(fingerprint), .. } => {
                json!({"fingerprint": fingerprint.to_string(), "code": code, "count": count})
            }
            Self::Lockout { ip, of } => json!({"ip": ip, "of": of, "count": count}),
            Self::Admission { key: Some(key), ip, limit } => {
                json!({"key": key.to_string(), "ip": ip, "limit": limit, "count": count})
            }
            Self::Admission { key: None, ip, limit } => {
                json!({"ip": ip, "limit": limit, "count": count})
            }
            Self::Call { key, connection, code } => json!({
                "key": key.map(|id| id.to_string()), "connection": connection, "code": code,
                "count": count
            }),
            Self::Authentication { ip, code } => json!({"ip": ip, "code": code, "count": count}),
        }
    }
}

impl Counts {
    fn add(&mut self, kind: DenialKind, more: u64) {
        if let Some(count) = self.kinds.get_mut(&kind) {
            *count += more;
        } else if self.kinds.len() < MOST_KINDS {
            self.kinds.insert(kind, more);
        } else {
            self.others += more;
        }
    }

    fn total(&self) -> u64 {
        self.kinds.values().sum::<u64>() + self.others
    }
}

impl DenialBatch {
    /// What the audit keeps, most frequent first.
    pub(crate) fn details(&self) -> Map<String, Value> {
        let mut kinds: Vec<_> = self.counts.kinds.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let rows = kinds.into_iter().map(|(kind, count)| kind.row(*count)).collect();
        Map::from_iter([
            ("check".to_owned(), json!(self.check)),
            ("total".to_owned(), json!(self.counts.total())),
            ("denials".to_owned(), rows),
            ("others".to_owned(), json!(self.counts.others)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn counts_are_exact_and_entries_are_bounded() {
        let ledger = DenialLedger::default();
        let project = ProjectName::default_project();
        for n in 0..3000u16 {
            let [high, low] = n.to_be_bytes();
            let ip = Some(IpAddr::from([198, 51, high, low]));
            ledger.count(&project, DenialKind::Authentication { ip, code: "unauthenticated" });
        }
        let hidden = DenialKind::Verification { key: None, code: "NOT_FOUND", fingerprint: None };
        ledger.count(&project, hidden);
        let batches = ledger.drain();
        assert_eq!(batches.len(), 2, "noise about one check hides nothing of the other");
        let noise = batches.iter().find(|batch| batch.check == "authentication").unwrap();
        assert_eq!(noise.counts.total(), 3000);
        assert!(serde_json::to_string(&noise.details()).unwrap().len() < 8192);
        assert!(ledger.drain().is_empty());
        for batch in batches {
            ledger.restore(batch);
        }
        let again: u64 = ledger.drain().iter().map(|batch| batch.counts.total()).sum();
        assert_eq!(again, 3001, "restored whole");
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one() {
        let ledger = DenialLedger::default();
        let project = ProjectName::default_project();
        for n in 0..100u128 {
            let ip = Some(IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) | n)));
            ledger.count(&project, DenialKind::Authentication { ip, code: "unauthenticated" });
        }
        let batches = ledger.drain();
        assert_eq!(batches[0].counts.kinds.len(), 1);
        assert_eq!(batches[0].counts.total(), 100);
    }
}
