//! Signed notes in general (<https://c2sp.org/signed-note>), before anything is verified.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{CheckpointError, KEY_ID_BYTES, SIGNATURE_PREFIX};

/// Longest note read, in bytes.
pub(super) const MAX_NOTE_BYTES: usize = 64 * 1024;
/// Most signature lines read; signed-note obliges verifiers to take at least this many.
const MAX_SIGNATURES: usize = 16;

/// A note taken apart (<https://c2sp.org/signed-note>); nothing in it is verified yet.
pub(super) struct SignedNote<'a> {
    /// What the signatures cover: everything before the blank line, with its final newline.
    pub(super) text: &'a str,
    pub(super) signatures: Vec<SignatureLine<'a>>,
}

impl<'a> SignedNote<'a> {
    pub(super) fn parse(note: &'a str) -> Result<Self, CheckpointError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(CheckpointError::TooLong);
        }
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(CheckpointError::ControlCharacter);
        }
        // A text may have blank lines of its own: the last one of the note separates.
        let blank = note.rfind("\n\n").ok_or(CheckpointError::MissingSeparator)?;
        let (text, rest) = (&note[..=blank], &note[blank + 2..]);
        if rest.is_empty() {
            return Err(CheckpointError::MissingSignatures);
        }
        let lines = rest.strip_suffix('\n').ok_or(CheckpointError::MissingFinalNewline)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(CheckpointError::TooManySignatures);
        }
        let signatures = lines
            .split('\n')
            .map(SignatureLine::parse)
            .collect::<Option<Vec<_>>>()
            .ok_or(CheckpointError::MalformedSignature)?;
        Ok(Self { text, signatures })
    }
}

/// One signature line of a note, of a known key or not.
pub(super) struct SignatureLine<'a> {
    pub(super) name: &'a str,
    pub(super) key_id: [u8; KEY_ID_BYTES],
    pub(super) signature: Vec<u8>,
}

impl<'a> SignatureLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let blob = BASE64_STANDARD.decode(encoded).ok()?;
        let (key_id, signature) = blob.split_first_chunk::<KEY_ID_BYTES>()?;
        if !is_key_name(name) || signature.is_empty() {
            return None;
        }
        Some(Self { name, key_id: *key_id, signature: signature.to_vec() })
    }
}

/// Whether signed-note allows `name` as anybody's key name.
pub(super) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}
