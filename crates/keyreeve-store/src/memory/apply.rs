//! Applying one change. What is refused, and in which order things are looked at, is the same in
//! every backend.

use keyreeve_core::{
    key::{Imported, KeyDigest, KeyId},
    model::{ApiKey, Keyspace, Owner, Project, Revision, Role},
    name::{OwnerId, ProjectName, RoleName},
    role::BuiltinRole,
};
use keyreeve_engine::store::{
    Change, CommitError, DutyTerm, IdempotentResult, Kind, QuotaClaim, QuotaSubject, Usage,
    UsageDelta,
};

use super::{
    calls,
    tables::{Draft, Table, Tables},
    vault, webhooks,
};

/// Applies one change of a unit of work in `project`.
pub(super) fn apply(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    change: &Change,
) -> Result<(), CommitError> {
    match change {
        Change::CreateProject(new) => create_project(draft, project, new),
        Change::CreateEnvironment(new) => {
            let key = (project.clone(), new.name.clone());
            let taken = draft.tables().environments.contains_key(&key);
            create(draft, |t| &mut t.environments, key, new, taken, Kind::Environment)
        }
        Change::DeleteEnvironment(name) => {
            let used = uses(draft, project, |key| key.environment == *name);
            let key = (project.clone(), name.clone());
            delete(draft, |t| &mut t.environments, key, used, Kind::Environment)
        }
        Change::CreateKeyspace(new) => {
            let key = (project.clone(), new.name.clone());
            let taken = draft.tables().keyspaces.contains_key(&key);
            create(draft, |t| &mut t.keyspaces, key, new, taken, Kind::Keyspace)
        }
        Change::UpdateKeyspace(new) => update_keyspace(draft, project, new),
        Change::DeleteKeyspace(name) => {
            let used = uses(draft, project, |key| key.keyspace == *name);
            let key = (project.clone(), name.clone());
            delete(draft, |t| &mut t.keyspaces, key, used, Kind::Keyspace)
        }
        Change::CreateOwner(new) => create_owner(draft, project, new),
        Change::EnsureOwner(new) => ensure_owner(draft, project, new),
        Change::UpdateOwner(new) => update_owner(draft, project, new),
        Change::DeleteOwner(id) => delete_owner(draft, project, id),
        Change::CreateRole(new) => {
            let key = (project.clone(), new.name.clone());
            let taken = draft.tables().roles.contains_key(&key);
            create(draft, |t| &mut t.roles, key, new, taken, Kind::Role)
        }
        Change::UpdateRole(new) => update_role(draft, project, new),
        Change::DeleteRole(name) => delete_role(draft, project, name),
        Change::CreateKey(new) => create_key(draft, project, new),
        Change::UpdateKey(new) => update_key(draft, project, new),
        Change::PurgeKey { id, revision } => purge_key(draft, project, *id, *revision),
        Change::AddUsage(deltas) => {
            for delta in deltas {
                add_usage(draft, project, delta);
            }
            Ok(())
        }
        Change::AddCalls(_) | Change::ForgetCallsBefore(_) => calls::apply(draft, project, change),
        Change::AcceptEvent { .. }
        | Change::StepEvents(_)
        | Change::EndEvents { .. }
        | Change::ForgetEventsBefore(_) => webhooks::apply(draft, project, change),
        Change::RecogniseKey { id, digest } => recognise(draft, project, *id, *digest),
        Change::ClaimQuota(claims) => {
            claims.iter().try_for_each(|claim| claim_quota(draft, project, claim))
        }
        Change::SettleQuota(claims) => {
            for claim in claims {
                settle_quota(draft, project, claim);
            }
            Ok(())
        }
        Change::RememberResult(result) => remember(draft, project, result),
        Change::PutRecord(_)
        | Change::DeleteRecord { .. }
        | Change::PutSealed(_)
        | Change::MoveSealed { .. }
        | Change::DropSealed { .. } => vault::apply(draft, project, change),
        Change::OnDuty(term) => check_duty(draft, *term),
        Change::ForgetResultsBefore(time) => {
            forget(draft, |_, result| result.at < *time);
            Ok(())
        }
    }
}

