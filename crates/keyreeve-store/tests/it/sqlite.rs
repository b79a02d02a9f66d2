//! What only a store in a file does.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{
    Change, ChangeSink, CommitError, KeyFilter, PageRequest, Store, StoreError,
};
use keyreeve_store::{
    DatabaseStore,
    conformance::{Harness, samples},
    sqlite::{self, OpenError, SqliteOptions},
};
use parking_lot::Mutex;
use rusqlite::Connection;

pub(crate) fn database(folder: &Path) -> PathBuf {
    folder.join("keyreeve.db")
}

fn options(folder: &Path) -> SqliteOptions {
    SqliteOptions { path: database(folder), readers: 3, queue_limit: 1024 }
}

pub(crate) fn open(folder: &Path) -> DatabaseStore {
    sqlite::open(options(folder), samples::signer(1).unwrap()).unwrap()
}

fn refusal(folder: &Path) -> OpenError {
    sqlite::open(options(folder), samples::signer(1).unwrap()).err().unwrap()
}

pub(crate) fn harness(store: Arc<dyn Store>) -> Harness {
    Harness::new(store, samples::signer(1).unwrap().verifier())
}

/// The files of a running store, as a crash of machine or process leaves them.
pub(crate) fn crashed_copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for ending in ["", "-wal"] {
        let name = format!("keyreeve.db{ending}");
        fs::copy(folder.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

/// Does something to the database behind the store's back.
pub(crate) fn tamper(folder: &Path, sql: &str) {
    Connection::open(database(folder)).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let h = harness(Arc::new(open(folder.path())));
    let acme = h.project("acme").await.unwrap();
    h.create_keys(&samples::keys(&acme, 0, 20).unwrap()).await.unwrap();
    h.commit(&acme, vec![Change::AddUsage(vec![samples::usage(3, 7, 9)])]).await.unwrap();
    let before = h.store().keys(&acme, &KeyFilter::default(), &PageRequest::first(100)).await;
    let (before, head) = (before.unwrap(), h.verify_log().await.unwrap());
    h.store().close().await;
    assert!(!folder.path().join("keyreeve.db-wal").exists(), "the log is folded into the file");

    let h = harness(Arc::new(open(folder.path())));
    let after = h.store().keys(&acme, &KeyFilter::default(), &PageRequest::first(100)).await;
    assert_eq!(after.unwrap(), before);
    assert_eq!(h.verify_log().await.unwrap(), head);
    assert_eq!(h.commit(&acme, Vec::new()).await.unwrap().seq, head.size);
    assert!(h.verify_log().await.unwrap().is_intact());
    h.store().close().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let h = harness(Arc::new(open(folder.path())));
    let acme = h.project("acme").await.unwrap();
    h.create_keys(&samples::keys(&acme, 0, 50).unwrap()).await.unwrap();
    let head = h.verify_log().await.unwrap();
    let copy = crashed_copy(folder.path());
    h.store().close().await;

    let h = harness(Arc::new(open(copy.path())));
    assert_eq!(h.verify_log().await.unwrap(), head);
    assert_eq!(h.ids(&acme, &KeyFilter::default()).await.unwrap().len(), 50);
    h.store().close().await;
}

#[tokio::test]
async fn files_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let h = harness(Arc::new(open(folder.path())));
    h.project("acme").await.unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        names.push(file.file_name().into_string().unwrap());
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
    }
    names.sort();
    assert_eq!(names, ["keyreeve.db", "keyreeve.db-shm", "keyreeve.db-wal", "keyreeve.db.lock"]);
    h.store().close().await;
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert!(matches!(refusal(folder.path()), OpenError::Locked { .. }));
    store.close().await;
    open(folder.path()).close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close().await;
    tamper(folder.path(), "PRAGMA user_version = 99");
    let refused = refusal(folder.path());
    assert!(matches!(refused, OpenError::Newer { found: 99, known: 9, .. }), "{refused}");
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    tamper(folder.path(), "CREATE TABLE wordpress (id INTEGER)");
    let before = fs::read(database(folder.path())).unwrap();
    let refused = refusal(folder.path());
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
    assert_eq!(fs::read(database(folder.path())).unwrap(), before);
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let garbage: Vec<u8> = (0..400).flat_map(|_| 1..=250).collect();
    for content in [&b"# notes\n"[..], &garbage] {
        fs::write(database(folder.path()), content).unwrap();
        let refused = refusal(folder.path());
        assert!(matches!(refused, OpenError::NotADatabase { .. }), "{refused}");
    }
}

#[test]
fn a_path_that_leads_nowhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = refusal(&folder.path().join("missing"));
    assert!(matches!(refused, OpenError::Unopenable { .. }), "{refused}");
    fs::create_dir(database(folder.path())).unwrap();
    let refused = refusal(folder.path());
    assert!(matches!(refused, OpenError::Unopenable { .. }), "{refused}");
}

