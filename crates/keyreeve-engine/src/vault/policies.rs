//! Policies: kept, shown, removed. Who is granted which is said by permissions:
//! `keyreeve.policies.<name>.use`.

use std::sync::Arc;

use keyreeve_core::{
    audit::{Outcome, Target},
    model::Revision,
    name::ProjectName,
    vault::{Capability, PolicyName, VaultPolicy},
};
use serde_json::json;

use super::{
    VaultError,
    records::{StoredPolicy, StoredRule},
};
use crate::{
    Engine, Permit,
    action::{ManagePolicies, ReadPolicies},
    store::{Change, RecordKind},
};

/// The permission that grants a policy. It ends in a verb that no wildcard of a role has but that of
/// admins: else a policy called `read` would be every viewer's.
pub(super) fn permission(name: &str) -> String {
    format!("keyreeve.policies.{name}.use")
}

impl Engine {
    /// Keeps a policy, in the place of the one of that name.
    pub async fn put_policy(
        &self,
        permit: &Permit<'_, ManagePolicies>,
        policy: &VaultPolicy,
    ) -> Result<(), VaultError> {
        let project = permit.project();
        let revision = self.policy_revision(project, &policy.name)?.unwrap_or(0);
        let rules = policy.rules().iter().map(|rule| StoredRule {
            path: rule.pattern.as_str().to_owned(),
            capabilities: rule
                .capabilities
                .iter()
                .map(Capability::as_str)
                .map(String::from)
                .collect(),
        });
        let stored = StoredPolicy { text: policy.text().to_owned(), rules: rules.collect() };
        let name = policy.name.as_str();
        let record = self.record(project, RecordKind::Policy, name, &stored, revision)?;
        let mut entry = permit.entry(self.now(), Target::new("policy", name));
        entry.action = "policy.put".into();
        entry.details.insert("rules".to_owned(), json!(stored.rules));
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        Ok(())
    }

    /// One policy.
    pub async fn policy(
        &self,
        permit: &Permit<'_, ReadPolicies>,
        name: &PolicyName,
    ) -> Result<Option<Arc<VaultPolicy>>, VaultError> {
        let project = permit.project();
        let known = self.vault.records.get(project, RecordKind::Policy, name.as_str());
        let Some(known) = known else { return Ok(None) };
        let read = {
            let keyring = self.keyring()?;
            known.policy(project, &keyring)
        };
        let why = match read {
            Ok(policy) => return Ok(Some(policy)),
            Err(why) => why,
        };
        let mut entry = permit.entry(self.now(), Target::new("policy", name));
        entry.action = "vault.tampering_found".into();
        entry.outcome = Outcome::Denied;
        entry.details.insert("why".to_owned(), json!(why.to_string()));
        self.begin(project).commit(entry).await?;
        Err(VaultError::Tampered { what: format!("policy {name}"), why })
    }

    /// The names of all policies.
    pub fn policies(&self, permit: &Permit<'_, ReadPolicies>) -> Result<Vec<String>, VaultError> {
        self.keyring()?;
        let known = self.vault.records.all(permit.project(), RecordKind::Policy);
        Ok(known.iter().map(|known| known.record.id.to_string()).collect())
    }

    /// Removes a policy: whoever was granted it has nothing by it any more.
    pub async fn delete_policy(
        &self,
        permit: &Permit<'_, ManagePolicies>,
        name: &PolicyName,
    ) -> Result<(), VaultError> {
        let revision = self.policy_revision(permit.project(), name)?;
        // As Vault has it: what is not there is gone.
        let Some(revision) = revision else { return Ok(()) };
        let mut entry = permit.entry(self.now(), Target::new("policy", name));
        entry.action = "policy.delete".into();
        let (kind, id) = (RecordKind::Policy, name.as_str().into());
        let change = Change::DeleteRecord { kind, id, revision };
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(())
    }

    fn policy_revision(
        &self,
        project: &ProjectName,
        name: &PolicyName,
    ) -> Result<Option<Revision>, VaultError> {
        self.keyring()?;
        let known = self.vault.records.get(project, RecordKind::Policy, name.as_str());
        Ok(known.map(|known| known.record.revision))
    }
}
