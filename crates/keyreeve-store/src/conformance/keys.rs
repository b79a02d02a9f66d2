//! Making, changing and purging keys.

use keyreeve_core::{
    Invalid,
    key::{EnvTag, KeyDigest},
    lifecycle::Lifecycle,
    model::{ApiKey, Keyspace},
    name::{OwnerId, ProjectName, RoleName},
};
use keyreeve_engine::store::{Change, KeyFilter, Usage};

use super::{
    harness::{Failure, Harness, Outcome},
    samples::{self, name},
};

fn create(key: &ApiKey) -> Vec<Change> {
    vec![Change::CreateKey(Box::new(key.clone()))]
}

fn update(key: &ApiKey) -> Vec<Change> {
    vec![Change::UpdateKey(Box::new(key.clone()))]
}

/// A key with something in every field.
fn full(project: &ProjectName, number: u64) -> Result<ApiKey, Invalid> {
    Ok(ApiKey {
        name: name("Büro \"\\ key")?,
        environment: name("staging")?,
        tag: EnvTag::Test,
        owner: Some(name("customer")?),
        roles: vec![name("viewer")?, name("auditor")?],
        permissions: samples::permissions(&["documents.*", "a.b"])?,
        metadata: samples::metadata("nested \"text\"", "ä\n{}")?,
        tags: samples::tags(&["team:blue", "a=b"])?,
        created_by: "key:abcdefghijkl".to_owned(),
        expires_at: Some(samples::time(1_000_000)),
        digest: KeyDigest::Peppered(samples::digest(number + 1)),
        lineage: samples::key_id(number + 1),
        predecessor: Some(samples::key_id(number + 2)),
        ..samples::key(project, number)?
    })
}

async fn with_owner_and_role(h: &Harness) -> Result<ProjectName, Failure> {
    let acme = h.project("acme").await?;
    let changes = vec![
        Change::CreateOwner(samples::owner("customer")?),
        Change::CreateRole(samples::role("auditor")?),
    ];
    h.commit(&acme, changes).await?;
    Ok(acme)
}

pub(super) async fn a_key_is_read_back_whole(h: Harness) -> Outcome {
    let acme = with_owner_and_role(&h).await?;
    let (small, full) = (samples::key(&acme, 1)?, full(&acme, 10)?);
    h.create_keys(&[small.clone(), full.clone()]).await?;
    let stored = h.key(&acme, small.id).await?;
    assert_eq!(stored.key, small);
    assert_eq!(stored.usage, Usage::default());
    assert_eq!(h.key(&acme, full.id).await?.key, full);
    assert_eq!(h.store.key(&acme, samples::key_id(404)).await?, None);

    let changed = ApiKey {
        name: name("renamed")?,
        environment: name("production")?,
        tag: small.tag,
        owner: None,
        roles: vec![name("auditor")?],
        permissions: samples::permissions(&["c.d"])?,
        metadata: small.metadata.clone(),
        tags: small.tags.clone(),
        expires_at: None,
        revision: 2,
        ..full
    };
    h.commit(&acme, update(&changed)).await?;
    assert_eq!(h.key(&acme, changed.id).await?.key, changed);
    Ok(())
}

pub(super) async fn every_lifecycle_is_read_back(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let mut key = samples::key(&acme, 1)?;
    h.commit(&acme, create(&key)).await?;
    for (number, lifecycle) in (100..).zip(samples::lifecycles()) {
        let made = ApiKey { lifecycle: lifecycle.clone(), ..samples::key(&acme, number)? };
        h.commit(&acme, create(&made)).await?;
        assert_eq!(h.key(&acme, made.id).await?.key.lifecycle, lifecycle);
        key.lifecycle = lifecycle.clone();
        key.revision += 1;
        h.commit(&acme, update(&key)).await?;
        assert_eq!(h.key(&acme, key.id).await?.key.lifecycle, lifecycle);
    }
    Ok(())
}

pub(super) async fn a_taken_id_is_refused(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    let key = samples::key(&acme, 1)?;
    h.commit(&acme, create(&key)).await?;
    assert_refused!(h.commit(&acme, create(&key)).await, AlreadyExists(ApiKey));
    // Ids are unique on the installation: a key text alone must lead to its key.
    let elsewhere = samples::key(&other, 1)?;
    assert_refused!(h.commit(&other, create(&elsewhere)).await, AlreadyExists(ApiKey));
    // That the id is taken is found before anything the key refers to.
    let lost = ApiKey { keyspace: name("gone")?, ..key };
    assert_refused!(h.commit(&acme, create(&lost)).await, AlreadyExists(ApiKey));
    Ok(())
}

