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
//! `secret/metadata/` is `list`, `update` there is `configure`. A member that is not known is refused rather than ignored: it could
//! have been meant to forbid something.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

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

/// The parts of the API that policies name.
const PARTS: [&str; 5] = ["data", "metadata", "delete", "undelete", "destroy"];

/// The paths of secrets that a path of a policy means, and what part of the API it is about. What
/// could be meant in two ways is refused.
fn logical(path: &str) -> Result<(Option<&str>, &str), Invalid> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path == "secret/*" {
        return Ok((None, "*"));
    }
    let part_of = |inner: &str| {
        PARTS
            .into_iter()
            .find(|part| inner.strip_prefix(part).is_some_and(|rest| rest.starts_with('/')))
    };
    if path.strip_prefix("+/").and_then(part_of).is_some() {
        return Err(Invalid::new("must name the mount: there is one, secret/"));
    }
    let Some(inner) = path.strip_prefix("secret/") else { return Ok((None, path)) };
    let part = part_of(inner);
    let rest = part.and_then(|part| inner.strip_prefix(part)?.strip_prefix('/'));
    match (part, rest) {
        (Some(part), Some(rest)) if !rest.is_empty() => Ok((Some(part), rest)),
        _ => Err(Invalid::new(
            "must be the path of secrets itself, secret/*, or secret/data/, metadata/, delete/, \
             undelete/ or destroy/ and a path",
        )),
    }
}

/// What capabilities for a part of the API mean for the secret itself. What would grant more than it
/// did is refused: who may read metadata must not come to read values by it.
fn meant(part: Option<&str>, granted: Capability) -> Result<Capability, Invalid> {
    use Capability::{
        Configure, Create, Delete, Deny, Destroy, List, Patch, Read, Scan, Sudo, Update,
    };
    match (part, granted) {
        (None | Some("data"), granted)
        | (_, granted @ (Deny | Sudo))
        | (Some("metadata"), granted @ (List | Scan)) => Ok(granted),
        (Some("metadata"), Read) => Ok(List),
        (Some("metadata"), Create | Update | Patch) => Ok(Configure),
        (Some("delete"), Create | Update) => Ok(Delete),
        (Some("metadata"), Delete) | (Some("destroy"), Create | Update) => Ok(Destroy),
        (Some(part), granted) => Err(Invalid::new(format!(
            "cannot grant {} at secret/{part}/ alone: grant it at the path of the secret",
            granted.as_str()
        ))),
    }
}

fn rule(path: &str, capabilities: &[String]) -> Result<PathRule, Invalid> {
    let (part, path) = logical(path)?;
    let parsed = capabilities.iter().map(|text| meant(part, text.parse::<Capability>()?));
    let capabilities = parsed.collect::<Result<Capabilities, _>>()?;
    Ok(PathRule { pattern: path.parse()?, capabilities })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPolicy {
    path: Rules,
}

/// In the order in which they stand. A map would keep one of two rules for a path, and perhaps not
/// the one that denies.
struct Rules(Vec<(String, JsonRule)>);

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Rules;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("paths with their rules")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rules, A::Error> {
                let mut rules = Vec::new();
                while let Some(rule) = map.next_entry()? {
                    rules.push(rule);
                }
                Ok(Rules(rules))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
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
    let rules = policy.path.0.iter();
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
        let twice = r#"{"path":{"a":{"capabilities":["deny"]},"a":{"capabilities":["read"]}}}"#;
        assert_eq!(parse(twice).unwrap().len(), 2, "none is lost");
    }

    #[test]
    fn paths_of_the_api_mean_secrets() {
        for (path, capability, meant) in [
            ("secret/data/app", "read", Some(("app", "read"))),
            ("secret/data/secret/db", "read", Some(("secret/db", "read"))),
            ("secret/metadata/*", "read", Some(("*", "list"))),
            ("secret/metadata/app", "update", Some(("app", "configure"))),
            ("secret/metadata/app", "delete", Some(("app", "destroy"))),
            ("secret/delete/app", "update", Some(("app", "delete"))),
            ("secret/destroy/app", "update", Some(("app", "destroy"))),
            ("secret/data/app", "delete", Some(("app", "delete"))),
            ("secret/undelete/app", "update", None),
            ("secret/undelete/app", "deny", Some(("app", "deny"))),
            ("secret/*", "update", Some(("*", "update"))),
            ("app", "patch", Some(("app", "patch"))),
            ("secret/data/", "read", None),
            ("secret/metadata/", "list", None),
            ("secret/data*", "deny", None),
            ("secret/+/db", "read", None),
            ("secret/subkeys/app", "read", None),
            ("secret/config", "read", None),
            ("+/data/app", "deny", None),
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
