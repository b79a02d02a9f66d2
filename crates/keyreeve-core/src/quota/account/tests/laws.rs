//! Any interleaving of spending, claims, crashes and clock steps, against a naive model.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    /// Gives back the last amount taken.
    GiveBack,
    Reserve {
        amount: u64,
        seconds: i64,
    },
    Commit {
        which: usize,
        amount: u64,
    },
    Cancel {
        which: usize,
    },
    /// Seconds; may be negative.
    Clock(i64),
    /// How the writer of claims fares from now on.
    Disk(Disk),
    /// The claim asked for ahead is written and answered, if there is one.
    AnswerAhead,
    Crash,
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Disk {
    Works,
    Fails,
    /// The claim is on disk, but the writer was told that it failed.
    FailsAfterWriting,
    /// The claim is on disk, but the process dies before it hears of it.
    DiesAfterWriting,
}

/// The account under test and the naive truth beside it.
struct World {
    quota: Quota,
    account: QuotaAccount,
    disk: Option<Stored>,
    disk_mood: Disk,
    ahead: Option<Claim>,
    now: Timestamp,
    /// By start of the account's period: all that was really admitted and not given back.
    admitted: BTreeMap<Timestamp, u64>,
    /// What the account should believe.
    period: Option<Period>,
    spent: u64,
    /// Id, amount, until.
    open: Vec<(u64, u64, Timestamp)>,
    /// What came free again in this period after it had been claimed.
    freed: u64,
    /// The largest single amount asked for.
    largest: u64,
    last_taken: Option<(Timestamp, u64)>,
    ids: u64,
}

impl World {
    fn new(quota: &str) -> Self {
        Self {
            quota: self::quota(quota),
            account: QuotaAccount::new(),
            disk: None,
            disk_mood: Disk::Works,
            ahead: None,
            now: at("2026-05-20T23:00:00Z"),
            admitted: BTreeMap::new(),
            period: None,
            spent: 0,
            open: Vec::new(),
            freed: 0,
            largest: 0,
            last_taken: None,
            ids: 0,
        }
    }

    fn reserved(&self) -> u64 {
        self.open.iter().map(|open| open.1).sum()
    }

    fn left(&self) -> u64 {
        self.quota.amount() - self.spent - self.reserved()
    }

    /// The model's time passes.
    fn pass(&mut self) {
        if self.period.is_none_or(|period| period.is_over(self.now)) {
            self.period = Some(self.quota.period(self.now));
            self.spent = 0;
            self.freed = 0;
            self.open.clear();
        }
        let now = self.now;
        self.freed += self.open.iter().filter(|open| open.2 <= now).map(|open| open.1).sum::<u64>();
        self.open.retain(|open| now < open.2);
    }

    fn start(&self) -> Timestamp {
        self.period.unwrap().start
    }

    fn write(&mut self, claim: Claim) {
        let new = claim.into();
        self.disk = Some(
            self.disk.map_or(new, |old: Stored| old.claimed_after(old.claimed, new).unwrap_or(old)),
        );
    }

    /// The process begins anew with what is on disk.
    fn restart(&mut self) {
        self.account = QuotaAccount::new();
        if let Some(stored) = self.disk {
            self.account.restored(stored);
        }
        self.period =
            self.disk.map(|stored| Period { start: stored.period_start, end: stored.period_end });
        self.spent = self.disk.map_or(0, |stored| stored.claimed);
        self.open.clear();
        self.freed = 0;
        self.ahead = None;
        self.last_taken = None;
    }

    fn crash(&mut self) {
        let (spent, reserved, freed) = (self.spent, self.reserved(), self.freed);
        let period = self.period;
        self.restart();
        if let Some(stored) =
            self.disk.filter(|stored| Some(stored.period_start) == period.map(|p| p.start))
        {
            assert!(stored.claimed >= spent + reserved, "all that was admitted was on disk");
            let lost = stored.claimed - spent - reserved;
            let most = chunk(&self.quota).max(self.largest) + freed;
            assert!(lost <= most, "{lost} lost, {most} is the most");
        } else {
            assert_eq!(spent + reserved, 0, "nothing is admitted in a period that is not on disk");
        }
    }

    /// Whether to try again.
    fn handle(&mut self, claim: Claim) -> bool {
        assert_eq!(claim.period_start, self.start());
        assert!(claim.claim <= self.quota.amount());
        match self.disk_mood {
            Disk::Works => {
                self.write(claim);
                self.account.claimed(claim.into());
                true
            }
            Disk::Fails | Disk::FailsAfterWriting => {
                if self.disk_mood == Disk::FailsAfterWriting {
                    self.write(claim);
                }
                self.account.claim_failed();
                self.ahead = None;
                false
            }
            Disk::DiesAfterWriting => {
                self.write(claim);
                self.crash();
                self.disk_mood = Disk::Works;
                false
            }
        }
    }

