//! Roles that programs log in as.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Invalid, Secret,
    audit::{Outcome, Target},
    model::Revision,
    name::ProjectName,
    vault::{
        AppRole, AppRoleName, SecretId, TokenParent, USUAL_TOKEN_LIFE, VaultToken,
        check_custom_metadata, credential_digest,
    },
};
use serde_json::json;

use super::{
    VaultAccess, VaultError,
    records::Known,
    secrets::is_conflict,
    tokens::{IssuedVaultToken, NewToken, describe},
};
use crate::{
    Engine, Error, FieldError, Permit, RequestMeta,
    action::ManageAppRoles,
    store::{Change, Kind, RecordKind},
};

/// How often a login is tried again that another login got in the way of.
const MOST_TRIES: usize = 16;

/// What a new secret id is to be.
#[derive(Clone, Debug, Default)]
pub struct NewSecretId {
    /// Notes, which its tokens carry, too.
    pub metadata: BTreeMap<String, String>,
    /// How long it lives; `None` as the role says.
    pub ttl: Option<SignedDuration>,
    /// How often it can be used; `None` as the role says.
    pub num_uses: Option<u64>,
}

/// A new secret id. Its text is known to nobody else.
#[derive(Debug)]
pub struct IssuedSecretId {
    /// The text.
    pub text: Secret<String>,
    /// What is known of it.
    pub secret_id: SecretId,
}

/// A role as it is stored.
type StoredRole = (Arc<AppRole>, Revision);

impl Engine {
    /// One role, if there is one of that name.
    pub fn approle(
        &self,
        permit: &Permit<'_, ManageAppRoles>,
        name: &AppRoleName,
    ) -> Result<Option<Arc<AppRole>>, VaultError> {
        Ok(self.stored_role(permit.project(), name.as_str())?.map(|(role, _)| role))
    }

    /// The names of all roles.
    pub fn approles(&self, permit: &Permit<'_, ManageAppRoles>) -> Result<Vec<String>, VaultError> {
        self.keyring()?;
        let known = self.vault.records.all(permit.project(), RecordKind::AppRole);
        Ok(known.iter().map(|known| known.record.id.to_string()).collect())
    }

    fn stored_role(
        &self,
        project: &ProjectName,
        name: &str,
    ) -> Result<Option<StoredRole>, VaultError> {
        self.keyring()?;
        let known = self.vault.records.get(project, RecordKind::AppRole, name);
        let Some(known) = known else { return Ok(None) };
        Ok(Some((self.parsed(project, &known)?, known.record.revision)))
    }

    /// Makes or changes a role. A new one gets an id of its own.
    pub async fn put_approle(
        &self,
        permit: &Permit<'_, ManageAppRoles>,
        name: &AppRoleName,
        change: impl Fn(&mut AppRole),
    ) -> Result<(), VaultError> {
        let project = permit.project();
        let (mut role, revision) = match self.stored_role(project, name.as_str())? {
            Some((role, revision)) => ((*role).clone(), revision),
            None => (AppRole::new(self.new_id()?), 0),
        };
        change(&mut role);
        role.check().map_err(|rule| VaultError::Invalid(FieldError::new("role", rule)))?;
        let taken = self.role_of_id(&role.role_id)?;
        if taken.is_some_and(|(of, other, _)| (of != *project) || other != name.as_str()) {
            let rule = Invalid::new("must be unlike that of every other role");
            return Err(VaultError::Invalid(FieldError::new("role_id", rule)));
        }
        let record = self.record(project, RecordKind::AppRole, name.as_str(), &role, revision)?;
        let mut entry = permit.entry(self.now(), Target::new("approle", name.as_str()));
        entry.action = "approle.put".into();
        entry.details.insert("policies".to_owned(), json!(role.token_policies));
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        Ok(())
    }

    /// The role that a program says the id of.
    fn role_of_id(
        &self,
        role_id: &str,
    ) -> Result<Option<(ProjectName, String, Arc<AppRole>)>, VaultError> {
        let mut tampered = None;
        for (project, known) in self.vault.records.everywhere(RecordKind::AppRole) {
            let role: Arc<AppRole> = match self.parsed(&project, &known) {
                Ok(role) => role,
                // The others are good all the same.
                Err(error) => {
                    tampered = Some(error);
                    continue;
                }
            };
            if role.role_id == role_id {
                return Ok(Some((project, known.record.id.to_string(), role)));
            }
        }
        tampered.map_or(Ok(None), Err)
    }

