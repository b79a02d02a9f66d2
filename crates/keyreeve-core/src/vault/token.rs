//! Tokens of the vault: what programs log in for, and hand on.
//!
//! Only a digest of a token is stored. It is random and long, so SHA-256 is enough: there is nothing to
//! guess.

use std::{collections::BTreeMap, fmt::Write as _};

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Secret, audit::Actor};

/// What a token of the vault begins with.
pub const TOKEN_PREFIX: &str = "krt_";
/// What a token of a wrapped answer begins with.
pub const WRAPPING_PREFIX: &str = "krw_";
/// The longest that a token lives unless it is renewed for a period: 32 days, as Vault's default.
pub const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(768);

/// A new credential: a prefix, and 256 random bits in base64url.
pub fn new_credential(prefix: &str, random: &Secret<[u8; 32]>) -> Secret<String> {
    let mut text = String::with_capacity(prefix.len() + 44);
    text.push_str(prefix);
    // EXPOSE: becomes the credential.
    BASE64_URL_SAFE_NO_PAD.encode_string(random.expose(), &mut text);
    Secret::new(text)
}

/// SHA-256 of a credential, in hexadecimal: what it is found by.
pub fn credential_digest(credential: &str) -> String {
    let digest = digest::digest(&digest::SHA256, credential.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whose end is a token's end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenParent {
    /// Nobody's.
    #[default]
    None,
    /// An API key's, by its id.
    Key(String),
    /// A token's, by its digest.
    Token(String),
}

/// A token, in the form that is stored, too. Its digest is the record's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultToken {
    /// What names it without opening anything.
    pub accessor: String,
    /// What people call it.
    pub display_name: String,
    /// Which call made it.
    pub path: String,
    /// The policies that hold for it, by name.
    pub policies: Vec<String>,
    /// Whether it may do everything, whatever its policies say.
    #[serde(default)]
    pub everything: bool,
    /// Notes of whoever made it.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was renewed last.
    #[serde(default)]
    pub renewed_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How long it was to live when it was made.
    pub ttl: SignedDuration,
    /// The latest moment that it can be renewed to; `None` if it has a period.
    pub latest: Option<Timestamp>,
    /// How long every renewal makes it live, for as long as it is renewed in time.
    #[serde(default)]
    pub period: Option<SignedDuration>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// How often it can still be used; `None` without end.
    #[serde(default)]
    pub uses_left: Option<u64>,
    /// Whose end is its end.
    #[serde(default)]
    pub parent: TokenParent,
}

impl VaultToken {
    /// Its holder, as the audit names them.
    pub fn actor(&self) -> Actor {
        Actor::Token(format!("{}/{}", self.display_name, self.accessor))
    }

    /// Whether it is still good by itself.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.uses_left != Some(0)
    }

    /// How many seconds it still lives, the last begun one among them.
    pub fn ttl_left(&self, now: Timestamp) -> SignedDuration {
        let left = self.expires_at.duration_since(now).max(SignedDuration::ZERO);
        SignedDuration::from_secs(left.as_secs() + i64::from(left.subsec_nanos() > 0))
    }

    /// Lets it live on: for its period, or for `increment` or else as long as it was to live at first,
    /// but never beyond its latest moment. Gives whether anything could be done.
    pub fn renew(&mut self, increment: Option<SignedDuration>, now: Timestamp) -> bool {
        if !self.renewable || !self.is_live(now) {
            return false;
        }
        let wanted = increment.filter(SignedDuration::is_positive).unwrap_or(self.ttl);
        let length = self.period.unwrap_or(wanted);
        let until = now.saturating_add(length).unwrap_or(Timestamp::MAX);
        self.expires_at = self.latest.map_or(until, |latest| until.min(latest));
        self.renewed_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token() -> VaultToken {
        VaultToken {
            accessor: "a".to_owned(),
            display_name: "token".to_owned(),
            path: "auth/token/create".to_owned(),
            policies: vec!["default".to_owned()],
            everything: false,
            meta: BTreeMap::new(),
            created_at: at(0),
            renewed_at: None,
            expires_at: at(100),
            ttl: SignedDuration::from_secs(100),
            latest: Some(at(250)),
            period: None,
            renewable: true,
            uses_left: None,
            parent: TokenParent::None,
        }
    }

    #[test]
    fn a_token_is_renewed_up_to_its_latest_moment() {
        let mut token = token();
        assert!(token.renew(None, at(50)));
        assert_eq!(token.expires_at, at(150));
        assert!(token.renew(Some(SignedDuration::from_secs(10)), at(140)));
        assert_eq!(token.expires_at, at(150));
        assert!(token.renew(Some(SignedDuration::from_secs(1_000)), at(149)));
        assert_eq!(
            (token.expires_at, token.ttl_left(at(149))),
            (at(250), SignedDuration::from_secs(101))
        );
        assert!(!token.renew(None, at(250)), "it has ended");
        assert_eq!(token.ttl_left(at(300)), SignedDuration::ZERO);
    }

    #[test]
    fn a_period_goes_on_for_as_long_as_it_is_renewed() {
        let mut token =
            VaultToken { period: Some(SignedDuration::from_secs(100)), latest: None, ..token() };
        for second in (90..10_000).step_by(90) {
            assert!(token.renew(None, at(second)));
        }
        assert!(!token.renew(None, at(20_000)));
    }

    #[test]
    fn a_used_up_token_is_not_live() {
        let used = VaultToken { uses_left: Some(0), ..token() };
        assert!(!used.is_live(at(1)));
        assert!(VaultToken { uses_left: Some(1), ..token() }.is_live(at(1)));
        assert!(!VaultToken { renewable: false, ..token() }.renew(None, at(1)));
    }

    #[test]
    fn credentials_are_found_by_their_digest() {
        let credential = new_credential(TOKEN_PREFIX, &Secret::new([7; 32]));
        assert_eq!(*credential.expose(), "krt_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        // FIPS 180-4's example.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(credential_digest("abc"), digest);
    }
}
