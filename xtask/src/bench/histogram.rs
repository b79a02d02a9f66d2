//! A fixed log-linear histogram of latencies.

use std::time::Duration;

/// Values below this are counted exactly, and every power of two above has as many buckets.
const STEPS: u64 = 1 << STEP_BITS;
/// Seven bits: a bucket is at most 1/128 (0.8 %) as wide as its values.
const STEP_BITS: u32 = 7;
/// Longer latencies (about 18 minutes) are counted in the last bucket.
const MAX_NANOS: u64 = (1 << 40) - 1;
/// Buckets for every value up to [`MAX_NANOS`].
const BUCKETS: usize = (40 - STEP_BITS as usize + 1) << STEP_BITS;

/// How many latencies fell into each bucket, with the largest kept exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one latency.
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(nanos)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Adds everything the other histogram counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many latencies were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The largest latency.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The latency that `permille` of a thousand requests stayed within; zero when empty.
    pub(crate) fn quantile(&self, permille: u64) -> Duration {
        let rank = self.total.saturating_mul(permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, count) in (0_u64..).zip(&self.counts) {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(middle_of(bucket).min(self.max));
            }
        }
        self.max()
    }
}

/// The bucket that counts this many nanoseconds.
fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.min(MAX_NANOS);
    let bucket = if nanos < STEPS {
        nanos
    } else {
        let shift = nanos.ilog2() - STEP_BITS;
        u64::from(shift) * STEPS + (nanos >> shift)
    };
    usize::try_from(bucket).unwrap_or(BUCKETS)
}

/// The value in the middle of a bucket, in nanoseconds.
fn middle_of(bucket: u64) -> u64 {
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let lowest = (bucket - shift * STEPS) << shift;
    lowest + (1_u64 << (shift - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_whose_middle_is_within_one_percent() {
        let mut nanos = 1_u64;
        while nanos < MAX_NANOS {
            for value in [nanos, nanos + nanos / 3, nanos * 2 - 1] {
                let value = value.min(MAX_NANOS);
                let bucket = bucket_of(value);
                assert!(bucket < BUCKETS, "{value} has no bucket");
                let middle = middle_of(u64::try_from(bucket).unwrap_or(u64::MAX));
                assert!(middle.abs_diff(value) * 100 <= value, "{value} was counted as {middle}");
            }
            nanos *= 2;
        }
    }

    #[test]
    fn buckets_never_go_backwards() {
        let buckets: Vec<usize> = (0..5_000).map(bucket_of).collect();
        assert!(buckets.is_sorted());
        assert_eq!(bucket_of(MAX_NANOS), BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::default();
        for micros in 1..=1_000 {
            histogram.record(Duration::from_micros(micros));
        }
        let near = |quantile: Duration, micros: u128| {
            quantile.as_nanos().abs_diff(micros * 1_000) * 100 <= micros * 1_000
        };
        assert!(near(histogram.quantile(500), 500));
        assert!(near(histogram.quantile(990), 990));
        assert!(near(histogram.quantile(999), 999));
        assert_eq!(histogram.max(), Duration::from_millis(1));
        assert_eq!(histogram.total(), 1_000);
    }

    #[test]
    fn merging_is_the_same_as_counting_in_one() {
        let (mut left, mut right, mut both) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for nanos in [3, 900, 70_000] {
            left.record(Duration::from_nanos(nanos));
            both.record(Duration::from_nanos(nanos));
        }
        for nanos in [5, 1_000_000] {
            right.record(Duration::from_nanos(nanos));
            both.record(Duration::from_nanos(nanos));
        }
        left.merge(&right);
        assert_eq!(left, both);
    }

    #[test]
    fn an_empty_histogram_says_zero() {
        assert_eq!(Histogram::default().quantile(990), Duration::ZERO);
    }
}
