//! What a build that counts wrote down, in the form that the compiler reads.
//!
//! The form it is written in changes with each LLVM, and the `llvm-profdata` of a distribution knows older
//! ones. The text form changes little (<https://llvm.org/docs/CommandGuide/llvm-profdata.html>), and the
//! compiler reads the files of all older versions: so what was counted goes by way of the text.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use keyreeve_core::audit::Hash;
use llvm_profparser::instrumentation_profile::types::InstrumentationProfile;

use crate::program;

/// Where `llvm-profdata` is, if it is on this machine.
pub(super) fn program() -> Option<PathBuf> {
    program::find("llvm-profdata", Path::new("/usr/bin/llvm-profdata"))
}

/// What the files end with that the compiler reads.
const ENDING: &str = "profdata";

/// What was counted before, as the compiler reads it.
pub(super) fn known(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let files = files_in(folder)?;
    Ok(files.into_iter().find(|file| file.extension().is_some_and(|it| it == ENDING)))
}

/// Puts together all that was counted in a folder, and keeps it in the other one in place of what was
/// there. It is named by what it holds: a build tool that knows the name alone builds anew.
pub(super) fn merge(raw: &Path, profdata: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let files = files_in(raw)?;
    ensure!(!files.is_empty(), "nothing was counted");
    let counted =
        llvm_profparser::merge_profiles(&files).context("what was counted cannot be read")?;
    let content = text_of(&counted);
    let digest = Hash::of(content.as_bytes()).to_string();
    let text = raw.with_extension("proftext");
    fs::write(&text, content).context("what was counted cannot be written")?;
    while let Some(old) = known(folder)? {
        fs::remove_file(old).context("what was counted before cannot be removed")?;
    }
    let profile = folder.join(&digest[..8]).with_extension(ENDING);
    let merged = Command::new(profdata)
        .args(["merge", "--output"])
        .args([&profile, &text])
        .status()
        .context("cannot start llvm-profdata")?;
    ensure!(merged.success(), "llvm-profdata failed ({merged})");
    Ok(profile)
}

fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// The text form: of each function its name, the hash of its shape, and how often each part of it ran.
fn text_of(counted: &InstrumentationProfile) -> String {
    let mut text = ":ir\n".to_owned();
    if counted.is_entry_first() {
        text.push_str(":entry_first\n");
    }
    for record in counted.records() {
        let (Some(name), Some(hash)) = (record.name(), record.hash) else { continue };
        let counts = record.counts();
        // Text and memory: there is nothing here that can fail.
        let _ = writeln!(text, "{name}\n{hash}\n{}", counts.len());
        for count in counts {
            let _ = writeln!(text, "{count}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_was_counted() -> anyhow::Result<()> {
        let text = ":ir\nmain\n1063705162469825436\n2\n7\n0\n\ncrate.cgu.0;other\n12\n1\n3\n\n";
        let counted = llvm_profparser::parse_bytes(text.as_bytes())?;
        assert_eq!(text_of(&counted), text);
        Ok(())
    }

    #[test]
    fn nothing_counted_is_an_error() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let failed = merge(folder.path(), Path::new("llvm-profdata"), folder.path());
        assert_eq!(
            failed.map_err(|error| error.to_string()),
            Err("nothing was counted".to_owned())
        );
        assert_eq!(known(folder.path())?, None);
        Ok(())
    }
}
