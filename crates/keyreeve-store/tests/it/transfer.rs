//! Copying an installation from one database to another.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use keyreeve_core::{Secret, model::ApiKey, name::ProjectName};
use keyreeve_engine::store::{
    AuditFilter, Change, KeyFilter, PageRequest, QuotaClaim, QuotaSubject, SequencedEntry, Store,
    StoredKey,
};
use keyreeve_store::{
    DatabaseStore,
    conformance::{Harness, PostgresServer, samples},
    postgres::OpenError,
    sqlite::{self, SqliteOptions},
    transfer::{self, Copied, Proof, Source, Target, TransferError},
};
use tokio::{runtime::Runtime, task::block_in_place};

use crate::postgres as on_postgres;

/// More keys, and more units, than are read at once, so that pages have ends.
const KEYS: u64 = 4_500;
const UNITS: usize = 2_100;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

fn open_sqlite(path: &Path) -> Arc<DatabaseStore> {
    let options = SqliteOptions { path: path.to_owned(), readers: 1, queue_limit: 1_000 };
    Arc::new(sqlite::open(options, samples::signer(1).unwrap()).unwrap())
}

fn harness(store: &Arc<DatabaseStore>) -> Harness {
    let store: Arc<dyn Store> = store.clone();
    Harness::new(store, samples::signer(1).unwrap().verifier())
}

/// Something of everything.
async fn fill(h: &Harness) -> ProjectName {
    let acme = h.project("acme").await.unwrap();
    h.project("other").await.unwrap();
    h.commit(&acme, vec![Change::CreateRole(samples::role("reader").unwrap())]).await.unwrap();
    let keys = samples::keys(&acme, 1, KEYS).unwrap().into_iter().zip(0..).map(|(key, n)| ApiKey {
        roles: if n % 2 == 0 { vec!["reader".parse().unwrap()] } else { Vec::new() },
        tags: samples::tags(&[["a", "B", "_", "z:1"][n % 4]]).unwrap(),
        ..key
    });
    h.create_keys(&keys.collect::<Vec<_>>()).await.unwrap();
    for _ in 0..UNITS / 100 {
        let units = (0..100).map(|_| h.commit(&acme, Vec::new()));
        for unit in futures_util::future::join_all(units).await {
            unit.unwrap();
        }
    }
    let claim = |subject| QuotaClaim {
        subject,
        stored: keyreeve_core::quota::Stored {
            period_start: samples::time(0),
            period_end: None,
            claimed: 7,
        },
        known: 0,
    };
    let changes = vec![
        Change::CreateOwner(samples::owner("metered").unwrap()),
        Change::CreateRole(samples::role("extra").unwrap()),
        Change::AddUsage(vec![samples::usage(1, 10, 20)]),
        Change::RememberResult(samples::result(3, 10)),
        Change::ClaimQuota(vec![
            claim(QuotaSubject::Lineage(samples::key_id(1))),
            claim(QuotaSubject::Owner("metered".parse().unwrap())),
        ]),
    ];
    h.commit(&acme, changes).await.unwrap();
    acme
}

fn proof() -> Proof {
    Proof { verifier: samples::signer(1).unwrap().verifier(), anchor: None }
}

fn into_postgres(file: &Path, url: &str) -> Result<Copied, TransferError> {
    block_in_place(|| {
        let mut source = Source::sqlite_live(file).unwrap();
        let mut target = Target::postgres(&Secret::new(url.to_owned()), None).unwrap();
        transfer::copy(&mut source, &mut target, &proof(), &mut |_, _| {})
    })
}

/// All that a project's keys and audit are, as the store tells it.
async fn content(
    store: &dyn Store,
    project: &ProjectName,
) -> (Vec<StoredKey>, Vec<SequencedEntry>) {
    let (mut keys, mut entries) = (Vec::new(), Vec::new());
    let mut page = PageRequest::first(1_000);
    loop {
        let found = store.keys(project, &KeyFilter::default(), &page).await.unwrap();
        keys.extend(found.items);
        let Some(next) = found.next else { break };
        page = PageRequest { after: Some(next), ..page };
    }
    let mut page = PageRequest::first(1_000);
    loop {
        let found = store.audit_entries(project, &AuditFilter::default(), &page).await.unwrap();
        entries.extend(found.items);
        let Some(next) = found.next else { break };
        page = PageRequest { after: Some(next), ..page };
    }
    (keys, entries)
}

