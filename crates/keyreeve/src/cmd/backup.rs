//! `keyreeve backup` and `keyreeve restore`.
//!
//! A backup is a data folder without a server. It is checked by reading all of its audit before it
//! gets its name, and again before it is restored.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, bail, ensure};
use keyreeve_store::sqlite::AuditFile;

use super::{Outcome, audit::verify};
use crate::{
    cli::backup::{BackupArgs, RestoreArgs},
    config::Flags,
    context::Context,
    failure::Advised,
    installation::DataFolder,
    output::{Output, progress::bar},
};

pub(super) fn backup(args: &BackupArgs, context: &Context) -> anyhow::Result<Outcome> {
    let config = context.config(Flags::default())?;
    let from = DataFolder::at(&config.store.data_dir);
    must_hold_database(&from, "name the data folder with --data-dir")?;
    let target = &args.folder;
    ensure!(!target.exists(), "{} exists already", target.display());
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let part = tempfile::Builder::new()
        .prefix(".keyreeve-backup-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let copy = DataFolder::at(part.path());
    copy_folder(&from, &copy, &context.output)?;
    let findings = verify::folder(&copy, context)?;
    if !findings.intact {
        context.output.show(&findings, verify::text)?;
        return Err(Advised::new(
            "no backup was made: its audit is not intact",
            "`keyreeve audit verify` says what is wrong with the installation",
        )
        .into());
    }
    tidy_up(&copy)?;
    sync_folder(part.path())?;
    let named = fs::rename(part.keep(), target).and_then(|()| sync_folder(parent));
    named.with_context(|| format!("cannot write {}", target.display()))?;
    context.output.show(&findings, |findings, _| {
        format!(
            "backed up to {}: {} audit entries, root {}",
            target.display(),
            findings.size,
            findings.root
        )
    })?;
    Ok(Outcome::Done)
}

pub(super) fn restore(args: &RestoreArgs, context: &Context) -> anyhow::Result<Outcome> {
    let from = DataFolder::at(&args.folder);
    must_hold_database(&from, "name a folder that `keyreeve backup` made")?;
    let findings = verify::folder(&from, context)?;
    if !findings.intact {
        context.output.show(&findings, verify::text)?;
        return Ok(Outcome::Negative);
    }
    let config = context.config(Flags::default())?;
    let to = DataFolder::at(&config.store.data_dir);
    let _lock = to.open()?;
    for path in [to.database(), to.audit_key()] {
        if path.exists() {
            bail!(Advised::new(
                format!("{} holds an installation already", to.path().display()),
                "name an empty folder with --data-dir",
            ));
        }
    }
    copy_folder(&from, &to, &context.output)?;
    let restored = verify::folder(&to, context)?;
    ensure!(
        restored.intact && restored.root == findings.root,
        "the copy in {} differs from the backup",
        to.path().display()
    );
    sync_folder(to.path())?;
    context.output.show(&restored, |findings, _| {
        format!(
            "restored to {}: {} audit entries, root {}\nWhat was changed after the backup is not \
             in it: keys revoked since are good again.",
            to.path().display(),
            findings.size,
            findings.root
        )
    })?;
    Ok(Outcome::Done)
}

fn must_hold_database(folder: &DataFolder, hint: &str) -> Result<(), Advised> {
    if folder.database().exists() {
        return Ok(());
    }
    Err(Advised::new(format!("there is no database in {}", folder.path().display()), hint))
}

/// Copies what makes an installation. The anchor goes first: an anchor that is older than the
/// database agrees with it, a younger one does not.
fn copy_folder(from: &DataFolder, to: &DataFolder, output: &Output) -> anyhow::Result<()> {
    if from.anchor().exists() {
        copy_file(&from.anchor(), &to.anchor())?;
    }
    copy_file(&from.audit_public_key(), &to.audit_public_key())?;
    let database = AuditFile::open(from.database())?;
    let copied = database.copy_to(&to.database(), |done, all| {
        output.progress(&bar("copying", done, all));
    });
    output.progress("");
    copied.with_context(|| format!("cannot copy to {}", to.database().display()))?;
    // Last: a folder that holds a key is taken for whole.
    copy_file(&from.audit_key(), &to.audit_key())
}

/// Copies a file with its mode, and brings it to the disk.
fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = fs::copy(from, to).and_then(|_| fs::File::open(to)?.sync_all());
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Removes what reading the copy left beside it: SQLite's index of a log that holds nothing.
fn tidy_up(copy: &DataFolder) -> anyhow::Result<()> {
    for ending in ["-wal", "-shm"] {
        let mut path = copy.database().into_os_string();
        path.push(ending);
        let log = ending == "-wal" && fs::metadata(&path).is_ok_and(|log| log.len() > 0);
        ensure!(!log, "somebody has written to the backup while it was made");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("cannot tidy up the backup");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Brings the names in a folder to the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
