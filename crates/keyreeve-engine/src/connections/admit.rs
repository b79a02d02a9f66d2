//! From a request to a call that may be made, and the credential for it. Nothing here waits, unless
//! the credential was changed since the last call.

use std::{net::IpAddr, sync::Arc};

use jiff::SignedDuration;
use keyreeve_core::{
    audit::Outcome,
    egress::{Target, TargetFault},
    key::KeyId,
    name::ProjectName,
    restriction::{RequestFacts, Restricted},
    vault::{Found, SecretRecord, VersionNumber},
};
use serde_json::json;

use super::{
    Connection, Credential, Slot,
    client_token::{CLIENT_TOKEN_PREFIX, ClientToken},
    credential::Unusable,
    limits::{Spent, Subjects},
    state::{Made, State},
};
use crate::{
    AuthenticationError, Engine, Error, RequestMeta, TooMany,
    denials::DenialKind,
    store::RecordKind,
    vault::{VaultAccess, VaultError},
    verify::Chain,
};

/// What every connection may be called with.
pub(super) const CALL_ANY: &str = "keyreeve.connections.call";

/// A call that somebody wants to make.
pub struct ProxyCall<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The key or token that was shown.
    pub credential: &'a str,
    /// The request.
    pub meta: RequestMeta,
    /// The method.
    pub method: &'a str,
    /// The host it was sent to: ours.
    pub host: Option<&'a str>,
    /// Where a browser was.
    pub origin: Option<&'a str>,
    /// The whole path, as the client sent it.
    pub path: &'a str,
    /// What of it stands behind the connection's name.
    pub rest: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// With which user agent.
    pub user_agent: Option<&'a str>,
}

