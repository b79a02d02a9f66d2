//! Whether what was counted is of the program that is laid out by it. The compiler finds functions by their
//! names, in which there is a digest of the compiler, the profile of cargo, the features and all
//! dependencies; where it finds none it says nothing, and the program is as if nothing had been counted.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use keyreeve_core::audit::Hash;

use super::counts::TEXT_ENDING;
use crate::workspace;

/// Of a hundred functions that ran, how many the program has to have under the same name; most are put in
/// place where they are called, and have no name any more.
const LEAST_PERCENT: usize = 10;

/// A short digest of what is in the names of all functions.
pub(super) fn made_of() -> anyhow::Result<String> {
    let compiler = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let mut parts = compiler.stdout;
    for file in manifests()? {
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        parts.extend(content);
    }
    let digest = Hash::of(&parts).to_string();
    Ok(digest[..8].to_owned())
}

/// What says which dependencies and features there are.
fn manifests() -> anyhow::Result<Vec<PathBuf>> {
    let root = workspace::root()?;
    let metadata = workspace::metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let of_packages = packages.iter().filter_map(|it| it["manifest_path"].as_str());
    let mut files: Vec<PathBuf> = of_packages.map(PathBuf::from).collect();
    files.extend([root.join("Cargo.toml"), root.join("Cargo.lock")]);
    files.sort();
    Ok(files)
}

/// Fails unless functions that ran while it was counted are in the program.
pub(super) fn check(profile: &Path, program: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(profile.with_extension(TEXT_ENDING))
        .context("what was counted is not there as text; `cargo xtask dist --train` counts anew")?;
    let ran = names_that_ran(&text);
    let program = fs::read(program).context("cannot read the program")?;
    let found = found_in(&program, &ran);
    ensure!(
        found * 100 >= ran.len() * LEAST_PERCENT,
        "of {} functions that ran while it was counted the program has {found} under the same name: it \
         was counted in another program (`cargo xtask dist --train` counts anew)",
        ran.len()
    );
    eprintln!("dist: laid out by what was counted ({found} of {} functions that ran)", ran.len());
    Ok(())
}

/// The functions of a profile in text form of which any part ran.
fn names_that_ran(text: &str) -> HashSet<&str> {
    let mut ran = HashSet::new();
    for record in text.split("\n\n") {
        let mut lines = record.lines().filter(|line| !line.starts_with(':'));
        let Some(name) = lines.next() else { continue };
        // Behind the name its shape, and how many counts follow.
        if lines.skip(2).any(|count| count != "0") {
            // What is seen in one file only stands behind that file's name.
            ran.insert(name.rsplit(';').next().unwrap_or(name));
        }
    }
    ran
}

/// How many of these names are among the symbols of a program, each of which ends with a zero.
fn found_in(program: &[u8], names: &HashSet<&str>) -> usize {
    let symbols = program.split(|byte| *byte == 0).filter_map(|it| std::str::from_utf8(it).ok());
    let found: HashSet<&str> = symbols.filter(|symbol| names.contains(symbol)).collect();
    found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ":ir\nmain\n1\n2\n7\n0\n\ncrate.cgu.0;other\n12\n1\n3\n\nnever\n3\n1\n0\n\n";

    #[test]
    fn only_what_ran_is_looked_for() {
        assert_eq!(names_that_ran(TEXT), HashSet::from(["main", "other"]));
    }

    #[test]
    fn a_profile_of_another_program_is_refused() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let (profile, program) = (folder.path().join("a.profdata"), folder.path().join("program"));
        fs::write(profile.with_extension(TEXT_ENDING), TEXT)?;
        fs::write(&program, b"\x7fELF\0main\0never\0")?;
        check(&profile, &program)?;
        fs::write(&program, b"\x7fELF\0main17h00\0never\0")?;
        let refused = check(&profile, &program).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|words| words.contains("in another program")));
        Ok(())
    }

    #[test]
    fn the_same_parts_have_the_same_digest() -> anyhow::Result<()> {
        assert_eq!(made_of()?, made_of()?);
        assert_eq!(made_of()?.len(), 8);
        Ok(())
    }
}
