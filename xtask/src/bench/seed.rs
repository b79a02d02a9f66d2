//! Fills a fresh data folder with what a benchmark needs: through the real store, in large units
//! of work, because making a million keys over HTTP would take minutes.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Context as _, ensure};
use keyreeve_core::{
    Secret,
    audit::{Actor, AuditEntry, CheckpointSigner, Outcome, Target},
    key::{Digester, EnvTag, IssuedToken},
    lifecycle::Lifecycle,
    model::{ApiKey, Metadata, Policy, Tags},
    name::ProjectName,
    permission::PermissionSet,
};
use keyreeve_engine::store::{Change, Store, begin};
use keyreeve_store::sqlite::{self, SqliteOptions};
use serde_json::{Map, Value};

const KEYS_PER_UNIT: usize = 1_000;
const MOST_SAMPLES: usize = 10_000;

/// What a seeded data folder can be used with.
#[derive(Debug)]
pub(crate) struct Seeded {
    /// A key that may verify other keys.
    pub(crate) verifier_key: String,
    /// A key that may create keys.
    pub(crate) admin_key: String,
    /// At most 10,000 of the plaintext keys, spread over the whole set.
    pub(crate) keys: Vec<String>,
}

/// How much each key is bound by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// A permission.
    Plain,
    /// A permission, a network, a time window, two limits and a quota.
    Full,
    /// A permission and every kind of restriction that needs no database.
    Restricted,
    /// A permission and eight limits.
    Limits8,
}

impl Mode {
    /// How many keys are seeded unless told otherwise.
    pub(crate) fn usual_keys(self) -> usize {
        if self == Self::Full { 1_000_000 } else { 100_000 }
    }

    /// The policy of every key.
    fn policy(self) -> anyhow::Result<Policy> {
        let json = match self {
            Self::Plain => "{}".to_owned(),
            Self::Full => r#"{"restrictions":{"allow_ips":["203.0.113.0/24","2001:db8::/32"],
                "windows":["Mon-Sun 00:00-24:00 Europe/Berlin"]},
                "limits":[{"name":"burst","rate":"1000000/1s"},{"name":"day","rate":"1000000000/1d"}],
                "quota":"1000000000000/month"}"#
                .to_owned(),
            Self::Restricted => r#"{"restrictions":{
                "allow_ips":["203.0.113.0/24","2001:db8::/32"],"deny_ips":["203.0.113.7"],
                "windows":["Mon-Sun 00:00-24:00 Europe/Berlin"],
                "origins":["https://app.example.com","https://*.example.org"],
                "routes":["POST api.example.com/v1/*","GET api.example.com/v1/*"]}}"#
                .to_owned(),
            Self::Limits8 => {
                let limit = |n| format!(r#"{{"name":"l{n}","rate":"{n}0000000/{n}h"}}"#);
                let limits: Vec<String> = (1..=8).map(limit).collect();
                format!(r#"{{"limits":[{}]}}"#, limits.join(","))
            }
        };
        Policy::from_json(&json).map_err(|rule| anyhow::anyhow!("the policy {rule}"))
    }
}

/// Initialises the data folder and stores this many keys in it.
pub(crate) fn seed(data_dir: &Path, keys: usize, mode: Mode) -> anyhow::Result<Seeded> {
    let admin_key = init(data_dir, &[])?;
    fill(&*open(data_dir)?, admin_key, keys, mode, MOST_SAMPLES)
}

