//! Nodes that share a PostgreSQL database and count their limits together in a Valkey server: all of
//! them private, and gone with this.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use keyreeve_core::{Secret, audit::CheckpointSigner};
use keyreeve_store::conformance::{PostgresServer, ValkeyServer};
use keyreeve_store::postgres::{self, PostgresOptions};
use serde_json::{Value, json};

use super::engine::MachineClock;
use super::http::{self, Connection};
use super::seed::{self, Mode, Seeded};
use super::server::Server;

/// The bound that nodes promise unless told otherwise.
pub(super) const BOUND: Duration = Duration::from_secs(1);

/// What a good verdict, and one of a node that cannot vouch, look like in an answer.
pub(super) const VALID: &[u8] = b"\"code\":\"VALID\"";
pub(super) const STALE: &[u8] = b"\"code\":\"STALE\"";

/// Nodes and what they share. Fields go in this order: nodes before what they use.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Server>,
    pub(super) seeded: Seeded,
    pub(super) database: PostgresServer,
    pub(super) valkey: ValkeyServer,
    settings: Vec<(String, String)>,
    binaries: PathBuf,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts everything, with so many keys, all of which are known in clear.
    pub(super) fn start(size: u8, binaries: &Path, keys: usize) -> anyhow::Result<Self> {
        let database = PostgresServer::start_durable()?.context("PostgreSQL is not installed")?;
        let valkey = ValkeyServer::start()?.context("neither Valkey nor Redis is installed")?;
        let url = database.database()?;
        let settings = vec![
            ("KEYREEVE_STORE__URL".to_owned(), url.clone()),
            ("KEYREEVE_VALKEY__URL".to_owned(), valkey.url()),
        ];
        let folder = tempfile::tempdir().context("cannot create a folder")?;
        let first = folder.path().join("node0");
        let admin_key = seed::init(&first, &borrowed(&settings))?;
        let key = std::fs::read_to_string(first.join("audit.key"))?;
        let signer = CheckpointSigner::from_private_key(&Secret::new(key))?;
        let store = postgres::open(
            PostgresOptions {
                url: Secret::new(url),
                authorities: None,
                readers: 1,
                queue_limit: 16,
                beat: BOUND,
                node: "bench".to_owned(),
                clock: Arc::new(MachineClock::new()),
            },
            signer,
        )?;
        let seeded = seed::fill(&store, admin_key, keys, Mode::Plain, keys)?;
        ensure!(seeded.keys.len() == keys, "only {} keys can be sampled", seeded.keys.len());
        let binaries = binaries.to_owned();
        let nodes = Vec::new();
        let mut cluster = Self { nodes, seeded, database, valkey, settings, binaries, folder };
        for number in 0..usize::from(size) {
            if number > 0 {
                std::fs::create_dir(cluster.data_dir(number))?;
                let key = cluster.data_dir(number).join("audit.key");
                std::fs::copy(first.join("audit.key"), key)?;
            }
            let node = cluster.launch(number)?;
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    /// Starts a node again where it was, after it was killed.
    pub(super) fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        let address = self.nodes[number].address();
        let settings = borrowed(&self.settings);
        self.nodes[number] =
            Server::node_at(&self.binaries, &self.data_dir(number), &settings, address)?;
        Ok(())
    }

    fn launch(&self, number: usize) -> anyhow::Result<Server> {
        Server::node(&self.binaries, &self.data_dir(number), &borrowed(&self.settings))
    }

    fn data_dir(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("node{number}"))
    }

    /// Asks whether a key is good.
    pub(super) fn question(&self, key: &str) -> Vec<u8> {
        let body = json!({ "key": key }).to_string();
        http::post("/api/v1/verify", &self.seeded.verifier_key, &body)
    }

    /// Makes a key with this limit, which all nodes count together, and waits until all know it.
    pub(super) fn limited_key(&self, rate: &str) -> anyhow::Result<String> {
        let body = json!({ "name": "limited", "limits": [{ "name": "shared", "rate": rate }] });
        let order = http::post("/api/v1/api-keys", &self.seeded.admin_key, &body.to_string());
        let answer = http::exchange(self.nodes[0].address(), &order, Duration::from_secs(10))?;
        ensure!(answer.status == 201, "a key was answered with status {}", answer.status);
        let made: Value = serde_json::from_slice(&answer.body)?;
        let key = made["key"].as_str().context("the answer has no key")?.to_owned();
        let question = http::post(
            "/api/v1/verify",
            &self.seeded.verifier_key,
            &json!({ "key": key, "dry_run": true }).to_string(),
        );
        for node in &self.nodes {
            let mut node = Connection::open(node.address(), Duration::from_secs(10))?;
            while !http::contains(&node.call(&question)?.body, VALID) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(key)
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
