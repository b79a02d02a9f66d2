//! Limits that several nodes count together, and what they do when they cannot.

use std::{sync::Arc, thread, time::Duration};

use keyreeve_api::{
    Client, CreateApiKeyRequest, CreateKeyspaceRequest, LimitView, ListAuditQuery, SecretText,
    VerifyRequest,
};
use keyreeve_store::conformance::ValkeyServer;
use rustix::process::Signal;

use crate::{
    cluster::{Cluster, PATIENT, signal, until_code_is_not, verify},
    keys::named,
    support::{block_on, http},
};

const NODES: usize = 3;

/// Nodes that count in one server.
struct CountingCluster {
    cluster: Cluster,
    valkey: ValkeyServer,
}

impl CountingCluster {
    /// Starts them; `None` where a server is missing, which the test command says.
    fn start() -> Option<Self> {
        let valkey = ValkeyServer::start().unwrap()?;
        let settings = [
            ("KEYREEVE_VALKEY__URL", &*valkey.url()),
            // Not what is tested: a busy machine may take its time.
            ("KEYREEVE_VALKEY__TIMEOUT", "2s"),
            PATIENT,
        ];
        let cluster = Cluster::start_with(NODES, &settings)?;
        let counting = Self { cluster, valkey };
        counting.until_limits("ok");
        Some(counting)
    }

    fn clients(&self) -> Vec<Arc<Client>> {
        (0..NODES).map(|node| self.cluster.client(node)).collect()
    }

    /// Waits until all nodes say so of their limits, and that they are ready.
    fn until_limits(&self, expected: &str) {
        for client in self.clients() {
            for _ in 0..400 {
                let ready = block_on(client.readiness()).unwrap();
                if ready.checks.limits == expected && ready.ready {
                    break;
                }
                thread::sleep(Duration::from_millis(25));
            }
            let ready = block_on(client.readiness()).unwrap();
            assert_eq!((ready.checks.limits.as_str(), ready.ready), (expected, true));
        }
    }

    /// A key that all nodes know.
    fn key(&self, request: &CreateApiKeyRequest) -> SecretText {
        let clients = self.clients();
        let key = block_on(clients[0].create_api_key(request, None)).unwrap().key;
        for client in &clients {
            block_on(until_code_is_not(client, &key, "NOT_FOUND"));
        }
        key
    }

    /// Verifies so often on each node, on all at once; how often each node said so.
    fn verify_everywhere(&self, key: &SecretText, times: usize, code: &str) -> Vec<usize> {
        let asking = self.clients().into_iter().map(|client| {
            let (key, code) = (key.clone(), code.to_owned());
            thread::spawn(move || {
                block_on(async {
                    let mut found = 0;
                    for _ in 0..times {
                        found += usize::from(verify(&client, &key).await.code == code);
                    }
                    found
                })
            })
        });
        let asking: Vec<_> = asking.collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    }
}

fn limited(name: &str, limits: &[(&str, &str, Option<&str>)]) -> CreateApiKeyRequest {
    let limits = limits.iter().map(|(name, rate, scope)| LimitView {
        name: (*name).to_owned(),
        rate: (*rate).to_owned(),
        scope: scope.map(str::to_owned),
        ..LimitView::default()
    });
    CreateApiKeyRequest { limits: limits.collect(), ..named(name) }
}

fn remaining(client: &Client, key: &SecretText) -> Vec<u32> {
    let request = VerifyRequest { dry_run: true, ..VerifyRequest::new(key.clone()) };
    let verdict = block_on(client.verify(&request)).unwrap();
    verdict.limits.iter().map(|limit| limit.remaining).collect()
}

#[test]
fn all_nodes_together_admit_what_the_limit_says() {
    let Some(counting) = CountingCluster::start() else { return };
    let together = counting.key(&limited("together", &[("burst", "60/1h", None)]));
    let admitted = counting.verify_everywhere(&together, 40, "VALID");
    assert_eq!(admitted.iter().sum::<usize>(), 60, "{admitted:?}");
    assert_eq!(counting.verify_everywhere(&together, 1, "RATE_LIMITED"), [1, 1, 1]);

    let each = counting.key(&limited("each", &[("burst", "10/1h", Some("node"))]));
    assert_eq!(counting.verify_everywhere(&each, 20, "VALID"), [10, 10, 10]);

    // The smaller of two refuses, and then nothing is taken of the larger.
    let both = counting.key(&limited(
        "both",
        &[("own", "100/1h", Some("node")), ("small", "5/1h", None), ("large", "50/1h", None)],
    ));
    let admitted = counting.verify_everywhere(&both, 10, "VALID");
    assert_eq!(admitted.iter().sum::<usize>(), 5, "{admitted:?}");
    for (node, client) in counting.clients().iter().enumerate() {
        let own = 100 - u32::try_from(admitted[node]).unwrap();
        assert_eq!(remaining(client, &both), [own, 0, 45]);
    }
}

