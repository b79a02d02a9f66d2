//! Secrets as the variables that programs read.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};
use keyreeve_api::Client;
use keyreeve_core::{
    Secret,
    vault::{SecretPath, SecretPathPrefix},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::{collect, nothing_at};
use crate::{
    context::Context,
    failure::Advised,
    offline::{Fallback, Kept, written},
    output::printable::printable,
};

/// The most variables that one program is given.
const MOST_VARIABLES: usize = 10_000;

/// A variable, and the secret it comes from.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) value: Secret<String>,
    pub(crate) path: String,
    pub(crate) version: u64,
}

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, Variable>;

/// A variable as it is kept.
#[derive(Serialize)]
struct KeptVariable<'v> {
    name: &'v str,
    value: &'v str,
    path: &'v str,
    version: u64,
}

/// A variable that was kept.
#[derive(Deserialize)]
struct FoundVariable {
    name: String,
    #[serde(deserialize_with = "secret")]
    value: Secret<String>,
    path: String,
    version: u64,
}

fn secret<'de, D: Deserializer<'de>>(reader: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(reader).map(Secret::new)
}

impl Kept for Variables {
    fn to_kept(&self) -> serde_json::Result<Secret<Vec<u8>>> {
        let kept = self.iter().map(|(name, variable)| KeptVariable {
            name,
            // EXPOSE: written to be sealed.
            value: variable.value.expose(),
            path: &variable.path,
            version: variable.version,
        });
        written(&kept.collect::<Vec<_>>())
    }

    fn from_kept(bytes: &Secret<Vec<u8>>) -> serde_json::Result<Self> {
        // EXPOSE: read into what it was.
        let found: Vec<FoundVariable> = serde_json::from_slice(bytes.expose())?;
        let variables = found
            .into_iter()
            .map(|it| (it.name, Variable { value: it.value, path: it.path, version: it.version }));
        Ok(variables.collect())
    }
}

/// Which secrets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// All secrets of an environment.
    pub(crate) environment: Option<SecretPathPrefix>,
    /// These secrets.
    pub(crate) paths: Vec<SecretPath>,
}

impl Chosen {
    /// The paths of all that were chosen, each once, in order.
    pub(crate) async fn paths(&self, client: &Client) -> anyhow::Result<Vec<SecretPath>> {
        let mut paths = self.paths.clone();
        if let Some(folder) = &self.environment {
            for name in collect(client, folder.as_str(), true).await? {
                paths.push(
                    format!("{}{name}", folder.as_str()).parse().map_err(anyhow::Error::new)?,
                );
            }
            if paths.is_empty() {
                let hint = "`keyreeve secret list --recursive` shows what you may see";
                let what = format!("there are no secrets below {}", folder.as_str());
                return Err(Advised::new(what, hint).into());
            }
        }
        ensure!(
            !paths.is_empty(),
            "name an environment with --environment, or secrets with --path"
        );
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// The copy of all that were chosen, for when the server cannot be reached.
    pub(crate) fn fallback<'c>(&self, context: &'c Context) -> Fallback<'c> {
        let environment = self.environment.as_ref().map(SecretPathPrefix::as_str);
        let mut paths: Vec<&str> = self.paths.iter().map(SecretPath::as_str).collect();
        paths.sort_unstable();
        paths.dedup();
        Fallback::new(context, json!(["variables", environment, paths]).to_string())
    }

    /// Reads all that were chosen.
    pub(crate) async fn read(&self, client: &Client) -> anyhow::Result<Variables> {
        let mut variables = Variables::new();
        for path in self.paths(client).await? {
            add(&mut variables, &path, client).await?;
        }
        Ok(variables)
    }
}

async fn add(variables: &mut Variables, path: &SecretPath, client: &Client) -> anyhow::Result<()> {
    let Some(found) = client.secret(path.as_str(), None).await? else {
        return Err(nothing_at(path));
    };
    // What is deleted is not there for programs.
    let Some(fields) = found.data else { return Ok(()) };
    for field in fields.0.keys() {
        let name = variable_name(path, field);
        let value = Secret::new(fields.text(field).unwrap_or_default());
        let (path, version) = (path.to_string(), found.metadata.version);
        if let Some(other) = variables.get(&name) {
            bail!(
                "{} and {} both give the variable {}: name the secrets with --path",
                printable(&other.path),
                printable(&path),
                printable(&name)
            );
        }
        variables.insert(name, Variable { value, path, version });
        ensure!(
            variables.len() <= MOST_VARIABLES,
            "there are more than {MOST_VARIABLES} variables"
        );
    }
    Ok(())
}

/// A field that is written as a variable is called so; any other has the secret's own name before it:
/// `secret_key` of `production/stripe` is `STRIPE_SECRET_KEY`.
pub(crate) fn variable_name(path: &SecretPath, field: &str) -> String {
    let is_variable = field.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && field.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if is_variable {
        return field.to_owned();
    }
    let own = path.segments().next_back().unwrap_or_default();
    let name = format!("{own}_{field}");
    let sign = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(sign).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_kept_as_they_are() {
        let variable = |value: &str, version| {
            let value = Secret::new(value.to_owned());
            Variable { value, path: "production/app".to_owned(), version }
        };
        let variables: Variables =
            [("A".to_owned(), variable("a\"b\nü", 1)), ("B".to_owned(), variable("", u64::MAX))]
                .into();
        let kept = variables.to_kept().unwrap();
        assert_eq!(kept.expose().capacity(), kept.expose().len(), "it was moved");
        let found = Variables::from_kept(&kept).unwrap();
        assert_eq!(found.len(), 2);
        for (name, variable) in &variables {
            let same = &found[name];
            assert_eq!(same.value.expose(), variable.value.expose());
            assert_eq!((&same.path, same.version), (&variable.path, variable.version));
        }
    }

    #[test]
    fn fields_become_variables() {
        for (path, field, name) in [
            ("production/stripe", "secret_key", "STRIPE_SECRET_KEY"),
            ("production/app", "STRIPE_SECRET_KEY", "STRIPE_SECRET_KEY"),
            ("production/web-app", "api.key", "WEB_APP_API_KEY"),
            ("production/2fa", "key", "_2FA_KEY"),
            ("a", "Ü", "A__"),
        ] {
            assert_eq!(variable_name(&path.parse().unwrap(), field), name);
        }
    }
}
