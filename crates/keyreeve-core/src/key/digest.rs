//! What is stored instead of a key: a digest of its whole text.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use subtle::ConstantTimeEq;

use super::{foreign, token::Token};
use crate::{Invalid, Secret};

/// The stored digest of a key, with the scheme that made it.
///
/// A plain SHA-256 is enough for a secret of 256 random bits: there is nothing to guess, so a
/// slow hash would only slow verification. With a pepper configured, new keys get HMAC-SHA-256
/// and a stolen database alone cannot even confirm a candidate key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeyDigest {
    /// SHA-256 of the whole key text.
    Sha256([u8; 32]),
    /// HMAC-SHA-256 of the whole key text under the server's pepper.
    Peppered([u8; 32]),
    /// Not known yet: the key came from another system, which hashed it in a way of its own. It
    /// matches nothing.
    Foreign,
}

impl KeyDigest {
    /// The digest's bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        match self {
            Self::Sha256(bytes) | Self::Peppered(bytes) => bytes,
            Self::Foreign => &[0; 32],
        }
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// A server-side secret mixed into key digests. At least 32 bytes.
pub struct Pepper(hmac::Key);

impl Pepper {
    /// Takes the pepper from outside; refuses fewer than 32 bytes.
    pub fn new(bytes: &Secret<Vec<u8>>) -> Result<Self, Invalid> {
        // EXPOSE: the HMAC key is made from it, once, at start.
        let bytes = bytes.expose();
        if bytes.len() < 32 {
            return Err(Invalid::new("must be at least 32 bytes"));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper([REDACTED])")
    }
}

/// Makes and checks digests.
#[derive(Debug, Default)]
pub struct Digester {
    pepper: Option<Pepper>,
}

impl Digester {
    /// With `None`, new keys are stored under plain SHA-256.
    pub fn new(pepper: Option<Pepper>) -> Self {
        Self { pepper }
    }

    /// The digest to store for a new key.
    pub fn digest(&self, token: &Token<'_>) -> KeyDigest {
        match &self.pepper {
            None => KeyDigest::Sha256(sha256(token)),
            Some(pepper) => KeyDigest::Peppered(hmac_sha256(pepper, token)),
        }
    }

    /// The digest to store for the text of a key that another system made.
    pub fn digest_text(&self, text: &str) -> KeyDigest {
        match &self.pepper {
            None => KeyDigest::Sha256(foreign::sha256(text)),
            Some(pepper) => KeyDigest::Peppered(hmac_bytes(pepper, text.as_bytes())),
        }
    }

    /// HMAC-SHA-256 of a text under the pepper, if there is one.
    pub fn peppered(&self, text: &str) -> Option<[u8; 32]> {
        self.pepper.as_ref().map(|pepper| hmac_bytes(pepper, text.as_bytes()))
    }

    /// Whether `token` is the key that `stored` was made from, in constant time.
    ///
    /// Each digest is checked under the scheme that made it, so turning a pepper on leaves older
    /// keys working. A peppered digest never matches once the pepper is gone.
    pub fn matches(&self, stored: &KeyDigest, token: &Token<'_>) -> bool {
        let computed = match (stored, &self.pepper) {
            (KeyDigest::Sha256(_), _) => sha256(token),
            (KeyDigest::Peppered(_), Some(pepper)) => hmac_sha256(pepper, token),
            (KeyDigest::Peppered(_), None) | (KeyDigest::Foreign, _) => return false,
        };
        stored.bytes().ct_eq(&computed).into()
    }
}

fn sha256(token: &Token<'_>) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, token.bytes()).as_ref());
    out
}

fn hmac_sha256(pepper: &Pepper, token: &Token<'_>) -> [u8; 32] {
    hmac_bytes(pepper, token.bytes())
}

fn hmac_bytes(pepper: &Pepper, bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&pepper.0, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{EnvTag, IssuedToken};

    fn issued(secret: u8) -> IssuedToken {
        let prefix = "kr".parse().unwrap();
        IssuedToken::from_entropy(&prefix, EnvTag::Live, [1; 16], &[secret; 32])
    }

    fn peppered(byte: u8) -> Digester {
        Digester::new(Some(Pepper::new(&Secret::new(vec![byte; 32])).unwrap()))
    }

    #[test]
    fn only_the_same_key_matches() {
        let digester = Digester::default();
        let (a, b) = (issued(1), issued(2));
        let stored = digester.digest(&a.token());
        assert!(digester.matches(&stored, &a.token()));
        assert!(!digester.matches(&stored, &b.token()));
    }

    #[test]
    fn older_keys_survive_a_new_pepper_and_peppered_ones_need_it() {
        let key = issued(1);
        let plain = Digester::default().digest(&key.token());
        assert!(peppered(7).matches(&plain, &key.token()));
        let stored = peppered(7).digest(&key.token());
        assert!(peppered(7).matches(&stored, &key.token()));
        assert!(!peppered(8).matches(&stored, &key.token()));
        assert!(!Digester::default().matches(&stored, &key.token()));
    }

    #[test]
    fn short_peppers_are_refused() {
        assert!(Pepper::new(&Secret::new(vec![1; 31])).is_err());
    }
}
