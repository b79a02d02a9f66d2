//! Counts that many threads add to at once.
//!
//! Threads that add to the same memory wait for one another. So each has a row of its own, and
//! whoever wants to know adds the rows up.

use std::sync::atomic::{AtomicU64, Ordering};

use keyreeve_engine::thread_number;

/// Rows; threads beyond that share. More than the cores of most machines.
const ROWS: usize = 16;

/// So many counts, each the sum of a column.
#[derive(Debug)]
pub(super) struct Tally<const COUNTS: usize> {
    rows: Box<[Row<COUNTS>]>,
}

/// As far from the next as two cache lines are, since processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Row<const COUNTS: usize>([AtomicU64; COUNTS]);

impl<const COUNTS: usize> Default for Tally<COUNTS> {
    fn default() -> Self {
        let row = || Row([const { AtomicU64::new(0) }; COUNTS]);
        Self { rows: std::iter::repeat_with(row).take(ROWS).collect() }
    }
}

impl<const COUNTS: usize> Tally<COUNTS> {
    /// Adds one; a place that there is not is passed over.
    pub(super) fn add(&self, place: usize) {
        if let Some(count) = self.rows.get(thread_number() % ROWS).and_then(|row| row.0.get(place))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every count with its place.
    pub(super) fn sums(&self) -> impl Iterator<Item = u64> {
        let of = |place: usize| {
            self.rows.iter().map(|row| row.0[place].load(Ordering::Relaxed)).sum::<u64>()
        };
        (0..COUNTS).map(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_is_counted() {
        let tally = Tally::<3>::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for n in 0..1_000 {
                        tally.add(n % 4);
                    }
                });
            }
        });
        assert_eq!(tally.sums().collect::<Vec<_>>(), [5_000; 3]);
    }
}
