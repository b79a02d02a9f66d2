//! Roles that programs log in as: whoever knows the role's id and one of its secret ids gets a token.

use std::{collections::BTreeMap, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// How long a token lives that a role says nothing about: an hour.
pub const USUAL_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// A role's name within its project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRoleName(String);

impl AppRoleName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppRoleName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(good) {
            return Err(Invalid::new(
                "must be 1 to 64 characters of a-z, A-Z, 0-9, '-', '_' and '.'",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A role, in the form that is stored, too. Its name is the record's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRole {
    /// What programs say first. No secret.
    pub role_id: String,
    /// Whether a secret id is asked for.
    pub bind_secret_id: bool,
    /// The policies of its tokens, by name.
    pub token_policies: Vec<String>,
    /// How long its tokens live; zero for the usual life.
    pub token_ttl: SignedDuration,
    /// How long they can be renewed to; zero for the longest life.
    pub token_max_ttl: SignedDuration,
    /// How long every renewal makes them live; zero for none.
    pub token_period: SignedDuration,
    /// How often a token can be used; 0 without end.
    pub token_num_uses: u64,
    /// How long its secret ids live; zero without end.
    pub secret_id_ttl: SignedDuration,
    /// How often a secret id can be used; 0 without end.
    pub secret_id_num_uses: u64,
}

impl AppRole {
    /// A role that says nothing yet.
    pub fn new(role_id: String) -> Self {
        Self {
            role_id,
            bind_secret_id: true,
            token_policies: Vec::new(),
            token_ttl: SignedDuration::ZERO,
            token_max_ttl: SignedDuration::ZERO,
            token_period: SignedDuration::ZERO,
            token_num_uses: 0,
            secret_id_ttl: SignedDuration::ZERO,
            secret_id_num_uses: 0,
        }
    }

    /// Checks what belongs together.
    pub fn check(&self) -> Result<(), Invalid> {
        let lengths = [self.token_ttl, self.token_max_ttl, self.token_period, self.secret_id_ttl];
        if lengths.iter().any(SignedDuration::is_negative) {
            return Err(Invalid::new("must not have negative lengths of time"));
        }
        if self.token_max_ttl.is_positive() && self.token_ttl > self.token_max_ttl {
            return Err(Invalid::new("must not have a token_ttl beyond token_max_ttl"));
        }
        if self.token_policies.iter().any(|name| name == "root") {
            return Err(Invalid::new(
                "must not have the policy root: a program may not do everything",
            ));
        }
        if self.role_id.is_empty() || self.role_id.len() > 128 {
            return Err(Invalid::new("must have a role_id of 1 to 128 bytes"));
        }
        if !self.bind_secret_id {
            return Err(Invalid::new("must ask for a secret id: a role_id alone is no proof"));
        }
        Ok(())
    }
}

/// Proof of a role, in the form that is stored, too. The role's name and its digest are the record's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretId {
    /// What names it without proving anything.
    pub accessor: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; `None` never.
    pub expires_at: Option<Timestamp>,
    /// How long it was to live; zero without end.
    pub ttl: SignedDuration,
    /// How often it could be used when it was made; 0 without end.
    pub num_uses: u64,
    /// How often it can still be used; `None` without end.
    pub uses_left: Option<u64>,
    /// Notes, which its tokens carry, too.
    pub metadata: BTreeMap<String, String>,
}

impl SecretId {
    /// Whether it is still good.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at) && self.uses_left != Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_checked() {
        let role = AppRole::new("r".to_owned());
        assert!(role.check().is_ok());
        let second = SignedDuration::from_secs(1);
        for bad in [
            AppRole { token_ttl: -second, ..role.clone() },
            AppRole { token_ttl: second * 2, token_max_ttl: second, ..role.clone() },
            AppRole { role_id: String::new(), ..role.clone() },
            AppRole { bind_secret_id: false, ..role },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!("web-1.a_B".parse::<AppRoleName>().is_ok());
        assert!("a/b".parse::<AppRoleName>().is_err() && "".parse::<AppRoleName>().is_err());
    }
}
