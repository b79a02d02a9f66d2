//! Envelope encryption: a root key over key-encryption keys, those over one data key for each
//! version of each secret.
//!
//! ```text
//! root key --wraps--> key-encryption keys 1, 2, … --wrap--> data key of a version --encrypts--> fields
//! ```
//!
//! Every AES-256-GCM key encrypts exactly one message, so a nonce of zeros never repeats under a key
//! (`docs/adr/0014-vault-envelope.md` has the proof): a data key is fresh for each version, and the key
//! that wraps is derived anew for each wrapping by HKDF-SHA-256 (RFC 5869) from a salt of 256 random
//! bits. What a ciphertext belongs to is authenticated with it: moved elsewhere, it does not open.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, hmac,
};
use zeroize::Zeroize;

use crate::Secret;

/// Length of every key, in bytes.
const KEY: usize = 32;
/// Length of a salt, in bytes.
const SALT: usize = 32;
/// Length of an authentication tag, in bytes.
const TAG: usize = 16;
/// Length of a wrapped key: salt, ciphertext, tag.
const WRAPPED: usize = SALT + KEY + TAG;
/// The first byte of a sealed version: how the rest is laid out.
const FORMAT: u8 = 1;
/// What stands before the ciphertext of the fields: format, number of the key, wrapped data key.
const HEADER: usize = 1 + 4 + WRAPPED;

/// Why something does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is not laid out as a sealed thing is.
    #[error("is not a sealed value")]
    Malformed,
    /// The key it was sealed under is not in the keyring.
    #[error("was sealed under key {0}, which is not there")]
    UnknownKey(u32),
    /// It was changed, or belongs elsewhere, or was sealed under another key.
    #[error("was changed or belongs elsewhere")]
    Refused,
    /// The cryptographic library refused its input.
    #[error("cannot be encrypted or decrypted")]
    Cipher,
}

/// Why a keyring does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// There is no key in it.
    #[error("holds no key")]
    Empty,
    /// Two keys have one number.
    #[error("key {number} is there twice")]
    Twice {
        /// Which key.
        number: u32,
    },
    /// The root key is another one, or a key was changed.
    #[error("key {number} does not open with this root key")]
    WrongRoot {
        /// Which key.
        number: u32,
    },
}

/// The key over all keys. Exists only while the vault is open.
#[derive(Debug)]
pub struct RootKey(Secret<[u8; KEY]>);

impl RootKey {
    /// Takes the key's bytes.
    pub fn new(bytes: Secret<[u8; KEY]>) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for whoever splits or stores it.
    pub fn bytes(&self) -> &Secret<[u8; KEY]> {
        &self.0
    }

    /// A new key-encryption key, wrapped. `installation` is what the keyring belongs to.
    pub fn make_key(
        &self,
        installation: &str,
        number: u32,
        key: &Secret<[u8; KEY]>,
        salt: [u8; SALT],
    ) -> Result<SealedKey, EnvelopeError> {
        let wrapped = wrap(&self.0, key, salt, &key_context(installation, number))?;
        Ok(SealedKey { number, wrapped })
    }
}

/// A key-encryption key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// Its number, from 1.
    pub number: u32,
    /// The key, wrapped by the root key.
    pub wrapped: Vec<u8>,
}

/// What a sealed version belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The tenant.
    pub project: &'a str,
    /// The secret's own id, which no other secret ever has.
    pub secret: &'a str,
    /// The version's number.
    pub version: u64,
}

impl Binding<'_> {
    /// Unlike for any other project, secret, version or layout: each part has its length before it.
    fn context(&self, what: &str) -> Vec<u8> {
        let version = self.version.to_be_bytes();
        context(&[what.as_bytes(), self.project.as_bytes(), self.secret.as_bytes(), &version])
    }
}

/// A version's fields, encrypted, with the data key that opens them, wrapped.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedVersion(Vec<u8>);

impl fmt::Debug for SealedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedVersion({} bytes)", self.0.len())
    }
}

impl SealedVersion {
    /// Takes stored bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, EnvelopeError> {
        if bytes.len() < HEADER + TAG || bytes.first() != Some(&FORMAT) {
            return Err(EnvelopeError::Malformed);
        }
        Ok(Self(bytes))
    }

    /// As they are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number of the key-encryption key it was sealed under.
    pub fn key_number(&self) -> u32 {
        let mut number = [0; 4];
        number.copy_from_slice(&self.0[1..5]);
        u32::from_be_bytes(number)
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        (&self.0[5..HEADER], &self.0[HEADER..])
    }
}

/// Randomness for one sealing: never used twice.
pub struct SealingRandomness {
    /// Becomes the data key.
    pub data_key: Secret<[u8; KEY]>,
    /// Makes the wrapping key.
    pub salt: [u8; SALT],
}

