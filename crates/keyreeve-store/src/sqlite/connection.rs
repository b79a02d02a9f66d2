//! Opening the file: whose it is, who may have it, and how SQLite is to treat it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::{migrations, open_error::OpenError};

/// "KRV1": marks a file as Keyreeve's.
pub(super) const APPLICATION_ID: i32 = 0x4B52_5631;

/// FULL: what was acknowledged survives a power cut. Secure deletion: a purged key is gone from
/// the file, too. The limits keep the log beside the file from growing without end. The cache is
/// small: what is written lately is near together, and SQLite walks the whole cache at most commits
/// (`pcache1Truncate`, after a tree was balanced).
const WRITER_PRAGMAS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA busy_timeout = 5000;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -8192;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA journal_size_limit = 67108864;
";

const READER_PRAGMAS: &str = "
    PRAGMA query_only = ON;
    PRAGMA busy_timeout = 5000;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -16384;
";

/// Statements kept prepared per connection: all that the writer has, and for readers those of
/// the filters in use.
const KEPT_STATEMENTS: usize = 128;

/// The file, made if there is none, and the lock that says it is ours.
pub(super) struct Claim {
    /// The file without symbolic links.
    pub(super) path: PathBuf,
    /// Held until dropped, and by the system no longer than the process lives.
    pub(super) lock: File,
}

impl Claim {
    /// Takes the file for this process alone.
    ///
    /// SQLite's own locks only guard single transactions. Two servers on one file would each
    /// extend the audit log as they know it, and one of them would be wrong.
    pub(super) fn stake(path: &Path) -> Result<Self, OpenError> {
        make_private(path).map_err(|error| OpenError::unopenable(path, error))?;
        // Two paths to one file must meet at one lock.
        let path = path.canonicalize().map_err(|error| OpenError::unopenable(path, error))?;
        let lock_path = beside(&path, ".lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| OpenError::unopenable(&lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
            Err(TryLockError::Error(error)) => Err(OpenError::unopenable(&lock_path, error)),
        }
    }
}

/// Makes the file for its owner alone, unless it exists. SQLite gives the files it puts beside it
/// the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The path of a file that belongs to the one at `path`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// What a file is, as far as its header says.
pub(super) enum Identity {
    /// Nothing yet.
    Empty,
    /// Keyreeve's, of this schema.
    Ours(u32),
}

/// Says what the file is, and refuses what is not for this version of this program.
pub(super) fn identify(connection: &Connection, path: &Path) -> Result<Identity, OpenError> {
    let header = |name: &str| {
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        value.map_err(|error| OpenError::of_sqlite(path, error))
    };
    let (application, version) = (header("application_id")?, header("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| OpenError::of_sqlite(path, error))?;
    let foreign = || OpenError::Foreign { path: path.to_owned() };
    if application != APPLICATION_ID {
        return if tables == 0 { Ok(Identity::Empty) } else { Err(foreign()) };
    }
    let found = u32::try_from(version).map_err(|_| foreign())?;
    let known = migrations::newest();
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(Identity::Ours(found))
}

/// The connection that writes, to a database brought to the newest schema.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::of_sqlite(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // Before anything is set: a file that is not ours stays as it is.
    let schema = match identify(&connection, path)? {
        Identity::Empty => 0,
        Identity::Ours(schema) => schema,
    };
    if connection.is_readonly(MAIN_DB).map_err(failed)? {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(OpenError::unopenable(path, error));
    }
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        let problem = "the file system cannot keep a write-ahead log";
        return Err(OpenError::unopenable(path, problem));
    }
    connection.execute_batch(WRITER_PRAGMAS).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
    migrations::run(&mut connection, schema).map_err(failed)?;
    Ok(connection)
}

/// A connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::of_sqlite(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    configure_reader(&connection).map_err(failed)?;
    Ok(connection)
}

/// Makes a connection one that only reads.
pub(super) fn configure_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(READER_PRAGMAS)?;
    connection.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
    Ok(())
}
