//! Making a key.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Invalid, Secret,
    audit::AuditEntry,
    key::{IssuedToken, KeyId},
    lifecycle::Lifecycle,
    model::{ApiKey, Environment, Keyspace, Metadata, Owner, Policy, PolicyHolder, Tags},
    name::{EnvironmentName, KeyspaceName, Label, OwnerId, RoleName},
    permission::PermissionSet,
};
use serde_json::json;

use super::{ShownText, target};
use crate::{
    Action, Engine, Error, FieldError, Idempotency, Permit,
    action::IssueKey,
    sources::to_ms,
    store::{Change, CommitError, IdempotentResult, Kind, StoredKey, Tx, Usage},
};

/// The finest step of time that is stored.
const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

/// When a key is to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// After this long.
    In(SignedDuration),
    /// At this moment.
    At(Timestamp),
    /// Never.
    Never,
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// What people call it.
    pub name: Label,
    /// Where prefix and defaults come from.
    pub keyspace: KeyspaceName,
    /// The stage it is for.
    pub environment: EnvironmentName,
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
    /// From when on it is accepted; at once if `None`.
    pub not_before: Option<Timestamp>,
    /// When it expires; the keyspace's default if `None`.
    pub expiry: Option<Expiry>,
    /// What bounds its use.
    pub policy: Policy,
}

/// A key and its text.
#[derive(Debug)]
pub struct Issued {
    /// The key as stored.
    pub stored: StoredKey,
    /// Its text, to be shown once.
    pub text: Secret<String>,
    /// Whether this is the answer of an earlier, equal request.
    pub replayed: bool,
}

impl Engine {
    /// Makes a key. It cannot be granted more than its maker has.
    pub async fn issue_key(
        &self,
        permit: Permit<'_, IssueKey>,
        spec: KeySpec,
        idempotency: Option<Idempotency>,
    ) -> Result<Issued, Error> {
        if let Some(first) = self.replay(&permit, idempotency.as_ref()).await? {
            return Ok(first);
        }
        self.admit_creation(permit.caller())?;
        check_policy(&spec.policy, PolicyHolder::Key)?;
        let keyspace = self.keyspace_of(&permit, &spec.keyspace).await?;
        let environment = self.environment_of(&permit, &spec.environment).await?;
        self.check_roles_exist(&permit, &spec.roles)?;
        let now = self.now();
        let expires_at = expiry(spec.expiry, &keyspace, now)?;
        check_not_before(spec.not_before, expires_at)?;
        let (token, key) = self.new_key(&permit, spec, &keyspace, &environment, expires_at, now)?;
        self.check_key_grant(&permit, &key).await?;

        let mut tx = self.begin(permit.project());
        if let Some(owner) = &key.owner {
            tx = tx.with(Change::EnsureOwner(new_owner(owner.clone(), now)));
        }
        let mut entry = permit.entry(now, target(key.id));
        entry.details.extend([
            ("keyspace".to_owned(), json!(key.keyspace.as_str())),
            ("environment".to_owned(), json!(key.environment.as_str())),
            ("owner".to_owned(), json!(key.owner.as_ref().map(OwnerId::as_str))),
        ]);
        self.commit_key(&permit, tx, key, token, idempotency.as_ref(), entry).await
    }