/// A call that may be made.
#[derive(Debug)]
pub struct Admitted {
    /// Through which connection.
    pub connection: Arc<Connection>,
    /// To which path.
    pub target: Target,
    /// With what.
    pub credential: Arc<Credential>,
    /// For whom.
    pub client: Client,
    /// What it costs.
    pub units: u32,
    /// What was taken for that, to be given back if the service is not asked.
    pub spent: Spent,
    /// Its place among the calls that are going on.
    pub slot: Slot,
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Client {
    /// The tenant.
    pub project: ProjectName,
    /// The key that calls, or that made the token.
    pub key: KeyId,
    /// The token, if one calls.
    pub token: Option<Arc<ClientToken>>,
}

impl Client {
    /// What tells it from other clients.
    pub fn name(&self) -> String {
        match &self.token {
            Some(token) => token.id.clone(),
            None => self.key.to_string(),
        }
    }
}

/// A client whose credential was good.
struct ClientCaller {
    project: ProjectName,
    chain: Chain,
    token: Option<Arc<ClientToken>>,
}

/// Whether a key is one of those that the connection is for.
fn is_client(connection: &Connection, chain: &Chain) -> bool {
    let clients = &connection.settings.clients;
    let (id, owner) = (chain.key.id(), chain.key.owner_id());
    let is_owner = |it: &str| it.strip_prefix("owner:").is_some_and(|it| Some(it) == owner);
    clients.is_empty() || clients.iter().any(|it| it == id.as_str() || is_owner(it))
}

/// Why a call is not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallRefused {
    /// The credential does not let its bearer in.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The credential is good, but not for this connection.
    #[error("the credential may not call through this connection: it lacks {missing}")]
    NotAllowed {
        /// What it lacks.
        missing: String,
    },
    /// The page that calls is none of those that may.
    #[error("the connection may not be called by pages of this origin")]
    Origin,
    /// The token is good, but not for this call.
    #[error("the token may not make this call: {0}")]
    NotForToken(&'static str),
    /// There is none of that name that the credential may know of.
    #[error("there is no connection of that name")]
    NoSuchConnection,
    /// It is switched off.
    #[error("the connection is disabled")]
    Disabled,
    /// The path is not one that is passed on.
    #[error(transparent)]
    Target(#[from] TargetFault),
    /// The connection's own rules.
    #[error("the connection does not allow this: {0}")]
    Restricted(Restricted),
    /// A limit is reached.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Too many calls are going on.
    #[error("at most {most} calls may go on at once through this connection")]
    TooManyAtOnce {
        /// How many may.
        most: u32,
    },
    /// There is no credential to call with.
    #[error("the connection's credential cannot be used: {0}")]
    NoCredential(String),
    /// The vault did nothing.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Too many calls wait to be recorded: what cannot be recorded is not done.
    #[error("calls cannot be recorded now, so none is made")]
    NotRecorded,
    /// Other nodes may have done what is not known here.
    #[error("this node may have missed changes and lets nobody in")]
    Stale,
}

impl CallRefused {
    /// What the audit calls it.
    fn code(&self) -> &'static str {
        match self {
            Self::Authentication(_) => "authentication",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Origin => "origin",
            Self::NotForToken(_) => "token",
            Self::NoSuchConnection => "no_such_connection",
            Self::Disabled => "disabled",
            Self::Target(_) => "path",
            Self::Restricted(_) => "restricted",
            Self::TooMany(_) => "rate",
            Self::TooManyAtOnce { .. } => "concurrency",
            Self::NoCredential(_) => "no_credential",
            Self::Vault(_) => "vault",
            Self::NotRecorded => "not_recorded",
            Self::Stale => "stale",
        }
    }
}

impl Engine {
    /// Lets a client call through a connection: who it is, whether it may, how much, and with what.
    pub async fn admit_call(&self, call: &ProxyCall<'_>) -> Result<Admitted, CallRefused> {
        if !self.can_vouch() {
            return Err(CallRefused::Stale);
        }
        let facts = RequestFacts {
            origin: call.origin,
            method: Some(call.method),
            host: call.host,
            path: Some(call.path),
            ..RequestFacts::default()
        };
        let caller = self.caller_of(call, facts).await?;
        let admitted = self.admit_caller_to(&caller, call).await;
        if let Err(refused) = &admitted {
            // What the caller made up is not repeated: it could be anything.
            let known = self.known_connection(&caller.project, call.connection);
            let connection = known.ok().flatten().map(|it| it.name.clone());
            let key = Some(caller.chain.key.id());
            let kind = DenialKind::Call { key, connection, code: refused.code() };
            self.denials.count(&caller.project, kind);
        }
        admitted
    }

    /// Who calls: the holder of a key, or of a token that was made with one.
    async fn caller_of(
        &self,
        call: &ProxyCall<'_>,
        facts: RequestFacts<'_>,
    ) -> Result<ClientCaller, CallRefused> {
        if call.credential.starts_with(CLIENT_TOKEN_PREFIX) {
            let (project, token, chain) = Box::pin(self.client_of_token(call)).await?;
            return Ok(ClientCaller { project, chain, token: Some(token) });
        }
        let caller =
            self.authenticate(call.credential, call.meta, facts, call.user_agent, false).await?;
        self.admit_caller(&caller)?;
        let chain = caller.calling_key().cloned().ok_or(CallRefused::NoSuchConnection)?;
        Ok(ClientCaller { project: caller.project().clone(), chain, token: None })
    }

