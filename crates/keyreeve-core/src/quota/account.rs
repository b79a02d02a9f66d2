//! The account of what one subject spent in the running period.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::{
    claim::{Claim, Stored},
    period::{Period, Schedule, ends_later},
    reservations::{MOST_RESERVATIONS, Reservations},
    rule::Quota,
};

#[cfg(test)]
mod tests;

/// The largest amount claimed ahead of need.
const LARGEST_CHUNK: u64 = 10_000;

/// What one subject spent in the running period. It does no locking of its own.
///
/// Nothing is admitted unless all that is spent and reserved is then within `claimed`, which is on
/// disk. Time only moves an account forward: when the clock goes back across a refill, the account
/// stays in the later period, so nothing is refilled twice.
///
/// When the rule's refill or zone changes, the running period keeps its start and all that was
/// spent in it, and ends with the first period of the new rule that reaches past `now`. It is
/// refilled no sooner: a period of the new rule counts as new only if it begins after the running
/// one is over. So a change of the rule may make one period longer, and never gives anything
/// away. What was spent before the running period began is forgotten.
#[derive(Clone, Debug, Default)]
pub struct QuotaAccount {
    period: Option<Period>,
    /// What `period` was last worked out from. Nothing after a load.
    schedule: Option<Schedule>,
    spent: u64,
    claimed: u64,
    /// What is claimed on disk in this period, by whomever, as far as it is known here.
    on_disk: u64,
    /// The highest claim handed out: some of it may be on disk although nobody said so.
    asked: u64,
    claim_underway: bool,
    /// What all want to spend who were told to wait since a claim was last answered.
    waiting: u64,
    reservations: Reservations,
}

/// Where a quota stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLevel {
    /// The quota's amount per period.
    pub amount: u64,
    /// How much is neither spent nor reserved.
    pub remaining: u64,
    /// When all of it may be spent anew; absent if never.
    pub resets_at: Option<Timestamp>,
    /// When the running period began. Hand it to [`QuotaAccount::give_back`].
    pub period_start: Timestamp,
}

/// Something was spent or reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Where the quota stands now.
    pub level: QuotaLevel,
    /// A claim to make durable soon, so that a later caller need not wait for it. Answer it with
    /// [`QuotaAccount::claimed`] or [`QuotaAccount::claim_failed`]; till then no other is offered.
    pub claim_ahead: Option<Claim>,
}

/// Why nothing was spent or reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaRefused {
    /// The quota does not have that much left.
    #[error("the quota does not have that much left")]
    Exceeded(QuotaLevel),
    /// Make this claim durable, say so with [`QuotaAccount::claimed`], then try again.
    #[error("the quota needs a durable claim first")]
    NeedsClaim(Claim),
    /// There are as many open reservations as there may be.
    #[error("there are already {MOST_RESERVATIONS} open reservations")]
    TooManyReservations,
    /// A reservation with that id is open.
    #[error("a reservation with that id is already open")]
    ReservationExists,
}

/// Why a reservation was not committed or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReservationError {
    /// There never was one, or it was committed, cancelled, expired, or lapsed with its period.
    #[error("there is no such open reservation")]
    Unknown,
    /// More was asked for than was reserved, and the quota does not have the difference left.
    /// The reservation stays open.
    #[error("the quota does not have that much left")]
    Exceeded(QuotaLevel),
    /// Make this claim durable, say so with [`QuotaAccount::claimed`], then try again. The
    /// reservation stays open.
    #[error("the quota needs a durable claim first")]
    NeedsClaim(Claim),
}

/// Why an amount was not admitted.
enum Short {
    Exceeded(QuotaLevel),
    NeedsClaim(Claim),
}

impl From<Short> for QuotaRefused {
    fn from(short: Short) -> Self {
        match short {
            Short::Exceeded(level) => Self::Exceeded(level),
            Short::NeedsClaim(claim) => Self::NeedsClaim(claim),
        }
    }
}

