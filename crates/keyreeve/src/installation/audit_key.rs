//! The key that signs the audit: made once, kept apart from the database.

use std::{fs, io, path::PathBuf};

use keyreeve_core::{
    Secret,
    audit::{CheckpointError, CheckpointSigner},
};
use keyreeve_engine::{Entropy, EntropyFailed};

use super::folder::{DataFolder, write_whole};

/// Why there is no audit key to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditKeyError {
    /// The database is there, its key is not.
    #[error(
        "{} is missing: without it the audit cannot go on. Restore it from where you keep it",
        .0.display()
    )]
    Missing(PathBuf),
    /// The file holds something else.
    #[error("{} does not hold an audit key", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CheckpointError,
    },
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
    /// Reads the audit key; makes one if the installation is new.
    pub(crate) fn audit_signer(
        &self,
        entropy: &dyn Entropy,
    ) -> Result<CheckpointSigner, AuditKeyError> {
        let path = self.audit_key();
        let malformed = |source| AuditKeyError::Malformed { path: path.clone(), source };
        let text = match fs::read_to_string(&path) {
            Ok(text) => Secret::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.database().exists() {
                    return Err(AuditKeyError::Missing(path));
                }
                self.make_audit_key(entropy)?
            }
            Err(source) => return Err(AuditKeyError::File { path, source }),
        };
        let signer = CheckpointSigner::from_private_key(&text).map_err(malformed)?;
        let public = self.audit_public_key();
        let vkey = format!("{}\n", signer.verifier());
        if fs::read_to_string(&public).is_ok_and(|found| found == vkey) {
            return Ok(signer);
        }
        write_whole(&public, &vkey, 0o644)
            .map_err(|source| AuditKeyError::File { path: public, source })?;
        Ok(signer)
    }

    fn make_audit_key(&self, entropy: &dyn Entropy) -> Result<Secret<String>, AuditKeyError> {
        let path = self.audit_key();
        let id: [u8; 8] = entropy.bytes()?;
        let name = format!("keyreeve/{:016x}", u64::from_be_bytes(id));
        let seed = Secret::new(entropy.bytes::<32>()?);
        let text = CheckpointSigner::to_private_key(&name, &seed)
            .map_err(|source| AuditKeyError::Malformed { path: path.clone(), source })?;
        // EXPOSE: written to a file that only its owner can read.
        write_whole(&path, text.expose(), 0o600)
            .map_err(|source| AuditKeyError::File { path, source })?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::system::SystemEntropy;

    #[test]
    fn the_key_is_made_once_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(parent.path());
        let entropy = SystemEntropy::new();
        let first = folder.audit_signer(&entropy).unwrap().verifier();
        let again = folder.audit_signer(&entropy).unwrap().verifier();
        assert_eq!(first, again);
        let mode = fs::metadata(folder.audit_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let public = fs::read_to_string(folder.audit_public_key()).unwrap();
        assert_eq!(public.trim(), first.to_string());
    }

    #[test]
    fn a_lost_or_spoiled_key_is_not_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(parent.path());
        fs::write(folder.database(), "").unwrap();
        let entropy = SystemEntropy::new();
        assert!(matches!(folder.audit_signer(&entropy), Err(AuditKeyError::Missing(_))));
        fs::write(folder.audit_key(), "PRIVATE+KEY+x").unwrap();
        assert!(matches!(folder.audit_signer(&entropy), Err(AuditKeyError::Malformed { .. })));
    }
}
