//! Where time and randomness come from. The binary brings the real ones, tests their own.

use jiff::{Timestamp, Unit};

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// The time, to any precision.
    fn now(&self) -> Timestamp;

    /// Nanoseconds since some moment before the first call; never goes back, whatever becomes of
    /// the time of day. What limits count with.
    fn monotonic_ns(&self) -> u64;

    /// The time to the millisecond, which is what stores keep.
    fn now_ms(&self) -> Timestamp {
        to_ms(self.now())
    }
}

/// Drops what stores do not keep. Whatever is stored goes through here first, so a value read
/// back equals the value written.
pub(crate) fn to_ms(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or_else(|_| {
        // Only reachable at the far ends of the calendar.
        time.round(Unit::Second).unwrap_or(time)
    })
}

/// A source of randomness fit for keys.
pub trait Entropy: Send + Sync + 'static {
    /// Fills all of `out`.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyFailed>;
}

impl dyn Entropy {
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], EntropyFailed> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }
}

/// The operating system gave no randomness. Nothing can be issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no randomness to be had from the operating system")]
pub struct EntropyFailed;