impl From<Short> for ReservationError {
    fn from(short: Short) -> Self {
        match short {
            Short::Exceeded(level) => Self::Exceeded(level),
            Short::NeedsClaim(claim) => Self::NeedsClaim(claim),
        }
    }
}

/// How much is claimed at a time: a hundredth of the quota, within bounds.
fn chunk(quota: &Quota) -> u64 {
    (quota.amount() / 100).clamp(1, LARGEST_CHUNK)
}

impl QuotaAccount {
    /// An account of which nothing is known: nothing spent, nothing claimed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was ever asked of it.
    pub fn is_untouched(&self) -> bool {
        self.period.is_none()
    }

    /// Whether nothing that was asked of it matters any more at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.period.is_none_or(|period| period.is_over(now))
    }

    /// Takes over what was read from disk at start, before anything is spent.
    ///
    /// All that was claimed counts as spent. A period earlier than the account's is passed over;
    /// in the account's own, what is spent only grows.
    pub fn restored(&mut self, stored: Stored) {
        match self.period {
            Some(period) if stored.period_start < period.start => {}
            Some(period) if stored.period_start == period.start => {
                self.spent = self.spent.max(stored.claimed.saturating_sub(self.reservations.sum()));
                self.claimed = self.claimed.max(stored.claimed);
                self.on_disk = self.on_disk.max(stored.claimed);
                self.asked = self.asked.max(self.claimed);
            }
            _ => {
                self.begin(Period { start: stored.period_start, end: stored.period_end });
                self.schedule = None;
                self.spent = stored.claimed;
                self.claimed = stored.claimed;
                self.on_disk = stored.claimed;
                self.asked = stored.claimed;
            }
        }
    }

    /// Somebody else claimed or gave back: `stored` is what is on disk since. What others claimed
    /// they may have spent, so it counts as spent here.
    ///
    /// To be told in the order in which it came to the disk, among one's own claims. An answer for
    /// an earlier period changes nothing; a later one begins here, too.
    pub fn claimed_elsewhere(&mut self, stored: Stored) {
        match self.period {
            Some(period) if stored.period_start < period.start => {}
            Some(period) if stored.period_start == period.start => {
                let more = stored.claimed.saturating_sub(self.on_disk);
                let less = self.on_disk.saturating_sub(stored.claimed);
                let moved = |figure: u64| figure.saturating_add(more).saturating_sub(less);
                self.spent = moved(self.spent);
                // After a change of the rule nothing counts as claimed till the next claim.
                if self.claimed > 0 {
                    self.claimed = moved(self.claimed);
                }
                self.asked = moved(self.asked).max(self.claimed);
                self.on_disk = stored.claimed;
            }
            _ => self.restored(stored),
        }
    }

    /// What is claimed on disk in the period that began at `period_start`, as far as it is known
    /// here. A claim is made on it, and fails if it is no longer so.
    pub fn known(&self, period_start: Timestamp) -> u64 {
        self.period.filter(|period| period.start == period_start).map_or(0, |_| self.on_disk)
    }

    /// The same for the running period.
    pub fn known_now(&self) -> u64 {
        self.on_disk
    }

    /// A claim was made durable: it may be spent from now on. `stored` is the claim, or what is
    /// on disk since.
    ///
    /// An answer for an earlier period, or for an end the period no longer has, changes nothing.
    pub fn claimed(&mut self, stored: Stored) {
        match self.period {
            Some(period) if stored.period_start < period.start => {}
            Some(period) if stored.period_start == period.start => {
                self.answered();
                self.on_disk = self.on_disk.max(stored.claimed);
                if !ends_later(period.end, stored.period_end) {
                    self.claimed = self.claimed.max(stored.claimed);
                    self.asked = self.asked.max(self.claimed);
                }
            }
            // Only somebody else can be further on. What they claimed they may have spent.
            _ => self.restored(stored),
        }
    }

    /// Whether nobody has to wait for this claim any more: it is on disk, or its period is over.
    pub fn is_claimed(&self, claim: &Claim) -> bool {
        self.period.is_some_and(|period| match period.start.cmp(&claim.period_start) {
            Ordering::Greater => true,
            Ordering::Equal => {
                self.claimed >= claim.claim && !ends_later(period.end, claim.period_end)
            }
            Ordering::Less => false,
        })
    }

    /// A claim could not be made durable. The next call that needs one asks for it again.
    pub fn claim_failed(&mut self) {
        self.answered();
    }

    fn answered(&mut self) {
        self.claim_underway = false;
        self.waiting = 0;
    }

    /// Spends `amount`. Nothing is spent unless all of it fits; 0 always fits.
    pub fn take(
        &mut self,
        quota: &Quota,
        amount: u64,
        now: Timestamp,
    ) -> Result<Spent, QuotaRefused> {
        let period = self.enter(quota, now);
        self.admit(quota, period, self.used(), amount)?;
        self.spent = self.spent.saturating_add(amount);
        Ok(self.report(quota, period, amount))
    }

    /// Where the quota stands at `now`. Spends nothing.
    pub fn peek(&mut self, quota: &Quota, now: Timestamp) -> QuotaLevel {
        let period = self.enter(quota, now);
        self.level(quota, period)
    }

    /// Gives back what was taken in the period that began at `taken_in`. Once that period is over
    /// there is nothing to give back to.
    pub fn give_back(&mut self, taken_in: Timestamp, amount: u64) {
        if self.period.is_some_and(|period| period.start == taken_in) {
            self.spent = self.spent.saturating_sub(amount);
        }
    }

    /// Sets `amount` aside under `id`, until it is committed or cancelled, or until `until`, the
    /// first moment at which it is free again. The end of the period frees it too.
    pub fn reserve(
        &mut self,
        quota: &Quota,
        id: u64,
        amount: u64,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Spent, QuotaRefused> {
        let period = self.enter(quota, now);
        if self.reservations.amount_of(id).is_some() {
            return Err(QuotaRefused::ReservationExists);
        }
        if self.reservations.is_full() {
            return Err(QuotaRefused::TooManyReservations);
        }
        self.admit(quota, period, self.used(), amount)?;
        self.reservations.add(id, amount, until);
        Ok(self.report(quota, period, amount))
    }

    /// Spends `amount` from the reservation and closes it.
    ///
    /// Up to the reserved amount this always works, even if the quota was lowered since; what is
    /// over is free again. More than that needs room in the quota for the difference.
    pub fn commit(
        &mut self,
        quota: &Quota,
        id: u64,
        amount: u64,
        now: Timestamp,
    ) -> Result<Spent, ReservationError> {
        let period = self.enter(quota, now);
        let held = self.reservations.amount_of(id).ok_or(ReservationError::Unknown)?;
        if amount > held {
            self.admit(quota, period, self.used().saturating_sub(held), amount)?;
        }
        self.reservations.remove(id);
        self.spent = self.spent.saturating_add(amount);
        Ok(self.report(quota, period, amount))
    }

    /// How much is set aside under `id`; nothing once it has expired.
    pub fn reserved(&self, id: u64) -> Option<u64> {
        self.reservations.amount_of(id)
    }

    /// Closes the reservation and spends nothing.
    pub fn cancel(&mut self, id: u64, now: Timestamp) -> Result<(), ReservationError> {
        self.drop_lapsed(now);
        if self.reservations.remove(id) { Ok(()) } else { Err(ReservationError::Unknown) }
    }

    /// What to write at a graceful stop so that a restart loses nothing: what was spent and what
    /// is still reserved, exactly. Nothing if that is on disk already.
    ///
    /// Unlike a claim it is written over what is there, because it may be less. So it must be the
    /// last write: call this when nothing is spent any more and every claim is answered. Whoever
    /// spends on after all needs a new claim.
    pub fn to_store(&mut self, now: Timestamp) -> Option<Stored> {
        self.drop_lapsed(now);
        let used = self.used();
        let period = self.period.filter(|_| used != self.claimed || used != self.asked)?;
        self.claimed = used;
        self.asked = used;
        self.on_disk = used;
        self.answered();
        Some(Stored { period_start: period.start, period_end: period.end, claimed: used })
    }

    fn used(&self) -> u64 {
        self.spent.saturating_add(self.reservations.sum())
    }

    /// Brings the account to `now`: into the next period if the running one is over, and rid of
    /// the reservations that have expired.
    fn enter(&mut self, quota: &Quota, now: Timestamp) -> Period {
        self.reservations.drop_expired(now);
        match self.period {
            Some(period)
                if !period.is_over(now) && self.schedule.as_ref() == Some(quota.schedule()) =>
            {
                period
            }
            running => self.turn(quota, running, now),
        }
    }

    /// Works out the period anew, because it is over or because the rule may have changed.
    fn turn(&mut self, quota: &Quota, running: Option<Period>, now: Timestamp) -> Period {
        // Never looks before the running period, whatever the clock says.
        let next = quota.period(running.map_or(now, |running| now.max(running.start)));
        self.schedule = Some(quota.schedule().clone());
        let period = match running {
            // Part of the next period lies in the running one, and nobody knows how much was
            // spent in that part. So all of it counts until the next period is over.
            Some(running) if !running.is_over(next.start) => {
                if ends_later(next.end, running.end) {
                    // On disk the period is over too soon. As nothing counts as claimed, the
                    // next that is spent waits for a claim, and that puts it right.
                    self.claimed = 0;
                }
                Period { start: running.start, end: next.end }
            }
            _ => {
                self.begin(next);
                next
            }
        };
        self.period = Some(period);
        period
    }

    /// A new period: nothing spent, nothing claimed, nothing reserved.
    fn begin(&mut self, period: Period) {
        self.period = Some(period);
        self.spent = 0;
        self.claimed = 0;
        self.on_disk = 0;
        self.asked = 0;
        self.answered();
        self.reservations.clear();
    }

    fn drop_lapsed(&mut self, now: Timestamp) {
        if self.period.is_some_and(|period| period.is_over(now)) {
            self.reservations.clear();
        }
        self.reservations.drop_expired(now);
    }

    /// Whether `amount` fits on top of `used`, in the quota and in what is claimed.
    fn admit(
        &mut self,
        quota: &Quota,
        period: Period,
        used: u64,
        amount: u64,
    ) -> Result<(), Short> {
        if amount == 0 {
            return Ok(());
        }
        let needed = used.checked_add(amount).filter(|needed| *needed <= quota.amount());
        let Some(needed) = needed else {
            return Err(Short::Exceeded(self.level(quota, period)));
        };
        if needed <= self.claimed {
            return Ok(());
        }
        // Others that wait for a claim will spend what they asked for: this one's comes on top.
        self.waiting = self.waiting.saturating_add(needed.saturating_sub(self.used()));
        let ahead = self.used().saturating_add(chunk(quota).max(self.waiting));
        Err(Short::NeedsClaim(self.ask(period, needed.max(ahead).min(quota.amount()))))
    }

    /// The answer after `amount` was spent or reserved.
    fn report(&mut self, quota: &Quota, period: Period, amount: u64) -> Spent {
        let level = self.level(quota, period);
        let chunk = chunk(quota);
        let allowance = self.claimed.saturating_sub(self.used());
        let claim = self.used().saturating_add(chunk).min(quota.amount());
        let scarce = amount > 0 && allowance.saturating_mul(2) < chunk && claim > self.claimed;
        let claim_ahead = (scarce && !self.claim_underway).then(|| self.ask(period, claim));
        Spent { level, claim_ahead }
    }

    fn ask(&mut self, period: Period, claim: u64) -> Claim {
        self.claim_underway = true;
        self.asked = self.asked.max(claim);
        Claim { period_start: period.start, period_end: period.end, claim }
    }

    fn level(&self, quota: &Quota, period: Period) -> QuotaLevel {
        QuotaLevel {
            amount: quota.amount(),
            remaining: quota.amount().saturating_sub(self.used()),
            resets_at: period.end,
            period_start: period.start,
        }
    }
}