fn ensure_owner(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    new: &Owner,
) -> Result<(), CommitError> {
    match create_owner(draft, project, new) {
        Err(CommitError::AlreadyExists(Kind::Owner)) => Ok(()),
        result => result,
    }
}

fn check_duty(draft: &Draft<'_>, term: DutyTerm) -> Result<(), CommitError> {
    let is_current = |(number, _): &(u64, String)| *number == term.number;
    if draft.tables().duties.get(term.duty).is_some_and(is_current) {
        return Ok(());
    }
    Err(CommitError::ChangedMeanwhile(Kind::Duty))
}

fn claim_quota(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    claim: &QuotaClaim,
) -> Result<(), CommitError> {
    let key = (project.clone(), claim.subject.clone());
    let before = draft.tables().claims.get(&key).copied();
    let claimed = match before {
        None => Some(claim.stored),
        Some(before) => before.claimed_after(claim.known, claim.stored),
    };
    let claimed = claimed.ok_or(CommitError::ChangedMeanwhile(Kind::Quota))?;
    draft.put(|t| &mut t.claims, key, claimed);
    Ok(())
}

fn settle_quota(draft: &mut Draft<'_>, project: &ProjectName, claim: &QuotaClaim) {
    let key = (project.clone(), claim.subject.clone());
    let before = draft.tables().claims.get(&key).copied();
    let settled = before.map_or(claim.stored, |before| before.settled(claim.known, claim.stored));
    draft.put(|t| &mut t.claims, key, settled);
}

fn create_project(
    draft: &mut Draft<'_>,
    unit: &ProjectName,
    new: &Project,
) -> Result<(), CommitError> {
    // Only the default project looks after others; to the rest they do not exist.
    if new.name != *unit && !unit.is_default() {
        return Err(CommitError::NotFound(Kind::Project));
    }
    if draft.tables().projects.contains_key(&new.name) {
        return Err(CommitError::AlreadyExists(Kind::Project));
    }
    draft.put(|t| &mut t.projects, new.name.clone(), new.clone());
    Ok(())
}

fn create<N, V>(
    draft: &mut Draft<'_>,
    table: Table<(ProjectName, N), V>,
    key: (ProjectName, N),
    new: &V,
    taken: bool,
    kind: Kind,
) -> Result<(), CommitError>
where
    N: Ord + Clone + 'static,
    V: Clone + 'static,
{
    if !draft.tables().projects.contains_key(&key.0) {
        return Err(CommitError::NotFound(Kind::Project));
    }
    if taken {
        return Err(CommitError::AlreadyExists(kind));
    }
    draft.put(table, key, new.clone());
    Ok(())
}

fn delete<N, V>(
    draft: &mut Draft<'_>,
    table: Table<(ProjectName, N), V>,
    key: (ProjectName, N),
    used: bool,
    kind: Kind,
) -> Result<(), CommitError>
where
    N: Ord + 'static,
    V: 'static,
{
    if !draft.remove(table, key) {
        return Err(CommitError::NotFound(kind));
    }
    if used { Err(CommitError::InUse(kind)) } else { Ok(()) }
}

fn uses(draft: &Draft<'_>, project: &ProjectName, refers: impl Fn(&ApiKey) -> bool) -> bool {
    draft.tables().keys.values().any(|key| key.project == *project && refers(key))
}

/// Whether a value of revision `new` may replace one of revision `stored`.
fn follows(stored: u64, new: u64) -> bool {
    stored.checked_add(1) == Some(new)
}

