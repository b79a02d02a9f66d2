//! Policies as people write them: the part of HCL that Vault's policies use, or the same as JSON.
//!
//! ```text
//! # What the web application may read.
//! path "production/web/*" {
//!   capabilities = ["read", "list"]
//! }
//! ```
//!
//! Paths of the Vault API, such as `secret/data/production/web/*`, mean the secrets behind them, and
//! capabilities there what they allow: `update` at `secret/delete/` is `delete`, `read` at
//! `secret/metadata/` is `list`. A member that is not known is refused rather than ignored: it could
//! have been meant to forbid something.

use std::fmt;

use serde::Deserialize;

use super::{Capabilities, Capability, PathRule, PolicyName, VaultPolicy};
use crate::Invalid;

/// The most bytes of a policy's text.
const MOST_BYTES: usize = 256 << 10;

/// What is wrong with a policy's text, and on which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyMistake {
    /// The line, from 1; 0 where it cannot be told.
    pub line: usize,
    /// What is wrong.
    pub rule: String,
}

impl fmt::Display for PolicyMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.rule),
            line => write!(f, "line {line}: {}", self.rule),
        }
    }
}

impl VaultPolicy {
    /// Reads a policy's text.
    pub fn parse(name: PolicyName, text: &str) -> Result<Self, PolicyMistake> {
        let whole = |rule: &str| PolicyMistake { line: 0, rule: rule.to_owned() };
        if text.len() > MOST_BYTES {
            return Err(whole("must be at most 256 KiB"));
        }
        let rules = if text.trim_start().starts_with('{') {
            from_json(text)?
        } else {
            Parser { rest: text, line: 1 }.rules()?
        };
        Self::new(name, rules, text.to_owned()).map_err(|rule| whole(rule.rule()))
    }
}

/// The paths of secrets that a path of a policy means, and what of a client's call it is about.
fn logical(path: &str) -> (Option<&str>, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    let Some(inner) = path.strip_prefix("secret/") else { return (None, path) };
    match inner.split_once('/') {
        Some((part @ ("data" | "metadata" | "delete" | "undelete" | "destroy"), rest)) => {
            (Some(part), if rest.is_empty() { "*" } else { rest })
        }
        _ => (None, inner),
    }
}

/// What capabilities for a part of the API mean for the secret itself. What would grant more than it
/// did is refused: who may read metadata must not come to read values by it.
fn meant(part: Option<&str>, granted: Capability) -> Result<Capability, Invalid> {
    use Capability::{Create, Delete, Deny, List, Read, Scan, Sudo, Update};
    match (part, granted) {
        (None | Some("data"), granted)
        | (_, granted @ (Deny | Sudo))
        | (Some("metadata"), granted @ (List | Scan | Delete)) => Ok(granted),
        (Some("metadata"), Read) => Ok(List),
        (Some("delete" | "destroy"), Create | Update | Delete) => Ok(Delete),
        (Some(part), granted) => Err(Invalid::new(format!(
            "cannot grant {} at secret/{part}/ alone: grant it at the path of the secret",
            granted.as_str()
        ))),
    }
}

