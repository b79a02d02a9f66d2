//! What bounds keys, what of quotas is claimed, and keys of another system.

use std::sync::Arc;

use jiff::Timestamp;
use keyreeve_core::{
    key::{Imported, KeyDigest, foreign::ForeignHash},
    model::{ApiKey, Keyspace, Owner, Policy},
    quota::Stored,
};
use keyreeve_engine::store::{Change, QuotaClaim, QuotaSubject};

use super::{
    harness::{Harness, Outcome},
    recorder::Recorder,
    samples::{self, name},
};

fn policy() -> Result<Arc<Policy>, keyreeve_core::Invalid> {
    let json = r#"{"restrictions":{"allow_ips":["203.0.113.0/24"],
        "windows":["Mon-Fri 09:00-17:00 Europe/Berlin"],"routes":["GET /v1/*"]},
        "limits":[{"name":"burst","rate":"20/10s","overrides":[{"subject":"a*","rate":"5/1s"}]}],
        "quota":"5000/month@15 Europe/Berlin","concurrency":"5/30s"}"#;
    Policy::from_json(json).map(Arc::new)
}

pub(super) async fn what_bounds_keys_is_read_back(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let bounded = ApiKey {
        policy: policy()?,
        not_before: Some(samples::time(5)),
        parent: Some(samples::key_id(2)),
        imported: Some(Box::new(Imported {
            start: Some("sk_test_".into()),
            hash: Some(ForeignHash::Sha256(samples::digest(9))),
        })),
        digest: KeyDigest::Foreign,
        ..samples::key(&acme, 1)?
    };
    h.create_keys(&[bounded.clone(), samples::key(&acme, 2)?]).await?;
    assert_eq!(h.key(&acme, bounded.id).await?.key, bounded);
    let freed = ApiKey { policy: Policy::none(), not_before: None, revision: 2, ..bounded };
    h.commit(&acme, vec![Change::UpdateKey(Box::new(freed.clone()))]).await?;
    assert_eq!(h.key(&acme, freed.id).await?.key, freed);

    h.commit(&acme, vec![Change::CreateOwner(samples::owner("customer")?)]).await?;
    let owner = Owner { policy: policy()?, revision: 2, ..samples::owner("customer")? };
    h.commit(&acme, vec![Change::UpdateOwner(owner.clone())]).await?;
    assert_eq!(h.store.owner(&acme, &owner.id).await?.map(|owner| owner.policy), Some(policy()?));
    let keyspace = Keyspace { policy: policy()?, ..samples::keyspace("bounded")? };
    h.commit(&acme, vec![Change::CreateKeyspace(keyspace.clone())]).await?;
    assert_eq!(h.store.keyspace(&acme, &keyspace.name).await?, Some(keyspace));
    Ok(())
}

fn claim(subject: &QuotaSubject, start: i64, end: i64, (known, claimed): (u64, u64)) -> QuotaClaim {
    let at = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let stored = Stored { period_start: at(start), period_end: Some(at(end)), claimed };
    QuotaClaim { subject: subject.clone(), stored, known }
}

async fn claimed(h: &Harness) -> Result<Vec<String>, super::Failure> {
    let sink = Arc::new(Recorder::default());
    h.store.load(sink.clone()).await?;
    let quotas = sink
        .take()
        .into_iter()
        .filter_map(|line| line.split_once("quota of ").map(|(_, rest)| rest.to_owned()));
    let mut quotas: Vec<String> = quotas.collect();
    quotas.sort();
    Ok(quotas)
}

pub(super) async fn claims_stand_on_what_is_known(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    h.create_keys(&[samples::key(&acme, 1)?]).await?;
    let key = QuotaSubject::Lineage(samples::key_id(1));
    let owner = QuotaSubject::Owner(name("customer")?);
    let make = |claims| h.commit(&acme, vec![Change::ClaimQuota(claims)]);
    make(vec![claim(&key, 100, 200, (0, 50)), claim(&owner, 100, 200, (0, 7))]).await?;
    // Lower than what is known: changes nothing.
    make(vec![claim(&key, 100, 200, (50, 30))]).await?;
    // On something else than what is there: refused, and so is all that came with it.
    for stale in [claim(&key, 100, 200, (40, 60)), claim(&key, 10, 100, (0, 900))] {
        let with_others = vec![claim(&owner, 100, 200, (7, 8)), stale];
        assert_refused!(make(with_others).await, ChangedMeanwhile(Quota));
    }
    assert_eq!(claimed(&h).await?, [format!("{key:?} 50"), format!("{owner:?} 7")]);
    // Of a later period: takes its place.
    make(vec![claim(&owner, 200, 300, (0, 1)), claim(&key, 100, 200, (50, 60))]).await?;
    assert_eq!(claimed(&h).await?, [format!("{key:?} 60"), format!("{owner:?} 1")]);
    // What was really spent may be less; what others claimed on top stays.
    let settle = |claims| h.commit(&acme, vec![Change::SettleQuota(claims)]);
    settle(vec![claim(&key, 100, 200, (50, 42)), claim(&owner, 100, 200, (7, 3))]).await?;
    assert_eq!(claimed(&h).await?, [format!("{key:?} 52"), format!("{owner:?} 1")]);
    Ok(())
}

