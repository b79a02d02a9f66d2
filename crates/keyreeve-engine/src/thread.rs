//! Threads that count apart, so that cores do not wait for one another.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The number of the thread that asks: given out in turn from 0 on, when it asks for the first time.
pub fn thread_number() -> usize {
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
