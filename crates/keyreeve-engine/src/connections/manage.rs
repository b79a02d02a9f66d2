//! Connections: made, shown, changed, switched off, removed.

use std::{collections::BTreeMap, sync::Arc};

use keyreeve_core::{
    Invalid,
    audit::Target,
    egress::BaseUrl,
    name::ConnectionName,
    vault::{Capability, SecretPath},
};
use serde_json::{Value, json};

use super::{
    CacheRules, CallCost, CallLimits, Connection, ConnectionSettings, Patience,
    connection::StoredConnection, provider,
};
use crate::{
    Action, Engine, Error, FieldError, Permit,
    action::{ManageConnections, ReadConnections},
    store::{Change, Kind, RecordKind},
    vault::{VaultAccess, VaultError},
};

/// The most connections of a project.
const MOST_CONNECTIONS: usize = 1_000;

/// What a new connection is to be.
#[derive(Clone, Debug)]
pub struct ConnectionSpec {
    /// Its name; its provider's if `None`.
    pub name: Option<String>,
    /// A provider of the catalogue, which says what is not said here.
    pub provider: Option<String>,
    /// Where calls go.
    pub base_url: Option<BaseUrl>,
    /// Where the credential is kept.
    pub secret: SecretPath,
    /// How it gets into a request.
    pub inject: Option<Value>,
    /// Everything else.
    pub change: ConnectionChange,
}

/// What of a connection is to be different.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the members of `ConnectionSettings`, each where it changes")]
pub struct ConnectionChange {
    pub base_url: Option<BaseUrl>,
    pub secret: Option<SecretPath>,
    pub inject: Option<Value>,
    pub parameters: Option<BTreeMap<String, String>>,
    pub public: Option<Vec<String>>,
    pub allow_internal: Option<bool>,
    pub allow_plaintext: Option<bool>,
    pub path_rules: Option<keyreeve_core::egress::PathRules>,
    pub restrictions: Option<keyreeve_core::restriction::Restrictions>,
    pub costs: Option<Vec<CallCost>>,
    pub clients: Option<Vec<String>>,
    pub limits: Option<CallLimits>,
    pub patience: Option<Patience>,
    /// `Some(None)` keeps no answers any more.
    pub cache: Option<Option<CacheRules>>,
    /// Whether it can be called.
    pub enabled: Option<bool>,
}

impl ConnectionChange {
    fn apply(self, to: &mut ConnectionSettings) {
        replace(&mut to.base_url, self.base_url);
        replace(&mut to.secret, self.secret);
        replace(&mut to.inject, self.inject);
        replace(&mut to.parameters, self.parameters);
        replace(&mut to.public, self.public);
        replace(&mut to.allow_internal, self.allow_internal);
        replace(&mut to.allow_plaintext, self.allow_plaintext);
        replace(&mut to.path_rules, self.path_rules);
        replace(&mut to.restrictions, self.restrictions);
        replace(&mut to.costs, self.costs);
        replace(&mut to.clients, self.clients);
        replace(&mut to.limits, self.limits);
        replace(&mut to.patience, self.patience);
        replace(&mut to.cache, self.cache);
    }
}

fn replace<T>(old: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *old = new;
    }
}

fn invalid(field: &str, rule: impl Into<String>) -> VaultError {
    VaultError::Invalid(FieldError::new(field, Invalid::new(rule.into())))
}

impl Engine {
    /// Makes a connection. Whoever makes one sends a secret to an address, so they must be allowed to
    /// read it.
    pub async fn add_connection(
        &self,
        permit: &Permit<'_, ManageConnections>,
        spec: ConnectionSpec,
    ) -> Result<Arc<Connection>, VaultError> {
        let project = permit.project();
        let access = self.vault_access(permit.caller()).await?;
        let name = spec.name.as_deref().or(spec.provider.as_deref());
        let name = name.ok_or_else(|| invalid("name", "must be given"))?.to_owned();
        name.parse::<ConnectionName>()
            .map_err(|rule| VaultError::Invalid(FieldError::new("name", rule)))?;
        if self.known_connection(project, &name)?.is_some() {
            return Err(Error::AlreadyExists(Kind::Connection).into());
        }
        if self.count_kept(project, RecordKind::Connection) >= MOST_CONNECTIONS {
            return Err(invalid("name", "cannot be taken: there are 1000 connections already"));
        }
        let enabled = spec.change.enabled.unwrap_or(true);
        let settings = self.settings_of(&access, spec).await?;
        let now = self.now();
        let stored = StoredConnection {
            name,
            settings,
            enabled,
            created_at: now,
            updated_at: now,
            created_by: permit.actor().to_string(),
        };
        self.check_against_secret(&access, &stored).await?;
        self.keep_connection(permit, stored, 0, "connection.create").await
    }