fn update_keyspace(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    new: &Keyspace,
) -> Result<(), CommitError> {
    let key = (project.clone(), new.name.clone());
    let stored = draft.tables().keyspaces.get(&key);
    let stored = stored.ok_or(CommitError::NotFound(Kind::Keyspace))?;
    if !follows(stored.revision, new.revision) || stored.prefix != new.prefix {
        return Err(CommitError::ChangedMeanwhile(Kind::Keyspace));
    }
    let new = Keyspace { created_at: stored.created_at, ..new.clone() };
    draft.put(|t| &mut t.keyspaces, key, new);
    Ok(())
}

fn create_owner(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    new: &Owner,
) -> Result<(), CommitError> {
    let key = (project.clone(), new.id.clone());
    let taken = draft.tables().owners.contains_key(&key);
    create(draft, |t| &mut t.owners, key, new, taken, Kind::Owner)
}

fn update_owner(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    new: &Owner,
) -> Result<(), CommitError> {
    let key = (project.clone(), new.id.clone());
    let stored = draft.tables().owners.get(&key).ok_or(CommitError::NotFound(Kind::Owner))?;
    if !follows(stored.revision, new.revision) {
        return Err(CommitError::ChangedMeanwhile(Kind::Owner));
    }
    let new = Owner { created_at: stored.created_at, ..new.clone() };
    draft.put(|t| &mut t.owners, key, new);
    Ok(())
}

fn delete_owner(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    id: &OwnerId,
) -> Result<(), CommitError> {
    let used = uses(draft, project, |key| key.owner.as_ref() == Some(id));
    let key = (project.clone(), id.clone());
    delete(draft, |t| &mut t.owners, key, used, Kind::Owner)?;
    draft.remove(|t| &mut t.claims, (project.clone(), QuotaSubject::Owner(id.clone())));
    Ok(())
}

fn update_role(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    new: &Role,
) -> Result<(), CommitError> {
    let key = (project.clone(), new.name.clone());
    let stored = draft.tables().roles.get(&key).ok_or(CommitError::NotFound(Kind::Role))?;
    if !follows(stored.revision, new.revision) {
        return Err(CommitError::ChangedMeanwhile(Kind::Role));
    }
    let new = Role { created_at: stored.created_at, ..new.clone() };
    draft.put(|t| &mut t.roles, key, new);
    Ok(())
}

fn delete_role(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    name: &RoleName,
) -> Result<(), CommitError> {
    let used = uses(draft, project, |key| key.roles.contains(name));
    let key = (project.clone(), name.clone());
    delete(draft, |t| &mut t.roles, key, used, Kind::Role)
}

fn create_key(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    new: &ApiKey,
) -> Result<(), CommitError> {
    if new.project != *project {
        return Err(CommitError::NotFound(Kind::Project));
    }
    if draft.tables().keys.contains_key(&new.id) {
        return Err(CommitError::AlreadyExists(Kind::ApiKey));
    }
    check_keyspace(draft.tables(), new)?;
    check_references(draft.tables(), new)?;
    draft.put(|t| &mut t.keys, new.id, new.clone());
    Ok(())
}

fn update_key(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    new: &ApiKey,
) -> Result<(), CommitError> {
    let stored = draft.tables().key(project, new.id).filter(|_| new.project == *project);
    let stored = stored.ok_or(CommitError::NotFound(Kind::ApiKey))?;
    if !follows(stored.revision, new.revision) {
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey));
    }
    check_keyspace(draft.tables(), new)?;
    // Not the key that was read: what makes a key this key never changes.
    if stored.keyspace != new.keyspace || stored.digest != new.digest {
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey));
    }
    check_references(draft.tables(), new)?;
    let new = ApiKey {
        created_at: stored.created_at,
        created_by: stored.created_by.clone(),
        last_four: stored.last_four.clone(),
        lineage: stored.lineage,
        predecessor: stored.predecessor,
        parent: stored.parent,
        imported: stored.imported.clone(),
        ..new.clone()
    };
    draft.put(|t| &mut t.keys, new.id, new);
    Ok(())
}

