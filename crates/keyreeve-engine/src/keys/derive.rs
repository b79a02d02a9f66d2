//! Deriving a narrower key from one's own.

use jiff::Timestamp;
use keyreeve_core::{
    Invalid,
    lifecycle::Lifecycle,
    model::{ApiKey, Metadata, Policy, PolicyHolder, Tags},
    name::{Label, RoleName},
    permission::PermissionSet,
};
use serde_json::json;

use super::{
    Expiry, Issued,
    issue::{check_not_before, check_policy, expiry, shared},
    target,
};
use crate::{
    Engine, Error, FieldError, Idempotency, Permit, action::DeriveKey, sources::to_ms, store::Kind,
    verify::MOST_ANCESTORS,
};

/// What a derived key is to be. Whatever bounds the key it is derived from bounds it too, now and
/// later: every verification looks at both.
#[derive(Clone, Debug)]
pub struct DeriveSpec {
    /// What people call it.
    pub name: Label,
    /// Roles, all of which the deriving key has.
    pub roles: Vec<RoleName>,
    /// Permissions besides. Without any role or permission it gets those of the deriving key.
    pub permissions: PermissionSet,
    /// What comes back with verdicts.
    pub metadata: Metadata,
    /// Words to filter by.
    pub tags: Tags,
    /// From when on it is accepted; at once if `None`.
    pub not_before: Option<Timestamp>,
    /// When it expires, not later than the deriving key; with it if `None`.
    pub expiry: Option<Expiry>,
    /// What bounds its use besides.
    pub policy: Policy,
}

impl Engine {
    /// Makes a key that is good only while the caller's own key is, and for no more than that.
    pub async fn derive_key(
        &self,
        permit: Permit<'_, DeriveKey>,
        spec: DeriveSpec,
        idempotency: Option<Idempotency>,
    ) -> Result<Issued, Error> {
        if let Some(first) = self.replay(&permit, idempotency.as_ref()).await? {
            return Ok(first);
        }
        self.admit_creation(permit.caller())?;
        check_policy(&spec.policy, PolicyHolder::Key)?;
        let parent = self.deriving_key(&permit).await?;
        self.check_roles_exist(&permit, &spec.roles)?;
        let keyspace = self.keyspace_of(&permit, &parent.keyspace).await?;
        let now = self.now();
        let wanted =
            spec.expiry.unwrap_or_else(|| parent.expires_at.map_or(Expiry::Never, Expiry::At));
        let expires_at = expiry(Some(wanted), &keyspace, now)?;
        check_within(expires_at, parent.expires_at)?;
        check_not_before(spec.not_before, expires_at)?;
        let (token, id) = self.new_token(&keyspace, &parent)?;
        let inherits = spec.roles.is_empty() && spec.permissions.iter().next().is_none();
        let (roles, permissions) = if inherits {
            (parent.roles.clone(), parent.permissions.clone())
        } else {
            (spec.roles, spec.permissions)
        };
        let key = ApiKey {
            id,
            name: spec.name,
            roles,
            permissions,
            metadata: spec.metadata,
            tags: spec.tags,
            created_at: now,
            created_by: permit.actor().to_string(),
            not_before: spec.not_before.map(to_ms),
            expires_at,
            policy: shared(spec.policy),
            lifecycle: Lifecycle::Active,
            digest: self.digester.digest(&token.token()),
            imported: None,
            last_four: token.last_four(),
            lineage: id,
            predecessor: None,
            parent: Some(parent.id),
            revision: 1,
            ..parent
        };
        if !inherits {
            self.check_key_grant(&permit, &key).await?;
        }
        let mut entry = permit.entry(now, target(key.id));
        let parent = key.parent.map(|id| id.to_string());
        entry.details.insert("parent".to_owned(), json!(parent));
        let tx = self.begin(permit.project());
        self.commit_key(&permit, tx, key, token, idempotency.as_ref(), entry).await
    }

    /// The key that asks, which has to be one that others can be derived from.
    async fn deriving_key(&self, permit: &Permit<'_, DeriveKey>) -> Result<ApiKey, Error> {
        let Some(chain) = permit.caller().calling_key() else {
            return Err(broken(
                "key",
                "must be shown: only the holder of a key can derive from it",
            ));
        };
        if chain.ancestors.len() >= MOST_ANCESTORS {
            return Err(broken("key", "must not itself be derived over more than three others"));
        }
        let parent = self.store.key(permit.project(), chain.key.id()).await?;
        Ok(parent.ok_or(Error::NotFound(Kind::ApiKey))?.key)
    }
}

/// A derived key does not outlive the one it was derived from.
fn check_within(expires_at: Option<Timestamp>, parent: Option<Timestamp>) -> Result<(), Error> {
    match (expires_at, parent) {
        (_, None) => Ok(()),
        (Some(own), Some(parent)) if own <= parent => Ok(()),
        _ => Err(broken("expires_at", "must not be later than that of the key it is derived from")),
    }
}

fn broken(field: &'static str, rule: &'static str) -> Error {
    Error::Invalid(FieldError::new(field, Invalid::new(rule)))
}
