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

/// Of a hundred functions of our own that ran, how many the program has to have under the same name; the
/// others are put in place where they are called, and have no name any more.
const LEAST_PERCENT: usize = 40;
/// What is in the names of our own. What only others are made of says nothing of the whole.
const OWN: &str = "keyreeve";

/// A short digest of what is in the names of all functions.
pub(super) fn made_of() -> anyhow::Result<String> {
    let compiler = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let read =
        |file: &PathBuf| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    let contents: Vec<Vec<u8>> = manifests()?.iter().map(read).collect::<anyhow::Result<_>>()?;
    Ok(digest_of(&compiler.stdout, &contents))
}

fn digest_of(compiler: &[u8], contents: &[Vec<u8>]) -> String {
    let each = [Hash::of(compiler)].into_iter().chain(contents.iter().map(|it| Hash::of(it)));
    let parts: String = each.map(|digest| digest.to_string()).collect();
    Hash::of(parts.as_bytes()).to_string()[..8].to_owned()
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
        !ran.is_empty() && found * 100 >= ran.len() * LEAST_PERCENT,
        "of {} functions of our own that ran while it was counted the program has {found} under the \
         same name: it was counted in another program (`cargo xtask dist --train` counts anew)",
        ran.len()
    );
    eprintln!(
        "dist: laid out by what was counted ({found} of our {} functions that ran)",
        ran.len()
    );
    Ok(())
}

/// Our own functions of a profile in text form of which any part ran.
fn names_that_ran(text: &str) -> HashSet<&str> {
    let mut ran = HashSet::new();
    for record in text.split("\n\n") {
        let mut lines = record.lines().filter(|line| !line.starts_with(':'));
        let Some(name) = lines.next() else { continue };
        // Behind the name its shape, and how many counts follow.
        if name.contains(OWN) && lines.skip(2).any(|count| count != "0") {
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

    const TEXT: &str = ":ir\nkeyreeve_main\n1\n2\n7\n0\n\nkeyreeve.cgu.0;keyreeve_other\n12\n1\n3\n\n\
                        keyreeve_never\n3\n1\n0\n\ntheirs\n3\n1\n8\n\n";

    #[test]
    fn only_what_ran_is_looked_for() {
        assert_eq!(names_that_ran(TEXT), HashSet::from(["keyreeve_main", "keyreeve_other"]));
    }

    #[test]
    fn a_profile_of_another_program_is_refused() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let (profile, program) = (folder.path().join("a.profdata"), folder.path().join("program"));
        fs::write(profile.with_extension(TEXT_ENDING), TEXT)?;
        fs::write(&program, b"\x7fELF\0keyreeve_main\0keyreeve_never\0")?;
        check(&profile, &program)?;
        fs::write(&program, b"\x7fELF\0keyreeve_main17h00\0keyreeve_never\0theirs\0")?;
        let refused = || check(&profile, &program).map_err(|error| error.to_string());
        assert!(refused().is_err_and(|words| words.contains("in another program")));
        // Nothing of it could be read.
        fs::write(profile.with_extension(TEXT_ENDING), ":ir\n")?;
        assert!(refused().is_err_and(|words| words.contains("of 0 functions")));
        Ok(())
    }

    #[test]
    fn each_part_is_in_the_digest() -> anyhow::Result<()> {
        let contents = [b"one".to_vec(), b"two".to_vec()];
        let digest = digest_of(b"rustc 1", &contents);
        assert_eq!(digest, digest_of(b"rustc 1", &contents));
        assert_ne!(digest, digest_of(b"rustc 2", &contents));
        assert_ne!(digest, digest_of(b"rustc 1", &[b"one".to_vec(), b"three".to_vec()]));
        assert_ne!(digest, digest_of(b"rustc 1", &[b"on".to_vec(), b"etwo".to_vec()]));
        let names: Vec<String> = manifests()?.iter().map(|it| it.display().to_string()).collect();
        for part in ["/Cargo.lock", "/crates/keyreeve/Cargo.toml"] {
            assert!(names.iter().any(|name| name.ends_with(part)), "{part} in {names:?}");
        }
        Ok(())
    }
}
