//! Replaying what verification needs, as creations.

use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{Change, ChangeSink, QuotaClaim, QuotaSubject};

use super::{
    columns::Columns,
    failure::Broken,
    key_rows::{KEY, KeyReader},
    rows,
    session::{Session, Value},
    tenancy, vault,
};

/// Tells the sink what stands around keys.
pub(crate) fn surroundings(session: &mut dyn Session, sink: &dyn ChangeSink) -> Result<(), Broken> {
    for project in tenancy::projects(session)? {
        let name = project.name.clone();
        sink.apply(&name, &Change::CreateProject(project));
    }
    replay(session, "environments", "name", rows::ENVIRONMENT, sink, |columns| {
        rows::environment(columns).map(Change::CreateEnvironment)
    })?;
    replay(session, "keyspaces", "name", rows::KEYSPACE, sink, |columns| {
        rows::keyspace(columns).map(Change::CreateKeyspace)
    })?;
    replay(session, "owners", "id", rows::OWNER, sink, |columns| {
        rows::owner(columns).map(Change::CreateOwner)
    })?;
    replay(session, "roles", "name", rows::ROLE, sink, |columns| {
        rows::role(columns).map(Change::CreateRole)
    })?;
    vault::replay(session, sink)
}

/// Which claims a sink is told of that reads keys when it needs them: those of owners, and of keys that
/// it is told of.
const OF_THE_TOLD: &str = "WHERE holder = 'owner' OR subject IN
    (SELECT lineage FROM api_keys WHERE imported IS NOT NULL)";

/// Tells the sink what is claimed of each quota, as far as it wants to know.
pub(crate) fn claims(session: &mut dyn Session, sink: &dyn ChangeSink) -> Result<(), Broken> {
    let condition = if sink.wants_all_keys() { "" } else { OF_THE_TOLD };
    let sql = format!(
        "SELECT project, holder, subject, period_start, period_end, claimed FROM quota_claims
         {condition}"
    );
    session.each(&sql, &[], &mut |columns| {
        let project: ProjectName = columns.parsed()?;
        let subject = match columns.text()? {
            "lineage" => QuotaSubject::Lineage(columns.parsed()?),
            "owner" => QuotaSubject::Owner(columns.parsed()?),
            _ => return Err(columns.damaged()),
        };
        let claim = QuotaClaim { subject, stored: rows::claimed(columns)?, known: 0 };
        sink.apply(&project, &Change::ClaimQuota(vec![claim]));
        Ok(())
    })
}

/// Tells the sink every row of a table, in order.
fn replay(
    session: &mut dyn Session,
    table: &str,
    name: &str,
    columns: &str,
    sink: &dyn ChangeSink,
    change: impl Fn(&mut Columns<'_>) -> Result<Change, Broken>,
) -> Result<(), Broken> {
    let sql = format!("SELECT project, {columns} FROM {table} ORDER BY project, {name}");
    session.each(&sql, &[], &mut |columns| {
        let project: ProjectName = columns.parsed()?;
        sink.apply(&project, &change(columns)?);
        Ok(())
    })
}

/// Tells the sink the keys that are not deleted and that it wants, those that fit the condition if there is one.
pub(crate) fn keys(
    session: &mut dyn Session,
    condition: &str,
    values: &[Value<'_>],
    sink: &dyn ChangeSink,
) -> Result<(), Broken> {
    let which = if sink.wants_all_keys() { "" } else { "k.imported IS NOT NULL AND" };
    let sql =
        format!("SELECT {KEY} FROM api_keys k WHERE {condition} {which} k.lifecycle <> 'deleted'");
    let mut reader = KeyReader::default();
    session.each(&sql, values, &mut |columns| {
        let key = Box::new(reader.key(columns)?);
        let project = key.project.clone();
        sink.apply(&project, &Change::CreateKey(key));
        Ok(())
    })
}
