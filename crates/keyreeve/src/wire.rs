//! The composition root: from settings to a running installation. Everything that could be a
//! global elsewhere is made here, once, and passed on.

mod backends;
mod data_plane;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use jiff::SignedDuration;
use keyreeve_core::{
    Secret,
    audit::{Checkpoint, CheckpointSigner, CheckpointVerifier},
    key::{Digester, Pepper, foreign::HmacSecret},
};
use keyreeve_engine::{
    Clock, Countries, Engine, EngineOptions, Entropy, FirstKey, ServiceLimits, SharedCounting,
    store::Store,
    vault::{BackendOptions, Seal, Unlock, VaultState},
};
use keyreeve_server::{AuthorizerOptions, Limits, MetricsAccess, ServerOptions, TlsOptions};
use keyreeve_store::{
    postgres::{self, PostgresOptions},
    sqlite::{self, SqliteOptions},
    valkey::{self, ValkeyOptions},
};

pub(crate) use self::data_plane::Gateway;
use crate::{
    catalogue::CatalogTypes,
    config::{
        self, Config,
        secret::{SecretError, SecretReference},
    },
    countries::CountryDatabase,
    environment::Environment,
    installation::{Anchor, DataFolder, FolderLock},
    system::{SystemClock, SystemEntropy},
};
use tracing::warn;

/// Units of work that may wait to be written before new ones are refused.
const WRITE_QUEUE: usize = 10_000;

/// How often a node looks for what others did before its knowledge would be too old: it may fail to
/// get an answer once or twice and still vouch.
const BEATS_PER_BOUND: u32 = 5;

/// The shortest secret that gateways may show, in bytes.
const SHORTEST_GATEWAY_SECRET: usize = 16;

/// What only a serving engine needs. Read before the data folder is touched, so that a wrong
/// setting leaves nothing behind.
pub(crate) struct Policy {
    limits: ServiceLimits,
    countries: Option<Arc<dyn Countries>>,
    import_secret: Option<HmacSecret>,
    /// As the settings name it; else it is in the data folder.
    root_key: Option<Result<Secret<Vec<u8>>, SecretError>>,
    /// The passphrase that it comes from instead.
    passphrase: Option<Result<Secret<Vec<u8>>, SecretError>>,
    catalog: CatalogTypes,
    /// Other stores that hold secrets.
    backends: Vec<BackendOptions>,
}

impl Policy {
    /// Reads the files and secrets that the settings name.
    pub(crate) fn read(config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        let countries: Option<Arc<dyn Countries>> = match &config.geo.database {
            Some(path) => Some(Arc::new(CountryDatabase::open(path)?)),
            None => None,
        };
        let import_secret = import_secret(config, environment)?;
        let read = |reference: &SecretReference| reference.resolve(environment);
        let root_key = config.vault.root_key.as_ref().map(read);
        let passphrase = config.vault.passphrase.as_ref().map(read);
        let limits = config.limits.clone();
        let catalog = CatalogTypes::open(config.catalog.folder.as_deref())?;
        let backends = backends::open(&config.backends, environment)?;
        Ok(Self { limits, countries, import_secret, root_key, passphrase, catalog, backends })
    }
}

/// An installation whose data folder is ours and whose store is open.
pub(crate) struct Installation {
    pub(crate) folder: DataFolder,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) anchor: Anchor,
    entropy: Arc<dyn Entropy>,
    digester: Digester,
    verifier: CheckpointVerifier,
    idempotency_keep: SignedDuration,
    bound: Duration,
    shared: Option<SharedCounting>,
    most_keys_in_memory: Option<usize>,
    lock: FolderLock,
}

impl Installation {
    /// Makes or opens the data folder, and refuses a database that is behind its anchor.
    pub(crate) async fn open(config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        let folder = DataFolder::at(&config.store.data_dir);
        let lock = folder.open()?;
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
        let digester = digester(config, environment)?;
        let signer = folder.audit_signer(&*entropy)?;
        let verifier = signer.verifier();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = open_store(config, environment, &folder, signer, &clock, &*entropy).await?;
        let anchor = Anchor::new(folder.clone(), verifier.clone());
        let head = match store.checkpoint().await? {
            Some(note) => Some(Checkpoint::parse_note(&note)?),
            None => None,
        };
        Anchor::compare(anchor.read()?.as_ref(), head.as_ref())?;
        let idempotency_keep = config.idempotency.keep;
        Ok(Self {
            folder,
            store,
            clock,
            anchor,
            entropy,
            digester,
            verifier,
            idempotency_keep,
            bound: config.cluster.bound,
            shared: shared_counting(config, environment)?,
            most_keys_in_memory: config.keys.most_in_memory,
            lock,
        })
    }