    fn admitted(&mut self, amount: u64, spent: Spent) {
        self.pass();
        assert_eq!(spent.level.period_start, self.start());
        assert_eq!(spent.level.remaining, self.left(), "the account agrees with the model");
        if let Some(claim) = spent.claim_ahead {
            self.ahead = Some(claim);
        }
        let sum = self.admitted.entry(spent.level.period_start).or_default();
        *sum += amount;
        assert!(*sum <= self.quota.amount(), "over-spent");
    }

    fn take(&mut self, amount: u64) {
        self.largest = self.largest.max(amount);
        loop {
            let answer = self.account.take(&self.quota, amount, self.now);
            self.pass();
            match answer {
                Ok(spent) => {
                    self.spent += amount;
                    self.admitted(amount, spent);
                    self.last_taken = Some((spent.level.period_start, amount));
                    return;
                }
                Err(QuotaRefused::NeedsClaim(claim)) => {
                    assert!(amount <= self.left());
                    if !self.handle(claim) {
                        return;
                    }
                }
                Err(other) => {
                    assert!(matches!(other, QuotaRefused::Exceeded(_)) && amount > self.left());
                    return;
                }
            }
        }
    }

    fn give_back(&mut self) {
        let Some((period_start, amount)) = self.last_taken.take() else { return };
        self.account.give_back(period_start, amount);
        // Even an account that has not noticed the end of its period takes it back into that one.
        if self.period.is_some_and(|period| period.start == period_start) {
            self.spent -= amount;
            self.freed += amount;
            *self.admitted.get_mut(&period_start).unwrap() -= amount;
        }
    }

    fn reserve(&mut self, amount: u64, seconds: i64) {
        self.largest = self.largest.max(amount);
        self.ids += 1;
        let until = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        loop {
            let answer = self.account.reserve(&self.quota, self.ids, amount, self.now, until);
            self.pass();
            match answer {
                Ok(spent) => {
                    self.open.push((self.ids, amount, until));
                    assert_eq!(spent.level.remaining, self.left());
                    self.ahead = spent.claim_ahead.or(self.ahead);
                    return;
                }
                Err(QuotaRefused::NeedsClaim(claim)) => {
                    assert!(amount <= self.left());
                    if !self.handle(claim) {
                        return;
                    }
                }
                Err(other) => {
                    assert!(matches!(other, QuotaRefused::Exceeded(_)) && amount > self.left());
                    return;
                }
            }
        }
    }

    fn commit(&mut self, which: usize, amount: u64) {
        self.largest = self.largest.max(amount);
        let id = self.open.get(which).map_or(u64::MAX, |open| open.0);
        loop {
            let answer = self.account.commit(&self.quota, id, amount, self.now);
            self.pass();
            let held = self.open.iter().find(|open| open.0 == id).map(|open| open.1);
            match answer {
                Ok(spent) => {
                    self.open.retain(|open| open.0 != id);
                    self.spent += amount;
                    self.freed += held.unwrap().saturating_sub(amount);
                    self.admitted(amount, spent);
                    return;
                }
                Err(ReservationError::NeedsClaim(claim)) => {
                    assert!(amount > held.unwrap() && amount - held.unwrap() <= self.left());
                    if !self.handle(claim) {
                        return;
                    }
                }
                Err(ReservationError::Exceeded(_)) => {
                    assert!(amount - held.unwrap() > self.left());
                    return;
                }
                Err(ReservationError::Unknown) => return assert_eq!(held, None),
            }
        }
    }

    fn cancel(&mut self, which: usize) {
        let id = self.open.get(which).map_or(u64::MAX, |open| open.0);
        let answer = self.account.cancel(id, self.now);
        let ended = self.period.is_some_and(|period| period.is_over(self.now));
        if ended {
            self.freed += self.reserved();
            self.open.clear();
        } else if self.period.is_some() {
            self.pass();
        }
        let held = self.open.iter().find(|open| open.0 == id).map(|open| open.1);
        assert_eq!(answer, held.map(drop).ok_or(ReservationError::Unknown));
        self.freed += held.unwrap_or(0);
        self.open.retain(|open| open.0 != id);
    }

