//! Changes to what stands around keys.
//!
//! Each statement is tried first and its failure explained afterwards, so what goes well costs
//! one statement.

use keyreeve_core::{
    model::{Environment, Keyspace, Owner, Project, Role},
    name::{EnvironmentName, KeyspaceName, Label, OwnerId, ProjectName, RoleName},
};
use keyreeve_engine::store::{CommitError, Kind};

use super::claims;
use crate::{
    millis,
    sql::{
        failure::{Failed, Refusal, Violated},
        query, rows,
        session::{Session, Value, values},
    },
};

pub(crate) fn create_project(
    session: &mut dyn Session,
    unit: &ProjectName,
    new: &Project,
) -> Result<(), Refusal> {
    // Only the default project looks after others; to the rest they do not exist.
    if new.name != *unit && !unit.is_default() {
        return Err(CommitError::NotFound(Kind::Project).into());
    }
    let sql = "INSERT INTO projects (name, created_at) VALUES (?1, ?2)";
    let values = &values![new.name.as_str(), millis::floor(new.created_at)];
    create(session, sql, values, Kind::Project)
}

pub(crate) fn create_environment(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &Environment,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO environments (project, name, env_tag, created_at)
               VALUES (?1, ?2, ?3, ?4)";
    let values = &values![
        project.as_str(),
        new.name.as_str(),
        new.tag.as_str(),
        millis::floor(new.created_at),
    ];
    create(session, sql, values, Kind::Environment)
}

pub(crate) fn delete_environment(
    session: &mut dyn Session,
    project: &ProjectName,
    name: &EnvironmentName,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM environments WHERE project = ?1 AND name = ?2";
    delete(session, sql, project, name.as_str(), Kind::Environment)
}

