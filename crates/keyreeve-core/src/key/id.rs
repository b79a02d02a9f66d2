//! The public name of a key.

use std::{fmt, str::FromStr};

use super::base62;
use crate::Invalid;

/// The public id of an issued key: 12 base 62 characters (71 bits), safe to log and to show.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; Self::LENGTH]);

impl KeyId {
    /// Characters in an id.
    pub const LENGTH: usize = 12;

    /// An id from 128 random bits. The remainder modulo 62^12 favours no id by more than 2^-56.
    pub fn from_entropy(entropy: [u8; 16]) -> Self {
        let mut text = [0; Self::LENGTH];
        base62::encode_u128(u128::from_be_bytes(entropy), &mut text);
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Built from base 62 digits only, so it is always UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id as the bytes of its text, which are ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads an id that stands in a larger text.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text: [u8; Self::LENGTH] = bytes.try_into().ok()?;
        base62::is_base62(&text).then_some(Self(text))
    }
}

impl FromStr for KeyId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::from_bytes(text.as_bytes())
            .ok_or_else(|| Invalid::new("must be a key id: 12 characters of 0-9, A-Z, a-z"))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
