//! Owners.

use keyreeve_core::{
    audit::Target,
    model::{Metadata, Owner, Policy, PolicyHolder},
    name::{Label, OwnerId},
};

use serde_json::json;

use crate::{
    Engine, Error, Permit,
    action::{ReadOwners, WriteOwners},
    keys::{PolicyChange, check_policy, policy_json, shared},
    store::{Change, Kind, ListPage, PageRequest},
};

/// What a new owner is to be.
#[derive(Clone, Debug)]
pub struct OwnerSpec {
    /// The team's own id for it.
    pub id: OwnerId,
    /// What people call it.
    pub name: Option<Label>,
    /// What comes back with verdicts.
    pub metadata: Metadata,
    /// What bounds the use of its keys, all together.
    pub policy: Policy,
}

/// What of an owner is to be different.
#[derive(Clone, Debug, Default)]
pub struct OwnerChange {
    /// What people call it; the inner `None` clears it.
    pub name: Option<Option<Label>>,
    /// What comes back with verdicts.
    pub metadata: Option<Metadata>,
    /// What bounds the use of its keys, all together.
    pub policy: PolicyChange,
}

impl Engine {
    /// Makes an owner.
    pub async fn create_owner(
        &self,
        permit: Permit<'_, WriteOwners>,
        spec: OwnerSpec,
    ) -> Result<Owner, Error> {
        check_policy(&spec.policy, PolicyHolder::Owner)?;
        let now = self.now();
        let owner = Owner {
            id: spec.id,
            name: spec.name,
            metadata: spec.metadata,
            policy: shared(spec.policy),
            created_at: now,
            revision: 1,
        };
        let mut entry = permit.entry(now, Target::new("owner", &owner.id));
        entry.action = "owner.create".into();
        let change = Change::CreateOwner(owner.clone());
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(owner)
    }

    /// Owners, by id.
    pub async fn owners(
        &self,
        permit: Permit<'_, ReadOwners>,
        page: &PageRequest,
    ) -> Result<ListPage<Owner>, Error> {
        Ok(self.store.owners(permit.project(), page).await?)
    }

    /// One owner.
    pub async fn owner(
        &self,
        permit: Permit<'_, ReadOwners>,
        id: &OwnerId,
    ) -> Result<Owner, Error> {
        let found = self.store.owner(permit.project(), id).await?;
        found.ok_or(Error::NotFound(Kind::Owner))
    }

    /// Changes an owner.
    pub async fn update_owner(
        &self,
        permit: Permit<'_, WriteOwners>,
        id: &OwnerId,
        change: OwnerChange,
    ) -> Result<Owner, Error> {
        let found = self.store.owner(permit.project(), id).await?;
        let mut owner = found.ok_or(Error::NotFound(Kind::Owner))?;
        let old = owner.clone();
        owner.name = change.name.unwrap_or(owner.name);
        owner.metadata = change.metadata.unwrap_or(owner.metadata);
        if let Some(policy) = change.policy.apply(&old.policy, PolicyHolder::Owner)? {
            owner.policy = policy;
        }
        if owner == old {
            return Ok(owner);
        }
        owner.revision += 1;
        let mut entry = permit.entry(self.now(), Target::new("owner", id));
        entry.action = "owner.update".into();
        if owner.name != old.name {
            let names = [&old.name, &owner.name].map(|name| name.as_ref().map(Label::as_str));
            entry.details.insert("name".to_owned(), json!(names));
        }
        // Metadata is the team's own and may be large: of that only the fact is kept.
        entry.details.insert("metadata_changed".to_owned(), json!(owner.metadata != old.metadata));
        if owner.policy != old.policy {
            let policies = [policy_json(&old.policy), policy_json(&owner.policy)];
            entry.details.insert("policy".to_owned(), json!(policies));
        }
        let change = Change::UpdateOwner(owner.clone());
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(owner)
    }

    /// Removes an owner that has no keys.
    pub async fn delete_owner(
        &self,
        permit: Permit<'_, WriteOwners>,
        id: OwnerId,
    ) -> Result<(), Error> {
        let mut entry = permit.entry(self.now(), Target::new("owner", &id));
        entry.action = "owner.delete".into();
        self.begin(permit.project()).with(Change::DeleteOwner(id)).commit(entry).await?;
        Ok(())
    }
}
