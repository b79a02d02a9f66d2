//! Applying one change, inside the writer's transaction.

mod claims;
mod keys;
mod results;
mod tenancy;

use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::Change;
use rusqlite::Connection;

use super::failure::Refusal;

/// Applies one change of a unit of work in `project`.
pub(super) fn apply(
    connection: &Connection,
    project: &ProjectName,
    change: &Change,
) -> Result<(), Refusal> {
    match change {
        Change::CreateProject(new) => tenancy::create_project(connection, project, new),
        Change::CreateEnvironment(new) => tenancy::create_environment(connection, project, new),
        Change::DeleteEnvironment(name) => tenancy::delete_environment(connection, project, name),
        Change::CreateKeyspace(new) => tenancy::create_keyspace(connection, project, new),
        Change::UpdateKeyspace(new) => tenancy::update_keyspace(connection, project, new),
        Change::DeleteKeyspace(name) => tenancy::delete_keyspace(connection, project, name),
        Change::CreateOwner(new) => tenancy::create_owner(connection, project, new),
        Change::EnsureOwner(new) => tenancy::ensure_owner(connection, project, new),
        Change::UpdateOwner(new) => tenancy::update_owner(connection, project, new),
        Change::DeleteOwner(id) => tenancy::delete_owner(connection, project, id),
        Change::CreateRole(new) => tenancy::create_role(connection, project, new),
        Change::UpdateRole(new) => tenancy::update_role(connection, project, new),
        Change::DeleteRole(name) => tenancy::delete_role(connection, project, name),
        Change::CreateKey(new) => keys::create(connection, project, new),
        Change::UpdateKey(new) => keys::update(connection, project, new),
        Change::PurgeKey { id, revision } => keys::purge(connection, project, *id, *revision),
        Change::AddUsage(deltas) => keys::add_usage(connection, project, deltas),
        Change::RecogniseKey { id, digest } => keys::recognise(connection, project, *id, digest),
        Change::ClaimQuota(claims) => claims::claim(connection, project, claims),
        Change::SettleQuota(claims) => claims::settle(connection, project, claims),
        Change::RememberResult(result) => results::remember(connection, project, result),
        Change::ForgetResultsBefore(time) => results::forget_before(connection, *time),
    }
}
