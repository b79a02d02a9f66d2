//! Many authors at once.

use std::{collections::BTreeSet, sync::Arc};

use keyreeve_core::model::ApiKey;
use keyreeve_engine::store::{Change, CommitError, KeyFilter, Kind};

use super::{
    harness::{Harness, Outcome},
    recorder::Recorder,
    samples::{self, name},
};

const TASKS: u64 = 32;

pub(super) async fn units_at_once_all_land(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let (h, acme) = (h.clone(), acme.clone());
        tasks.push(tokio::spawn(async move {
            let mut seqs = Vec::new();
            for number in 0..5 {
                let key = samples::key(&acme, task * 5 + number);
                let key = key.map_err(|_| CommitError::NotFound(Kind::ApiKey))?;
                let receipt = h.commit(&acme, vec![Change::CreateKey(Box::new(key))]).await?;
                assert_eq!(receipt.epoch, receipt.seq + 1);
                seqs.push(receipt.seq);
            }
            Ok::<_, CommitError>(seqs)
        }));
    }
    let mut seqs = BTreeSet::new();
    for task in tasks {
        let own = task.await??;
        assert!(own.is_sorted(), "one author's units keep their order: {own:?}");
        seqs.extend(own);
    }
    assert_eq!(seqs, (1..=TASKS * 5).collect::<BTreeSet<_>>());
    assert_eq!(h.ids(&acme, &KeyFilter::default()).await?.len() as u64, TASKS * 5);
    let report = h.verify_log().await?;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.size, TASKS * 5 + 1);
    Ok(())
}

pub(super) async fn one_of_many_updates_wins(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let key = samples::key(&acme, 1)?;
    h.create_keys(std::slice::from_ref(&key)).await?;
    for round in 0..5 {
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            let (h, acme) = (h.clone(), acme.clone());
            let new = ApiKey {
                name: name(&format!("by {task} in {round}"))?,
                revision: round + 2,
                ..key.clone()
            };
            tasks.push(tokio::spawn(async move {
                let update = Change::UpdateKey(Box::new(new.clone()));
                (h.commit(&acme, vec![update]).await, new)
            }));
        }
        let mut winners = Vec::new();
        for task in tasks {
            match task.await? {
                (Ok(_), new) => winners.push(new),
                (Err(CommitError::ChangedMeanwhile(Kind::ApiKey)), _) => {}
                (Err(error), _) => return Err(error.into()),
            }
        }
        assert_eq!(winners.len(), 1, "in round {round}");
        assert_eq!(Some(&h.key(&acme, key.id).await?.key), winners.first());
    }
    assert_eq!(h.verify_log().await?.size, 2 + 5);
    Ok(())
}

pub(super) async fn refused_units_harm_no_other(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let sink = Arc::new(Recorder::default());
    h.store.load(sink.clone()).await?;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let (h, acme) = (h.clone(), acme.clone());
        let mut changes = vec![Change::CreateKey(Box::new(samples::key(&acme, task)?))];
        let bad = task % 3 == 0;
        if bad {
            // Refused only after its first change was applied.
            changes.push(Change::DeleteKeyspace(name("default")?));
        }
        tasks.push(tokio::spawn(async move { (h.commit(&acme, changes).await, bad) }));
    }
    let mut good = 0;
    for task in tasks {
        match task.await? {
            (result, true) => assert_refused!(result, InUse(Keyspace)),
            (result, false) => {
                result?;
                good += 1;
            }
        }
    }
    let expected: Vec<_> =
        (0..TASKS).rev().filter(|task| task % 3 != 0).map(samples::key_id).collect();
    assert_eq!(h.ids(&acme, &KeyFilter::default()).await?, expected);
    let seen = sink.take();
    assert_eq!(seen.iter().filter(|line| line.contains("create key ")).count(), good);
    let report = h.verify_log().await?;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.size, good as u64 + 1);
    Ok(())
}
