//! Long lists, page by page.

use keyreeve_core::{
    Invalid,
    key::KeyId,
    lifecycle::Lifecycle,
    model::ApiKey,
    name::{OwnerId, ProjectName},
};
use keyreeve_engine::store::{
    AuditFilter, Change, Cursor, KeyFilter, PageRequest, StoreError, StoredKey,
};

use super::{
    harness::{Failure, Harness, Outcome},
    samples::{self, name},
};

/// Keys of which three at a time are equally old, in no particular order.
fn many(project: &ProjectName, count: u64) -> Result<Vec<ApiKey>, Invalid> {
    (0..count)
        .map(|number| {
            // 97 is prime to every count used here, so each number comes up once.
            let number = number * 97 % count;
            let created_at = samples::time(i64::try_from(number / 3).unwrap_or_default());
            Ok(ApiKey { created_at, ..samples::key(project, number)? })
        })
        .collect()
}

fn newest_first(keys: &[ApiKey]) -> Vec<KeyId> {
    let mut places: Vec<_> = keys.iter().map(|key| (key.created_at, key.id)).collect();
    places.sort();
    places.into_iter().rev().map(|(_, id)| id).collect()
}

fn ids(keys: &[StoredKey]) -> Vec<KeyId> {
    keys.iter().map(|stored| stored.key.id).collect()
}

pub(super) async fn keys_come_newest_first_without_gaps_or_repeats(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let keys = many(&acme, 250)?;
    h.create_keys(&keys).await?;
    let expected = newest_first(&keys);
    for per_page in [7, 50, 125, 250, 251, 1000] {
        let found = h.all_keys(&acme, &KeyFilter::default(), per_page).await?;
        assert_eq!(ids(&found), expected, "{per_page} per page");
    }
    Ok(())
}

pub(super) async fn filtered_keys_come_in_pages(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let owner = samples::owner("customer")?;
    h.commit(&acme, vec![Change::CreateOwner(owner.clone())]).await?;
    let mut keys = many(&acme, 100)?;
    for key in keys.iter_mut().step_by(2) {
        key.owner = Some(owner.id.clone());
        key.tags = samples::tags(&["even", "all"])?;
        key.roles = vec![name("viewer")?];
    }
    h.create_keys(&keys).await?;
    let even: Vec<ApiKey> = keys.into_iter().step_by(2).collect();
    let expected = newest_first(&even);
    for filter in [
        KeyFilter { owner: Some(owner.id), ..KeyFilter::default() },
        KeyFilter { tag: Some("even".to_owned()), ..KeyFilter::default() },
        KeyFilter { role: Some(name("viewer")?), ..KeyFilter::default() },
        KeyFilter {
            tag: Some("all".to_owned()),
            role: Some(name("viewer")?),
            ..KeyFilter::default()
        },
    ] {
        for per_page in [3, 25, 50] {
            let found = h.all_keys(&acme, &filter, per_page).await?;
            assert_eq!(ids(&found), expected, "{filter:?}, {per_page} per page");
        }
    }
    Ok(())
}

pub(super) async fn owners_come_by_id_in_pages(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let names = ["b", "a", "a b", "A", "ä", "user:10", "user:9", "🦀", "Z", "z"];
    let mut expected: Vec<OwnerId> = names.iter().map(|id| name(id)).collect::<Result<_, _>>()?;
    for id in names {
        h.commit(&acme, vec![Change::CreateOwner(samples::owner(id)?)]).await?;
    }
    expected.sort();
    for per_page in [1, 3, 10] {
        let mut page = PageRequest::first(per_page);
        let mut found: Vec<OwnerId> = Vec::new();
        loop {
            let list = h.store.owners(&acme, &page).await?;
            found.extend(list.items.into_iter().map(|owner| owner.id));
            match list.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, expected, "{per_page} per page");
    }
    Ok(())
}