#[tokio::test]
async fn a_log_of_another_signer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close().await;
    let other = samples::signer(2).unwrap();
    let refused = sqlite::open(options(folder.path()), other).err().unwrap();
    assert!(matches!(refused, OpenError::OtherSigner { .. }), "{refused}");
}

#[tokio::test]
async fn a_damaged_end_of_the_log_is_refused() {
    for sql in [
        "DELETE FROM audit_entries WHERE seq = 4",
        "DELETE FROM audit_entries",
        "UPDATE audit_entries SET seq = 5 WHERE seq = 4",
        "UPDATE audit_entries SET body = x'7B7D' WHERE seq = 4",
        "UPDATE audit_state SET size = 4",
        "UPDATE audit_state SET frontier = x'00'",
        "UPDATE audit_state SET note = replace(note, char(10) || '5' || char(10),
                                                     char(10) || '6' || char(10))",
        "UPDATE audit_state SET note = ''",
        "DELETE FROM audit_state",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let h = harness(Arc::new(open(folder.path())));
        let acme = h.project("acme").await.unwrap();
        for _ in 0..4 {
            h.commit(&acme, Vec::new()).await.unwrap();
        }
        h.store().close().await;
        tamper(folder.path(), sql);
        let refused = refusal(folder.path());
        assert!(matches!(refused, OpenError::AuditDamaged { .. }), "{sql}: {refused}");
        assert!(refused.to_string().contains("keyreeve audit verify"), "{refused}");
    }
}

/// Holds the writer up the first time it is told of an epoch.
struct Stopper {
    reached: mpsc::Sender<()>,
    go_on: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Stopper {
    /// The sink, when it is reached, and how to let it go on.
    fn new() -> (Arc<Self>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (reached, is_reached) = mpsc::channel();
        let (let_go_on, go_on) = mpsc::channel();
        (Arc::new(Self { reached, go_on: Mutex::new(Some(go_on)) }), is_reached, let_go_on)
    }
}

impl ChangeSink for Stopper {
    fn apply(&self, _: &ProjectName, _: &Change) {}

    fn advance(&self, _: u64) {
        if let Some(go_on) = self.go_on.lock().take() {
            self.reached.send(()).unwrap();
            go_on.recv().unwrap();
        }
    }
}

/// All tasks of these tests share one thread, and each gives way only once its unit is handed
/// over and it has to wait.
async fn let_tasks_begin() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn units_that_wait_together_are_flushed_together() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let h = harness(store.clone());
    let acme = h.project("acme").await.unwrap();
    let (sink, reached, go_on) = Stopper::new();
    let loading = tokio::spawn({
        let store = store.clone();
        async move { store.load(sink).await }
    });
    let_tasks_begin().await;
    reached.recv().unwrap();
    let before = store.statistics();
    let mut units = Vec::new();
    for _ in 0..64 {
        let (h, acme) = (h.clone(), acme.clone());
        units.push(tokio::spawn(async move { h.commit(&acme, Vec::new()).await }));
    }
    let_tasks_begin().await;
    go_on.send(()).unwrap();
    for unit in units {
        unit.await.unwrap().unwrap();
    }
    loading.await.unwrap().unwrap();
    let after = store.statistics();
    assert_eq!(after.units - before.units, 64);
    let batches = after.batches - before.batches;
    assert!(batches <= 4, "{batches} flushes for 64 units");
    store.close().await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { queue_limit: 1, ..options(folder.path()) };
    let store = Arc::new(sqlite::open(options, samples::signer(1).unwrap()).unwrap());
    let h = harness(store.clone());
    let acme = h.project("acme").await.unwrap();
    let (sink, reached, go_on) = Stopper::new();
    let loading = tokio::spawn({
        let store = store.clone();
        async move { store.load(sink).await }
    });
    let_tasks_begin().await;
    reached.recv().unwrap();
    let waiting = tokio::spawn({
        let (h, acme) = (h.clone(), acme.clone());
        async move { h.commit(&acme, Vec::new()).await }
    });
    let_tasks_begin().await;
    let refused = h.commit(&acme, Vec::new()).await;
    assert!(matches!(refused, Err(CommitError::Overloaded)), "{refused:?}");
    go_on.send(()).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().seq, 1);
    loading.await.unwrap().unwrap();
    assert_eq!(h.verify_log().await.unwrap().size, 2);
    store.close().await;
}

#[tokio::test]
async fn closing_finishes_what_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let h = harness(store.clone());
    let acme = h.project("acme").await.unwrap();
    let mut units = Vec::new();
    for _ in 0..32 {
        let (h, acme) = (h.clone(), acme.clone());
        units.push(tokio::spawn(async move { h.commit(&acme, Vec::new()).await }));
    }
    let_tasks_begin().await;
    // Nobody waits for the second half any more. It is done all the same.
    for unit in units.drain(16..) {
        unit.abort();
    }
    store.close().await;
    for unit in units {
        unit.await.unwrap().unwrap();
    }
    let h = harness(Arc::new(open(folder.path())));
    assert_eq!(h.verify_log().await.unwrap().size, 33);
    h.store().close().await;
}