pub(super) async fn new_keys_refer_to_what_exists(h: Harness) -> Outcome {
    let acme = with_owner_and_role(&h).await?;
    let other = h.project("other").await?;
    let key = samples::key(&acme, 1)?;
    let gone: (OwnerId, RoleName) = (name("gone")?, name("gone")?);
    let lost = ApiKey { keyspace: name("gone")?, environment: name("gone")?, ..key.clone() };
    assert_refused!(h.commit(&acme, create(&lost)).await, NotFound(Keyspace));
    let lost = ApiKey { environment: name("gone")?, owner: Some(gone.0.clone()), ..key.clone() };
    assert_refused!(h.commit(&acme, create(&lost)).await, NotFound(Environment));
    let lost = ApiKey { owner: Some(gone.0), roles: vec![gone.1.clone()], ..key.clone() };
    assert_refused!(h.commit(&acme, create(&lost)).await, NotFound(Owner));
    let lost = ApiKey { roles: vec![name("auditor")?, gone.1], ..key.clone() };
    assert_refused!(h.commit(&acme, create(&lost)).await, NotFound(Role));
    // What another project has does not count.
    let abroad = ApiKey { owner: Some(name("customer")?), ..samples::key(&other, 2)? };
    assert_refused!(h.commit(&other, create(&abroad)).await, NotFound(Owner));
    let abroad = ApiKey { roles: vec![name("auditor")?], ..samples::key(&other, 2)? };
    assert_refused!(h.commit(&other, create(&abroad)).await, NotFound(Role));
    assert_refused!(h.commit(&other, create(&key)).await, NotFound(Project));
    assert!(h.ids(&acme, &KeyFilter::default()).await?.is_empty());
    assert!(h.ids(&other, &KeyFilter::default()).await?.is_empty());
    Ok(())
}

pub(super) async fn changed_keys_refer_to_what_exists(h: Harness) -> Outcome {
    let acme = with_owner_and_role(&h).await?;
    let key = samples::key(&acme, 1)?;
    h.commit(&acme, create(&key)).await?;
    let next = ApiKey { revision: 2, ..key.clone() };
    let lost = ApiKey { keyspace: name("gone")?, ..next.clone() };
    assert_refused!(h.commit(&acme, update(&lost)).await, NotFound(Keyspace));
    let lost = ApiKey { environment: name("gone")?, ..next.clone() };
    assert_refused!(h.commit(&acme, update(&lost)).await, NotFound(Environment));
    let lost = ApiKey { owner: Some(name("gone")?), ..next.clone() };
    assert_refused!(h.commit(&acme, update(&lost)).await, NotFound(Owner));
    let lost = ApiKey { roles: vec![name("gone")?], ..next };
    assert_refused!(h.commit(&acme, update(&lost)).await, NotFound(Role));
    assert_eq!(h.key(&acme, key.id).await?.key, key);
    Ok(())
}

pub(super) async fn built_in_roles_always_exist(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let roles = vec![name("admin")?, name("viewer")?, name("verifier")?];
    let key = ApiKey { roles, ..samples::key(&acme, 1)? };
    h.commit(&acme, create(&key)).await?;
    assert_eq!(h.key(&acme, key.id).await?.key, key);
    let filter = KeyFilter { role: Some(name("verifier")?), ..KeyFilter::default() };
    assert_eq!(h.ids(&acme, &filter).await?, [key.id]);
    let delete = Change::DeleteRole(name("admin")?);
    assert_refused!(h.commit(&acme, vec![delete]).await, NotFound(Role));
    Ok(())
}

pub(super) async fn updates_need_the_next_revision(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let key = samples::key(&acme, 1)?;
    let at = |revision| ApiKey { revision, ..key.clone() };
    assert_refused!(h.commit(&acme, update(&at(2))).await, NotFound(ApiKey));
    h.commit(&acme, create(&key)).await?;
    for wrong in [0, 1, 3, u64::MAX] {
        assert_refused!(h.commit(&acme, update(&at(wrong))).await, ChangedMeanwhile(ApiKey));
    }
    let twice = [update(&at(2)), update(&at(3))].concat();
    h.commit(&acme, twice).await?;
    assert_refused!(h.commit(&acme, update(&at(2))).await, ChangedMeanwhile(ApiKey));
    assert_eq!(h.key(&acme, key.id).await?.key.revision, 3);
    Ok(())
}

pub(super) async fn what_makes_a_key_this_key_never_changes(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let other_keyspace = Keyspace { prefix: name("xy")?, ..samples::keyspace("other")? };
    h.commit(&acme, vec![Change::CreateKeyspace(other_keyspace)]).await?;
    let key = samples::key(&acme, 1)?;
    h.commit(&acme, create(&key)).await?;
    let next = ApiKey { revision: 2, ..key.clone() };
    for another in [
        ApiKey { keyspace: name("other")?, ..next.clone() },
        ApiKey { digest: KeyDigest::Sha256(samples::digest(2)), ..next.clone() },
        ApiKey { digest: KeyDigest::Peppered(*key.digest.bytes()), ..next.clone() },
    ] {
        assert_refused!(h.commit(&acme, update(&another)).await, ChangedMeanwhile(ApiKey));
    }
    // Where a key comes from stays as it was, whatever an update says.
    let history = ApiKey {
        created_at: samples::time(77),
        created_by: "local:0".to_owned(),
        last_four: "zzzz".to_owned(),
        lineage: samples::key_id(5),
        predecessor: Some(samples::key_id(6)),
        ..next.clone()
    };
    h.commit(&acme, update(&history)).await?;
    assert_eq!(h.key(&acme, key.id).await?.key, next);
    Ok(())
}

