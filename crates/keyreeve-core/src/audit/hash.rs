//! The 32-byte SHA-256 values the audit tree is made of.
//!
//! Leaves and inner nodes are hashed under different prefixes, so no inner node can ever be
//! passed off as a leaf: that separation is what makes an inclusion proof mean something.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// First byte hashed for a leaf (RFC 6962 section 2.1).
const LEAF_PREFIX: u8 = 0x00;
/// First byte hashed for an inner node (RFC 6962 section 2.1).
const NODE_PREFIX: u8 = 0x01;
/// Characters in the padded base64 form of 32 bytes.
const BASE64_LEN: usize = 44;

/// A SHA-256 value: a leaf, an inner node or the root of the audit tree.
///
/// Shown (`Debug` and `Display`) as 64 lowercase hexadecimal digits. The values are public, so
/// comparing them needs no constant time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Hash of one log entry, SHA-256(0x00 || data) (RFC 6962 section 2.1).
    pub fn leaf(data: &[u8]) -> Self {
        Self::of_parts(&[&[LEAF_PREFIX], data])
    }

    /// Hash of an inner node, SHA-256(0x01 || left || right) (RFC 6962 section 2.1).
    pub fn node(left: &Self, right: &Self) -> Self {
        Self::of_parts(&[&[NODE_PREFIX], &left.0, &right.0])
    }

    /// Root of the tree without leaves, SHA-256 of the empty string (RFC 6962 section 2.1).
    pub fn empty() -> Self {
        Self::of(&[])
    }

    /// Plain SHA-256 of `data` (FIPS 180-4), without any prefix.
    pub fn of(data: &[u8]) -> Self {
        Self::from_digest(digest(&SHA256, data).as_ref())
    }

    /// Takes 32 bytes that already are a hash; nothing is computed.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Takes a slice that already is a hash; `None` unless it is exactly 32 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::try_from(bytes).ok().map(Self)
    }

    /// The 32 bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash in the standard base64 alphabet with padding, always 44 characters
    /// (RFC 4648 section 4).
    pub fn to_base64(self) -> String {
        BASE64_STANDARD.encode(self.0)
    }

    /// Reads the form [`Self::to_base64`] writes, and only that one: `None` for another length,
    /// missing padding, stray trailing bits or a character outside the standard alphabet.
    pub fn from_base64(text: &str) -> Option<Self> {
        // Checked first so that a long hostile string is refused without decoding it.
        if text.len() != BASE64_LEN {
            return None;
        }
        Self::from_slice(&BASE64_STANDARD.decode(text).ok()?)
    }

    fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        Self::from_digest(context.finish().as_ref())
    }

    /// `output` is always the 32 bytes SHA-256 gives.
    fn from_digest(output: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(output);
        Self(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Test vectors that Certificate Transparency implementations share for RFC 6962 hashing.
    #[test]
    fn matches_the_published_rfc6962_vectors() {
        let vectors = [
            (Hash::empty(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Hash::leaf(b""), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (
                Hash::leaf(b"L123456"),
                "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56",
            ),
        ];
        for (hash, expected) in vectors {
            assert_eq!(hash.to_string(), expected);
        }
    }

    #[test]
    fn node_hashes_prefix_left_right() {
        let (left, right) = (Hash::of(b"left"), Hash::of(b"right"));
        let joined = [&[0x01_u8][..], left.as_bytes(), right.as_bytes()].concat();
        assert_eq!(Hash::node(&left, &right), Hash::of(&joined));
        assert_ne!(Hash::node(&left, &right), Hash::node(&right, &left));
    }

    #[test]
    fn debug_and_display_are_lowercase_hex() {
        let hash = Hash::from_bytes([0xAB; 32]);
        assert_eq!(hash.to_string(), "ab".repeat(32));
        assert_eq!(format!("{hash:?}"), hash.to_string());
    }

    #[test]
    fn base64_reader_accepts_only_the_canonical_form() {
        let text = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Hash::empty().to_base64(), text);
        assert_eq!(Hash::from_base64(text), Some(Hash::empty()));
        let url_safe = text.replace('+', "-").replace('/', "_");
        let spaced = format!("{text} ");
        // The last symbol before the padding carries two bits that must stay zero.
        let trailing_bits = text.replace("FU=", "FV=");
        for bad in ["", &text[..43], url_safe.as_str(), spaced.as_str(), trailing_bits.as_str()] {
            assert_eq!(Hash::from_base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn from_slice_wants_exactly_32_bytes() {
        assert_eq!(Hash::from_slice(&[7; 32]), Some(Hash::from_bytes([7; 32])));
        assert_eq!(Hash::from_slice(&[7; 31]), None);
        assert_eq!(Hash::from_slice(&[7; 33]), None);
    }

    proptest! {
        #[test]
        fn base64_round_trip(bytes in any::<[u8; 32]>()) {
            let hash = Hash::from_bytes(bytes);
            prop_assert_eq!(Hash::from_base64(&hash.to_base64()), Some(hash));
        }
    }
}
