//! Calls through connections.

use jiff::Timestamp;
use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{CallBatch, CallCount, Change, CommitError};

use super::tables::{Draft, Tables};

/// Applies a change of calls.
#[expect(clippy::unnecessary_wraps, reason = "as every other kind of change is applied")]
pub(super) fn apply(
    draft: &mut Draft<'_>,
    project: &ProjectName,
    change: &Change,
) -> Result<(), CommitError> {
    match change {
        Change::AddCalls(batch) => add(draft, project, batch),
        Change::ForgetCallsBefore(time) => forget_before(draft, *time),
        _ => {}
    }
    Ok(())
}

fn add(draft: &mut Draft<'_>, project: &ProjectName, batch: &CallBatch) {
    let key = (project.clone(), batch.until, batch.sha256.clone());
    let rows = CallBatch { counts: Vec::new(), ..batch.clone() };
    draft.put(|t| &mut t.call_batches, key, rows);
    for more in &batch.counts {
        let place = (more.day.clone(), more.connection.clone(), more.client.clone());
        let key = (project.clone(), place);
        let mut sum = draft.tables().call_counts.get(&key).cloned().unwrap_or_else(|| CallCount {
            day: more.day.clone(),
            connection: more.connection.clone(),
            client: more.client.clone(),
            ..CallCount::default()
        });
        sum.calls += more.calls;
        sum.failed += more.failed;
        sum.request_bytes += more.request_bytes;
        sum.answer_bytes += more.answer_bytes;
        sum.took_us += more.took_us;
        sum.units += more.units;
        draft.put(|t| &mut t.call_counts, key, sum);
    }
}

fn forget_before(draft: &mut Draft<'_>, time: Timestamp) {
    let old = draft.tables().call_batches.keys().filter(|(_, until, _)| *until < time);
    let old: Vec<_> = old.cloned().collect();
    for key in old {
        draft.remove(|t| &mut t.call_batches, key);
    }
}

pub(super) fn batches(
    tables: &Tables,
    project: &ProjectName,
    before: Timestamp,
    limit: u32,
) -> Vec<CallBatch> {
    let of_project = tables.call_batches.iter().filter(|((of, _, _), _)| of == project);
    let mut found: Vec<CallBatch> =
        of_project.map(|(_, batch)| batch.clone()).filter(|batch| batch.until < before).collect();
    found.sort_by(|one, other| {
        other.until.cmp(&one.until).then_with(|| one.sha256.cmp(&other.sha256))
    });
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    found
}

pub(super) fn counts(
    tables: &Tables,
    project: &ProjectName,
    from_day: &str,
    limit: u32,
) -> Vec<CallCount> {
    let of_project = tables.call_counts.iter().filter(|((of, _), _)| of == project);
    let counts = of_project.map(|(_, count)| count.clone());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    counts.filter(|count| count.day.as_str() >= from_day).take(limit).collect()
}
