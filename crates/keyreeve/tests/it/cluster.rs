//! Several nodes on one PostgreSQL: what one does, the others know within the bound, or they vouch
//! for nothing.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use keyreeve_api::{
    Client, CreateApiKeyRequest, CreateKeyspaceRequest, ReasonRequest, SecretText, VerifyRequest,
    VerifyView,
};
use keyreeve_store::conformance::PostgresServer;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    keys::named,
    support::{Installation, Server, block_on, http, keyreeve, run_json, text},
};

/// The default bound, and some for the question itself on a busy machine.
const BOUND: Duration = Duration::from_secs(1);

/// For tests that are not about the bound: a busy machine makes no node stale.
pub(crate) const PATIENT: (&str, &str) = ("KEYREEVE_CLUSTER__BOUND", "30s");

/// Nodes that share a database.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
    admin_key: String,
    url: String,
    database: PostgresServer,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts that many nodes; `None` where there is no PostgreSQL, which the test command says.
    pub(crate) fn start(size: usize) -> Option<Self> {
        Self::start_with(size, &[])
    }

    /// The same with these settings on each node.
    pub(crate) fn start_with(size: usize, settings: &[(&str, &str)]) -> Option<Self> {
        let database = PostgresServer::start().unwrap()?;
        let url = database.database().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("node0");
        let mut init = keyreeve();
        init.args(["init", "--format", "json", "--data-dir"]).arg(&first);
        let made = init.env("KEYREEVE_STORE__URL", &url).output().unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        let nodes = (0..size).map(|number| {
            let data_dir = folder.path().join(format!("node{number}"));
            if number > 0 {
                fs::create_dir(&data_dir).unwrap();
                fs::copy(first.join("audit.key"), data_dir.join("audit.key")).unwrap();
            }
            let own = [("KEYREEVE_STORE__URL", url.as_str())];
            Server::start(&data_dir, &[&own, settings].concat())
        });
        Some(Self {
            nodes: nodes.collect(),
            admin_key: made["admin_key"].as_str().unwrap().to_owned(),
            url,
            database,
            _folder: folder,
        })
    }

    pub(crate) fn client(&self, node: usize) -> Arc<Client> {
        self.nodes[node].client(&self.admin_key)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn admin_key(&self) -> &str {
        &self.admin_key
    }

    /// An empty database beside the cluster's own.
    pub(crate) fn another_database(&self) -> String {
        self.database.database().unwrap()
    }

    /// Stops every process of the database in its tracks, or lets them go on.
    fn pause_database(&self, paused: bool) {
        for pid in self.database.processes() {
            signal(pid, if paused { Signal::STOP } else { Signal::CONT });
        }
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // One that ended meanwhile needs none.
    let _ = kill_process(pid, signal);
}

pub(crate) async fn verify(client: &Client, key: &SecretText) -> VerifyView {
    client.verify(&VerifyRequest::new(key.clone())).await.unwrap()
}

/// Asks until the answer is this one. A refusal to answer is no answer.
pub(crate) async fn until_code(client: &Client, key: &SecretText, code: &str) {
    let mut last = String::new();
    for _ in 0..200 {
        match client.verify(&VerifyRequest::new(key.clone())).await {
            Ok(verdict) if verdict.code == code => return,
            Ok(verdict) => last = verdict.code,
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {code}; last {last}");
}

#[test]
fn a_revoked_key_is_denied_everywhere_within_the_bound() {
    let Some(cluster) = Cluster::start(3) else { return };
    block_on(async {
        let clients: Vec<_> = (0..3).map(|node| cluster.client(node)).collect();
        for round in 0..10 {
            let made = clients[round % 3].create_api_key(&named("k"), None).await.unwrap();
            for client in &clients {
                until_code(client, &made.key, "VALID").await;
            }
            let revoked = clients[(round + 1) % 3]
                .revoke_api_key(&made.details.id, &ReasonRequest::default())
                .await
                .unwrap();
            assert_eq!(revoked.state, "revoked");
            // Its own node at once. A machine that is too busy for the news makes a node stale.
            let is_denied = |code: &str| ["REVOKED", "STALE"].contains(&code);
            assert!(is_denied(&verify(&clients[(round + 1) % 3], &made.key).await.code));
            tokio::time::sleep(BOUND).await;
            for client in &clients {
                assert!(is_denied(&verify(client, &made.key).await.code));
                until_code(client, &made.key, "REVOKED").await;
            }
        }
    });
    for node in cluster.nodes {
        node.stop();
    }
}

#[test]
fn each_node_is_looked_after_as_any_installation() {
    let Some(cluster) = Cluster::start(2) else { return };
    block_on(cluster.client(0).create_api_key(&named("k"), None)).unwrap();
    let run = |arguments: &[&str], node: usize| {
        let mut command = keyreeve();
        command.args(arguments).args(["--format", "json", "--data-dir"]);
        command.arg(&cluster.nodes[node].data_dir).env("KEYREEVE_STORE__URL", &cluster.url);
        command.output().unwrap()
    };
    let doctor = run(&["doctor"], 1);
    let found: Vec<serde_json::Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    for name in ["database", "schema", "clock", "audit anchor", "server"] {
        let check = found.iter().find(|check| check["check"] == name).unwrap();
        // The tests' own server does not flush to the disk, which the doctor sees.
        let expected = if name == "database" { "warning" } else { "ok" };
        assert_eq!(check["status"], expected, "{check}");
    }
    for node in 0..2 {
        let audit = run(&["audit", "verify"], node);
        assert!(audit.status.success(), "{}", text(&audit.stderr));
    }
    // A node with another audit key does not start.
    let stranger = cluster.nodes[0].data_dir.with_file_name("stranger");
    let refused = Server::try_start(&stranger, &[("KEYREEVE_STORE__URL", &cluster.url)]);
    let refused = refused.err().unwrap();
    assert!(refused.contains("all nodes need the same audit.key"), "{refused}");
}

#[test]
fn without_news_nodes_vouch_for_nothing_but_where_that_is_wished() {
    let Some(cluster) = Cluster::start(2) else { return };
    let client = cluster.client(1);
    let (key, open) = block_on(async {
        let keyspace = CreateKeyspaceRequest {
            name: "open".to_owned(),
            prefix: "op".to_owned(),
            fail_policy: Some("open".to_owned()),
            ..CreateKeyspaceRequest::default()
        };
        client.create_keyspace(&keyspace).await.unwrap();
        let key = client.create_api_key(&named("closed"), None).await.unwrap().key;
        let request = CreateApiKeyRequest { keyspace: Some("open".to_owned()), ..named("open") };
        let open = client.create_api_key(&request, None).await.unwrap().key;
        until_code(&client, &key, "VALID").await;
        (key, open)
    });
    cluster.pause_database(true);
    thread::sleep(BOUND + Duration::from_millis(100));
    block_on(async {
        let stale = verify(&client, &key).await;
        assert_eq!((stale.code.as_str(), stale.valid), ("STALE", false));
        assert!(stale.as_of.age_ms > 1_000, "{stale:?}");
        assert_eq!(verify(&client, &open).await.code, "VALID");
        // One that was made elsewhere a moment ago would not be known here.
        let unknown = SecretText::new(Installation::new().admin_key);
        assert_eq!(verify(&client, &unknown).await.code, "STALE");
        let refused = client.list_keyspaces().await.unwrap_err();
        assert!(refused.to_string().contains("not available"), "{refused}");
        let metrics = http().get(format!("{}/metrics", cluster.nodes[1].url)).send();
        let metrics = metrics.await.unwrap().text().await.unwrap();
        let age = metrics.lines().find_map(|line| {
            line.strip_prefix("keyreeve_knowledge_age_seconds ")?.parse::<f64>().ok()
        });
        assert!(age.unwrap() > 1.0);
    });
    cluster.pause_database(false);
    block_on(async {
        until_code(&client, &key, "VALID").await;
        // A busy machine may fall behind for a moment.
        let mut ready = client.readiness().await.unwrap();
        for _ in 0..100 {
            if ready.ready && ready.checks.knowledge == "ok" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            ready = client.readiness().await.unwrap();
        }
        panic!("{ready:?}");
    });
}

#[test]
fn a_node_that_was_asleep_accepts_nothing_it_has_not_looked_at_anew() {
    let Some(cluster) = Cluster::start(2) else { return };
    let (awake, asleep) = (cluster.client(0), cluster.client(1));
    let key = block_on(async {
        let made = awake.create_api_key(&named("k"), None).await.unwrap();
        until_code(&asleep, &made.key, "VALID").await;
        signal(cluster.nodes[1].pid(), Signal::STOP);
        awake.revoke_api_key(&made.details.id, &ReasonRequest::default()).await.unwrap();
        made.key
    });
    thread::sleep(BOUND + Duration::from_millis(200));
    // Asked while it sleeps; answered the moment it wakes.
    let waiting = {
        let (asleep, key) = (asleep.clone(), key.clone());
        thread::spawn(move || block_on(async { verify(&asleep, &key).await.code }))
    };
    thread::sleep(Duration::from_millis(200));
    signal(cluster.nodes[1].pid(), Signal::CONT);
    let first = waiting.join().unwrap();
    assert!(["STALE", "REVOKED"].contains(&first.as_str()), "{first}");
    block_on(until_code(&asleep, &key, "REVOKED"));
}

#[test]
fn a_quota_is_never_overspent_by_all_nodes_together() {
    const AMOUNT: u64 = 300;
    let Some(mut cluster) = Cluster::start_with(3, &[PATIENT]) else { return };
    let request =
        CreateApiKeyRequest { quota: Some(format!("{AMOUNT}/month")), ..named("metered") };
    let key = block_on(cluster.client(0).create_api_key(&request, None)).unwrap().key;
    let spend = |cluster: &Cluster, at_most: u64| -> u64 {
        let spenders: Vec<_> = (0..3)
            .map(|node| {
                let (client, key) = (cluster.client(node), key.clone());
                thread::spawn(move || {
                    block_on(async {
                        until_code_is_not(&client, &key, "NOT_FOUND").await;
                        let mut spent = 0;
                        while spent < at_most {
                            match verify(&client, &key).await.code.as_str() {
                                "VALID" => spent += 1,
                                "QUOTA_EXCEEDED" => break,
                                // Too many were faster, one after the other. Nothing was spent.
                                "ERROR" => {}
                                other => panic!("{other}"),
                            }
                        }
                        spent
                    })
                })
            })
            .collect();
        spenders.into_iter().map(|spender| spender.join().unwrap()).sum()
    };
    let first = spend(&cluster, 30);
    assert_eq!(first, 90);
    // An orderly stop gives back what a node had claimed and not spent.
    let node = cluster.nodes.pop().unwrap();
    let data_dir = node.data_dir.clone();
    node.stop();
    let settings = [("KEYREEVE_STORE__URL", cluster.url.as_str()), PATIENT];
    cluster.nodes.push(Server::start(&data_dir, &settings));
    let second = spend(&cluster, AMOUNT);
    assert!(first + second <= AMOUNT, "{first} and {second} of {AMOUNT}");
    // What one node has claimed and not yet spent, the others cannot: a chunk each, of 3.
    assert!(first + second >= AMOUNT - 9, "{first} and {second} of {AMOUNT}");
}

/// Waits until news have come.
pub(crate) async fn until_code_is_not(client: &Client, key: &SecretText, code: &str) {
    for _ in 0..200 {
        let request = VerifyRequest { dry_run: true, ..VerifyRequest::new(key.clone()) };
        if client.verify(&request).await.is_ok_and(|verdict| verdict.code != code) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still {code}");
}

#[test]
fn a_crash_of_the_database_heals_by_itself() {
    let Some(mut cluster) = Cluster::start(2) else { return };
    let clients = [cluster.client(0), cluster.client(1)];
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = clients
        .iter()
        .map(|client| {
            let (client, stop, made) = (client.clone(), stop.clone(), made.clone());
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match block_on(client.create_api_key(&named("k"), None)) {
                        Ok(key) => {
                            made.fetch_add(1, Ordering::Relaxed);
                            acknowledged.push(key.key);
                        }
                        Err(_) => thread::sleep(Duration::from_millis(20)),
                    }
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(400));
        cluster.database.crash().unwrap();
        thread::sleep(Duration::from_millis(300));
        cluster.database.launch().unwrap();
        let before = made.load(Ordering::Relaxed);
        for _ in 0..1_000 {
            if made.load(Ordering::Relaxed) > before + 20 {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert!(made.load(Ordering::Relaxed) > before + 20, "it writes again by itself");
    }
    stop.store(true, Ordering::Relaxed);
    let keys: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    thread::sleep(BOUND);
    block_on(async {
        for client in &clients {
            for key in &keys {
                assert_eq!(verify(client, key).await.code, "VALID");
            }
        }
    });
    let listed = run_json(&["key", "list", "--limit", "1"], &cluster.nodes[0].data_dir);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
}