async fn expiring(
    h: &Harness,
    project: &ProjectName,
    seconds: (i64, i64),
    per_page: u32,
) -> Result<Vec<KeyId>, Failure> {
    let (from, until) = (samples::time(seconds.0), samples::time(seconds.1));
    let mut page = PageRequest::first(per_page);
    let mut found = Vec::new();
    loop {
        let list = h.store.expiring_keys(project, from, until, &page).await?;
        found.extend(ids(&list.items));
        match list.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

pub(super) async fn expiring_keys_come_soonest_first(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let mut keys = Vec::new();
    for (number, second) in [(1, 30), (2, 10), (3, 20), (4, 20), (5, 40), (6, 50)] {
        let expires_at = Some(samples::time(second));
        keys.push(ApiKey { expires_at, ..samples::key(&acme, number)? });
    }
    // Those that are not active do not expire in any way that matters.
    for (number, lifecycle) in (100..).zip(samples::lifecycles().into_iter().skip(1)) {
        let expires_at = Some(samples::time(20));
        keys.push(ApiKey { expires_at, lifecycle, ..samples::key(&acme, number)? });
    }
    keys.push(samples::key(&acme, 200)?);
    h.create_keys(&keys).await?;
    let expected = |numbers: &[u64]| -> Vec<KeyId> {
        numbers.iter().map(|number| samples::key_id(*number)).collect()
    };
    for per_page in [1, 2, 100] {
        let found = expiring(&h, &acme, (10, 40), per_page).await?;
        assert_eq!(found, expected(&[2, 3, 4, 1]), "{per_page} per page");
    }
    assert_eq!(expiring(&h, &acme, (11, 51), 10).await?, expected(&[3, 4, 1, 5, 6]));
    assert!(expiring(&h, &acme, (51, 60), 10).await?.is_empty());
    assert!(expiring(&h, &acme, (40, 10), 10).await?.is_empty());
    Ok(())
}

pub(super) async fn expired_keys_come_longest_expired_first(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let mut keys = Vec::new();
    for (number, second) in [(1, 30), (2, 10), (3, 20)] {
        let expires_at = Some(samples::time(second));
        keys.push(ApiKey { expires_at, ..samples::key(&acme, number)? });
    }
    // In rotation the grace ends the key, unless its expiry comes first.
    for (number, grace, expiry) in [(4, 15, None), (5, 25, Some(60)), (6, 60, Some(25))] {
        let successor = samples::key_id(1);
        let grace_ends_at = samples::time(grace);
        let lifecycle = Lifecycle::Rotating { successor, grace_ends_at };
        let expires_at = expiry.map(samples::time);
        keys.push(ApiKey { expires_at, lifecycle, ..samples::key(&acme, number)? });
    }
    keys.push(samples::key(&acme, 7)?);
    h.create_keys(&keys).await?;
    for (second, limit, expected) in [
        (10, 10, &[2][..]),
        (9, 10, &[]),
        (25, 10, &[2, 4, 3, 5, 6]),
        (25, 2, &[2, 4]),
        (99, 10, &[2, 4, 3, 5, 6, 1]),
    ] {
        let found = h.store.expired_keys(&acme, samples::time(second), limit).await?;
        let found: Vec<KeyId> = found.iter().map(|key| key.id).collect();
        let expected: Vec<KeyId> =
            expected.iter().map(|number: &u64| samples::key_id(*number)).collect();
        assert_eq!(found, expected, "at most {limit} in second {second}");
    }
    Ok(())
}

pub(super) async fn foreign_cursors_are_refused(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let after = |order: i64, id: &str| PageRequest {
        limit: 10,
        after: Some(Cursor { order, id: id.to_owned() }),
    };
    let (from, until) = (samples::time(0), samples::time(1));
    for page in [after(0, ""), after(0, "not an id"), after(5, "abcdefghijklm")] {
        let listed = h.store.keys(&acme, &KeyFilter::default(), &page).await;
        assert!(matches!(listed, Err(StoreError::BadCursor)), "{page:?}");
        let listed = h.store.expiring_keys(&acme, from, until, &page).await;
        assert!(matches!(listed, Err(StoreError::BadCursor)), "{page:?}");
    }
    for page in [after(0, ""), after(1, "customer"), after(0, " customer")] {
        let listed = h.store.owners(&acme, &page).await;
        assert!(matches!(listed, Err(StoreError::BadCursor)), "{page:?}");
    }
    for page in [after(-1, ""), after(5, "five")] {
        let listed = h.store.audit_entries(&acme, &AuditFilter::default(), &page).await;
        assert!(matches!(listed, Err(StoreError::BadCursor)), "{page:?}");
    }
    Ok(())
}

pub(super) async fn cursors_beyond_the_ends_are_fine(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let keys = samples::keys(&acme, 1, 4)?;
    h.create_keys(&keys).await?;
    let after =
        |order: i64, id: String| PageRequest { limit: 10, after: Some(Cursor { order, id }) };
    let id = samples::key_id(2).to_string();
    let filter = KeyFilter::default();
    let all = h.store.keys(&acme, &filter, &after(i64::MAX, id.clone())).await?;
    assert_eq!(all.items.len(), 3);
    let none = h.store.keys(&acme, &filter, &after(i64::MIN, id)).await?;
    assert!(none.items.is_empty() && none.next.is_none());
    let entries = AuditFilter::default();
    let all = h.store.audit_entries(&acme, &entries, &after(i64::MAX, String::new())).await?;
    assert_eq!(all.items.len(), 2);
    let none = h.store.audit_entries(&acme, &entries, &after(0, String::new())).await?;
    assert!(none.items.is_empty() && none.next.is_none());
    // What a cursor stands for may be gone by the time it is used.
    let page = PageRequest { limit: 1, after: None };
    let next = h.store.keys(&acme, &filter, &page).await?.next;
    let purge = Change::PurgeKey { id: samples::key_id(3), revision: 1 };
    h.commit(&acme, vec![purge]).await?;
    let rest = h.store.keys(&acme, &filter, &PageRequest { limit: 10, after: next }).await?;
    assert_eq!(ids(&rest.items), [samples::key_id(2), samples::key_id(1)]);
    Ok(())
}
