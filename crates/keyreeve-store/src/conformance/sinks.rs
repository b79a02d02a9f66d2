//! What sinks are told.

use std::sync::Arc;

use keyreeve_core::{
    lifecycle::Lifecycle,
    model::{ApiKey, Keyspace},
};
use keyreeve_engine::store::Change;

use super::{
    harness::{Harness, Outcome},
    recorder::Recorder,
    samples,
};

pub(super) async fn sinks_see_commits_in_order(h: Harness) -> Outcome {
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    assert_eq!(h.store.load(first.clone()).await?, 0);
    assert_eq!(first.take(), ["epoch 0"]);
    let acme = h.project("acme").await?;
    // By the time the author has the answer, the sink has seen everything.
    let made = [
        "acme: create project acme",
        "acme: create environment production",
        "acme: create environment staging",
        "acme: create keyspace default",
        "epoch 1",
    ];
    assert_eq!(first.take(), made);
    assert_eq!(h.store.load(second.clone()).await?, 1);
    assert_eq!(second.take(), made);

    let key = samples::key(&acme, 1)?;
    let next = ApiKey { revision: 2, ..key.clone() };
    let keyspace = Keyspace { revision: 2, ..samples::keyspace("default")? };
    let create = Change::CreateKey(Box::new(key.clone()));
    h.commit(&acme, vec![create, Change::EnsureOwner(samples::owner("customer")?)]).await?;
    let update = Change::UpdateKey(Box::new(next));
    h.commit(&acme, vec![update, Change::UpdateKeyspace(keyspace)]).await?;
    h.commit(&acme, Vec::new()).await?;
    h.commit(&acme, vec![Change::PurgeKey { id: key.id, revision: 2 }]).await?;
    let id = key.id;
    let expected = [
        format!("acme: create key {id} at 1"),
        "acme: ensure owner customer".to_owned(),
        "epoch 2".to_owned(),
        format!("acme: update key {id} at 2"),
        "acme: update keyspace default".to_owned(),
        "epoch 3".to_owned(),
        "epoch 4".to_owned(),
        format!("acme: purge key {id}"),
        "epoch 5".to_owned(),
    ];
    assert_eq!(first.take(), expected);
    assert_eq!(second.take(), expected);
    Ok(())
}

pub(super) async fn sinks_do_not_see_refused_units(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let sink = Arc::new(Recorder::default());
    h.store.load(sink.clone()).await?;
    sink.take();
    let doomed = vec![
        Change::CreateOwner(samples::owner("customer")?),
        Change::CreateKeyspace(samples::keyspace("default")?),
    ];
    assert_refused!(h.commit(&acme, doomed).await, AlreadyExists(Keyspace));
    assert!(sink.take().is_empty());
    Ok(())
}

pub(super) async fn loading_replays_all_but_the_deleted(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    let around = vec![
        Change::CreateOwner(samples::owner("customer")?),
        Change::CreateRole(samples::role("auditor")?),
    ];
    h.commit(&acme, around).await?;
    let mut expected: Vec<String> = [
        "acme: create project acme",
        "other: create project other",
        "acme: create environment production",
        "acme: create environment staging",
        "other: create environment production",
        "other: create environment staging",
        "acme: create keyspace default",
        "other: create keyspace default",
        "acme: create owner customer",
        "acme: create role auditor",
    ]
    .map(str::to_owned)
    .to_vec();
    let around = expected.len();
    for (number, lifecycle) in (0..).zip(samples::lifecycles()) {
        let project = if number % 2 == 0 { &acme } else { &other };
        let key = ApiKey { lifecycle, revision: 7, ..samples::key(project, number)? };
        if !matches!(key.lifecycle, Lifecycle::Deleted { .. }) {
            expected.push(format!("{project}: create key {} at 7", key.id));
        }
        h.create_keys(&[key]).await?;
    }
    h.create_keys(&samples::keys(&acme, 100, 300)?).await?;
    for number in 100..300 {
        expected.push(format!("acme: create key {} at 1", samples::key_id(number)));
    }
    let purge = Change::PurgeKey { id: samples::key_id(100), revision: 1 };
    h.commit(&acme, vec![purge]).await?;
    expected.retain(|line| !line.contains(samples::key_id(100).as_str()));

    let sink = Arc::new(Recorder::default());
    let epoch = h.store.load(sink.clone()).await?;
    assert_eq!(epoch, h.verify_log().await?.size);
    let mut seen = sink.take();
    assert_eq!(seen.pop(), Some(format!("epoch {epoch}")));
    // Keys come last, and among themselves in any order.
    seen[around..].sort();
    expected[around..].sort();
    assert_eq!(seen, expected);
    Ok(())
}

pub(super) async fn loading_misses_nothing(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let sinks: Vec<Arc<Recorder>> = (0..4).map(|_| Arc::new(Recorder::default())).collect();
    let mut units = Vec::new();
    let mut loads = Vec::new();
    for number in 0..120 {
        let (harness, key) = (h.clone(), samples::key(&acme, number)?);
        units.push(tokio::spawn(async move { harness.create_keys(&[key]).await }));
        if number % 30 == 15 {
            let sink = sinks[loads.len()].clone();
            let store = h.store.clone();
            loads.push(tokio::spawn(async move { store.load(sink).await }));
        }
        if number % 10 == 9 {
            tokio::task::yield_now().await;
        }
    }
    for unit in units {
        unit.await??;
    }
    for load in loads {
        load.await??;
    }
    let mut expected: Vec<String> = (0..120)
        .map(|number| format!("acme: create key {} at 1", samples::key_id(number)))
        .collect();
    expected.sort();
    for sink in sinks {
        let mut seen = sink.take();
        assert_eq!(seen.last().map(String::as_str), Some("epoch 121"));
        seen.retain(|line| line.starts_with("acme: create key "));
        seen.sort();
        assert_eq!(seen, expected, "each key once, whether loaded or committed");
    }
    Ok(())
}
