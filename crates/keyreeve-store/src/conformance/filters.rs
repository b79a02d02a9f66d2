//! Finding keys.

use jiff::SignedDuration;
use keyreeve_core::{Invalid, key::KeyId, lifecycle::KeyState, model::ApiKey, name::ProjectName};
use keyreeve_engine::store::{Change, KeyFilter};

use super::{
    harness::{Failure, Harness, Outcome},
    samples::{self, name},
};

/// Four keys, each with something that the others do not have.
async fn furnish(h: &Harness) -> Result<ProjectName, Failure> {
    let acme = h.project("acme").await?;
    let around = vec![
        Change::CreateKeyspace(samples::keyspace("partners")?),
        Change::CreateOwner(samples::owner("customer")?),
        Change::CreateRole(samples::role("auditor")?),
    ];
    h.commit(&acme, around).await?;
    let key = |number| samples::key(&acme, number);
    let keys = [
        ApiKey { keyspace: name("partners")?, tags: samples::tags(&["x", "y"])?, ..key(1)? },
        ApiKey { environment: name("staging")?, tags: samples::tags(&["x"])?, ..key(2)? },
        ApiKey { owner: Some(name("customer")?), roles: vec![name("viewer")?], ..key(3)? },
        ApiKey {
            name: name("Billing Job")?,
            owner: Some(name("customer")?),
            roles: vec![name("auditor")?, name("viewer")?],
            tags: samples::tags(&["y"])?,
            ..key(4)?
        },
    ];
    h.create_keys(&keys).await?;
    Ok(acme)
}

fn numbered(numbers: &[u64]) -> Vec<KeyId> {
    numbers.iter().map(|number| samples::key_id(*number)).collect()
}

pub(super) async fn keys_are_found_by_each_part(h: Harness) -> Outcome {
    let acme = furnish(&h).await?;
    let any = KeyFilter::default;
    let some = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (any(), &[4, 3, 2, 1][..]),
        (KeyFilter { keyspace: Some(name("partners")?), ..any() }, &[1]),
        (KeyFilter { keyspace: Some(name("default")?), ..any() }, &[4, 3, 2]),
        (KeyFilter { keyspace: Some(name("gone")?), ..any() }, &[]),
        (KeyFilter { environment: Some(name("staging")?), ..any() }, &[2]),
        (KeyFilter { environment: Some(name("production")?), ..any() }, &[4, 3, 1]),
        (KeyFilter { owner: Some(name("customer")?), ..any() }, &[4, 3]),
        (KeyFilter { owner: Some(name("gone")?), ..any() }, &[]),
        (KeyFilter { role: Some(name("viewer")?), ..any() }, &[4, 3]),
        (KeyFilter { role: Some(name("auditor")?), ..any() }, &[4]),
        (KeyFilter { role: Some(name("admin")?), ..any() }, &[]),
        (KeyFilter { tag: some("x"), ..any() }, &[2, 1]),
        (KeyFilter { tag: some("y"), ..any() }, &[4, 1]),
        (KeyFilter { tag: some("X"), ..any() }, &[]),
        (KeyFilter { name_contains: some("key"), ..any() }, &[3, 2, 1]),
        (KeyFilter { name_contains: some("LING j"), ..any() }, &[4]),
        (KeyFilter { name_contains: some("billing job and more"), ..any() }, &[]),
    ] {
        assert_eq!(h.ids(&acme, &filter).await?, numbered(expected), "{filter:?}");
    }
    Ok(())
}

