//! Every outside dependency is accounted for in a document, and nothing else is.

use std::collections::BTreeSet;

/// What the crates of the workspace itself begin with.
const OWN: &str = "keyreeve-";

/// Where the manifest of the workspace and the document about its dependencies differ.
pub(super) fn complaints(doc_path: &str, manifest: &str, doc: &str) -> Vec<String> {
    if doc.is_empty() {
        return vec![format!("{doc_path} is missing: it has a line for every dependency")];
    }
    let used = workspace_dependencies(manifest);
    let missing = used
        .iter()
        .filter(|name| !doc.contains(&format!("`{name}`")))
        .map(|name| format!("{doc_path}: no line on `{name}`, which Cargo.toml depends on"));
    let listed = listed_dependencies(doc);
    let left_over = listed
        .iter()
        .filter(|name| !used.contains(*name))
        .map(|name| format!("{doc_path}: a line on `{name}`, which Cargo.toml does not depend on"));
    missing.chain(left_over).collect()
}

/// The outside crates of `[workspace.dependencies]`.
fn workspace_dependencies(manifest: &str) -> BTreeSet<&str> {
    const TABLE: &str = "[workspace.dependencies";
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            let rest = line.strip_prefix(TABLE).unwrap_or_default();
            inside = rest.starts_with(']');
            if let Some(name) = rest.strip_prefix('.').and_then(|rest| rest.split(']').next()) {
                names.insert(name.trim_matches('"'));
            }
        } else if inside && let Some(name) = key_of(line) {
            names.insert(name);
        }
    }
    names.retain(|name| !name.starts_with(OWN));
    names
}

/// The key of a line of a manifest; lines inside a longer value are indented or closing.
fn key_of(line: &str) -> Option<&str> {
    let first = line.chars().next()?;
    if !first.is_ascii_alphanumeric() && first != '"' {
        return None;
    }
    let (key, _) = line.split_once('=')?;
    let key = key.split('.').next().unwrap_or(key);
    Some(key.trim().trim_matches('"'))
}

/// The crates the document has a line on: list items and table rows that begin with a name in
/// backticks.
fn listed_dependencies(doc: &str) -> BTreeSet<&str> {
    doc.lines()
        .filter_map(|line| {
            let entry = line.strip_prefix(['-', '*', '|'])?;
            entry.trim_start().strip_prefix('`')?.split_once('`').map(|(name, _)| name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "\
[workspace.package]
version = \"1\"

[workspace.dependencies]
keyreeve-core = { path = \"crates/keyreeve-core\" }
# a comment = here
anyhow = \"1\"
tokio = { version = \"1\", features = [
    \"net\",
], default-features = false }
\"quoted\" = \"1\"

[workspace.dependencies.apart]
version = \"1\"

[profile.dev]
debug = true
";

    #[test]
    fn the_manifest_is_read() {
        let names: Vec<&str> = workspace_dependencies(MANIFEST).into_iter().collect();
        assert_eq!(names, ["anyhow", "apart", "quoted", "tokio"]);
    }

    #[test]
    fn a_complete_document_passes() {
        let doc = "# Why\n\nNot `listed`.\n\n- `anyhow`: errors\n| `tokio` | runtime |\n* `apart`\n\
                   - `quoted`: see `README.md`\n";
        assert!(complaints("d.md", MANIFEST, doc).is_empty());
    }

    #[test]
    fn a_missing_line_fails() {
        let doc = "- `anyhow`\n- `tokio`\n- `apart`\n";
        let expected = "d.md: no line on `quoted`, which Cargo.toml depends on";
        assert_eq!(complaints("d.md", MANIFEST, doc), [expected]);
    }

    #[test]
    fn a_left_over_line_fails() {
        let doc = "- `anyhow`\n- `tokio`\n- `apart`\n- `quoted`\n- `gone`: was used\n";
        let expected = "d.md: a line on `gone`, which Cargo.toml does not depend on";
        assert_eq!(complaints("d.md", MANIFEST, doc), [expected]);
    }

    #[test]
    fn no_document_fails() {
        assert_eq!(complaints("d.md", MANIFEST, "").len(), 1);
    }
}
