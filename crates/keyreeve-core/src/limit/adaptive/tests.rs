use proptest::prelude::*;

use super::*;

fn range(text: &str) -> AdaptiveRange {
    text.parse().unwrap()
}

fn seen(requests: u32, failures: u32) -> Observation {
    Observation { requests, failures }
}

/// The factors after each of `intervals` alike.
fn run(
    range: AdaptiveRange,
    state: &mut AdaptiveState,
    intervals: usize,
    seen: Observation,
) -> Vec<u16> {
    (0..intervals)
        .map(|_| {
            *state = adapt(&range, *state, seen);
            state.factor_per_mille(&range)
        })
        .collect()
}

#[test]
fn ranges() {
    for (text, floor, ceiling, canonical) in [
        ("10%-100%", 100, 1_000, "10%-100%"),
        ("1%-400%", 10, 4_000, "1%-400%"),
        ("100%-100%", 1_000, 1_000, "100%-100%"),
        ("12.5%-50.0%", 125, 500, "12.5%-50%"),
    ] {
        let range = range(text);
        assert_eq!((range.floor_per_mille, range.ceiling_per_mille), (floor, ceiling), "{text}");
        assert_eq!(range.to_string(), canonical);
    }
    for text in [
        "",
        "-",
        "10%",
        "10-100",
        "10%-100",
        "0%-100%",
        "0.9%-100%",
        "101%-200%",
        "50%-40%",
        "10%-401%",
        "10%-400.1%",
        "-1%-100%",
        "1.55%-100%",
        "1.%-100%",
        "+1%-9%",
        "10%-100%-200%",
        "99999999999%-1%",
        "7000%-7000%",
    ] {
        assert!(text.parse::<AdaptiveRange>().is_err(), "{text}");
    }
    assert_eq!(serde_json::to_string(&range("10%-100%")).unwrap(), "\"10%-100%\"");
    assert!(serde_json::from_str::<AdaptiveRange>("\"0%-100%\"").is_err());
}

#[test]
fn starts_whole_or_at_a_lower_ceiling() {
    let state = AdaptiveState::new();
    assert_eq!(state.factor_per_mille(&range("10%-400%")), 1_000);
    assert_eq!(state.factor_per_mille(&range("10%-50%")), 500);
    assert_eq!((state.why(), state.usual()), (Why::Steady, None));
}

#[test]
fn an_attack_tightens_to_the_floor_and_quiet_brings_it_back() {
    let range = range("10%-100%");
    let mut state = AdaptiveState::new();
    assert_eq!(run(range, &mut state, 5, seen(15, 12)), [500, 250, 125, 100, 100]);
    assert_eq!(
        state.why().to_string(),
        "tightened to 10 %: 12 of 15 requests refused in the last 10 s"
    );
    let back = run(range, &mut state, 11, seen(5, 0));
    assert_eq!(back, [190, 280, 370, 460, 550, 640, 730, 820, 910, 1_000, 1_000]);
    assert_eq!(state.why(), Why::Steady);
    assert_eq!(state.why().to_string(), "steady");
}

#[test]
fn what_counts_as_a_burst_of_failures() {
    let range = range("10%-100%");
    for (requests, failures, factor) in [
        (10, 10, 500),
        (20, 10, 500),
        (21, 10, 1_000),
        (9, 9, 1_000),
        (u32::MAX, u32::MAX, 500),
        // More failures than requests cannot be, but must not break anything.
        (1, u32::MAX, 500),
    ] {
        let next = adapt(&range, AdaptiveState::new(), seen(requests, failures));
        assert_eq!(next.factor_per_mille(&range), factor, "{failures} of {requests}");
    }
}

#[test]
fn a_sudden_rise_tightens_once_the_usual_is_known() {
    let range = range("10%-100%");
    let mut state = AdaptiveState::new();
    run(range, &mut state, 5, seen(10, 0));
    assert_eq!(adapt(&range, state, seen(1_000, 0)).factor_per_mille(&range), 1_000, "unknown yet");
    run(range, &mut state, 1, seen(10, 0));
    assert_eq!(state.usual(), Some(10));
    assert_eq!(
        adapt(&range, state, seen(80, 0)).factor_per_mille(&range),
        1_000,
        "8 times is not over"
    );
    assert_eq!(
        run(range, &mut state, 9, seen(81, 0)),
        [750, 562, 421, 315, 236, 177, 132, 100, 100]
    );
    assert_eq!(
        state.why().to_string(),
        "tightened to 10 %: 81 requests in the last 10 s, usually 10"
    );
    assert_eq!(state.usual(), Some(10), "the rise was not learned");
    assert_eq!(run(range, &mut state, 2, seen(10, 0)), [190, 280]);
    assert_eq!(state.why().to_string(), "recovering: at 28 %");
}

