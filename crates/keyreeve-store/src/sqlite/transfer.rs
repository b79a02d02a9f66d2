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
    connection::{self, Claim, Identity, identify},
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
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(unopenable)?;
    let path = path.canonicalize().map_err(unopenable)?;
    connection::open_writer(&path)
}

/// The lock by which a server says that the file is its own; `None` while one does.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, OpenError> {
    match Claim::stake(path) {
        Ok(claim) => Ok(Some(claim.lock)),
        Err(OpenError::Locked { .. }) => Ok(None),
        Err(error) => Err(error),
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
