//! The auditor's side of a checkpoint.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{
    Checkpoint, CheckpointError, KEY_ID_BYTES, PUBLIC_KEY_BYTES, TYPE_ED25519, is_own_name,
    note::SignedNote,
};
use crate::audit::Hash;

/// The auditor's side: the name and public key of one log, to check its checkpoints with.
///
/// Written (`Display`) and read ([`Self::parse`]) in the verifier key form that signed-note tools
/// share: `name+keyid+base64`, the key id as 8 lowercase hexadecimal digits and the base64 being
/// of 0x01 and the 32-byte public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointVerifier {
    pub(super) name: String,
    pub(super) key_id: [u8; KEY_ID_BYTES],
    pub(super) public_key: [u8; PUBLIC_KEY_BYTES],
}

impl CheckpointVerifier {
    /// Reads a verifier key such as `example.com/audit+e16a4539+Adda...`, without surrounding
    /// whitespace.
    ///
    /// # Errors
    /// [`CheckpointError::MalformedVerifierKey`], [`CheckpointError::UnsupportedKeyType`] or
    /// [`CheckpointError::InvalidKeyName`] for what cannot be read;
    /// [`CheckpointError::KeyIdMismatch`] when the key id was not computed from this name and
    /// public key, which means that one of the three was mistyped or exchanged.
    pub fn parse(vkey: &str) -> Result<Self, CheckpointError> {
        // Names and key ids have no '+', but base64 has: only the first two separate.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(key_id), Some(key)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(CheckpointError::MalformedVerifierKey);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| CheckpointError::MalformedVerifierKey)?;
        let (kind, public_key) = key.split_first().ok_or(CheckpointError::MalformedVerifierKey)?;
        if *kind != TYPE_ED25519 {
            return Err(CheckpointError::UnsupportedKeyType);
        }
        let public_key = <[u8; PUBLIC_KEY_BYTES]>::try_from(public_key)
            .map_err(|_| CheckpointError::MalformedVerifierKey)?;
        let verifier = Self::new(name, public_key)?;
        if !is_key_id(key_id) {
            return Err(CheckpointError::MalformedVerifierKey);
        }
        if key_id != verifier.key_id_hex() {
            return Err(CheckpointError::KeyIdMismatch);
        }
        Ok(verifier)
    }

    /// Name of the key, which is also the origin of the log it signs for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First 4 bytes of SHA-256(name || "\n" || 0x01 || public key)
    /// (<https://c2sp.org/signed-note>). Tells keys apart; it is too short to vouch for one.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// The Ed25519 public key (RFC 8032 section 5.1.5).
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// Checks a signed note and gives the checkpoint in it.
    ///
    /// Every signature that names this key must be good and there must be one; signatures of
    /// other keys (witnesses, a rotated key) are ignored, as signed-note demands. Extension lines
    /// are covered by the signature and otherwise ignored.
    ///
    /// # Errors
    /// [`CheckpointError::NotSigned`] and [`CheckpointError::BadSignature`] for the signature,
    /// [`CheckpointError::OriginMismatch`] when this key signed for a log of another name, and
    /// otherwise what is wrong with the form of the note.
    pub fn verify(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let note = SignedNote::parse(note)?;
        // Signatures first: text that nobody vouches for is not worth interpreting.
        self.check_signatures(&note)?;
        let checkpoint = Checkpoint::parse_text(note.text)?;
        if checkpoint.origin != self.name {
            return Err(CheckpointError::OriginMismatch);
        }
        Ok(checkpoint)
    }

    pub(super) fn new(
        name: &str,
        public_key: [u8; PUBLIC_KEY_BYTES],
    ) -> Result<Self, CheckpointError> {
        if !is_own_name(name) {
            return Err(CheckpointError::InvalidKeyName);
        }
        let identity = [name.as_bytes(), b"\n", &[TYPE_ED25519], &public_key].concat();
        let [a, b, c, d, ..] = *Hash::of(&identity).as_bytes();
        Ok(Self { name: name.to_owned(), key_id: [a, b, c, d], public_key })
    }

    pub(super) fn key_id_hex(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.key_id))
    }

    pub(super) fn check_signatures(&self, note: &SignedNote<'_>) -> Result<(), CheckpointError> {
        let key = UnparsedPublicKey::new(&ED25519, self.public_key);
        let mut signed = false;
        for line in &note.signatures {
            // Only name and id together identify a key; either alone may be a stranger's.
            if line.name == self.name && line.key_id == self.key_id {
                key.verify(note.text.as_bytes(), &line.signature)
                    .map_err(|_| CheckpointError::BadSignature)?;
                signed = true;
            }
        }
        if signed { Ok(()) } else { Err(CheckpointError::NotSigned) }
    }
}

impl fmt::Display for CheckpointVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[TYPE_ED25519][..], &self.public_key].concat();
        write!(f, "{}+{}+{}", self.name, self.key_id_hex(), BASE64_STANDARD.encode(key))
    }
}

/// Whether `text` has the form of a key id, whatever its value.
fn is_key_id(text: &str) -> bool {
    text.len() == 2 * KEY_ID_BYTES && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
