//! Changing what a key carries.

use std::sync::Arc;

use jiff::Timestamp;
use keyreeve_core::{
    Invalid,
    key::KeyId,
    limit::{Concurrency, Limits},
    model::{ApiKey, Metadata, Policy, PolicyHolder, Tags},
    name::{Label, OwnerId, RoleName},
    permission::PermissionSet,
    quota::Quota,
    restriction::{CountryCode, IpNetwork, OriginPattern, Restrictions, RoutePattern, Windows},
};
use serde_json::{Value, json};

use super::{
    TRIES,
    issue::{check_not_before, check_policy, latest_expiry, new_owner, policy_json, shared},
    target,
};
use crate::{
    Engine, Error, FieldError, Permit,
    action::UpdateKey,
    sources::to_ms,
    store::{Change, CommitError, Kind, StoredKey},
};

/// What is to become of a field that can be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Replace<T> {
    /// Leave it.
    #[default]
    Keep,
    /// Empty it.
    Clear,
    /// Give it this value.
    With(T),
}

/// What of a key is to be different.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// What people call it.
    pub name: Option<Label>,
    /// Whom it belongs to.
    pub owner: Replace<OwnerId>,
    /// Its roles.
    pub roles: Option<Vec<RoleName>>,
    /// Its permissions.
    pub permissions: Option<PermissionSet>,
    /// Its metadata.
    pub metadata: Option<Metadata>,
    /// Its tags.
    pub tags: Option<Tags>,
    /// From when on it is accepted; cleared means at once.
    pub not_before: Replace<Timestamp>,
    /// When it expires; cleared means never.
    pub expires_at: Replace<Timestamp>,
    /// What bounds its use.
    pub policy: PolicyChange,
    /// Refuse unless the key is still at this revision.
    pub revision: Option<u64>,
}

/// What of a policy is to be different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// From where, when and for what.
    pub restrictions: RestrictionsChange,
    /// How often.
    pub limits: Option<Limits>,
    /// How much in each period.
    pub quota: Replace<Quota>,
    /// How many requests at once.
    pub concurrency: Replace<Concurrency>,
}

/// What of the restrictions is to be different, each kind by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestrictionsChange {
    /// The only networks.
    pub allow_ips: Option<Vec<IpNetwork>>,
    /// Networks not to work from.
    pub deny_ips: Option<Vec<IpNetwork>>,
    /// The only hours.
    pub windows: Option<Windows>,
    /// The only web origins.
    pub origins: Option<Vec<OriginPattern>>,
    /// The only requests.
    pub routes: Option<Vec<RoutePattern>>,
    /// The only countries.
    pub allow_countries: Option<Vec<CountryCode>>,
    /// Countries not to work from.
    pub deny_countries: Option<Vec<CountryCode>>,
}

impl RestrictionsChange {
    /// Just these, in place of all that are there.
    pub fn to(restrictions: Restrictions) -> Self {
        Self {
            allow_ips: Some(restrictions.allow_ips),
            deny_ips: Some(restrictions.deny_ips),
            windows: Some(restrictions.windows),
            origins: Some(restrictions.origins),
            routes: Some(restrictions.routes),
            allow_countries: Some(restrictions.allow_countries),
            deny_countries: Some(restrictions.deny_countries),
        }
    }

    fn apply_to(&self, restrictions: &mut Restrictions) {
        replace(&mut restrictions.allow_ips, self.allow_ips.clone());
        replace(&mut restrictions.deny_ips, self.deny_ips.clone());
        replace(&mut restrictions.windows, self.windows.clone());
        replace(&mut restrictions.origins, self.origins.clone());
        replace(&mut restrictions.routes, self.routes.clone());
        replace(&mut restrictions.allow_countries, self.allow_countries.clone());
        replace(&mut restrictions.deny_countries, self.deny_countries.clone());
    }
}

impl PolicyChange {
    /// The policy as it becomes, checked; `None` if nothing is different.
    pub(crate) fn apply(
        &self,
        policy: &Policy,
        holder: PolicyHolder,
    ) -> Result<Option<Arc<Policy>>, Error> {
        let mut new = policy.clone();
        self.restrictions.apply_to(&mut new.restrictions);
        replace(&mut new.limits, self.limits.clone());
        self.quota.apply_to(&mut new.quota);
        self.concurrency.apply_to(&mut new.concurrency);
        if new == *policy {
            return Ok(None);
        }
        check_policy(&new, holder)?;
        Ok(Some(shared(new)))
    }
}

