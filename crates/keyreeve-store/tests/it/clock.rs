//! Time for tests.

use std::time::Instant;

use jiff::Timestamp;
use keyreeve_engine::Clock;

/// The machine's clock.
pub(crate) struct TestClock(Instant);

impl TestClock {
    #[expect(clippy::disallowed_methods, reason = "this is a Clock")]
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TestClock {
    #[expect(clippy::disallowed_methods, reason = "this is a Clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
