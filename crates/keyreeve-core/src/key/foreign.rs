//! Hashes of keys that were issued by another system.
//!
//! A hash without a salt finds its key: what is shown is hashed and looked up. A salted hash
//! (bcrypt, Argon2) finds nothing, so its row must also tell how the key begins; the few keys that
//! begin so are then tried one by one. The first time such a key is shown its whole text is known,
//! and a digest of our own takes the place of the foreign hash.

use std::{fmt, str::FromStr};

use argon2::password_hash::{PasswordHash, PasswordVerifier as _};
use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use subtle::ConstantTimeEq as _;

use crate::{Invalid, Secret, encoding::hex};

const RULE: &str = "must be a SHA-256 (64 hex digits or base64), a SHA-512 (128 hex digits), \
                    hmac-sha256:<64 hex digits>, a bcrypt hash ($2b$…) or an Argon2 hash in PHC \
                    form ($argon2id$…)";
/// What one verification of a salted hash may cost: about half a second of one core.
const MOST_BCRYPT_COST: u32 = 13;
const MOST_ARGON2_KIB: u32 = 256 * 1024;
const MOST_ARGON2_PASSES: u32 = 10;
const MOST_ARGON2_LANES: u32 = 8;

/// What is known of a key that came from another system.
#[derive(Clone, PartialEq, Eq)]
pub struct Imported {
    /// How the key begins, 4 to 32 visible characters; `None` where the hash alone finds it.
    pub start: Option<Box<str>>,
    /// The hash it came with; `None` once the key's own digest is known.
    pub hash: Option<ForeignHash>,
}

/// A hash made by another system. Does not print.
#[derive(Clone, PartialEq, Eq)]
pub enum ForeignHash {
    /// SHA-256 of the key's text: the same as our own digest without a pepper.
    Sha256([u8; 32]),
    /// SHA-512 of the key's text.
    Sha512(Box<[u8; 64]>),
    /// HMAC-SHA-256 of the key's text under the other system's secret.
    HmacSha256([u8; 32]),
    /// bcrypt, in its modular crypt form.
    Bcrypt(Box<str>),
    /// Argon2, in the PHC string form.
    Argon2(Box<str>),
}

impl ForeignHash {
    /// Whether the hash alone finds the key.
    pub fn is_salted(&self) -> bool {
        matches!(self, Self::Bcrypt(_) | Self::Argon2(_))
    }

    /// Whether `text` is the key that the hash was made from. Salted hashes take up to half a
    /// second of one core: not for threads that serve others.
    pub fn matches(&self, text: &str, hmac_secret: Option<&HmacSecret>) -> bool {
        match self {
            Self::Sha256(hash) => sha256(text).ct_eq(hash).into(),
            Self::Sha512(hash) => sha512(text).ct_eq(&**hash).into(),
            Self::HmacSha256(hash) => {
                hmac_secret.is_some_and(|secret| secret.hash(text).ct_eq(hash).into())
            }
            Self::Bcrypt(hash) => bcrypt::verify(text, hash).unwrap_or(false),
            Self::Argon2(hash) => PasswordHash::new(hash).is_ok_and(|hash| {
                argon2::Argon2::default().verify_password(text.as_bytes(), &hash).is_ok()
            }),
        }
    }

    /// The stored form, which [`FromStr`] reads.
    pub fn to_text(&self) -> String {
        match self {
            Self::Sha256(hash) => hex(hash),
            Self::Sha512(hash) => hex(&**hash),
            Self::HmacSha256(hash) => format!("hmac-sha256:{}", hex(hash)),
            Self::Bcrypt(hash) | Self::Argon2(hash) => hash.to_string(),
        }
    }
}

/// SHA-256 of a text.
pub fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}

/// SHA-512 of a text.
pub fn sha512(text: &str) -> [u8; 64] {
    let mut out = [0; 64];
    out.copy_from_slice(digest::digest(&digest::SHA512, text.as_bytes()).as_ref());
    out
}

/// The secret under which another system made its HMACs.
pub struct HmacSecret(hmac::Key);

impl HmacSecret {
    /// Takes the secret from outside.
    ///
    /// # Errors
    ///
    /// It is empty.
    pub fn new(bytes: &Secret<Vec<u8>>) -> Result<Self, Invalid> {
        // EXPOSE: the HMAC key is made from it, once, at start.
        let bytes = bytes.expose();
        if bytes.is_empty() {
            return Err(Invalid::new("must not be empty"));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// HMAC-SHA-256 of a text.
    pub fn hash(&self, text: &str) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.0, text.as_bytes()).as_ref());
        out
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSecret([REDACTED])")
    }
}

