//! `keyreeve backup` and `keyreeve restore`.
//!
//! A backup is a data folder without a server, wherever the data is: a copy of the file, or of the
//! shared database into a file. It is made in a hidden folder beside the target, read from beginning
//! to end, and only then gets its name. So there is a whole folder or none, whatever stops it.

mod part_folder;
mod shared;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use keyreeve_store::sqlite::AuditFile;
use serde::Serialize;
use tempfile::TempDir;

use self::part_folder::{
    copy_file, hidden_beside, is_empty_folder, must_be_free, publish, read_whole, sync_folder,
    tidy_up,
};
use super::Outcome;
use crate::{
    cli::backup::{BackupArgs, RestoreArgs},
    config::Flags,
    context::Context,
    failure::Advised,
    installation::DataFolder,
    output::{canvas::Canvas, fields::Fields, progress::bar},
    wire::{self, SharedDatabase},
};

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    folder: PathBuf,
    entries: u64,
    root: String,
}

/// Where the data is that belongs to this machine.
struct Place {
    folder: DataFolder,
    /// The database, if it is not in the folder.
    shared: Option<SharedDatabase>,
}

pub(super) fn backup(args: &BackupArgs, context: &Context) -> anyhow::Result<Outcome> {
    let from = place(context)?;
    must_be_free(&args.folder)?;
    let (part, made) = match &from.shared {
        None => {
            must_hold_database(&from.folder, "name the data folder with --data-dir")?;
            copy(&from.folder, &args.folder, context)?
        }
        Some(database) => shared::back_up(&from.folder, database, &args.folder, context)?,
    };
    publish(part, &args.folder)?;
    context.output.show(&made, |made, canvas| text("backed up to", made, canvas))?;
    Ok(Outcome::Done)
}

pub(super) fn restore(args: &RestoreArgs, context: &Context) -> anyhow::Result<Outcome> {
    let from = DataFolder::at(&args.folder);
    must_hold_database(&from, "name a folder that `keyreeve backup` made")?;
    let to = place(context)?;
    let target = to.folder.path();
    if !is_empty_folder(target)? {
        must_be_free(target)?;
    }
    let (part, made) = match &to.shared {
        None => copy(&from, target, context)?,
        Some(database) => shared::restore(&from, database, target, context)?,
    };
    publish(part, target)?;
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

fn place(context: &Context) -> anyhow::Result<Place> {
    if context.global.url.as_deref().is_some_and(|url| !url.is_empty()) {
        bail!(Advised::new(
            "backups are made and restored where the data is, not over HTTP",
            "run this on the server's machine, without --url and KEYREEVE_URL",
        ));
    }
    let config = context.config(Flags::default())?;
    let shared = wire::shared_database(&config, &context.environment)?;
    Ok(Place { folder: DataFolder::at(&config.store.data_dir), shared })
}

fn must_hold_database(folder: &DataFolder, hint: &str) -> Result<(), Advised> {
    if folder.database().exists() {
        return Ok(());
    }
    Err(Advised::new(format!("there is no database in {}", folder.path().display()), hint))
}

/// Copies a folder into a hidden one beside `target`, and reads the copy from beginning to end.
fn copy(from: &DataFolder, target: &Path, context: &Context) -> anyhow::Result<(TempDir, Made)> {
    let part = hidden_beside(target)?;
    let to = DataFolder::at(part.path());
    copy_files(from, &to, context)?;
    let source = from.path().display();
    let (of, more) = (
        format!("the copy of {source}"),
        format!("`keyreeve audit verify --data-dir {source}` says more"),
    );
    finish(part, target, &of, &more, context)
}

/// Reads the hidden folder and brings it to the disk.
fn finish(
    part: TempDir,
    target: &Path,
    of: &str,
    more: &str,
    context: &Context,
) -> anyhow::Result<(TempDir, Made)> {
    let folder = DataFolder::at(part.path());
    let made = read_whole(&folder, of, more, context)?;
    tidy_up(&folder)?;
    sync_folder(part.path())?;
    Ok((part, Made { folder: target.to_owned(), ..made }))
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
