//! Who may do what at which paths: deny by default, deny wins, the most particular pattern counts.
//!
//! Rules are about the paths of secrets as people know them. What a Vault client calls
//! `secret/data/app`, `secret/metadata/app` or `secret/delete/app` is one path here, `app`, and
//! reading its value, listing its names and deleting it are capabilities. How patterns are ordered is
//! as OpenBao documents it: <https://openbao.org/docs/concepts/policies/>.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use super::{Capabilities, Capability};
use crate::Invalid;

/// The most rules of a policy.
const MOST_RULES: usize = 1_000;

/// A policy's name within its project.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyName(Arc<str>);

impl PolicyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PolicyName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(good) {
            return Err(Invalid::new("must be 1 to 64 characters of a-z, 0-9, '-' and '_'"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Paths: text in which `+` stands for one whole segment, and `*` at the end for any rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: Arc<str>,
    /// Up to the `*`, if there is one.
    open: bool,
}

impl PathPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn fixed(&self) -> &str {
        if self.open { self.text.strip_suffix('*').unwrap_or(&self.text) } else { &self.text }
    }

    /// Whether a path fits.
    pub fn matches(&self, path: &str) -> bool {
        let pattern = self.fixed();
        if !pattern.contains('+') {
            return if self.open { path.starts_with(pattern) } else { path == pattern };
        }
        let mut wanted = pattern.split('/').peekable();
        let mut found = path.split('/');
        while let Some(segment) = wanted.next() {
            let last = wanted.peek().is_none();
            if last && self.open {
                // The rest may be nothing more than this segment's beginning.
                return found.next().is_some_and(|it| segment == "+" || it.starts_with(segment));
            }
            match found.next() {
                Some(it) if segment == "+" || segment == it => {}
                _ => return false,
            }
        }
        found.next().is_none()
    }

    /// Whether it could match a path that begins so: then a folder on the way to it may be seen.
    pub fn reaches_into(&self, folder: &str) -> bool {
        let mut wanted = self.fixed().split('/');
        for segment in folder.trim_end_matches('/').split('/') {
            match wanted.next() {
                Some(it) if it == "+" || it == segment => {}
                Some(it) => return self.open && segment.starts_with(it) && wanted.next().is_none(),
                None => return self.open,
            }
        }
        self.open || wanted.next().is_some()
    }

    /// Which of two patterns that match one path is more particular, as OpenBao orders them: the
    /// later its first wildcard, then the one without `*`, then fewer `+`, then the longer, then the
    /// later in the alphabet.
    fn particularity(&self, other: &Self) -> Ordering {
        let wildcard = |it: &Self| it.text.find(['+', '*']).unwrap_or(usize::MAX);
        let plus = |it: &Self| it.text.split('/').filter(|segment| *segment == "+").count();
        wildcard(self)
            .cmp(&wildcard(other))
            .then_with(|| other.open.cmp(&self.open))
            .then_with(|| plus(other).cmp(&plus(self)))
            .then_with(|| self.text.len().cmp(&other.text.len()))
            .then_with(|| self.text.cmp(&other.text))
    }
}

impl FromStr for PathPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > 512 {
            return Err(Invalid::new("must be 1 to 512 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::new("must not contain control characters"));
        }
        let open = text.ends_with('*');
        let fixed = if open { text.strip_suffix('*').unwrap_or(text) } else { text };
        if fixed.contains('*') {
            return Err(Invalid::new("must have '*' only at its end"));
        }
        let plus = |segment: &str| segment.contains('+') && segment != "+";
        if fixed.split('/').any(plus) {
            return Err(Invalid::new("must have '+' only as a whole segment"));
        }
        if text.starts_with('/') {
            return Err(Invalid::new("must not begin with a slash"));
        }
        Ok(Self { text: text.into(), open })
    }
}

/// What may be done at the paths of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// Which paths.
    pub pattern: PathPattern,
    /// What may be done there.
    pub capabilities: Capabilities,
}

/// A named list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultPolicy {
    /// Its name.
    pub name: PolicyName,
    rules: Vec<PathRule>,
    /// As it was written.
    text: String,
}

impl VaultPolicy {
    /// A policy of these rules, kept together with the text they were read from.
    pub fn new(name: PolicyName, rules: Vec<PathRule>, text: String) -> Result<Self, Invalid> {
        if rules.len() > MOST_RULES {
            return Err(Invalid::new("must have at most 1000 rules"));
        }
        Ok(Self { name, rules, text })
    }