impl Engine {
    /// Changes a key. The result cannot grant more than the caller has.
    pub async fn update_key(
        &self,
        permit: Permit<'_, UpdateKey>,
        id: KeyId,
        change: KeyChange,
    ) -> Result<StoredKey, Error> {
        if let Some(roles) = &change.roles {
            self.check_roles_exist(&permit, roles)?;
        }
        for _ in 0..TRIES {
            let mut stored = self.stored_key(&permit, id).await?;
            if change.revision.is_some_and(|revision| revision != stored.key.revision) {
                break;
            }
            // Both what it was and what it becomes: else a weak caller could lengthen the life of
            // a strong key, or take it over bit by bit.
            self.check_key_grant(&permit, &stored.key).await?;
            let now = self.now();
            let old = stored.key.clone();
            let changed = apply(&mut stored.key, &change, now)?;
            if changed.is_empty() {
                return Ok(self.with_pending_usage(stored));
            }
            self.check_key_grant(&permit, &stored.key).await?;
            stored.key.revision += 1;
            let mut entry = permit.entry(now, target(id));
            entry.details.insert("changed".to_owned(), changes(&changed, &old, &stored.key));
            let mut tx = self.begin(permit.project());
            if let Replace::With(owner) = &change.owner {
                tx = tx.with(Change::EnsureOwner(new_owner(owner.clone(), now)));
            }
            let update = Change::UpdateKey(Box::new(stored.key.clone()));
            match tx.with(update).commit(entry).await {
                Ok(_) => return Ok(self.with_pending_usage(stored)),
                Err(CommitError::ChangedMeanwhile(_)) if change.revision.is_none() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::ApiKey))
    }
}

/// What the audit keeps of a change: each field with its old and its new value. Metadata is the
/// team's own and may be large, so of that only the fact is kept.
fn changes(fields: &[&'static str], old: &ApiKey, new: &ApiKey) -> Value {
    let value = |key: &ApiKey, field: &str| match field {
        "name" => json!(key.name.as_str()),
        "owner" => json!(key.owner.as_ref().map(OwnerId::as_str)),
        "roles" => key.roles.iter().map(|role| json!(role.as_str())).collect(),
        "permissions" => json!(key.permissions.to_strings()),
        "tags" => json!(key.tags.as_slice()),
        "expires_at" => json!(key.expires_at.map(|at| at.to_string())),
        "not_before" => json!(key.not_before.map(|at| at.to_string())),
        "policy" => policy_json(&key.policy),
        _ => Value::Null,
    };
    let rows = fields
        .iter()
        .map(|field| ((*field).to_owned(), json!([value(old, field), value(new, field)])));
    Value::Object(rows.collect())
}

/// Applies the change; returns the names of the fields that are different now.
fn apply(key: &mut ApiKey, change: &KeyChange, now: Timestamp) -> Result<Vec<&'static str>, Error> {
    let mut changed = Vec::new();
    let mut set = |field: &'static str, differs: bool| {
        if differs {
            changed.push(field);
        }
    };
    set("name", replace(&mut key.name, change.name.clone()));
    set("roles", replace(&mut key.roles, change.roles.clone()));
    set("permissions", replace(&mut key.permissions, change.permissions.clone()));
    set("metadata", replace(&mut key.metadata, change.metadata.clone()));
    set("tags", replace(&mut key.tags, change.tags.clone()));
    set("owner", change.owner.apply_to(&mut key.owner));
    if let Replace::With(at) = change.expires_at
        && !(now..=latest_expiry(now)).contains(&to_ms(at))
    {
        let rule = Invalid::new(
            "must lie in the future and within 100 years; to end a key now, revoke it",
        );
        return Err(Error::Invalid(FieldError::new("expires_at", rule)));
    }
    let expires_at = match change.expires_at {
        Replace::With(at) => Replace::With(to_ms(at)),
        Replace::Keep => Replace::Keep,
        Replace::Clear => Replace::Clear,
    };
    set("expires_at", expires_at.apply_to(&mut key.expires_at));
    set("not_before", change.not_before.apply_to(&mut key.not_before));
    let policy = change.policy.apply(&key.policy, PolicyHolder::Key)?;
    set("policy", replace(&mut key.policy, policy));
    check_not_before(key.not_before, key.expires_at)?;
    Ok(changed)
}

impl<T: Clone + PartialEq> Replace<T> {
    /// Does to `place` what is wanted; returns whether that made a difference.
    fn apply_to(&self, place: &mut Option<T>) -> bool {
        let wanted = match self {
            Self::Keep => return false,
            Self::Clear => None,
            Self::With(value) => Some(value.clone()),
        };
        replace(place, Some(wanted))
    }
}

/// Puts a wanted value in place; returns whether that made a difference.
fn replace<T: PartialEq>(place: &mut T, wanted: Option<T>) -> bool {
    match wanted {
        Some(value) if value != *place => {
            *place = value;
            true
        }
        _ => false,
    }
}
