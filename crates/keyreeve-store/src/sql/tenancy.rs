//! Reading what stands around keys.

use jiff::Timestamp;
use keyreeve_core::{
    model::{Environment, Keyspace, Owner, Project, Role},
    name::{KeyspaceName, OwnerId, ProjectName, RoleName},
};
use keyreeve_engine::store::{IdempotentResult, ListPage, PageRequest};

use super::{
    failure::Broken,
    query::{self, Conditions},
    rows,
    session::{Session, values},
};
use crate::{cursor, millis};

pub(crate) fn projects(session: &mut dyn Session) -> Result<Vec<Project>, Broken> {
    let sql = format!("SELECT {} FROM projects ORDER BY name", rows::PROJECT);
    query::all(session, &sql, &[], rows::project)
}

pub(crate) fn environments(
    session: &mut dyn Session,
    project: &ProjectName,
) -> Result<Vec<Environment>, Broken> {
    let columns = rows::ENVIRONMENT;
    let sql = format!("SELECT {columns} FROM environments WHERE project = ?1 ORDER BY name");
    query::all(session, &sql, &values![project.as_str()], rows::environment)
}

pub(crate) fn keyspaces(
    session: &mut dyn Session,
    project: &ProjectName,
) -> Result<Vec<Keyspace>, Broken> {
    let columns = rows::KEYSPACE;
    let sql = format!("SELECT {columns} FROM keyspaces WHERE project = ?1 ORDER BY name");
    query::all(session, &sql, &values![project.as_str()], rows::keyspace)
}

pub(crate) fn keyspace(
    session: &mut dyn Session,
    project: &ProjectName,
    name: &KeyspaceName,
) -> Result<Option<Keyspace>, Broken> {
    let columns = rows::KEYSPACE;
    let sql = format!("SELECT {columns} FROM keyspaces WHERE project = ?1 AND name = ?2");
    query::first(session, &sql, &values![project.as_str(), name.as_str()], rows::keyspace)
}

pub(crate) fn owners(
    session: &mut dyn Session,
    project: &ProjectName,
    page: &PageRequest,
) -> Result<ListPage<Owner>, Broken> {
    let after = cursor::owner_place(page)?;
    let limit = cursor::limit(page);
    let mut conditions = Conditions::new("project = ?", project.as_str());
    conditions.and_text("id > ?", after.as_ref().map(OwnerId::as_str));
    let (conditions, values) = conditions.order_and_limit("id", limit);
    let sql = format!("SELECT {} FROM owners WHERE {conditions}", rows::OWNER);
    let found = query::all(session, &sql, &values, rows::owner)?;
    Ok(ListPage::from_overfull(found, limit, |last| cursor::of_owner(&last.id)))
}

pub(crate) fn owner(
    session: &mut dyn Session,
    project: &ProjectName,
    id: &OwnerId,
) -> Result<Option<Owner>, Broken> {
    let columns = rows::OWNER;
    let sql = format!("SELECT {columns} FROM owners WHERE project = ?1 AND id = ?2");
    query::first(session, &sql, &values![project.as_str(), id.as_str()], rows::owner)
}

pub(crate) fn roles(session: &mut dyn Session, project: &ProjectName) -> Result<Vec<Role>, Broken> {
    let columns = rows::ROLE;
    let sql = format!("SELECT {columns} FROM roles WHERE project = ?1 ORDER BY name");
    query::all(session, &sql, &values![project.as_str()], rows::role)
}

pub(crate) fn role(
    session: &mut dyn Session,
    project: &ProjectName,
    name: &RoleName,
) -> Result<Option<Role>, Broken> {
    let columns = rows::ROLE;
    let sql = format!("SELECT {columns} FROM roles WHERE project = ?1 AND name = ?2");
    query::first(session, &sql, &values![project.as_str(), name.as_str()], rows::role)
}

pub(crate) fn has_results_before(
    session: &mut dyn Session,
    time: Timestamp,
) -> Result<bool, Broken> {
    let sql = "SELECT 1 FROM idempotent_results WHERE at < ?1 LIMIT 1";
    query::exists(session, sql, &values![millis::ceil(time)])
}

pub(crate) fn idempotent_result(
    session: &mut dyn Session,
    project: &ProjectName,
    lookup: &[u8; 32],
) -> Result<Option<IdempotentResult>, Broken> {
    let columns = rows::RESULT;
    let sql =
        format!("SELECT {columns} FROM idempotent_results WHERE project = ?1 AND lookup = ?2");
    query::first(session, &sql, &values![project.as_str(), lookup], rows::result)
}
