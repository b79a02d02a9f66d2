//! Making a folder that is there whole or not at all.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use keyreeve_core::{
    Secret,
    audit::{CheckpointSigner, CheckpointVerifier},
};
use keyreeve_store::sqlite::AuditFile;
use tempfile::TempDir;

use super::Made;
use crate::{cmd::audit::verify, context::Context, failure::Advised, installation::DataFolder};

/// Refuses whatever stands there, links that lead nowhere included.
pub(super) fn must_be_free(target: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", target.display())),
        Ok(_) => Err(Advised::new(
            format!("there is something at {} already", target.display()),
            "name a folder that does not exist; nothing is ever written over",
        )
        .into()),
    }
}

pub(super) fn is_empty_folder(path: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// A hidden folder beside `target`, which goes unless it is published.
pub(super) fn hidden_beside(target: &Path) -> anyhow::Result<TempDir> {
    let parent = parent_of(target);
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    tempfile::Builder::new()
        .prefix(".keyreeve-part-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))
}

/// Reads a folder with a database from beginning to end. `of` says what it is a copy of, and `more`
/// what says more about damage.
pub(super) fn read_whole(
    folder: &DataFolder,
    of: &str,
    more: &str,
    context: &Context,
) -> anyhow::Result<Made> {
    check_key(folder)?;
    let findings = verify::folder(folder, context)?;
    let mut faults = findings.faults;
    faults.extend(AuditFile::open(folder.database())?.database_problems()?);
    if let Some(first) = faults.first() {
        bail!(Advised::new(format!("nothing was made: {of} is damaged: {first}"), more));
    }
    let folder = folder.path().to_owned();
    Ok(Made { folder, entries: findings.size, root: findings.root })
}

/// The key that signs must be the one that checks: no other can be made for this audit.
pub(super) fn check_key(folder: &DataFolder) -> anyhow::Result<()> {
    let read = |path: PathBuf| {
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let public = read(folder.audit_public_key())?;
    let public = CheckpointVerifier::parse(public.trim()).context("audit.pub cannot be read")?;
    let private = Secret::new(read(folder.audit_key())?);
    let signer =
        CheckpointSigner::from_private_key(&private).context("audit.key cannot be read")?;
    ensure!(signer.verifier() == public, "audit.key and audit.pub do not belong together");
    Ok(())
}

/// Copies a file, whatever its mode was, and brings it to the disk.
pub(super) fn copy_file(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    let copied = || -> io::Result<()> {
        let bytes = fs::read(from)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    copied().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Removes what reading the copy left beside it: SQLite's index of a log that holds nothing.
pub(super) fn tidy_up(copy: &DataFolder) -> anyhow::Result<()> {
    for ending in ["-wal", "-shm"] {
        let mut path = copy.database().into_os_string();
        path.push(ending);
        let log = ending == "-wal" && fs::metadata(&path).is_ok_and(|log| log.len() > 0);
        ensure!(!log, "somebody has written to the copy while it was made");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("cannot tidy up the copy");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives the copy its name. An empty folder of that name gives way.
pub(super) fn publish(part: TempDir, target: &Path) -> anyhow::Result<()> {
    fs::rename(part.path(), target)
        .with_context(|| format!("cannot give the copy its name {}", target.display()))?;
    // It is no longer there to be removed.
    let _ = part.keep();
    let parent = parent_of(target);
    sync_folder(parent).with_context(|| {
        format!(
            "{} is made, but {} cannot be brought to the disk",
            target.display(),
            parent.display()
        )
    })
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Brings the names in a folder to the disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
