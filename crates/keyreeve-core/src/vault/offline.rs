//! A copy of what a server said to one client, for when the server cannot be reached.
//!
//! ```text
//! format, 1 byte | salt, 16 | nonce, 12 | when it was taken, 8 | ciphertext and tag
//! ```
//!
//! The key is derived from the token that the client shows to the server, by HKDF-SHA-256 (RFC 5869)
//! with a salt of its own for each copy. So who finds a copy without the token can do nothing with it.
//! Which server it is of, what was asked and when it was taken are authenticated with it.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use jiff::Timestamp;
use zeroize::Zeroize as _;

use crate::Secret;

/// What keys and copies are bound to: nothing else that a token is used for has it.
const LABEL: &[u8] = b"keyreeve offline copy v1";
/// The first byte of a copy: how the rest is laid out.
const FORMAT: u8 = 1;
/// Length of the key, in bytes.
const KEY: usize = 32;
/// Length of a salt, in bytes.
const SALT: usize = 16;
/// Length of an authentication tag, in bytes.
const TAG: usize = 16;
/// Length of the time, in bytes.
const TIME: usize = 8;
/// What stands before the ciphertext.
const HEADER: usize = 1 + SALT + NONCE_LEN + TIME;

/// Why a copy is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// It is not laid out as a copy is.
    #[error("is not an offline copy")]
    Malformed,
    /// It was changed, or is of something else, or was sealed with another token.
    #[error("was changed, is of something else or belongs to another token")]
    Refused,
    /// The cryptographic library refused its input.
    #[error("cannot be encrypted or decrypted")]
    Cipher,
}

/// What a copy is of.
#[derive(Clone, Copy, Debug)]
pub struct OfflineSubject<'a> {
    /// The address of the server.
    pub endpoint: &'a str,
    /// What it was asked for.
    pub name: &'a str,
}

impl OfflineSubject<'_> {
    /// Unlike for any other server, question or time: each part has its length before it.
    fn context(&self, time: [u8; TIME]) -> Vec<u8> {
        let mut text = LABEL.to_vec();
        for part in [self.endpoint.as_bytes(), self.name.as_bytes(), time.as_slice()] {
            text.extend((part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        text
    }
}

/// Randomness for one copy: never used twice.
#[derive(Clone, Copy, Debug)]
pub struct OfflineRandomness {
    /// Makes the key.
    pub salt: [u8; SALT],
    /// Goes into the cipher.
    pub nonce: [u8; NONCE_LEN],
}

/// A sealed copy.
#[derive(Clone, PartialEq, Eq)]
pub struct OfflineCopy {
    bytes: Vec<u8>,
}

impl fmt::Debug for OfflineCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OfflineCopy({} bytes)", self.bytes.len())
    }
}

impl OfflineCopy {
    /// Seals what the server said. The time is kept to the millisecond.
    pub fn seal(
        token: &Secret<String>,
        subject: &OfflineSubject<'_>,
        taken_at: Timestamp,
        plaintext: &[u8],
        random: OfflineRandomness,
    ) -> Result<Self, OfflineError> {
        let OfflineRandomness { salt, nonce } = random;
        let time = taken_at.as_millisecond().to_be_bytes();
        let cipher = cipher(token, &salt)?;
        let aad = subject.context(time);
        // The room is made at once: growing would leave a copy of the plaintext behind.
        let mut buffer = Vec::with_capacity(plaintext.len() + TAG);
        buffer.extend_from_slice(plaintext);
        let number = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(aad.as_slice());
        if cipher.seal_in_place_append_tag(number, aad, &mut buffer).is_err() {
            // Only texts of 64 GiB fail, which no limit lets come here.
            buffer.zeroize();
            return Err(OfflineError::Cipher);
        }
        let mut bytes = Vec::with_capacity(HEADER + buffer.len());
        bytes.push(FORMAT);
        bytes.extend(salt);
        bytes.extend(nonce);
        bytes.extend(time);
        bytes.extend(buffer);
        Ok(Self { bytes })
    }

    /// Opens a stored copy: when it was taken, and what the server said.
    pub fn open(
        token: &Secret<String>,
        subject: &OfflineSubject<'_>,
        bytes: &[u8],
    ) -> Result<(Timestamp, Secret<Vec<u8>>), OfflineError> {
        let parts = Parts::of(bytes).ok_or(OfflineError::Malformed)?;
        let cipher = cipher(token, parts.salt)?;
        let aad = subject.context(*parts.time);
        let number = Nonce::assume_unique_for_key(*parts.nonce);
        let aad = Aad::from(aad.as_slice());
        let mut buffer = Secret::new(parts.ciphertext.to_vec());
        // EXPOSE: decrypted where it stands.
        let opened = cipher.open_in_place(number, aad, buffer.expose_mut());
        let length = opened.map_err(|_| OfflineError::Refused)?.len();
        // EXPOSE: the tag is cut off.
        buffer.expose_mut().truncate(length);
        let taken_at = Timestamp::from_millisecond(i64::from_be_bytes(*parts.time))
            .map_err(|_| OfflineError::Malformed)?;
        Ok((taken_at, buffer))
    }

    /// As it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A stored copy, taken apart.
struct Parts<'b> {
    salt: &'b [u8; SALT],
    nonce: &'b [u8; NONCE_LEN],
    time: &'b [u8; TIME],
    ciphertext: &'b [u8],
}