    /// Removes a role with its secret ids. Tokens that it gave live out their time.
    pub async fn delete_approle(
        &self,
        permit: &Permit<'_, ManageAppRoles>,
        name: &AppRoleName,
    ) -> Result<(), VaultError> {
        let project = permit.project();
        let Some((_, revision)) = self.stored_role(project, name.as_str())? else { return Ok(()) };
        let gone = |kind, id: Arc<str>, revision| Change::DeleteRecord { kind, id, revision };
        let mut tx =
            self.begin(project).with(gone(RecordKind::AppRole, name.as_str().into(), revision));
        for known in self.secret_ids(project, name.as_str()) {
            let record = &known.record;
            tx = tx.with(gone(RecordKind::SecretId, record.id.clone(), record.revision));
        }
        let mut entry = permit.entry(self.now(), Target::new("approle", name.as_str()));
        entry.action = "approle.delete".into();
        tx.commit(entry).await?;
        Ok(())
    }

    fn secret_ids(&self, project: &ProjectName, role: &str) -> Vec<Arc<Known>> {
        let prefix = format!("{role}/");
        let (kind, from) = (RecordKind::SecretId, std::ops::Bound::Unbounded);
        self.vault.records.beginning_with(project, kind, &prefix, from, usize::MAX)
    }

    /// Makes a secret id; `text` is one that the caller chose.
    pub async fn create_secret_id(
        &self,
        permit: &Permit<'_, ManageAppRoles>,
        name: &AppRoleName,
        new: NewSecretId,
        text: Option<Secret<String>>,
    ) -> Result<Option<IssuedSecretId>, VaultError> {
        let project = permit.project();
        let Some((role, _)) = self.stored_role(project, name.as_str())? else { return Ok(None) };
        let refuse = |field, rule| VaultError::Invalid(FieldError::new(field, rule));
        check_custom_metadata(&new.metadata).map_err(|rule| refuse("metadata", rule))?;
        let text = match text {
            Some(text) => text,
            None => Secret::new(self.new_id()?),
        };
        // EXPOSE: measured.
        if text.expose().len() < 16 {
            return Err(refuse("secret_id", Invalid::new("must be at least 16 bytes")));
        }
        // EXPOSE: becomes the digest that it is found by.
        let id = format!("{}/{}", name.as_str(), credential_digest(text.expose()));
        let now = self.now();
        let ttl = new.ttl.unwrap_or(role.secret_id_ttl);
        if ttl.is_negative() {
            return Err(refuse("ttl", Invalid::new("must not be negative")));
        }
        let num_uses = new.num_uses.unwrap_or(role.secret_id_num_uses);
        let until = || now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        let secret_id = SecretId {
            accessor: self.new_id()?,
            created_at: now,
            expires_at: ttl.is_positive().then(until),
            ttl,
            num_uses,
            uses_left: (num_uses > 0).then_some(num_uses),
            metadata: new.metadata,
        };
        let record = self.record(project, RecordKind::SecretId, &id, &secret_id, 0)?;
        let mut entry = permit.entry(self.now(), Target::new("approle", name.as_str()));
        entry.action = "approle.secret_id.create".into();
        entry.details.insert("accessor".to_owned(), json!(secret_id.accessor));
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        Ok(Some(IssuedSecretId { text, secret_id }))
    }

    /// What is known of a role's live secret ids, each with the record's id.
    pub fn list_secret_ids(
        &self,
        permit: &Permit<'_, ManageAppRoles>,
        name: &AppRoleName,
    ) -> Result<Vec<(String, Arc<SecretId>)>, VaultError> {
        let (project, now) = (permit.project(), self.now());
        let mut live = Vec::new();
        for known in self.secret_ids(project, name.as_str()) {
            let secret_id: Arc<SecretId> = self.parsed(project, &known)?;
            if secret_id.is_live(now) {
                live.push((known.record.id.to_string(), secret_id));
            }
        }
        Ok(live)
    }

    /// Ends a secret id, by the id of its record.
    pub async fn destroy_secret_id(
        &self,
        permit: &Permit<'_, ManageAppRoles>,
        id: &str,
    ) -> Result<(), VaultError> {
        let project = permit.project();
        let known = self.vault.records.get(project, RecordKind::SecretId, id);
        let Some(known) = known else { return Ok(()) };
        let role = id.split('/').next().unwrap_or_default();
        let mut entry = permit.entry(self.now(), Target::new("approle", role));
        entry.action = "approle.secret_id.destroy".into();
        let (kind, revision) = (RecordKind::SecretId, known.record.revision);
        let gone = Change::DeleteRecord { kind, id: id.into(), revision };
        self.begin(project).with(gone).commit(entry).await?;
        Ok(())
    }

