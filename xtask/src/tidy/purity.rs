//! The core has no files, no environment, no clock and no runtime.

use super::source::{Source, is_name_sign, line_of};

/// The sources that are held to it.
const CORE: &str = "crates/keyreeve-core/src/";
/// What the code of the core must not name.
const IMPURE: [&str; 5] = ["std::fs", "std::env", "SystemTime::now", "Timestamp::now", "tokio"];
/// The same inside `use std::{…}`.
const IMPURE_IN_STD: [&str; 2] = ["fs", "env"];

/// What is wrong with one source; comments and strings may say anything.
pub(super) fn complaints(source: &Source) -> Vec<String> {
    if !source.path.starts_with(CORE) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in (1_usize..).zip(source.code.lines()) {
        for impure in IMPURE.into_iter().filter(|impure| names(line, impure)) {
            complaints.push(complaint(source, number, impure));
        }
    }
    for (number, module) in grouped_in_std(&source.code) {
        complaints.push(complaint(source, number, &format!("std::{module}")));
    }
    complaints
}

/// One complaint about one line.
fn complaint(source: &Source, line: usize, impure: &str) -> String {
    format!("{}:{line}: keyreeve-core must not use {impure}", source.path)
}

/// Whether a line names a path, and not a longer name that contains it.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        !before.is_some_and(is_name_sign) && !after.is_some_and(is_name_sign)
    })
}

/// The impure modules that are taken from `std::{…}`, with their lines (from 1).
fn grouped_in_std(code: &str) -> Vec<(usize, &'static str)> {
    const OPENING: &str = "std::{";
    let mut found = Vec::new();
    for (at, _) in code.match_indices(OPENING) {
        let first_segments = entries(&code[at + OPENING.len()..]);
        for impure in IMPURE_IN_STD {
            if first_segments.iter().any(|segment| segment == impure) {
                found.push((line_of(code, at) + 1, impure));
            }
        }
    }
    found
}

/// The first segments of the entries of a brace group whose opening brace is left out.
fn entries(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut entries = vec![String::new()];
    for sign in group.chars() {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entries.push(String::new()),
            _ if depth == 0 => {
                if let Some(entry) = entries.last_mut() {
                    entry.push(sign);
                }
            }
            _ => {}
        }
    }
    entries.iter().map(|entry| first_name(entry)).collect()
}

/// The name an entry of a brace group begins with.
fn first_name(entry: &str) -> String {
    entry.trim_start().chars().take_while(|sign| is_name_sign(*sign)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many complaints there are about this text in the core.
    fn count(text: &str) -> usize {
        complaints(&Source::new("crates/keyreeve-core/src/key.rs", text)).len()
    }

    #[test]
    fn impure_code_fails() {
        for text in [
            "use std::fs;",
            "let a = std::env::var(b);",
            "let now = SystemTime::now();",
            "let now = jiff::Timestamp::now();",
            "use tokio::sync::Mutex;",
            "use std::{fmt, fs::File};",
            "use std::{\n    collections::{BTreeMap, HashMap},\n    env,\n};",
        ] {
            assert_eq!(count(text), 1, "{text}");
        }
    }

    #[test]
    fn pure_code_passes() {
        for text in [
            "// no tokio here",
            "let a = \"std::fs\";",
            "use std::fmt;",
            "let tokio_like = 1;",
            "use std::{fmt, collections::{BTreeMap}};",
            "let a = env!(\"CARGO_PKG_VERSION\");",
        ] {
            assert_eq!(count(text), 0, "{text}");
        }
    }

    #[test]
    fn other_crates_may() {
        let source = Source::new("crates/keyreeve-store/src/lib.rs", "use std::fs;");
        assert!(complaints(&source).is_empty());
    }

    #[test]
    fn a_complaint_names_the_line() {
        let source = Source::new("crates/keyreeve-core/src/lib.rs", "\n\nuse std::fs;\n");
        let expected = "crates/keyreeve-core/src/lib.rs:3: keyreeve-core must not use std::fs";
        assert_eq!(complaints(&source), [expected]);
    }
}