/// The key-encryption keys of an open vault.
pub struct Keyring {
    keys: BTreeMap<u32, KeyEncryptionKey>,
    current: u32,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("current", &self.current).finish_non_exhaustive()
    }
}

struct KeyEncryptionKey {
    key: Secret<[u8; KEY]>,
    /// Authenticates records: derived once, used for every look at one.
    records: hmac::Key,
}

impl KeyEncryptionKey {
    fn new(key: Secret<[u8; KEY]>) -> Result<Self, EnvelopeError> {
        let mut derived = derive(&key, &[], b"keyreeve/vault/records/1")?;
        let records = hmac::Key::new(hmac::HMAC_SHA256, &derived);
        derived.zeroize();
        Ok(Self { key, records })
    }
}

impl Keyring {
    /// Opens stored keys. The highest number is the one that new versions are sealed under.
    pub fn open(
        root: &RootKey,
        installation: &str,
        keys: &[SealedKey],
    ) -> Result<Self, KeyringError> {
        let mut opened = BTreeMap::new();
        for SealedKey { number, wrapped } in keys {
            let context = key_context(installation, *number);
            let key = unwrap(&root.0, wrapped, &context).and_then(KeyEncryptionKey::new);
            let key = key.map_err(|_| KeyringError::WrongRoot { number: *number })?;
            if opened.insert(*number, key).is_some() {
                return Err(KeyringError::Twice { number: *number });
            }
        }
        let current = *opened.keys().next_back().ok_or(KeyringError::Empty)?;
        Ok(Self { keys: opened, current })
    }

    /// All keys wrapped anew, for a change of the root key. Nothing else has to be written again.
    pub fn rewrap(
        &self,
        root: &RootKey,
        installation: &str,
        mut salt: impl FnMut() -> [u8; SALT],
    ) -> Result<Vec<SealedKey>, EnvelopeError> {
        let keys = self.keys.iter();
        keys.map(|(number, key)| root.make_key(installation, *number, &key.key, salt())).collect()
    }

    /// The number of the key that new versions are sealed under.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// The numbers of all keys.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.keys.keys().copied()
    }

    /// Seals a version's fields.
    pub fn seal(
        &self,
        binding: &Binding<'_>,
        fields: &[u8],
        randomness: SealingRandomness,
    ) -> Result<SealedVersion, EnvelopeError> {
        let key = self.key(self.current)?;
        let SealingRandomness { data_key, salt } = randomness;
        let mut sealed = Vec::with_capacity(HEADER + fields.len() + TAG);
        sealed.push(FORMAT);
        sealed.extend(self.current.to_be_bytes());
        sealed.extend(wrap(&key.key, &data_key, salt, &binding.context("data key"))?);
        // EXPOSE: the data key goes into the cipher.
        sealed.extend(encrypt(data_key.expose(), fields, &binding.context("fields"))?);
        Ok(SealedVersion(sealed))
    }

    /// Opens a version's fields.
    pub fn open_version(
        &self,
        binding: &Binding<'_>,
        sealed: &SealedVersion,
    ) -> Result<Secret<Vec<u8>>, EnvelopeError> {
        let key = self.key(sealed.key_number())?;
        let (wrapped, ciphertext) = sealed.parts();
        let data_key = unwrap(&key.key, wrapped, &binding.context("data key"))?;
        // EXPOSE: the data key goes into the cipher.
        decrypt(data_key.expose(), ciphertext, &binding.context("fields"))
    }

    /// The same version under the newest key-encryption key; the fields are not decrypted.
    pub fn rewrap_version(
        &self,
        binding: &Binding<'_>,
        sealed: &SealedVersion,
        salt: [u8; SALT],
    ) -> Result<SealedVersion, EnvelopeError> {
        let (wrapped, ciphertext) = sealed.parts();
        let context = binding.context("data key");
        let data_key = unwrap(&self.key(sealed.key_number())?.key, wrapped, &context)?;
        let mut moved = Vec::with_capacity(sealed.0.len());
        moved.push(FORMAT);
        moved.extend(self.current.to_be_bytes());
        moved.extend(wrap(&self.key(self.current)?.key, &data_key, salt, &context)?);
        moved.extend(ciphertext);
        Ok(SealedVersion(moved))
    }

    /// Authenticates a record: what stands in it, and where it belongs.
    pub fn tag(&self, parts: &[&[u8]]) -> Result<[u8; 32], EnvelopeError> {
        let tag = hmac::sign(&self.key(self.current)?.records, &context(parts));
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Whether a record is as it was when that key authenticated it. In constant time.
    pub fn check_tag(&self, key: u32, parts: &[&[u8]], tag: &[u8]) -> Result<(), EnvelopeError> {
        let key = self.key(key)?;
        hmac::verify(&key.records, &context(parts), tag).map_err(|_| EnvelopeError::Refused)
    }

    fn key(&self, number: u32) -> Result<&KeyEncryptionKey, EnvelopeError> {
        self.keys.get(&number).ok_or(EnvelopeError::UnknownKey(number))
    }
}

