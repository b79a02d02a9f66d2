//! The process environment, read once at the start and passed on as a value.

use std::{collections::BTreeMap, fmt};

use keyreeve_api::Token;
use keyreeve_core::Secret;

/// The variable with the key to act with. There is no argument for it: arguments are visible to
/// every user of the machine.
const TOKEN: &str = "KEYREEVE_TOKEN";

/// The environment variables of the process, the token apart.
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    token: Option<Token>,
}

impl Environment {
    /// Reads the environment of this process. What is not UTF-8 is passed over.
    pub(crate) fn of_process() -> Self {
        let pairs = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::from_pairs(pairs)
    }

    /// Takes names and values from wherever.
    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut variables: BTreeMap<String, String> = pairs.into_iter().collect();
        // White space around a key is never part of it, but files it was copied from have it.
        let token = variables
            .remove(TOKEN)
            .map(Secret::new)
            .filter(|token| !trimmed(token).is_empty())
            .map(|token| Secret::new(trimmed(&token).to_owned()));
        Self { variables, token }
    }

    /// One variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The key to act with, if one is set.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// All variables but the token.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.variables.iter().map(|(name, value)| (name.clone(), value.clone()))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

fn trimmed(token: &Token) -> &str {
    // EXPOSE: to cut white space off its ends.
    token.expose().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(token: &str) -> Environment {
        Environment::from_pairs([
            (TOKEN.to_owned(), token.to_owned()),
            ("KEYREEVE_URL".to_owned(), "http://localhost".to_owned()),
        ])
    }

    #[test]
    fn the_token_is_kept_apart() {
        let environment = environment(" kr_live_canary\n");
        assert_eq!(environment.token().unwrap().expose(), "kr_live_canary");
        assert_eq!(environment.get(TOKEN), None);
        assert_eq!(environment.get("KEYREEVE_URL"), Some("http://localhost"));
        assert!(!format!("{environment:?}").contains("canary"));
        assert!(!environment.variables().any(|(_, value)| value.contains("canary")));
    }

    #[test]
    fn an_empty_token_is_none() {
        assert!(environment(" ").token().is_none());
    }
}
