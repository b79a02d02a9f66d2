//! Copying a whole installation from one database to another: SQLite to PostgreSQL and back.
//!
//! Both sides are walked along in the order of their keys; what the copy lacks is written, what
//! differs is overwritten, what is too much is removed. So a copy that was broken off is gone on
//! with, and one that is behind catches up. The audit log only grows, so it is copied from where
//! the copy ends. It comes first and the signed head over it last: in between the two do not fit, and
//! no server opens the copy. At the end everything is counted, and every entry of the copy is checked
//! against the signed heads.

mod error;
mod rows;
mod sides;
mod tables;

use std::cmp::Ordering;

use keyreeve_core::audit::{Checkpoint, CheckpointVerifier, Hash, LogVerifier};

use self::{
    rows::{PAGE, Pages, Row},
    tables::{CHECKPOINTS, ENTRIES, HEAD, TABLES, Table},
};
use crate::sql::{
    audit, query,
    session::{Transacting, Value},
};

pub use self::{
    error::TransferError,
    sides::{Source, Target},
};

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Each table with how many rows it has, on both sides.
    pub tables: Vec<(&'static str, u64)>,
    /// Rows that were written or removed.
    pub changed: u64,
    /// Entries of the audit log, each of them checked.
    pub entries: u64,
    /// The root of the tree over them, in base64.
    pub root: String,
    /// The signed head over them.
    pub checkpoint: String,
}

/// How far the copying is: so many of so many rows.
pub type OnProgress<'p> = dyn FnMut(u64, u64) + 'p;

/// What the audit log is checked against.
#[derive(Debug)]
pub struct Proof {
    /// The key it is signed with.
    pub verifier: CheckpointVerifier,
    /// A head that was kept outside the database, which the log must still hold.
    pub anchor: Option<Checkpoint>,
}

/// Makes the target a copy of the source as it is at this moment, and checks it.
///
/// # Errors
///
/// A side fails; the target holds something else; or what was copied is not what was signed. Then no
/// server opens the target.
pub fn copy(
    source: &mut Source,
    target: &mut Target,
    proof: &Proof,
    progress: &mut OnProgress<'_>,
) -> Result<Copied, TransferError> {
    let copied = prepare(source, target, proof, progress)?;
    finish(source, target)?;
    Ok(copied)
}

/// Copies and checks everything but the head of the log, without which no server opens the target.
///
/// # Errors
///
/// As of [`copy`].
pub fn prepare(
    source: &mut Source,
    target: &mut Target,
    proof: &Proof,
    progress: &mut OnProgress<'_>,
) -> Result<Copied, TransferError> {
    source.hold_on()?;
    let mut transfer = Transfer {
        from: source.session(),
        to: target.session(),
        progress,
        done: 0,
        all: 0,
        changed: 0,
    };
    for table in TABLES.iter().chain([&ENTRIES, &CHECKPOINTS]) {
        transfer.all += rows::count(transfer.from, table)?;
    }
    // First: from here to the end the log does not fit its head.
    let last = transfer.last_in_common()?;
    transfer.add_entries(last)?;
    let mut surplus = Vec::new();
    for table in TABLES.iter().chain([&CHECKPOINTS]) {
        surplus.push((table, transfer.reconcile(table)?));
    }
    for (table, rows) in surplus.into_iter().rev() {
        transfer.remove(table, &rows)?;
    }
    transfer.check(proof)
}

/// Copies the head of the log, after which servers open the target. The source must be as it was when
/// everything else was copied: its log must have no more entries.
///
/// # Errors
///
/// A side fails.
pub fn finish(source: &mut Source, target: &mut Target) -> Result<(), TransferError> {
    let mut transfer = Transfer {
        from: source.session(),
        to: target.session(),
        progress: &mut |_, _| {},
        done: 0,
        all: 0,
        changed: 0,
    };
    let surplus = transfer.reconcile(&HEAD)?;
    transfer.remove(&HEAD, &surplus)
}

/// A copy being made.
struct Transfer<'t, 'p> {
    from: &'t mut dyn Transacting,
    to: &'t mut dyn Transacting,
    progress: &'t mut OnProgress<'p>,
    done: u64,
    all: u64,
    changed: u64,
}

impl Transfer<'_, '_> {
    /// The last entry of the copy, which must be one of the source.
    fn last_in_common(&mut self) -> Result<Option<Row>, TransferError> {
        let columns = ENTRIES.columns.join(", ");
        let sql = format!("SELECT {columns} FROM audit_entries ORDER BY seq DESC LIMIT 1");
        let last = query::first(self.to, &sql, &[], rows::row)?;
        let Some(last) = last else { return Ok(None) };
        let sql = format!("SELECT {columns} FROM audit_entries WHERE seq = ?1");
        let there = query::first(self.from, &sql, &last[..1], rows::row)?;
        if there.as_ref() == Some(&last) { Ok(Some(last)) } else { Err(TransferError::OtherLog) }
    }