#[test]
fn few_requests_are_no_rise() {
    let range = range("10%-100%");
    let mut state = AdaptiveState::new();
    run(range, &mut state, 10, seen(1, 0));
    assert_eq!(adapt(&range, state, seen(49, 0)).factor_per_mille(&range), 1_000);
    assert_eq!(adapt(&range, state, seen(50, 0)).factor_per_mille(&range), 750);
}

#[test]
fn an_attack_does_not_become_usual() {
    let range = range("10%-100%");
    let mut state = AdaptiveState::new();
    run(range, &mut state, 10, seen(10, 0));
    run(range, &mut state, 100, seen(5_000, 4_000));
    assert_eq!(state.usual(), Some(10));
}

#[test]
fn growth_by_a_tenth_each_interval_is_not_punished() {
    let range = range("10%-100%");
    let mut state = AdaptiveState::new();
    let mut requests = 10;
    for _ in 0..100 {
        state = adapt(&range, state, seen(requests, 0));
        assert_eq!(state.factor_per_mille(&range), 1_000, "at {requests}");
        requests += requests.div_ceil(10);
    }
    assert!(requests > 100_000);
}

#[test]
fn healthy_use_earns_more_slowly_and_rest_earns_nothing_beyond_the_whole() {
    let range = range("10%-200%");
    let mut state = AdaptiveState::new();
    assert_eq!(run(range, &mut state, 2, seen(10, 0)), [1_019, 1_038]);
    assert_eq!(advance_idle(&range, state, 1_000).factor_per_mille(&range), 1_038);
    assert_eq!(*run(range, &mut state, 100, seen(10, 0)).last().unwrap(), 2_000);
    state = adapt(&range, state, seen(20, 20));
    assert_eq!(state.factor_per_mille(&range), 1_000);
    state = adapt(&range, state, seen(20, 20));
    assert_eq!(advance_idle(&range, state, u32::MAX).factor_per_mille(&range), 1_000);
}

#[test]
fn an_unhealthy_interval_that_is_no_burst_leaves_the_factor() {
    let range = range("10%-100%");
    let tightened = adapt(&range, AdaptiveState::new(), seen(20, 20));
    let next = adapt(&range, tightened, seen(9, 9));
    assert_eq!(next.factor_per_mille(&range), 500);
    assert_eq!(next.why(), tightened.why());
    assert_eq!(adapt(&range, tightened, seen(8, 2)).factor_per_mille(&range), 500);
    assert_eq!(adapt(&range, tightened, seen(8, 1)).factor_per_mille(&range), 590);
}

fn arb_range() -> impl Strategy<Value = AdaptiveRange> {
    (10u16..=1_000)
        .prop_flat_map(|floor| (Just(floor), floor..=4_000))
        .prop_map(|(floor, ceiling)| AdaptiveRange::new(floor, ceiling).unwrap())
}

fn arb_seen() -> impl Strategy<Value = Observation> {
    let count = || prop_oneof![Just(0), 0u32..100, any::<u32>()];
    (count(), count()).prop_map(|(requests, failures)| seen(requests, failures))
}

proptest! {
    #[test]
    fn the_factor_never_leaves_the_range(
        range in arb_range(), seen in prop::collection::vec(arb_seen(), 0..60),
    ) {
        let mut state = AdaptiveState::new();
        for seen in seen {
            state = adapt(&range, state, seen);
            prop_assert!(state.factor >= range.floor_per_mille);
            prop_assert!(state.factor <= range.ceiling_per_mille);
        }
    }

    #[test]
    fn rest_brings_back_the_whole_within_twenty_intervals(
        range in arb_range(), seen in prop::collection::vec(arb_seen(), 0..60),
    ) {
        let mut state = AdaptiveState::new();
        for seen in seen {
            state = adapt(&range, state, seen);
        }
        let rested = advance_idle(&range, state, 20);
        let before = state.factor_per_mille(&range);
        prop_assert_eq!(rested.factor, before.max(range.start()));
        prop_assert_eq!(rested.why(), Why::Steady);
    }

    #[test]
    fn idle_intervals_at_once_equal_one_by_one(
        range in arb_range(),
        seen in prop::collection::vec(arb_seen(), 0..30),
        intervals in 0u32..40,
    ) {
        let mut state = AdaptiveState::new();
        for seen in seen {
            state = adapt(&range, state, seen);
        }
        let at_once = advance_idle(&range, state, intervals);
        for _ in 0..intervals {
            state = adapt(&range, state, Observation::default());
        }
        prop_assert_eq!(at_once, state);
    }

    #[test]
    fn ranges_are_undone_by_parsing(range in arb_range()) {
        prop_assert_eq!(range.to_string().parse::<AdaptiveRange>().unwrap(), range);
    }

    #[test]
    fn never_panics(
        text in "[0-9.%+-]{0,12}", floor: u16, ceiling: u16, seen in arb_seen(),
    ) {
        let _ = text.parse::<AdaptiveRange>();
        let unchecked = AdaptiveRange { floor_per_mille: floor, ceiling_per_mille: ceiling };
        let _ = adapt(&unchecked, AdaptiveState::new(), seen);
    }
}
