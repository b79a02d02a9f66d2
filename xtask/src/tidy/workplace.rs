//! Nothing of the place the work was done at is in the repository.
//!
//! The names are written in pieces, so that this file passes its own check.

/// Hosts of package registries: a build takes them from its own configuration.
const REGISTRY_HOSTS: [&str; 9] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("proxy.", "golang.org"),
    concat!("rubygems", ".org"),
    concat!("repo.maven", ".apache.org"),
];
/// Absolute paths of a workplace.
const WORKPLACES: [&str; 2] = [concat!("/wo", "rk/"), concat!("/tmp/", "bash_jobs")];
/// Settings that point cargo at another registry.
const CARGO_SETTINGS: [&str; 3] = ["[source", "[registries", "replace-with"];
/// Where every package of a lock file comes from.
const PUBLIC_INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What a tracked file says about the place it was made at.
pub(super) fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        for host in REGISTRY_HOSTS.into_iter().filter(|host| line.contains(host)) {
            complaints.push(format!("{path}:{number}: names the package registry {host}"));
        }
        for place in WORKPLACES.into_iter().filter(|place| names_place(line, place)) {
            complaints.push(format!("{path}:{number}: names the workplace path {place}"));
        }
        if let Some(setting) = registry_setting(path, line) {
            complaints.push(format!("{path}:{number}: sets another package registry: {setting}"));
        }
    }
    complaints
}

/// Whether a line names an absolute path, and not a longer one that contains it.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|sign| sign.is_alphanumeric() || "._-*}>)".contains(sign))
    })
}

/// The setting of a cargo configuration or the source in a lock file that is not the public index.
fn registry_setting<'a>(path: &str, line: &'a str) -> Option<&'a str> {
    let line = line.trim();
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_setting = path.contains(".cargo/config")
        && CARGO_SETTINGS.iter().any(|setting| line.starts_with(setting));
    let is_source = name == "Cargo.lock"
        && line
            .strip_prefix("source = \"")
            .is_some_and(|source| source.trim_end_matches('"') != PUBLIC_INDEX);
    (is_setting || is_source).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_hosts_fail() {
        for host in REGISTRY_HOSTS {
            let text = format!("see https://{host}/packages\n");
            assert_eq!(complaints("docs/a.md", &text).len(), 1, "{host}");
        }
    }

    #[test]
    fn workplace_paths_fail() {
        for place in WORKPLACES {
            for text in [format!("{place}a"), format!("cd {place}a"), format!("\"{place}a\"")] {
                assert_eq!(complaints("docs/a.md", &text).len(), 1, "{text}");
            }
        }
    }

    #[test]
    fn longer_paths_and_prose_pass() {
        let inside = format!("see crates{}a and ..{}b", WORKPLACES[0], WORKPLACES[0]);
        for text in [inside.as_str(), "the work is done", "a crate of crates.io", "/tmp/other"] {
            assert!(complaints("docs/a.md", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_complaint_names_the_line() {
        let text = format!("one\ntwo {}x\n", WORKPLACES[1]);
        let complaints = complaints("a.md", &text);
        assert!(complaints.iter().all(|complaint| complaint.starts_with("a.md:2: ")));
        assert_eq!(complaints.len(), 1);
    }

    #[test]
    fn only_the_public_index_is_in_lock_files() {
        let public = format!("source = \"{PUBLIC_INDEX}\"\n");
        assert!(complaints("Cargo.lock", &public).is_empty());
        let other = "source = \"sparse+https://mirror.example/index/\"\n";
        assert_eq!(complaints("Cargo.lock", other).len(), 1);
        assert!(complaints("docs/a.md", other).is_empty());
    }

    #[test]
    fn cargo_is_not_pointed_elsewhere() {
        let other = "[source.mirror]\n";
        assert_eq!(complaints(".cargo/config.toml", other).len(), 1);
        assert!(complaints(".cargo/config.toml", "[alias]\nxtask = \"run\"\n").is_empty());
    }
}
