//! The settings: embedded defaults, then a file, then the environment, then flags.
//!
//! `keyreeve.default.toml` is the reference. A setting that is unknown, of the wrong type or out
//! of bounds stops the program with an error that names the setting, the rule and the source, and
//! never the value: it may be a secret in the wrong place.

pub(crate) mod audit;
pub(crate) mod authz;
pub(crate) mod backends;
pub(crate) mod cache;
pub(crate) mod catalog;
pub(crate) mod cluster;
pub(crate) mod geo;
pub(crate) mod idempotency;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod proxy;
pub(crate) mod secret;
pub(crate) mod secret_url;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod usage;
pub(crate) mod valkey;
pub(crate) mod vault;

mod fault;
mod layer;
mod limits;
mod rule;

pub(crate) use fault::ConfigError;
pub(crate) use layer::{ConfigFile, Flags};

use std::collections::BTreeMap;

use figment::Figment;
use keyreeve_engine::ServiceLimits;
use serde::Deserialize;

use self::{
    audit::{AuditConfig, RawAudit},
    authz::{AuthzConfig, RawAuthz},
    backends::{BackendConfig, RawBackend},
    cache::{CacheConfig, RawCache},
    catalog::{CatalogConfig, RawCatalog},
    cluster::{ClusterConfig, RawCluster},
    fault::{Faults, Rules},
    geo::{GeoConfig, RawGeo},
    idempotency::{IdempotencyConfig, RawIdempotency},
    import::{ImportConfig, RawImport},
    keys::{KeysConfig, RawKeys},
    limits::RawLimits,
    log::{LogConfig, RawLog},
    proxy::{ProxyConfig, RawProxy},
    server::{RawServer, ServerConfig},
    store::{RawStore, StoreConfig},
    usage::{RawUsage, UsageConfig},
    valkey::{RawValkey, ValkeyConfig},
    vault::{RawVault, VaultConfig},
};

/// The reference: every setting with its default.
pub(crate) const DEFAULTS: &str = include_str!("../keyreeve.default.toml");

/// Every setting, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// How requests are served.
    pub(crate) server: ServerConfig,
    /// Where data is kept.
    pub(crate) store: StoreConfig,
    /// How several nodes work together.
    pub(crate) cluster: ClusterConfig,
    /// Where all nodes count together.
    pub(crate) valkey: ValkeyConfig,
    /// How keys are kept.
    pub(crate) keys: KeysConfig,
    /// How use is counted.
    pub(crate) usage: UsageConfig,
    /// How the audit is signed.
    pub(crate) audit: AuditConfig,
    /// What is logged, and how.
    pub(crate) log: LogConfig,
    /// How long answers are kept for repeated requests.
    pub(crate) idempotency: IdempotencyConfig,
    /// How often the service may be called.
    pub(crate) limits: ServiceLimits,
    /// Who may ask for verdicts in the way gateways do.
    pub(crate) authz: AuthzConfig,
    /// How keys of another system are read.
    pub(crate) import: ImportConfig,
    /// Where addresses are.
    pub(crate) geo: GeoConfig,
    /// What is known of providers.
    pub(crate) catalog: CatalogConfig,
    /// Where the vault's root key is.
    pub(crate) vault: VaultConfig,
    /// How outside services are called.
    pub(crate) proxy: ProxyConfig,
    /// Other stores that hold secrets.
    pub(crate) backends: Vec<BackendConfig>,
    /// What clients keep for when the server cannot be reached.
    pub(crate) cache: CacheConfig,
}

/// Where settings come from, besides the defaults. Does not print: variables may hold secrets.
pub(crate) struct Sources<V> {
    /// The file.
    pub(crate) file: ConfigFile,
    /// Names and values of environment variables; those that are no settings are passed over.
    pub(crate) variables: V,
    /// What the command line says.
    pub(crate) flags: Flags,
}

/// The shape of the settings, before any value is judged.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    server: RawServer,
    store: RawStore,
    cluster: RawCluster,
    valkey: RawValkey,
    keys: RawKeys,
    usage: RawUsage,
    audit: RawAudit,
    log: RawLog,
    idempotency: RawIdempotency,
    limits: RawLimits,
    authz: RawAuthz,
    import: RawImport,
    geo: RawGeo,
    catalog: RawCatalog,
    vault: RawVault,
    proxy: RawProxy,
    backends: BTreeMap<String, RawBackend>,
    cache: RawCache,
}

impl Config {
    /// Reads all sources, lays them over one another and judges the outcome. Every fault that can
    /// be found at once is in the error.
    pub(crate) fn load<V>(sources: Sources<V>) -> Result<Self, ConfigError>
    where
        V: IntoIterator<Item = (String, String)>,
    {
        let mut faults = Faults::default();
        let layers = layer::all(sources, &mut faults);
        // Values are judged only where the shape is right: else one mistake shows up twice.
        faults.into_result()?;
        let figment = layers.into_iter().fold(Figment::new(), Figment::merge);
        match figment.extract::<RawConfig>() {
            Ok(raw) => {
                let mut rules = Rules::new(&figment);
                let config = raw.resolve(&mut rules);
                rules.into_result(config)
            }
            // The shape was checked against the defaults, so only a defect leads here.
            Err(error) => Err(ConfigError::single(
                error.path.join("."),
                "is not of the type that `keyreeve.default.toml` shows",
            )),
        }
    }
}

impl RawConfig {
    /// Judges every section before any is given up, so that all faults are found.
    fn resolve(self, rules: &mut Rules<'_>) -> Option<Config> {
        let server = self.server.resolve(rules);
        let store = self.store.resolve(rules);
        let cluster = self.cluster.resolve(rules);
        let valkey = self.valkey.resolve(rules);
        let keys = self.keys.resolve(rules);
        let usage = self.usage.resolve(rules);
        let audit = self.audit.resolve(rules);
        let log = self.log.resolve(rules);
        let idempotency = self.idempotency.resolve(rules);
        let limits = self.limits.resolve(rules);
        let authz = self.authz.resolve(rules);
        let import = self.import.resolve(rules);
        let geo = self.geo.resolve(rules);
        let catalog = self.catalog.resolve(rules);
        let vault = self.vault.resolve(rules);
        let proxy = self.proxy.resolve(rules);
        let backends = backends::resolve(self.backends, rules);
        let cache = self.cache.resolve(rules);
        Some(Config {
            server: server?,
            store: store?,
            cluster: cluster?,
            valkey: valkey?,
            keys: keys?,
            usage: usage?,
            audit: audit?,
            log: log?,
            idempotency: idempotency?,
            limits: limits?,
            authz: authz?,
            import: import?,
            geo: geo?,
            catalog: catalog?,
            vault: vault?,
            proxy: proxy?,
            backends: backends?,
            cache: cache?,
        })
    }
}

#[cfg(test)]
mod tests;
