//! Replaying what verification needs. Runs on the writer's thread, so nothing changes meanwhile.

use std::sync::Arc;

use keyreeve_engine::store::{ChangeSink, StoreError};
use rusqlite::Connection;
use tokio::sync::mpsc;

use crate::sql::{
    failure::Broken,
    query,
    readers::{self, Job},
    replay,
    session::values,
};

/// Tells the sink everything but the deleted keys. The keys, of which there are many, are read
/// by all readers at once.
pub(super) fn run(
    mut connection: &Connection,
    readers: &mpsc::Sender<Job>,
    parts: u32,
    sink: &Arc<dyn ChangeSink>,
) -> Result<(), Broken> {
    replay::surroundings(&mut connection, &**sink)?;
    keys(connection, readers, parts, sink)?;
    replay::claims(&mut connection, &**sink)
}

/// Splits the table into as many parts as there are readers and waits for all of them.
fn keys(
    mut connection: &Connection,
    readers: &mpsc::Sender<Job>,
    parts: u32,
    sink: &Arc<dyn ChangeSink>,
) -> Result<(), Broken> {
    let sql = "SELECT coalesce(max(rowid), 0) FROM api_keys";
    let last = query::first(&mut connection, sql, &[], |columns| Ok(columns.number()?.max(0)))?;
    let last = last.unwrap_or(0);
    let step = last / i64::from(parts.max(1)) + 1;
    let mut answers = Vec::new();
    let mut first = 1;
    while first <= last {
        let (from, until) = (first, first.saturating_add(step));
        let sink = Arc::clone(sink);
        let (job, answer) = readers::job(move |session| {
            let condition = "k.rowid >= ?1 AND k.rowid < ?2 AND";
            replay::keys(session, condition, &values![from, until], &*sink)
        });
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