    /// Stores a new key, or gives the answer of an equal request that got there first.
    pub(super) async fn commit_key<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        mut tx: Tx<'_>,
        key: ApiKey,
        token: IssuedToken,
        idempotency: Option<&Idempotency>,
        mut entry: AuditEntry,
    ) -> Result<Issued, Error> {
        note_key(&mut entry, &key);
        tx = tx.with(Change::CreateKey(Box::new(key.clone())));
        if let Some(result) = self.remember(permit, idempotency, &token, key.created_at)? {
            tx = tx.with(Change::RememberResult(result));
        }
        match tx.commit(entry).await {
            Ok(_) => Ok(issued(key, ShownText::Fresh(token))),
            Err(CommitError::AlreadyExists(Kind::IdempotentResult)) => self
                .replay(permit, idempotency)
                .await?
                .ok_or(Error::ChangedMeanwhile(Kind::IdempotentResult)),
            Err(error) => Err(error.into()),
        }
    }

    /// The answer of an earlier request under the same idempotency key.
    pub(super) async fn replay<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<Issued>, Error> {
        let Some(idempotency) = idempotency else {
            return Ok(None);
        };
        let lookup = idempotency.lookup(&permit.actor().to_string());
        let Some(first) = self.store.idempotent_result(permit.project(), &lookup).await? else {
            return Ok(None);
        };
        if self.is_forgettable(first.at) {
            // Out of the way of the answer that is about to be remembered under its name.
            self.forget_idempotent_results(
                first.at.saturating_add(MILLISECOND).unwrap_or(first.at),
                None,
            )
            .await?;
            return Ok(None);
        }
        if first.fingerprint != *idempotency.fingerprint() {
            return Err(Error::IdempotencyMismatch);
        }
        let text = idempotency.sealer().open(&first.sealed, &lookup);
        let text = text.ok_or(Error::IdempotencyResultGone(first.key))?;
        let stored = self.stored_key(permit, first.key).await?;
        let issued = issued(stored.key.clone(), ShownText::Again(text));
        Ok(Some(Issued { stored: self.with_pending_usage(stored), ..issued }))
    }

    pub(super) fn remember<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        idempotency: Option<&Idempotency>,
        token: &IssuedToken,
        now: Timestamp,
    ) -> Result<Option<IdempotentResult>, Error> {
        let Some(idempotency) = idempotency else {
            return Ok(None);
        };
        let lookup = idempotency.lookup(&permit.actor().to_string());
        Ok(Some(IdempotentResult {
            lookup,
            fingerprint: *idempotency.fingerprint(),
            key: token.id(),
            sealed: idempotency.sealer().seal(token.text(), &lookup, &*self.entropy)?,
            at: now,
        }))
    }

    pub(super) async fn keyspace_of<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        name: &KeyspaceName,
    ) -> Result<Keyspace, Error> {
        let found = self.store.keyspace(permit.project(), name).await?;
        found.ok_or_else(|| unknown("keyspace", "keyspace"))
    }

    /// Refuses roles that the project does not have.
    pub(super) fn check_roles_exist<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        roles: &[RoleName],
    ) -> Result<(), Error> {
        let known = |role| self.live.role_permissions(permit.project(), role).is_some();
        if roles.iter().all(known) { Ok(()) } else { Err(unknown("roles", "role")) }
    }

    pub(super) async fn environment_of<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        name: &EnvironmentName,
    ) -> Result<Environment, Error> {
        let all = self.store.environments(permit.project()).await?;
        all.into_iter()
            .find(|found| found.name == *name)
            .ok_or_else(|| unknown("environment", "environment"))
    }

    fn new_key<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        spec: KeySpec,
        keyspace: &Keyspace,
        environment: &Environment,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(IssuedToken, ApiKey), Error> {
        let (id, secret) = (self.entropy.bytes()?, Secret::new(self.entropy.bytes::<32>()?));
        // EXPOSE: written into the key's text, which is itself a Secret.
        let token =
            IssuedToken::from_entropy(&keyspace.prefix, environment.tag, id, secret.expose());
        let key = ApiKey {
            id: token.id(),
            project: permit.project().clone(),
            keyspace: keyspace.name.clone(),
            environment: environment.name.clone(),
            tag: environment.tag,
            name: spec.name,
            owner: spec.owner,
            roles: spec.roles,
            permissions: spec.permissions,
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
            lineage: token.id(),
            predecessor: None,
            parent: None,
            revision: 1,
        };
        Ok((token, key))
    }

    /// A fresh token for `keyspace`, for use-cases that fill in the key themselves.
    pub(super) fn new_token(
        &self,
        keyspace: &Keyspace,
        old: &ApiKey,
    ) -> Result<(IssuedToken, KeyId), Error> {
        let (id, secret) = (self.entropy.bytes()?, Secret::new(self.entropy.bytes::<32>()?));
        // EXPOSE: written into the key's text, which is itself a Secret.
        let token = IssuedToken::from_entropy(&keyspace.prefix, old.tag, id, secret.expose());
        let id = token.id();
        Ok((token, id))
    }
}