    /// What was asked for, completed by the catalogue.
    async fn settings_of(
        &self,
        access: &VaultAccess,
        spec: ConnectionSpec,
    ) -> Result<ConnectionSettings, VaultError> {
        self.permit_path(access, Capability::Read, &spec.secret).await?;
        let parameters = spec.change.parameters.clone().unwrap_or_default();
        let known = match &spec.provider {
            Some(id) => Some(self.ask_catalog(access, id, &spec.secret, &parameters).await?),
            None => None,
        };
        let (mut base_url, mut inject) = (spec.base_url, spec.inject);
        let (mut aliases, mut public, mut costs) = (BTreeMap::new(), Vec::new(), Vec::new());
        if let Some(known) = known {
            base_url.get_or_insert(known.base_url);
            inject.get_or_insert(known.inject);
            (aliases, public, costs) = (known.aliases, known.public, known.costs);
        }
        let mut settings = ConnectionSettings {
            provider: spec.provider,
            base_url: base_url.ok_or_else(|| {
                invalid("base_url", "must be given where no provider is: where calls go")
            })?,
            secret: spec.secret,
            inject: inject.ok_or_else(|| {
                let rule =
                    "must be given where no provider is: how the credential gets into a request";
                invalid("inject", rule)
            })?,
            parameters,
            aliases,
            public,
            allow_internal: false,
            allow_plaintext: false,
            path_rules: keyreeve_core::egress::PathRules::default(),
            restrictions: keyreeve_core::restriction::Restrictions::default(),
            costs,
            clients: Vec::new(),
            limits: CallLimits::default(),
            patience: Patience::default(),
            cache: None,
        };
        spec.change.apply(&mut settings);
        Ok(settings)
    }

    async fn ask_catalog(
        &self,
        access: &VaultAccess,
        id: &str,
        secret: &SecretPath,
        parameters: &BTreeMap<String, String>,
    ) -> Result<provider::FromCatalog, VaultError> {
        let types = self.credential_types.as_ref();
        let found = types.and_then(|types| types.provider(id));
        let Some((provider, document)) = found else {
            return Err(invalid(
                "provider",
                "is not in the catalogue: see `keyreeve catalog list`",
            ));
        };
        let found = self.known_secret(access.project(), secret)?;
        let found = found.ok_or_else(|| VaultError::NotFound(secret.clone()))?;
        if let Some(other) = found.about.provider.as_deref().filter(|other| *other != id) {
            let rule = format!("is a credential of {other}, by its form: it would be sent to {id}");
            return Err(invalid("secret", rule));
        }
        let fields = self.open_version_for(access, secret, found.current).await?;
        provider::from_catalog(provider, document, parameters, &fields).map_err(VaultError::Invalid)
    }

    /// Whether the current version is enough for the connection's templates. One that is not there yet is
    /// left for later.
    async fn check_against_secret(
        &self,
        access: &VaultAccess,
        stored: &StoredConnection,
    ) -> Result<(), VaultError> {
        let connection = Connection::try_from(stored.clone()).map_err(VaultError::Invalid)?;
        let path = &stored.settings.secret;
        let Some(secret) = self.known_secret(access.project(), path)? else {
            if self.has_backend(access.project(), path) {
                return Ok(());
            }
            return Err(invalid("secret", "must exist: there is nothing at this path"));
        };
        let keyreeve_core::vault::Found::Readable(version, _) = secret.find(None, self.now())
        else {
            return Err(invalid("secret", "must have a version that can be read"));
        };
        let fields = self.open_version_for(access, path, version).await?;
        let made = connection.credential(version, false, &fields);
        made.map(drop).map_err(|why| invalid("secret", why.to_string()))
    }

