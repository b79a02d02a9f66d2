//! Calls through connections.

use keyreeve_engine::store::{CallBatch, CallCount, Change};

use super::{
    harness::{Harness, Outcome},
    samples,
};

fn count(day: &str, connection: &str, calls: u64) -> CallCount {
    CallCount {
        day: day.to_owned(),
        connection: connection.to_owned(),
        client: "client".to_owned(),
        calls,
        failed: 1,
        request_bytes: 10,
        answer_bytes: 100,
        took_us: 1_000,
        units: 5,
    }
}

fn batch(from: i64, until: i64, counts: Vec<CallCount>) -> Change {
    Change::AddCalls(Box::new(CallBatch {
        sha256: format!("{from:064x}"),
        from: samples::time(from),
        until: samples::time(until),
        calls: counts.iter().map(|count| count.calls).sum(),
        rows: format!("{{\"n\":{from}}}\n"),
        counts,
    }))
}

pub(super) async fn calls_add_up_by_day(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    let first = vec![count("2026-01-01", "maps", 3), count("2026-01-02", "maps", 4)];
    h.commit(&acme, vec![batch(10, 20, first)]).await?;
    h.commit(&acme, vec![batch(21, 30, vec![count("2026-01-02", "maps", 5)])]).await?;
    h.commit(&other, vec![batch(1, 2, vec![count("2026-01-02", "maps", 7)])]).await?;
    let counts = h.store.call_counts(&acme, "2026-01-02", 10).await?;
    let sum = CallCount {
        failed: 2,
        request_bytes: 20,
        answer_bytes: 200,
        took_us: 2_000,
        units: 10,
        ..count("2026-01-02", "maps", 9)
    };
    assert_eq!(counts, [sum]);
    assert_eq!(h.store.call_counts(&acme, "2025-01-01", 1).await?.len(), 1, "bounded");
    assert_eq!(h.store.call_counts(&acme, "2025-01-01", 9).await?.len(), 2);
    Ok(())
}

pub(super) async fn batches_are_found_and_forgotten(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    for n in [10, 20, 30] {
        h.commit(&acme, vec![batch(n, n + 5, vec![count("2026-01-01", "maps", 1)])]).await?;
    }
    let found = h.store.call_batches(&acme, samples::time(35), 10).await?;
    let rows: Vec<&str> = found.iter().map(|batch| batch.rows.trim()).collect();
    assert_eq!(rows, ["{\"n\":20}", "{\"n\":10}"], "the latest first, what ends later left out");
    assert_eq!(h.store.call_batches(&acme, samples::time(99), 1).await?[0].from, samples::time(30));
    assert!(h.store.has_calls_before(samples::time(25)).await?);
    h.commit(&acme, vec![Change::ForgetCallsBefore(samples::time(25))]).await?;
    assert!(!h.store.has_calls_before(samples::time(25)).await?);
    let left = h.store.call_batches(&acme, samples::time(99), 10).await?;
    assert_eq!(left.len(), 2);
    assert_eq!(h.store.call_counts(&acme, "2026-01-01", 9).await?[0].calls, 3, "sums stay");
    Ok(())
}
