//! The log's side of a checkpoint.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{
    Checkpoint, CheckpointError, CheckpointVerifier, PUBLIC_KEY_BYTES, SIGNATURE_PREFIX,
    TYPE_ED25519,
};
use crate::{Secret, audit::Hash};

/// How a private key's text begins.
const PRIVATE_KEY_PREFIX: &str = "PRIVATE+KEY+";

/// The log's side: signs checkpoints with an Ed25519 key named after the log's origin.
///
/// Signing is deterministic (RFC 8032), so one size and root always give the same note.
pub struct CheckpointSigner {
    key: Ed25519KeyPair,
    verifier: CheckpointVerifier,
}

impl CheckpointSigner {
    /// Builds the signer of the log `origin` from the 32-byte Ed25519 private key (the seed of
    /// RFC 8032 section 5.1.5).
    ///
    /// # Errors
    /// [`CheckpointError::InvalidKeyName`] when `origin` is not a valid name (see
    /// [`Checkpoint::new`]); [`CheckpointError::InvalidSeed`] when the library refuses the seed.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<Self, CheckpointError> {
        let key =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| CheckpointError::InvalidSeed)?;
        let public_key: &[u8] = key.public_key().as_ref();
        let public_key = <[u8; PUBLIC_KEY_BYTES]>::try_from(public_key)
            .map_err(|_| CheckpointError::InvalidSeed)?;
        Ok(Self { key, verifier: CheckpointVerifier::new(origin, public_key)? })
    }

    /// Reads the private key that [`CheckpointSigner::to_private_key`] wrote.
    ///
    /// # Errors
    /// [`CheckpointError::MalformedPrivateKey`] for what cannot be read,
    /// [`CheckpointError::KeyIdMismatch`] when its parts do not belong together, and otherwise as
    /// [`CheckpointSigner::from_seed`].
    pub fn from_private_key(text: &Secret<String>) -> Result<Self, CheckpointError> {
        // EXPOSE: taken apart here; the seed goes into the signing key and is wiped.
        let rest = text.expose().trim().strip_prefix(PRIVATE_KEY_PREFIX);
        let mut parts = rest.ok_or(CheckpointError::MalformedPrivateKey)?.splitn(3, '+');
        let (Some(name), Some(key_id), Some(key)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(CheckpointError::MalformedPrivateKey);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| CheckpointError::MalformedPrivateKey)?;
        let key = Secret::new(key);
        // EXPOSE: as above.
        let seed = match key.expose().split_first() {
            Some((&TYPE_ED25519, seed)) => <[u8; 32]>::try_from(seed),
            _ => return Err(CheckpointError::MalformedPrivateKey),
        };
        let seed = Secret::new(seed.map_err(|_| CheckpointError::MalformedPrivateKey)?);
        // EXPOSE: as above.
        let signer = Self::from_seed(name, seed.expose())?;
        if signer.verifier.key_id_hex() != key_id {
            return Err(CheckpointError::KeyIdMismatch);
        }
        Ok(signer)
    }

    /// The private key as text: the form Go's note tools use,
    /// `PRIVATE+KEY+name+keyid+base64(0x01 || seed)`
    /// (<https://pkg.go.dev/golang.org/x/mod/sumdb/note>).
    ///
    /// # Errors
    /// As [`CheckpointSigner::from_seed`].
    pub fn to_private_key(
        name: &str,
        seed: &Secret<[u8; 32]>,
    ) -> Result<Secret<String>, CheckpointError> {
        // EXPOSE: written into the text, which is a Secret again.
        let seed = seed.expose();
        let key_id = Self::from_seed(name, seed)?.verifier.key_id_hex();
        let key = Secret::new([&[TYPE_ED25519][..], seed].concat());
        // EXPOSE: as above.
        let encoded = Secret::new(BASE64_STANDARD.encode(key.expose()));
        // EXPOSE: as above.
        let encoded = encoded.expose();
        Ok(Secret::new(format!("{PRIVATE_KEY_PREFIX}{name}+{key_id}+{encoded}")))
    }

    /// Signs the head of the tree: `size` leaves with this `root`. Gives the whole signed note
    /// (<https://c2sp.org/signed-note>), ended by a newline.
    ///
    /// A log must never sign two heads that no consistency proof can join; keeping to that is
    /// up to the caller.
    pub fn sign(&self, size: u64, root: Hash) -> String {
        // The name was checked when the verifier was built, so it is a valid origin.
        let checkpoint = Checkpoint { origin: self.verifier.name.clone(), size, root };
        self.sign_text(&checkpoint.note_text())
    }

    /// The public counterpart, for those who check this log's checkpoints.
    pub fn verifier(&self) -> CheckpointVerifier {
        self.verifier.clone()
    }

    pub(super) fn sign_text(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes());
        let blob = [&self.verifier.key_id[..], signature.as_ref()].concat();
        let name = &self.verifier.name;
        format!("{text}\n{SIGNATURE_PREFIX}{name} {}\n", BASE64_STANDARD.encode(blob))
    }
}

impl fmt::Debug for CheckpointSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointSigner")
            .field("verifier", &format_args!("{}", self.verifier))
            .finish_non_exhaustive()
    }
}
