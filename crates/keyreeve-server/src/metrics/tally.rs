//! Counts that many threads add to at once.

use std::sync::atomic::{AtomicU64, Ordering};

use keyreeve_engine::PerThread;

/// So many counts, each the sum of a column.
#[derive(Debug, Default)]
pub(super) struct Tally<const COUNTS: usize>(PerThread<Counts<COUNTS>>);

#[derive(Debug)]
struct Counts<const COUNTS: usize>([AtomicU64; COUNTS]);

impl<const COUNTS: usize> Default for Counts<COUNTS> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNTS])
    }
}

impl<const COUNTS: usize> Tally<COUNTS> {
    /// Adds one; a place that there is not is passed over.
    pub(super) fn add(&self, place: usize) {
        if let Some(count) = self.0.own().0.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every count with its place.
    pub(super) fn sums(&self) -> impl Iterator<Item = u64> {
        let of = |place: usize| {
            self.0.rows().map(|row| row.0[place].load(Ordering::Relaxed)).sum::<u64>()
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
