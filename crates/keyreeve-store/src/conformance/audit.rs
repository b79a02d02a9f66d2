//! The record of everything.

use std::net::IpAddr;

use jiff::Timestamp;
use keyreeve_core::{
    audit::{Actor, AuditEntry, Outcome as AuditOutcome, RequestOrigin, Target},
    name::ProjectName,
};
use keyreeve_engine::store::{
    AuditFilter, CommitError, PageRequest, Receipt, SequencedEntry, StoreError,
};
use serde_json::{Map, json};

use super::{
    harness::{Failure, Harness, Outcome},
    samples,
};

async fn seqs(
    h: &Harness,
    project: &ProjectName,
    filter: &AuditFilter,
) -> Result<Vec<u64>, Failure> {
    let page = PageRequest::first(PageRequest::MOST);
    let list = h.store.audit_entries(project, filter, &page).await?;
    Ok(list.items.iter().map(|item| item.seq).collect())
}

pub(super) async fn every_unit_is_recorded_in_order(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    for (seq, project) in (2..).zip([&acme, &other, &acme]) {
        let receipt = h.commit(project, Vec::new()).await?;
        assert_eq!(receipt, Receipt { seq, epoch: seq + 1 });
    }
    assert_eq!(seqs(&h, &acme, &AuditFilter::default()).await?, [4, 2, 0]);
    assert_eq!(seqs(&h, &other, &AuditFilter::default()).await?, [3, 1]);
    Ok(())
}

pub(super) async fn entries_are_read_back_whole(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let plain = samples::entry(&acme, "test.plain");
    let full = AuditEntry {
        at: "2026-11-21T09:00:00.125Z".parse::<Timestamp>()?,
        project: acme.clone(),
        actor: Actor::Key(samples::key_id(7)),
        action: "key.revoke".into(),
        target: Target::new("api_key", samples::key_id(8)),
        outcome: AuditOutcome::Denied,
        reason: Some("looks \"odd\"\n".to_owned()),
        request: Some(RequestOrigin {
            id: "r-1".to_owned(),
            ip: Some(IpAddr::from([203, 0, 113, 9])),
        }),
        details: Map::from_iter([("list".to_owned(), json!([1, "ä", null, { "b": 1.5 }]))]),
    };
    h.record(&acme, Vec::new(), plain.clone()).await?;
    h.record(&acme, Vec::new(), full.clone()).await?;
    let list =
        h.store.audit_entries(&acme, &AuditFilter::default(), &PageRequest::first(2)).await?;
    let expected =
        [SequencedEntry { seq: 2, entry: full }, SequencedEntry { seq: 1, entry: plain }];
    assert_eq!(list.items, expected);
    assert!(list.next.is_some(), "the project's own entry follows");
    Ok(())
}

pub(super) async fn entries_are_found_by_each_part(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let anonymous = Actor::Anonymous;
    let key = Actor::Key(samples::key_id(1));
    for (actor, action, target, outcome, second) in [
        (&anonymous, "key.create", "a", AuditOutcome::Done, 10),
        (&key, "key.revoke", "b", AuditOutcome::Denied, 20),
        (&key, "keyspace.create", "a", AuditOutcome::Done, 30),
        (&anonymous, "key.create", "c", AuditOutcome::Denied, 40),
    ] {
        let entry = AuditEntry {
            at: samples::time(second),
            actor: actor.clone(),
            target: Target::new("thing", target),
            outcome,
            ..samples::entry(&acme, action)
        };
        h.record(&acme, Vec::new(), entry).await?;
    }
    let any = AuditFilter::default;
    let some = |text: &str| Some(text.to_owned());
    let key = Some(key.to_string());
    for (filter, expected) in [
        (AuditFilter { actor: some("anonymous"), ..any() }, &[4, 1][..]),
        (AuditFilter { actor: key.clone(), ..any() }, &[3, 2]),
        (AuditFilter { actor: some("anon"), ..any() }, &[]),
        (AuditFilter { action: some("key.create"), ..any() }, &[4, 1]),
        (AuditFilter { action: some("key.*"), ..any() }, &[4, 2, 1]),
        (AuditFilter { action: some("keyspace.*"), ..any() }, &[3]),
        (AuditFilter { action: some("key"), ..any() }, &[]),
        (AuditFilter { action: some("key*"), ..any() }, &[]),
        (AuditFilter { action: some("%"), ..any() }, &[]),
        (AuditFilter { target: some("a"), ..any() }, &[3, 1]),
        (AuditFilter { target: some("b"), ..any() }, &[2]),
        (AuditFilter { outcome: Some(AuditOutcome::Denied), ..any() }, &[4, 2]),
        (AuditFilter { since: Some(samples::time(20)), ..any() }, &[4, 3, 2]),
        (AuditFilter { until: Some(samples::time(20)), ..any() }, &[1, 0]),
        (
            AuditFilter {
                since: Some(samples::time(10)),
                until: Some(samples::time(40)),
                outcome: Some(AuditOutcome::Done),
                ..any()
            },
            &[3, 1],
        ),
        (AuditFilter { actor: key, action: some("key.*"), target: some("b"), ..any() }, &[2]),
    ] {
        assert_eq!(seqs(&h, &acme, &filter).await?, expected, "{filter:?}");
    }
    Ok(())
}

