//! Secrets in the settings are references.

use std::{
    fmt, fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use keyreeve_core::{Invalid, Secret};

use crate::environment::Environment;

/// The largest secret that is read.
const MOST_BYTES: u64 = 64 * 1024;

/// Where a secret is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretReference {
    /// A file's content, without one line end.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A systemd credential.
    Credential(String),
}

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// Its file cannot be read.
    #[error("the secret {reference} cannot be read")]
    Unreadable {
        /// Where it was to be found.
        reference: SecretReference,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No such variable.
    #[error("the secret {0} cannot be read: there is no such environment variable")]
    NoVariable(SecretReference),
    /// The service manager passed no credentials.
    #[error("the secret {0} cannot be read: CREDENTIALS_DIRECTORY is not set")]
    NoCredentials(SecretReference),
    /// Too large to be one.
    #[error("the secret {0} is larger than 64 KiB")]
    TooLarge(SecretReference),
}

impl SecretReference {
    /// Reads a reference; empty text is none.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Invalid> {
        if text.is_empty() {
            return Ok(None);
        }
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() && !path.contains(char::is_control) => {
                Ok(Some(Self::File(path.into())))
            }
            Some(("env", name)) if is_name(name) => Ok(Some(Self::Variable(name.to_owned()))),
            Some(("credential", name)) if is_name(name) && !name.starts_with('.') => {
                Ok(Some(Self::Credential(name.to_owned())))
            }
            _ => Err(Invalid::new(
                "must be file:/path, env:NAME or credential:NAME: secrets in the configuration \
                 are references",
            )),
        }
    }

    /// The secret itself.
    pub(crate) fn resolve(
        &self,
        environment: &Environment,
    ) -> Result<Secret<Vec<u8>>, SecretError> {
        match self {
            Self::File(path) => self.read(path),
            Self::Variable(name) => environment
                .get(name)
                .map(|value| Secret::new(value.as_bytes().to_vec()))
                .ok_or_else(|| SecretError::NoVariable(self.clone())),
            Self::Credential(name) => {
                let folder = environment
                    .get("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| SecretError::NoCredentials(self.clone()))?;
                self.read(&Path::new(folder).join(name))
            }
        }
    }

    fn read(&self, path: &Path) -> Result<Secret<Vec<u8>>, SecretError> {
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|source| SecretError::Unreadable { reference: self.clone(), source })?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
            return Err(SecretError::TooLarge(self.clone()));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Ok(Secret::new(bytes))
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

/// Whether this can name a variable or a credential: so never a path out of the folder.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    fn resolved(text: &str, environment: &Environment) -> Vec<u8> {
        let reference = SecretReference::parse(text).unwrap().unwrap();
        reference.resolve(environment).unwrap().expose().clone()
    }

    #[test]
    fn three_forms_and_none() {
        assert_eq!(SecretReference::parse(""), Ok(None));
        for good in ["file:/a/b", "file:a", "env:PEPPER", "credential:pepper"] {
            let reference = SecretReference::parse(good).unwrap().unwrap();
            assert_eq!(reference.to_string(), good);
        }
        for bad in ["canary", "env:", "env:a b", "file:", "credential:../x", "credential:.."] {
            let error = SecretReference::parse(bad).unwrap_err();
            assert!(error.rule().contains("secrets in the configuration are references"), "{bad}");
            assert!(!error.rule().contains("canary"));
        }
    }

    #[test]
    fn files_lose_one_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let none = environment(&[]);
        for (content, expected) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("a\n\n", "a\n"),
        ] {
            let path = folder.path().join("pepper");
            fs::write(&path, content).unwrap();
            let reference = format!("file:{}", path.display());
            assert_eq!(resolved(&reference, &none), expected.as_bytes());
            let credentials =
                environment(&[("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())]);
            assert_eq!(resolved("credential:pepper", &credentials), expected.as_bytes());
        }
    }

    #[test]
    fn variables_are_taken_as_they_are() {
        let environment = environment(&[("PEPPER", "secret\n")]);
        assert_eq!(resolved("env:PEPPER", &environment), b"secret\n");
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = environment(&[]);
        for (text, expected) in [
            ("env:PEPPER", "no such environment variable"),
            ("credential:pepper", "CREDENTIALS_DIRECTORY is not set"),
            ("file:/does/not/exist", "file:/does/not/exist cannot be read"),
        ] {
            let reference = SecretReference::parse(text).unwrap().unwrap();
            let error = reference.resolve(&none).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
