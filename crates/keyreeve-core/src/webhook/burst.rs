//! When so many requests of a source are refused that somebody should look.

use jiff::{SignedDuration, Timestamp};

/// How many parts the time that is looked at has.
const BUCKETS: usize = 10;
/// How long each part is, in seconds.
const BUCKET_S: i64 = 30;
/// How many refused requests make a burst at least.
const LEAST_REFUSED: u64 = 20;
/// How long a burst is not told again.
const QUIET: SignedDuration = SignedDuration::from_mins(10);

/// How many requests of one source were accepted and refused in the last 5 minutes.
///
/// They are counted in 10 parts of 30 seconds, the last of which has only begun, so what is counted is
/// between four and a half minutes old and five. Needs the same little memory however many there are.
#[derive(Debug, Default, Clone)]
pub struct RecentVerdicts {
    buckets: [Bucket; BUCKETS],
    /// When a burst was told last.
    told_at: Option<Timestamp>,
}

/// How many requests were accepted and refused.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// How many were not refused: accepted, here before, or handshakes.
    pub accepted: u64,
    /// How many were refused, for whatever reason.
    pub refused: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Bucket {
    /// Which 30 seconds since 1970 these are.
    number: i64,
    counts: Counts,
}

impl RecentVerdicts {
    /// Counts a request that came in `now`.
    pub fn note(&mut self, now: Timestamp, is_refused: bool) {
        let number = bucket_number(now);
        let Some(bucket) = self.buckets.get_mut(place(number)) else { return };
        // It holds older ones, or newer ones if the clock was set back.
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        let count =
            if is_refused { &mut bucket.counts.refused } else { &mut bucket.counts.accepted };
        *count = count.saturating_add(1);
    }

    /// The requests of the last 5 minutes, as seen `now`.
    ///
    /// After the clock was set back, those that then seem to come from the future are not among them.
    pub fn counts(&self, now: Timestamp) -> Counts {
        let last = bucket_number(now);
        let recent = |bucket: &&Bucket| is_near(bucket.number, last);
        self.buckets.iter().filter(recent).fold(Counts::default(), |sum, bucket| Counts {
            accepted: sum.accepted.saturating_add(bucket.counts.accepted),
            refused: sum.refused.saturating_add(bucket.counts.refused),
        })
    }

    /// The counts if there is a burst to tell of; see [`is_burst`].
    ///
    /// It is told once, and then not again for 10 minutes, whether it goes on or another begins.
    pub fn begins_burst(&mut self, now: Timestamp) -> Option<Counts> {
        let counts = self.counts(now);
        // Away from the last time in either direction: a clock that was set back must not silence this.
        let is_quiet =
            self.told_at.is_some_and(|told_at| now.duration_since(told_at).abs() < QUIET);
        if is_quiet || !is_burst(counts) {
            return None;
        }
        self.told_at = Some(now);
        Some(counts)
    }
}

/// Whether so many requests were refused that somebody should look: 20 at least, and no fewer than were
/// accepted. A few are refused anywhere, and many are few where far more are accepted.
pub fn is_burst(counts: Counts) -> bool {
    counts.refused >= LEAST_REFUSED && counts.refused >= counts.accepted
}

fn bucket_number(time: Timestamp) -> i64 {
    time.as_second().div_euclid(BUCKET_S)
}

/// Whether one bucket is the other or so little older, and not newer, that both are kept at once.
fn is_near(number: i64, last: i64) -> bool {
    usize::try_from(last.saturating_sub(number)).is_ok_and(|age| age < BUCKETS)
}

