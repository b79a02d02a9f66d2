//! Projects, environments, keyspaces, owners, roles.

use jiff::SignedDuration;
use keyreeve_core::{
    Invalid,
    model::{FailPolicy, Keyspace, Owner, Role},
    name::ProjectName,
};
use keyreeve_engine::store::{Change, PageRequest};

use super::{
    harness::{Harness, Outcome},
    samples::{self, name},
};

pub(super) async fn projects_are_listed_by_name(h: Harness) -> Outcome {
    assert!(h.store.projects().await?.is_empty());
    for project in ["zebra", "acme", "mid-1"] {
        h.project(project).await?;
    }
    let listed = h.store.projects().await?;
    let expected =
        [samples::project("acme")?, samples::project("mid-1")?, samples::project("zebra")?];
    assert_eq!(listed, expected);
    Ok(())
}

pub(super) async fn a_project_is_made_whole_in_one_unit(h: Harness) -> Outcome {
    let project: ProjectName = name("acme")?;
    let key = samples::key(&project, 1)?;
    let changes = vec![
        Change::CreateProject(samples::project("acme")?),
        Change::CreateEnvironment(samples::environment("production")?),
        Change::CreateKeyspace(samples::keyspace("default")?),
        Change::CreateKey(Box::new(key.clone())),
    ];
    h.commit(&project, changes).await?;
    assert_eq!(h.key(&project, key.id).await?.key, key);
    Ok(())
}

pub(super) async fn only_the_default_project_makes_others(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let create = Change::CreateProject(samples::project("other")?);
    assert_refused!(h.commit(&acme, vec![create.clone()]).await, NotFound(Project));
    let default = ProjectName::default_project();
    h.commit(&default, vec![create]).await?;
    let other: ProjectName = name("other")?;
    let environment = Change::CreateEnvironment(samples::environment("production")?);
    h.commit(&other, vec![environment]).await?;
    assert_eq!(h.store.environments(&other).await?.len(), 1);
    assert!(h.store.environments(&default).await?.is_empty());
    Ok(())
}

pub(super) async fn taken_names_are_refused(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let owner = Change::CreateOwner(samples::owner("customer")?);
    let role = Change::CreateRole(samples::role("auditor")?);
    h.commit(&acme, vec![owner.clone(), role.clone()]).await?;

    let project = Change::CreateProject(samples::project("acme")?);
    assert_refused!(h.commit(&acme, vec![project]).await, AlreadyExists(Project));
    let environment = Change::CreateEnvironment(samples::environment("production")?);
    assert_refused!(h.commit(&acme, vec![environment]).await, AlreadyExists(Environment));
    let keyspace = Change::CreateKeyspace(samples::keyspace("default")?);
    assert_refused!(h.commit(&acme, vec![keyspace]).await, AlreadyExists(Keyspace));
    assert_refused!(h.commit(&acme, vec![owner.clone()]).await, AlreadyExists(Owner));
    assert_refused!(h.commit(&acme, vec![role.clone()]).await, AlreadyExists(Role));
    // Names are a project's own.
    let other = h.project("other").await?;
    h.commit(&other, vec![owner, role]).await?;
    Ok(())
}

pub(super) async fn nothing_is_made_in_an_unknown_project(h: Harness) -> Outcome {
    let nowhere: ProjectName = name("nowhere")?;
    for change in [
        Change::CreateEnvironment(samples::environment("production")?),
        Change::CreateKeyspace(samples::keyspace("default")?),
        Change::CreateOwner(samples::owner("customer")?),
        Change::EnsureOwner(samples::owner("customer")?),
        Change::CreateRole(samples::role("auditor")?),
        Change::RememberResult(samples::result(1, 1)),
    ] {
        assert_refused!(h.commit(&nowhere, vec![change]).await, NotFound(Project));
    }
    let key = Change::CreateKey(Box::new(samples::key(&nowhere, 1)?));
    assert_refused!(h.commit(&nowhere, vec![key]).await, NotFound(Keyspace));
    Ok(())
}

