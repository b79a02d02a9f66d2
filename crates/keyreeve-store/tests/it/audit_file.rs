//! The audit log read straight from the file, whatever was done to it.

use std::{fs, path::Path, sync::Arc};

use keyreeve_core::{
    audit::{AuditEntry, Fault, LogVerifier, Report},
    model::ApiKey,
    name::ProjectName,
};
use keyreeve_engine::store::StoreError;
use keyreeve_store::{
    conformance::{Harness, samples},
    sqlite::{AuditFile, OpenError},
};

use crate::sqlite::{crashed_copy, database, harness, open, tamper};

/// What an auditor finds, and the entries whose columns say something else than their bodies.
fn verify(file: &AuditFile) -> (Report, Vec<u64>) {
    let verifier = samples::signer(1).unwrap().verifier();
    let notes = file.checkpoints().unwrap();
    let heads = notes.iter().map(|note| verifier.verify(note).unwrap());
    let mut log = LogVerifier::new(heads);
    let mut disagreeing = Vec::new();
    let read = file.for_each(|row| {
        log.entry(row.seq, &row.body, Some(&row.leaf));
        if !row.columns_agree() {
            disagreeing.push(row.seq);
        }
    });
    read.unwrap();
    (log.finish(), disagreeing)
}

fn verify_at(folder: &Path) -> (Report, Vec<u64>) {
    verify(&AuditFile::open(database(folder)).unwrap())
}

/// A log of `count` entries, each with a word in its body that stands nowhere else.
async fn furnish(folder: &Path, count: u64) -> Harness {
    let h = harness(Arc::new(open(folder)));
    let project = ProjectName::default_project();
    for number in 0..count {
        let reason = Some(format!("canary-{number:04}"));
        let entry = AuditEntry { reason, ..samples::entry(&project, "test.change") };
        h.record(&project, Vec::new(), entry).await.unwrap();
    }
    h
}

/// Changes the file where the word of this entry stands.
fn strike(folder: &Path, number: u64, blow: impl Fn(&mut [u8], usize)) {
    let path = database(folder);
    let mut bytes = fs::read(&path).unwrap();
    let word = format!("canary-{number:04}").into_bytes();
    let places: Vec<usize> = bytes
        .windows(word.len())
        .enumerate()
        .filter(|(_, window)| *window == word)
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty());
    for place in places {
        blow(&mut bytes, place);
    }
    fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn an_untouched_log_is_intact() {
    let folder = tempfile::tempdir().unwrap();
    let h = furnish(folder.path(), 30).await;
    h.store().close().await;
    let file = AuditFile::open(database(folder.path())).unwrap();
    let (report, disagreeing) = verify(&file);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.size, disagreeing.len()), (30, 0));
    assert_eq!(file.integrity_problems().unwrap(), Vec::<String>::new());
    assert_eq!(file.database_problems().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn damage_beside_the_log_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let h = furnish(folder.path(), 5).await;
    let acme = h.project("acme").await.unwrap();
    let name = samples::name("canary-0500").unwrap();
    h.create_keys(&[ApiKey { name, ..samples::key(&acme, 1).unwrap() }]).await.unwrap();
    h.store().close().await;
    strike(folder.path(), 500, |bytes, place| {
        let start = place - place % 4096;
        bytes[start..start + 4096].fill(0xFF);
    });
    let file = AuditFile::open(database(folder.path())).unwrap();
    assert_eq!(file.integrity_problems().unwrap(), Vec::<String>::new());
    let problems = file.database_problems().unwrap();
    assert!((1..=20).contains(&problems.len()), "{problems:?}");
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 30).await.store().close().await;
    strike(folder.path(), 17, |bytes, place| bytes[place + 2] ^= 1);
    let (report, disagreeing) = verify_at(folder.path());
    assert_eq!(report.faults, [Fault::Changed { seq: 17 }]);
    assert!(disagreeing.is_empty(), "the columns were not touched");
}

