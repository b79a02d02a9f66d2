//! One project is none of another's business.

use keyreeve_core::{
    model::{ApiKey, Owner, Role},
    name::ProjectName,
};
use keyreeve_engine::store::{AuditFilter, Change, KeyFilter, PageRequest, StoredKey, Usage};

use super::{
    harness::{Failure, Harness, Outcome},
    samples::{self, name},
};

/// A project with one of everything, and a project that has nothing but its beginnings.
async fn neighbours(h: &Harness) -> Result<(ProjectName, ProjectName, ApiKey), Failure> {
    let (rich, poor) = (h.project("rich").await?, h.project("poor").await?);
    let key = ApiKey {
        owner: Some(name("customer")?),
        roles: vec![name("auditor")?],
        tags: samples::tags(&["blue"])?,
        expires_at: Some(samples::time(50)),
        ..samples::key(&rich, 1)?
    };
    let changes = vec![
        Change::CreateOwner(samples::owner("customer")?),
        Change::CreateRole(samples::role("auditor")?),
        Change::CreateKeyspace(samples::keyspace("partners")?),
        Change::CreateEnvironment(samples::environment("pilot")?),
        Change::CreateKey(Box::new(key.clone())),
        Change::RememberResult(samples::result(1, 1)),
    ];
    h.commit(&rich, changes).await?;
    Ok((rich, poor, key))
}

pub(super) async fn projects_do_not_see_each_other(h: Harness) -> Outcome {
    let (rich, poor, key) = neighbours(&h).await?;
    let page = PageRequest::first(100);
    let (early, late) = (samples::time(0), samples::time(100));
    assert_eq!(h.store.environments(&poor).await?.len(), 2);
    assert_eq!(h.store.keyspaces(&poor).await?, [samples::keyspace("default")?]);
    assert_eq!(h.store.keyspace(&poor, &name("partners")?).await?, None);
    assert!(h.store.owners(&poor, &page).await?.items.is_empty());
    assert_eq!(h.store.owner(&poor, &name("customer")?).await?, None);
    assert!(h.store.roles(&poor).await?.is_empty());
    assert_eq!(h.store.role(&poor, &name("auditor")?).await?, None);
    assert_eq!(h.store.key(&poor, key.id).await?, None);
    for filter in [
        KeyFilter::default(),
        KeyFilter { owner: Some(name("customer")?), ..KeyFilter::default() },
        KeyFilter { role: Some(name("auditor")?), ..KeyFilter::default() },
        KeyFilter { tag: Some("blue".to_owned()), ..KeyFilter::default() },
        KeyFilter { name_contains: Some("key".to_owned()), ..KeyFilter::default() },
    ] {
        assert!(h.ids(&poor, &filter).await?.is_empty(), "{filter:?}");
        assert_eq!(h.ids(&rich, &filter).await?, [key.id], "{filter:?}");
    }
    assert!(h.store.expiring_keys(&poor, early, late, &page).await?.items.is_empty());
    assert_eq!(h.store.expiring_keys(&rich, early, late, &page).await?.items.len(), 1);
    assert!(h.store.expired_keys(&poor, late, 100).await?.is_empty());
    assert_eq!(h.store.expired_keys(&rich, late, 100).await?.len(), 1);
    assert_eq!(h.store.idempotent_result(&poor, &samples::digest(1)).await?, None);
    let entries = h.store.audit_entries(&poor, &AuditFilter::default(), &page).await?;
    assert_eq!(entries.items.len(), 1);
    assert!(entries.items.iter().all(|item| item.entry.project == poor));

    let nowhere: ProjectName = name("nowhere")?;
    assert!(h.store.environments(&nowhere).await?.is_empty());
    assert!(
        h.store.audit_entries(&nowhere, &AuditFilter::default(), &page).await?.items.is_empty()
    );
    Ok(())
}

pub(super) async fn projects_do_not_change_each_other(h: Harness) -> Outcome {
    let (rich, poor, key) = neighbours(&h).await?;
    let stolen = ApiKey { project: poor.clone(), revision: 2, ..key.clone() };
    let update = Change::UpdateKey(Box::new(stolen.clone()));
    assert_refused!(h.commit(&poor, vec![update.clone()]).await, NotFound(ApiKey));
    assert_refused!(h.commit(&rich, vec![update]).await, NotFound(ApiKey));
    let update = Change::UpdateKey(Box::new(ApiKey { revision: 2, ..key.clone() }));
    assert_refused!(h.commit(&poor, vec![update]).await, NotFound(ApiKey));
    let purge = Change::PurgeKey { id: key.id, revision: key.revision };
    assert_refused!(h.commit(&poor, vec![purge]).await, NotFound(ApiKey));
    let owner = Owner { revision: 2, ..samples::owner("customer")? };
    let owner = Change::UpdateOwner(owner);
    assert_refused!(h.commit(&poor, vec![owner]).await, NotFound(Owner));
    let owner = Change::DeleteOwner(name("customer")?);
    assert_refused!(h.commit(&poor, vec![owner]).await, NotFound(Owner));
    let role = Change::UpdateRole(Role { revision: 2, ..samples::role("auditor")? });
    assert_refused!(h.commit(&poor, vec![role]).await, NotFound(Role));
    let role = Change::DeleteRole(name("auditor")?);
    assert_refused!(h.commit(&poor, vec![role]).await, NotFound(Role));
    let keyspace = Change::DeleteKeyspace(name("partners")?);
    assert_refused!(h.commit(&poor, vec![keyspace]).await, NotFound(Keyspace));
    let environment = Change::DeleteEnvironment(name("pilot")?);
    assert_refused!(h.commit(&poor, vec![environment]).await, NotFound(Environment));
    // A use of what one's own things are called is no use of another's.
    let delete = vec![Change::DeleteEnvironment(name("production")?)];
    h.commit(&poor, delete).await?;
    let usage = Change::AddUsage(vec![samples::usage(1, 1, 1)]);
    h.commit(&poor, vec![usage]).await?;
    let expected = StoredKey { key, usage: Usage::default() };
    assert_eq!(h.key(&rich, expected.key.id).await?, expected);
    Ok(())
}