pub(super) async fn claims_go_with_what_they_are_for(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    h.create_keys(&[samples::key(&acme, 1)?]).await?;
    let key = QuotaSubject::Lineage(samples::key_id(1));
    let owner = QuotaSubject::Owner(name("customer")?);
    let claims = vec![claim(&key, 100, 200, (0, 50)), claim(&owner, 100, 200, (0, 7))];
    let owned = Change::CreateOwner(samples::owner("customer")?);
    h.commit(&acme, vec![owned, Change::ClaimQuota(claims)]).await?;
    let purge = Change::PurgeKey { id: samples::key_id(1), revision: 1 };
    h.commit(&acme, vec![purge]).await?;
    assert_eq!(claimed(&h).await?, [format!("{owner:?} 7")]);
    h.commit(&acme, vec![Change::DeleteOwner(name("customer")?)]).await?;
    assert_eq!(claimed(&h).await?, Vec::<String>::new());
    Ok(())
}

pub(super) async fn what_a_sink_does_not_want_is_read(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    let foreign = ApiKey {
        digest: KeyDigest::Foreign,
        imported: Some(Box::new(Imported {
            start: None,
            hash: Some(ForeignHash::Sha512(Box::new([7; 64]))),
        })),
        ..samples::key(&acme, 1)?
    };
    let plain = samples::key(&acme, 2)?;
    h.create_keys(&[foreign.clone(), plain.clone()]).await?;
    let (key, owner) = (QuotaSubject::Lineage(plain.id), QuotaSubject::Owner(name("customer")?));
    let claims = vec![claim(&key, 100, 200, (0, 50)), claim(&owner, 100, 200, (0, 7))];
    h.commit(&acme, vec![Change::ClaimQuota(claims)]).await?;

    let sink = Arc::new(Recorder::that_reads_keys());
    h.store.load(sink.clone()).await?;
    let told = sink.take();
    let is_told = |part: &str| told.iter().any(|line| line.contains(part));
    assert!(is_told(foreign.id.as_str()) && is_told(&format!("quota of {owner:?}")), "{told:?}");
    assert!(!is_told(plain.id.as_str()), "{told:?}");
    // What changes, it is told of.
    let next = ApiKey { revision: 2, ..plain.clone() };
    h.commit(&acme, vec![Change::UpdateKey(Box::new(next.clone()))]).await?;
    assert!(sink.take().contains(&format!("acme: update key {} at 2", plain.id)));

    assert_eq!(h.store.any_key(plain.id).await?, Some(next));
    assert_eq!(h.store.any_key(samples::key_id(9)).await?, None);
    let stored = claim(&key, 100, 200, (0, 50)).stored;
    assert_eq!(h.store.quota_claim(&acme, &key).await?, Some(stored));
    assert_eq!(h.store.quota_claim(&other, &key).await?, None);
    assert_eq!(h.store.quota_claim(&acme, &QuotaSubject::Lineage(foreign.id)).await?, None);
    Ok(())
}

pub(super) async fn a_foreign_key_is_recognised_once(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    let hash = ForeignHash::Sha512(Box::new([7; 64]));
    let foreign = ApiKey {
        digest: KeyDigest::Foreign,
        imported: Some(Box::new(Imported { start: None, hash: Some(hash) })),
        ..samples::key(&acme, 1)?
    };
    h.create_keys(&[foreign.clone(), samples::key(&acme, 2)?]).await?;
    let digest = KeyDigest::Peppered(samples::digest(3));
    let recognise = |number| Change::RecogniseKey { id: samples::key_id(number), digest };
    assert_refused!(h.commit(&other, vec![recognise(1)]).await, NotFound(ApiKey));
    assert_refused!(h.commit(&acme, vec![recognise(2)]).await, ChangedMeanwhile(ApiKey));
    h.commit(&acme, vec![recognise(1)]).await?;
    let known = ApiKey {
        digest,
        imported: Some(Box::new(Imported { start: None, hash: None })),
        revision: 2,
        ..foreign
    };
    assert_eq!(h.key(&acme, known.id).await?.key, known);
    assert_refused!(h.commit(&acme, vec![recognise(1)]).await, ChangedMeanwhile(ApiKey));
    Ok(())
}