#[tokio::test]
async fn a_rewritten_entry_is_found_even_with_its_leaf() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 30).await.store().close().await;
    tamper(
        folder.path(),
        "UPDATE audit_entries SET (body, leaf) =
             (SELECT body, leaf FROM audit_entries WHERE seq = 3) WHERE seq = 4",
    );
    let (report, disagreeing) = verify_at(folder.path());
    assert!(report.faults.contains(&Fault::Misplaced { seq: 4 }), "{report:?}");
    assert_eq!(disagreeing, [4]);
}

#[tokio::test]
async fn a_changed_column_is_found() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 10).await.store().close().await;
    for (seq, change) in [
        (1, "actor = 'anonymous'"),
        (2, "action = 'test.nothing'"),
        (3, "target = ''"),
        (4, "outcome = 'denied'"),
        (5, "project = 'other'"),
        (6, "at_ms = at_ms + 1"),
    ] {
        let sql = format!("UPDATE audit_entries SET {change} WHERE seq = {seq}");
        tamper(folder.path(), &sql);
    }
    let (report, disagreeing) = verify_at(folder.path());
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(disagreeing, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn removed_entries_are_found() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 30).await.store().close().await;
    tamper(folder.path(), "DELETE FROM audit_entries WHERE seq >= 28");
    let (report, _) = verify_at(folder.path());
    assert_eq!(report.faults, [Fault::Missing { first: 28, last: 29 }]);
    tamper(folder.path(), "DELETE FROM audit_entries WHERE seq = 5");
    let (report, _) = verify_at(folder.path());
    assert_eq!(report.faults[0], Fault::Missing { first: 5, last: 5 });
}

#[tokio::test]
async fn a_leaf_that_is_no_hash_is_found() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 10).await.store().close().await;
    tamper(folder.path(), "UPDATE audit_entries SET leaf = x'00' WHERE seq = 4");
    let (report, _) = verify_at(folder.path());
    assert_eq!(report.faults[0], Fault::Changed { seq: 4 });
}

#[tokio::test]
async fn a_destroyed_page_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 200).await.store().close().await;
    strike(folder.path(), 100, |bytes, place| {
        let start = place - place % 4096;
        bytes[start..start + 4096].fill(0xFF);
    });
    let file = AuditFile::open(database(folder.path())).unwrap();
    let mut seen = 0;
    let read = file.for_each(|_| seen += 1);
    assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
    assert!((1..200).contains(&seen), "{seen}");
    let problems = file.integrity_problems().unwrap();
    assert!((1..=20).contains(&problems.len()), "{problems:?}");
}

#[tokio::test]
async fn a_running_server_does_not_disturb_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let h = furnish(folder.path(), 5).await;
    let file = AuditFile::open(database(folder.path())).unwrap();
    let again = AuditFile::open(database(folder.path())).unwrap();
    let project = ProjectName::default_project();
    h.commit(&project, Vec::new()).await.unwrap();
    let (report, _) = verify(&file);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.size, 5, "as it was when the file was opened");
    drop((file, again));
    assert_eq!(verify_at(folder.path()).0.size, 6);
    // Nor does the check disturb the server.
    h.commit(&project, Vec::new()).await.unwrap();
    h.store().close().await;
    assert_eq!(verify_at(folder.path()).0.size, 7);
}

#[tokio::test]
async fn the_log_of_a_killed_server_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let h = furnish(folder.path(), 40).await;
    let copy = crashed_copy(folder.path());
    let (report, _) = verify_at(copy.path());
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.size, 40);
    // Looking changed nothing: the log beside the file is still there for the next start.
    let log = fs::metadata(copy.path().join("keyreeve.db-wal")).unwrap();
    assert!(log.len() > 0);
    h.store().close().await;
}

#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let refusal = || AuditFile::open(&path).err().unwrap();
    assert!(matches!(refusal(), OpenError::Unopenable { .. }));
    fs::write(&path, "").unwrap();
    assert!(matches!(refusal(), OpenError::Foreign { .. }));
    fs::write(&path, "x".repeat(5000)).unwrap();
    assert!(matches!(refusal(), OpenError::NotADatabase { .. }));
    fs::remove_file(&path).unwrap();
    tamper(folder.path(), "CREATE TABLE wordpress (id INTEGER)");
    assert!(matches!(refusal(), OpenError::Foreign { .. }));
}
