//! The data folder. Belongs to one user and one server at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// It cannot be made or written.
    #[error("cannot write to the data folder {}", .path.display())]
    Unwritable {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something that is no folder stands there.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// Another server has it.
    #[error("the data folder {} is in use by another keyreeve server", .0.display())]
    InUse(PathBuf),
}

/// A data folder and the names of what is in it.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
}

/// Keeps other servers out of the folder as long as it lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl DataFolder {
    /// The folder at `path`, whether or not it exists.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes the folder unless it exists, readable by its owner alone, and locks it.
    pub(crate) fn open(&self) -> Result<FolderLock, FolderError> {
        let unwritable = |source| FolderError::Unwritable { path: self.path.clone(), source };
        match fs::metadata(&self.path) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(FolderError::NotAFolder(self.path.clone()));
            }
            Ok(_) => {}
            Err(_) => DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.path)
                .map_err(unwritable)?,
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.join("lock"))
            .map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(self.path.clone())),
            Err(TryLockError::Error(source)) => Err(unwritable(source)),
        }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where everything is kept.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("keyreeve.db")
    }

    /// The local socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("keyreeve.sock")
    }

    /// The private key that signs the audit.
    pub(crate) fn audit_key(&self) -> PathBuf {
        self.path.join("audit.key")
    }

    /// The public key that checks the audit.
    pub(crate) fn audit_public_key(&self) -> PathBuf {
        self.path.join("audit.pub")
    }

    /// The key over all of the vault's keys.
    pub(crate) fn root_key_file(&self) -> PathBuf {
        self.path.join("root.key")
    }

    /// The last signed tree head, outside the database.
    pub(crate) fn anchor(&self) -> PathBuf {
        self.path.join("audit.checkpoint")
    }
}

/// Writes a file so that it is there whole or not at all, even after a power cut. Its mode is
/// `mode`, whatever stood there before.
pub(crate) fn write_whole(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    use std::io::Write as _;

    // The whole name and more: `audit.key` and `audit.pub` must not share a file while written.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // A write that was cut off may have left one, with a mode of its own.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_private_and_locked() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(parent.path().join("a/b"));
        let lock = folder.open().unwrap();
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(matches!(folder.open(), Err(FolderError::InUse(_))));
        drop(lock);
        assert!(folder.open().is_ok());
    }

    #[test]
    fn a_leftover_lends_neither_its_text_nor_its_mode() {
        let parent = tempfile::tempdir().unwrap();
        let (key, public) = (parent.path().join("audit.key"), parent.path().join("audit.pub"));
        let leftover = parent.path().join("audit.key.new");
        fs::write(&leftover, "a longer text from before").unwrap();
        fs::set_permissions(&leftover, fs::Permissions::from_mode(0o666)).unwrap();
        let other = parent.path().join("audit.pub.new");
        fs::write(&other, "of another file").unwrap();
        write_whole(&key, "private", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&key).unwrap(), "private");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!leftover.exists());
        assert_eq!(fs::read_to_string(&other).unwrap(), "of another file");
        write_whole(&public, "public", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&public).unwrap(), "public");
        assert_eq!(fs::read_to_string(&key).unwrap(), "private");
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(DataFolder::at(&path).open(), Err(FolderError::NotAFolder(_))));
        let below = DataFolder::at(path.join("below"));
        assert!(matches!(below.open(), Err(FolderError::Unwritable { .. })));
    }
}
