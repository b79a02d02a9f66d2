//! Backups of a database that nodes share. They are files like any other backup: logical copies, so
//! that each can be restored to either kind of database.

use std::path::Path;

use anyhow::Context as _;
use keyreeve_store::transfer::{Copied, Source, Target};
use tempfile::TempDir;

use super::{
    Made, finish,
    part_folder::{check_key, copy_file, hidden_beside, read_whole, sync_folder},
};
use crate::{
    cmd::copying::{copy, proof_in},
    context::Context,
    installation::{DataFolder, write_whole},
    wire::SharedDatabase,
};

/// Copies the database, as it is at one moment, into a hidden folder beside `target`, with the audit
/// keys of this node's folder. Nodes may go on working.
pub(super) fn back_up(
    node: &DataFolder,
    database: &SharedDatabase,
    target: &Path,
    context: &Context,
) -> anyhow::Result<(TempDir, Made)> {
    let part = hidden_beside(target)?;
    let to = DataFolder::at(part.path());
    copy_keys(node, &to)?;
    let proof = proof_in(node)?;
    let mut source = Source::postgres(&database.url, database.authorities.as_ref())?;
    let mut file = Target::new_sqlite(&to.database())?;
    let copied = copy(&mut source, &mut file, &proof, context)?;
    drop(file);
    write_anchor(&to, &copied)?;
    finish(part, target, "the copy of the database", "`keyreeve audit verify` says more", context)
}

/// Copies a backup into an empty database, or into one that holds a part of the same backup. The
/// hidden folder that this makes beside `target` has what a node needs.
pub(super) fn restore(
    from: &DataFolder,
    database: &SharedDatabase,
    target: &Path,
    context: &Context,
) -> anyhow::Result<(TempDir, Made)> {
    let place = from.path().display();
    let more = format!("`keyreeve audit verify --data-dir {place}` says more");
    let made = read_whole(from, &format!("the backup {place}"), &more, context)?;
    let part = hidden_beside(target)?;
    let to = DataFolder::at(part.path());
    copy_keys(from, &to)?;
    let mut source = Source::sqlite_backup(&from.database())?;
    let mut there = Target::postgres(&database.url, database.authorities.as_ref())?;
    let copied = copy(&mut source, &mut there, &proof_in(from)?, context)?;
    write_anchor(&to, &copied)?;
    sync_folder(part.path())?;
    Ok((part, Made { folder: target.to_owned(), ..made }))
}

fn copy_keys(from: &DataFolder, to: &DataFolder) -> anyhow::Result<()> {
    copy_file(&from.audit_public_key(), &to.audit_public_key(), 0o644)?;
    copy_file(&from.audit_key(), &to.audit_key(), 0o600)?;
    check_key(to)
}

fn write_anchor(folder: &DataFolder, copied: &Copied) -> anyhow::Result<()> {
    write_whole(&folder.anchor(), &copied.checkpoint, 0o644).context("cannot write the anchor")
}
