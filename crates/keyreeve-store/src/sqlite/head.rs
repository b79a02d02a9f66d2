//! The end of the audit log: checked when the file is opened, moved with every batch.

use std::path::Path;

use keyreeve_core::audit::{
    AuditEntry, CheckpointError, CheckpointSigner, CheckpointVerifier, Frontier, Hash,
};
use keyreeve_engine::store::{AuditRecord, StoreError};
use rusqlite::{Connection, params};

use super::{audit::outcome_word, failure::Broken, open_error::OpenError, query};
use crate::{log_head::LogHead, millis};

/// Reads the head and refuses a log that is not the signed one. An empty log gets its first head.
///
/// This looks at the end of the log only; the whole of it is for `keyreeve audit verify`.
pub(super) fn open(
    connection: &Connection,
    signer: &CheckpointSigner,
    path: &Path,
) -> Result<LogHead, OpenError> {
    let unreadable = |broken: Broken| match StoreError::from(broken) {
        StoreError::Damaged(problem) => OpenError::AuditDamaged { path: path.to_owned(), problem },
        error => OpenError::unopenable(path, error),
    };
    let damaged = |problem: &str| OpenError::AuditDamaged {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let last = last_entry(connection).map_err(unreadable)?;
    let Some(stored) = stored(connection).map_err(unreadable)? else {
        if last.is_some() {
            return Err(damaged("there are entries and no checkpoint"));
        }
        return begin(connection, signer).map_err(unreadable);
    };
    match stored.checked(&signer.verifier(), last.as_ref()) {
        Ok(frontier) => Ok(LogHead::new(frontier, stored.kept)),
        Err(Problem::OtherSigner) => Err(OpenError::OtherSigner { path: path.to_owned() }),
        Err(Problem::Damaged(problem)) => Err(damaged(problem)),
    }
}

/// What is stored of the head.
struct Stored {
    size: u64,
    frontier: Vec<u8>,
    note: String,
    kept: u64,
}

/// The last entry: its position, its bytes and the leaf hash beside them.
struct LastEntry {
    seq: u64,
    body: Vec<u8>,
    leaf: Vec<u8>,
}

enum Problem {
    OtherSigner,
    Damaged(&'static str),
}

impl Stored {
    /// The right edge of the tree, if everything about the end of the log fits together.
    fn checked(
        &self,
        verifier: &CheckpointVerifier,
        last: Option<&LastEntry>,
    ) -> Result<Frontier, Problem> {
        let signed = verifier.verify(&self.note).map_err(|error| match error {
            CheckpointError::NotSigned | CheckpointError::OriginMismatch => Problem::OtherSigner,
            _ => Problem::Damaged("the checkpoint's signature is not good"),
        })?;
        let frontier = Frontier::from_bytes(&self.frontier)
            .ok_or(Problem::Damaged("the stored edge of the tree is not one"))?;
        if signed.size() != self.size || frontier.size() != self.size {
            return Err(Problem::Damaged("the checkpoint is of another size"));
        }
        if signed.root() != frontier.root() {
            return Err(Problem::Damaged("the checkpoint has another root"));
        }
        if last.map_or(0, |last| last.seq + 1) != self.size {
            return Err(Problem::Damaged("there are more or fewer entries than were signed"));
        }
        let changed = |last: &LastEntry| Hash::leaf(&last.body).as_bytes()[..] != last.leaf[..];
        if last.is_some_and(changed) {
            return Err(Problem::Damaged("the last entry was changed"));
        }
        Ok(frontier)
    }
}

fn stored(connection: &Connection) -> Result<Option<Stored>, Broken> {
    let sql = "SELECT size, frontier, note,
                   (SELECT coalesce(max(size), 0) FROM audit_checkpoints) FROM audit_state";
    query::first(connection, sql, [], |columns| {
        Ok(Stored {
            size: columns.count()?,
            frontier: columns.bytes()?.to_vec(),
            note: columns.text()?.to_owned(),
            kept: columns.count()?,
        })
    })
}

fn last_entry(connection: &Connection) -> Result<Option<LastEntry>, Broken> {
    let sql = "SELECT seq, body, leaf FROM audit_entries ORDER BY seq DESC LIMIT 1";
    query::first(connection, sql, [], |columns| {
        Ok(LastEntry {
            seq: columns.count()?,
            body: columns.bytes()?.to_vec(),
            leaf: columns.bytes()?.to_vec(),
        })
    })
}

fn begin(connection: &Connection, signer: &CheckpointSigner) -> Result<LogHead, Broken> {
    let mut head = LogHead::new(Frontier::default(), 0);
    let seal = head.seal(signer);
    connection.execute(
        "INSERT INTO audit_state (id, size, frontier, note) VALUES (1, 0, ?1, ?2)",
        params![head.frontier().to_bytes(), seal.note],
    )?;
    Ok(head)
}

/// Stores an entry at its position.
pub(super) fn insert(
    connection: &Connection,
    entry: &AuditEntry,
    record: &AuditRecord,
) -> Result<(), Broken> {
    let sql = "INSERT INTO audit_entries
                   (seq, project, at_ms, actor, action, target, outcome, body, leaf)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(sql)?.execute(params![
        query::count(record.seq),
        entry.project.as_str(),
        millis::floor(entry.at),
        entry.actor.to_string(),
        entry.action,
        entry.target.id,
        outcome_word(entry.outcome),
        record.bytes,
        record.leaf.as_bytes(),
    ])?;
    Ok(())
}

/// Stores the head after a batch that began when the log had `before` entries.
pub(super) fn save(
    connection: &Connection,
    before: u64,
    head: &mut LogHead,
    signer: &CheckpointSigner,
) -> Result<(), Broken> {
    let seal = head.seal(signer);
    let size = query::count(head.size());
    let sql = "UPDATE audit_state SET size = ?1, frontier = ?2, note = ?3 WHERE size = ?4";
    let frontier = head.frontier().to_bytes();
    let moved = connection.prepare_cached(sql)?.execute(params![
        size,
        frontier,
        seal.note,
        query::count(before),
    ])?;
    if moved != 1 {
        return Err(Broken::damaged("somebody else wrote to the audit log"));
    }
    if seal.keep {
        let sql = "INSERT INTO audit_checkpoints (size, note) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![size, seal.note])?;
    }
    Ok(())
}

/// Stores the head as it is once more, which shows that something can be written.
pub(super) fn save_again(connection: &Connection) -> Result<(), Broken> {
    // Twice is as before. A row that is merely set to itself changes no page, and a transaction
    // without changed pages writes nothing.
    let mut flip = connection.prepare_cached("UPDATE audit_state SET size = ~size")?;
    for _ in 0..2 {
        if flip.execute([])? != 1 {
            return Err(Broken::damaged("the head of the audit log is gone"));
        }
    }
    Ok(())
}