    async fn admit_caller_to(
        &self,
        caller: &ClientCaller,
        call: &ProxyCall<'_>,
    ) -> Result<Admitted, CallRefused> {
        let ClientCaller { project, chain, token } = caller;
        if let Some(token) = token
            && !token.connections.iter().any(|name| name == call.connection)
        {
            // First: it tells nothing of what else there is.
            return Err(CallRefused::NotForToken("it is for other connections"));
        }
        let connection = self.known_connection(project, call.connection)?;
        let Some(connection) = connection else {
            // Whoever may call through all may know which there are.
            if chain.may(CALL_ANY) {
                return Err(CallRefused::NoSuchConnection);
            }
            let missing = "the permission to call through it".to_owned();
            return Err(CallRefused::NotAllowed { missing });
        };
        if !chain.may(CALL_ANY) && !chain.may(&connection.permission) {
            return Err(CallRefused::NotAllowed { missing: connection.permission.clone() });
        }
        if !connection.enabled {
            return Err(CallRefused::Disabled);
        }
        if !is_client(&connection, chain) {
            let missing = "a place among the connection's clients".to_owned();
            return Err(CallRefused::NotAllowed { missing });
        }
        if call.origin.is_some_and(|origin| !connection.allows_origin(origin)) {
            return Err(CallRefused::Origin);
        }
        if self.calls.is_full() {
            return Err(CallRefused::NotRecorded);
        }
        let target = Target::parse(call.rest, call.query, connection.settings.path_rules)?;
        if let Some(token) = token {
            let host = connection.settings.base_url.origin.host().as_str();
            token.check(call, host, target.path())?;
        }
        self.check_restrictions(&connection, call, &target)?;
        let state = self.state_of(project, &connection);
        let id = chain.key.id();
        let client = token.as_ref().map_or(id.as_str(), |token| token.id.as_str());
        let subject = |of: &[&str]| self.subject_hash(of);
        let (tenant, name) = (project.as_str(), connection.name.as_str());
        // Only where they are counted.
        let subjects = Subjects {
            calls: connection.rate_per_client.map(|rate| (rate, subject(&[tenant, name, client]))),
            units: connection
                .spend_per_client
                .map(|rate| (rate, subject(&[tenant, name, client, "units"]))),
        };
        let units = connection.units_of(call.method, target.path());
        let (slot, spent) = self.take_call(&connection, state, &subjects, units)?;
        let credential = match self.credential_of(project, &connection, call.meta).await {
            Ok(credential) => credential,
            Err(refused) => {
                self.give_back(spent);
                return Err(refused);
            }
        };
        let client = Client { project: project.clone(), key: id, token: token.clone() };
        Ok(Admitted { connection, target, credential, client, units, spent, slot })
    }

