//! The last signed tree head in a file of its own.
//!
//! A database that was rolled back, or whose last pages were lost, still agrees with itself. The
//! anchor remembers how far it had come. A copy of it on another machine does the same against
//! whoever owns this one.

use std::{fs, io};

use keyreeve_core::audit::{Checkpoint, CheckpointError, CheckpointVerifier};

use super::folder::{DataFolder, write_whole};

/// Why the anchor cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnchorError {
    /// The file cannot be read or written.
    #[error("cannot read or write the audit anchor")]
    File(#[from] io::Error),
    /// It is not signed by this installation's key.
    #[error("the audit anchor is not signed by this installation's audit key")]
    Signature(#[source] CheckpointError),
    /// The database ends before it.
    #[error(
        "the database holds {have} audit entries, but {anchored} were anchored: {} are missing. \
         If you restored a backup on purpose, move audit.checkpoint out of the data folder",
        .anchored - .have
    )]
    Behind {
        /// Entries in the database.
        have: u64,
        /// Entries when the anchor was written.
        anchored: u64,
    },
    /// The database has the same size and other content.
    #[error("the database's audit differs from the anchored one; run `keyreeve audit verify`")]
    Differs,
}

/// The anchor of one data folder.
#[derive(Debug)]
pub(crate) struct Anchor {
    folder: DataFolder,
    verifier: CheckpointVerifier,
    written: Option<String>,
}

impl Anchor {
    /// The anchor in `folder`, checked with `verifier`.
    pub(crate) fn new(folder: DataFolder, verifier: CheckpointVerifier) -> Self {
        Self { folder, verifier, written: None }
    }

    /// What the file says, if there is one.
    pub(crate) fn read(&self) -> Result<Option<Checkpoint>, AnchorError> {
        match fs::read_to_string(self.folder.anchor()) {
            Ok(note) => self.verifier.verify(&note).map(Some).map_err(AnchorError::Signature),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a database that ends before the anchor.
    ///
    /// Where a server may be running, read the anchor first and the database after it: in the
    /// other order the anchor could be the younger of the two.
    pub(crate) fn compare(
        anchored: Option<&Checkpoint>,
        head: Option<&Checkpoint>,
    ) -> Result<(), AnchorError> {
        let Some(anchored) = anchored else {
            return Ok(());
        };
        let have = head.map_or(0, Checkpoint::size);
        if have < anchored.size() {
            return Err(AnchorError::Behind { have, anchored: anchored.size() });
        }
        match head {
            Some(head) if have == anchored.size() && head.root() != anchored.root() => {
                Err(AnchorError::Differs)
            }
            _ => Ok(()),
        }
    }

    /// Writes the tree head unless it is there already.
    pub(crate) fn write(&mut self, note: &str) -> Result<(), AnchorError> {
        if self.written.as_deref() != Some(note) {
            write_whole(&self.folder.anchor(), note, 0o644)?;
            self.written = Some(note.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use keyreeve_core::audit::{CheckpointSigner, Hash};

    use super::*;

    fn signer(seed: u8) -> CheckpointSigner {
        CheckpointSigner::from_seed("keyreeve/test", &[seed; 32]).unwrap()
    }

    fn head(size: u64, root: Hash) -> Checkpoint {
        Checkpoint::new("keyreeve/test", size, root).unwrap()
    }

    fn check(anchor: &Anchor, head: Option<&Checkpoint>) -> Result<(), AnchorError> {
        Anchor::compare(anchor.read()?.as_ref(), head)
    }

    #[test]
    fn a_database_behind_its_anchor_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(parent.path());
        let signer = signer(1);
        let mut anchor = Anchor::new(folder.clone(), signer.verifier());
        assert!(check(&anchor, None).is_ok(), "no anchor, nothing to compare");
        anchor.write(&signer.sign(7, Hash::empty())).unwrap();
        assert!(check(&anchor, Some(&head(7, Hash::empty()))).is_ok());
        assert!(check(&anchor, Some(&head(8, Hash::empty()))).is_ok());
        for behind in [None, Some(head(6, Hash::empty()))] {
            let error = check(&anchor, behind.as_ref()).unwrap_err();
            assert!(matches!(error, AnchorError::Behind { anchored: 7, .. }), "{error}");
        }
        let other = head(7, Hash::of(b"other"));
        assert!(matches!(check(&anchor, Some(&other)), Err(AnchorError::Differs)));
    }

    #[test]
    fn a_foreign_anchor_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(parent.path());
        let mut anchor = Anchor::new(folder, signer(1).verifier());
        anchor.write(&signer(2).sign(1, Hash::empty())).unwrap();
        assert!(matches!(check(&anchor, None), Err(AnchorError::Signature(_))));
    }
}
