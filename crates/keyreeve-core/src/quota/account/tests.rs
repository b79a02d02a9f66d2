mod laws;
mod nodes;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

/// An account whose claims are all made durable at once, until `spent` is spent.
fn account(quota: &Quota, spent: u64, now: Timestamp) -> QuotaAccount {
    let mut account = QuotaAccount::new();
    take(&mut account, quota, spent, now).unwrap();
    account
}

/// Takes, and makes durable every claim that is asked for.
fn take(
    account: &mut QuotaAccount,
    quota: &Quota,
    amount: u64,
    now: Timestamp,
) -> Result<QuotaLevel, QuotaRefused> {
    loop {
        match account.take(quota, amount, now) {
            Ok(spent) => {
                if let Some(claim) = spent.claim_ahead {
                    account.claimed(claim.into());
                }
                return Ok(spent.level);
            }
            Err(QuotaRefused::NeedsClaim(claim)) => account.claimed(claim.into()),
            Err(refused) => return Err(refused),
        }
    }
}

fn remaining(account: &mut QuotaAccount, quota: &Quota, now: &str) -> u64 {
    account.peek(quota, at(now)).remaining
}

const MAY_20: &str = "2026-05-20T12:00:00Z";
const MAY_21: &str = "2026-05-21T12:00:00Z";

#[test]
fn spending_waits_for_a_durable_claim_and_then_asks_ahead() {
    let quota = quota("1000/day");
    let now = at(MAY_20);
    let start = at("2026-05-20T00:00:00Z");
    let end = Some(at("2026-05-21T00:00:00Z"));
    let claim = |claim| Claim { period_start: start, period_end: end, claim };
    let mut account = QuotaAccount::new();
    // A hundredth of 1000 at a time.
    assert_eq!(account.take(&quota, 1, now), Err(QuotaRefused::NeedsClaim(claim(10))));
    assert_eq!(account.peek(&quota, now).remaining, 1000);
    account.claimed(claim(10).into());
    for n in 1..=5 {
        let level =
            QuotaLevel { amount: 1000, remaining: 1000 - n, resets_at: end, period_start: start };
        assert_eq!(account.take(&quota, 1, now), Ok(Spent { level, claim_ahead: None }));
    }
    // Less than half a chunk left: asked once, until it is answered.
    assert_eq!(account.take(&quota, 1, now).unwrap().claim_ahead, Some(claim(16)));
    assert_eq!(account.take(&quota, 1, now).unwrap().claim_ahead, None);
    account.claim_failed();
    assert_eq!(account.take(&quota, 1, now).unwrap().claim_ahead, Some(claim(18)));
    account.claimed(claim(18).into());
    assert_eq!(account.take(&quota, 1, now).unwrap().claim_ahead, None);
    // What is larger than a chunk is claimed as it is; what is larger than the rest is refused.
    assert_eq!(account.take(&quota, 600, now), Err(QuotaRefused::NeedsClaim(claim(609))));
    let left = account.peek(&quota, now);
    assert_eq!(left.remaining, 991);
    assert_eq!(account.take(&quota, 992, now), Err(QuotaRefused::Exceeded(left)));
    assert_eq!(account.take(&quota, u64::MAX, now), Err(QuotaRefused::Exceeded(left)));
    assert_eq!(account.take(&quota, 991, now), Err(QuotaRefused::NeedsClaim(claim(1000))));
}

