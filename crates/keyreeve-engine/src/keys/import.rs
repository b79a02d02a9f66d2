//! Bringing keys of another system in, by their hashes.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use keyreeve_core::{
    audit::Target,
    key::{self, KeyDigest, KeyId, foreign::ForeignHash},
    lifecycle::Lifecycle,
    model::{ApiKey, Environment, Keyspace, Metadata, Tags},
    name::{EnvironmentName, KeyspaceName, Label, OwnerId, RoleName},
    permission::PermissionSet,
};
use serde_json::json;

use super::{
    Expiry,
    issue::{expiry, new_owner},
};
use crate::{
    Engine, Error, FieldError, Permit,
    action::ImportKeys,
    live::MOST_CANDIDATES,
    store::{Change, CommitError, Kind},
};

/// Rows that are looked at before others get their turn.
const ROWS_IN_A_ROW: usize = 256;

/// A batch of keys to bring in.
#[derive(Clone, Debug)]
pub struct ImportSpec {
    /// Where they go.
    pub keyspace: KeyspaceName,
    /// The stage they are for.
    pub environment: EnvironmentName,
    /// The keys, each as good as it could be read.
    pub rows: Vec<Result<ImportRow, FieldError>>,
    /// Bring in those that are good even if others are not.
    pub partial: bool,
    /// Only say what would happen.
    pub dry_run: bool,
}

/// One key to bring in.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// What people call it.
    pub name: Label,
    /// How it is found.
    pub imported: key::Imported,
    /// Whom it belongs to; made on the way if unknown.
    pub owner: Option<OwnerId>,
    /// Roles, in order, each once.
    pub roles: Vec<RoleName>,
    /// Permissions besides.
    pub permissions: PermissionSet,
    /// What comes back with verdicts.
    pub metadata: Metadata,
    /// Words to filter by.
    pub tags: Tags,
    /// When it expires; the keyspace's default if `None`.
    pub expires_at: Option<Timestamp>,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Imported {
    /// One outcome for each row, in order.
    pub rows: Vec<RowOutcome>,
    /// Whether anything was stored.
    pub stored: bool,
}

/// What became of one row.
#[derive(Clone, Debug)]
pub enum RowOutcome {
    /// It is good, and stored if the batch was.
    Good(KeyId),
    /// It breaks a rule.
    Refused(FieldError),
}

impl Engine {
    /// Brings keys in: all of them or none, unless told otherwise. They keep their text; what
    /// they grant cannot be more than the caller has.
    pub async fn import_keys(
        &self,
        permit: Permit<'_, ImportKeys>,
        spec: ImportSpec,
    ) -> Result<Imported, Error> {
        let keyspace = self.keyspace_of(&permit, &spec.keyspace).await?;
        let environment = self.environment_of(&permit, &spec.environment).await?;
        let now = self.now();
        let mut known = Known::default();
        let mut keys: Vec<ApiKey> = Vec::new();
        let mut rows = Vec::with_capacity(spec.rows.len());
        let mut beyond: BTreeSet<String> = BTreeSet::new();
        for (n, row) in spec.rows.into_iter().enumerate() {
            if n % ROWS_IN_A_ROW == 0 {
                // Others are served by this thread too.
                tokio::task::yield_now().await;
            }
            let made = row
                .and_then(|row| self.imported_key(&permit, row, &keyspace, &environment, now))
                .and_then(|key| self.check_row_grant(&permit, &mut beyond, key))
                .and_then(|key| self.check_new(&permit, &mut known, key));
            rows.push(match made {
                Ok(key) => {
                    let id = key.id;
                    keys.push(key);
                    RowOutcome::Good(id)
                }
                Err(error) => RowOutcome::Refused(error),
            });
        }
        if !beyond.is_empty() {
            let beyond: Vec<String> = beyond.into_iter().collect();
            self.record_escalation(&permit, &beyond).await?;
        }
        let all_good = keys.len() == rows.len();
        if spec.dry_run || keys.is_empty() || !(all_good || spec.partial) {
            return Ok(Imported { rows, stored: false });
        }
        self.admit_creation(permit.caller())?;
        self.store_imported(&permit, keys, now).await?;
        Ok(Imported { rows, stored: true })
    }

