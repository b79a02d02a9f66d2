//! Telling unknown texts apart without keeping any of them.

use std::fmt;

use aws_lc_rs::{digest, hmac};

/// Stands for a text in the record: a part of the HMAC of its hash, under a secret of this process. The
/// same text has the same fingerprint until a restart, and nobody can try texts against it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 6]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes fingerprints.
pub(crate) struct Fingerprints(hmac::Key);

impl Fingerprints {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub(crate) fn of(&self, text: &str) -> Fingerprint {
        let mut fingerprint = [0; 6];
        // An HMAC in the making is left on the stack with the last of what goes into it; a hash is not.
        let text = digest::digest(&digest::SHA256, text.as_bytes());
        let tag = hmac::sign(&self.0, text.as_ref());
        fingerprint.copy_from_slice(&tag.as_ref()[..6]);
        Fingerprint(fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_equal_fingerprints_under_one_secret() {
        let (one, two) = (Fingerprints::new(&[1; 32]), Fingerprints::new(&[2; 32]));
        assert_eq!(one.of("a"), one.of("a"));
        assert_ne!(one.of("a"), one.of("b"));
        assert_ne!(one.of("a"), two.of("a"));
        assert_eq!(one.of("a").to_string().len(), 12);
    }
}
