//! Tables without room for everything: what is read while it changes.

use std::sync::Arc;

use jiff::Timestamp;
use keyreeve_core::{
    key::KeyId,
    model::{FailPolicy, Keyspace, Owner, Policy},
    permission::PermissionSet,
    verdict::VerdictCode,
};

use super::*;
use crate::live::sample::{api_key, still_clock};
use crate::store::{Change, ChangeSink as _};

fn id(number: u8) -> KeyId {
    KeyId::from_entropy([number; 16])
}

/// As after a start.
fn table(room: usize) -> LiveTable {
    let table = LiveTable::with_room_for(room, still_clock());
    let surroundings = Keyspace {
        name: "default".parse().unwrap(),
        prefix: "kr".parse().unwrap(),
        default_expires_in: None,
        default_grace: Keyspace::DEFAULT_GRACE,
        fail_policy: FailPolicy::Closed,
        policy: Policy::none(),
        created_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    };
    apply(&table, &Change::CreateKeyspace(surroundings));
    table.set_loaded();
    table
}

fn changed(key: &ApiKey, lifecycle: Lifecycle) -> ApiKey {
    ApiKey { lifecycle, revision: key.revision + 1, ..key.clone() }
}

fn revoked(key: &ApiKey) -> ApiKey {
    changed(key, Lifecycle::Active.revoke(None, Timestamp::UNIX_EPOCH).unwrap())
}