    /// The counts of a connection, looked up once for each of its settings.
    fn state_of<'c>(&self, project: &ProjectName, connection: &'c Connection) -> &'c Arc<State> {
        connection.state.get_or_init(|| self.connections.of(project, connection))
    }

    fn check_restrictions(
        &self,
        connection: &Connection,
        call: &ProxyCall<'_>,
        target: &Target,
    ) -> Result<(), CallRefused> {
        let restrictions = &connection.settings.restrictions;
        if restrictions.is_empty() {
            return Ok(());
        }
        let facts = RequestFacts {
            ip: call.meta.ip,
            country: self.country_for(restrictions, call.meta.ip),
            origin: call.origin,
            method: Some(call.method),
            host: Some(connection.settings.base_url.origin.host().as_str()),
            path: Some(target.path()),
        };
        restrictions.check(&facts, self.now(), false).map_err(CallRefused::Restricted)
    }

    /// The connection of that name, as this node knows it.
    pub(super) fn known_connection(
        &self,
        project: &ProjectName,
        name: &str,
    ) -> Result<Option<Arc<Connection>>, VaultError> {
        let kept = self.kept::<Connection>(project, RecordKind::Connection, name)?;
        Ok(kept.map(|kept| kept.body))
    }

    /// The credential of a connection: what is current, unless the service refuses that and takes what was
    /// current before.
    async fn credential_of(
        &self,
        project: &ProjectName,
        connection: &Arc<Connection>,
        meta: RequestMeta,
    ) -> Result<Arc<Credential>, CallRefused> {
        // What waits, which is seldom, is boxed: else each call would carry its room about.
        let path = &connection.settings.secret;
        let access = || VaultAccess::of_connection(project.clone(), &connection.name, meta);
        if self.has_backend(project, path) {
            Box::pin(self.follow_secret(&access(), path)).await?;
        }
        // Before anything is looked at: a change that comes meanwhile is one that was not seen.
        let secret_changes = self.secret_changes();
        if let Some(credential) = self.credential_at_hand(project, connection, secret_changes)? {
            return Ok(credential);
        }
        let state = self.state_of(project, connection);
        let secret = match self.known_secret(project, path) {
            Ok(secret) => secret,
            Err(error) => {
                return Err(Box::pin(self.tampering_seen(&access(), error)).await.into());
            }
        };
        let is_refused = |version| state.rejections.is_refused(version);
        let found = secret.and_then(|it| Some((wanted(&it, self.now(), is_refused)?, it)));
        let Some((version, secret)) = found else {
            // Nobody calls with what it was any more.
            self.vault.made_credentials(|all| all.forget(project, &connection.name));
            return Err(nothing_there(path));
        };
        let has_previous = version == secret.current && secret.previous != 0;
        // The change may have been of another secret.
        let same = |made: &Made| {
            let credential = &made.credential;
            let is_same = Arc::ptr_eq(&made.connection, connection)
                && made.secret.id == secret.id
                && credential.version == version
                && credential.has_previous == has_previous;
            is_same.then(|| credential.clone())
        };
        let made = self.vault.made_credentials(|made| made.look(project, &connection.name, same));
        let credential = if let Some(made) = made.ok_or(VaultError::Sealed)? {
            made
        } else {
            let access = access();
            Box::pin(self.make_credential(&access, connection, version, has_previous)).await?
        };
        let connection = connection.clone();
        let made = Made { connection, credential: credential.clone(), secret, secret_changes };
        self.vault.made_credentials(|all| all.keep(project, made));
        Ok(credential)
    }

    /// The credential that was made before, if no secret has changed since.
    fn credential_at_hand(
        &self,
        project: &ProjectName,
        connection: &Arc<Connection>,
        secret_changes: u64,
    ) -> Result<Option<Arc<Credential>>, VaultError> {
        let state = self.state_of(project, connection);
        let at_hand = |made: &Made| {
            let is_same =
                Arc::ptr_eq(&made.connection, connection) && made.secret_changes == secret_changes;
            let is_refused = |version| state.rejections.is_refused(version);
            // A version can also end by itself, or be refused by the service.
            let version = is_same.then(|| wanted(&made.secret, self.now(), is_refused)).flatten();
            (version == Some(made.credential.version)).then(|| made.credential.clone())
        };
        let made =
            self.vault.made_credentials(|made| made.look(project, &connection.name, at_hand));
        made.ok_or(VaultError::Sealed)
    }

    /// Opens a version and makes a credential of it. Durable in the audit before it is used: it is a use
    /// of the secret, once for all calls until something changes.
    async fn make_credential(
        &self,
        access: &VaultAccess,
        connection: &Connection,
        version: VersionNumber,
        has_previous: bool,
    ) -> Result<Arc<Credential>, CallRefused> {
        let path = &connection.settings.secret;
        let fields = self.open_version_for(access, path, version).await?;
        let credential =
            connection.credential(version, has_previous, &fields).map_err(|why: Unusable| {
                CallRefused::NoCredential(format!("the secret {path} {why}"))
            })?;
        let mut entry = access.entry(self, "secret.inject", path.as_str(), Outcome::Done);
        entry.details.insert("version".to_owned(), json!(version));
        entry.details.insert("connection".to_owned(), json!(connection.name));
        self.begin(access.project())
            .commit(entry)
            .await
            .map_err(|it| VaultError::from(Error::from(it)))?;
        Ok(Arc::new(credential))
    }

    /// The service refused a credential. After some refusals in a row the version that was current
    /// before is used, if it can be; gives that, for the call to be made again with it.
    pub async fn credential_refused(
        &self,
        client: &Client,
        connection: &Arc<Connection>,
        version: VersionNumber,
        meta: RequestMeta,
    ) -> Result<Option<Arc<Credential>>, CallRefused> {
        /// Fewer could be a service that has not heard of the new one everywhere.
        const REFUSALS: u32 = 3;
        /// For how long a version is new.
        const YOUNG: SignedDuration = SignedDuration::from_hours(24);
        let project = &client.project;
        let state = self.state_of(project, connection);
        let secret = self.known_secret(project, &connection.settings.secret)?;
        let Some(secret) = secret.filter(|secret| secret.current == version) else {
            return Ok(None);
        };
        // Long after a promotion a refusal says something else.
        let since = secret.versions.get(&version).map(|meta| meta.created_at);
        let is_young = since.is_some_and(|since| self.now().duration_since(since) < YOUNG);
        let has_previous = matches!(
            secret.find(Some(secret.previous), self.now()),
            Found::Readable(..) if secret.previous != 0
        );
        if !is_young || state.rejections.count(version) < REFUSALS || !has_previous {
            return Ok(None);
        }
        if state.rejections.refuse(version) {
            let access = VaultAccess::of_connection(project.clone(), &connection.name, meta);
            let path = connection.settings.secret.as_str();
            let mut entry = access.entry(self, "connection.rollback_wanted", path, Outcome::Denied);
            entry.details.insert("connection".to_owned(), json!(connection.name));
            entry.details.insert("refused_version".to_owned(), json!(version));
            entry.details.insert("used_version".to_owned(), json!(secret.previous));
            tracing::warn!(
                connection = connection.name,
                refused_version = version,
                used_version = secret.previous,
                "the service refuses the current version of a credential: the previous one is used"
            );
            let noted = self.begin(project).commit(entry).await;
            noted.map_err(|it| VaultError::from(Error::from(it)))?;
        }
        self.credential_of(project, connection, meta).await.map(Some)
    }

    /// The service took a credential.
    pub fn credential_accepted(
        &self,
        client: &Client,
        connection: &Connection,
        version: VersionNumber,
    ) {
        self.state_of(&client.project, connection).rejections.accepted(version);
    }

    /// Whether any connection of that name, of whichever project, may be called by pages of that origin.
    /// Browsers ask so before they show a credential.
    pub fn any_connection_allows_origin(&self, name: &str, origin: &str) -> bool {
        let named = self.kept_anywhere::<Connection>(RecordKind::Connection, name);
        named.is_ok_and(|all| all.iter().any(|(_, kept)| kept.body.allows_origin(origin)))
    }

    fn country_for(
        &self,
        restrictions: &keyreeve_core::restriction::Restrictions,
        ip: Option<IpAddr>,
    ) -> keyreeve_core::restriction::Country {
        use keyreeve_core::restriction::Country;
        if !restrictions.needs_country() {
            return Country::NotAsked;
        }
        match (&self.countries, ip) {
            (None, _) => Country::NoDatabase,
            (Some(_), None) => Country::Unknown,
            (Some(countries), Some(ip)) => {
                countries.country_of(ip).map_or(Country::Unknown, Country::Known)
            }
        }
    }
}

/// The version that calls are made with: the current one; the one before if the service refuses that.
fn wanted(
    secret: &SecretRecord,
    now: jiff::Timestamp,
    is_refused: impl Fn(VersionNumber) -> bool,
) -> Option<VersionNumber> {
    let readable = |asked| match secret.find(asked, now) {
        Found::Readable(version, _) => Some(version),
        Found::Gone(..) | Found::Missing => None,
    };
    let current = readable(None)?;
    if is_refused(current) && secret.previous != 0 {
        return readable(Some(secret.previous)).or(Some(current));
    }
    Some(current)
}

fn nothing_there(path: &keyreeve_core::vault::SecretPath) -> CallRefused {
    CallRefused::NoCredential(format!("there is nothing to be read at {path}"))
}
