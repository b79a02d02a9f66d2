//! Addresses of servers, which may hold passwords.

use std::{fmt, sync::Arc};

use keyreeve_core::{Invalid, Secret};

use super::secret::{SecretError, SecretReference};
use crate::environment::Environment;

/// Where a server is. May hold a password, and so does not show itself.
#[derive(Clone)]
pub(crate) enum SecretUrl {
    /// As it stands in the settings.
    Here(Arc<Secret<String>>),
    /// To be read from elsewhere.
    Elsewhere(SecretReference),
}

impl SecretUrl {
    /// Reads a URL of one of these schemes, or a reference to a secret that holds one; `None` for
    /// an empty text. Anything else breaks `rule`.
    pub(super) fn parse(
        text: &str,
        schemes: &[&str],
        rule: &'static str,
    ) -> Result<Option<Self>, Invalid> {
        if text.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme)) {
            return Ok(Some(Self::Here(Arc::new(Secret::new(text.to_owned())))));
        }
        let reference = SecretReference::parse(text).map_err(|_| Invalid::new(rule))?;
        Ok(reference.map(Self::Elsewhere))
    }

    /// The URL itself.
    pub(crate) fn resolve(&self, environment: &Environment) -> Result<Secret<String>, SecretError> {
        match self {
            // EXPOSE: copied from one secret into another.
            Self::Here(url) => Ok(Secret::new(url.expose().clone())),
            Self::Elsewhere(reference) => {
                let secret = reference.resolve(environment)?;
                // EXPOSE: as before; what is no text is no URL, and is refused as one.
                Ok(Secret::new(String::from_utf8_lossy(secret.expose()).trim().to_owned()))
            }
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("SecretUrl(…)"),
            Self::Elsewhere(reference) => write!(f, "SecretUrl({reference})"),
        }
    }
}

impl PartialEq for SecretUrl {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // EXPOSE: compared, and nothing shown of them.
            (Self::Here(one), Self::Here(other)) => one.expose() == other.expose(),
            (Self::Elsewhere(one), Self::Elsewhere(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for SecretUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<SecretUrl>, Invalid> {
        SecretUrl::parse(text, &["postgres", "postgresql"], "must be something else")
    }

    #[test]
    fn a_url_is_one_or_a_reference() {
        assert_eq!(parse(""), Ok(None));
        let url = parse("postgres://u:hunter2@db/keys").unwrap().unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
        let reference = parse("env:DATABASE").unwrap();
        assert_eq!(
            reference,
            Some(SecretUrl::Elsewhere(SecretReference::Variable("DATABASE".into())))
        );
        for bad in ["mysql://u@db/keys", "db.example.com", "sqlite://keys"] {
            assert_eq!(parse(bad).unwrap_err().rule(), "must be something else", "{bad}");
        }
    }
}