    /// Its rules, in the order in which they were written.
    pub fn rules(&self) -> &[PathRule] {
        &self.rules
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The rule that decides for a path, of all policies together, and what it grants: of all
    /// patterns that match the most particular one; the same pattern in several policies grants what
    /// any of them grants, unless one denies.
    pub fn decide<'p>(
        policies: impl IntoIterator<Item = &'p Self>,
        path: &str,
    ) -> Option<(&'p PathPattern, Capabilities, Vec<&'p PolicyName>)> {
        let mut best: Option<(&PathPattern, Capabilities, Vec<&PolicyName>)> = None;
        for policy in policies {
            for rule in &policy.rules {
                if !rule.pattern.matches(path) {
                    continue;
                }
                match &mut best {
                    Some((pattern, granted, names)) => match rule.pattern.particularity(pattern) {
                        Ordering::Greater => {
                            best = Some((&rule.pattern, rule.capabilities, vec![&policy.name]));
                        }
                        Ordering::Equal => {
                            *granted = granted.with(rule.capabilities);
                            names.push(&policy.name);
                        }
                        Ordering::Less => {}
                    },
                    None => best = Some((&rule.pattern, rule.capabilities, vec![&policy.name])),
                }
            }
        }
        best
    }

    /// Whether a folder may be seen in a listing: something below it may be listed.
    pub fn shows_folder<'p>(policies: impl IntoIterator<Item = &'p Self>, folder: &str) -> bool {
        policies.into_iter().flat_map(|policy| &policy.rules).any(|rule| {
            let lists = rule.capabilities.allow(Capability::List)
                || rule.capabilities.allow(Capability::Scan);
            lists && (folder.is_empty() || rule.pattern.reaches_into(folder))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.parse().unwrap()
    }

    fn policy(name: &str, rules: &[(&str, &[Capability])]) -> VaultPolicy {
        let rules = rules.iter().map(|(path, capabilities)| PathRule {
            pattern: pattern(path),
            capabilities: capabilities.iter().copied().collect(),
        });
        VaultPolicy::new(name.parse().unwrap(), rules.collect(), String::new()).unwrap()
    }

    #[test]
    fn patterns_match_whole_segments_or_any_rest() {
        for (text, path, fits) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/*", "a/b/c", true),
            ("a/*", "a/", true),
            ("a*", "abc/d", true),
            ("*", "anything/at/all", true),
            ("+/b", "a/b", true),
            ("+/b", "a/x/b", false),
            ("a/+/c", "a/b/c", true),
            ("a/+/c*", "a/b/cd/e", true),
            ("a/+/*", "a/b/c", true),
            ("a/+/*", "a/b", false),
            ("+", "a", true),
            ("+", "a/b", false),
        ] {
            assert_eq!(pattern(text).matches(path), fits, "{text} {path}");
        }
        for bad in ["", "a*b", "a/b+", "+a", "/a", "a\n"] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_most_particular_pattern_decides_and_deny_wins() {
        use Capability::{Deny, List, Read, Update};
        let app = policy("app", &[("production/*", &[Read, List]), ("production/db", &[Deny])]);
        let ops = policy("ops", &[("production/*", &[Update]), ("production/+", &[Read])]);
        let decide = |path: &str| {
            VaultPolicy::decide([&app, &ops], path).map(|(pattern, granted, _)| {
                (pattern.as_str().to_owned(), granted.iter().collect::<Vec<_>>())
            })
        };
        assert_eq!(decide("production/db").unwrap(), ("production/db".to_owned(), vec![Deny]));
        assert_eq!(decide("production/a/b").unwrap().1, [Read, Update, List]);
        assert_eq!(decide("production/a").unwrap(), ("production/+".to_owned(), vec![Read]));
        assert_eq!(decide("staging/a"), None);
    }

    #[test]
    fn folders_on_the_way_to_what_is_granted_are_seen() {
        use Capability::{Deny, List, Read};
        let app = policy(
            "app",
            &[("production/web/+/key", &[List]), ("private/*", &[Deny]), ("read/*", &[Read])],
        );
        let shows = |folder: &str| VaultPolicy::shows_folder([&app], folder);
        assert!(shows("production/") && shows("production/web/") && shows("production/web/x/"));
        assert!(
            !shows("staging/")
                && !shows("production/web/x/key/")
                && !shows("private/")
                && !shows("read/")
        );
        let wide = policy("wide", &[("pro*", &[List])]);
        assert!(VaultPolicy::shows_folder([&wide], "production/"));
        assert!(!VaultPolicy::shows_folder([&wide], "staging/"));
    }
}
