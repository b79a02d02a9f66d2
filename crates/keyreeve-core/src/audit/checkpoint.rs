//! Signed checkpoints: the size and root of the audit tree, vouched for by the log's key.
//!
//! The form is the C2SP one (<https://c2sp.org/tlog-checkpoint> inside
//! <https://c2sp.org/signed-note>, Ed25519), so auditors can use tools they already have. Notes
//! come from files and networks nobody vouches for, so reading them is strict and bounded.

mod error;
mod note;
mod signer;
mod verifier;

pub use error::CheckpointError;
pub use signer::CheckpointSigner;
pub use verifier::CheckpointVerifier;

use self::note::{SignedNote, is_key_name};
use super::hash::Hash;

/// Longest origin or own key name, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Bytes of a key id, which precede each signature.
const KEY_ID_BYTES: usize = 4;
/// Bytes of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;
/// The signature type signed-note assigns to plain Ed25519.
const TYPE_ED25519: u8 = 0x01;
/// How each signature line begins: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Head of a log's tree: whose log, how many entries, and the root over all of them
/// (<https://c2sp.org/tlog-checkpoint>).
///
/// On its own this is a claim; [`CheckpointVerifier::verify`] makes it one the log signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// Puts a checkpoint together.
    ///
    /// `origin` names the log for good, best as a URL without scheme (`example.com/audit`);
    /// `size` is a number of leaves and `root` the RFC 6962 root over them.
    ///
    /// # Errors
    /// [`CheckpointError::InvalidOrigin`] unless `origin` is 1 to 255 bytes without whitespace,
    /// control characters and `+`. (C2SP only recommends this; Keyreeve uses the origin as key
    /// name, where it is obligatory.)
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        let origin = origin.into();
        if !is_own_name(&origin) {
            return Err(CheckpointError::InvalidOrigin);
        }
        Ok(Self { origin, size, root })
    }

    /// Reads the checkpoint out of a signed note **without checking any signature**.
    ///
    /// For showing a note or finding out whose key it needs; use
    /// [`CheckpointVerifier::verify`] before relying on anything in it.
    ///
    /// # Errors
    /// What is wrong with the form of the note or of its text.
    pub fn parse_note(note: &str) -> Result<Self, CheckpointError> {
        Self::parse_text(SignedNote::parse(note)?.text)
    }

    /// Name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of leaves in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root hash of the tree of [`Self::size`] leaves.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The text that gets signed: origin, decimal size and base64 root, each ended by a newline.
    pub fn note_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// Reads a note's text. Extension lines are checked for form and otherwise left alone.
    fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::MissingFinalNewline)?;
        let mut lines = body.split('\n');
        let origin = lines.next().unwrap_or_default();
        let size = lines.next().ok_or(CheckpointError::MissingSize)?;
        let root = lines.next().ok_or(CheckpointError::MissingRoot)?;
        if lines.any(str::is_empty) {
            return Err(CheckpointError::EmptyExtension);
        }
        let size = parse_size(size).ok_or(CheckpointError::InvalidSize)?;
        let root = Hash::from_base64(root).ok_or(CheckpointError::InvalidRoot)?;
        Self::new(origin, size, root)
    }
}

/// Whether `name` may be an origin or key name here: narrower than [`is_key_name`], so that it is
/// safe to show and to store.
fn is_own_name(name: &str) -> bool {
    is_key_name(name) && name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control)
}

/// Reads a decimal number that has exactly one way to be written.
fn parse_size(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    // `u64::from_str` would also take a leading plus.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