fn metered(number: u8) -> ApiKey {
    let policy = Policy::from_json(r#"{"quota":"100/month"}"#).unwrap();
    ApiKey { policy: Arc::new(policy), ..api_key(id(number)) }
}

/// A key as the store has it, put in after `meanwhile` happened between the reading and the putting.
fn read(table: &LiveTable, key: &ApiKey, meanwhile: impl FnOnce()) -> bool {
    let watch = table.watch_key(key.id).unwrap();
    let lineage = table.watch_lineage(key.lineage).unwrap();
    meanwhile();
    table.admit(&watch, &lineage, KeyRead { key, claim: None, usage: None })
}

fn apply(table: &LiveTable, change: &Change) {
    table.apply(&"acme".parse().unwrap(), change);
}

#[track_caller]
fn standing(table: &LiveTable, id: KeyId) -> VerdictCode {
    match table.lookup(&id) {
        Lookup::Here(key) => key.standing(Timestamp::UNIX_EPOCH),
        other => panic!("{other:?}"),
    }
}

/// What decides on a key's rights: where it belongs, and what it may.
type Rights = (String, String, String, Vec<String>, PermissionSet, usize);

fn rights_of(shape: &KeyShape) -> Rights {
    (
        shape.project.name.to_string(),
        shape.keyspace.name.to_string(),
        shape.environment.to_string(),
        shape.roles.iter().map(|role| role.name.to_string()).collect(),
        shape.permissions.clone(),
        Arc::as_ptr(&shape.policy).addr(),
    )
}

fn own_rights(key: &ApiKey) -> Rights {
    (
        key.project.to_string(),
        key.keyspace.to_string(),
        key.environment.to_string(),
        key.roles.iter().map(ToString::to_string).collect(),
        key.permissions.clone(),
        Arc::as_ptr(&key.policy).addr(),
    )
}

#[test]
fn keys_that_are_read_at_the_start_have_their_own_rights() {
    let table = LiveTable::with_room_for(100, still_clock());
    let usual = api_key(id(1));
    let permissions = PermissionSet::parse(&["orders.read".to_owned()]).unwrap();
    let role = |name: &str| name.parse().unwrap();
    let keys = [
        usual.clone(),
        ApiKey { project: "other".parse().unwrap(), ..usual.clone() },
        ApiKey { keyspace: "other".parse().unwrap(), ..usual.clone() },
        ApiKey { environment: "staging".parse().unwrap(), ..usual.clone() },
        ApiKey { roles: vec![role("reader")], ..usual.clone() },
        ApiKey { roles: vec![role("reader"), role("writer")], ..usual.clone() },
        ApiKey { permissions, ..usual.clone() },
        ApiKey { policy: metered(1).policy, ..usual.clone() },
    ];
    // Each after each, so that whatever the one before left at hand is there.
    for one in &keys {
        for other in &keys {
            assert_eq!(rights_of(&table.shape(one)), own_rights(one));
            assert_eq!(rights_of(&table.shape(other)), own_rights(other));
        }
    }
    // The same are one.
    assert!(Arc::ptr_eq(&table.shape(&usual), &table.shape(&usual)));
}

#[test]
fn what_is_made_anew_while_keys_are_read_is_another_one() {
    let table = LiveTable::with_room_for(100, still_clock());
    let key = ApiKey { roles: vec!["reader".parse().unwrap()], ..api_key(id(1)) };
    let before = table.shape(&key);
    apply(&table, &Change::DeleteRole("reader".parse().unwrap()));
    let after = table.shape(&key);
    assert!(!Arc::ptr_eq(&before.roles[0], &after.roles[0]));
    apply(&table, &Change::DeleteKeyspace(key.keyspace.clone()));
    assert!(!Arc::ptr_eq(&after.keyspace, &table.shape(&key).keyspace));
}

#[test]
fn what_changed_while_it_was_read_is_not_put_in() {
    let table = table(10);
    let old = api_key(id(1));
    let new = revoked(&old);
    let update = Change::UpdateKey(Box::new(new.clone()));
    assert!(!read(&table, &old, || apply(&table, &update)));
    assert!(matches!(table.lookup(&old.id), Lookup::Unknown));
    assert!(read(&table, &new, || {}));
    assert_eq!(standing(&table, old.id), VerdictCode::Revoked);

    let gone = api_key(id(2));
    let purge = Change::PurgeKey { id: gone.id, revision: 1 };
    assert!(!read(&table, &gone, || apply(&table, &purge)));
    let deletion = changed(&gone, Lifecycle::Active.delete(Timestamp::UNIX_EPOCH).unwrap());
    let deletion = Change::UpdateKey(Box::new(deletion));
    assert!(!read(&table, &gone, || apply(&table, &deletion)));
    assert!(matches!(table.lookup(&gone.id), Lookup::Unknown));
}

#[test]
fn news_of_what_was_read_already_takes_nothing_back() {
    let table = table(10);
    let key = api_key(id(1));
    let disabled = changed(&key, Lifecycle::Active.disable(Timestamp::UNIX_EPOCH).unwrap());
    let ahead = ApiKey { revision: 3, ..revoked(&key) };
    assert!(read(&table, &ahead, || {}));
    apply(&table, &Change::UpdateKey(Box::new(disabled)));
    assert_eq!(standing(&table, key.id), VerdictCode::Revoked);
}

#[test]
fn what_is_made_while_it_is_missed_is_there() {
    let table = table(10);
    let key = api_key(id(1));
    let watch = table.watch_key(key.id).unwrap();
    apply(&table, &Change::CreateKey(Box::new(key.clone())));
    assert!(!table.admit_absent(&watch));
    assert_eq!(standing(&table, key.id), VerdictCode::Valid);
    // And what was missed before.
    let other = api_key(id(2));
    assert!(table.admit_absent(&table.watch_key(other.id).unwrap()));
    assert!(matches!(table.lookup(&other.id), Lookup::Absent));
    apply(&table, &Change::CreateKey(Box::new(other.clone())));
    assert_eq!(standing(&table, other.id), VerdictCode::Valid);
}

#[test]
fn what_is_claimed_while_it_is_read_is_read_again() {
    let table = table(10);
    let key = metered(1);
    let stored =
        |claimed| StoredQuota { period_start: Timestamp::UNIX_EPOCH, period_end: None, claimed };
    let elsewhere = |claimed| QuotaClaim {
        subject: QuotaSubject::Lineage(key.id),
        stored: stored(claimed),
        known: 0,
    };
    let claim = |claimed| table.claimed_elsewhere(&key.project, &elsewhere(claimed));
    assert!(!read(&table, &key, || claim(10)));
    assert!(table.lineages.pin().is_empty(), "nobody follows it yet");
    let watch = table.watch_key(key.id).unwrap();
    let lineage = table.watch_lineage(key.id).unwrap();
    let claim_read = Some(stored(20));
    assert!(table.admit(&watch, &lineage, KeyRead { key: &key, claim: claim_read, usage: None }));
    let known = || table.counters(key.id).quota.lock().known_now();
    assert_eq!(known(), 20);
    claim(30);
    assert_eq!(known(), 30);
    // A key that gets a quota nobody followed has to be read with what is claimed of it.
    let plain = api_key(id(2));
    assert!(read(&table, &plain, || {}));
    let limited = ApiKey { policy: key.policy.clone(), revision: 2, ..plain.clone() };
    apply(&table, &Change::UpdateKey(Box::new(limited)));
    assert!(matches!(table.lookup(&plain.id), Lookup::Unknown));
}

#[test]
fn a_key_waits_for_news_of_what_it_belongs_to() {
    let table = table(10);
    let key = ApiKey { keyspace: "new".parse().unwrap(), ..api_key(id(1)) };
    assert!(!read(&table, &key, || {}), "it would be bound by nothing");
    let owned = ApiKey { owner: Some("somebody".parse().unwrap()), ..api_key(id(2)) };
    assert!(!read(&table, &owned, || {}));
    let owner = Owner {
        id: "somebody".parse().unwrap(),
        name: None,
        metadata: keyreeve_core::model::Metadata::default(),
        policy: Policy::none(),
        created_at: Timestamp::UNIX_EPOCH,
        revision: 1,
    };
    apply(&table, &Change::CreateOwner(owner));
    assert!(read(&table, &owned, || {}));
}

#[test]
fn what_is_told_at_the_start_is_followed() {
    let table = LiveTable::with_room_for(10, still_clock());
    let imported = Imported { start: None, hash: None };
    let key = ApiKey { imported: Some(Box::new(imported)), ..metered(1) };
    apply(&table, &Change::CreateKey(Box::new(key.clone())));
    let stored = StoredQuota { period_start: Timestamp::UNIX_EPOCH, period_end: None, claimed: 7 };
    let subject = QuotaSubject::Lineage(key.id);
    let claim = QuotaClaim { subject, stored, known: 0 };
    apply(&table, &Change::ClaimQuota(vec![claim]));
    table.set_loaded();
    assert_eq!(table.counters(key.id).quota.lock().known_now(), 7);
    assert_eq!(standing(&table, key.id), VerdictCode::Valid);
}

#[test]
fn what_is_used_stays_and_counters_outlive_it() {
    let table = table(3);
    for number in 1..=3 {
        assert!(read(&table, &metered(number), || {}));
    }
    for number in 4..20 {
        table.lookup(&id(1));
        assert!(read(&table, &metered(number), || {}));
        assert_eq!(table.len(), 3);
        assert!(table.key(&id(1)).is_some(), "used all the while");
        let matters =
            StoredQuota { period_start: Timestamp::UNIX_EPOCH, period_end: None, claimed: 5 };
        if number == 7 {
            table.counters(id(7)).quota.lock().restored(matters);
        }
    }
    let kept: Vec<KeyId> = table.lineages.pin().keys().copied().collect();
    assert!(kept.contains(&id(7)), "its quota still matters");
    assert_eq!(kept.len(), 4, "of those that are here, and that one");
    let settled = table.all_counters();
    assert!(settled.iter().any(|(_, subject, _)| *subject == QuotaSubject::Lineage(id(7))));
}