/// What the audit keeps of a new key besides its id.
fn note_key(entry: &mut AuditEntry, key: &ApiKey) {
    entry.details.extend([
        ("name".to_owned(), json!(key.name.as_str())),
        ("roles".to_owned(), key.roles.iter().map(|role| json!(role.as_str())).collect()),
        ("permissions".to_owned(), json!(key.permissions.to_strings())),
        ("expires_at".to_owned(), json!(key.expires_at.map(|at| at.to_string()))),
    ]);
    if let Some(at) = key.not_before {
        entry.details.insert("not_before".to_owned(), json!(at.to_string()));
    }
    if !key.policy.is_empty() {
        entry.details.insert("policy".to_owned(), policy_json(&key.policy));
    }
}

/// A policy as the audit keeps it.
pub(crate) fn policy_json(policy: &Policy) -> serde_json::Value {
    serde_json::to_value(policy).unwrap_or_default()
}

/// Policies that bound nothing share one allocation.
pub(crate) fn shared(policy: Policy) -> Arc<Policy> {
    if policy.is_empty() { Policy::none() } else { Arc::new(policy) }
}

/// Refuses what makes no sense on that holder.
pub(crate) fn check_policy(policy: &Policy, holder: PolicyHolder) -> Result<(), Error> {
    let checked = policy.check(holder);
    checked.map_err(|(field, rule)| Error::Invalid(FieldError::new(field, rule)))
}

/// A key must be good for some time at all.
pub(super) fn check_not_before(
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
) -> Result<(), Error> {
    match (not_before, expires_at) {
        (Some(from), Some(until)) if from >= until => {
            let rule = Invalid::new("must be before the key expires");
            Err(Error::Invalid(FieldError::new("not_before", rule)))
        }
        _ => Ok(()),
    }
}

pub(super) fn issued(key: ApiKey, text: ShownText) -> Issued {
    let (text, replayed) = match text {
        ShownText::Fresh(token) => (token.into_text(), false),
        ShownText::Again(text) => (text, true),
    };
    Issued { stored: StoredKey { key, usage: Usage::default() }, text, replayed }
}

/// A field that refers to something the project does not have.
fn unknown(field: &'static str, kind: &str) -> Error {
    let rule = Invalid::new(format!("must name a {kind} of this project"));
    Error::Invalid(FieldError::new(field, rule))
}

pub(super) fn new_owner(id: OwnerId, now: Timestamp) -> Owner {
    Owner {
        id,
        name: None,
        metadata: Metadata::default(),
        policy: Policy::none(),
        created_at: now,
        revision: 1,
    }
}

/// The moment of expiry, to the millisecond. It must lie ahead and within 100 years.
pub(super) fn expiry(
    wanted: Option<Expiry>,
    keyspace: &Keyspace,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let wanted =
        wanted.unwrap_or_else(|| keyspace.default_expires_in.map_or(Expiry::Never, Expiry::In));
    let (field, at) = match wanted {
        Expiry::Never => return Ok(None),
        Expiry::At(at) => ("expires_at", Some(to_ms(at))),
        Expiry::In(length) => ("expires_in", now.saturating_add(length).ok()),
    };
    match at {
        Some(at) if at > now && at <= latest_expiry(now) => Ok(Some(at)),
        _ => Err(Error::Invalid(FieldError::new(
            field,
            Invalid::new("must lie in the future and within 100 years"),
        ))),
    }
}

/// The latest moment a key may expire at, short of never: 100 years from now.
pub(super) fn latest_expiry(now: Timestamp) -> Timestamp {
    now.saturating_add(keyreeve_core::duration::LONGEST).unwrap_or(Timestamp::MAX)
}
