//! More keys than memory has room for: what is not there is read, and nothing that changes meanwhile
//! is missed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use keyreeve_api::{
    Client, CreateApiKeyRequest, CreatedApiKeyView, DeriveApiKeyRequest, LimitView, ReasonRequest,
    SecretText,
};

use crate::{
    cluster::{Cluster, PATIENT, until_code, until_code_is_not, verify},
    keys::named,
    support::{Installation, Server, block_on, http},
};

/// The least room there can be, and more keys than that.
const ROOM: (&str, &str) = ("KEYREEVE_KEYS__MOST_IN_MEMORY", "1000");
const KEYS: usize = 2_500;
const THREADS: usize = 8;

/// Whoever asks this server. Threads have a client of their own each: its connections go with them.
#[derive(Clone, Copy)]
struct Askers<'s> {
    server: &'s Server,
    admin_key: &'s str,
}

impl Askers<'_> {
    fn client(self) -> Arc<Client> {
        self.server.client(self.admin_key)
    }

    /// Makes more keys than there is room for.
    fn make(self) -> Vec<CreatedApiKeyView> {
        let work = || {
            let client = self.client();
            block_on(async {
                let mut made = Vec::new();
                for _ in 0..KEYS.div_ceil(THREADS) {
                    made.push(client.create_api_key(&named("k"), None).await.unwrap());
                }
                made
            })
        };
        thread::scope(|scope| {
            let makers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
        })
    }

    /// Uses every key, which pushes out whatever was there before.
    fn use_all(self, keys: &[CreatedApiKeyView]) {
        thread::scope(|scope| {
            for some in keys.chunks(keys.len().div_ceil(THREADS)) {
                scope.spawn(move || {
                    let client = self.client();
                    block_on(async {
                        for key in some {
                            assert_eq!(verify(&client, &key.key).await.code, "VALID");
                        }
                    });
                });
            }
        });
    }
}

fn figure(server: &Server, name: &str) -> u64 {
    let page = block_on(async {
        http().get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap()
    });
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

fn limited(name: &str, rate: &str) -> CreateApiKeyRequest {
    let limit =
        LimitView { name: "burst".to_owned(), rate: rate.to_owned(), ..LimitView::default() };
    CreateApiKeyRequest { limits: vec![limit], ..named(name) }
}

#[test]
fn what_memory_has_no_room_for_is_read() {
    let installation = Installation::new();
    let server = installation.serve_with(&[ROOM]);
    let askers = Askers { server: &server, admin_key: &installation.admin_key };
    let client = askers.client();
    let keys = askers.make();
    askers.use_all(&keys);
    askers.use_all(&keys);
    assert!(figure(&server, "keyreeve_live_keys") <= 1_000);
    assert!(figure(&server, "keyreeve_key_reads_total") >= KEYS as u64);
    let stranger = SecretText::new(Installation::new().admin_key);
    let before = figure(&server, "keyreeve_key_reads_total");
    for _ in 0..3 {
        assert_eq!(block_on(verify(&client, &stranger)).code, "NOT_FOUND");
    }
    assert!(figure(&server, "keyreeve_key_reads_total") <= before + 1, "asked for once");
    server.stop();
    // From cold, nothing is there but what is asked for.
    let server = installation.serve_with(&[ROOM]);
    let askers = Askers { server: &server, admin_key: &installation.admin_key };
    let client = askers.client();
    assert!(figure(&server, "keyreeve_live_keys") <= 1);
    askers.use_all(&keys[..100]);
    let used = block_on(client.api_key(&keys[0].details.id)).unwrap();
    assert_eq!(used.usage.unwrap().verifications, 3);
    server.stop();
}

#[test]
fn what_is_counted_outlives_the_key_in_memory() {
    let installation = Installation::new();
    let server = installation.serve_with(&[ROOM]);
    let askers = Askers { server: &server, admin_key: &installation.admin_key };
    let client = askers.client();
    let metered = CreateApiKeyRequest { quota: Some("20/month".to_owned()), ..named("metered") };
    let metered = block_on(client.create_api_key(&metered, None)).unwrap().key;
    let limited = block_on(client.create_api_key(&limited("limited", "10/1d"), None)).unwrap().key;
    let spend = |key: &SecretText, times: usize| -> usize {
        block_on(async {
            let mut valid = 0;
            for _ in 0..times {
                valid += usize::from(verify(&client, key).await.code == "VALID");
            }
            valid
        })
    };
    assert_eq!((spend(&metered, 15), spend(&limited, 6)), (15, 6));
    let others = askers.make();
    askers.use_all(&others);
    let before = figure(&server, "keyreeve_key_reads_total");
    assert_eq!((spend(&metered, 15), spend(&limited, 15)), (5, 4));
    assert!(figure(&server, "keyreeve_key_reads_total") >= before + 2, "they were gone");
    server.stop();
    // After a start the quota is what it was, read with the key.
    let server = installation.serve_with(&[ROOM]);
    let askers = Askers { server: &server, admin_key: &installation.admin_key };
    let client = askers.client();
    assert_eq!(block_on(verify(&client, &metered)).code, "QUOTA_EXCEEDED");
    server.stop();
}

#[test]
fn no_change_is_missed_that_comes_while_a_key_is_read() {
    let installation = Installation::new();
    let server = installation.serve_with(&[ROOM]);
    let askers = Askers { server: &server, admin_key: &installation.admin_key };
    let client = askers.client();
    let keys = askers.make();
    let (stop, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (keys, stop, next) = (&keys, &stop, &next);
        // Everything is read and pushed out again all the while; the keys about to change most.
        for thread in 0..4 {
            scope.spawn(move || {
                let client = askers.client();
                block_on(async {
                    let mut turn: usize = thread * 997;
                    while !stop.load(Ordering::Relaxed) {
                        turn = turn.wrapping_add(1);
                        let soon = next.load(Ordering::Relaxed) + turn % 3;
                        let at = if turn.is_multiple_of(2) { soon } else { turn * 7 };
                        verify(&client, &keys[at % keys.len()].key).await;
                    }
                });
            });
        }
        let changed = scope.spawn(move || {
            let client = askers.client();
            block_on(async {
                for (n, key) in keys.iter().enumerate().take(400) {
                    next.store(n, Ordering::Relaxed);
                    client
                        .revoke_api_key(&key.details.id, &ReasonRequest::default())
                        .await
                        .unwrap();
                    for _ in 0..3 {
                        assert_eq!(verify(&client, &key.key).await.code, "REVOKED");
                    }
                }
            });
        });
        let changed = changed.join();
        stop.store(true, Ordering::Relaxed);
        changed.unwrap();
    });
    for key in &keys[..400] {
        assert_eq!(block_on(verify(&client, &key.key)).code, "REVOKED");
    }
    server.stop();
}

