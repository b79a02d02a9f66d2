//! What the vault keeps.

use std::sync::Arc;

use keyreeve_core::vault::{Binding, Keyring, RootKey, SealedVersion, SealingRandomness};
use keyreeve_engine::store::{Change, RecordKind, SealedRow, VaultRecord};

use super::harness::{Failure, Harness, Outcome};

pub(super) fn record(kind: RecordKind, id: &str, revision: u64) -> VaultRecord {
    let body = format!("{{\"revision\":{revision}}}");
    let follows = revision - 1;
    VaultRecord { kind, id: id.into(), revision, follows, key: 1, tag: [7; 32], body }
}

fn put(record: &VaultRecord) -> Vec<Change> {
    vec![Change::PutRecord(Arc::new(record.clone()))]
}

/// Sealed under the key of that number.
fn sealed(number: u32) -> Result<SealedVersion, Failure> {
    let root = RootKey::new(keyreeve_core::Secret::new([1; 32]));
    let key = keyreeve_core::Secret::new([2; 32]);
    let key = root.make_key("i", number, &key, [3; 32])?;
    let keyring = Keyring::open(&root, "i", &[key])?;
    let binding = Binding { project: "acme", secret: "s", version: 1 };
    let data_key = keyreeve_core::Secret::new([4; 32]);
    Ok(keyring.seal(&binding, b"{}", SealingRandomness { data_key, salt: [5; 32] })?)
}

fn row(secret: &str, version: u64, key: u32) -> Result<SealedRow, Failure> {
    Ok(SealedRow { secret: secret.into(), version, sealed: sealed(key)? })
}

pub(super) async fn records_are_read_back_and_follow_their_revisions(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    let kind = RecordKind::Secret;
    let first = record(kind, "production/a b", 1);
    h.commit(&acme, put(&first)).await?;
    assert_refused!(h.commit(&acme, put(&first)).await, AlreadyExists(VaultRecord));
    h.commit(&other, put(&first)).await?;
    h.commit(&acme, put(&record(RecordKind::Policy, "production/a b", 1))).await?;
    let stored = h.store.vault_record(&acme, kind, "production/a b").await?;
    assert_eq!(stored, Some(first.clone()));
    let third = put(&record(kind, "production/a b", 3));
    assert_refused!(h.commit(&acme, third.clone()).await, ChangedMeanwhile(VaultRecord));
    let second = record(kind, "production/a b", 2);
    h.commit(&acme, put(&second)).await?;
    h.commit(&acme, third).await?;
    let missing = put(&record(kind, "nowhere", 2));
    assert_refused!(h.commit(&acme, missing).await, NotFound(VaultRecord));
    let delete =
        |revision| vec![Change::DeleteRecord { kind, id: "production/a b".into(), revision }];
    assert_refused!(h.commit(&acme, delete(2)).await, ChangedMeanwhile(VaultRecord));
    h.commit(&acme, delete(3)).await?;
    assert_refused!(h.commit(&acme, delete(3)).await, NotFound(VaultRecord));
    assert_eq!(h.store.vault_record(&acme, kind, "production/a b").await?, None);
    assert!(h.store.vault_record(&other, kind, "production/a b").await?.is_some());
    Ok(())
}

pub(super) async fn versions_are_kept_moved_and_dropped(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let changes = vec![Change::PutSealed(row("s", 1, 1)?), Change::PutSealed(row("s", 2, 1)?)];
    h.commit(&acme, changes).await?;
    let again = vec![Change::PutSealed(row("s", 2, 1)?)];
    assert_refused!(h.commit(&acme, again).await, AlreadyExists(SealedVersion));
    assert_eq!(h.store.sealed_version(&acme, "s", 2).await?, Some(sealed(1)?.as_bytes().to_vec()));
    assert_eq!(h.store.sealed_version(&acme, "s", 3).await?, None);
    let others = h.store.sealed_under_other_keys(2, 10).await?;
    assert_eq!(others.iter().map(|of| of.row.version).collect::<Vec<_>>(), [1, 2]);
    let first = sealed(1)?;
    assert!(others.iter().all(|of| of.project == acme && of.row.sealed == first));
    assert_eq!(h.store.sealed_under_other_keys(2, 1).await?.len(), 1);
    assert_eq!(h.store.sealed_under_other_keys(1, 10).await?, []);
    // Only what is still under the key that was read is moved.
    let new = row("s", 1, 2)?;
    let moved = |from| vec![Change::MoveSealed { row: new.clone(), from }];
    h.commit(&acme, moved(9)).await?;
    assert_eq!(h.store.sealed_version(&acme, "s", 1).await?, Some(sealed(1)?.as_bytes().to_vec()));
    h.commit(&acme, moved(1)).await?;
    assert_eq!(h.store.sealed_version(&acme, "s", 1).await?, Some(sealed(2)?.as_bytes().to_vec()));
    let drop = Change::DropSealed { secret: "s".into(), versions: vec![1, 2, 9] };
    h.commit(&acme, vec![drop]).await?;
    assert_eq!(h.store.sealed_version(&acme, "s", 1).await?, None);
    Ok(())
}

pub(super) async fn nothing_is_kept_for_an_unknown_project(h: Harness) -> Outcome {
    let nobody = "nobody".parse()?;
    let new = put(&record(RecordKind::Secret, "a", 1));
    assert_refused!(h.commit(&nobody, new).await, NotFound(Project));
    let new = vec![Change::PutSealed(row("s", 1, 1)?)];
    assert_refused!(h.commit(&nobody, new).await, NotFound(Project));
    Ok(())
}
