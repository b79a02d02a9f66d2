//! The first start: a project, its environments, a keyspace, and a key to begin with.

use jiff::Timestamp;
use keyreeve_core::{
    audit::{Actor, AuditEntry, Outcome, Target},
    key::{Digester, EnvTag, IssuedToken},
    lifecycle::Lifecycle,
    model::{ApiKey, Environment, FailPolicy, Keyspace, Metadata, Policy, Project, Tags},
    name::ProjectName,
    permission::PermissionSet,
    role::BuiltinRole,
};
use serde_json::{Map, json};

use crate::{
    Clock, Entropy, Error,
    store::{Change, CommitError, Kind, Store, Tx, begin},
};

/// The first admin key of a project.
#[derive(Debug)]
pub struct FirstKey {
    /// The key as stored.
    pub key: ApiKey,
    /// Its text, to be shown once.
    pub token: IssuedToken,
}

impl FirstKey {
    /// Sets an installation up unless it is. `None` means that it was.
    ///
    /// # Errors
    ///
    /// The store or the machine failed; then nothing was set up.
    pub async fn ensure(
        store: &dyn Store,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
        digester: &Digester,
        uid: u32,
    ) -> Result<Option<Self>, Error> {
        if !store.projects().await?.is_empty() {
            return Ok(None);
        }
        let project = ProjectName::default_project();
        let actor = Actor::Local { uid };
        let now = clock.now_ms();
        let first = Self::make(&project, &actor, now, entropy, digester)?;
        let entry = AuditEntry {
            at: now,
            project: project.clone(),
            actor,
            action: "installation.init".into(),
            target: Target::new("project", &project),
            outcome: Outcome::Done,
            reason: None,
            request: None,
            details: Map::from_iter([("admin_key".to_owned(), json!(first.key.id.to_string()))]),
        };
        match first.with_project(begin(store, &project), &project, now)?.commit(entry).await {
            Ok(_) => Ok(Some(first)),
            // Another node was faster; its key is the first.
            Err(CommitError::AlreadyExists(Kind::Project)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn make(
        project: &ProjectName,
        actor: &Actor,
        now: Timestamp,
        entropy: &dyn Entropy,
        digester: &Digester,
    ) -> Result<Self, Error> {
        let prefix = known(Keyspace::DEFAULT_PREFIX)?;
        let (id, secret) = (entropy.bytes()?, entropy.bytes()?);
        let token = IssuedToken::from_entropy(&prefix, EnvTag::Live, id, &secret);
        let key = ApiKey {
            id: token.id(),
            project: project.clone(),
            keyspace: known(Keyspace::DEFAULT_NAME)?,
            environment: known("production")?,
            tag: EnvTag::Live,
            name: known("admin")?,
            owner: None,
            roles: vec![known(BuiltinRole::Admin.name())?],
            permissions: PermissionSet::default(),
            metadata: Metadata::default(),
            tags: Tags::default(),
            created_at: now,
            created_by: actor.to_string(),
            not_before: None,
            expires_at: now.saturating_add(Keyspace::DEFAULT_EXPIRES_IN).ok(),
            policy: Policy::none(),
            lifecycle: Lifecycle::Active,
            digest: digester.digest(&token.token()),
            imported: None,
            last_four: token.last_four(),
            lineage: token.id(),
            predecessor: None,
            parent: None,
            revision: 1,
        };
        Ok(Self { key, token })
    }

    /// Adds the project itself, its environments, its keyspace and this key.
    pub(crate) fn with_project<'s>(
        &self,
        tx: Tx<'s>,
        project: &ProjectName,
        now: Timestamp,
    ) -> Result<Tx<'s>, Error> {
        let created = Project { name: project.clone(), created_at: now };
        let mut tx = tx.with(Change::CreateProject(created));
        for (name, tag) in Environment::DEFAULTS {
            let environment = Environment { name: known(name)?, tag, created_at: now };
            tx = tx.with(Change::CreateEnvironment(environment));
        }
        let keyspace = Keyspace {
            name: self.key.keyspace.clone(),
            prefix: known(Keyspace::DEFAULT_PREFIX)?,
            default_expires_in: Some(Keyspace::DEFAULT_EXPIRES_IN),
            default_grace: Keyspace::DEFAULT_GRACE,
            fail_policy: FailPolicy::Closed,
            policy: Policy::none(),
            created_at: now,
            revision: 1,
        };
        let key = Box::new(self.key.clone());
        Ok(tx.with(Change::CreateKeyspace(keyspace)).with(Change::CreateKey(key)))
    }
}

/// A name written in this program. That it is well-formed is what the tests of `core` hold.
fn known<T: std::str::FromStr<Err = keyreeve_core::Invalid>>(
    name: &'static str,
) -> Result<T, Error> {
    name.parse().map_err(|rule| Error::Invalid(crate::FieldError::new(name, rule)))
}
