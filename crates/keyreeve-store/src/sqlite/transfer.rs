//! A SQLite file as one side of a copy.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    audit_file::AuditFile,
    connection::{self, Identity, beside, identify},
    migrations,
    open_error::OpenError,
};

/// How long to wait for whoever is writing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file that nobody writes to, as a backup: held as it is at this moment.
pub(crate) fn open_still(path: &Path) -> Result<Connection, OpenError> {
    let connection = AuditFile::open(path)?.into_connection();
    must_be_newest(&connection, path)?;
    Ok(connection)
}

/// A file that a server may be using. Nothing in it is changed; it is opened for writing so that
/// changes can be kept out.
pub(crate) fn open_live(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::of_sqlite(path, error);
    let path = &path.canonicalize().map_err(|error| OpenError::unopenable(path, error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    must_be_newest(&connection, path)?;
    Ok(connection)
}

/// A new file with the newest schema and nothing in it.
pub(crate) fn make(path: &Path) -> Result<Connection, OpenError> {
    let unopenable = |error| OpenError::unopenable(path, error);
    connection::make_private(path).map_err(unopenable)?;
    let path = path.canonicalize().map_err(unopenable)?;
    connection::open_writer(&path)
}

/// The lock by which a server says that the file is its own; `None` while one does.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, OpenError> {
    let path = path.canonicalize().map_err(|error| OpenError::unopenable(path, error))?;
    let lock_path = beside(&path, ".lock");
    let unopenable = |error| OpenError::unopenable(&lock_path, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let lock = options.open(&lock_path).map_err(unopenable)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(unopenable(error)),
    }
}

fn must_be_newest(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let known = migrations::newest();
    match identify(connection, path)? {
        Identity::Ours(found) if found == known => Ok(()),
        Identity::Ours(found) => Err(OpenError::Older { path: path.to_owned(), found, known }),
        Identity::Empty => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}