#[test]
fn chunks_are_a_hundredth_between_1_and_10_000() {
    for (text, first) in
        [("1", 1), ("50/day", 1), ("199", 1), ("200", 2), ("1000000", 10_000), ("9000000", 10_000)]
    {
        match QuotaAccount::new().take(&quota(text), 1, at(MAY_20)) {
            Err(QuotaRefused::NeedsClaim(claim)) => assert_eq!(claim.claim, first, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn nothing_is_always_admitted_and_never_claimed() {
    let mut account = QuotaAccount::new();
    let spent = account.take(&quota("5/day"), 0, at(MAY_20)).unwrap();
    assert_eq!((spent.level.remaining, spent.claim_ahead), (5, None));
    let mut account = self::account(&quota("100/day"), 100, at(MAY_20));
    let spent = account.take(&quota("50/day"), 0, at(MAY_20)).unwrap();
    assert_eq!((spent.level.remaining, spent.claim_ahead), (0, None));
    assert_eq!(account.to_store(at(MAY_20)), None);
}

#[test]
fn a_period_ends_on_the_instant_and_never_comes_back() {
    let quota = quota("10/day");
    let mut account = account(&quota, 10, at("2026-05-20T23:59:59.999Z"));
    assert_eq!(remaining(&mut account, &quota, "2026-05-20T23:59:59.999Z"), 0);
    assert_eq!(remaining(&mut account, &quota, "2026-05-21T00:00:00Z"), 10);
    let level = take(&mut account, &quota, 4, at("2026-05-21T00:00:00Z")).unwrap();
    assert_eq!(level.period_start, at("2026-05-21T00:00:00Z"));
    // The clock goes back: still the 21st.
    let level = take(&mut account, &quota, 3, at("2026-05-20T08:00:00Z")).unwrap();
    assert_eq!((level.remaining, level.period_start), (3, at("2026-05-21T00:00:00Z")));
    assert_eq!(remaining(&mut account, &quota, "2026-05-21T00:00:01Z"), 3);
}

#[test]
fn giving_back_is_exact_and_only_within_the_period() {
    let quota = quota("10/day");
    let mut account = account(&quota, 7, at(MAY_20));
    let taken_in = at("2026-05-20T00:00:00Z");
    account.give_back(taken_in, 3);
    assert_eq!(remaining(&mut account, &quota, MAY_20), 6);
    account.give_back(at("2026-05-19T00:00:00Z"), 1);
    assert_eq!(remaining(&mut account, &quota, MAY_20), 6);
    take(&mut account, &quota, 5, at(MAY_21)).unwrap();
    account.give_back(taken_in, 4);
    assert_eq!(remaining(&mut account, &quota, MAY_21), 5);
}

#[test]
fn changing_the_amount_counts_what_was_spent() {
    let mut account = account(&quota("100/day"), 60, at(MAY_20));
    let lowered = quota("50/day");
    let level = account.peek(&lowered, at(MAY_20));
    assert_eq!((level.amount, level.remaining), (50, 0));
    assert_eq!(account.take(&lowered, 1, at(MAY_20)), Err(QuotaRefused::Exceeded(level)));
    let raised = quota("200/day");
    assert_eq!(take(&mut account, &raised, 140, at(MAY_20)).unwrap().remaining, 0);
}

#[test]
fn changing_the_refill_never_refills() {
    for (from, to, still_spent_at, fresh_at) in [
        ("10/month", "10/day", MAY_20, Some("2026-05-21T00:00:00Z")),
        ("10/day", "10/month", "2026-05-31T23:59:59Z", Some("2026-06-01T00:00:00Z")),
        // On the 15th the old period still runs, so the next refill is a month later.
        ("10/month", "10/month@25", "2026-05-24T23:59:59Z", Some("2026-05-25T00:00:00Z")),
        ("10/month", "10/month@15", "2026-06-14T23:59:59Z", Some("2026-06-15T00:00:00Z")),
        ("10/day", "10/day Asia/Tokyo", "2026-05-20T14:59:59Z", Some("2026-05-20T15:00:00Z")),
        ("10/once", "10/day", MAY_20, Some("2026-05-21T00:00:00Z")),
        ("10/day", "10/once", "2999-01-01T00:00:00Z", None),
    ] {
        let (from, to) = (quota(from), quota(to));
        let mut account = account(&from, 10, at(MAY_20));
        for now in [MAY_20, still_spent_at] {
            let level = account.peek(&to, at(now));
            assert_eq!(level.remaining, 0, "{from} to {to} at {now}");
            assert_eq!(level.resets_at, fresh_at.map(at), "{from} to {to} at {now}");
        }
        if let Some(fresh_at) = fresh_at {
            let level = account.peek(&to, at(fresh_at));
            assert_eq!((level.remaining, level.period_start), (10, at(fresh_at)), "{from} to {to}");
        }
    }
}

#[test]
fn a_change_of_the_refill_survives_a_restart_before_it_is_on_disk() {
    // The month's rule spent all of it; only that is on disk when the rule becomes a day's.
    let mut account = account(&quota("10/month"), 10, at(MAY_20));
    let stored = account.to_store(at(MAY_20));
    assert_eq!(stored, None, "all was claimed, so the disk is right already");
    let on_disk = Stored {
        period_start: at("2026-05-01T00:00:00Z"),
        period_end: Some(at("2026-06-01T00:00:00Z")),
        claimed: 10,
    };
    let mut account = QuotaAccount::new();
    account.restored(on_disk);
    assert_eq!(remaining(&mut account, &quota("10/day"), MAY_20), 0);
    assert_eq!(remaining(&mut account, &quota("10/day"), MAY_21), 10);
}

#[test]
fn a_period_made_longer_is_claimed_anew_before_anything_is_spent() {
    let day = quota("1000/day");
    let month = quota("1000/month");
    let mut account = account(&day, 1, at(MAY_20));
    let late = Claim {
        period_start: at("2026-05-20T00:00:00Z"),
        period_end: Some(at("2026-05-21T00:00:00Z")),
        claim: 20,
    };
    let claim = Claim { period_end: Some(at("2026-06-01T00:00:00Z")), claim: 11, ..late };
    assert_eq!(account.take(&month, 1, at(MAY_20)), Err(QuotaRefused::NeedsClaim(claim)));
    // A late answer with the old end on disk does not help.
    account.claimed(late.into());
    assert_eq!(account.take(&month, 1, at(MAY_20)), Err(QuotaRefused::NeedsClaim(claim)));
    account.claimed(claim.into());
    assert_eq!(account.take(&month, 1, at(MAY_20)).unwrap().level.remaining, 998);
}

#[test]
fn a_clock_set_back_while_the_rule_changes_does_not_refill_twice() {
    let mut account = account(&quota("10/month"), 10, at("2026-06-01T00:00:00Z"));
    let day = quota("10/day");
    assert_eq!(remaining(&mut account, &day, "2026-05-31T23:00:00Z"), 0);
    assert_eq!(remaining(&mut account, &day, "2026-06-01T23:59:59Z"), 0);
    assert_eq!(remaining(&mut account, &day, "2026-06-02T00:00:00Z"), 10);
}

#[test]
fn what_is_on_disk_counts_as_spent_and_the_later_period_wins() {
    let quota = quota("100/day");
    let day = |day: i8, claimed| Stored {
        period_start: at(&format!("2026-05-{day}T00:00:00Z")),
        period_end: Some(at(&format!("2026-05-{}T00:00:00Z", day + 1))),
        claimed,
    };
    let mut account = QuotaAccount::new();
    account.restored(day(20, 30));
    assert_eq!(remaining(&mut account, &quota, MAY_20), 70);
    account.restored(day(20, 20));
    account.restored(day(19, 90));
    assert_eq!(remaining(&mut account, &quota, MAY_20), 70);
    account.restored(day(20, 40));
    assert_eq!(remaining(&mut account, &quota, MAY_20), 60);
    account.restored(day(21, 5));
    assert_eq!(remaining(&mut account, &quota, MAY_20), 95);
    // While running, a claim spends nothing unless somebody else is a period further.
    account.claimed(day(21, 50));
    account.claimed(day(20, 100));
    assert_eq!(remaining(&mut account, &quota, MAY_21), 95);
    assert_eq!(account.take(&quota, 45, at(MAY_21)).unwrap().level.remaining, 50);
    account.claimed(day(22, 70));
    assert_eq!(remaining(&mut account, &quota, MAY_21), 30);
}

#[test]
fn a_graceful_stop_is_exact() {
    let quota = quota("10000/day");
    let now = at(MAY_20);
    let mut account = account(&quota, 7, now);
    account.reserve(&quota, 1, 20, now, at("2026-05-20T12:01:00Z")).unwrap();
    account.reserve(&quota, 2, 30, now, at("2026-05-20T12:09:00Z")).unwrap();
    let later = at("2026-05-20T12:01:00Z");
    let stored = account.to_store(later).unwrap();
    assert_eq!(stored.claimed, 37, "one reservation has expired, one has not");
    assert_eq!(account.to_store(later), None);
    assert!(matches!(account.take(&quota, 1, later), Err(QuotaRefused::NeedsClaim(_))));
    let mut again = QuotaAccount::new();
    again.restored(stored);
    assert_eq!(again.peek(&quota, later).remaining, 9963);
    assert_eq!(again.to_store(later), None);
    assert_eq!(QuotaAccount::new().to_store(later), None);
    // A claim that was never answered may be on disk, so what is there is set right.
    assert!(matches!(again.take(&quota, 5, later), Err(QuotaRefused::NeedsClaim(_))));
    assert_eq!(again.to_store(later), Some(stored));
}

#[test]
fn reservations() {
    let quota = quota("100/once");
    let now = at(MAY_20);
    let until = at("2026-05-20T12:01:00Z");
    let mut account = account(&quota, 10, now);
    account.claimed(
        Claim { period_start: Timestamp::UNIX_EPOCH, period_end: None, claim: 100 }.into(),
    );
    let left = |spent: Spent| spent.level.remaining;
    assert_eq!(account.reserve(&quota, 1, 40, now, until).map(left), Ok(50));
    assert_eq!(account.reserve(&quota, 2, 30, now, until).map(left), Ok(20));
    assert_eq!(account.reserve(&quota, 2, 1, now, until), Err(QuotaRefused::ReservationExists));
    let full = account.peek(&quota, now);
    assert_eq!(account.reserve(&quota, 3, 21, now, until), Err(QuotaRefused::Exceeded(full)));
    // Less than reserved, then more than reserved as far as there is room.
    assert_eq!(account.commit(&quota, 1, 15, now).map(left), Ok(45));
    assert_eq!(account.commit(&quota, 1, 15, now), Err(ReservationError::Unknown));
    let level = account.peek(&quota, now);
    assert_eq!(account.commit(&quota, 2, 76, now), Err(ReservationError::Exceeded(level)));
    assert_eq!(account.commit(&quota, 2, 75, now).map(left), Ok(0));
    assert_eq!(account.cancel(2, now), Err(ReservationError::Unknown));
}

#[test]
fn reservations_expire_and_lapse_with_their_period() {
    let quota = quota("100/day");
    let now = at(MAY_20);
    let until = at("2026-05-20T12:01:00Z");
    let mut account = account(&quota, 50, now);
    account.give_back(at("2026-05-20T00:00:00Z"), 50);
    account.reserve(&quota, 1, 30, now, until).unwrap();
    account.reserve(&quota, 2, 10, now, Timestamp::MAX).unwrap();
    assert_eq!(remaining(&mut account, &quota, "2026-05-20T12:00:59.999Z"), 60);
    assert_eq!(remaining(&mut account, &quota, "2026-05-20T12:01:00Z"), 90);
    assert_eq!(account.commit(&quota, 1, 1, until), Err(ReservationError::Unknown));
    account.reserve(&quota, 3, 5, until, Timestamp::MAX).unwrap();
    assert_eq!(account.cancel(3, at(MAY_21)), Err(ReservationError::Unknown));
    account.reserve(&quota, 4, 5, until, Timestamp::MAX).unwrap();
    assert_eq!(account.commit(&quota, 4, 5, at(MAY_21)), Err(ReservationError::Unknown));
    assert_eq!(remaining(&mut account, &quota, MAY_21), 100);
}

#[test]
fn a_reservation_outlives_a_lowered_quota_but_does_not_grow_in_it() {
    let now = at(MAY_20);
    let mut account = account(&quota("100/day"), 50, now);
    account.give_back(at("2026-05-20T00:00:00Z"), 40);
    account.reserve(&quota("100/day"), 1, 30, now, Timestamp::MAX).unwrap();
    let lowered = quota("20/day");
    let level = account.peek(&lowered, now);
    assert_eq!(account.commit(&lowered, 1, 31, now), Err(ReservationError::Exceeded(level)));
    assert_eq!(account.commit(&lowered, 1, 30, now).unwrap().level.remaining, 0);
}

#[test]
fn a_commit_beyond_the_claim_waits_and_keeps_the_reservation() {
    let quota = quota("1000/once");
    let now = at(MAY_20);
    let mut account = account(&quota, 5, now);
    account.reserve(&quota, 1, 2, now, Timestamp::MAX).unwrap();
    let claim = Claim { period_start: Timestamp::UNIX_EPOCH, period_end: None, claim: 105 };
    assert_eq!(account.commit(&quota, 1, 100, now), Err(ReservationError::NeedsClaim(claim)));
    account.claimed(claim.into());
    assert_eq!(account.commit(&quota, 1, 100, now).unwrap().level.remaining, 895);
}

#[test]
fn a_claim_is_enough_for_all_who_wait_for_it() {
    let quota = quota("50/day");
    let now = at(MAY_20);
    let mut account = QuotaAccount::new();
    let mut asked = Vec::new();
    for _ in 0..60 {
        let Err(QuotaRefused::NeedsClaim(claim)) = account.take(&quota, 1, now) else {
            panic!("nothing is claimed yet");
        };
        asked.push(claim);
    }
    let largest = asked.into_iter().max_by_key(|claim| claim.claim).unwrap();
    assert_eq!(largest.claim, 50);
    account.claimed(largest.into());
    for _ in 0..50 {
        account.take(&quota, 1, now).unwrap();
    }
    assert!(matches!(account.take(&quota, 1, now), Err(QuotaRefused::Exceeded(_))));
}

#[test]
fn open_reservations_are_bounded() {
    let quota = quota("1000000/day");
    let now = at(MAY_20);
    let until = at("2026-05-20T12:01:00Z");
    let mut account = account(&quota, 1, now);
    for id in 0..1000 {
        account.reserve(&quota, id, 1, now, until).unwrap();
    }
    assert_eq!(
        account.reserve(&quota, 1000, 1, now, until),
        Err(QuotaRefused::TooManyReservations)
    );
    account.cancel(500, now).unwrap();
    account.reserve(&quota, 1000, 1, now, until).unwrap();
    assert_eq!(account.peek(&quota, now).remaining, 998_999);
    // All expire at once, and there is room again.
    account.reserve(&quota, 1001, 1, until, Timestamp::MAX).unwrap();
    assert_eq!(account.peek(&quota, until).remaining, 999_998);
}

#[test]
#[expect(clippy::disallowed_types, reason = "poisoning is what a test wants of a lock")]
fn many_threads_never_overspend() {
    use std::sync::Mutex;

    let quota = quota("5000/day");
    let now = at(MAY_20);
    let account = Mutex::new(QuotaAccount::new());
    let disk: Mutex<Option<Stored>> = Mutex::new(None);
    let spend = |amount| {
        let mut spent = 0;
        loop {
            let answer = account.lock().unwrap().take(&quota, amount, now);
            let claim = match answer {
                Ok(taken) => {
                    spent += amount;
                    taken.claim_ahead
                }
                Err(QuotaRefused::NeedsClaim(claim)) => Some(claim),
                Err(_) => return spent,
            };
            if let Some(claim) = claim {
                // Between these two locks the others go on.
                let mut disk = disk.lock().unwrap();
                let stored = disk.map_or(claim.into(), |old: Stored| {
                    old.claimed_after(old.claimed, claim.into()).unwrap_or(old)
                });
                *disk = Some(stored);
                drop(disk);
                account.lock().unwrap().claimed(claim.into());
            }
        }
    };
    let total: u64 = std::thread::scope(|scope| {
        let spend = &spend;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(move || spend(1))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 5000);
    assert_eq!(disk.lock().unwrap().unwrap().claimed, 5000);
}
