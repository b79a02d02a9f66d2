//! Counting use.

use std::net::IpAddr;

use keyreeve_engine::store::{Change, KeyFilter, Peaks, Usage, UsageDelta};

use super::{
    harness::{Harness, Outcome},
    samples,
};

pub(super) async fn usage_adds_up(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    h.create_keys(&samples::keys(&acme, 1, 3)?).await?;
    let first = vec![samples::usage(1, 3, 50), samples::usage(2, 1, 51)];
    h.commit(&acme, vec![Change::AddUsage(first)]).await?;
    let ip = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    // Older, and from somewhere else: the time stays, the place is what was said last.
    let second = UsageDelta {
        last_ip: Some(ip),
        last_user_agent: Some("agent/2".to_owned()),
        peaks: Peaks { ten_seconds: 9, hour: 5, day: 30 },
        ..samples::usage(1, 4, 40)
    };
    h.commit(&acme, vec![Change::AddUsage(vec![second])]).await?;
    // Newer, and from nobody knows where.
    let third = UsageDelta {
        last_ip: None,
        last_user_agent: None,
        peaks: Peaks { ten_seconds: 7, hour: 20, day: 20 },
        ..samples::usage(1, 1, 60)
    };
    h.commit(&acme, vec![Change::AddUsage(vec![third])]).await?;
    let expected = Usage {
        verifications: 8,
        last_used_at: Some(samples::time(60)),
        last_ip: Some(ip),
        last_user_agent: Some("agent/2".to_owned()),
        peaks: Peaks { ten_seconds: 9, hour: 20, day: 30 },
    };
    assert_eq!(h.key(&acme, samples::key_id(1)).await?.usage, expected);
    let listed = h.all_keys(&acme, &KeyFilter::default(), 10).await?;
    let counts: Vec<u64> = listed.iter().map(|stored| stored.usage.verifications).collect();
    assert_eq!(counts, [1, 8]);
    Ok(())
}

pub(super) async fn usage_of_unknown_keys_is_skipped(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    h.create_keys(&samples::keys(&acme, 1, 2)?).await?;
    let deltas = vec![samples::usage(404, 1, 1), samples::usage(1, 2, 2)];
    h.commit(&acme, vec![Change::AddUsage(deltas.clone())]).await?;
    // To another project the key is unknown.
    h.commit(&other, vec![Change::AddUsage(deltas)]).await?;
    assert_eq!(h.key(&acme, samples::key_id(1)).await?.usage.verifications, 2);
    Ok(())
}

pub(super) async fn purging_forgets_usage(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let key = samples::key(&acme, 1)?;
    let create = Change::CreateKey(Box::new(key.clone()));
    let used = Change::AddUsage(vec![samples::usage(1, 5, 5)]);
    h.commit(&acme, vec![create.clone(), used]).await?;
    let purge = Change::PurgeKey { id: key.id, revision: key.revision };
    h.commit(&acme, vec![purge]).await?;
    h.commit(&acme, vec![create]).await?;
    assert_eq!(h.key(&acme, key.id).await?.usage, Usage::default());
    Ok(())
}