pub(crate) fn create_keyspace(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &Keyspace,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO keyspaces (
                   project, name, prefix, default_expires_in, default_grace, fail_policy,
                   created_at, revision, policy
               ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let values = &values![
        project.as_str(),
        new.name.as_str(),
        new.prefix.as_str(),
        new.default_expires_in.map(rows::length_ms),
        rows::length_ms(new.default_grace),
        new.fail_policy.as_str(),
        millis::floor(new.created_at),
        query::count(new.revision),
        rows::policy_json(&new.policy),
    ];
    create(session, sql, values, Kind::Keyspace)
}

/// The prefix is part of what is asked for, not of what is set: it never changes.
pub(crate) fn update_keyspace(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &Keyspace,
) -> Result<(), Refusal> {
    let sql = "UPDATE keyspaces SET default_expires_in = ?5, default_grace = ?6,
                   fail_policy = ?7, policy = ?8, revision = ?3
               WHERE project = ?1 AND name = ?2 AND revision = ?3 - 1 AND prefix = ?4";
    let values = &values![
        project.as_str(),
        new.name.as_str(),
        query::count(new.revision),
        new.prefix.as_str(),
        new.default_expires_in.map(rows::length_ms),
        rows::length_ms(new.default_grace),
        new.fail_policy.as_str(),
        rows::policy_json(&new.policy),
    ];
    let exists = "SELECT 1 FROM keyspaces WHERE project = ?1 AND name = ?2";
    let name = new.name.as_str();
    update(session, sql, values, Row { exists, project, name, kind: Kind::Keyspace })
}

pub(crate) fn delete_keyspace(
    session: &mut dyn Session,
    project: &ProjectName,
    name: &KeyspaceName,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM keyspaces WHERE project = ?1 AND name = ?2";
    delete(session, sql, project, name.as_str(), Kind::Keyspace)
}

pub(crate) fn create_owner(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &Owner,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO owners (project, id, name, metadata, created_at, revision, policy)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    insert_owner(session, sql, project, new)
}

pub(crate) fn ensure_owner(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &Owner,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO owners (project, id, name, metadata, created_at, revision, policy)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (project, id) DO NOTHING";
    insert_owner(session, sql, project, new)
}

fn insert_owner(
    session: &mut dyn Session,
    sql: &str,
    project: &ProjectName,
    new: &Owner,
) -> Result<(), Refusal> {
    let values = &values![
        project.as_str(),
        new.id.as_str(),
        new.name.as_ref().map(Label::as_str),
        new.metadata.to_json(),
        millis::floor(new.created_at),
        query::count(new.revision),
        rows::policy_json(&new.policy),
    ];
    create(session, sql, values, Kind::Owner)
}

pub(crate) fn update_owner(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &Owner,
) -> Result<(), Refusal> {
    let sql = "UPDATE owners SET name = ?4, metadata = ?5, policy = ?6, revision = ?3
               WHERE project = ?1 AND id = ?2 AND revision = ?3 - 1";
    let values = &values![
        project.as_str(),
        new.id.as_str(),
        query::count(new.revision),
        new.name.as_ref().map(Label::as_str),
        new.metadata.to_json(),
        rows::policy_json(&new.policy),
    ];
    let exists = "SELECT 1 FROM owners WHERE project = ?1 AND id = ?2";
    let name = new.id.as_str();
    update(session, sql, values, Row { exists, project, name, kind: Kind::Owner })
}

pub(crate) fn delete_owner(
    session: &mut dyn Session,
    project: &ProjectName,
    id: &OwnerId,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM owners WHERE project = ?1 AND id = ?2";
    delete(session, sql, project, id.as_str(), Kind::Owner)?;
    claims::forget_owner(session, project, id)
}

pub(crate) fn create_role(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &Role,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO roles (project, name, description, permissions, created_at, revision)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = &values![
        project.as_str(),
        new.name.as_str(),
        &new.description,
        rows::permissions_json(&new.permissions),
        millis::floor(new.created_at),
        query::count(new.revision),
    ];
    create(session, sql, values, Kind::Role)
}

pub(crate) fn update_role(
    session: &mut dyn Session,
    project: &ProjectName,
    new: &Role,
) -> Result<(), Refusal> {
    let sql = "UPDATE roles SET description = ?4, permissions = ?5, revision = ?3
               WHERE project = ?1 AND name = ?2 AND revision = ?3 - 1";
    let values = &values![
        project.as_str(),
        new.name.as_str(),
        query::count(new.revision),
        &new.description,
        rows::permissions_json(&new.permissions),
    ];
    let exists = "SELECT 1 FROM roles WHERE project = ?1 AND name = ?2";
    let name = new.name.as_str();
    update(session, sql, values, Row { exists, project, name, kind: Kind::Role })
}

/// Built-in roles have no row, so no foreign key can guard roles; this does.
pub(crate) fn delete_role(
    session: &mut dyn Session,
    project: &ProjectName,
    name: &RoleName,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM roles WHERE project = ?1 AND name = ?2";
    delete(session, sql, project, name.as_str(), Kind::Role)?;
    let carried = "SELECT 1 FROM api_key_roles WHERE project = ?1 AND role = ?2 LIMIT 1";
    if query::exists(session, carried, &values![project.as_str(), name.as_str()])? {
        return Err(CommitError::InUse(Kind::Role).into());
    }
    Ok(())
}

fn create(
    session: &mut dyn Session,
    sql: &str,
    values: &[Value<'_>],
    kind: Kind,
) -> Result<(), Refusal> {
    match session.execute(sql, values) {
        Ok(_) => Ok(()),
        Err(Failed::Violated(Violated::Uniqueness)) => Err(CommitError::AlreadyExists(kind).into()),
        // The only thing that these rows refer to is their project.
        Err(Failed::Violated(Violated::Reference)) => {
            Err(CommitError::NotFound(Kind::Project).into())
        }
        Err(Failed::Broken(broken)) => Err(broken.into()),
    }
}

/// The row an update is meant for, and how to find out whether it exists.
#[derive(Clone, Copy)]
struct Row<'a> {
    exists: &'static str,
    project: &'a ProjectName,
    name: &'a str,
    kind: Kind,
}

fn update(
    session: &mut dyn Session,
    sql: &str,
    values: &[Value<'_>],
    row: Row<'_>,
) -> Result<(), Refusal> {
    if session.execute(sql, values)? == 1 {
        return Ok(());
    }
    let exists = query::exists(session, row.exists, &values![row.project.as_str(), row.name])?;
    Err(if exists {
        CommitError::ChangedMeanwhile(row.kind).into()
    } else {
        CommitError::NotFound(row.kind).into()
    })
}

fn delete(
    session: &mut dyn Session,
    sql: &str,
    project: &ProjectName,
    name: &str,
    kind: Kind,
) -> Result<(), Refusal> {
    match session.execute(sql, &values![project.as_str(), name]) {
        Ok(0) => Err(CommitError::NotFound(kind).into()),
        Ok(_) => Ok(()),
        Err(Failed::Violated(Violated::Reference)) => Err(CommitError::InUse(kind).into()),
        Err(error) => Err(error.into()),
    }
}