pub(super) async fn everything_is_read_back_as_it_was_written(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let plain = Keyspace { default_expires_in: None, ..samples::keyspace("plain")? };
    let open = Keyspace { fail_policy: FailPolicy::Open, ..samples::keyspace("open")? };
    let nameless = Owner { name: None, ..samples::owner("user:42 / é")? };
    let owner = samples::owner("customer")?;
    let role = samples::role("auditor")?;
    let powerless = Role {
        permissions: samples::permissions(&[])?,
        description: String::new(),
        ..samples::role("a-role")?
    };
    let changes = vec![
        Change::CreateKeyspace(plain.clone()),
        Change::CreateKeyspace(open.clone()),
        Change::CreateOwner(nameless.clone()),
        Change::CreateOwner(owner.clone()),
        Change::CreateRole(role.clone()),
        Change::CreateRole(powerless.clone()),
    ];
    h.commit(&acme, changes).await?;

    let default = samples::keyspace("default")?;
    assert_eq!(h.store.keyspaces(&acme).await?, [default, open.clone(), plain.clone()]);
    assert_eq!(h.store.keyspace(&acme, &plain.name).await?, Some(plain));
    assert_eq!(h.store.keyspace(&acme, &open.name).await?, Some(open));
    assert_eq!(h.store.keyspace(&acme, &name("gone")?).await?, None);
    let environments = [samples::environment("production")?, samples::environment("staging")?];
    assert_eq!(h.store.environments(&acme).await?, environments);
    let owners = h.store.owners(&acme, &PageRequest::first(10)).await?;
    assert_eq!(owners.items, [owner.clone(), nameless.clone()]);
    assert_eq!(h.store.owner(&acme, &owner.id).await?, Some(owner));
    assert_eq!(h.store.owner(&acme, &nameless.id).await?, Some(nameless));
    assert_eq!(h.store.owner(&acme, &name("gone")?).await?, None);
    assert_eq!(h.store.roles(&acme).await?, [powerless, role.clone()]);
    assert_eq!(h.store.role(&acme, &role.name).await?, Some(role));
    assert_eq!(h.store.role(&acme, &name("viewer")?).await?, None);
    Ok(())
}

pub(super) async fn updates_need_the_next_revision(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let keyspace = |revision| -> Result<Change, Invalid> {
        Ok(Change::UpdateKeyspace(Keyspace { revision, ..samples::keyspace("default")? }))
    };
    let owner = |revision| -> Result<Change, Invalid> {
        Ok(Change::UpdateOwner(Owner { revision, ..samples::owner("customer")? }))
    };
    let role = |revision| -> Result<Change, Invalid> {
        Ok(Change::UpdateRole(Role { revision, ..samples::role("auditor")? }))
    };
    assert_refused!(h.commit(&acme, vec![owner(2)?]).await, NotFound(Owner));
    assert_refused!(h.commit(&acme, vec![role(2)?]).await, NotFound(Role));
    let gone = Keyspace { revision: 2, ..samples::keyspace("gone")? };
    let gone = Change::UpdateKeyspace(gone);
    assert_refused!(h.commit(&acme, vec![gone]).await, NotFound(Keyspace));

    let made = vec![
        Change::CreateOwner(samples::owner("customer")?),
        Change::CreateRole(samples::role("auditor")?),
    ];
    h.commit(&acme, made).await?;
    for wrong in [0, 1, 3] {
        assert_refused!(h.commit(&acme, vec![keyspace(wrong)?]).await, ChangedMeanwhile(Keyspace));
        assert_refused!(h.commit(&acme, vec![owner(wrong)?]).await, ChangedMeanwhile(Owner));
        assert_refused!(h.commit(&acme, vec![role(wrong)?]).await, ChangedMeanwhile(Role));
    }
    h.commit(&acme, vec![keyspace(2)?, owner(2)?, role(2)?, keyspace(3)?]).await?;
    assert_refused!(h.commit(&acme, vec![keyspace(3)?]).await, ChangedMeanwhile(Keyspace));
    assert_refused!(h.commit(&acme, vec![owner(2)?]).await, ChangedMeanwhile(Owner));
    assert_refused!(h.commit(&acme, vec![role(2)?]).await, ChangedMeanwhile(Role));
    Ok(())
}