impl fmt::Debug for ForeignHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignHash(..)")
    }
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imported").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Imported {
    /// Checks that the key can be found again.
    ///
    /// # Errors
    ///
    /// The start breaks its rule, or a salted hash comes without one.
    pub fn new(start: Option<&str>, hash: ForeignHash) -> Result<Self, Invalid> {
        let good = |start: &str| {
            (4..=32).contains(&start.len()) && start.bytes().all(|b| b.is_ascii_graphic())
        };
        if start.is_some_and(|start| !good(start)) {
            return Err(Invalid::new("must be the first 4 to 32 characters of the key"));
        }
        if start.is_none() && hash.is_salted() {
            return Err(Invalid::new(
                "must be given with a bcrypt or Argon2 hash: it is how the key is found",
            ));
        }
        Ok(Self { start: start.map(Into::into), hash: Some(hash) })
    }
}

impl FromStr for ForeignHash {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.starts_with("$argon2") {
            return argon2(text);
        }
        if text.starts_with("$2") {
            return bcrypt(text);
        }
        if let Some(digits) = text.strip_prefix("hmac-sha256:") {
            return unhex(digits).map(Self::HmacSha256).ok_or_else(|| Invalid::new(RULE));
        }
        let text = text.strip_prefix("sha256:").unwrap_or(text);
        let text = text.strip_prefix("sha512:").unwrap_or(text);
        if let Some(hash) = unhex::<32>(text) {
            return Ok(Self::Sha256(hash));
        }
        if let Some(hash) = unhex::<64>(text) {
            return Ok(Self::Sha512(Box::new(hash)));
        }
        let plain = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
        let bytes = STANDARD_NO_PAD.decode(plain).ok();
        match bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(hash) => Ok(Self::Sha256(hash)),
            None => Err(Invalid::new(RULE)),
        }
    }
}

fn bcrypt(text: &str) -> Result<ForeignHash, Invalid> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| Invalid::new(RULE))?;
    if parts.get_cost() > MOST_BCRYPT_COST {
        return Err(Invalid::new("must be a bcrypt hash of cost 13 or less"));
    }
    Ok(ForeignHash::Bcrypt(text.into()))
}

fn argon2(text: &str) -> Result<ForeignHash, Invalid> {
    let hash = PasswordHash::new(text).map_err(|_| Invalid::new(RULE))?;
    let params = argon2::Params::try_from(&hash).map_err(|_| Invalid::new(RULE))?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(Invalid::new(RULE));
    }
    if params.m_cost() > MOST_ARGON2_KIB
        || params.t_cost() > MOST_ARGON2_PASSES
        || params.p_cost() > MOST_ARGON2_LANES
    {
        return Err(Invalid::new(
            "must be an Argon2 hash of at most 256 MiB, 10 passes and 8 lanes",
        ));
    }
    Ok(ForeignHash::Argon2(text.into()))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "sk_test_not_a_real_key_0001";

    fn parsed(text: &str) -> ForeignHash {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_finds_its_key_and_no_other() {
        let secret = HmacSecret::new(&Secret::new(b"made up for tests".to_vec())).unwrap();
        let base64 = STANDARD_NO_PAD.encode(sha256(KEY));
        let bcrypted = bcrypt::hash(KEY, 4).unwrap();
        // A published example would show another text: this one is made on the spot.
        let argon = {
            use argon2::password_hash::{PasswordHasher as _, SaltString};
            let params = argon2::Params::new(32, 1, 1, None).unwrap();
            let hasher =
                argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
            let salt = SaltString::encode_b64(b"made up salt 001").unwrap();
            hasher.hash_password(KEY.as_bytes(), &salt).unwrap().to_string()
        };
        let hmac = format!("hmac-sha256:{}", hex(&secret.hash(KEY)));
        for text in [
            hex(&sha256(KEY)),
            base64.clone(),
            base64 + "=",
            hex(&sha512(KEY)),
            bcrypted,
            argon,
            hmac,
        ] {
            let hash = parsed(&text);
            assert!(hash.matches(KEY, Some(&secret)), "{text}");
            assert!(!hash.matches("sk_test_not_a_real_key_0002", Some(&secret)), "{text}");
            assert_eq!(parsed(&hash.to_text()), hash);
        }
    }

    #[test]
    fn costly_hashes_and_other_texts_are_refused() {
        for bad in [
            "",
            "plain",
            "sha256:12",
            "$2b$14$abcdefghijklmnopqrstuuAbCdEfGhIjKlMnOpQrStUvWxYz01234",
            "$argon2id$v=19$m=1048576,t=1,p=1$bWFkZSB1cCBzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=32,t=1,p=1",
            &"f".repeat(127),
        ] {
            assert!(bad.parse::<ForeignHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_salted_hash_needs_the_start_of_its_key() {
        let salted = || parsed(&bcrypt::hash(KEY, 4).unwrap());
        assert!(Imported::new(None, salted()).is_err());
        assert!(Imported::new(Some("sk_"), salted()).is_err());
        assert!(Imported::new(Some("sk_test_"), salted()).is_ok());
        assert!(Imported::new(None, parsed(&hex(&sha256(KEY)))).is_ok());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,140}") {
            let _ = text.parse::<ForeignHash>();
        }
    }
}
