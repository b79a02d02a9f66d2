//! Nothing acknowledged is lost, nothing revoked lives, whatever moment the process dies at.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use keyreeve_api::{Client, ClientError, SecretText, VerifyRequest};
use parking_lot::Mutex;

use crate::{
    keys::named,
    support::{Installation, Server, run},
};

const STORMERS: usize = 8;

/// What clients were told.
#[derive(Default)]
struct Told {
    /// Keys whose creation was acknowledged.
    created: HashMap<String, SecretText>,
    /// Keys whose revocation was asked for, whether or not an answer came.
    revoking: HashMap<String, bool>,
}

/// Creates and revokes until the server is gone.
async fn storm(client: Arc<Client>, told: Arc<Mutex<Told>>, ended: Arc<AtomicBool>, seed: usize) {
    let mut n = seed;
    while !ended.load(Ordering::Relaxed) {
        n += 1;
        let made = match client.create_api_key(&named("storm"), None).await {
            Ok(made) => made,
            Err(ClientError::Refused(problem)) => panic!("{problem:?}"),
            Err(_) => break,
        };
        let id = made.details.id.clone();
        told.lock().created.insert(id.clone(), made.key);
        if n.is_multiple_of(3) {
            told.lock().revoking.insert(id.clone(), false);
            match client.revoke_api_key(&id, &Default::default()).await {
                Ok(_) => {
                    told.lock().revoking.insert(id, true);
                }
                Err(ClientError::Refused(problem)) => panic!("{problem:?}"),
                Err(_) => break,
            }
        }
    }
}

/// Every acknowledged creation is there, every acknowledged revocation denies.
async fn compare(client: &Client, told: &Told) {
    for (id, key) in &told.created {
        let question = VerifyRequest::new(key.clone());
        let verdict = client.verify(&question).await.unwrap();
        match told.revoking.get(id) {
            None => assert_eq!(verdict.code, "VALID", "{id} was created and is lost"),
            Some(true) => assert_eq!(verdict.code, "REVOKED", "{id} was revoked and lives"),
            // Asked for, not acknowledged: either is right, lost is not.
            Some(false) => assert!(
                matches!(verdict.code.as_str(), "VALID" | "REVOKED"),
                "{id}: {}",
                verdict.code
            ),
        }
    }
}

#[test]
fn kill_nine_in_a_storm() {
    let rounds: u64 =
        std::env::var("KEYREEVE_KILL_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let installation = Installation::new();
    let mut server = installation.serve();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut acknowledged = (0, 0);
    for round in 0..rounds {
        let told = Arc::new(Mutex::new(Told::default()));
        let ended = Arc::new(AtomicBool::new(false));
        let client = server.client(&installation.admin_key);
        let storms: Vec<_> = (0..STORMERS)
            .map(|seed| runtime.spawn(storm(client.clone(), told.clone(), ended.clone(), seed)))
            .collect();
        // A different moment every round, spread over the first 200 ms of the storm.
        std::thread::sleep(Duration::from_millis(20 + (round * 37) % 181));
        server.kill();
        ended.store(true, Ordering::Relaxed);
        for storm in storms {
            runtime.block_on(storm).unwrap();
        }
        server = Server::start(&installation.data_dir(), &[]);
        let client = server.client(&installation.admin_key);
        let told = Arc::into_inner(told).unwrap().into_inner();
        runtime.block_on(compare(&client, &told));
        acknowledged.0 += told.created.len();
        acknowledged.1 += told.revoking.values().filter(|done| **done).count();
        let verified = run(&["audit", "verify"], &installation.data_dir());
        assert!(verified.status.success(), "round {round}: {verified:?}");
    }
    println!(
        "{rounds} rounds: {} creations and {} revocations acknowledged, none lost",
        acknowledged.0, acknowledged.1
    );
    assert!(acknowledged.0 as u64 > rounds, "the storm was no storm");
}