fn key_context(installation: &str, number: u32) -> Vec<u8> {
    context(&[b"key-encryption key", installation.as_bytes(), &number.to_be_bytes()])
}

/// One text out of parts, unlike that of any other parts.
fn context(parts: &[&[u8]]) -> Vec<u8> {
    let mut text = b"keyreeve/vault/1".to_vec();
    for part in parts {
        text.extend((part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    text
}

/// HKDF-SHA-256.
fn derive(key: &Secret<[u8; KEY]>, salt: &[u8], info: &[u8]) -> Result<[u8; KEY], EnvelopeError> {
    let mut out = [0; KEY];
    // EXPOSE: goes into the derivation.
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key.expose());
    let info = [info];
    let expanded = extracted.expand(&info, hkdf::HKDF_SHA256);
    let filled = expanded.and_then(|expanded| expanded.fill(&mut out));
    filled.map_err(|_| EnvelopeError::Cipher)?;
    Ok(out)
}

/// Salt, then the key under a key of its own, then the tag.
fn wrap(
    over: &Secret<[u8; KEY]>,
    key: &Secret<[u8; KEY]>,
    salt: [u8; SALT],
    context: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let mut wrapping = derive(over, &salt, context)?;
    let mut wrapped = salt.to_vec();
    // EXPOSE: goes into the cipher.
    let encrypted = encrypt(&wrapping, key.expose(), context);
    wrapping.zeroize();
    wrapped.extend(encrypted?);
    Ok(wrapped)
}

fn unwrap(
    over: &Secret<[u8; KEY]>,
    wrapped: &[u8],
    context: &[u8],
) -> Result<Secret<[u8; KEY]>, EnvelopeError> {
    if wrapped.len() != WRAPPED {
        return Err(EnvelopeError::Malformed);
    }
    let (salt, ciphertext) = wrapped.split_at(SALT);
    let mut wrapping = derive(over, salt, context)?;
    let opened = decrypt(&wrapping, ciphertext, context);
    wrapping.zeroize();
    let opened = opened?;
    let mut key = [0; KEY];
    // EXPOSE: copied into a key.
    key.copy_from_slice(opened.expose());
    let secret = Secret::new(key);
    key.zeroize();
    Ok(secret)
}

/// AES-256-GCM under a key that encrypts nothing else, so the nonce may be zeros.
fn encrypt(key: &[u8; KEY], plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    // The room is made at once: growing would leave a copy of the plaintext behind.
    let mut buffer = Vec::with_capacity(plaintext.len() + TAG);
    buffer.extend_from_slice(plaintext);
    let sealed = cipher(key).and_then(|cipher| {
        cipher.seal_in_place_append_tag(zeros(), Aad::from(aad), &mut buffer).ok()
    });
    if sealed.is_none() {
        // Only texts of 64 GiB fail, which no limit lets come here.
        buffer.zeroize();
        return Err(EnvelopeError::Cipher);
    }
    Ok(buffer)
}

fn decrypt(
    key: &[u8; KEY],
    ciphertext: &[u8],
    aad: &[u8],
) -> Result<Secret<Vec<u8>>, EnvelopeError> {
    let mut buffer = Secret::new(ciphertext.to_vec());
    let cipher = cipher(key).ok_or(EnvelopeError::Cipher)?;
    let length = cipher
        .open_in_place(zeros(), Aad::from(aad), buffer.expose_mut())
        .map_err(|_| EnvelopeError::Refused)?
        .len();
    buffer.expose_mut().truncate(length);
    Ok(buffer)
}

fn cipher(key: &[u8; KEY]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn zeros() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BINDING: Binding<'_> = Binding { project: "default", secret: "a1", version: 3 };

    fn root(byte: u8) -> RootKey {
        RootKey::new(Secret::new([byte; 32]))
    }

    fn keyring(root: &RootKey, keys: u32) -> Keyring {
        let keys: Vec<_> = (1..=keys)
            .map(|number| {
                let byte = u8::try_from(number).unwrap();
                root.make_key("i", number, &Secret::new([byte; 32]), [byte; 32]).unwrap()
            })
            .collect();
        Keyring::open(root, "i", &keys).unwrap()
    }

    fn randomness(byte: u8) -> SealingRandomness {
        SealingRandomness { data_key: Secret::new([byte; 32]), salt: [byte; 32] }
    }

    fn open(
        keyring: &Keyring,
        binding: &Binding<'_>,
        bytes: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let sealed = SealedVersion::from_bytes(bytes.to_vec())?;
        keyring.open_version(binding, &sealed).map(|fields| fields.expose().clone())
    }

    #[test]
    fn what_is_sealed_opens_where_it_belongs_and_nowhere_else() {
        let keyring = keyring(&root(7), 1);
        let sealed = keyring.seal(&BINDING, b"canary", randomness(9)).unwrap();
        assert_eq!(open(&keyring, &BINDING, sealed.as_bytes()).unwrap(), b"canary");
        assert!(!sealed.as_bytes().windows(6).any(|window| window == b"canary"));
        for elsewhere in [
            Binding { project: "other", ..BINDING },
            Binding { secret: "a2", ..BINDING },
            Binding { version: 4, ..BINDING },
            // The same bytes, split elsewhere.
            Binding { project: "defaul", secret: "ta1", ..BINDING },
        ] {
            let opened = open(&keyring, &elsewhere, sealed.as_bytes());
            assert_eq!(opened, Err(EnvelopeError::Refused), "{elsewhere:?}");
        }
    }

    #[test]
    fn a_keyring_opens_with_its_root_key_only() {
        let keys = [root(7).make_key("i", 1, &Secret::new([1; 32]), [1; 32]).unwrap()];
        let wrong = Err(KeyringError::WrongRoot { number: 1 });
        assert_eq!(Keyring::open(&root(8), "i", &keys).map(|_| ()), wrong);
        assert_eq!(Keyring::open(&root(7), "other", &keys).map(|_| ()), wrong);
        let renumbered = [SealedKey { number: 2, ..keys[0].clone() }];
        let wrong = Err(KeyringError::WrongRoot { number: 2 });
        assert_eq!(Keyring::open(&root(7), "i", &renumbered).map(|_| ()), wrong);
        assert_eq!(Keyring::open(&root(7), "i", &[]).map(|_| ()), Err(KeyringError::Empty));
    }

    #[test]
    fn new_keys_take_over_and_old_ones_still_open() {
        let first = keyring(&root(7), 1);
        let sealed = first.seal(&BINDING, b"old", randomness(1)).unwrap();
        let second = keyring(&root(7), 2);
        assert_eq!(open(&second, &BINDING, sealed.as_bytes()).unwrap(), b"old");
        let moved = second.rewrap_version(&BINDING, &sealed, [3; 32]).unwrap();
        assert_eq!((sealed.key_number(), moved.key_number()), (1, 2));
        assert_eq!(open(&second, &BINDING, moved.as_bytes()).unwrap(), b"old");
        assert_eq!(open(&first, &BINDING, moved.as_bytes()), Err(EnvelopeError::UnknownKey(2)));
    }

    #[test]
    fn another_root_key_leaves_versions_as_they_are() {
        let keyring = keyring(&root(7), 2);
        let sealed = keyring.seal(&BINDING, b"fields", randomness(1)).unwrap();
        let keys = keyring.rewrap(&root(8), "i", || [5; 32]).unwrap();
        assert!(Keyring::open(&root(7), "i", &keys).is_err());
        let reopened = Keyring::open(&root(8), "i", &keys).unwrap();
        assert_eq!(open(&reopened, &BINDING, sealed.as_bytes()).unwrap(), b"fields");
    }

    #[test]
    fn records_are_bound_to_all_their_parts() {
        let keyring = keyring(&root(7), 1);
        let tag = keyring.tag(&[b"secret", b"path", b"{}"]).unwrap();
        assert!(keyring.check_tag(1, &[b"secret", b"path", b"{}"], &tag).is_ok());
        assert!(keyring.check_tag(1, &[b"secret", b"pat", b"h{}"], &tag).is_err());
        assert!(keyring.check_tag(2, &[b"secret", b"path", b"{}"], &tag).is_err());
        assert!(keyring.check_tag(1, &[b"secret", b"path", b"{}"], &tag[..31]).is_err());
    }

    #[test]
    fn nothing_is_shown() {
        let keyring = keyring(&root(7), 1);
        let sealed = keyring.seal(&BINDING, b"canary", randomness(9)).unwrap();
        assert_eq!(format!("{keyring:?}"), "Keyring { current: 1, .. }");
        assert!(
            format!("{:?} {sealed:?}", root(7)).starts_with("RootKey([REDACTED]) SealedVersion(")
        );
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(
            fields in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let keyring = keyring(&root(7), 2);
            let sealed = keyring.seal(&BINDING, &fields, randomness(9)).unwrap();
            prop_assert_eq!(open(&keyring, &BINDING, sealed.as_bytes()).unwrap(), fields);
            let mut bytes = sealed.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(open(&keyring, &BINDING, &bytes).is_err());
            prop_assert!(open(&keyring, &BINDING, &bytes[..at]).is_err());
        }
    }
}
