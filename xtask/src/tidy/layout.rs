//! Files say what they are for, and stay short enough to read.

use super::source::Source;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];
/// How many lines a source may have, its tests included.
const LONGEST: usize = 600;

/// What is wrong with the name and the length of one source.
pub(super) fn complaints(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut complaints = Vec::new();
    if path.rsplit('/').next() == Some("mod.rs") {
        complaints.push(format!("{path}: no mod.rs: name the file after its module"));
    }
    for part in path.split('/') {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        if EMPTY_NAMES.contains(&stem) {
            complaints.push(format!("{path}: `{stem}` says nothing: name it after what it does"));
        }
    }
    for (number, line) in (1_usize..).zip(source.code.lines()) {
        if let Some(name) = declared_module(line)
            && EMPTY_NAMES.contains(&name)
        {
            complaints.push(format!(
                "{path}:{number}: module `{name}` says nothing: name it after what it does"
            ));
        }
    }
    let lines = source.text.lines().count();
    if lines > LONGEST {
        complaints.push(format!("{path}: {lines} lines: split it, {LONGEST} is the most"));
    }
    complaints
}

/// The module a line declares.
fn declared_module(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == "mod")?;
    let name = words.next()?;
    Some(name.trim_end_matches([';', '{', '}']))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many complaints there are about this path and text.
    fn count(path: &str, text: &str) -> usize {
        complaints(&Source::new(path, text)).len()
    }

    #[test]
    fn files_that_say_what_they_are_pass() {
        assert_eq!(count("crates/a/src/key.rs", "mod parse;\nmod commons;\n"), 0);
        assert_eq!(count("crates/a/src/model.rs", "// mod util;\n"), 0);
    }

    #[test]
    fn mod_rs_fails() {
        assert_eq!(count("crates/a/src/key/mod.rs", ""), 1);
    }

    #[test]
    fn empty_names_fail() {
        for path in ["crates/a/src/utils.rs", "crates/a/tests/common/b.rs", "xtask/src/misc.rs"] {
            assert_eq!(count(path, ""), 1, "{path}");
        }
        for text in ["mod util;", "pub(crate) mod helpers {", "    mod common {}"] {
            assert_eq!(count("crates/a/src/lib.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn only_long_files_fail() {
        assert_eq!(count("crates/a/src/lib.rs", &"\n".repeat(LONGEST)), 0);
        assert_eq!(count("crates/a/src/lib.rs", &"\n".repeat(LONGEST + 1)), 1);
    }
}
