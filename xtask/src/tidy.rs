//! `xtask tidy`: the rules of the tree that no compiler checks.
//!
//! Every check is a pure function from text to complaints; this file reads the tree and runs them.

mod dependencies;
mod doc_paths;
mod expose;
mod house;
mod layout;
mod purity;
mod source;
mod tree;
mod workplace;

use std::path::Path;

use crate::workspace;

/// Where every outside dependency is accounted for.
const DEPENDENCY_DOC: &str = "docs/dependencies.md";

/// Checks the tree, prints every complaint, and fails when there is one.
pub(crate) fn run() -> anyhow::Result<()> {
    let complaints = check_tree(&workspace::root()?)?;
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    anyhow::ensure!(complaints.is_empty(), "the tree is not tidy: {} complaints", complaints.len());
    println!("tidy: the tree is tidy");
    Ok(())
}

/// Every complaint about the tree below this root.
fn check_tree(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut complaints = house::complaints(&workspace::metadata()?);
    for file in tree::rust_files(root)? {
        complaints.extend(purity::complaints(&file));
        complaints.extend(layout::complaints(&file));
        complaints.extend(expose::complaints(&file));
    }
    for (path, text) in tree::documents(root)? {
        let exists = |named: &str| root.join(named).exists();
        complaints.extend(doc_paths::complaints(&path, &text, exists));
    }
    complaints.extend(dependencies::complaints(
        DEPENDENCY_DOC,
        &tree::text_or_nothing(root, "Cargo.toml")?,
        &tree::text_or_nothing(root, DEPENDENCY_DOC)?,
    ));
    for (path, text) in tree::tracked_files(root)? {
        complaints.extend(workplace::complaints(&path, &text));
    }
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_is_tidy() -> anyhow::Result<()> {
        let complaints = check_tree(&workspace::root()?)?;
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        Ok(())
    }
}
