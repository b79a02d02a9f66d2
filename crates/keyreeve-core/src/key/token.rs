//! Writing and reading keys.

use std::{fmt, str::FromStr};

use super::{KeyId, base62};
use crate::{Invalid, Secret, name::KeyPrefix};

const SECRET_LENGTH: usize = 43;
const CHECK_LENGTH: usize = 6;
const TAIL_LENGTH: usize = SECRET_LENGTH + CHECK_LENGTH;
const TAG_LENGTH: usize = 4;
/// Everything but the prefix: `_env_id_` and the tail.
const FIXED_LENGTH: usize = 1 + TAG_LENGTH + 1 + KeyId::LENGTH + 1 + TAIL_LENGTH;
const LONGEST_PREFIX: usize = 24;

/// Whether a key acts on real data or on test data; written into the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnvTag {
    /// Real data.
    Live,
    /// Test data.
    Test,
}

impl EnvTag {
    /// The tag as it stands in a key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl FromStr for EnvTag {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "live" => Ok(Self::Live),
            "test" => Ok(Self::Test),
            _ => Err(Invalid::new("must be live or test")),
        }
    }
}

/// A well-formed key text on loan. Holding one means that format and checksum were right.
#[derive(Clone, Copy)]
pub struct Token<'a>(&'a [u8]);

impl Token<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([REDACTED])")
    }
}

/// A freshly made key. Its text is shown once and never stored.
#[derive(Debug)]
pub struct IssuedToken {
    id: KeyId,
    text: Secret<String>,
}

impl IssuedToken {
    /// Makes a key from 128 random bits for the id and 256 for the secret.
    pub fn from_entropy(
        prefix: &KeyPrefix,
        tag: EnvTag,
        id_entropy: [u8; 16],
        secret_entropy: &[u8; 32],
    ) -> Self {
        let id = KeyId::from_entropy(id_entropy);
        let secret = base62::encode_256(secret_entropy);
        let mut text = String::with_capacity(prefix.as_str().len() + FIXED_LENGTH);
        text.push_str(prefix.as_str());
        text.push('_');
        text.push_str(tag.as_str());
        text.push('_');
        text.push_str(id.as_str());
        text.push('_');
        text.extend(secret.iter().copied().map(char::from));
        let check = check_digits(text.as_bytes());
        text.extend(check.iter().copied().map(char::from));
        Self { id, text: Secret::new(text) }
    }

    /// The key's public id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The text to show to the person or program that asked for the key.
    pub fn text(&self) -> &Secret<String> {
        &self.text
    }

    /// Hands the text over to whoever shows it.
    pub fn into_text(self) -> Secret<String> {
        self.text
    }

    /// The last four characters, kept so that people can tell their keys apart.
    pub fn last_four(&self) -> String {
        // EXPOSE: four characters of a checksum tail reveal nothing of use.
        let text = self.text.expose();
        text[text.len() - 4..].to_owned()
    }

    /// The text as the digester takes it.
    pub fn token(&self) -> Token<'_> {
        // EXPOSE: borrowed for hashing only; `Token` does not print.
        Token(self.text.expose().as_bytes())
    }
}

/// The text is not a key: wrong shape or wrong checksum. Which of the two does not matter to an
/// honest caller and is of use to nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed key")]
pub struct MalformedKey {
    mistyped: bool,
}

impl MalformedKey {
    const SHAPE: Self = Self { mistyped: false };
    const CHECKSUM: Self = Self { mistyped: true };

    /// Whether the text has the shape of a key and only its checksum is wrong: then it is a key
    /// of ours with a typing error, and nobody else's.
    pub fn is_mistyped(self) -> bool {
        self.mistyped
    }
}

/// A key text taken apart. No lookup was needed to get here.
#[derive(Clone, Copy, Debug)]
pub struct ParsedKey<'a> {
    /// The keyspace's prefix.
    pub prefix: &'a str,
    /// Live or test.
    pub tag: EnvTag,
    /// The public id.
    pub id: KeyId,
    /// The whole text, for comparing with the stored digest.
    pub token: Token<'a>,
}

