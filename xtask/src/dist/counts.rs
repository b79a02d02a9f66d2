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
use llvm_profparser::instrumentation_profile::types::InstrumentationProfile;

use crate::program;

/// Where `llvm-profdata` is, if it is on this machine.
pub(super) fn program() -> Option<PathBuf> {
    program::find("llvm-profdata", Path::new("/usr/bin/llvm-profdata"))
}

/// Puts together all that was counted in a folder.
pub(super) fn merge(raw: &Path, profdata: &Path, profile: &Path) -> anyhow::Result<()> {
    let files = fs::read_dir(raw)?.map(|entry| Ok(entry?.path()));
    let files = files.collect::<anyhow::Result<Vec<PathBuf>>>()?;
    ensure!(!files.is_empty(), "nothing was counted");
    let counted =
        llvm_profparser::merge_profiles(&files).context("what was counted cannot be read")?;
    let text = raw.with_extension("proftext");
    fs::write(&text, text_of(&counted)).context("what was counted cannot be written")?;
    let merged = Command::new(profdata)
        .args(["merge", "--output"])
        .args([profile, &text])
        .status()
        .context("cannot start llvm-profdata")?;
    ensure!(merged.success(), "llvm-profdata failed ({merged})");
    Ok(())
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
        let failed = merge(folder.path(), Path::new("llvm-profdata"), Path::new("profile"));
        assert_eq!(
            failed.map_err(|error| error.to_string()),
            Err("nothing was counted".to_owned())
        );
        Ok(())
    }
}
