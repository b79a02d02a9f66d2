//! A retried request makes nothing twice.
//!
//! The answer to a create or rotate holds a key that must not be stored in the clear, yet a
//! retry must get the very same key. So it is sealed under a key derived from the credential the
//! caller shows with every request: the database alone cannot open it, the caller's retry can.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hkdf,
};
use keyreeve_core::{Invalid, Secret};

use crate::{Entropy, EntropyFailed};

/// The caller's name for a request it may repeat: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Checks the form.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let good = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if good {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new("must be 1 to 255 visible ASCII characters"))
    }
}

/// What a repeatable request brings.
#[derive(Debug)]
pub struct Idempotency {
    key: IdempotencyKey,
    fingerprint: [u8; 32],
    sealer: Sealer,
}

impl Idempotency {
    /// `request` is the request's method, path and body; a repetition must have the same.
    pub fn new(key: IdempotencyKey, request: &[&[u8]], sealer: Sealer) -> Self {
        Self { key, fingerprint: sha256(request), sealer }
    }

    /// Where the answer is kept, for this caller.
    pub(crate) fn lookup(&self, actor: &str) -> [u8; 32] {
        sha256(&[actor.as_bytes(), self.key.0.as_bytes()])
    }

    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

/// SHA-256 over parts, each with its length before it, so that no two lists of parts collide.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Seals and opens answers for one caller.
#[derive(Clone)]
pub struct Sealer(Arc<LessSafeKey>);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([REDACTED])")
    }
}

impl Sealer {
    /// For a caller who shows this credential: HKDF-SHA-256 (RFC 5869) of it.
    pub fn from_credential(token: &str) -> Option<Self> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"keyreeve/idempotency/1");
        let derived = salt.extract(token.as_bytes());
        let key = derived.expand(&[b"aes-256-gcm"], &AES_256_GCM).ok()?;
        Some(Self(Arc::new(LessSafeKey::new(UnboundKey::from(key)))))
    }

    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self, EntropyFailed> {
        let key = entropy.bytes::<32>()?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| EntropyFailed)?;
        Ok(Self(Arc::new(LessSafeKey::new(key))))
    }

    /// Seals under a random nonce. A caller makes far fewer than the 2^32 sealings for which
    /// random 96-bit nonces stay safe (NIST SP 800-38D, 8.3).
    pub(crate) fn seal(
        &self,
        text: &Secret<String>,
        lookup: &[u8; 32],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, EntropyFailed> {
        let nonce = entropy.bytes::<NONCE_LEN>()?;
        // EXPOSE: the plaintext goes into the cipher and is encrypted in place.
        let mut sealed = text.expose().as_bytes().to_vec();
        let aad = Aad::from(lookup);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| EntropyFailed)?;
        sealed.splice(0..0, nonce);
        Ok(sealed)
    }

    /// Opens what [`Sealer::seal`] made; `None` if this caller cannot.
    pub(crate) fn open(&self, sealed: &[u8], lookup: &[u8; 32]) -> Option<Secret<String>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::from(lookup), &mut sealed).ok()?;
        String::from_utf8(opened.to_vec()).ok().map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, out: &mut [u8]) -> Result<(), EntropyFailed> {
            out.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn only_the_same_caller_opens_and_only_there() {
        let entropy: &dyn Entropy = &Fixed(7);
        let sealer = Sealer::from_credential("kr_live_one").unwrap();
        let text = Secret::new("kr_live_canary".to_owned());
        let sealed = sealer.seal(&text, &[1; 32], entropy).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert!(sealer.open(&sealed, &[1; 32]).unwrap().matches(b"kr_live_canary"));
        assert!(sealer.open(&sealed, &[2; 32]).is_none());
        let other = Sealer::from_credential("kr_live_two").unwrap();
        assert!(other.open(&sealed, &[1; 32]).is_none());
        assert!(sealer.open(b"short", &[1; 32]).is_none());
        let mut flipped = sealed.clone();
        flipped[20] ^= 1;
        assert!(sealer.open(&flipped, &[1; 32]).is_none());
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(sha256(&[b"ab", b"c"]), sha256(&[b"a", b"bc"]));
    }

    #[test]
    fn keys_are_visible_ascii() {
        assert!(IdempotencyKey::parse("8e03978e-40d5-43dd").is_ok());
        for bad in ["", "a b", "ä", "a\n", &"x".repeat(256)] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
