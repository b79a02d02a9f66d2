//! Calls through connections: batches of rows, and sums by day.

use jiff::Timestamp;
use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{CallBatch, CallCount};

use super::{
    columns::Columns,
    failure::{Broken, Refusal},
    query,
    session::{Session, values},
};
use crate::millis;

pub(crate) fn add(
    session: &mut dyn Session,
    project: &ProjectName,
    batch: &CallBatch,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO call_batches (project, until_ms, sha256, from_ms, calls, rows)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (project, until_ms, sha256) DO NOTHING";
    let values = values![
        project.as_str(),
        millis::floor(batch.until),
        batch.sha256.as_str(),
        millis::floor(batch.from),
        query::count(batch.calls),
        batch.rows.as_str(),
    ];
    session.execute(sql, &values)?;
    for count in &batch.counts {
        let sql = "INSERT INTO call_counts (project, day, connection, client, calls, failed,
                       request_bytes, answer_bytes, took_us, units)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                   ON CONFLICT (project, day, connection, client) DO UPDATE SET
                       calls = call_counts.calls + ?5,
                       failed = call_counts.failed + ?6,
                       request_bytes = call_counts.request_bytes + ?7,
                       answer_bytes = call_counts.answer_bytes + ?8,
                       took_us = call_counts.took_us + ?9,
                       units = call_counts.units + ?10";
        let values = values![
            project.as_str(),
            count.day.as_str(),
            count.connection.as_str(),
            count.client.as_str(),
            query::count(count.calls),
            query::count(count.failed),
            query::count(count.request_bytes),
            query::count(count.answer_bytes),
            query::count(count.took_us),
            query::count(count.units),
        ];
        session.execute(sql, &values)?;
    }
    Ok(())
}

/// Batches that ended before a moment go, of all projects. The sums stay.
pub(crate) fn forget_before(session: &mut dyn Session, time: Timestamp) -> Result<(), Refusal> {
    let sql = "DELETE FROM call_batches WHERE until_ms < ?1";
    session.execute(sql, &values![millis::floor(time)])?;
    Ok(())
}

/// Batches that ended before a moment, the latest first.
pub(crate) fn batches(
    session: &mut dyn Session,
    project: &ProjectName,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<CallBatch>, Broken> {
    let sql = "SELECT sha256, from_ms, until_ms, calls, rows FROM call_batches
               WHERE project = ?1 AND until_ms < ?2
               ORDER BY until_ms DESC, sha256 LIMIT ?3";
    let read = |columns: &mut Columns<'_>| {
        Ok(CallBatch {
            sha256: columns.text()?.to_owned(),
            from: columns.time()?,
            until: columns.time()?,
            calls: columns.count()?,
            rows: columns.text()?.to_owned(),
            counts: Vec::new(),
        })
    };
    query::all(session, sql, &values![project.as_str(), millis::ceil(before), limit], read)
}

/// Whether there are batches that ended before a moment.
pub(crate) fn exist_before(session: &mut dyn Session, time: Timestamp) -> Result<bool, Broken> {
    let sql = "SELECT 1 FROM call_batches WHERE until_ms < ?1 LIMIT 1";
    query::exists(session, sql, &values![millis::floor(time)])
}

/// Sums from a day on, in the order of days, connections and clients.
pub(crate) fn counts(
    session: &mut dyn Session,
    project: &ProjectName,
    from_day: &str,
    limit: u32,
) -> Result<Vec<CallCount>, Broken> {
    let sql = "SELECT day, connection, client, calls, failed, request_bytes, answer_bytes, took_us,
                      units
               FROM call_counts WHERE project = ?1 AND day >= ?2
               ORDER BY day, connection, client LIMIT ?3";
    let read = |columns: &mut Columns<'_>| {
        Ok(CallCount {
            day: columns.text()?.to_owned(),
            connection: columns.text()?.to_owned(),
            client: columns.text()?.to_owned(),
            calls: columns.count()?,
            failed: columns.count()?,
            request_bytes: columns.count()?,
            answer_bytes: columns.count()?,
            took_us: columns.count()?,
            units: columns.count()?,
        })
    };
    query::all(session, sql, &values![project.as_str(), from_day, limit], read)
}
