//! The folder with offline copies: its user's own, and never full.

use std::{
    fs::{self, DirBuilder, DirEntry, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use rustix::process::geteuid;

use crate::{
    config::cache::{CacheConfig, CacheFolder},
    environment::Environment,
};

/// The most copies in the folder.
const MOST_COPIES: usize = 1_000;
/// The most entries that are looked at; only ours are many, and there are never that many of them.
const MOST_ENTRIES: usize = 10_000;
/// The most bytes of one copy, sealed.
const MOST_BYTES: u64 = 2 * 1024 * 1024 + 1024;
/// What the name of a copy ends with, after 64 hexadecimal digits.
const ENDING: &str = ".copy";
/// What the name of a copy begins with that is being written.
const UNFINISHED: &str = ".unfinished-";
/// Clocks of file systems are less exact than ours: a copy is from the future only beyond this.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// Why no copies can be kept in a folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyFolderError {
    /// Something that is no folder stands there.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// Another user could take its place.
    #[error("the folder {} belongs to another user", .0.display())]
    Foreign(PathBuf),
    /// Others could put something there.
    #[error("other users may write into the folder {} (chmod 700)", .0.display())]
    Open(PathBuf),
    /// The system refuses.
    #[error("cannot read or write {}", .path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A folder with offline copies, whether or not it exists.
#[derive(Clone, Debug)]
pub(crate) struct CopyFolder {
    path: PathBuf,
}

/// A copy that is in the folder.
#[derive(Clone, Debug)]
pub(crate) struct KeptCopy {
    path: PathBuf,
    /// When it was written.
    pub(crate) kept_at: Timestamp,
}

impl CopyFolder {
    /// The folder that the settings name, if they name one and it can be told where that is.
    pub(crate) fn find(config: &CacheConfig, environment: &Environment) -> Option<Self> {
        // A path that depends on where a command is run counts as none (XDG Base Directory).
        let given = |name| environment.get(name).map(PathBuf::from).filter(|it| it.is_absolute());
        let usual = || {
            let caches = given("XDG_CACHE_HOME");
            Some(caches.or_else(|| Some(given("HOME")?.join(".cache")))?.join("keyreeve"))
        };
        let path = match config.folder.as_ref()? {
            CacheFolder::At(path) => path.clone(),
            CacheFolder::Usual => usual()?,
        };
        Some(Self { path })
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the file that belongs to a digest in hexadecimal.
    pub(crate) fn file_name(digest: &str) -> String {
        format!("{digest}{ENDING}")
    }

    /// Whether it is there; if it is, it is this user's alone to write into.
    pub(crate) fn check(&self) -> Result<bool, CopyFolderError> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(&self.path, error)),
        };
        if !metadata.is_dir() {
            return Err(CopyFolderError::NotAFolder(self.path.clone()));
        }
        if metadata.uid() != geteuid().as_raw() {
            return Err(CopyFolderError::Foreign(self.path.clone()));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(CopyFolderError::Open(self.path.clone()));
        }
        Ok(true)
    }

    /// Writes a copy, in the place of the one before. Makes the folder unless it is there, and room
    /// in it.
    pub(crate) fn write(
        &self,
        name: &str,
        bytes: &[u8],
        longest: SignedDuration,
        now: Timestamp,
    ) -> Result<(), CopyFolderError> {
        if !self.check()? {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
            made.map_err(|error| failed(&self.path, error))?;
            self.check()?;
        }
        let path = self.path.join(name);
        self.make_room(&path, longest, now)?;
        // There whole or not at all. What a power cut leaves of it does not open, which is no loss.
        let written = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(&self.path)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.persist(&path).map_err(|refused| refused.error)
            });
        written.map_err(|error| failed(&path, error))?;
        Ok(())
    }

    /// The bytes of a copy, if there is one that is not too large.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, CopyFolderError> {
        if !self.check()? {
            return Ok(None);
        }
        let path = self.path.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
        let read = read.map_err(|error| failed(&path, error))?;
        Ok((read as u64 <= MOST_BYTES).then_some(bytes))
    }

    /// Removes a copy, if there is one.
    pub(crate) fn remove(&self, name: &str) -> Result<(), CopyFolderError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }

    /// Removes what is older than the longest that copies are used, and tells what is left.
    pub(crate) fn tidy(
        &self,
        longest: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<KeptCopy>, CopyFolderError> {
        if !self.check()? {
            return Ok(Vec::new());
        }
        let cannot = |error| failed(&self.path, error);
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(cannot)?.take(MOST_ENTRIES) {
            let entry = entry.map_err(cannot)?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let is_copy = is_copy(name);
            if !is_copy && !name.starts_with(UNFINISHED) {
                continue;
            }
            // Another command may have removed it meanwhile.
            let Some(kept_at) = kept_at(&entry) else { continue };
            let age = now.duration_since(kept_at);
            if age > longest || age < -SKEW {
                // Where it cannot be removed, it is still too old to be used.
                let _ = fs::remove_file(entry.path());
            } else if is_copy {
                left.push(KeptCopy { path: entry.path(), kept_at });
            }
        }
        Ok(left)
    }

    /// Removes the oldest copies where there are too many for one more at `path`.
    fn make_room(
        &self,
        path: &Path,
        longest: SignedDuration,
        now: Timestamp,
    ) -> Result<(), CopyFolderError> {
        let mut others = self.tidy(longest, now)?;
        others.retain(|copy| copy.path != path);
        others.sort_unstable_by_key(|copy| copy.kept_at);
        let surplus = (others.len() + 1).saturating_sub(MOST_COPIES);
        for copy in others.iter().take(surplus) {
            // Another command may have done so meanwhile.
            let _ = fs::remove_file(&copy.path);
        }
        Ok(())
    }
}

