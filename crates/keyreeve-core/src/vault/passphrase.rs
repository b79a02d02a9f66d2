//! A root key from a passphrase, by Argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::RootKey;
use crate::{Invalid, Secret};

/// The fewest characters of a passphrase.
const SHORTEST: usize = 12;
/// The most bytes of a passphrase.
const LONGEST: usize = 1_024;

/// How a passphrase becomes a key. Not secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseParameters {
    /// Makes equal passphrases into different keys: 16 random bytes.
    salt: [u8; 16],
    /// Memory that each guess costs, in KiB.
    memory_kib: u32,
    /// How often that memory is gone through.
    passes: u32,
}

impl PassphraseParameters {
    /// The memory and passes that RFC 9106, section 4, recommends where memory is scarce.
    pub fn new(salt: [u8; 16]) -> Self {
        Self { salt, memory_kib: 64 * 1_024, passes: 3 }
    }

    /// The key. Takes a good part of a second, and [the memory](Self::new) for as long.
    pub fn root_key(&self, passphrase: &Secret<String>) -> Result<RootKey, Invalid> {
        let refused = |_| Invalid::new("cannot be derived from with the stored parameters");
        // What was stored may have been changed: no more than ten times what is usual.
        if self.memory_kib > 640 * 1_024 || self.passes > 30 {
            return Err(Invalid::new("cannot be derived from with the stored parameters"));
        }
        let parameters = Params::new(self.memory_kib, self.passes, 1, Some(32)).map_err(refused)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let mut key = Secret::new([0; 32]);
        // EXPOSE: goes into the derivation, which fills the key.
        let (passphrase, filled) = (passphrase.expose().as_bytes(), key.expose_mut());
        argon2.hash_password_into(passphrase, &self.salt, filled).map_err(refused)?;
        Ok(RootKey::new(key))
    }
}

/// Checks a passphrase that is to be used from now on.
pub fn check_passphrase(passphrase: &Secret<String>) -> Result<(), Invalid> {
    // EXPOSE: counted.
    let text = passphrase.expose();
    if text.chars().count() < SHORTEST || text.len() > LONGEST {
        return Err(Invalid::new("must be at least 12 characters and at most 1024 bytes"));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(Invalid::new("must not begin or end with spaces, nor hold control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn the_key_depends_on_passphrase_and_salt() {
        let cheap = PassphraseParameters { salt: [1; 16], memory_kib: 64, passes: 1 };
        let other = PassphraseParameters { salt: [2; 16], ..cheap.clone() };
        let key = |parameters: &PassphraseParameters, phrase| {
            *parameters.root_key(&text(phrase)).unwrap().bytes().expose()
        };
        assert_eq!(key(&cheap, "correct horse"), key(&cheap, "correct horse"));
        assert_ne!(key(&cheap, "correct horse"), key(&cheap, "correct horsf"));
        assert_ne!(key(&cheap, "correct horse"), key(&other, "correct horse"));
        let greedy = PassphraseParameters { memory_kib: u32::MAX, ..cheap };
        assert!(greedy.root_key(&text("correct horse")).is_err());
    }

    #[test]
    fn short_passphrases_are_refused() {
        assert!(check_passphrase(&text("correct horse battery")).is_ok());
        for bad in ["", "short", " correct horse battery", "correct\nhorse battery"] {
            assert!(check_passphrase(&text(bad)).is_err(), "{bad:?}");
        }
    }
}
