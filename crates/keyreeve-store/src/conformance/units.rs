//! All of a unit of work, or nothing.

use keyreeve_core::model::{ApiKey, Owner};
use keyreeve_engine::store::{AuditFilter, Change, KeyFilter, PageRequest};

use super::{
    harness::{Harness, Outcome},
    samples::{self, name},
};

pub(super) async fn a_refused_unit_leaves_nothing(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let kept = samples::key(&acme, 1)?;
    let made = vec![
        Change::CreateOwner(samples::owner("kept")?),
        Change::CreateRole(samples::role("kept")?),
        Change::CreateKey(Box::new(kept.clone())),
        Change::AddUsage(vec![samples::usage(1, 1, 1)]),
        Change::RememberResult(samples::result(1, 1)),
    ];
    h.commit(&acme, made).await?;
    let before = h.key(&acme, kept.id).await?;

    let renamed = ApiKey {
        name: name("renamed")?,
        tags: samples::tags(&["new"])?,
        revision: 2,
        ..kept.clone()
    };
    let doomed = vec![
        Change::CreateEnvironment(samples::environment("new")?),
        Change::CreateKeyspace(samples::keyspace("new")?),
        Change::CreateOwner(samples::owner("new")?),
        Change::UpdateOwner(Owner { name: None, revision: 2, ..samples::owner("kept")? }),
        Change::CreateRole(samples::role("new")?),
        Change::DeleteRole(name("kept")?),
        Change::CreateKey(Box::new(samples::key(&acme, 2)?)),
        Change::UpdateKey(Box::new(renamed)),
        Change::AddUsage(vec![samples::usage(1, 10, 10)]),
        Change::ForgetResultsBefore(samples::time(100)),
        Change::RememberResult(samples::result(2, 2)),
        // The last straw.
        Change::CreateKey(Box::new(kept.clone())),
    ];
    assert_refused!(h.commit(&acme, doomed).await, AlreadyExists(ApiKey));

    assert_eq!(h.store.environments(&acme).await?.len(), 2);
    assert_eq!(h.store.keyspaces(&acme).await?.len(), 1);
    let owners = h.store.owners(&acme, &PageRequest::first(10)).await?;
    assert_eq!(owners.items, [samples::owner("kept")?]);
    assert_eq!(h.store.roles(&acme).await?, [samples::role("kept")?]);
    assert_eq!(h.key(&acme, kept.id).await?, before);
    assert_eq!(h.ids(&acme, &KeyFilter::default()).await?, [kept.id]);
    let tagged = KeyFilter { tag: Some("new".to_owned()), ..KeyFilter::default() };
    assert!(h.ids(&acme, &tagged).await?.is_empty());
    assert!(h.store.idempotent_result(&acme, &samples::digest(1)).await?.is_some());
    assert!(h.store.idempotent_result(&acme, &samples::digest(2)).await?.is_none());
    let (any, page) = (AuditFilter::default(), PageRequest::first(10));
    let entries = h.store.audit_entries(&acme, &any, &page).await?;
    assert_eq!(entries.items.len(), 2, "what was not done is not recorded as done");
    assert_eq!(h.commit(&acme, Vec::new()).await?.seq, 2);
    assert!(h.verify_log().await?.is_intact());
    Ok(())
}

pub(super) async fn changes_build_on_one_another(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let key = samples::key(&acme, 1)?;
    let owned = ApiKey { owner: Some(name("customer")?), revision: 2, ..key.clone() };
    let free = ApiKey { revision: 3, ..key.clone() };
    let changes = vec![
        Change::CreateKey(Box::new(key.clone())),
        Change::CreateOwner(samples::owner("customer")?),
        Change::UpdateKey(Box::new(owned)),
        Change::UpdateKey(Box::new(free.clone())),
        Change::DeleteOwner(name("customer")?),
        Change::AddUsage(vec![samples::usage(1, 2, 3)]),
    ];
    h.commit(&acme, changes).await?;
    let stored = h.key(&acme, key.id).await?;
    assert_eq!(stored.key, free);
    assert_eq!(stored.usage.verifications, 2);
    // In the other order it does not fit.
    let key = ApiKey { owner: Some(name("late")?), ..samples::key(&acme, 2)? };
    let changes =
        vec![Change::CreateKey(Box::new(key)), Change::CreateOwner(samples::owner("late")?)];
    assert_refused!(h.commit(&acme, changes).await, NotFound(Owner));
    Ok(())
}

pub(super) async fn a_unit_without_changes_is_recorded(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let receipt = h.record(&acme, Vec::new(), samples::entry(&acme, "test.denied")).await?;
    let filter = AuditFilter { action: Some("test.denied".to_owned()), ..AuditFilter::default() };
    let found = h.store.audit_entries(&acme, &filter, &PageRequest::first(10)).await?;
    let seqs: Vec<u64> = found.items.iter().map(|item| item.seq).collect();
    assert_eq!(seqs, [receipt.seq]);
    Ok(())
}

pub(super) async fn a_refused_project_leaves_nothing(h: Harness) -> Outcome {
    let acme = name("acme")?;
    let key = ApiKey { keyspace: name("gone")?, ..samples::key(&acme, 1)? };
    let changes = vec![
        Change::CreateProject(samples::project("acme")?),
        Change::CreateEnvironment(samples::environment("production")?),
        Change::CreateKey(Box::new(key)),
    ];
    assert_refused!(h.commit(&acme, changes).await, NotFound(Keyspace));
    assert!(h.store.projects().await?.is_empty());
    assert!(h.store.audit_log(0, 10).await?.is_empty());
    h.project("acme").await?;
    Ok(())
}
