//! Reads the files that the checks look at.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::source::Source;

/// Folders that hold Rust sources.
const RUST_FOLDERS: [&str; 3] = ["crates", "fuzz", "xtask"];
/// Documents in the root whose paths are checked.
const ROOT_DOCUMENTS: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Every Rust source of the repository.
pub(super) fn rust_files(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut paths = Vec::new();
    for folder in RUST_FOLDERS {
        walk(&root.join(folder), "rs", &mut paths)?;
    }
    paths.iter().map(|path| anyhow::Ok(Source::new(&relative(root, path), &read(path)?))).collect()
}

/// Every document whose paths are checked, with its text.
pub(super) fn documents(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut paths: Vec<PathBuf> =
        ROOT_DOCUMENTS.iter().map(|name| root.join(name)).filter(|path| path.is_file()).collect();
    walk(&root.join("docs"), "md", &mut paths)?;
    paths.iter().map(|path| anyhow::Ok((relative(root, path), read(path)?))).collect()
}

/// Every file git tracks, with its text as far as it is text.
pub(super) fn tracked_files(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .context("cannot start git ls-files")?;
    anyhow::ensure!(
        listed.status.success(),
        "git ls-files failed: {}",
        String::from_utf8_lossy(&listed.stderr).trim()
    );
    let mut files = Vec::new();
    for name in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        let path = root.join(name);
        // A tracked file that was just deleted is git's matter.
        if path.is_file() {
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push((name.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(files)
}

/// The text of a file, or nothing where there is no such file.
pub(super) fn text_or_nothing(root: &Path, name: &str) -> anyhow::Result<String> {
    match std::fs::read_to_string(root.join(name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        text => text.with_context(|| format!("cannot read {name}")),
    }
}

/// Adds the files with this extension below a folder, in a fixed order.
fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let listed = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>();
    let mut paths = listed.with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !is_skipped(&path) {
                walk(&path, extension, found)?;
            }
        } else if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether a folder holds build output or is hidden.
fn is_skipped(folder: &Path) -> bool {
    folder
        .file_name()
        .is_some_and(|name| name == "target" || name.to_string_lossy().starts_with('.'))
}

/// The text of a file.
fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A path as seen from the root, with `/` between its parts.
fn relative(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below.iter().map(OsStr::to_string_lossy).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_found_and_build_output_is_not() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        for name in ["crates/a/src/lib.rs", "crates/a/target/x.rs", "docs/a.md", "docs/b/c.md"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().context("a parent")?)?;
            std::fs::write(path, "text")?;
        }
        let sources: Vec<_> =
            rust_files(folder.path())?.into_iter().map(|source| source.path).collect();
        assert_eq!(sources, ["crates/a/src/lib.rs"]);
        let documents: Vec<_> =
            documents(folder.path())?.into_iter().map(|(path, _)| path).collect();
        assert_eq!(documents, ["docs/a.md", "docs/b/c.md"]);
        assert_eq!(text_or_nothing(folder.path(), "absent.md")?, "");
        Ok(())
    }
}