#[test]
fn what_a_refused_request_took_is_given_back_everywhere() {
    let Some(counting) = CountingCluster::start() else { return };
    let request = CreateApiKeyRequest {
        quota: Some("10/month".to_owned()),
        ..limited("metered", &[("burst", "30/1h", None)])
    };
    let key = counting.key(&request);
    let client = &counting.clients()[0];
    block_on(async {
        for code in ["VALID"; 10].into_iter().chain(["QUOTA_EXCEEDED"; 5]) {
            assert_eq!(verify(client, &key).await.code, code);
        }
    });
    for client in counting.clients() {
        assert_eq!(remaining(&client, &key), [20]);
    }
}

#[test]
fn places_in_flight_are_taken_and_given_up_on_any_node() {
    let Some(counting) = CountingCluster::start() else { return };
    let request = CreateApiKeyRequest { concurrency: Some("5/1h".to_owned()), ..named("busy") };
    let key = counting.key(&request);
    let clients = counting.clients();
    block_on(async {
        let mut leases = Vec::new();
        for n in 0..5 {
            let verdict = verify(&clients[n % NODES], &key).await;
            let lease = verdict.lease.unwrap();
            assert_eq!((verdict.code.as_str(), lease.in_flight as usize), ("VALID", n + 1));
            leases.push(lease.id);
        }
        for client in &clients {
            let refused = verify(client, &key).await;
            assert_eq!(refused.code, "CONCURRENCY");
            assert!(refused.retry_after_s.is_some_and(|wait| wait > 3_000), "{refused:?}");
        }
        // On another node than it was taken on.
        clients[1].release_lease(&leases[0]).await.unwrap();
        let again = clients[2].release_lease(&leases[0]).await.unwrap_err();
        assert!(again.to_string().contains("no such"), "{again}");
        assert_eq!(verify(&clients[2], &key).await.code, "VALID");
        assert_eq!(verify(&clients[0], &key).await.code, "CONCURRENCY");
    });
}

#[test]
fn without_the_common_counts_each_node_gives_its_share() {
    let Some(mut counting) = CountingCluster::start() else { return };
    let closed = counting.key(&limited("closed", &[("burst", "30/1h", None)]));
    let open = CreateKeyspaceRequest {
        name: "open".to_owned(),
        prefix: "op".to_owned(),
        fail_policy: Some("open".to_owned()),
        ..CreateKeyspaceRequest::default()
    };
    block_on(counting.clients()[0].create_keyspace(&open)).unwrap();
    let open = counting.key(&CreateApiKeyRequest {
        keyspace: Some("open".to_owned()),
        ..limited("open", &[("burst", "30/1h", None)])
    });
    counting.valkey.crash().unwrap();
    // 33 % of 30, and all of it where that is wished.
    assert_eq!(counting.verify_everywhere(&closed, 15, "VALID"), [9, 9, 9]);
    assert_eq!(counting.verify_everywhere(&open, 35, "VALID"), [30, 30, 30]);
    counting.until_limits("degraded");
    let metrics = block_on(async {
        let url = format!("{}/metrics", counting.cluster.nodes[0].url);
        http().get(url).send().await.unwrap().text().await.unwrap()
    });
    assert!(metrics.contains("keyreeve_shared_counts_up 0"), "{metrics}");
    let degraded = metrics.lines().find_map(|line| {
        line.strip_prefix("keyreeve_degraded_requests_total ")?.parse::<u64>().ok()
    });
    assert!(degraded.unwrap() >= 50, "{metrics}");

    counting.valkey.launch().unwrap();
    counting.until_limits("ok");
    // The server forgot everything: the limit is whole again, for all of them together.
    let admitted = counting.verify_everywhere(&closed, 20, "VALID");
    assert_eq!(admitted.iter().sum::<usize>(), 30, "{admitted:?}");
    for _ in 0..200 {
        let entries = block_on(counting.clients()[0].list_audit(&ListAuditQuery::default()));
        let entries = entries.unwrap().items;
        let says = |action: &str| entries.iter().any(|entry| entry.action == action);
        if says("limits.degraded") && says("limits.restored") {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the audit does not say that limits were degraded");
}

#[test]
fn a_server_that_hangs_holds_nobody_up() {
    let Some(counting) = CountingCluster::start() else { return };
    let key = counting.key(&limited("waiting", &[("burst", "30/1h", None)]));
    let process = counting.valkey.process().unwrap();
    signal(process, Signal::STOP);
    // The first of each node wait for as long as an answer may take, the others not at all.
    let admitted = counting.verify_everywhere(&key, 15, "VALID");
    signal(process, Signal::CONT);
    assert_eq!(admitted, [9, 9, 9]);
    counting.until_limits("ok");
    // What it was asked while it hung may have been taken: nobody knows, so nobody gives it back.
    let left = remaining(&counting.clients()[0], &key)[0];
    assert!((27..=30).contains(&left), "{left}");
}