/// Stores this many keys, gives at most `samples` of them, and closes the store.
pub(crate) fn fill(
    store: &dyn Store,
    admin_key: String,
    keys: usize,
    mode: Mode,
    samples: usize,
) -> anyhow::Result<Seeded> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut maker = Maker { made: 0, policy: Policy::none() };
        let (verifier, verifier_key) = maker.key(&["verifier"], &[])?;
        maker.policy = Arc::new(mode.policy()?);
        commit(store, vec![verifier]).await?;
        let every = keys.div_ceil(samples).max(1);
        let mut sampled = Vec::new();
        let mut unit = Vec::new();
        for n in 0..keys {
            let (key, text) = maker.key(&[], &["documents.read"])?;
            if n % every == 0 {
                sampled.push(text);
            }
            unit.push(key);
            if unit.len() == KEYS_PER_UNIT {
                commit(store, std::mem::take(&mut unit)).await?;
            }
        }
        if !unit.is_empty() {
            commit(store, unit).await?;
        }
        store.close().await;
        Ok(Seeded { verifier_key, admin_key, keys: sampled })
    })
}

/// Initialises a data folder, with these settings; gives the admin key.
pub(crate) fn init(data_dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<String> {
    let binary = super::own_folder()?.join("keyreeve");
    let output = Command::new(binary)
        .envs(settings.iter().copied())
        .args(["init", "--format", "json", "--data-dir"])
        .arg(data_dir)
        .output()
        .context("keyreeve could not be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout)?;
    Ok(made["admin_key"].as_str().context("no admin key was shown")?.to_owned())
}

/// Opens the store of a seeded data folder.
pub(crate) fn open(data_dir: &Path) -> anyhow::Result<Arc<dyn Store>> {
    let text = Secret::new(std::fs::read_to_string(data_dir.join("audit.key"))?);
    let signer = CheckpointSigner::from_private_key(&text)?;
    let options = SqliteOptions { path: data_dir.join("keyreeve.db"), readers: 1, queue_limit: 16 };
    Ok(Arc::new(sqlite::open(options, signer)?))
}

async fn commit(store: &dyn Store, keys: Vec<ApiKey>) -> anyhow::Result<()> {
    let project = ProjectName::default_project();
    let entry = AuditEntry {
        at: jiff::Timestamp::UNIX_EPOCH,
        project: project.clone(),
        actor: Actor::System("bench".into()),
        action: "key.create".into(),
        target: Target::new("project", &project),
        outcome: Outcome::Done,
        reason: None,
        request: None,
        details: Map::new(),
    };
    let mut tx = begin(store, &project);
    for key in keys {
        tx = tx.with(Change::CreateKey(Box::new(key)));
    }
    tx.commit(entry).await?;
    Ok(())
}

/// Makes keys that look random enough for hash tables and are the same on every run.
struct Maker {
    made: u64,
    policy: Arc<Policy>,
}

impl Maker {
    fn key(&mut self, roles: &[&str], permissions: &[&str]) -> anyhow::Result<(ApiKey, String)> {
        self.made += 1;
        let digest = *keyreeve_core::audit::Hash::of(&self.made.to_be_bytes()).as_bytes();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        let token = IssuedToken::from_entropy(&"kr".parse()?, EnvTag::Live, id, &digest);
        let permissions: Vec<String> = permissions.iter().map(|text| (*text).to_owned()).collect();
        let key = ApiKey {
            id: token.id(),
            project: ProjectName::default_project(),
            keyspace: "default".parse()?,
            environment: "production".parse()?,
            tag: EnvTag::Live,
            name: format!("bench-{}", self.made).parse()?,
            owner: None,
            roles: roles.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
            permissions: PermissionSet::parse(&permissions)?,
            metadata: Metadata::default(),
            tags: Tags::default(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            created_by: "system:bench".to_owned(),
            not_before: None,
            expires_at: Some("2126-01-01T00:00:00Z".parse()?),
            policy: self.policy.clone(),
            lifecycle: Lifecycle::Active,
            digest: Digester::default().digest(&token.token()),
            imported: None,
            last_four: token.last_four(),
            lineage: token.id(),
            predecessor: None,
            parent: None,
            revision: 1,
        };
        // EXPOSE: a benchmark key that opens nothing outside its own temporary folder.
        Ok((key, token.text().expose().clone()))
    }
}
