//! Keyspaces.

use jiff::SignedDuration;
use keyreeve_core::{
    audit::Target,
    duration,
    model::{FailPolicy, Keyspace, Policy, PolicyHolder},
    name::{KeyPrefix, KeyspaceName},
};

use serde_json::json;

use crate::{
    Engine, Error, Permit,
    action::{ManageKeyspaces, ReadKeyspaces},
    keys::{PolicyChange, check_policy, policy_json, shared},
    store::{Change, Kind},
};

/// How long keys live that name no expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// That long.
    Limited(SignedDuration),
    /// They do not expire.
    Unlimited,
}

impl Life {
    fn length(self) -> Option<SignedDuration> {
        match self {
            Self::Limited(length) => Some(length),
            Self::Unlimited => None,
        }
    }
}

/// What a new keyspace is to be.
#[derive(Clone, Debug)]
pub struct KeyspaceSpec {
    /// Its name.
    pub name: KeyspaceName,
    /// What its keys begin with.
    pub prefix: KeyPrefix,
    /// The life of a key that names none.
    pub default_expires_in: Option<Life>,
    /// The grace of a rotation that names none.
    pub default_grace: Option<SignedDuration>,
    /// What to answer for keys a node cannot vouch for.
    pub fail_policy: Option<FailPolicy>,
    /// What bounds the use of its keys.
    pub policy: Policy,
}

/// What of a keyspace is to be different.
#[derive(Clone, Debug, Default)]
pub struct KeyspaceChange {
    /// The life of a key that names none.
    pub default_expires_in: Option<Life>,
    /// The grace of a rotation that names none.
    pub default_grace: Option<SignedDuration>,
    /// What to answer for keys a node cannot vouch for.
    pub fail_policy: Option<FailPolicy>,
    /// What bounds the use of its keys.
    pub policy: PolicyChange,
}

impl Engine {
    /// Makes a keyspace.
    pub async fn create_keyspace(
        &self,
        permit: Permit<'_, ManageKeyspaces>,
        spec: KeyspaceSpec,
    ) -> Result<Keyspace, Error> {
        check_policy(&spec.policy, PolicyHolder::Keyspace)?;
        let now = self.now();
        let keyspace = Keyspace {
            name: spec.name,
            prefix: spec.prefix,
            default_expires_in: spec
                .default_expires_in
                .map_or(Some(Keyspace::DEFAULT_EXPIRES_IN), Life::length),
            default_grace: spec.default_grace.unwrap_or(Keyspace::DEFAULT_GRACE),
            fail_policy: spec.fail_policy.unwrap_or(FailPolicy::Closed),
            policy: shared(spec.policy),
            created_at: now,
            revision: 1,
        };
        let mut entry = permit.entry(now, Target::new("keyspace", &keyspace.name));
        entry.action = "keyspace.create".into();
        let change = Change::CreateKeyspace(keyspace.clone());
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(keyspace)
    }

    /// All keyspaces of the project, by name.
    pub async fn keyspaces(
        &self,
        permit: Permit<'_, ReadKeyspaces>,
    ) -> Result<Vec<Keyspace>, Error> {
        Ok(self.store.keyspaces(permit.project()).await?)
    }

    /// One keyspace.
    pub async fn keyspace(
        &self,
        permit: Permit<'_, ReadKeyspaces>,
        name: &KeyspaceName,
    ) -> Result<Keyspace, Error> {
        let found = self.store.keyspace(permit.project(), name).await?;
        found.ok_or(Error::NotFound(Kind::Keyspace))
    }

    /// Changes a keyspace. Keys that exist keep their expiry.
    pub async fn update_keyspace(
        &self,
        permit: Permit<'_, ManageKeyspaces>,
        name: &KeyspaceName,
        change: KeyspaceChange,
    ) -> Result<Keyspace, Error> {
        let found = self.store.keyspace(permit.project(), name).await?;
        let mut keyspace = found.ok_or(Error::NotFound(Kind::Keyspace))?;
        let old = keyspace.clone();
        keyspace.default_expires_in =
            change.default_expires_in.map_or(keyspace.default_expires_in, Life::length);
        keyspace.default_grace = change.default_grace.unwrap_or(keyspace.default_grace);
        keyspace.fail_policy = change.fail_policy.unwrap_or(keyspace.fail_policy);
        if let Some(policy) = change.policy.apply(&old.policy, PolicyHolder::Keyspace)? {
            keyspace.policy = policy;
        }
        if keyspace == old {
            return Ok(keyspace);
        }
        keyspace.revision += 1;
        let mut entry = permit.entry(self.now(), Target::new("keyspace", name));
        entry.action = "keyspace.update".into();
        entry
            .details
            .extend([("was".to_owned(), defaults(&old)), ("is".to_owned(), defaults(&keyspace))]);
        let change = Change::UpdateKeyspace(keyspace.clone());
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(keyspace)
    }

    /// Removes a keyspace that has no keys.
    pub async fn delete_keyspace(
        &self,
        permit: Permit<'_, ManageKeyspaces>,
        name: KeyspaceName,
    ) -> Result<(), Error> {
        let mut entry = permit.entry(self.now(), Target::new("keyspace", &name));
        entry.action = "keyspace.delete".into();
        let change = Change::DeleteKeyspace(name);
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(())
    }
}

/// The defaults as the audit keeps them.
fn defaults(keyspace: &Keyspace) -> serde_json::Value {
    json!({
        "expires_in": keyspace.default_expires_in.map(duration::format),
        "grace": duration::format(keyspace.default_grace),
        "fail_policy": keyspace.fail_policy.as_str(),
        "policy": policy_json(&keyspace.policy),
    })
}