    async fn keep_connection<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        stored: StoredConnection,
        follows: u64,
        action: &'static str,
    ) -> Result<Arc<Connection>, VaultError> {
        let project = permit.project();
        let kind = RecordKind::Connection;
        let record = self.tagged_record(project, kind, &stored.name, &stored, follows)?;
        let mut entry = permit.entry(self.now(), Target::new("connection", &stored.name));
        entry.action = action.into();
        let settings = &stored.settings;
        entry.details.insert("base_url".to_owned(), json!(settings.base_url));
        entry.details.insert("secret".to_owned(), json!(settings.secret.as_str()));
        entry.details.insert("inject".to_owned(), json!(settings.inject["kind"]));
        entry.details.insert("allow_internal".to_owned(), json!(settings.allow_internal));
        entry.details.insert("allow_plaintext".to_owned(), json!(settings.allow_plaintext));
        entry.details.insert("enabled".to_owned(), json!(stored.enabled));
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        Connection::try_from(stored).map(Arc::new).map_err(VaultError::Invalid)
    }

    /// All connections of the project, by name.
    pub fn connections(
        &self,
        permit: &Permit<'_, ReadConnections>,
    ) -> Result<Vec<Arc<Connection>>, VaultError> {
        let all = self.all_kept::<Connection>(permit.project(), RecordKind::Connection)?;
        Ok(all.into_iter().map(|kept| kept.body).collect())
    }

    /// One connection.
    pub fn connection(
        &self,
        permit: &Permit<'_, ReadConnections>,
        name: &str,
    ) -> Result<Arc<Connection>, VaultError> {
        let found = self.known_connection(permit.project(), name)?;
        found.ok_or_else(|| Error::NotFound(Kind::Connection).into())
    }

    /// Changes a connection. Where the secret goes is decided anew by whoever changes that, so they must
    /// be allowed to read it.
    pub async fn update_connection(
        &self,
        permit: &Permit<'_, ManageConnections>,
        name: &str,
        change: ConnectionChange,
    ) -> Result<Arc<Connection>, VaultError> {
        let project = permit.project();
        let kept = self.kept::<Connection>(project, RecordKind::Connection, name)?;
        let kept = kept.ok_or(Error::NotFound(Kind::Connection))?;
        let old = &kept.body;
        let mut stored = StoredConnection {
            name: old.name.clone(),
            settings: old.settings.clone(),
            enabled: change.enabled.unwrap_or(old.enabled),
            created_at: old.created_at,
            updated_at: self.now(),
            created_by: old.created_by.clone(),
        };
        change.apply(&mut stored.settings);
        if stored.settings == old.settings && stored.enabled == old.enabled {
            return Ok(kept.body);
        }
        if stored.settings != old.settings {
            let access = self.vault_access(permit.caller()).await?;
            self.permit_path(&access, Capability::Read, &stored.settings.secret).await?;
            self.check_against_secret(&access, &stored).await?;
        }
        self.keep_connection(permit, stored, kept.revision, "connection.update").await
    }

    /// Records that all calls of the project that are going on are ended. Whoever moves their bytes ends
    /// them after that.
    pub async fn note_cut(&self, permit: &Permit<'_, ManageConnections>) -> Result<(), Error> {
        let mut entry = permit.entry(self.now(), Target::new("project", permit.project()));
        entry.action = "connection.cut".into();
        self.begin(permit.project()).commit(entry).await?;
        Ok(())
    }

    /// Removes a connection. Calls that are going on end as they end.
    pub async fn remove_connection(
        &self,
        permit: &Permit<'_, ManageConnections>,
        name: &str,
    ) -> Result<(), VaultError> {
        let project = permit.project();
        let kept = self.kept::<Connection>(project, RecordKind::Connection, name)?;
        let kept = kept.ok_or(Error::NotFound(Kind::Connection))?;
        let mut entry = permit.entry(self.now(), Target::new("connection", name));
        entry.action = "connection.delete".into();
        let gone = Change::DeleteRecord {
            kind: RecordKind::Connection,
            id: name.into(),
            revision: kept.revision,
        };
        self.begin(project).with(gone).commit(entry).await?;
        self.connections.forget(project, name);
        Ok(())
    }
}
