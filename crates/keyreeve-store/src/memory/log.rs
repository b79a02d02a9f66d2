//! The audit log of a store in memory.

use keyreeve_core::{
    audit::{AuditEntry, CheckpointSigner, Frontier},
    name::ProjectName,
};
use keyreeve_engine::store::{
    AuditFilter, AuditRecord, ListPage, PageRequest, Receipt, SequencedEntry, StoreError,
};

use crate::{cursor, log_head::LogHead};

/// Entries as they were recorded, and the tree heads over them.
pub(super) struct Log {
    head: LogHead,
    signer: CheckpointSigner,
    records: Vec<AuditRecord>,
    kept: Vec<String>,
    latest: String,
}

impl Log {
    /// An empty log.
    pub(super) fn new(signer: CheckpointSigner) -> Self {
        let mut head = LogHead::new(Frontier::default(), 0);
        let latest = head.seal(&signer).note;
        Self { head, signer, records: Vec::new(), kept: Vec::new(), latest }
    }

    /// Entries so far.
    pub(super) fn size(&self) -> u64 {
        self.head.size()
    }

    /// Records an entry and signs the log anew.
    pub(super) fn append(&mut self, entry: &AuditEntry) -> Receipt {
        let record = self.head.append(entry);
        let receipt = Receipt { seq: record.seq, epoch: self.head.size() };
        self.records.push(record);
        let seal = self.head.seal(&self.signer);
        if seal.keep {
            self.kept.push(seal.note.clone());
        }
        self.latest = seal.note;
        receipt
    }

    /// A project's entries that match, newest first.
    pub(super) fn entries(
        &self,
        project: &ProjectName,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<ListPage<SequencedEntry>, StoreError> {
        let before = cursor::entry_place(page)?.unwrap_or(u64::MAX);
        let limit = cursor::limit(page);
        let mut found = Vec::new();
        for record in self.records.iter().rev().filter(|record| record.seq < before) {
            // Read back from the bytes, so that what comes out is what was recorded.
            let (seq, entry) = AuditEntry::decode(&record.bytes)
                .map_err(|_| StoreError::Damaged(format!("audit entry {}", record.seq)))?;
            if entry.project == *project && matches(filter, &entry) {
                found.push(SequencedEntry { seq, entry });
            }
            if found.len() > limit as usize {
                break;
            }
        }
        Ok(ListPage::from_overfull(found, limit, |last| cursor::of_entry(last.seq)))
    }

    /// At most `limit` entries from position `first` on.
    pub(super) fn records(&self, first: u64, limit: u32) -> Vec<AuditRecord> {
        let from_first = self.records.iter().skip_while(|record| record.seq < first);
        from_first.take(limit as usize).cloned().collect()
    }

    /// The latest tree head.
    pub(super) fn checkpoint(&self) -> &str {
        &self.latest
    }

    /// The kept tree heads, then the latest.
    pub(super) fn checkpoints(&self) -> Vec<String> {
        let mut notes = self.kept.clone();
        if notes.last() != Some(&self.latest) {
            notes.push(self.latest.clone());
        }
        notes
    }
}

fn matches(filter: &AuditFilter, entry: &AuditEntry) -> bool {
    let action_matches = |wanted: &String| match wanted.strip_suffix('*') {
        Some(prefix) if prefix.ends_with('.') => entry.action.starts_with(prefix),
        _ => entry.action == *wanted,
    };
    filter.actor.as_ref().is_none_or(|actor| entry.actor.to_string() == *actor)
        && filter.action.as_ref().is_none_or(action_matches)
        && filter.target.as_ref().is_none_or(|target| entry.target.id == *target)
        && filter.outcome.is_none_or(|outcome| entry.outcome == outcome)
        && filter.since.is_none_or(|since| entry.at >= since)
        && filter.until.is_none_or(|until| entry.at < until)
}
