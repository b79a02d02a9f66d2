//! Secrets as the variables that programs read.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};
use keyreeve_api::Client;
use keyreeve_core::{
    Secret,
    vault::{SecretPath, SecretPathPrefix},
};

use super::{collect, nothing_at};
use crate::{failure::Advised, output::printable::printable};

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