pub(super) async fn words_follow_updates(h: Harness) -> Outcome {
    let acme = with_owner_and_role(&h).await?;
    let with = |roles: &[&str], tags: &[&str], revision| -> Result<ApiKey, Invalid> {
        let roles = roles.iter().map(|role| name(role)).collect::<Result<_, _>>()?;
        let tags = samples::tags(tags)?;
        Ok(ApiKey { roles, tags, revision, ..samples::key(&acme, 1)? })
    };
    let of_role = |role| -> Result<KeyFilter, Invalid> {
        Ok(KeyFilter { role: Some(name(role)?), ..KeyFilter::default() })
    };
    let of_tag = |tag: &str| KeyFilter { tag: Some(tag.to_owned()), ..KeyFilter::default() };
    let id = samples::key_id(1);
    h.commit(&acme, create(&with(&["auditor", "viewer"], &["a", "b"], 1)?)).await?;
    assert_eq!(h.ids(&acme, &of_role("auditor")?).await?, [id]);
    h.commit(&acme, update(&with(&["viewer", "client"], &["b", "c"], 2)?)).await?;
    assert!(h.ids(&acme, &of_role("auditor")?).await?.is_empty());
    assert_eq!(h.ids(&acme, &of_role("viewer")?).await?, [id]);
    assert_eq!(h.ids(&acme, &of_role("client")?).await?, [id]);
    assert!(h.ids(&acme, &of_tag("a")).await?.is_empty());
    assert_eq!(h.ids(&acme, &of_tag("b")).await?, [id]);
    assert_eq!(h.ids(&acme, &of_tag("c")).await?, [id]);
    // Nobody carries it any more.
    h.commit(&acme, vec![Change::DeleteRole(name("auditor")?)]).await?;
    h.commit(&acme, update(&with(&[], &[], 3)?)).await?;
    assert!(h.ids(&acme, &of_tag("b")).await?.is_empty());
    assert_eq!(h.ids(&acme, &KeyFilter::default()).await?, [id]);
    Ok(())
}

pub(super) async fn a_purged_key_leaves_nothing(h: Harness) -> Outcome {
    let acme = with_owner_and_role(&h).await?;
    let key = full(&acme, 1)?;
    h.commit(&acme, create(&key)).await?;
    let purge = || vec![Change::PurgeKey { id: key.id, revision: key.revision }];
    h.commit(&acme, purge()).await?;
    assert_eq!(h.store.key(&acme, key.id).await?, None);
    for filter in [
        KeyFilter::default(),
        KeyFilter { role: Some(name("auditor")?), ..KeyFilter::default() },
        KeyFilter { tag: Some("a=b".to_owned()), ..KeyFilter::default() },
    ] {
        assert!(h.ids(&acme, &filter).await?.is_empty());
    }
    let referred = vec![
        Change::DeleteOwner(name("customer")?),
        Change::DeleteRole(name("auditor")?),
        Change::DeleteEnvironment(name("staging")?),
        Change::DeleteKeyspace(name("default")?),
    ];
    h.commit(&acme, referred).await?;
    assert_refused!(h.commit(&acme, purge()).await, NotFound(ApiKey));
    Ok(())
}

pub(super) async fn a_key_that_changed_is_not_purged(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let lifecycle = Lifecycle::Deleted { at: samples::time(5), was: Box::new(Lifecycle::Active) };
    let deleted = ApiKey { lifecycle, ..samples::key(&acme, 1)? };
    let answer = samples::result(1, 1);
    let made = vec![
        Change::CreateKey(Box::new(deleted.clone())),
        Change::RememberResult(answer.clone()),
        Change::AddUsage(vec![samples::usage(1, 5, 5)]),
    ];
    h.commit(&acme, made).await?;
    let undeleted = ApiKey { lifecycle: Lifecycle::Active, revision: 2, ..deleted };
    h.commit(&acme, update(&undeleted)).await?;
    for wrong in [0, 1, 3, u64::MAX] {
        let purge = vec![Change::PurgeKey { id: undeleted.id, revision: wrong }];
        assert_refused!(h.commit(&acme, purge).await, ChangedMeanwhile(ApiKey));
    }
    let stored = h.key(&acme, undeleted.id).await?;
    assert_eq!(stored.key, undeleted);
    assert_eq!(stored.usage.verifications, 5);
    assert_eq!(h.store.idempotent_result(&acme, &answer.lookup).await?, Some(answer));
    Ok(())
}
