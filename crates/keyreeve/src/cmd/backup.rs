//! `keyreeve backup` and `keyreeve restore`.
//!
//! A backup is a data folder without a server. Both commands do the same: they copy a folder into
//! a hidden one beside the target, read the copy from beginning to end, and only then give it its
//! name. So there is a whole folder or none, whatever stops them.

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
use serde::Serialize;
use tempfile::TempDir;

use super::{Outcome, audit::verify};
use crate::{
    cli::backup::{BackupArgs, RestoreArgs},
    config::Flags,
    context::Context,
    failure::Advised,
    installation::DataFolder,
    output::{canvas::Canvas, fields::Fields, progress::bar},
};

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    folder: PathBuf,
    entries: u64,
    root: String,
}

pub(super) fn backup(args: &BackupArgs, context: &Context) -> anyhow::Result<Outcome> {
    let from = local_folder(context)?;
    must_hold_database(&from, "name the data folder with --data-dir")?;
    must_be_free(&args.folder)?;
    let (part, made) = copy(&from, &args.folder, context)?;
    publish(part, &args.folder)?;
    context.output.show(&made, |made, canvas| text("backed up to", made, canvas))?;
    Ok(Outcome::Done)
}

pub(super) fn restore(args: &RestoreArgs, context: &Context) -> anyhow::Result<Outcome> {
    let from = DataFolder::at(&args.folder);
    must_hold_database(&from, "name a folder that `keyreeve backup` made")?;
    let to = local_folder(context)?;
    if !is_empty_folder(to.path())? {
        must_be_free(to.path())?;
    }
    let (part, made) = copy(&from, to.path(), context)?;
    publish(part, to.path())?;
    context.output.show(&made, |made, canvas| text("restored to", made, canvas))?;
    context.output.note(
        "What was changed after the backup is not in it: keys revoked since are good again.",
    )?;
    Ok(Outcome::Done)
}

fn text(what: &'static str, made: &Made, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    fields.add(what, made.folder.display().to_string());
    fields.add("audit entries", made.entries.to_string()).add("root", &made.root);
    fields.draw(canvas)
}

/// The data folder on this machine.
fn local_folder(context: &Context) -> anyhow::Result<DataFolder> {
    if context.global.url.as_deref().is_some_and(|url| !url.is_empty()) {
        bail!(Advised::new(
            "backups are made and restored where the data is, not over HTTP",
            "run this on the server's machine, without --url and KEYREEVE_URL",
        ));
    }
    let store = context.config(Flags::default())?.store;
    if store.url.is_some() {
        bail!(Advised::new(
            "the data is in PostgreSQL (store.url), which has backups of its own",
            "use pg_dump or your provider's backups, and keep a copy of audit.key",
        ));
    }
    Ok(DataFolder::at(&store.data_dir))
}

fn must_hold_database(folder: &DataFolder, hint: &str) -> Result<(), Advised> {
    if folder.database().exists() {
        return Ok(());
    }
    Err(Advised::new(format!("there is no database in {}", folder.path().display()), hint))
}

/// Refuses whatever stands there, links that lead nowhere included.
fn must_be_free(target: &Path) -> anyhow::Result<()> {
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

fn is_empty_folder(path: &Path) -> anyhow::Result<bool> {
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

/// Copies a folder into a hidden one beside `target`, and reads the copy from beginning to end.
fn copy(from: &DataFolder, target: &Path, context: &Context) -> anyhow::Result<(TempDir, Made)> {
    let parent = parent_of(target);
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let part = tempfile::Builder::new()
        .prefix(".keyreeve-part-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let to = DataFolder::at(part.path());
    copy_files(from, &to, context)?;
    check_key(&to)?;
    let findings = verify::folder(&to, context)?;
    let mut faults = findings.faults;
    faults.extend(AuditFile::open(to.database())?.database_problems()?);
    if let Some(first) = faults.first() {
        bail!(Advised::new(
            format!("nothing was made: the copy of {} is damaged: {first}", from.path().display()),
            format!("`keyreeve audit verify --data-dir {}` says more", from.path().display()),
        ));
    }
    tidy_up(&to)?;
    sync_folder(part.path())?;
    let made = Made { folder: target.to_owned(), entries: findings.size, root: findings.root };
    Ok((part, made))
}

/// Copies what makes an installation. The anchor goes first: an anchor that is older than the
/// database agrees with it, a younger one does not.
fn copy_files(from: &DataFolder, to: &DataFolder, context: &Context) -> anyhow::Result<()> {
    if from.anchor().exists() {
        copy_file(&from.anchor(), &to.anchor(), 0o644)?;
    }
    copy_file(&from.audit_public_key(), &to.audit_public_key(), 0o644)?;
    copy_file(&from.audit_key(), &to.audit_key(), 0o600)?;
    let database = AuditFile::open(from.database())?;
    let copied = database.copy_to(&to.database(), |done, all| {
        context.output.progress(&bar("copying", done, all));
    });
    context.output.progress("");
    copied.with_context(|| format!("cannot copy to {}", to.database().display()))
}

/// The key that signs must be the one that checks: no other can be made for this audit.
fn check_key(folder: &DataFolder) -> anyhow::Result<()> {
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
fn copy_file(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    let copied = || -> io::Result<()> {
        let bytes = fs::read(from)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    copied().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Removes what reading the copy left beside it: SQLite's index of a log that holds nothing.
fn tidy_up(copy: &DataFolder) -> anyhow::Result<()> {
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
fn publish(part: TempDir, target: &Path) -> anyhow::Result<()> {
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
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
