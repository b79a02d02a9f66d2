//! When an event is tried again.

use jiff::SignedDuration;

/// Seconds to wait after the first attempt, the second, …; after the last of these, as long each time.
const DELAYS_S: [i64; 12] =
    [5, 30, 120, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400];

/// How long to wait after so many attempts: a fifth less to a fifth more, by `random`, so that what failed
/// together does not come again together.
pub fn retry_delay(attempts: u32, random: u64) -> SignedDuration {
    let last = DELAYS_S.len() - 1;
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(last).min(last);
    let ms = DELAYS_S[place] * 1_000;
    let spread = ms * 2 / 5;
    let shift = i64::try_from(random % 1_001).unwrap_or_default() * spread / 1_000;
    SignedDuration::from_millis(ms - spread / 2 + shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_may_be_away_for_an_hour_and_for_most_of_a_day() {
        let waited = |attempts: u32, random: u64| -> SignedDuration {
            (1..=attempts).map(|attempt| retry_delay(attempt, random)).sum()
        };
        assert!(waited(7, 0) > SignedDuration::from_hours(1), "with attempts to spare");
        assert!(waited(6, 1_000) > SignedDuration::from_mins(45), "and not too many by then");
        assert!(waited(11, 0) > SignedDuration::from_hours(20), "as long as attempts go usually");
    }

    #[test]
    fn waits_grow_and_are_spread() {
        for attempts in 0..30 {
            let place = usize::try_from(attempts).unwrap().clamp(1, DELAYS_S.len()) - 1;
            let middle = SignedDuration::from_secs(DELAYS_S[place]);
            let (least, most) = (retry_delay(attempts, 0), retry_delay(attempts, 1_000));
            assert_eq!(least, middle * 4 / 5);
            assert_eq!(most, middle * 6 / 5);
            for random in [1, 77, 500, u64::MAX] {
                assert!((least..=most).contains(&retry_delay(attempts, random)));
            }
        }
    }
}
