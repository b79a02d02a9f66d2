//! Replaying what verification needs. Runs on the writer's thread, so nothing changes meanwhile.

use std::sync::Arc;

use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{Change, ChangeSink, QuotaClaim, QuotaSubject, StoreError};
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    failure::Broken,
    key_rows::{KEY, KeyReader},
    query::{self, Columns},
    readers::{self, Job},
    rows, tenancy,
};

/// Tells the sink everything but the deleted keys. The keys, of which there are many, are read
/// by all readers at once.
pub(super) fn run(
    connection: &Connection,
    readers: &mpsc::Sender<Job>,
    parts: u32,
    sink: &Arc<dyn ChangeSink>,
) -> Result<(), Broken> {
    for project in tenancy::projects(connection)? {
        let name = project.name.clone();
        sink.apply(&name, &Change::CreateProject(project));
    }
    replay(connection, "environments", "name", rows::ENVIRONMENT, &**sink, |columns| {
        rows::environment(columns).map(Change::CreateEnvironment)
    })?;
    replay(connection, "keyspaces", "name", rows::KEYSPACE, &**sink, |columns| {
        rows::keyspace(columns).map(Change::CreateKeyspace)
    })?;
    replay(connection, "owners", "id", rows::OWNER, &**sink, |columns| {
        rows::owner(columns).map(Change::CreateOwner)
    })?;
    replay(connection, "roles", "name", rows::ROLE, &**sink, |columns| {
        rows::role(columns).map(Change::CreateRole)
    })?;
    replay_keys(connection, readers, parts, sink)?;
    replay_claims(connection, &**sink)
}

fn replay_claims(connection: &Connection, sink: &dyn ChangeSink) -> Result<(), Broken> {
    let sql =
        "SELECT project, holder, subject, period_start, period_end, claimed FROM quota_claims";
    query::each(connection, sql, [], |columns| {
        let project: ProjectName = columns.parsed()?;
        let subject = match columns.text()? {
            "lineage" => QuotaSubject::Lineage(columns.parsed()?),
            "owner" => QuotaSubject::Owner(columns.parsed()?),
            _ => return Err(columns.damaged()),
        };
        let claim = QuotaClaim { subject, stored: rows::claimed(columns)? };
        sink.apply(&project, &Change::ClaimQuota(vec![claim]));
        Ok(())
    })
}

/// Tells the sink every row of a table, in order.
fn replay(
    connection: &Connection,
    table: &str,
    name: &str,
    columns: &str,
    sink: &dyn ChangeSink,
    change: impl Fn(&mut Columns<'_, '_>) -> Result<Change, Broken>,
) -> Result<(), Broken> {
    let sql = format!("SELECT project, {columns} FROM {table} ORDER BY project, {name}");
    query::each(connection, &sql, [], |columns| {
        let project: ProjectName = columns.parsed()?;
        sink.apply(&project, &change(columns)?);
        Ok(())
    })
}

/// Splits the table into as many parts as there are readers and waits for all of them.
fn replay_keys(
    connection: &Connection,
    readers: &mpsc::Sender<Job>,
    parts: u32,
    sink: &Arc<dyn ChangeSink>,
) -> Result<(), Broken> {
    let sql = "SELECT coalesce(max(rowid), 0) FROM api_keys";
    let last =
        query::first(connection, sql, [], |columns| Ok(columns.number()?.max(0)))?.unwrap_or(0);
    let step = last / i64::from(parts.max(1)) + 1;
    let mut answers = Vec::new();
    let mut first = 1;
    while first <= last {
        let (from, until) = (first, first.saturating_add(step));
        let sink = Arc::clone(sink);
        let (job, answer) =
            readers::job(move |connection| replay_part(connection, from, until, &*sink));
        readers.blocking_send(job).map_err(|_| StoreError::Closed)?;
        answers.push(answer);
        first = until;
    }
    for answer in answers {
        let broke_off = |_| StoreError::Backend("a reader broke off".into());
        answer.blocking_recv().map_err(broke_off)??;
    }
    Ok(())
}

fn replay_part(
    connection: &Connection,
    from: i64,
    until: i64,
    sink: &dyn ChangeSink,
) -> Result<(), Broken> {
    let sql = format!(
        "SELECT {KEY} FROM api_keys k
         WHERE k.rowid >= ?1 AND k.rowid < ?2 AND k.lifecycle <> 'deleted'"
    );
    let mut reader = KeyReader::default();
    query::each(connection, &sql, [from, until], |columns| {
        let key = Box::new(reader.key(columns)?);
        let project = key.project.clone();
        sink.apply(&project, &Change::CreateKey(key));
        Ok(())
    })
}
