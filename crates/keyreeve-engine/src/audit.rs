//! Reading the audit. Reading it is audited.

use keyreeve_core::audit::{Checkpoint, ExportHeader, ExportLine, Target};
use serde_json::json;

use crate::{
    Engine, Error, Permit,
    action::{ExportAudit, ReadAudit},
    store::{AuditFilter, ListPage, PageRequest, SequencedEntry, StoreError},
};

const ENTRIES_PER_CHUNK: u32 = 200;

/// An export under way.
#[derive(Debug)]
pub struct AuditExport {
    next: u64,
    end: u64,
    begun: bool,
    /// Signed tree heads up to `end`.
    checkpoints: Vec<String>,
}

impl Engine {
    /// Entries of the caller's project, newest first.
    pub async fn audit_entries(
        &self,
        permit: Permit<'_, ReadAudit>,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<ListPage<SequencedEntry>, Error> {
        let mut entry = permit.entry(self.now(), Target::new("audit", permit.project()));
        if let Some(actor) = &filter.actor {
            entry.details.insert("actor".to_owned(), json!(actor));
        }
        if let Some(action) = &filter.action {
            entry.details.insert("action".to_owned(), json!(action));
        }
        if let Some(target) = &filter.target {
            entry.details.insert("target".to_owned(), json!(target));
        }
        self.begin(permit.project()).commit(entry).await?;
        Ok(self.store.audit_entries(permit.project(), filter, page).await?)
    }

    /// The signed tree head over all entries, and the key that checks it.
    pub async fn audit_checkpoint(
        &self,
        _permit: &Permit<'_, ReadAudit>,
    ) -> Result<(String, &str), Error> {
        let latest = self.store.checkpoint().await?;
        let latest =
            latest.ok_or_else(|| StoreError::Damaged("no signed tree head is stored".into()))?;
        Ok((latest, &self.audit_public_key))
    }

    /// Records that the whole log is about to be read, and fixes where the export ends.
    pub async fn begin_audit_export(
        &self,
        permit: &Permit<'_, ExportAudit>,
    ) -> Result<AuditExport, Error> {
        let entry = permit.entry(self.now(), Target::new("audit", permit.project()));
        self.begin(permit.project()).commit(entry).await?;
        let checkpoints = self.store.checkpoints().await?;
        let end = checkpoints
            .last()
            .and_then(|note| Checkpoint::parse_note(note).ok())
            .ok_or_else(|| StoreError::Damaged("no signed tree head is stored".to_owned()))?
            .size();
        Ok(AuditExport { next: 0, end, begun: false, checkpoints })
    }

    /// The next piece of an export; `None` after the last.
    pub async fn audit_export_chunk(
        &self,
        export: &mut AuditExport,
    ) -> Result<Option<String>, StoreError> {
        if export.next > export.end {
            return Ok(None);
        }
        let mut lines = String::new();
        if !export.begun {
            export.begun = true;
            let header = ExportHeader::new(self.audit_public_key.clone());
            push(&mut lines, &ExportLine::Header(header))?;
        }
        let first = export.next;
        for record in self.store.audit_log(first, ENTRIES_PER_CHUNK).await? {
            if record.seq >= export.end {
                break;
            }
            export.next = record.seq + 1;
            push(&mut lines, &ExportLine::Entry { bytes: record.bytes, leaf: record.leaf })?;
        }
        // Nothing read means nothing left, even where the head promises more: whoever checks the
        // export will find that out.
        if export.next == first || export.next == export.end {
            for note in export.checkpoints.drain(..) {
                push(&mut lines, &ExportLine::Checkpoint(note))?;
            }
            export.next = export.end + 1;
        }
        Ok(Some(lines))
    }
}

fn push(lines: &mut String, line: &ExportLine) -> Result<(), StoreError> {
    let text =
        line.to_line().map_err(|_| StoreError::Damaged("an audit entry is not JSON".to_owned()))?;
    lines.push_str(&text);
    lines.push('\n');
    Ok(())
}
