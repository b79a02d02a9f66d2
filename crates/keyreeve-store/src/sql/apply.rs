//! Applying one change, inside the writer's transaction.

mod claims;
mod keys;
mod results;
mod tenancy;

use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{Change, QuotaClaim};

use super::{calls, duties, failure::Refusal, session::Session, vault, webhooks};

/// Applies one change of a unit of work in `project`; gives what of quotas is claimed since, if it is
/// about those.
pub(crate) fn apply(
    session: &mut dyn Session,
    project: &ProjectName,
    change: &Change,
) -> Result<Vec<QuotaClaim>, Refusal> {
    match change {
        Change::CreateProject(new) => tenancy::create_project(session, project, new),
        Change::CreateEnvironment(new) => tenancy::create_environment(session, project, new),
        Change::DeleteEnvironment(name) => tenancy::delete_environment(session, project, name),
        Change::CreateKeyspace(new) => tenancy::create_keyspace(session, project, new),
        Change::UpdateKeyspace(new) => tenancy::update_keyspace(session, project, new),
        Change::DeleteKeyspace(name) => tenancy::delete_keyspace(session, project, name),
        Change::CreateOwner(new) => tenancy::create_owner(session, project, new),
        Change::EnsureOwner(new) => tenancy::ensure_owner(session, project, new),
        Change::UpdateOwner(new) => tenancy::update_owner(session, project, new),
        Change::DeleteOwner(id) => tenancy::delete_owner(session, project, id),
        Change::CreateRole(new) => tenancy::create_role(session, project, new),
        Change::UpdateRole(new) => tenancy::update_role(session, project, new),
        Change::DeleteRole(name) => tenancy::delete_role(session, project, name),
        Change::CreateKey(new) => keys::create(session, project, new),
        Change::UpdateKey(new) => keys::update(session, project, new),
        Change::PurgeKey { id, revision } => keys::purge(session, project, *id, *revision),
        Change::AddUsage(deltas) => keys::add_usage(session, project, deltas),
        Change::AddCalls(batch) => calls::add(session, project, batch),
        Change::ForgetCallsBefore(time) => calls::forget_before(session, *time),
        Change::AcceptEvent { event, marks } => webhooks::accept(session, project, event, marks),
        Change::StepEvents(steps) => webhooks::step(session, project, steps),
        Change::EndEvents { source, failure, at } => {
            webhooks::end(session, project, source, failure, *at)
        }
        Change::ForgetEventsBefore(time) => webhooks::forget_before(session, *time),
        Change::RecogniseKey { id, digest } => keys::recognise(session, project, *id, digest),
        Change::ClaimQuota(claims) => return claims::claim(session, project, claims),
        Change::SettleQuota(claims) => return claims::settle(session, project, claims),
        Change::RememberResult(result) => results::remember(session, project, result),
        Change::ForgetResultsBefore(time) => results::forget_before(session, *time),
        Change::PutRecord(new) => vault::put_record(session, project, new),
        Change::DeleteRecord { kind, id, revision } => {
            vault::delete_record(session, project, *kind, id, *revision)
        }
        Change::PutSealed(row) => vault::put_sealed(session, project, row),
        Change::MoveSealed { row, from } => vault::move_sealed(session, project, row, *from),
        Change::DropSealed { secret, versions } => {
            vault::drop_sealed(session, project, secret, versions)
        }
        Change::OnDuty(term) => duties::check(session, *term),
    }?;
    Ok(Vec::new())
}
