//! Reading what stands around keys.

use keyreeve_core::{
    model::{Environment, Keyspace, Owner, Project, Role},
    name::{KeyspaceName, OwnerId, ProjectName, RoleName},
};
use keyreeve_engine::store::{IdempotentResult, ListPage, PageRequest};
use rusqlite::{Connection, params, params_from_iter};

use super::{
    failure::Broken,
    query::{self, Conditions},
    rows,
};
use crate::cursor;

pub(super) fn projects(connection: &Connection) -> Result<Vec<Project>, Broken> {
    let sql = format!("SELECT {} FROM projects ORDER BY name", rows::PROJECT);
    query::all(connection, &sql, [], rows::project)
}

pub(super) fn environments(
    connection: &Connection,
    project: &ProjectName,
) -> Result<Vec<Environment>, Broken> {
    let columns = rows::ENVIRONMENT;
    let sql = format!("SELECT {columns} FROM environments WHERE project = ?1 ORDER BY name");
    query::all(connection, &sql, [project.as_str()], rows::environment)
}

pub(super) fn keyspaces(
    connection: &Connection,
    project: &ProjectName,
) -> Result<Vec<Keyspace>, Broken> {
    let columns = rows::KEYSPACE;
    let sql = format!("SELECT {columns} FROM keyspaces WHERE project = ?1 ORDER BY name");
    query::all(connection, &sql, [project.as_str()], rows::keyspace)
}

pub(super) fn keyspace(
    connection: &Connection,
    project: &ProjectName,
    name: &KeyspaceName,
) -> Result<Option<Keyspace>, Broken> {
    let columns = rows::KEYSPACE;
    let sql = format!("SELECT {columns} FROM keyspaces WHERE project = ?1 AND name = ?2");
    query::first(connection, &sql, [project.as_str(), name.as_str()], rows::keyspace)
}

pub(super) fn owners(
    connection: &Connection,
    project: &ProjectName,
    page: &PageRequest,
) -> Result<ListPage<Owner>, Broken> {
    let after = cursor::owner_place(page)?;
    let limit = cursor::limit(page);
    let mut conditions = Conditions::new("project = ?", project.as_str());
    conditions.and_text("id > ?", after.as_ref().map(OwnerId::as_str));
    let (conditions, values) = conditions.order_and_limit("id", limit);
    let sql = format!("SELECT {} FROM owners WHERE {conditions}", rows::OWNER);
    let found = query::all(connection, &sql, params_from_iter(values), rows::owner)?;
    Ok(ListPage::from_overfull(found, limit, |last| cursor::of_owner(&last.id)))
}

pub(super) fn owner(
    connection: &Connection,
    project: &ProjectName,
    id: &OwnerId,
) -> Result<Option<Owner>, Broken> {
    let columns = rows::OWNER;
    let sql = format!("SELECT {columns} FROM owners WHERE project = ?1 AND id = ?2");
    query::first(connection, &sql, [project.as_str(), id.as_str()], rows::owner)
}

pub(super) fn roles(connection: &Connection, project: &ProjectName) -> Result<Vec<Role>, Broken> {
    let columns = rows::ROLE;
    let sql = format!("SELECT {columns} FROM roles WHERE project = ?1 ORDER BY name");
    query::all(connection, &sql, [project.as_str()], rows::role)
}

pub(super) fn role(
    connection: &Connection,
    project: &ProjectName,
    name: &RoleName,
) -> Result<Option<Role>, Broken> {
    let columns = rows::ROLE;
    let sql = format!("SELECT {columns} FROM roles WHERE project = ?1 AND name = ?2");
    query::first(connection, &sql, [project.as_str(), name.as_str()], rows::role)
}

pub(super) fn idempotent_result(
    connection: &Connection,
    project: &ProjectName,
    lookup: &[u8; 32],
) -> Result<Option<IdempotentResult>, Broken> {
    let columns = rows::RESULT;
    let sql =
        format!("SELECT {columns} FROM idempotent_results WHERE project = ?1 AND lookup = ?2");
    query::first(connection, &sql, params![project.as_str(), lookup], rows::result)
}