impl<'a> ParsedKey<'a> {
    /// Takes a key apart from the right, because the prefix may hold `_`, and checks its CRC.
    ///
    /// The CRC is not a signature: anyone can compute it. It tells a typing error or random noise
    /// from a key without a lookup.
    pub fn parse(text: &'a str) -> Result<Self, MalformedKey> {
        let bytes = text.as_bytes();
        let prefix_length = bytes.len().checked_sub(FIXED_LENGTH).ok_or(MalformedKey::SHAPE)?;
        if prefix_length == 0 || prefix_length > LONGEST_PREFIX || !text.is_ascii() {
            return Err(MalformedKey::SHAPE);
        }
        let (prefix, rest) = text.split_at(prefix_length);
        let (tag, rest) = underscore(rest)?.split_at(TAG_LENGTH);
        let (id, rest) = underscore(rest)?.split_at(KeyId::LENGTH);
        let tail = underscore(rest)?;
        let tag = tag.parse().map_err(|_| MalformedKey::SHAPE)?;
        let id = KeyId::from_bytes(id.as_bytes()).ok_or(MalformedKey::SHAPE)?;
        if !base62::is_base62(tail.as_bytes()) {
            return Err(MalformedKey::SHAPE);
        }
        let (signed, check) = bytes.split_at(bytes.len() - CHECK_LENGTH);
        if check_digits(signed) != check {
            return Err(MalformedKey::CHECKSUM);
        }
        Ok(Self { prefix, tag, id, token: Token(bytes) })
    }
}

/// Drops the underscore that must stand here. The caller checked the overall length.
fn underscore(text: &str) -> Result<&str, MalformedKey> {
    text.strip_prefix('_').ok_or(MalformedKey::SHAPE)
}

/// CRC-32 (the one of IEEE 802.3 and zip) in six base 62 digits.
fn check_digits(signed: &[u8]) -> [u8; CHECK_LENGTH] {
    base62::encode_u32(crc32fast::hash(signed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arb_prefix() -> impl Strategy<Value = KeyPrefix> {
        "[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,5}){0,3}"
            .prop_filter_map("over-long", |text| text.parse().ok())
    }

    fn arb_tag() -> impl Strategy<Value = EnvTag> {
        prop_oneof![Just(EnvTag::Live), Just(EnvTag::Test)]
    }

    proptest! {
        #[test]
        fn parsing_undoes_issuing(
            prefix in arb_prefix(), tag in arb_tag(), id: [u8; 16], secret: [u8; 32],
        ) {
            let issued = IssuedToken::from_entropy(&prefix, tag, id, &secret);
            let text = issued.text().expose();
            let parsed = ParsedKey::parse(text).unwrap();
            prop_assert_eq!(parsed.prefix, prefix.as_str());
            prop_assert_eq!(parsed.tag, tag);
            prop_assert_eq!(parsed.id, issued.id());
            prop_assert!(text.ends_with(&issued.last_four()));
        }

        #[test]
        fn one_changed_character_is_caught(
            prefix in arb_prefix(), id: [u8; 16], secret: [u8; 32],
            at: prop::sample::Index, with in "[0-9A-Za-z_]",
        ) {
            let issued = IssuedToken::from_entropy(&prefix, EnvTag::Live, id, &secret);
            let mut text = issued.text().expose().clone();
            let at = at.index(text.len());
            prop_assume!(text[at..=at] != with);
            text.replace_range(at..=at, &with);
            prop_assert!(ParsedKey::parse(&text).is_err());
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,140}") {
            let _ = ParsedKey::parse(&text);
        }

        #[test]
        fn different_secrets_give_different_keys(a: [u8; 32], b: [u8; 32]) {
            prop_assume!(a != b);
            let prefix = "kr".parse().unwrap();
            let first = IssuedToken::from_entropy(&prefix, EnvTag::Live, [0; 16], &a);
            let second = IssuedToken::from_entropy(&prefix, EnvTag::Live, [0; 16], &b);
            prop_assert_ne!(first.text().expose(), second.text().expose());
        }
    }

    #[test]
    fn the_form_is_fixed() {
        let prefix = "kr".parse().unwrap();
        let issued = IssuedToken::from_entropy(&prefix, EnvTag::Live, [0; 16], &[0; 32]);
        let expected = format!("kr_live_{}_{}", "0".repeat(12), "0".repeat(43));
        let text = issued.text().expose();
        assert_eq!(text.len(), expected.len() + 6);
        assert!(text.starts_with(&expected));
        // Independently: zlib.crc32 of the text before the check digits, in base 62.
        assert_eq!(&text[expected.len()..], CHECK_OF_ZEROS);
    }

    const CHECK_OF_ZEROS: &str = "09D9pa";
}