    /// Sets the installation up unless it is; gives the first key if this call made it.
    pub(crate) async fn set_up(&self) -> anyhow::Result<Option<FirstKey>> {
        let uid = rustix::process::geteuid().as_raw();
        let (store, clock) = (&*self.store, &*self.clock);
        Ok(FirstKey::ensure(store, clock, &*self.entropy, &self.digester, uid).await?)
    }

    /// Starts the engine. The lock and the anchor stay with the caller for as long as it runs.
    pub(crate) async fn start(self, policy: Policy) -> anyhow::Result<(Arc<Engine>, Running)> {
        let engine = Engine::start(EngineOptions {
            store: self.store.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            digester: self.digester,
            audit_public_key: self.verifier.to_string(),
            idempotency_keep: self.idempotency_keep,
            limits: policy.limits,
            countries: policy.countries,
            import_secret: policy.import_secret,
            bound: self.bound,
            shared: self.shared,
            most_keys_in_memory: self.most_keys_in_memory,
            credential_types: Some(Arc::new(policy.catalog)),
            backends: policy.backends,
        })
        .await
        .context("the stored keys could not be loaded")?;
        let (root_key, passphrase) = (policy.root_key, policy.passphrase);
        if let Err(error) =
            open_vault(&engine, &self.folder, &*self.entropy, root_key, passphrase).await
        {
            warn!(error = format!("{error:#}"), "the vault stays sealed");
        }
        let running =
            Running { store: self.store, clock: self.clock, anchor: self.anchor, _lock: self.lock };
        Ok((Arc::new(engine), running))
    }
}

/// Opens the vault if its root key can be had. If not, everything else is served all the same: whoever
/// asks for a secret is told that the vault is sealed.
async fn open_vault(
    engine: &Engine,
    folder: &DataFolder,
    entropy: &dyn Entropy,
    root_key: Option<Result<Secret<Vec<u8>>, SecretError>>,
    passphrase: Option<Result<Secret<Vec<u8>>, SecretError>>,
) -> anyhow::Result<()> {
    let unlock = match (engine.vault_seal(), passphrase) {
        (Some(Seal::Shares { threshold, .. }), _) => {
            anyhow::bail!("it waits for {threshold} shares: `keyreeve vault unseal` takes them")
        }
        (Some(Seal::Passphrase { .. }), None) => {
            anyhow::bail!("it waits for its passphrase: `keyreeve vault unseal` takes it")
        }
        (None | Some(Seal::Passphrase { .. }), Some(passphrase)) => {
            // EXPOSE: copied as text.
            let text = String::from_utf8(passphrase?.expose().clone());
            Unlock::Passphrase(Secret::new(text.context("vault.passphrase is not UTF-8")?))
        }
        (None | Some(Seal::Key), _) => {
            let is_new = engine.vault_state() == VaultState::New;
            let given = root_key.transpose()?;
            Unlock::Key(folder.root_key(given.as_ref(), entropy, is_new)?)
        }
    };
    Ok(engine.open_vault(unlock).await?)
}

/// What a running installation holds besides its engine.
pub(crate) struct Running {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) anchor: Anchor,
    _lock: FolderLock,
}

impl Running {
    /// Writes the current tree head outside the database.
    pub(crate) async fn write_anchor(&mut self) -> anyhow::Result<()> {
        if let Some(note) = self.store.checkpoint().await? {
            self.anchor.write(&note)?;
        }
        Ok(())
    }
}