    /// Writes the rows that the copy lacks or has otherwise; gives those that it has too many.
    fn reconcile(&mut self, table: &Table) -> Result<Vec<Row>, TransferError> {
        let (mut from, mut to) = (Pages::of(table), Pages::of(table));
        let (mut missing, mut surplus) = (Vec::new(), Vec::new());
        loop {
            let (row, copy) = (from.peek(self.from)?, to.peek(self.to)?);
            let order = match (row, copy) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(row), Some(copy)) => rows::compare(table, row, copy),
            };
            let row = if order.is_le() { from.pop() } else { None };
            let copy = if order.is_ge() { to.pop() } else { None };
            match (row, copy) {
                (None, copy) => surplus.extend(copy),
                (row, copy) if row == copy => self.step(1),
                (row, _) => missing.extend(row),
            }
            if missing.len() >= PAGE {
                self.write(table, &mut missing)?;
            }
        }
        self.write(table, &mut missing)?;
        Ok(surplus)
    }

    /// Adds the entries after the last one of the copy.
    fn add_entries(&mut self, last: Option<Row>) -> Result<(), TransferError> {
        let known = last.as_ref().and_then(|last| match last[0] {
            Value::Number(seq) => u64::try_from(seq + 1).ok(),
            _ => None,
        });
        self.step(known.unwrap_or_default());
        let mut from = Pages::of(&ENTRIES).after(last);
        let mut missing = Vec::new();
        while from.peek(self.from)?.is_some() {
            missing.extend(from.pop());
            if missing.len() >= PAGE {
                self.write(&ENTRIES, &mut missing)?;
            }
        }
        self.write(&ENTRIES, &mut missing)
    }

    /// Writes rows in one transaction.
    fn write(&mut self, table: &Table, rows: &mut Vec<Row>) -> Result<(), TransferError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.to.begin_writing()?;
        rows::write(self.to, table, rows)?;
        self.to.commit()?;
        self.changed += count_of(rows);
        self.step(count_of(rows));
        rows.clear();
        Ok(())
    }

    /// Removes rows in one transaction.
    fn remove(&mut self, table: &Table, rows: &[Row]) -> Result<(), TransferError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.to.begin_writing()?;
        rows::remove(self.to, table, rows)?;
        self.to.commit()?;
        self.changed += count_of(rows);
        Ok(())
    }

    /// Counts everything on both sides, and checks each entry of the copy against all signed heads.
    fn check(&mut self, proof: &Proof) -> Result<Copied, TransferError> {
        let mut tables = Vec::new();
        for table in TABLES.iter().chain([&ENTRIES, &CHECKPOINTS]) {
            let there = rows::count(self.from, table)?;
            let copied = rows::count(self.to, table)?;
            if there != copied {
                return Err(TransferError::Incomplete { table: table.name, there, copied });
            }
            tables.push((table.name, copied));
        }
        let damaged = |problem: &dyn ToString| TransferError::Damaged(problem.to_string());
        let mut heads: Vec<Checkpoint> = proof.anchor.iter().cloned().collect();
        // The source's: the copy has no latest one yet.
        let notes = audit::checkpoints(self.from)?;
        for note in &notes {
            heads.push(proof.verifier.verify(note).map_err(|error| damaged(&error))?);
        }
        let mut log = LogVerifier::new(heads);
        let sql = "SELECT seq, body, leaf FROM audit_entries ORDER BY seq";
        self.to.each(sql, &[], &mut |columns| {
            let (seq, body) = (columns.count()?, columns.bytes()?);
            log.entry(seq, body, Some(&Hash::from_bytes(columns.bytes_32()?)));
            Ok(())
        })?;
        let report = log.finish();
        if let Some(fault) = report.faults.first() {
            return Err(damaged(fault));
        }
        (self.progress)(self.all, self.all);
        Ok(Copied {
            tables,
            changed: self.changed,
            entries: report.size,
            root: report.root.to_base64(),
            checkpoint: notes.last().cloned().unwrap_or_default(),
        })
    }

    fn step(&mut self, rows: u64) {
        self.done += rows;
        // Not at each row: telling takes longer than comparing.
        if rows > 1 || self.done.is_multiple_of(1_000) {
            (self.progress)(self.done.min(self.all), self.all);
        }
    }
}

fn count_of(rows: &[Row]) -> u64 {
    u64::try_from(rows.len()).unwrap_or(u64::MAX)
}
