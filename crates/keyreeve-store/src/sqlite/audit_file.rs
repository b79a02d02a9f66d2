//! Reading the audit log of a database file without a server: for `keyreeve audit verify`.
//!
//! Nothing here trusts the file. It may belong to a running server, to one that was killed, or
//! be a copy on a medium that cannot be written; and somebody may have edited it.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, path::Path};

use keyreeve_core::audit::{AuditEntry, Hash};
use keyreeve_engine::store::StoreError;
use rusqlite::{
    Connection, OpenFlags, Row, ToSql,
    backup::{Backup, StepResult},
    config::DbConfig,
    types::ValueRef,
};

use super::{
    connection::{self, Identity, beside, identify},
    open_error::OpenError,
};
use crate::{
    millis,
    sql::{
        audit::{self, outcome_word},
        failure::Broken,
    },
};

/// The most complaints of SQLite's own check that are passed on.
const MOST_PROBLEMS: u8 = 20;

/// Pages copied between two reports of progress: 4 MiB.
const PAGES_AT_ONCE: i32 = 1_024;

/// The audit log in a database file, as it was at one moment.
pub struct AuditFile {
    connection: Connection,
}

/// One row of the log as it is stored, right or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAuditRow {
    /// Its position.
    pub seq: u64,
    /// The bytes that were hashed.
    pub body: Vec<u8>,
    /// The leaf hash kept beside them; all zeros, which is nobody's, if what is kept is no hash.
    pub leaf: Hash,
    /// The tenant.
    pub project: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who, in the audit's own words.
    pub actor: String,
    /// What.
    pub action: String,
    /// The public name of what it was done to.
    pub target: String,
    /// Whether it was done.
    pub outcome: String,
}

/// How to get at a file.
#[derive(Clone, Copy)]
enum Access {
    /// As any reader does.
    Shared,
    /// Without locks, reading the log beside the file into memory.
    Unlocked,
    /// As a file that nobody can change.
    Immutable,
}

impl AuditFile {
    /// Opens the log in the file at `path` and holds on to the present moment.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let given = path.as_ref();
        let path = given.canonicalize().map_err(|error| OpenError::unopenable(given, error))?;
        match Self::open_by(&path, Access::Shared) {
            Err(OpenError::Unopenable { .. }) => Self::open_unwritable(&path),
            result => result,
        }
    }

    /// The connection, on which the moment is held.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// A reader of a write-ahead log needs an index file beside it and makes one if need be. Where
    /// that cannot be made, no server can be running either, and no locks are needed.
    fn open_unwritable(path: &Path) -> Result<Self, OpenError> {
        if beside(path, "-shm").exists() {
            return Self::open_by(path, Access::Shared);
        }
        let log = beside(path, "-wal").metadata();
        let access = match log {
            Ok(log) if log.len() > 0 => Access::Unlocked,
            _ => Access::Immutable,
        };
        Self::open_by(path, access)
    }

    fn open_by(path: &Path, access: Access) -> Result<Self, OpenError> {
        let failed = |error| OpenError::of_sqlite(path, error);
        let connection = connect(path, access).map_err(failed)?;
        match identify(&connection, path)? {
            Identity::Ours(_) => {}
            Identity::Empty => return Err(OpenError::Foreign { path: path.to_owned() }),
        }
        // One transaction for all that follows: a server that goes on writing must not make the
        // tree heads look newer than the entries.
        connection.execute_batch("BEGIN").map_err(failed)?;
        connection.query_row("SELECT count(*) FROM audit_state", [], |_| Ok(())).map_err(failed)?;
        Ok(Self { connection })
    }

    /// Calls `take` with each row in order of position. On an error, those before the damage
    /// have been seen.
    pub fn for_each(&self, mut take: impl FnMut(RawAuditRow)) -> Result<(), StoreError> {
        // The table itself, not an index that may tell another story.
        let sql = "SELECT seq, body, leaf, project, at_ms, actor, action, target, outcome
                   FROM audit_entries NOT INDEXED ORDER BY seq";
        let mut seen = None;
        self.read_rows(sql, |row| {
            seen = Some(row.seq);
            take(row);
        })
        .map_err(|broken| {
            let place = seen.map_or_else(
                || "at the first entry".to_owned(),
                |seq: u64| format!("after entry {seq}"),
            );
            match StoreError::from(broken) {
                StoreError::Damaged(problem) => StoreError::Damaged(format!("{place}: {problem}")),
                error => error,
            }
        })
    }

    fn read_rows(&self, sql: &str, mut take: impl FnMut(RawAuditRow)) -> Result<(), Broken> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(raw(row)?);
        }
        Ok(())
    }

    /// Every kept signed tree head, smallest first, the latest last.
    pub fn checkpoints(&self) -> Result<Vec<String>, StoreError> {
        Ok(audit::checkpoints(&mut &self.connection)?)
    }

    /// What SQLite finds wrong with the table of entries and its indexes: at most 20 complaints,
    /// none if all is well.
    pub fn integrity_problems(&self) -> Result<Vec<String>, StoreError> {
        self.problems("integrity_check", "audit_entries")
    }

    /// What SQLite finds wrong with the whole file, without comparing indexes with their tables:
    /// at most 20 complaints, none if all is well.
    pub fn database_problems(&self) -> Result<Vec<String>, StoreError> {
        self.problems("quick_check", MOST_PROBLEMS)
    }

    /// Copies the whole database, as it was when this was opened, into a new file that only its
    /// owner can read, and brings it to the disk. A server may go on writing meanwhile. `progress`
    /// is told how many pages are done of how many.
    pub fn copy_to(
        &self,
        path: &Path,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(), StoreError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| StoreError::Backend(error.into()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(path, flags).map_err(Broken::from)?;
        let backup = Backup::new(&self.connection, &mut copy).map_err(Broken::from)?;
        // The transaction that is open on the source keeps it as it was: pages that are written
        // meanwhile do not make this begin anew.
        loop {
            match backup.step(PAGES_AT_ONCE).map_err(Broken::from)? {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(StoreError::Backend("the copy is in use by others".into())),
            }
            let left = backup.progress();
            let count = |pages: i32| u64::try_from(pages).unwrap_or_default();
            progress(count(left.pagecount - left.remaining), count(left.pagecount));
        }
        drop(backup);
        drop(copy);
        file.sync_all().map_err(|error| StoreError::Backend(error.into()))
    }

    fn problems(&self, check: &str, argument: impl ToSql) -> Result<Vec<String>, StoreError> {
        let most = usize::from(MOST_PROBLEMS);
        let mut problems = Vec::new();
        let checked = self.connection.pragma(None, check, argument, |row| {
            let problem = text(row.get_ref(0)?);
            if problem != "ok" && problems.len() < most {
                problems.push(problem);
            }
            Ok(())
        });
        match checked.map_err(Broken::from).map_err(StoreError::from) {
            Ok(()) => Ok(problems),
            // Damage so bad that even the check gives up is a finding, not a failure.
            Err(StoreError::Damaged(problem)) => {
                problems.truncate(most - 1);
                problems.push(problem);
                Ok(problems)
            }
            Err(error) => Err(error),
        }
    }
}

