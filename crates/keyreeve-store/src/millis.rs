//! Times as stores keep them: whole milliseconds since 1970.

use jiff::Timestamp;

/// The millisecond in which `time` lies.
pub(crate) fn floor(time: Timestamp) -> i64 {
    let ms = time.as_millisecond();
    // Before 1970 cutting off the rest of a millisecond goes forward in time.
    if starts(ms).is_some_and(|start| start > time) { ms - 1 } else { ms }
}

/// The first millisecond that does not begin before `time`. A stored time lies before `time` if
/// and only if it is less than this.
pub(crate) fn ceil(time: Timestamp) -> i64 {
    let ms = floor(time);
    if starts(ms).is_some_and(|start| start < time) { ms + 1 } else { ms }
}

fn starts(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_on_both_sides_of_1970() {
        for (nanosecond, down, up) in [
            (0, 0, 0),
            (1, 0, 1),
            (999_999, 0, 1),
            (1_000_000, 1, 1),
            (-1, -1, 0),
            (-1_000_000, -1, -1),
            (-1_000_001, -2, -1),
        ] {
            let time = Timestamp::from_nanosecond(nanosecond).unwrap();
            assert_eq!((floor(time), ceil(time)), (down, up), "{nanosecond}");
        }
    }
}