#[test]
fn derived_keys_bring_their_ancestors() {
    let installation = Installation::new();
    let server = installation.serve_with(&[ROOM]);
    let askers = Askers { server: &server, admin_key: &installation.admin_key };
    let client = askers.client();
    let permissions = ["keyreeve.keys.derive", "documents.read"].map(str::to_owned).to_vec();
    let request = CreateApiKeyRequest { permissions, ..named("parent") };
    let parent = block_on(client.create_api_key(&request, None)).unwrap();
    let holder = server.client(parent.key.expose());
    let request = DeriveApiKeyRequest {
        name: "child".to_owned(),
        permissions: vec!["documents.read".to_owned()],
        ..DeriveApiKeyRequest::default()
    };
    let child = block_on(holder.derive_api_key(&request, None)).unwrap();
    let others = askers.make();
    askers.use_all(&others);
    assert_eq!(block_on(verify(&client, &child.key)).code, "VALID");
    askers.use_all(&others);
    block_on(client.revoke_api_key(&parent.details.id, &ReasonRequest::default())).unwrap();
    askers.use_all(&others);
    assert_eq!(block_on(verify(&client, &child.key)).code, "REVOKED");
    server.stop();
}

#[test]
fn nodes_with_little_room_hold_the_bound_and_the_quota() {
    const AMOUNT: usize = 300;
    let Some(cluster) = Cluster::start_with(2, &[ROOM, PATIENT]) else { return };
    let clients = [cluster.client(0), cluster.client(1)];
    let askers =
        [0, 1].map(|n| Askers { server: &cluster.nodes[n], admin_key: cluster.admin_key() });
    let request =
        CreateApiKeyRequest { quota: Some(format!("{AMOUNT}/month")), ..named("metered") };
    let metered = block_on(clients[0].create_api_key(&request, None)).unwrap().key;
    let keys = askers[0].make();
    for key in keys.iter().rev().take(3) {
        block_on(until_code(&clients[1], &key.key, "VALID"));
    }
    let spent: usize = thread::scope(|scope| {
        for askers in askers {
            let keys = &keys;
            scope.spawn(move || askers.use_all(keys));
        }
        let spenders = askers.map(|askers| {
            let metered = &metered;
            scope.spawn(move || {
                let client = &askers.client();
                block_on(async {
                    until_code_is_not(client, metered, "NOT_FOUND").await;
                    let mut spent = 0;
                    for _ in 0..AMOUNT {
                        match verify(client, metered).await.code.as_str() {
                            "VALID" => spent += 1,
                            "QUOTA_EXCEEDED" | "ERROR" => {}
                            other => panic!("{other}"),
                        }
                    }
                    spent
                })
            })
        });
        spenders.into_iter().map(|spender| spender.join().unwrap()).sum()
    });
    assert!((AMOUNT - 10..=AMOUNT).contains(&spent), "{spent} of {AMOUNT}");
    block_on(async {
        for (n, key) in keys.iter().enumerate().take(50) {
            let (own, other) = (&clients[n % 2], &clients[(n + 1) % 2]);
            own.revoke_api_key(&key.details.id, &ReasonRequest::default()).await.unwrap();
            assert_eq!(verify(own, &key.key).await.code, "REVOKED");
            until_code(other, &key.key, "REVOKED").await;
        }
    });
    for node in cluster.nodes {
        node.stop();
    }
}