impl RawAuditRow {
    /// Whether the columns say what the body says. Entries are found by their columns, so a
    /// changed column hides an entry whose body is untouched.
    pub fn columns_agree(&self) -> bool {
        let Ok((seq, entry)) = AuditEntry::decode(&self.body) else {
            return false;
        };
        self.seq == seq
            && self.project == entry.project.as_str()
            && self.at_ms == millis::floor(entry.at)
            && self.actor == entry.actor.to_string()
            && self.action == entry.action
            && self.target == entry.target.id
            && self.outcome == outcome_word(entry.outcome)
    }
}

fn connect(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match access {
        Access::Shared => Connection::open_with_flags(path, flags)?,
        Access::Unlocked => {
            let connection = Connection::open_with_flags_and_vfs(path, flags, "unix-none")?;
            // Has SQLite keep the index of the log in memory.
            connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
            connection
        }
        Access::Immutable => {
            Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)?
        }
    };
    // The last one to close a database tidies it up; a reader for evidence must not.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection::configure_reader(&connection)?;
    Ok(connection)
}

/// The path as a URI that says the file cannot change.
fn immutable_uri(path: &Path) -> String {
    use std::{fmt::Write as _, os::unix::ffi::OsStrExt as _};

    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            uri.push(char::from(*byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Takes the row as it is: only a position that is none cannot be passed on.
fn raw(row: &Row<'_>) -> Result<RawAuditRow, Broken> {
    let seq = row.get_ref(0)?.as_i64().ok().and_then(|seq| u64::try_from(seq).ok());
    Ok(RawAuditRow {
        seq: seq.ok_or_else(|| Broken::damaged("an entry has no position"))?,
        body: bytes(row.get_ref(1)?).to_vec(),
        leaf: Hash::from_slice(bytes(row.get_ref(2)?)).unwrap_or(Hash::from_bytes([0; 32])),
        project: text(row.get_ref(3)?),
        // No entry is of this time, so it agrees with none.
        at_ms: row.get_ref(4)?.as_i64().unwrap_or(i64::MIN),
        actor: text(row.get_ref(5)?),
        action: text(row.get_ref(6)?),
        target: text(row.get_ref(7)?),
        outcome: text(row.get_ref(8)?),
    })
}

fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => &[],
    }
}

fn text(value: ValueRef<'_>) -> String {
    String::from_utf8_lossy(bytes(value)).into_owned()
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use keyreeve_engine::store::Store as _;

    use super::*;
    use crate::{
        conformance::{Harness, samples},
        sqlite::{self, SqliteOptions},
    };

    #[test]
    fn nothing_in_a_path_means_anything_in_a_uri() {
        let uri = immutable_uri(Path::new("/data/a b?c#d%e/ä.db"));
        assert_eq!(uri, "file:/data/a%20b%3Fc%23d%25e/%C3%A4.db?immutable=1");
    }

    fn entries(path: &Path, access: Access) -> usize {
        let mut count = 0;
        AuditFile::open_by(path, access).unwrap().for_each(|_| count += 1).unwrap();
        count
    }

    /// Which way in is right depends on what the file system allows, which a test that runs as
    /// root cannot forbid. So each way is tried by name.
    #[tokio::test]
    async fn every_way_in_reads_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.db");
        let options = SqliteOptions { path: path.clone(), readers: 1, queue_limit: 10 };
        let signer = samples::signer(1).unwrap();
        let verifier = signer.verifier();
        let store = Arc::new(sqlite::open(options, signer).unwrap());
        let h = Harness::new(store.clone(), verifier);
        let acme = h.project("acme").await.unwrap();
        h.commit(&acme, Vec::new()).await.unwrap();
        let copy = folder.path().join("copy ü.db");
        fs::copy(&path, &copy).unwrap();
        fs::copy(beside(&path, "-wal"), beside(&copy, "-wal")).unwrap();
        assert_eq!(entries(&copy, Access::Unlocked), 2);
        assert!(!beside(&copy, "-shm").exists(), "nothing is put beside the file");
        assert!(beside(&copy, "-wal").exists(), "nor taken away");
        assert_eq!(entries(&path, Access::Shared), 2);
        store.close().await;
        assert_eq!(entries(&path, Access::Immutable), 2);
        assert!(!beside(&path, "-shm").exists(), "nothing is put beside the file");
    }
}
