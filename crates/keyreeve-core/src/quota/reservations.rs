//! Amounts set aside until their real size is known.

use jiff::Timestamp;

/// How many reservations an account may have open at once.
pub const MOST_RESERVATIONS: usize = 1000;

/// A list this short keeps its memory when it empties.
const KEPT_CAPACITY: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Reservation {
    id: u64,
    amount: u64,
    until: Timestamp,
}

/// The open reservations of one account. A short unordered list: there are seldom more than a few,
/// and at most [`MOST_RESERVATIONS`], so looking through it is cheap and bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservations {
    open: Vec<Reservation>,
    sum: u64,
    /// No reservation expires before this.
    next_expiry: Option<Timestamp>,
}

impl Reservations {
    /// All that is set aside.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= MOST_RESERVATIONS
    }

    /// How much is set aside under `id`.
    pub(super) fn amount_of(&self, id: u64) -> Option<u64> {
        self.open.iter().find(|open| open.id == id).map(|open| open.amount)
    }

    /// Sets `amount` aside. The caller has checked that there is room and that `id` is new.
    pub(super) fn add(&mut self, id: u64, amount: u64, until: Timestamp) {
        self.open.push(Reservation { id, amount, until });
        self.sum = self.sum.saturating_add(amount);
        self.next_expiry = Some(self.next_expiry.map_or(until, |next| next.min(until)));
    }

    /// Takes the reservation out. False if there is none.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(at) = self.open.iter().position(|open| open.id == id) else {
            return false;
        };
        let removed = self.open.swap_remove(at);
        self.sum = self.sum.saturating_sub(removed.amount);
        self.tidy();
        true
    }

    /// Drops what has expired at `now`. Looks at the list only if something may have.
    pub(super) fn drop_expired(&mut self, now: Timestamp) {
        if self.next_expiry.is_none_or(|next| now < next) {
            return;
        }
        self.open.retain(|open| now < open.until);
        self.sum = self.open.iter().map(|open| open.amount).sum();
        self.next_expiry = self.open.iter().map(|open| open.until).min();
        self.tidy();
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn tidy(&mut self) {
        if self.open.is_empty() {
            self.next_expiry = None;
            if self.open.capacity() > KEPT_CAPACITY {
                self.open = Vec::new();
            }
        }
    }
}
