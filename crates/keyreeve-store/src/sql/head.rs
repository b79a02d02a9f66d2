//! The end of the audit log: checked when the file is opened, moved with every batch.

use keyreeve_core::audit::{
    AuditEntry, CheckpointError, CheckpointSigner, CheckpointVerifier, Frontier, Hash,
};
use keyreeve_engine::store::{AuditRecord, StoreError};

use super::{
    audit::outcome_word,
    failure::Broken,
    query,
    session::{Session, values},
};
use crate::{log_head::LogHead, millis};

/// Why a log cannot be gone on with.
pub(crate) enum Unfit {
    /// Another key than ours signed it.
    OtherSigner,
    /// Its end does not fit together.
    Damaged(String),
    /// The database failed.
    Broken(Broken),
}

impl From<Broken> for Unfit {
    fn from(broken: Broken) -> Self {
        match StoreError::from(broken) {
            StoreError::Damaged(problem) => Self::Damaged(problem),
            error => Self::Broken(error.into()),
        }
    }
}

impl From<Unfit> for Broken {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::OtherSigner => Self::damaged("the audit log was signed with another key"),
            Unfit::Damaged(problem) => Self::damaged(problem),
            Unfit::Broken(broken) => broken,
        }
    }
}

/// Reads the head and refuses a log that is not the signed one. An empty log gets its first head.
///
/// This looks at the end of the log only; the whole of it is for `keyreeve audit verify`.
pub(crate) fn open(session: &mut dyn Session, signer: &CheckpointSigner) -> Result<LogHead, Unfit> {
    let last = last_entry(session)?;
    match stored(session)? {
        Some(stored) => stored.checked(&signer.verifier(), last.as_ref()),
        None if last.is_some() => Err(damaged("there are entries and no checkpoint")),
        None => Ok(begin(session, signer)?),
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

fn damaged(problem: &str) -> Unfit {
    Unfit::Damaged(problem.to_owned())
}

impl Stored {
    /// The head, if everything about the end of the log fits together.
    fn checked(
        &self,
        verifier: &CheckpointVerifier,
        last: Option<&LastEntry>,
    ) -> Result<LogHead, Unfit> {
        let signed = verifier.verify(&self.note).map_err(|error| match error {
            CheckpointError::NotSigned | CheckpointError::OriginMismatch => Unfit::OtherSigner,
            _ => damaged("the checkpoint's signature is not good"),
        })?;
        let frontier = Frontier::from_bytes(&self.frontier)
            .ok_or(damaged("the stored edge of the tree is not one"))?;
        if signed.size() != self.size || frontier.size() != self.size {
            return Err(damaged("the checkpoint is of another size"));
        }
        if signed.root() != frontier.root() {
            return Err(damaged("the checkpoint has another root"));
        }
        if last.map_or(0, |last| last.seq + 1) != self.size {
            return Err(damaged("there are more or fewer entries than were signed"));
        }
        let changed = |last: &LastEntry| Hash::leaf(&last.body).as_bytes()[..] != last.leaf[..];
        if last.is_some_and(changed) {
            return Err(damaged("the last entry was changed"));
        }
        Ok(LogHead::new(frontier, self.kept))
    }
}

fn stored(session: &mut dyn Session) -> Result<Option<Stored>, Broken> {
    let sql = "SELECT size, frontier, note,
                   (SELECT coalesce(max(size), 0) FROM audit_checkpoints) FROM audit_state";
    query::first(session, sql, &[], |columns| {
        Ok(Stored {
            size: columns.count()?,
            frontier: columns.bytes()?.to_vec(),
            note: columns.text()?.to_owned(),
            kept: columns.count()?,
        })
    })
}

fn last_entry(session: &mut dyn Session) -> Result<Option<LastEntry>, Broken> {
    let sql = "SELECT seq, body, leaf FROM audit_entries ORDER BY seq DESC LIMIT 1";
    query::first(session, sql, &[], |columns| {
        Ok(LastEntry {
            seq: columns.count()?,
            body: columns.bytes()?.to_vec(),
            leaf: columns.bytes()?.to_vec(),
        })
    })
}

fn begin(session: &mut dyn Session, signer: &CheckpointSigner) -> Result<LogHead, Broken> {
    let mut head = LogHead::new(Frontier::default(), 0);
    let seal = head.seal(signer);
    session.execute(
        "INSERT INTO audit_state (id, size, frontier, note) VALUES (1, 0, ?1, ?2)",
        &values![head.frontier().to_bytes(), seal.note],
    )?;
    Ok(head)
}

/// Stores an entry at its position.
pub(crate) fn insert(
    session: &mut dyn Session,
    entry: &AuditEntry,
    record: &AuditRecord,
) -> Result<(), Broken> {
    let sql = "INSERT INTO audit_entries
                   (seq, project, at_ms, actor, action, target, outcome, body, leaf)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    session.execute(
        sql,
        &values![
            query::count(record.seq),
            entry.project.as_str(),
            millis::floor(entry.at),
            entry.actor.to_string(),
            &*entry.action,
            &entry.target.id,
            outcome_word(entry.outcome),
            &record.bytes,
            record.leaf.as_bytes(),
        ],
    )?;
    Ok(())
}

/// Stores the head after a batch that began when the log had `before` entries.
pub(crate) fn save(
    session: &mut dyn Session,
    before: u64,
    head: &mut LogHead,
    signer: &CheckpointSigner,
) -> Result<(), Broken> {
    let seal = head.seal(signer);
    let size = query::count(head.size());
    let sql = "UPDATE audit_state SET size = ?1, frontier = ?2, note = ?3 WHERE size = ?4";
    let frontier = head.frontier().to_bytes();
    let moved =
        session.execute(sql, &values![size, frontier, &seal.note, query::count(before),])?;
    if moved != 1 {
        return Err(Broken::damaged("somebody else wrote to the audit log"));
    }
    if seal.keep {
        let sql = "INSERT INTO audit_checkpoints (size, note) VALUES (?1, ?2)";
        session.execute(sql, &values![size, &seal.note])?;
    }
    Ok(())
}

/// Stores the head as it is once more, which shows that something can be written.
pub(crate) fn save_again(session: &mut dyn Session) -> Result<(), Broken> {
    // Twice is as before. A row that is merely set to itself changes no page, and a transaction
    // without changed pages writes nothing.
    for _ in 0..2 {
        if session.execute("UPDATE audit_state SET size = ~size", &[])? != 1 {
            return Err(Broken::damaged("the head of the audit log is gone"));
        }
    }
    Ok(())
}