fn failed(path: &Path, source: io::Error) -> CopyFolderError {
    CopyFolderError::File { path: path.to_owned(), source }
}

fn is_copy(name: &str) -> bool {
    let digest = name.strip_suffix(ENDING).unwrap_or_default();
    digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn kept_at(entry: &DirEntry) -> Option<Timestamp> {
    let modified = entry.metadata().ok()?.modified().ok()?;
    Timestamp::try_from(modified).ok()
}

#[cfg(test)]
mod tests {
    use keyreeve_core::vault::credential_digest;
    use keyreeve_engine::Clock as _;

    use super::*;
    use crate::system::SystemClock;

    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    fn in_folder(path: &Path) -> CopyFolder {
        CopyFolder { path: path.to_owned() }
    }

    fn name(of: &str) -> String {
        CopyFolder::file_name(&credential_digest(of))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn now() -> Timestamp {
        SystemClock::new().now()
    }

    /// Makes a copy look as if it had been written that long ago.
    fn age(folder: &CopyFolder, name: &str, by: SignedDuration) {
        let file = File::options().write(true).open(folder.path.join(name)).unwrap();
        file.set_modified((now() - by).into()).unwrap();
    }

    #[test]
    fn the_folder_is_found_where_it_is_set_or_where_caches_are() {
        let found = |folder: Option<&str>, pairs: &[(&str, &str)]| {
            let folder = folder.map(|it| match it {
                "auto" => CacheFolder::Usual,
                path => CacheFolder::At(path.into()),
            });
            let (fresh, stale) = (MINUTE, SignedDuration::ZERO);
            let config = CacheConfig { fresh, stale, folder };
            let pairs = pairs.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned()));
            let folder = CopyFolder::find(&config, &Environment::from_pairs(pairs));
            folder.map(|folder| folder.path.to_str().unwrap().to_owned())
        };
        let home = ("HOME", "/home/a");
        let both = [home, ("XDG_CACHE_HOME", "/caches")];
        assert_eq!(found(Some("/set"), &both).as_deref(), Some("/set"));
        assert_eq!(found(None, &both), None);
        let usual = |pairs: &[(&str, &str)]| found(Some("auto"), pairs);
        assert_eq!(usual(&both).as_deref(), Some("/caches/keyreeve"));
        assert_eq!(usual(&[home]).as_deref(), Some("/home/a/.cache/keyreeve"));
        let elsewhere = [home, ("XDG_CACHE_HOME", "caches")];
        assert_eq!(usual(&elsewhere).as_deref(), Some("/home/a/.cache/keyreeve"));
        assert_eq!(usual(&[("HOME", "")]), None);
        assert_eq!(usual(&[]), None);
    }

    #[test]
    fn what_is_written_is_private_and_read_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = in_folder(&parent.path().join("a/keyreeve"));
        assert!(!folder.check().unwrap());
        assert_eq!(folder.read(&name("x")).unwrap(), None);
        folder.write(&name("x"), b"one", MINUTE, now()).unwrap();
        folder.write(&name("x"), b"two", MINUTE, now()).unwrap();
        assert_eq!(folder.read(&name("x")).unwrap().unwrap(), b"two");
        assert_eq!((mode(&folder.path), mode(&folder.path.join(name("x")))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 1);
        folder.remove(&name("x")).unwrap();
        folder.remove(&name("x")).unwrap();
        assert_eq!(folder.read(&name("x")).unwrap(), None);
        let large = vec![0; usize::try_from(MOST_BYTES).unwrap() + 1];
        fs::write(folder.path.join(name("x")), large).unwrap();
        assert_eq!(folder.read(&name("x")).unwrap(), None);
    }

    #[test]
    fn a_folder_that_others_may_write_into_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = in_folder(parent.path());
        for mode in [0o777, 0o770, 0o702] {
            fs::set_permissions(parent.path(), fs::Permissions::from_mode(mode)).unwrap();
            let refused = folder.write(&name("x"), b"one", MINUTE, now()).unwrap_err();
            assert!(matches!(refused, CopyFolderError::Open(_)), "{refused}");
            assert!(folder.read(&name("x")).is_err() && folder.tidy(MINUTE, now()).is_err());
        }
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        folder.write(&name("x"), b"one", MINUTE, now()).unwrap();
        let file = in_folder(&parent.path().join(name("x")));
        assert!(matches!(file.check(), Err(CopyFolderError::NotAFolder(_))));
        if !geteuid().is_root() {
            let roots = in_folder(Path::new("/usr"));
            assert!(matches!(roots.check(), Err(CopyFolderError::Foreign(_))));
        }
    }

    #[test]
    fn what_is_too_old_goes_and_what_is_not_ours_stays() {
        let parent = tempfile::tempdir().unwrap();
        let folder = in_folder(parent.path());
        for of in ["old", "future", "new"] {
            folder.write(&name(of), b"x", MINUTE, now()).unwrap();
        }
        let (unfinished, foreign) = (format!("{UNFINISHED}1"), "notes.copy".to_owned());
        for other in [&unfinished, &foreign] {
            fs::write(parent.path().join(other), "x").unwrap();
        }
        for name in [&name("old"), &unfinished, &foreign] {
            age(&folder, name, MINUTE * 2);
        }
        age(&folder, &name("future"), MINUTE * -2);
        let left = folder.tidy(MINUTE, now()).unwrap();
        let left: Vec<_> = left.iter().map(|copy| copy.path.clone()).collect();
        assert_eq!(left, [parent.path().join(name("new"))]);
        let mut names: Vec<_> = fs::read_dir(parent.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut expected = [name("new"), foreign];
        expected.sort();
        assert_eq!(names, expected);
    }

    #[test]
    fn the_oldest_makes_room_for_the_newest() {
        let parent = tempfile::tempdir().unwrap();
        let folder = in_folder(parent.path());
        for number in 0..MOST_COPIES {
            fs::write(parent.path().join(name(&number.to_string())), "x").unwrap();
        }
        age(&folder, &name("500"), MINUTE);
        let hour = SignedDuration::from_hours(1);
        // In its own place it needs no room.
        folder.write(&name("7"), b"x", hour, now()).unwrap();
        assert!(folder.read(&name("500")).unwrap().is_some());
        folder.write(&name("another"), b"x", hour, now()).unwrap();
        assert_eq!(folder.read(&name("500")).unwrap(), None);
        assert_eq!(folder.tidy(hour, now()).unwrap().len(), MOST_COPIES);
    }
}
