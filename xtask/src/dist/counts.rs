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
/// The same as text.
pub(super) const TEXT_ENDING: &str = "proftext";

/// What was counted before in a program that was made of the same, as the compiler reads it.
pub(super) fn known(folder: &Path, made_of: &str) -> anyhow::Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let begins = |file: &Path| {
        let name = file.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(made_of))
    };
    let mut files = files_in(folder)?.into_iter();
    Ok(files.find(|file| ends_with(file, ENDING) && begins(file)))
}

fn ends_with(file: &Path, ending: &str) -> bool {
    file.extension().is_some_and(|it| it == ending)
}

/// Puts together all that was counted in a folder, and keeps it in the other one in place of what was
/// there. It is named by what the program was made of, and by what it holds: a build tool that knows the
/// name alone builds anew.
pub(super) fn merge(
    raw: &Path,
    profdata: &Path,
    folder: &Path,
    made_of: &str,
) -> anyhow::Result<PathBuf> {
    let files = files_in(raw)?;
    ensure!(!files.is_empty(), "nothing was counted");
    let counted =
        llvm_profparser::merge_profiles(&files).context("what was counted cannot be read")?;
    let content = text_of(&counted);
    let digest = Hash::of(content.as_bytes()).to_string();
    for old in files_in(folder)? {
        if ends_with(&old, ENDING) || ends_with(&old, TEXT_ENDING) {
            fs::remove_file(old).context("what was counted before cannot be removed")?;
        }
    }
    let profile = folder.join(format!("{made_of}-{}.{ENDING}", &digest[..8]));
    let text = profile.with_extension(TEXT_ENDING);
    fs::write(&text, content).context("what was counted cannot be written")?;
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
        let failed = merge(folder.path(), Path::new("llvm-profdata"), folder.path(), "a");
        assert_eq!(
            failed.map_err(|error| error.to_string()),
            Err("nothing was counted".to_owned())
        );
        assert_eq!(known(folder.path(), "a")?, None);
        Ok(())
    }

    #[test]
    fn what_was_counted_in_a_program_of_other_parts_is_not_used() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let profile = folder.path().join("0123abcd-89ef4567.profdata");
        fs::write(&profile, "")?;
        fs::write(profile.with_extension(TEXT_ENDING), "")?;
        assert_eq!(known(folder.path(), "0123abcd")?, Some(profile));
        assert_eq!(known(folder.path(), "0123abce")?, None);
        Ok(())
    }
}
