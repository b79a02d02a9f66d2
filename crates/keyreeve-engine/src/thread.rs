//! Threads that count apart, so that cores do not wait for one another.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Rows of a [`PerThread`]; threads beyond that share. More than the cores of most machines.
const ROWS: usize = 16;

/// The number of the thread that asks: given out in turn from 0 on, when it asks for the first time.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        own.get().unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            own.set(Some(number));
            number
        })
    })
}

/// One of something for each thread, or for each few where there are more than 16.
///
/// Threads that write to the same line of memory wait for one another. Whoever wants to know it all goes
/// by the rows.
#[derive(Debug)]
pub struct PerThread<T>(Box<[Row<T>; ROWS]>);

/// As far from the next as two cache lines are, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row<T>(T);

impl<T: Default> Default for PerThread<T> {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Row::default())))
    }
}

impl<T> PerThread<T> {
    /// That of the thread that asks.
    pub fn own(&self) -> &T {
        self.own_with_number().1
    }

    /// That of the thread that asks, and which of them it is: 0 to 15.
    pub fn own_with_number(&self) -> (usize, &T) {
        let number = thread_number() % ROWS;
        (number, &self.0[number].0)
    }

    /// All of them.
    pub fn rows(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|row| &row.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_thread_has_a_row_of_its_own_or_shares_one() {
        let counts = PerThread::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let (number, own) = counts.own_with_number();
                    assert!(number < ROWS && std::ptr::eq(own, counts.own()));
                    for _ in 0..1_000 {
                        counts.own().fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let sum: u64 = counts.rows().map(|row| row.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 20_000);
    }
}
