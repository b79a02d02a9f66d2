//! What bounds the use of keys.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use crate::{
    Invalid,
    limit::{Concurrency, Limits, Per},
    quota::Quota,
    restriction::Restrictions,
};

/// Bounds that a key carries, that all keys of an owner share, or that a keyspace gives to all of
/// its keys.
///
/// A keyspace's restrictions are defaults, each kind by itself: a key with origins of its own
/// keeps its keyspace's time windows. Limits add up, except that a key's limit takes the place of
/// its owner's of the same name, and an owner's that of the keyspace's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// From where, when and for what keys may be used.
    #[serde(skip_serializing_if = "Restrictions::is_empty")]
    pub restrictions: Restrictions,
    /// How often.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// How much in each period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// How many requests at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// What carries a policy, and so what its limits count unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyHolder {
    /// One key.
    Key,
    /// An owner.
    Owner,
    /// A keyspace.
    Keyspace,
}

impl Policy {
    /// A policy that bounds nothing, shared.
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Policy>> = LazyLock::new(Arc::default);
        NONE.clone()
    }

    /// Whether it bounds nothing.
    pub fn is_empty(&self) -> bool {
        self.restrictions.is_empty()
            && self.limits.is_empty()
            && self.quota.is_none()
            && self.concurrency.is_none()
    }

    /// Refuses what makes no sense on that holder.
    ///
    /// # Errors
    ///
    /// The field that breaks a rule, and the rule.
    pub fn check(&self, holder: PolicyHolder) -> Result<(), (&'static str, Invalid)> {
        self.restrictions.check_sizes()?;
        if holder == PolicyHolder::Owner && !self.restrictions.is_empty() {
            let rule = "must stand on keys or keyspaces, not on owners";
            return Err(("restrictions", Invalid::new(rule)));
        }
        if holder == PolicyHolder::Keyspace && (self.quota.is_some() || self.concurrency.is_some())
        {
            let field = if self.quota.is_some() { "quota" } else { "concurrency" };
            return Err((field, Invalid::new("must stand on keys or owners, not on keyspaces")));
        }
        for limit in self.limits.as_slice() {
            let per = limit.per.unwrap_or(holder.counts());
            if limit.adaptive.is_some() && matches!(per, Per::Ip | Per::Route) {
                let rule = "must not be adaptive where they count per ip or per route";
                return Err(("limits", Invalid::new(rule)));
            }
            if !holder.may_count(per) {
                let rule = match holder {
                    PolicyHolder::Key => "must count per key, ip or route on a key",
                    PolicyHolder::Owner => "must count per owner, key, ip or route on an owner",
                    PolicyHolder::Keyspace => "must count per something that is known",
                };
                return Err(("limits", Invalid::new(rule)));
            }
        }
        Ok(())
    }

    /// The stored form.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists: there is nothing here that can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// The text was not made by [`Self::to_json`].
    pub fn from_json(text: &str) -> Result<Self, Invalid> {
        serde_json::from_str(text).map_err(|_| Invalid::new("must be a policy"))
    }
}

impl PolicyHolder {
    /// What a limit on this holder counts unless it says otherwise.
    pub fn counts(self) -> Per {
        match self {
            Self::Key => Per::Key,
            Self::Owner => Per::Owner,
            Self::Keyspace => Per::Keyspace,
        }
    }

    fn may_count(self, per: Per) -> bool {
        match self {
            Self::Key => matches!(per, Per::Key | Per::Ip | Per::Route),
            Self::Owner => per != Per::Keyspace,
            Self::Keyspace => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: &str) -> Policy {
        Policy::from_json(json).unwrap()
    }

    #[test]
    fn what_is_stored_comes_back() {
        let json = r#"{"restrictions":{"allow_ips":["203.0.113.0/24"]},"limits":[{"name":"burst","rate":"20/10s"}],"quota":"5000/month","concurrency":"5/30s"}"#;
        assert_eq!(policy(json).to_json(), json);
        assert_eq!(Policy::default().to_json(), "{}");
        assert!(policy("{}").is_empty());
        assert!(Policy::from_json(r#"{"limit":[]}"#).is_err());
    }

    #[test]
    fn each_holder_takes_what_it_can_count() {
        let per_owner = policy(r#"{"limits":[{"name":"a","rate":"1/1s","per":"owner"}]}"#);
        assert_eq!(per_owner.check(PolicyHolder::Key).unwrap_err().0, "limits");
        assert!(per_owner.check(PolicyHolder::Owner).is_ok());
        assert!(per_owner.check(PolicyHolder::Keyspace).is_ok());
        let bound = policy(r#"{"restrictions":{"origins":["https://a.example"]}}"#);
        assert_eq!(bound.check(PolicyHolder::Owner).unwrap_err().0, "restrictions");
        let counted = policy(r#"{"quota":"5/day"}"#);
        assert_eq!(counted.check(PolicyHolder::Keyspace).unwrap_err().0, "quota");
        assert!(counted.check(PolicyHolder::Owner).is_ok());
    }
}
