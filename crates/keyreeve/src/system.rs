//! The real sources of time and randomness. Everything else gets them as arguments.

use std::time::Instant;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use keyreeve_engine::{Clock, Entropy, EntropyFailed};

/// The machine's clock.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Counts nanoseconds from now on.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that others are told to ask")]
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that others are told to ask")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic_ns(&self) -> u64 {
        // Full after 584 years.
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Randomness from the generator of AWS-LC, seeded by the operating system.
#[derive(Debug)]
pub(crate) struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    pub(crate) fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyFailed> {
        self.0.fill(out).map_err(|_| EntropyFailed)
    }
}
