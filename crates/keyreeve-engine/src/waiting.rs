//! Counting those who wait, so that no more do than may.

use std::sync::atomic::{AtomicUsize, Ordering};

/// One that waits, until dropped.
pub(crate) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// One more of at most so many; `None` if there are as many.
    pub(crate) fn one_of(most: usize, waiting: &'a AtomicUsize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        // One too many is dropped here, and so not counted any more.
        let one = Self(waiting);
        (before < most).then_some(one)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_wait_than_may() {
        let waiting = AtomicUsize::new(0);
        let first = Waiting::one_of(2, &waiting);
        let second = Waiting::one_of(2, &waiting);
        assert!(first.is_some() && second.is_some() && Waiting::one_of(2, &waiting).is_none());
        drop(first);
        assert!(Waiting::one_of(2, &waiting).is_some());
        drop(second);
        assert_eq!(waiting.load(Ordering::Acquire), 0);
    }
}