/// Takes everything, and notes whether it was told that it may have missed something.
#[derive(Default)]
struct Witness {
    lost: AtomicBool,
}

impl ChangeSink for Witness {
    fn apply(&self, _: &ProjectName, _: &Change) {}

    fn advance(&self, _: u64) {}

    fn lost(&self) {
        self.lost.store(true, Ordering::Release);
    }
}

/// Breaks when it is told of a change, and again when it is told what came of that.
#[derive(Default)]
struct Fragile {
    lost: AtomicBool,
}

impl ChangeSink for Fragile {
    fn apply(&self, _: &ProjectName, change: &Change) {
        assert!(matches!(change, Change::CreateProject(_)), "made to break");
    }

    fn advance(&self, _: u64) {}

    fn lost(&self) {
        assert!(self.lost.swap(true, Ordering::AcqRel), "made to break again");
    }
}

#[tokio::test]
async fn a_broken_writer_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let h = harness(store.clone());
    let fragile = Arc::new(Fragile::default());
    let witnesses = [Arc::new(Witness::default()), Arc::new(Witness::default())];
    store.load(witnesses[0].clone()).await.unwrap();
    store.load(fragile.clone()).await.unwrap();
    store.load(witnesses[1].clone()).await.unwrap();
    let broken = h.project("acme").await;
    assert!(broken.is_err());
    // By the time the author knows, so does everyone who may have missed the change.
    assert!(fragile.lost.load(Ordering::Acquire));
    assert!(witnesses.iter().all(|witness| witness.lost.load(Ordering::Acquire)));
    let acme = samples::name("acme").unwrap();
    let later = h.commit(&acme, Vec::new()).await;
    assert!(matches!(later, Err(CommitError::Store(StoreError::Closed))), "{later:?}");
    assert!(matches!(store.check().await, Err(StoreError::Closed)));
    // What was durable before the sink broke is there.
    assert_eq!(store.projects().await.unwrap().len(), 1);
    store.close().await;
    let h = harness(Arc::new(open(folder.path())));
    assert_eq!(h.verify_log().await.unwrap().size, 1);
    h.store().close().await;
}

#[tokio::test]
async fn an_orderly_end_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let witness = Arc::new(Witness::default());
    store.load(witness.clone()).await.unwrap();
    harness(store.clone()).project("acme").await.unwrap();
    store.close().await;
    assert!(!witness.lost.load(Ordering::Acquire));
}

#[tokio::test]
async fn after_a_failed_write_a_check_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let h = harness(store.clone());
    let acme = h.project("acme").await.unwrap();
    let log = || fs::metadata(folder.path().join("keyreeve.db-wal")).unwrap().len();
    tamper(
        folder.path(),
        "CREATE TRIGGER no_room BEFORE UPDATE ON audit_state
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    let before = log();
    store.check().await.unwrap();
    assert_eq!(log(), before, "nothing has failed yet");

    let failed = h.commit(&acme, Vec::new()).await;
    assert!(matches!(failed, Err(CommitError::Store(StoreError::Backend(_)))), "{failed:?}");
    for _ in 0..2 {
        let check = store.check().await;
        assert!(matches!(check, Err(StoreError::Backend(_))), "{check:?}");
    }
    tamper(folder.path(), "DROP TRIGGER no_room");
    let before = log();
    store.check().await.unwrap();
    let after = log();
    assert!(after > before, "something was written");
    store.check().await.unwrap();
    assert_eq!(log(), after, "once is enough");

    h.commit(&acme, Vec::new()).await.unwrap();
    let report = h.verify_log().await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.size, 2);
    store.close().await;
}

/// Breaks when it is told of a key, which while loading is done by a reader.
struct KeyShy;

impl ChangeSink for KeyShy {
    fn apply(&self, _: &ProjectName, change: &Change) {
        assert!(!matches!(change, Change::CreateKey(_)), "made to break");
    }

    fn advance(&self, _: u64) {}
}

#[tokio::test]
async fn a_broken_reader_is_reported_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let h = harness(store.clone());
    let acme = h.project("acme").await.unwrap();
    let key = samples::key(&acme, 1).unwrap();
    h.create_keys(&[key]).await.unwrap();

    let load = store.load(Arc::new(KeyShy)).await;
    assert!(matches!(load, Err(StoreError::Backend(_))), "{load:?}");
    for _ in 0..10 {
        assert_eq!(h.ids(&acme, &KeyFilter::default()).await.unwrap().len(), 1);
    }
    h.commit(&acme, Vec::new()).await.unwrap();
    store.close().await;
}