pub(super) async fn entries_come_newest_first_in_pages(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    for number in 0..60 {
        let project = if number % 3 == 0 { &other } else { &acme };
        h.commit(project, Vec::new()).await?;
    }
    let expected = seqs(&h, &acme, &AuditFilter::default()).await?;
    assert_eq!(expected.len(), 41);
    assert!(expected.is_sorted_by(|newer, older| newer > older));
    for per_page in [1, 7, 41] {
        let found = paged(&h, &acme, &AuditFilter::default(), per_page).await?;
        assert_eq!(found, expected, "{per_page} per page");
    }
    Ok(())
}

/// Far enough back that they are not in one block of the index.
pub(super) async fn entries_about_one_thing_are_found_far_back(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let mut expected = Vec::new();
    // One flush for each part of them.
    for part in 0_u64..50 {
        let units: Vec<_> = (0_u64..100)
            .map(|number| {
                let (h, acme) = (h.clone(), acme.clone());
                let thing = if number == 7 && part % 3 == 0 { "rare" } else { "common" };
                let entry = AuditEntry {
                    target: Target::new("thing", thing),
                    ..samples::entry(&acme, "test.change")
                };
                tokio::spawn(async move {
                    let receipt = h.record(&acme, Vec::new(), entry).await?;
                    Ok::<_, CommitError>((thing == "rare").then_some(receipt.seq))
                })
            })
            .collect();
        for unit in units {
            expected.extend(unit.await??);
        }
    }
    expected.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(expected.len(), 17);
    let filter = AuditFilter { target: Some("rare".to_owned()), ..AuditFilter::default() };
    for per_page in [1, 5, 17, 100] {
        assert_eq!(paged(&h, &acme, &filter, per_page).await?, expected, "{per_page} per page");
    }
    let nobody = AuditFilter { actor: Some("user:nobody".to_owned()), ..filter };
    assert!(paged(&h, &acme, &nobody, 5).await?.is_empty());
    Ok(())
}

/// All that matches, page by page.
async fn paged(
    h: &Harness,
    project: &ProjectName,
    filter: &AuditFilter,
    per_page: u32,
) -> Result<Vec<u64>, StoreError> {
    let mut page = PageRequest::first(per_page);
    let mut found: Vec<u64> = Vec::new();
    loop {
        let list = h.store.audit_entries(project, filter, &page).await?;
        assert!(list.items.len() <= per_page as usize);
        found.extend(list.items.iter().map(|item| item.seq));
        match list.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

pub(super) async fn the_log_is_read_from_anywhere(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    h.commit(&acme, Vec::new()).await?;
    h.commit(&other, Vec::new()).await?;
    for (first, limit, expected) in [
        (0, 10, &[0, 1, 2, 3][..]),
        (0, 2, &[0, 1]),
        (1, 2, &[1, 2]),
        (3, 10, &[3]),
        (4, 10, &[]),
        (u64::MAX, 10, &[]),
        (0, 0, &[]),
    ] {
        let records = h.store.audit_log(first, limit).await?;
        let found: Vec<u64> = records.iter().map(|record| record.seq).collect();
        assert_eq!(found, expected, "at most {limit} from {first}");
    }
    for record in h.store.audit_log(0, 10).await? {
        let (seq, _) = AuditEntry::decode(&record.bytes)?;
        assert_eq!(seq, record.seq);
    }
    Ok(())
}

pub(super) async fn an_empty_log_is_signed(h: Harness) -> Outcome {
    let notes = h.store.checkpoints().await?;
    assert_eq!(h.store.checkpoint().await?.as_ref(), notes.last());
    for note in &notes {
        assert_eq!(h.verifier.verify(note)?.size(), 0);
    }
    assert!(h.verify_log().await?.is_intact());
    Ok(())
}

pub(super) async fn the_log_verifies(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    for size in 2..40 {
        h.commit(&acme, Vec::new()).await?;
        let report = h.verify_log().await?;
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.size, size);
        let latest = h.store.checkpoint().await?;
        assert_eq!(latest, h.store.checkpoints().await?.pop());
        let head = latest.map(|note| h.verifier.verify(&note)).transpose()?;
        assert_eq!(head.map(|head| (head.size(), head.root())), Some((size, report.root)));
    }
    Ok(())
}

pub(super) async fn tree_heads_are_kept(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    // Enough for two kept heads and some more, many at a time because each is flushed to disk.
    for _ in 0..25 {
        let units: Vec<_> = (0..100)
            .map(|_| {
                let (h, acme) = (h.clone(), acme.clone());
                tokio::spawn(async move { h.commit(&acme, Vec::new()).await })
            })
            .collect();
        for unit in units {
            unit.await??;
        }
    }
    let mut sizes = Vec::new();
    for note in h.store.checkpoints().await? {
        sizes.push(h.verifier.verify(&note)?.size());
    }
    assert!(sizes.is_sorted_by(|one, next| one < next), "{sizes:?}");
    assert_eq!(sizes.last(), Some(&2_501));
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    let report = h.verify_log().await?;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.checkpoints, 3);
    Ok(())
}
