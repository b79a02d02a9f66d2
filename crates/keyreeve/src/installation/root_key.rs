//! The vault's root key: made once, kept apart from the database.

use std::{fs, io, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use keyreeve_core::{Secret, vault::RootKey};
use keyreeve_engine::{
    Entropy, EntropyFailed,
    vault::{ROOT_KEY_LABEL, parse_root_key},
};
use zeroize::Zeroize as _;

use super::folder::{DataFolder, write_whole};

/// Why there is no root key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootKeyError {
    /// The vault was made with a key that is not there any more.
    #[error(
        "{} is missing: without it the vault cannot be opened. Restore it from where you keep it",
        .0.display()
    )]
    Missing(PathBuf),
    /// It is no root key.
    #[error("{0} does not hold a root key: it must be 32 bytes in base64")]
    Malformed(String),
    /// The file cannot be read or written.
    #[error("cannot read or write {}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No randomness for a new key.
    #[error(transparent)]
    Entropy(#[from] EntropyFailed),
}

impl DataFolder {
    /// The root key that the settings gave, or the one of the folder's own file; makes that file if the
    /// vault `is_new`.
    pub(crate) fn root_key(
        &self,
        given: Option<&Secret<Vec<u8>>>,
        entropy: &dyn Entropy,
        is_new: bool,
    ) -> Result<RootKey, RootKeyError> {
        if let Some(given) = given {
            // EXPOSE: read as text.
            return parse(given.expose())
                .ok_or_else(|| RootKeyError::Malformed("the secret vault.root_key".to_owned()));
        }
        let path = self.root_key_file();
        match fs::read(&path) {
            Ok(bytes) => {
                let bytes = Secret::new(bytes);
                // EXPOSE: read as text.
                parse(bytes.expose())
                    .ok_or_else(|| RootKeyError::Malformed(path.display().to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => {
                self.make_root_key(entropy)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(RootKeyError::Missing(path))
            }
            Err(source) => Err(RootKeyError::File { path, source }),
        }
    }

    fn make_root_key(&self, entropy: &dyn Entropy) -> Result<RootKey, RootKeyError> {
        let path = self.root_key_file();
        let key = Secret::new(entropy.bytes::<32>()?);
        // EXPOSE: written to a file that only its owner can read.
        let mut text = format!("{ROOT_KEY_LABEL}{}\n", BASE64_STANDARD.encode(key.expose()));
        let written = write_whole(&path, &text, 0o600);
        text.zeroize();
        written.map_err(|source| RootKeyError::File { path, source })?;
        Ok(RootKey::new(key))
    }
}

/// The key in a file's bytes.
fn parse(bytes: &[u8]) -> Option<RootKey> {
    let text = Secret::new(String::from_utf8(bytes.to_vec()).ok()?);
    parse_root_key(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::system::SystemEntropy;

    #[test]
    fn the_key_is_made_once_and_never_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(parent.path());
        let entropy = SystemEntropy::new();
        let key = |is_new| folder.root_key(None, &entropy, is_new);
        assert!(matches!(key(false), Err(RootKeyError::Missing(_))));
        let first = key(true).unwrap();
        // EXPOSE: compared in a test.
        assert_eq!(first.bytes().expose(), key(false).unwrap().bytes().expose());
        let mode = fs::metadata(folder.root_key_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.root_key_file(), "keyreeve-root-key:1:c2hvcnQ=").unwrap();
        assert!(matches!(key(true), Err(RootKeyError::Malformed(_))));
    }
}