    fn stop(&mut self) {
        if let Some(stored) = self.account.to_store(self.now) {
            self.disk = Some(stored);
        }
        let ended = self.period.is_some_and(|period| period.is_over(self.now));
        if !ended && self.period.is_some() {
            self.pass();
            let start = self.start();
            let on_disk = self.disk.filter(|stored| stored.period_start == start);
            let exact = self.spent + self.reserved();
            assert_eq!(on_disk.map_or(0, |stored| stored.claimed), exact, "a stop is exact");
        }
        self.restart();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Take(amount) => self.take(amount),
            Step::GiveBack => self.give_back(),
            Step::Reserve { amount, seconds } => self.reserve(amount, seconds),
            Step::Commit { which, amount } => self.commit(which, amount),
            Step::Cancel { which } => self.cancel(which),
            Step::Clock(seconds) => {
                self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            }
            Step::Disk(mood) => self.disk_mood = mood,
            Step::AnswerAhead => {
                if let Some(claim) = self.ahead.take() {
                    self.write(claim);
                    self.account.claimed(claim.into());
                }
            }
            Step::Crash => self.crash(),
            Step::Stop => self.stop(),
        }
    }
}

fn arb_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u64..40).prop_map(Step::Take),
        2 => Just(Step::GiveBack),
        4 => (0u64..60, 0i64..3000).prop_map(|(amount, seconds)| Step::Reserve { amount, seconds }),
        4 => (0usize..4, 0u64..80).prop_map(|(which, amount)| Step::Commit { which, amount }),
        2 => (0usize..4).prop_map(|which| Step::Cancel { which }),
        3 => (-2000i64..4000).prop_map(Step::Clock),
        1 => prop::sample::select(vec![-90_000i64, 90_000]).prop_map(Step::Clock),
        2 => prop::sample::select(vec![
            Disk::Works, Disk::Works, Disk::Works, Disk::Fails, Disk::FailsAfterWriting, Disk::DiesAfterWriting,
        ]).prop_map(Step::Disk),
        3 => Just(Step::AnswerAhead),
        1 => Just(Step::Crash),
        1 => Just(Step::Stop),
    ]
}

/// One take under one of several rules, some time after the one before.
#[derive(Clone, Debug)]
struct Change {
    rule: usize,
    amount: u64,
    seconds: i64,
    crash_before: bool,
    answer_ahead: bool,
}

fn arb_change() -> impl Strategy<Value = Change> {
    (0usize..6, 0u64..60, 0i64..100_000, prop::bool::weighted(0.2), any::<bool>()).prop_map(
        |(rule, amount, seconds, crash_before, answer_ahead)| Change {
            rule,
            amount,
            seconds,
            crash_before,
            answer_ahead,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn never_over_spent_and_always_as_the_model_says(
        rule in prop::sample::select(vec!["100/day", "1000/day", "300/month", "500/once"]),
        steps in prop::collection::vec(arb_step(), 1..120),
    ) {
        let mut world = World::new(rule);
        for step in &steps {
            world.step(step);
        }
    }

    /// Whatever the rule becomes and whenever the process dies: of all that was admitted since
    /// the start that the account states, under whichever rule, no more than the amount.
    #[test]
    fn changes_of_the_rule_never_over_spend(
        changes in prop::collection::vec(arb_change(), 1..80),
    ) {
        let rules = [
            "100/day", "100/month", "100/month@15", "100/day Asia/Tokyo", "100/once",
            "100/month@22 America/New_York",
        ].map(quota);
        let mut account = QuotaAccount::new();
        let mut disk: Option<Stored> = None;
        let mut now = at("2026-05-20T23:00:00Z");
        let mut admitted: Vec<(Timestamp, u64)> = Vec::new();
        for change in &changes {
            now = now.checked_add(SignedDuration::from_secs(change.seconds)).unwrap();
            if change.crash_before {
                account = QuotaAccount::new();
                if let Some(stored) = disk {
 account.restored(stored);
 }
            }
            let answer = account.take(&rules[change.rule], change.amount, now);
            let (claim, retry) = match answer {
                Ok(spent) => (spent.claim_ahead.filter(|_| change.answer_ahead), false),
                Err(QuotaRefused::NeedsClaim(claim)) => (Some(claim), true),
                Err(_) => (None, false),
            };
            if let Some(claim) = claim {
                disk = Some(disk.map_or(claim.into(), |old| {
                    old.claimed_after(old.claimed, claim.into()).unwrap_or(old)
                }));
                account.claimed(claim.into());
            } else {
                account.claim_failed();
            }
            let answer = if retry {
                account.take(&rules[change.rule], change.amount, now)
            } else {
                answer
            };
            prop_assert!(!matches!(answer, Err(QuotaRefused::NeedsClaim(_))), "asked twice");
            if answer.is_ok() {
                admitted.push((now, change.amount));
            }
            let level = account.peek(&rules[change.rule], now);
            let since = admitted.iter().filter(|(at, _)| *at >= level.period_start);
            let sum: u64 = since.map(|(_, amount)| amount).sum();
            prop_assert!(sum <= 100, "{} admitted since {}", sum, level.period_start);
            prop_assert!(level.resets_at.is_none_or(|end| now < end));
        }
    }
}