#[test]
fn a_copy_is_the_same_and_is_gone_on_with() {
    let Some(server) = PostgresServer::start().unwrap() else { return };
    let url = server.database().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyreeve.db");
    let runtime = runtime();
    runtime.block_on(async {
        let store = open_sqlite(&file);
        let h = harness(&store);
        let acme = fill(&h).await;
        let before = std::fs::read(&file).unwrap();

        // While the server goes on.
        let copied = into_postgres(&file, &url).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), before, "the source is as it was");
        let rows = |copied: &Copied, name: &str| {
            copied.tables.iter().find(|(table, _)| *table == name).unwrap().1
        };
        assert_eq!((rows(&copied, "api_keys"), rows(&copied, "quota_claims")), (KEYS - 1, 2));
        assert_eq!(copied.entries, h.verify_log().await.unwrap().size);

        let again = into_postgres(&file, &url).unwrap();
        assert_eq!((again.changed, again.root), (0, copied.root));

        let purged = samples::key_id(KEYS / 2);
        let renamed =
            ApiKey { revision: 2, name: "new".parse().unwrap(), ..samples::key(&acme, 7).unwrap() };
        let changes = vec![
            Change::PurgeKey { id: purged, revision: 1 },
            Change::UpdateKey(Box::new(renamed)),
            Change::AddUsage(vec![samples::usage(1, 1, 30), samples::usage(2, 1, 30)]),
        ];
        h.commit(&acme, changes).await.unwrap();
        let caught_up = into_postgres(&file, &url).unwrap();
        assert!(caught_up.changed < 20, "{caught_up:?}");

        let expected = content(&*store, &acme).await;
        store.close().await;
        let copy = block_in_place(|| on_postgres::open(&url));
        assert_eq!(content(&copy, &acme).await, expected);
        let copy = Arc::new(copy);
        let h = harness(&copy);
        h.commit(&acme, vec![Change::CreateKey(Box::new(samples::key(&acme, 9_000).unwrap()))])
            .await
            .unwrap();
        h.verify_log().await.unwrap();

        // Nodes must not lose what they know, so nothing is written under them.
        let target = || Target::postgres(&Secret::new(url.clone()), None);
        let refused = block_in_place(target).unwrap_err();
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
        copy.close().await;
        // It has gone its own way since.
        assert!(matches!(into_postgres(&file, &url), Err(TransferError::OtherLog)));
    });
}

#[test]
fn a_broken_copy_is_opened_by_nobody_and_finished_later() {
    let Some(server) = PostgresServer::start().unwrap() else { return };
    let url = server.database().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyreeve.db");
    let runtime = runtime();
    runtime.block_on(async {
        let store = open_sqlite(&file);
        fill(&harness(&store)).await;
        store.close().await;
    });
    // At several places: among the entries, which come first, and among the keys.
    for part in [1, 3, 6, 9] {
        let broken = catch_unwind(AssertUnwindSafe(|| {
            let mut source = Source::sqlite_live(&file).unwrap();
            let mut target = Target::postgres(&Secret::new(url.clone()), None).unwrap();
            let stop = |done, all| assert!(done * 10 < all * part, "as by a power cut");
            transfer::copy(&mut source, &mut target, &proof(), &mut { stop })
        }));
        let why =
            broken.err().and_then(|why| why.downcast_ref::<&str>().map(|&why| why.to_owned()));
        assert_eq!(why.as_deref(), Some("as by a power cut"));
        let signer = samples::signer(1).unwrap();
        let opened = keyreeve_store::postgres::open(on_postgres::options(&url), signer);
        assert!(matches!(opened.err(), Some(OpenError::AuditDamaged { .. })));
    }
    let copied = into_postgres(&file, &url).unwrap();
    assert!((1..KEYS).contains(&copied.changed), "it went on where it was: {copied:?}");
    let finished = on_postgres::open(&url);
    runtime.block_on(finished.close());
}