fn rule(path: &str, capabilities: &[String]) -> Result<PathRule, Invalid> {
    let (part, path) = logical(path);
    let parsed = capabilities.iter().map(|text| meant(part, text.parse::<Capability>()?));
    let capabilities = parsed.collect::<Result<Capabilities, _>>()?;
    Ok(PathRule { pattern: path.parse()?, capabilities })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPolicy {
    path: std::collections::BTreeMap<String, JsonRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRule {
    capabilities: Vec<String>,
}

fn from_json(text: &str) -> Result<Vec<PathRule>, PolicyMistake> {
    let policy: JsonPolicy = serde_json::from_str(text)
        .map_err(|error| PolicyMistake { line: error.line(), rule: error.to_string() })?;
    let mistake = |path: &str, invalid: &Invalid| PolicyMistake {
        line: 0,
        rule: format!("path {path:?}: {invalid}"),
    };
    let rules = policy.path.iter();
    rules.map(|(path, it)| rule(path, &it.capabilities).map_err(|e| mistake(path, &e))).collect()
}

/// Reads blocks of the form `path "…" { capabilities = ["…"] }`.
struct Parser<'t> {
    rest: &'t str,
    line: usize,
}

impl Parser<'_> {
    fn rules(mut self) -> Result<Vec<PathRule>, PolicyMistake> {
        let mut rules = Vec::new();
        while self.skip_space()? {
            rules.push(self.block()?);
        }
        Ok(rules)
    }

    fn block(&mut self) -> Result<PathRule, PolicyMistake> {
        self.word("path")?;
        let line = self.line;
        let path = self.quoted()?;
        self.symbol('{')?;
        let mut capabilities = None;
        while !self.take('}')? {
            self.word("capabilities")?;
            if capabilities.is_some() {
                return Err(self.mistake("capabilities must stand once"));
            }
            self.symbol('=')?;
            capabilities = Some(self.list()?);
        }
        let capabilities =
            capabilities.ok_or_else(|| self.mistake("a path must have capabilities"))?;
        rule(&path, &capabilities)
            .map_err(|invalid| PolicyMistake { line, rule: format!("path {path:?}: {invalid}") })
    }

    fn list(&mut self) -> Result<Vec<String>, PolicyMistake> {
        self.symbol('[')?;
        let mut items = Vec::new();
        while !self.take(']')? {
            items.push(self.quoted()?);
            if !self.take(',')? {
                self.symbol(']')?;
                break;
            }
        }
        Ok(items)
    }

    fn quoted(&mut self) -> Result<String, PolicyMistake> {
        self.symbol('"')?;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => match self.next() {
                    Some(escaped @ ('"' | '\\')) => text.push(escaped),
                    _ => return Err(self.mistake("only \\\" and \\\\ can be escaped")),
                },
                Some('\n') | None => return Err(self.mistake("a text must end on its line")),
                Some('$') if self.rest.starts_with('{') => {
                    return Err(self.mistake("templates in paths are not supported"));
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), PolicyMistake> {
        self.skip_space()?;
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        match self.rest.strip_prefix(word) {
            Some(rest) if ends(rest) => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.mistake(&format!("here must stand {word:?}"))),
        }
    }

    fn symbol(&mut self, symbol: char) -> Result<(), PolicyMistake> {
        if self.take(symbol)? {
            return Ok(());
        }
        Err(self.mistake(&format!("here must stand {symbol:?}")))
    }

    fn take(&mut self, symbol: char) -> Result<bool, PolicyMistake> {
        self.skip_space()?;
        let Some(rest) = self.rest.strip_prefix(symbol) else { return Ok(false) };
        self.rest = rest;
        Ok(true)
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    /// Goes on to what is neither space nor comment; whether there is anything.
    fn skip_space(&mut self) -> Result<bool, PolicyMistake> {
        loop {
            let comment = self.rest.starts_with('#') || self.rest.starts_with("//");
            if comment {
                while !matches!(self.next(), None | Some('\n')) {}
            } else if let Some(rest) = self.rest.strip_prefix("/*") {
                let Some((inside, behind)) = rest.split_once("*/") else {
                    return Err(self.mistake("a comment must end"));
                };
                self.line += inside.matches('\n').count();
                self.rest = behind;
            } else if self.rest.starts_with(char::is_whitespace) {
                self.next();
            } else {
                return Ok(!self.rest.is_empty());
            }
        }
    }

    fn mistake(&self, rule: &str) -> PolicyMistake {
        PolicyMistake { line: self.line, rule: rule.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, Vec<&'static str>)>, String> {
        let policy = VaultPolicy::parse("p".parse().unwrap(), text).map_err(|it| it.to_string())?;
        let shown = policy.rules().iter().map(|rule| {
            let capabilities = rule.capabilities.iter().map(Capability::as_str).collect();
            (rule.pattern.as_str().to_owned(), capabilities)
        });
        Ok(shown.collect())
    }

    #[test]
    fn blocks_and_json_say_the_same() {
        let hcl = "# one\npath \"production/*\" {\n  capabilities = [\"read\", \"list\",]\n}\n\
                   /* two\n */ path \"secret/data/a/+/b\" { capabilities = [\"deny\"] } // three";
        let expected = vec![
            ("production/*".to_owned(), vec!["read", "list"]),
            ("a/+/b".to_owned(), vec!["deny"]),
        ];
        assert_eq!(parse(hcl).unwrap(), expected);
        let json = r#"{"path":{"production/*":{"capabilities":["read","list"]}}}"#;
        assert_eq!(parse(json).unwrap(), expected[..1]);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn paths_of_the_api_mean_secrets() {
        for (path, capability, meant) in [
            ("secret/data/app", "read", Some(("app", "read"))),
            ("secret/metadata/*", "read", Some(("*", "list"))),
            ("secret/metadata/", "list", Some(("*", "list"))),
            ("secret/metadata/app", "update", None),
            ("secret/delete/app", "update", Some(("app", "delete"))),
            ("secret/destroy/app", "create", Some(("app", "delete"))),
            ("secret/undelete/app", "update", None),
            ("secret/undelete/app", "deny", Some(("app", "deny"))),
            ("secret/data*", "read", Some(("data*", "read"))),
            ("secret/*", "update", Some(("*", "update"))),
            ("secret/database", "read", Some(("database", "read"))),
            ("app", "patch", Some(("app", "patch"))),
        ] {
            let text = format!("path \"{path}\" {{ capabilities = [\"{capability}\"] }}");
            let parsed = parse(&text).ok();
            let found = parsed.as_ref().map(|rules| (rules[0].0.as_str(), rules[0].1[0]));
            assert_eq!(found, meant, "{path} {capability}");
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, part) in [
            ("path \"a\" {\n}\n", 2, "must have capabilities"),
            ("\npath \"a\" {\n capabilities = [\"fly\"]\n}", 2, "must be of create"),
            ("path \"a\" {\n denied_parameters = {}\n}", 2, "\"capabilities\""),
            ("path \"a", 1, "must end on its line"),
            ("path \"a*b\" { capabilities = [] }", 1, "'*' only at its end"),
            ("key \"a\" {}", 1, "\"path\""),
            ("path \"a\" { capabilities = [\"read\" \"list\"] }", 1, "']'"),
            ("/* never", 1, "must end"),
            ("path \"${x}\" {}", 1, "templates"),
            ("path \"a\" { capabilities = [] capabilities = [] }", 1, "once"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("line {line}: ")), "{text}: {error}");
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(parse("{\"path\":{}").is_err());
    }
}