    async fn store_imported(
        &self,
        permit: &Permit<'_, ImportKeys>,
        keys: Vec<ApiKey>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let ids: Vec<String> = keys.iter().map(|key| key.id.to_string()).collect();
        let mut entry = permit.entry(now, Target::new("project", permit.project()));
        let digest = keyreeve_core::audit::Hash::of(ids.join("\n").as_bytes());
        entry.details.extend([
            ("keys".to_owned(), json!(ids.len())),
            ("ids_sha256".to_owned(), json!(digest.to_string())),
        ]);
        let mut tx = self.begin(permit.project());
        let mut owners = HashSet::new();
        for key in keys {
            if let Some(owner) = &key.owner
                && owners.insert(owner.clone())
            {
                tx = tx.with(Change::EnsureOwner(new_owner(owner.clone(), now)));
            }
            tx = tx.with(Change::CreateKey(Box::new(key)));
        }
        match tx.commit(entry).await {
            Ok(_) => Ok(()),
            Err(CommitError::AlreadyExists(_)) => Err(Error::ChangedMeanwhile(Kind::ApiKey)),
            Err(error) => Err(error.into()),
        }
    }

    fn imported_key(
        &self,
        permit: &Permit<'_, ImportKeys>,
        row: ImportRow,
        keyspace: &Keyspace,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<ApiKey, FieldError> {
        let field = |error: Error| match error {
            Error::Invalid(error) => error,
            other => FieldError::new("row", keyreeve_core::Invalid::new(other.to_string())),
        };
        self.check_roles_exist(permit, &row.roles).map_err(field)?;
        let expires_at = expiry(row.expires_at.map(Expiry::At), keyspace, now).map_err(field)?;
        let entropy = self.entropy.bytes().map_err(|error| field(error.into()))?;
        let id = KeyId::from_entropy(entropy);
        let digest = match &row.imported.hash {
            Some(ForeignHash::Sha256(hash)) => KeyDigest::Sha256(*hash),
            _ => KeyDigest::Foreign,
        };
        Ok(ApiKey {
            id,
            project: permit.project().clone(),
            keyspace: keyspace.name.clone(),
            environment: environment.name.clone(),
            tag: environment.tag,
            name: row.name,
            owner: row.owner,
            roles: row.roles,
            permissions: row.permissions,
            metadata: row.metadata,
            tags: row.tags,
            created_at: now,
            created_by: permit.actor().to_string(),
            not_before: None,
            expires_at,
            policy: keyreeve_core::model::Policy::none(),
            lifecycle: Lifecycle::Active,
            digest,
            imported: Some(Box::new(row.imported)),
            last_four: String::new(),
            lineage: id,
            predecessor: None,
            parent: None,
            revision: 1,
        })
    }

    /// Refuses a key that would grant more than the caller has, and notes what that is.
    fn check_row_grant(
        &self,
        permit: &Permit<'_, ImportKeys>,
        beyond: &mut BTreeSet<String>,
        key: ApiKey,
    ) -> Result<ApiKey, FieldError> {
        let missing = Self::beyond_caller(permit, &self.effective_grants(&key));
        if missing.is_empty() {
            return Ok(key);
        }
        let field = if key.roles.is_empty() { "permissions" } else { "roles" };
        let rule = format!("must grant nothing the caller lacks: {}", missing.join(", "));
        beyond.extend(missing);
        Err(FieldError::new(field, keyreeve_core::Invalid::new(rule)))
    }

    /// Refuses a key that is there already, here or in this batch, or that could not be found
    /// again.
    fn check_new(
        &self,
        permit: &Permit<'_, ImportKeys>,
        known: &mut Known,
        key: ApiKey,
    ) -> Result<ApiKey, FieldError> {
        let broken = |field: &'static str, rule: &'static str| {
            Err(FieldError::new(field, keyreeve_core::Invalid::new(rule)))
        };
        let Some(imported) = &key.imported else { return Ok(key) };
        let Some(hash) = &imported.hash else { return Ok(key) };
        let start = imported.start.as_deref();
        if self.live.has_foreign_hash(permit.project(), start, hash) {
            return broken("hash", "must be of a key that is not here yet");
        }
        if !known.hashes.insert(hash.to_text()) {
            return broken("hash", "must not stand twice");
        }
        if let (true, Some(start)) = (hash.is_salted(), &imported.start) {
            let here = self.live.foreign_keys_with_start(permit.project(), start);
            let count = known.starts.entry(start.clone()).or_insert(here);
            *count += 1;
            if *count > MOST_CANDIDATES {
                return broken(
                    "start",
                    "must be shared by at most 4 keys with bcrypt or Argon2 hashes: give more characters",
                );
            }
        }
        Ok(key)
    }
}

/// What a batch has brought so far.
#[derive(Default)]
struct Known {
    hashes: HashSet<String>,
    starts: std::collections::HashMap<Box<str>, usize>,
}