#[test]
fn a_damaged_log_is_not_passed_on_as_good() {
    let Some(server) = PostgresServer::start().unwrap() else { return };
    let url = server.database().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyreeve.db");
    runtime().block_on(async {
        let store = open_sqlite(&file);
        fill(&harness(&store)).await;
        store.close().await;
    });
    let tampered = rusqlite::Connection::open(&file).unwrap();
    tampered
        .execute("UPDATE audit_entries SET body = CAST(replace(body, 'acme', 'acne') AS BLOB) WHERE seq = 2", [])
        .unwrap();
    drop(tampered);
    let refused = into_postgres(&file, &url).unwrap_err();
    assert!(matches!(refused, TransferError::Damaged(_)), "{refused}");
    let signer = samples::signer(1).unwrap();
    let opened = keyreeve_store::postgres::open(on_postgres::options(&url), signer);
    assert!(matches!(opened.err(), Some(OpenError::AuditDamaged { .. })));
}

#[test]
fn a_log_that_was_rolled_back_is_not_passed_on() {
    let Some(server) = PostgresServer::start().unwrap() else { return };
    let url = server.database().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("keyreeve.db"), folder.path().join("old.db"));
    let note = runtime().block_on(async {
        let store = open_sqlite(&file);
        let acme = harness(&store).project("acme").await.unwrap();
        store.close().await;
        std::fs::copy(&file, &old).unwrap();
        let store = open_sqlite(&file);
        harness(&store).commit(&acme, Vec::new()).await.unwrap();
        let note = store.checkpoint().await.unwrap().unwrap();
        store.close().await;
        note
    });
    let verifier = samples::signer(1).unwrap().verifier();
    let proof = Proof { anchor: Some(verifier.verify(&note).unwrap()), verifier };
    let copy = |file: &Path| {
        let mut source = Source::sqlite_backup(file).unwrap();
        let mut target = Target::postgres(&Secret::new(url.clone()), None).unwrap();
        transfer::copy(&mut source, &mut target, &proof, &mut |_, _| {})
    };
    assert!(matches!(copy(&old), Err(TransferError::Damaged(_))));
    copy(&file).unwrap();
}

#[test]
fn from_postgresql_into_a_file_and_back() {
    let Some(server) = PostgresServer::start().unwrap() else { return };
    let (url, back) = (server.database().unwrap(), server.database().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyreeve.db");
    let secret = |url: &str| Secret::new(url.to_owned());
    assert!(matches!(Source::postgres(&secret(&url), None).unwrap_err(), OpenError::Empty { .. }));
    runtime().block_on(async {
        let node = Arc::new(block_in_place(|| on_postgres::open(&url)));
        let acme = fill(&harness(&node)).await;
        // While a node works on it.
        let copied = block_in_place(|| {
            let mut source = Source::postgres(&secret(&url), None).unwrap();
            let mut target = Target::new_sqlite(&file).unwrap();
            transfer::copy(&mut source, &mut target, &proof(), &mut |_, _| {}).unwrap()
        });
        let expected = content(&*node, &acme).await;
        node.close().await;

        let store = open_sqlite(&file);
        assert_eq!(content(&*store, &acme).await, expected);
        store.close().await;

        let again = block_in_place(|| {
            let mut source = Source::sqlite_backup(&file).unwrap();
            let mut target = Target::postgres(&secret(&back), None).unwrap();
            transfer::copy(&mut source, &mut target, &proof(), &mut |_, _| {}).unwrap()
        });
        assert_eq!((again.root, again.entries), (copied.root, copied.entries));
        let node = block_in_place(|| on_postgres::open(&back));
        assert_eq!(content(&node, &acme).await, expected);
        node.close().await;
    });
}

#[test]
fn changes_are_kept_out_while_reading_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyreeve.db");
    runtime().block_on(async {
        let store = open_sqlite(&file);
        let h = harness(&store);
        let acme = h.project("acme").await.unwrap();
        let mut source = Source::sqlite_live(&file).unwrap();
        assert!(source.is_served().unwrap());
        source.keep_changes_out().unwrap();
        assert!(h.commit(&acme, Vec::new()).await.is_err());
        assert_eq!(store.projects().await.unwrap().len(), 1);
        store.close().await;
        assert!(!source.is_served().unwrap());
        // And now it is held: no server can start.
        let options = SqliteOptions { path: file.clone(), readers: 1, queue_limit: 100 };
        let refused = sqlite::open(options, samples::signer(1).unwrap()).err().unwrap();
        assert!(matches!(refused, sqlite::OpenError::Locked { .. }), "{refused}");
        drop(source);
        open_sqlite(&file).close().await;
    });
}