impl<'b> Parts<'b> {
    fn of(bytes: &'b [u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (time, ciphertext) = rest.split_first_chunk()?;
        let is_copy = *format == FORMAT && ciphertext.len() >= TAG;
        is_copy.then_some(Self { salt, nonce, time, ciphertext })
    }
}

/// The cipher of the one copy that has this salt.
fn cipher(token: &Secret<String>, salt: &[u8; SALT]) -> Result<LessSafeKey, OfflineError> {
    let mut key = [0; KEY];
    // EXPOSE: goes into the derivation.
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(token.expose().as_bytes());
    let info = [LABEL];
    let expanded = extracted.expand(&info, hkdf::HKDF_SHA256);
    let filled = expanded.and_then(|expanded| expanded.fill(&mut key));
    let cipher = filled.and_then(|()| UnboundKey::new(&AES_256_GCM, &key)).map(LessSafeKey::new);
    key.zeroize();
    cipher.map_err(|_| OfflineError::Cipher)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUBJECT: OfflineSubject<'_> =
        OfflineSubject { endpoint: "https://keys.example.com", name: "production/app" };

    fn token(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    fn seal(plaintext: &[u8], byte: u8) -> OfflineCopy {
        let random = OfflineRandomness { salt: [byte; 16], nonce: [byte; 12] };
        OfflineCopy::seal(&token("kr_live_a"), &SUBJECT, at(1_234_567), plaintext, random).unwrap()
    }

    fn open(
        with: &str,
        subject: &OfflineSubject<'_>,
        bytes: &[u8],
    ) -> Result<(Timestamp, Vec<u8>), OfflineError> {
        let (taken_at, plaintext) = OfflineCopy::open(&token(with), subject, bytes)?;
        Ok((taken_at, plaintext.expose().clone()))
    }

    #[test]
    fn a_copy_opens_with_its_token_and_subject_only() {
        let copy = seal(b"canary", 7);
        assert_eq!(
            open("kr_live_a", &SUBJECT, copy.as_bytes()).unwrap(),
            (at(1_234_567), b"canary".to_vec())
        );
        assert!(!copy.as_bytes().windows(6).any(|window| window == b"canary"));
        for (with, subject) in [
            ("kr_live_b", SUBJECT),
            ("", SUBJECT),
            ("kr_live_a", OfflineSubject { endpoint: "https://keys.example.org", ..SUBJECT }),
            ("kr_live_a", OfflineSubject { name: "production/db", ..SUBJECT }),
            // The same bytes, split elsewhere.
            (
                "kr_live_a",
                OfflineSubject { endpoint: "https://keys.example.comp", name: "roduction/app" },
            ),
        ] {
            let opened = open(with, &subject, copy.as_bytes());
            assert_eq!(opened, Err(OfflineError::Refused), "{with} {subject:?}");
        }
    }

    #[test]
    fn equal_texts_have_unlike_copies() {
        let (one, other) = (seal(b"canary", 1), seal(b"canary", 2));
        assert_ne!(one.as_bytes()[HEADER..], other.as_bytes()[HEADER..]);
    }

    #[test]
    fn what_is_no_copy_is_told() {
        let mut other_format = seal(b"", 1).as_bytes().to_vec();
        other_format[0] = 2;
        let too_short = vec![FORMAT; HEADER + TAG - 1];
        for bytes in [Vec::new(), vec![FORMAT], too_short, other_format] {
            assert_eq!(open("kr_live_a", &SUBJECT, &bytes), Err(OfflineError::Malformed));
        }
        assert_eq!(open("kr_live_a", &SUBJECT, &[FORMAT; 90]), Err(OfflineError::Refused));
    }

    #[test]
    fn nothing_is_shown() {
        let shown = format!("{:?}", seal(b"canary", 7));
        assert_eq!(shown, format!("OfflineCopy({} bytes)", HEADER + 6 + TAG));
    }

    proptest! {
        #[test]
        fn any_change_is_refused(
            plaintext in proptest::collection::vec(any::<u8>(), 0..200),
            byte in any::<u8>(),
            at_index in any::<proptest::sample::Index>(),
            flip in 1_u8..=255,
            more in "[ -~]{1,20}",
        ) {
            let copy = seal(&plaintext, byte);
            let bytes = copy.as_bytes();
            let opened = open("kr_live_a", &SUBJECT, bytes);
            prop_assert_eq!(opened, Ok((at(1_234_567), plaintext)));
            let mut changed = bytes.to_vec();
            let index = at_index.index(changed.len());
            changed[index] ^= flip;
            prop_assert!(open("kr_live_a", &SUBJECT, &changed).is_err());
            prop_assert!(open("kr_live_a", &SUBJECT, &bytes[..index]).is_err());
            let other = format!("kr_live_a{more}");
            prop_assert!(open(&other, &SUBJECT, bytes).is_err());
            let name = format!("{}{more}", SUBJECT.name);
            let other = OfflineSubject { name: &name, ..SUBJECT };
            prop_assert!(open("kr_live_a", &other, bytes).is_err());
            let endpoint = format!("{}{more}", SUBJECT.endpoint);
            let other = OfflineSubject { endpoint: &endpoint, ..SUBJECT };
            prop_assert!(open("kr_live_a", &other, bytes).is_err());
        }
    }
}