    /// Gives a token to a program that knows a role's id and one of its secret ids. The use is counted
    /// and the token made in one commit, so a secret id for one use gives one token.
    pub async fn approle_login(
        &self,
        role_id: &str,
        secret_id: &Secret<String>,
        meta: RequestMeta,
    ) -> Result<(ProjectName, IssuedVaultToken), VaultError> {
        let outcome = self.log_in(role_id, secret_id, meta).await;
        match outcome {
            Err(error) => {
                let project = ProjectName::default_project();
                let nobody = VaultAccess::of_nobody(project, meta);
                Err(self.record_tampering(&nobody, error).await)
            }
            done => done,
        }
    }

    async fn log_in(
        &self,
        role_id: &str,
        secret_id: &Secret<String>,
        meta: RequestMeta,
    ) -> Result<(ProjectName, IssuedVaultToken), VaultError> {
        self.keyring()?;
        let found = self.role_of_id(role_id)?;
        let (project, name, role) = found.ok_or(VaultError::BadLogin)?;
        // EXPOSE: becomes the digest that it is found by.
        let id = format!("{name}/{}", credential_digest(secret_id.expose()));
        for attempt in 0..MOST_TRIES {
            let known = if attempt == 0 {
                self.vault.records.get(&project, RecordKind::SecretId, &id)
            } else {
                let record = self.store.vault_record(&project, RecordKind::SecretId, &id).await?;
                record.map(|record| Arc::new(Known::new(Arc::new(record))))
            };
            let known = known.ok_or(VaultError::BadLogin)?;
            let proof: Arc<SecretId> = self.parsed(&project, &known)?;
            if !proof.is_live(self.now()) {
                return Err(VaultError::BadLogin);
            }
            let token = self.token_of_role(&name, &role, &proof)?;
            match self.commit_login(&project, &known, &proof, token, meta).await {
                Err(error) if is_conflict(&error) => {}
                outcome => return Ok((project, outcome?)),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    fn token_of_role(
        &self,
        name: &str,
        role: &AppRole,
        proof: &SecretId,
    ) -> Result<VaultToken, VaultError> {
        let usual = Some(role.token_ttl).filter(SignedDuration::is_positive);
        let mut meta = proof.metadata.clone();
        meta.insert("role_name".to_owned(), name.to_owned());
        let new = NewToken {
            policies: role.token_policies.clone(),
            display_name: "approle".to_owned(),
            meta,
            ttl: usual.unwrap_or(USUAL_TOKEN_LIFE),
            max_ttl: role.token_max_ttl,
            period: role.token_period,
            num_uses: role.token_num_uses,
            renewable: true,
            no_default_policy: false,
        };
        let token = self.token_of(new, false, "auth/approle/login", TokenParent::None)?;
        Ok(VaultToken { display_name: format!("approle-{name}"), ..token })
    }

    async fn commit_login(
        &self,
        project: &ProjectName,
        known: &Known,
        proof: &SecretId,
        token: VaultToken,
        meta: RequestMeta,
    ) -> Result<IssuedVaultToken, VaultError> {
        let text = self.new_token_text()?;
        // EXPOSE: becomes the digest that it is found by.
        let id = credential_digest(text.expose());
        let record = self.record(project, RecordKind::Token, &id, &token, 0)?;
        let mut tx = self.begin(project).with(Change::PutRecord(Arc::new(record)));
        let (kind, proof_id) = (RecordKind::SecretId, known.record.id.clone());
        let revision = known.record.revision;
        match proof.uses_left {
            None => {}
            Some(0 | 1) => {
                tx = tx.with(Change::DeleteRecord { kind, id: proof_id, revision });
            }
            Some(left) => {
                let proof = SecretId { uses_left: Some(left - 1), ..proof.clone() };
                let record = self.record(project, kind, &proof_id, &proof, revision)?;
                tx = tx.with(Change::PutRecord(Arc::new(record)));
            }
        }
        let holder = VaultAccess::of_token(project.clone(), &token, Vec::new(), meta);
        let mut entry = holder.entry(self, "approle.login", &token.accessor, Outcome::Done);
        describe(&mut entry, &token);
        entry.details.insert("secret_id_accessor".to_owned(), json!(proof.accessor));
        tx.commit(entry).await?;
        Ok(IssuedVaultToken { text, token })
    }
}