/// The store that the settings name: a file in the folder, or a database that nodes share.
async fn open_store(
    config: &Config,
    environment: &Environment,
    folder: &DataFolder,
    signer: CheckpointSigner,
    clock: &Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> anyhow::Result<Arc<dyn Store>> {
    let Some(url) = &config.store.url else {
        let options = SqliteOptions {
            path: folder.database(),
            readers: config.store.readers,
            queue_limit: WRITE_QUEUE,
        };
        return Ok(Arc::new(sqlite::open(options, signer)?));
    };
    // Never the same twice, so that what an earlier process did counts as done by another.
    let node = format!("{:032x}", u128::from_le_bytes(entropy.bytes()?));
    let options = PostgresOptions {
        url: url.resolve(environment)?,
        authorities: config.store.authorities.clone(),
        readers: config.store.readers,
        queue_limit: WRITE_QUEUE,
        beat: config.cluster.bound / BEATS_PER_BOUND,
        node,
        clock: clock.clone(),
    };
    // It waits for the network, which would stop every other task of this thread.
    let opened = tokio::task::spawn_blocking(move || postgres::open(options, signer)).await;
    Ok(Arc::new(opened.context("the database could not be opened")??))
}

/// The database that nodes share, as the settings name it.
pub(crate) struct SharedDatabase {
    /// Where it is. May hold a password.
    pub(crate) url: Secret<String>,
    /// Whose certificates its server may show; the system's authorities if `None`.
    pub(crate) authorities: Option<PathBuf>,
}

/// The database that nodes share, if there is one.
pub(crate) fn shared_database(
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<Option<SharedDatabase>> {
    let Some(url) = &config.store.url else { return Ok(None) };
    let authorities = config.store.authorities.clone();
    Ok(Some(SharedDatabase { url: url.resolve(environment)?, authorities }))
}

/// Where all nodes count together, if the settings name a place.
fn shared_counting(
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<Option<SharedCounting>> {
    let Some(options) = valkey_options(config, environment)? else { return Ok(None) };
    let counts = Arc::new(valkey::open(&options)?);
    Ok(Some(SharedCounting { counts, outage_per_mille: config.valkey.outage_per_mille }))
}

/// How the settings say that the Valkey server is reached.
pub(crate) fn valkey_options(
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<Option<ValkeyOptions>> {
    let Some(url) = &config.valkey.url else { return Ok(None) };
    Ok(Some(ValkeyOptions {
        url: url.resolve(environment)?,
        authorities: config.valkey.authorities.clone(),
        timeout: config.valkey.timeout,
        prefix: config.valkey.prefix.clone(),
    }))
}

fn digester(config: &Config, environment: &Environment) -> anyhow::Result<Digester> {
    let Some(reference) = &config.keys.pepper else {
        return Ok(Digester::default());
    };
    let secret = reference.resolve(environment)?;
    let pepper = Pepper::new(&secret)
        .map_err(|rule| anyhow::anyhow!("the secret {reference} (keys.pepper) {rule}"))?;
    Ok(Digester::new(Some(pepper)))
}

fn import_secret(config: &Config, environment: &Environment) -> anyhow::Result<Option<HmacSecret>> {
    let Some(reference) = &config.import.hmac_secret else {
        return Ok(None);
    };
    let secret = HmacSecret::new(&reference.resolve(environment)?)
        .map_err(|rule| anyhow::anyhow!("the secret {reference} (import.hmac_secret) {rule}"))?;
    Ok(Some(secret))
}

/// What gateways are told; `None` if none is to be answered.
fn authorizer(
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<Option<Arc<AuthorizerOptions>>> {
    let Some(reference) = &config.authz.secret else {
        return Ok(None);
    };
    let secret = reference.resolve(environment)?;
    // EXPOSE: to cut off a line end, which no header can carry, and to look at its length.
    let secret = secret.expose();
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    anyhow::ensure!(
        secret.len() >= SHORTEST_GATEWAY_SECRET,
        "the secret {reference} (authz.secret) must be at least {SHORTEST_GATEWAY_SECRET} bytes"
    );
    Ok(Some(Arc::new(AuthorizerOptions {
        secret: Secret::new(secret.to_vec()),
        project: config.authz.project.clone(),
        trusted: config.server.trusted_proxies.clone(),
    })))
}

/// The server's options as the settings have them.
pub(crate) fn server_options(
    config: &Config,
    environment: &Environment,
    socket: PathBuf,
) -> anyhow::Result<ServerOptions> {
    let server = &config.server;
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    Ok(ServerOptions {
        listen: server.listen,
        threads: server.threads.map_or_else(cores, usize::from),
        socket: Some(socket),
        tls: server.tls.as_ref().map(|tls| TlsOptions {
            certificate: tls.cert.clone(),
            key: tls.key.clone(),
            reload_interval: tls.reload_interval,
        }),
        allowed_origins: server.allowed_origins.clone(),
        metrics: match server.metrics {
            config::server::MetricsAccess::Open => MetricsAccess::Open,
            config::server::MetricsAccess::Authenticated => MetricsAccess::Authenticated,
        },
        limits: Limits {
            max_connections: server.max_connections,
            max_body_bytes: server.max_body_bytes,
            max_import_bytes: config.import.max_body_bytes,
            max_header_bytes: server.max_header_bytes,
            max_headers: server.max_headers,
            header_timeout: server.header_timeout,
            request_timeout: server.request_timeout,
            drain_timeout: server.drain_timeout,
        },
        trusted_proxies: server.trusted_proxies.clone(),
        authorizer: authorizer(config, environment)?,
    })
}

/// Where clients reach the server.
pub(crate) fn url(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}