pub(super) async fn keys_are_found_by_several_parts(h: Harness) -> Outcome {
    let acme = furnish(&h).await?;
    let any = KeyFilter::default;
    let some = |text: &str| Some(text.to_owned());
    let active = Some((KeyState::Active, samples::time(0)));
    for (filter, expected) in [
        (
            KeyFilter { tag: some("y"), role: Some(name("viewer")?), state: active, ..any() },
            &[4][..],
        ),
        (KeyFilter { tag: some("x"), role: Some(name("viewer")?), ..any() }, &[]),
        (KeyFilter { tag: some("x"), keyspace: Some(name("default")?), ..any() }, &[2]),
        (
            KeyFilter {
                owner: Some(name("customer")?),
                role: Some(name("viewer")?),
                name_contains: some("key"),
                ..any()
            },
            &[3],
        ),
        (
            KeyFilter {
                keyspace: Some(name("default")?),
                environment: Some(name("production")?),
                owner: Some(name("customer")?),
                role: Some(name("auditor")?),
                tag: some("y"),
                name_contains: some("b"),
                state: active,
            },
            &[4],
        ),
    ] {
        assert_eq!(h.ids(&acme, &filter).await?, numbered(expected), "{filter:?}");
    }
    Ok(())
}

pub(super) async fn names_are_searched_literally(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let names = ["100% sure", "under_score", "back\\slash", "plain", "Ärger", "it's \"x\""];
    for (number, text) in (1..).zip(names) {
        let key = ApiKey { name: name(text)?, ..samples::key(&acme, number)? };
        h.create_keys(&[key]).await?;
    }
    for (part, expected) in [
        ("%", &[1][..]),
        ("_", &[2]),
        ("\\", &[3]),
        ("PLAIN", &[4]),
        ("p_ain", &[]),
        ("'", &[6]),
        ("\"X", &[6]),
        // Letter case is put aside for ASCII only.
        ("Ä", &[5]),
        ("ä", &[]),
        ("ÄRG", &[5]),
    ] {
        let filter = KeyFilter { name_contains: Some(part.to_owned()), ..KeyFilter::default() };
        assert_eq!(h.ids(&acme, &filter).await?, numbered(expected), "{part}");
    }
    Ok(())
}

/// Every lifecycle with every kind of expiry, and moments around all of their turning points.
fn all_stages(project: &ProjectName) -> Result<Vec<ApiKey>, Invalid> {
    let mut keys = Vec::new();
    for lifecycle in samples::lifecycles() {
        for expiry in [None, Some(300), Some(500), Some(550), Some(900)] {
            let number = keys.len() as u64;
            let expires_at = expiry.map(samples::time);
            let lifecycle = lifecycle.clone();
            keys.push(ApiKey { lifecycle, expires_at, ..samples::key(project, number)? });
        }
    }
    Ok(keys)
}

fn moments() -> Vec<jiff::Timestamp> {
    let around = |second| {
        [
            samples::just_after(second, SignedDuration::from_nanos(-1)),
            samples::time(second),
            samples::just_after(second, SignedDuration::from_nanos(1)),
        ]
    };
    [300, 500, 550, 600, 900].into_iter().flat_map(around).collect()
}

pub(super) async fn states_are_what_the_domain_says(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let keys = all_stages(&acme)?;
    h.create_keys(&keys).await?;
    for now in moments() {
        for state in KeyState::ALL {
            let filter = KeyFilter { state: Some((state, now)), ..KeyFilter::default() };
            let expected = keys.iter().rev().filter(|key| key.state(now) == state);
            let expected: Vec<KeyId> = expected.map(|key| key.id).collect();
            assert_eq!(h.ids(&acme, &filter).await?, expected, "{state:?} at {now}");
        }
    }
    let visible = keys.iter().rev();
    let visible = visible.filter(|key| key.state(samples::time(0)) != KeyState::Deleted);
    let visible: Vec<KeyId> = visible.map(|key| key.id).collect();
    assert_eq!(h.ids(&acme, &KeyFilter::default()).await?, visible);
    Ok(())
}

pub(super) async fn expired_is_what_the_domain_says(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let keys = all_stages(&acme)?;
    h.create_keys(&keys).await?;
    for now in moments() {
        let mut found = h.store.expired_keys(&acme, now, 1000).await?;
        found.sort_by_key(|key| key.created_at);
        let expected: Vec<ApiKey> =
            keys.iter().filter(|key| key.state(now) == KeyState::Expired).cloned().collect();
        assert_eq!(found, expected, "at {now}");
    }
    Ok(())
}
