//! The one clock of the development tasks.

use std::time::Instant;

/// The moment of the call.
#[expect(
    clippy::disallowed_methods,
    reason = "tasks and benchmarks measure real time; only product code is handed its clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
