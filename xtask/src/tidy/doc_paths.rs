//! A document that names a file of the repository names one that exists.

/// What the paths of the repository begin with.
const FOLDERS: [&str; 7] = ["crates/", "docs/", "xtask/", "fuzz/", ".ci/", "examples/", "deploy/"];
/// Signs that stand for something else: the path is checked up to the part that has one.
const PLACEHOLDERS: [char; 10] = ['*', '?', '<', '>', '{', '}', '[', ']', '$', '…'];

/// The paths in backticks that do not exist.
pub(super) fn complaints(file: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut in_a_block = false;
    for (number, line) in (1_usize..).zip(text.lines()) {
        let start = line.trim_start();
        if start.starts_with("```") || start.starts_with("~~~") {
            in_a_block = !in_a_block;
            continue;
        }
        if in_a_block {
            continue;
        }
        for word in code_words(line) {
            if let Some(path) = repository_path(word)
                && !exists(path)
            {
                complaints.push(format!("{file}:{number}: `{path}` does not exist"));
            }
        }
    }
    complaints
}

/// The words between backticks.
fn code_words(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).flat_map(str::split_whitespace)
}

/// The path of the repository that a word names, without line number, anchor and placeholders.
fn repository_path(word: &str) -> Option<&str> {
    let word = word.trim_start_matches(['(', '"', '\'']);
    if !FOLDERS.iter().any(|folder| word.starts_with(folder)) {
        return None;
    }
    let end = word.find(['#', ':', ',', ';', ')', '"', '\'']).unwrap_or(word.len());
    let path = word[..end].trim_end_matches('.');
    match path.find(PLACEHOLDERS) {
        Some(placeholder) => path[..placeholder].rfind('/').map(|slash| &path[..slash]),
        None => Some(path.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complaints about a document in a tree with only these paths.
    fn complaints_of(text: &str) -> Vec<String> {
        let tree = ["crates/a", "crates/a/src/lib.rs", "docs", "docs/adr"];
        complaints("README.md", text, |path| tree.contains(&path))
    }

    #[test]
    fn paths_that_exist_pass() {
        for text in [
            "See `crates/a/src/lib.rs` and `docs/adr/`.",
            "Line `crates/a/src/lib.rs:12`, and `docs/adr#why`.",
            "All of `docs/adr/*.md` and `docs/adr/<number>.md`.",
            "Run `cat crates/a/src/lib.rs`.",
        ] {
            assert!(complaints_of(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_of_the_repository_passes() {
        for text in [
            "docs/gone.md without backticks",
            "`/api/v1/verify` and `application/json` and `my/docs/a.md`",
            "```sh\ncat `docs/gone.md`\n```",
        ] {
            assert!(complaints_of(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn paths_that_do_not_exist_fail() {
        for text in [
            "`docs/gone.md`",
            "a `b` c `crates/gone/` d",
            "`crates/gone/*.rs`",
            "Run `cat docs/gone.md`.",
            "```\n```\n`deploy/gone.yml`",
        ] {
            assert_eq!(complaints_of(text).len(), 1, "{text}");
        }
        let expected = "README.md:2: `docs/gone.md` does not exist";
        assert_eq!(complaints_of("\n`docs/gone.md`"), [expected]);
    }
}