fn check_keyspace(tables: &Tables, key: &ApiKey) -> Result<(), CommitError> {
    let keyspace = (key.project.clone(), key.keyspace.clone());
    let known = tables.keyspaces.contains_key(&keyspace);
    if known { Ok(()) } else { Err(CommitError::NotFound(Kind::Keyspace)) }
}

/// Whether everything the key refers to besides its keyspace exists.
fn check_references(tables: &Tables, key: &ApiKey) -> Result<(), CommitError> {
    let project = &key.project;
    let environment = (project.clone(), key.environment.clone());
    if !tables.environments.contains_key(&environment) {
        return Err(CommitError::NotFound(Kind::Environment));
    }
    let owner = key.owner.clone().map(|owner| (project.clone(), owner));
    if owner.is_some_and(|owner| !tables.owners.contains_key(&owner)) {
        return Err(CommitError::NotFound(Kind::Owner));
    }
    let known = |role: &RoleName| {
        BuiltinRole::named(role.as_str()).is_some()
            || tables.roles.contains_key(&(project.clone(), role.clone()))
    };
    if key.roles.iter().all(known) { Ok(()) } else { Err(CommitError::NotFound(Kind::Role)) }
}

fn purge_key(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    id: KeyId,
    revision: Revision,
) -> Result<(), CommitError> {
    let stored = draft.tables().key(project, id).ok_or(CommitError::NotFound(Kind::ApiKey))?;
    if stored.revision != revision {
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey));
    }
    draft.remove(|t| &mut t.keys, id);
    draft.remove(|t| &mut t.usage, id);
    draft.remove(|t| &mut t.claims, (project.clone(), QuotaSubject::Lineage(id)));
    forget(draft, |of, result| of == project && result.key == id);
    Ok(())
}

fn recognise(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    id: KeyId,
    digest: KeyDigest,
) -> Result<(), CommitError> {
    let stored = draft.tables().key(project, id).ok_or(CommitError::NotFound(Kind::ApiKey))?;
    let Some(imported) = stored.imported.as_deref().filter(|known| known.hash.is_some()) else {
        return Err(CommitError::ChangedMeanwhile(Kind::ApiKey));
    };
    let imported = Some(Box::new(Imported { hash: None, ..imported.clone() }));
    let new = ApiKey { digest, imported, revision: stored.revision + 1, ..stored.clone() };
    draft.put(|t| &mut t.keys, id, new);
    Ok(())
}

fn add_usage(draft: &mut Draft<'_>, project: &ProjectName, delta: &UsageDelta) {
    // The key may have been purged since it was used.
    if draft.tables().key(project, delta.key).is_none() {
        return;
    }
    let before = draft.tables().usage.get(&delta.key).cloned().unwrap_or_default();
    let usage = Usage {
        verifications: before.verifications.saturating_add(delta.verifications),
        last_used_at: before.last_used_at.max(Some(delta.last_used_at)),
        last_ip: delta.last_ip.or(before.last_ip),
        last_user_agent: delta.last_user_agent.clone().or(before.last_user_agent),
        peaks: before.peaks.max(delta.peaks),
    };
    draft.put(|t| &mut t.usage, delta.key, usage);
}

fn remember(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    result: &IdempotentResult,
) -> Result<(), CommitError> {
    let key = (project.clone(), result.lookup);
    let taken = draft.tables().results.contains_key(&key);
    create(draft, |t| &mut t.results, key, result, taken, Kind::IdempotentResult)
}

/// Takes out every answer that is one of those.
fn forget(draft: &mut Draft<'_>, is_one: impl Fn(&ProjectName, &IdempotentResult) -> bool) {
    let results = draft.tables().results.iter();
    let those = results.filter(|((project, _), result)| is_one(project, result));
    let those: Vec<_> = those.map(|(key, _)| key.clone()).collect();
    for key in those {
        draft.remove(|t| &mut t.results, key);
    }
}
