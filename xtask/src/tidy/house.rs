//! Which crate may depend on which: the order of the house.

use std::collections::BTreeSet;

use serde_json::Value;

/// What a workspace crate may depend on inside the workspace.
enum Allowed {
    /// Every crate.
    Everything,
    /// These crates.
    Only(&'static [&'static str]),
}

/// Every crate of the workspace with what it may depend on; tests are exempt.
static HOUSE: [(&str, Allowed); 13] = [
    ("keyreeve-core", Allowed::Only(&[])),
    ("keyreeve-catalog", Allowed::Only(&["keyreeve-core"])),
    ("keyreeve-api", Allowed::Only(&["keyreeve-core"])),
    ("keyreeve-engine", Allowed::Only(&["keyreeve-catalog", "keyreeve-core"])),
    ("keyreeve-net", Allowed::Only(&[])),
    ("keyreeve-scan", Allowed::Only(&["keyreeve-catalog", "keyreeve-core"])),
    ("keyreeve-check", Allowed::Only(&["keyreeve-catalog", "keyreeve-core"])),
    (
        "keyreeve-server",
        Allowed::Only(&[
            "keyreeve-engine",
            "keyreeve-api",
            "keyreeve-catalog",
            "keyreeve-core",
            "keyreeve-net",
        ]),
    ),
    (
        "keyreeve-gateway",
        Allowed::Only(&["keyreeve-engine", "keyreeve-catalog", "keyreeve-core", "keyreeve-net"]),
    ),
    ("keyreeve-store", Allowed::Only(&["keyreeve-engine", "keyreeve-core"])),
    (
        "keyreeve-connectors",
        Allowed::Only(&["keyreeve-engine", "keyreeve-catalog", "keyreeve-core"]),
    ),
    ("keyreeve", Allowed::Everything),
    ("xtask", Allowed::Everything),
];

/// Outside crates that only these crates may depend on.
static FENCED: [(&str, &[&str]); 6] = [
    ("rusqlite", &["keyreeve-store"]),
    ("sqlx", &["keyreeve-store"]),
    ("redis", &["keyreeve-store"]),
    ("hyper", &["keyreeve-server", "keyreeve-gateway", "xtask"]),
    ("axum", &["keyreeve-server", "keyreeve-gateway", "xtask"]),
    ("clap", &["keyreeve", "xtask"]),
];

/// Outside crates that these crates must never depend on.
const FORBIDDEN: [(&str, &str); 1] = [("keyreeve-core", "tokio")];

/// What is wrong with the dependencies in the output of `cargo metadata --no-deps`.
pub(super) fn complaints(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    if packages.is_empty() {
        return vec!["cargo metadata names no packages".to_owned()];
    }
    let members: BTreeSet<&str> = packages.iter().filter_map(|it| it["name"].as_str()).collect();
    packages.iter().flat_map(|package| complaints_about(package, &members)).collect()
}

/// What is wrong with the dependencies of one package.
fn complaints_about(package: &Value, members: &BTreeSet<&str>) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = HOUSE.iter().find(|(known, _)| *known == name) else {
        return vec![format!(
            "{name}: unknown workspace crate: add it to the house in xtask/src/tidy/house.rs"
        )];
    };
    let mut complaints = Vec::new();
    for dependency in dependencies_of(package) {
        if members.contains(dependency) && !allows(allowed, dependency) {
            complaints.push(format!("{name} must not depend on {dependency}"));
        }
        let fence = FENCED.iter().find(|(fenced, _)| *fenced == dependency);
        if let Some((_, inside)) = fence
            && !inside.contains(&name)
        {
            let inside = inside.join(", ");
            complaints.push(format!("{name} must not depend on {dependency}: only {inside} may"));
        }
        if FORBIDDEN.contains(&(name, dependency)) {
            complaints.push(format!("{name} must not depend on {dependency}"));
        }
    }
    complaints
}

/// The names of what a package depends on outside of its tests.
fn dependencies_of(package: &Value) -> BTreeSet<&str> {
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    dependencies
        .iter()
        .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
        .filter_map(|dependency| dependency["name"].as_str())
        .collect()
}

/// Whether a dependency inside the workspace is allowed.
fn allows(allowed: &Allowed, dependency: &str) -> bool {
    match allowed {
        Allowed::Everything => true,
        Allowed::Only(names) => names.contains(&dependency),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The complaints about one crate with one dependency, next to the known crates.
    fn complaints_of(name: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        let mut packages: Vec<Value> = HOUSE
            .iter()
            .filter(|(known, _)| *known != name)
            .map(|(known, _)| json!({ "name": known, "dependencies": [] }))
            .collect();
        let dependency = json!({ "name": dependency, "kind": kind });
        packages.push(json!({ "name": name, "dependencies": [dependency] }));
        complaints(&json!({ "packages": packages }))
    }

    #[test]
    fn the_allowed_directions_pass() {
        for (name, dependency) in [
            ("keyreeve-engine", "keyreeve-core"),
            ("keyreeve-server", "keyreeve-api"),
            ("keyreeve-store", "rusqlite"),
            ("keyreeve-server", "axum"),
            ("keyreeve-gateway", "hyper"),
            ("keyreeve", "clap"),
            ("keyreeve", "keyreeve-store"),
            ("xtask", "hyper"),
            ("keyreeve-core", "serde"),
            ("keyreeve-engine", "tokio"),
        ] {
            assert!(complaints_of(name, dependency, None).is_empty(), "{name} -> {dependency}");
        }
    }

    #[test]
    fn every_other_direction_fails() {
        for (name, dependency) in [
            ("keyreeve-core", "keyreeve-engine"),
            ("keyreeve-engine", "keyreeve-store"),
            ("keyreeve-server", "keyreeve-store"),
            ("keyreeve-api", "keyreeve-engine"),
            ("keyreeve-store", "keyreeve-api"),
            ("keyreeve", "rusqlite"),
            ("keyreeve-engine", "axum"),
            ("keyreeve-server", "clap"),
            ("keyreeve-core", "tokio"),
        ] {
            assert_eq!(complaints_of(name, dependency, None).len(), 1, "{name} -> {dependency}");
        }
    }

    #[test]
    fn tests_are_exempt_and_build_scripts_are_not() {
        assert!(complaints_of("keyreeve-core", "tokio", Some("dev")).is_empty());
        assert_eq!(complaints_of("keyreeve-core", "tokio", Some("build")).len(), 1);
    }

    #[test]
    fn an_unknown_crate_fails() {
        let complaints = complaints_of("keyreeve-new", "serde", None);
        assert_eq!(complaints.len(), 1);
        assert!(complaints.iter().all(|complaint| complaint.contains("add it to the house in")));
    }

    #[test]
    fn no_packages_fail() {
        assert_eq!(complaints(&json!({})).len(), 1);
    }
}