fn place(number: i64) -> usize {
    let buckets = i64::try_from(BUCKETS).unwrap_or(1);
    usize::try_from(number.rem_euclid(buckets)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn noted(verdicts: &mut RecentVerdicts, seconds: i64, accepted: u32, refused: u32) {
        for _ in 0..accepted {
            verdicts.note(at(seconds), false);
        }
        for _ in 0..refused {
            verdicts.note(at(seconds), true);
        }
    }

    fn counts(verdicts: &RecentVerdicts, seconds: i64) -> (u64, u64) {
        let counts = verdicts.counts(at(seconds));
        (counts.accepted, counts.refused)
    }

    #[test]
    fn the_last_minutes_are_counted() {
        let mut verdicts = RecentVerdicts::default();
        assert_eq!(counts(&verdicts, 0), (0, 0));
        noted(&mut verdicts, 0, 1, 2);
        noted(&mut verdicts, 29, 10, 20);
        noted(&mut verdicts, 30, 100, 200);
        noted(&mut verdicts, 270, 1_000, 2_000);
        for (seconds, expected) in [
            (270, (1_111, 2_222)),
            (299, (1_111, 2_222)),
            (300, (1_100, 2_200)),
            (330, (1_000, 2_000)),
            (569, (1_000, 2_000)),
            (570, (0, 0)),
            (1_000_000, (0, 0)),
        ] {
            assert_eq!(counts(&verdicts, seconds), expected, "{seconds}");
        }
        // Takes the place of the first ones.
        noted(&mut verdicts, 300, 5, 6);
        assert_eq!(counts(&verdicts, 300), (1_105, 2_206));
    }

    #[test]
    fn a_clock_set_back_loses_little() {
        let mut verdicts = RecentVerdicts::default();
        for bucket in 0..10 {
            noted(&mut verdicts, bucket * 30, 1, 1);
        }
        // A minute back: nothing is lost, and what seems to be ahead counts again later.
        noted(&mut verdicts, 210, 1, 0);
        assert_eq!(counts(&verdicts, 210), (9, 8));
        assert_eq!(counts(&verdicts, 270), (11, 10));
        // Far back: only what lay in the same place is lost.
        noted(&mut verdicts, -3_000, 0, 3);
        assert_eq!(counts(&verdicts, -3_000), (0, 3));
        assert_eq!(counts(&verdicts, 270), (10, 9));
        let mut old = RecentVerdicts::default();
        for seconds in [-271, -270, -31, -1, 1] {
            old.note(Timestamp::from_second(seconds).unwrap(), true);
        }
        assert_eq!(old.counts(Timestamp::from_second(1).unwrap()).refused, 4, "before 1970");
        for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            verdicts.note(time, true);
            assert_eq!(verdicts.counts(time), Counts { accepted: 0, refused: 1 });
        }
    }

    #[test]
    fn many_refused_are_a_burst() {
        for (accepted, refused, expected) in [
            (0, 0, false),
            (0, 19, false),
            (0, 20, true),
            (20, 20, true),
            (21, 20, false),
            (999, 1_000, true),
            (1_001, 1_000, false),
        ] {
            assert_eq!(is_burst(Counts { accepted, refused }), expected, "{accepted} {refused}");
        }
    }

    #[test]
    fn a_burst_is_told_once() {
        let mut verdicts = RecentVerdicts::default();
        noted(&mut verdicts, 0, 3, 19);
        assert_eq!(verdicts.begins_burst(at(0)), None);
        noted(&mut verdicts, 1, 0, 1);
        assert_eq!(verdicts.begins_burst(at(1)), Some(Counts { accepted: 3, refused: 20 }));
        assert_eq!(verdicts.begins_burst(at(1)), None);
        // Another one is not told before the time, and then with what it has by then.
        noted(&mut verdicts, 590, 0, 30);
        assert_eq!(verdicts.begins_burst(at(600)), None);
        assert_eq!(verdicts.begins_burst(at(601)), Some(Counts { accepted: 0, refused: 30 }));
        assert_eq!(verdicts.begins_burst(at(602)), None);
        // There is nothing to tell once it is over.
        assert_eq!(verdicts.begins_burst(at(1_300)), None);
    }

    #[test]
    fn a_clock_set_back_silences_nothing_for_long() {
        let mut verdicts = RecentVerdicts::default();
        noted(&mut verdicts, 86_400, 0, 20);
        assert!(verdicts.begins_burst(at(86_400)).is_some());
        noted(&mut verdicts, 86_340, 0, 20);
        assert_eq!(verdicts.begins_burst(at(86_340)), None);
        noted(&mut verdicts, 0, 0, 20);
        assert!(verdicts.begins_burst(at(0)).is_some());
    }
}