pub(super) async fn updates_keep_what_never_changes(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let keyspace = samples::keyspace("default")?;
    let owner = samples::owner("customer")?;
    let role = samples::role("auditor")?;
    let made = vec![Change::CreateOwner(owner.clone()), Change::CreateRole(role.clone())];
    h.commit(&acme, made).await?;

    let prefix = Keyspace { prefix: name("other")?, revision: 2, ..keyspace.clone() };
    let prefix = Change::UpdateKeyspace(prefix);
    assert_refused!(h.commit(&acme, vec![prefix]).await, ChangedMeanwhile(Keyspace));

    let keyspace = Keyspace {
        default_expires_in: None,
        default_grace: SignedDuration::from_millis(1),
        fail_policy: FailPolicy::Open,
        revision: 2,
        ..keyspace
    };
    let metadata = samples::metadata("plan", "gold")?;
    let owner = Owner { name: None, metadata, revision: 2, ..owner };
    let role = Role {
        description: "new".to_owned(),
        permissions: samples::permissions(&["a.b"])?,
        revision: 2,
        ..role
    };
    // The time of making is not theirs to change.
    let later = samples::time(9_999);
    let changes = vec![
        Change::UpdateKeyspace(Keyspace { created_at: later, ..keyspace.clone() }),
        Change::UpdateOwner(Owner { created_at: later, ..owner.clone() }),
        Change::UpdateRole(Role { created_at: later, ..role.clone() }),
    ];
    h.commit(&acme, changes).await?;
    assert_eq!(h.store.keyspace(&acme, &keyspace.name).await?, Some(keyspace));
    assert_eq!(h.store.owner(&acme, &owner.id).await?, Some(owner));
    assert_eq!(h.store.role(&acme, &role.name).await?, Some(role));
    Ok(())
}

pub(super) async fn what_keys_refer_to_stays(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let mut key = samples::key(&acme, 1)?;
    key.owner = Some(name("customer")?);
    key.roles = vec![name("auditor")?];
    // Deleted keys can come back, so what they refer to stays as well.
    key.lifecycle = key.lifecycle.delete(samples::time(5))?;
    let made = vec![
        Change::CreateOwner(samples::owner("customer")?),
        Change::CreateRole(samples::role("auditor")?),
        Change::CreateKey(Box::new(key)),
    ];
    h.commit(&acme, made).await?;
    let environment = Change::DeleteEnvironment(name("production")?);
    assert_refused!(h.commit(&acme, vec![environment]).await, InUse(Environment));
    let keyspace = Change::DeleteKeyspace(name("default")?);
    assert_refused!(h.commit(&acme, vec![keyspace]).await, InUse(Keyspace));
    let owner = Change::DeleteOwner(name("customer")?);
    assert_refused!(h.commit(&acme, vec![owner]).await, InUse(Owner));
    let role = Change::DeleteRole(name("auditor")?);
    assert_refused!(h.commit(&acme, vec![role]).await, InUse(Role));
    assert!(h.store.role(&acme, &name("auditor")?).await?.is_some());
    assert_eq!(h.store.environments(&acme).await?.len(), 2);
    Ok(())
}

pub(super) async fn what_no_key_refers_to_goes(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let made = vec![
        Change::CreateOwner(samples::owner("customer")?),
        Change::CreateRole(samples::role("auditor")?),
        // A key elsewhere in the project is in nobody's way.
        Change::CreateKeyspace(samples::keyspace("other")?),
        Change::CreateKey(Box::new(samples::key(&acme, 1)?)),
    ];
    h.commit(&acme, made).await?;
    let environment = Change::DeleteEnvironment(name("staging")?);
    let keyspace = Change::DeleteKeyspace(name("other")?);
    let owner = Change::DeleteOwner(name("customer")?);
    let role = Change::DeleteRole(name("auditor")?);
    let all = [environment.clone(), keyspace.clone(), owner.clone(), role.clone()];
    h.commit(&acme, all.to_vec()).await?;
    assert_eq!(h.store.environments(&acme).await?.len(), 1);
    assert_eq!(h.store.keyspaces(&acme).await?.len(), 1);
    assert!(h.store.owners(&acme, &PageRequest::first(1)).await?.items.is_empty());
    assert!(h.store.roles(&acme).await?.is_empty());

    assert_refused!(h.commit(&acme, vec![environment]).await, NotFound(Environment));
    assert_refused!(h.commit(&acme, vec![keyspace]).await, NotFound(Keyspace));
    assert_refused!(h.commit(&acme, vec![owner]).await, NotFound(Owner));
    assert_refused!(h.commit(&acme, vec![role]).await, NotFound(Role));
    Ok(())
}

pub(super) async fn ensuring_an_owner_keeps_the_known_one(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let first = samples::owner("customer")?;
    let metadata = samples::metadata("plan", "second")?;
    let second = Owner { name: None, metadata, ..first.clone() };
    h.commit(&acme, vec![Change::EnsureOwner(first.clone())]).await?;
    let again = vec![Change::EnsureOwner(second.clone()), Change::EnsureOwner(second)];
    h.commit(&acme, again).await?;
    assert_eq!(h.store.owner(&acme, &first.id).await?, Some(first));
    Ok(())
}
