use std::{sync::atomic::AtomicUsize, thread};

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

#[test]
fn a_limit_from_full_to_empty_and_back() {
    let rate = rate("4/400ms");
    let cell = GcraCell::new();
    // (now in ms, cost, remaining after or retry-after in ms, reset in ms)
    for (now, cost, expected) in [
        (1_000, 1, Ok((3, 100))),
        (1_000, 2, Ok((1, 300))),
        (1_000, 2, Err((1, 300, Some(100)))),
        (1_000, 0, Ok((1, 300))),
        (1_000, 5, Err((1, 300, None))),
        (1_000, 1, Ok((0, 400))),
        (1_000, 0, Ok((0, 400))),
        (1_000, 1, Err((0, 400, Some(100)))),
        (1_050, 1, Err((0, 350, Some(50)))),
        (1_099, 4, Err((0, 301, Some(301)))),
        (1_100, 1, Ok((0, 400))),
        (1_500, 4, Ok((0, 400))),
        (9_000, 4, Ok((0, 400))),
    ] {
        let got = cell.take(&rate, cost, now * MS);
        let got =
            got.map(|taken| (taken.level.remaining, taken.level.reset_ns / MS)).map_err(|e| {
                (e.level.remaining, e.level.reset_ns / MS, e.retry_after_ns.map(|n| n / MS))
            });
        assert_eq!(got, expected, "cost {cost} at {now}");
    }
}

#[test]
fn peeking_takes_nothing() {
    let rate = rate("2/200ms");
    let cell = GcraCell::default();
    assert_eq!(cell.peek(&rate, 2, 5).unwrap(), Level { remaining: 2, reset_ns: 0 });
    cell.take(&rate, 1, 5).unwrap();
    for _ in 0..3 {
        assert_eq!(cell.peek(&rate, 1, 5).unwrap(), Level { remaining: 1, reset_ns: 100 * MS });
        let refused = cell.peek(&rate, 2, 5).unwrap_err();
        assert_eq!(refused.retry_after_ns, Some(100 * MS));
        assert_eq!(cell.peek(&rate, 3, 5).unwrap_err().retry_after_ns, None);
    }
    assert!(!cell.is_full(5 + 100 * MS - 1));
    assert!(cell.is_full(5 + 100 * MS));
}

#[test]
fn an_older_now_is_harmless() {
    let rate = rate("1/100ms");
    let cell = GcraCell::new();
    cell.take(&rate, 1, 1_000 * MS).unwrap();
    let refused = cell.take(&rate, 1, 0).unwrap_err();
    assert_eq!(refused.level, Level { remaining: 0, reset_ns: 1_100 * MS });
    assert_eq!(refused.retry_after_ns, Some(1_100 * MS));
}

#[test]
fn the_end_of_the_clock_admits_nothing() {
    let rate = rate("1/366d");
    let cell = GcraCell::new();
    assert!(cell.take(&rate, 1, u64::MAX).is_err());
    assert!(cell.take(&rate, 1, u64::MAX - rate.interval_ns() + 1).is_err());
    assert!(cell.take(&rate, 1, u64::MAX - rate.interval_ns()).is_ok());
    assert!(cell.take(&rate, 1, u64::MAX).is_err());
}

#[test]
fn a_tightened_rate_still_admits_what_costs_nothing() {
    let cell = GcraCell::new();
    cell.take(&rate("10/1s"), 10, 0).unwrap();
    assert_eq!(cell.take(&rate("1/100ms"), 0, 0).unwrap().level.remaining, 0);
    let refused = cell.take(&rate("1/100ms"), 1, 0).unwrap_err();
    assert_eq!(refused.retry_after_ns, Some(1_000 * MS));
}

#[test]
fn giving_back_at_once_undoes_the_taking() {
    let rate = rate("10/1s");
    let cell = GcraCell::new();
    cell.take(&rate, 3, 50 * MS).unwrap();
    let first = cell.take(&rate, 4, 60 * MS).unwrap();
    cell.take(&rate, 1, 60 * MS).unwrap();
    cell.give_back(&first, || 60 * MS);
    assert_eq!(cell.peek(&rate, 0, 60 * MS).unwrap(), Level { remaining: 6, reset_ns: 390 * MS });
}

/// The drained part stays: A was let in on it.
#[test]
fn what_has_drained_is_not_given_back() {
    let rate = rate("10/1s");
    let cell = GcraCell::new();
    let all = cell.take(&rate, 10, 0).unwrap();
    cell.take(&rate, 5, 500 * MS).unwrap();
    cell.give_back(&all, || 600 * MS);
    assert_eq!(cell.peek(&rate, 0, 600 * MS).unwrap(), Level { remaining: 5, reset_ns: 500 * MS });
    cell.give_back(&all, || 1_000 * MS);
    assert_eq!(cell.peek(&rate, 0, 600 * MS).unwrap().reset_ns, 500 * MS, "drained: nothing left");
}

/// The first give-back lets the second request drain sooner than its place in the queue said.
#[test]
fn one_give_back_does_not_make_the_next_too_large() {
    let rate = rate("15/1500ms");
    let cell = GcraCell::new();
    let first = cell.take(&rate, 10, 0).unwrap();
    let second = cell.take(&rate, 5, 0).unwrap();
    cell.give_back(&first, || 0);
    cell.take(&rate, 5, 600 * MS).unwrap();
    cell.give_back(&second, || 700 * MS);
    assert_eq!(cell.peek(&rate, 0, 700 * MS).unwrap(), Level { remaining: 11, reset_ns: 400 * MS });
}

/// Somebody is let in on drained time while the giving back is under way.
#[test]
fn giving_back_asks_the_clock_again_when_it_was_overtaken() {
    let rate = rate("10/1s");
    let cell = GcraCell::new();
    let all = cell.take(&rate, 10, 0).unwrap();
    let asked = AtomicUsize::new(0);
    cell.give_back(&all, || match asked.fetch_add(1, Ordering::SeqCst) {
        0 => {
            cell.take(&rate, 5, 500 * MS).unwrap();
            0
        }
        _ => 500 * MS,
    });
    assert!(asked.into_inner() >= 2);
    assert_eq!(cell.peek(&rate, 0, 500 * MS).unwrap(), Level { remaining: 5, reset_ns: 500 * MS });
}

/// One admission that was kept: when, and how much time it took from the limit.
type Kept = (u64, u64);

/// In every span from one admission to another, no more than the rate says. A weight is at most
/// `requests + span / interval` exactly if the time it takes is at most `capacity + span`.
fn check_spans(rate: &Rate, kept: &[Kept]) -> Result<(), String> {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    let (mut taken, mut best_start) = (0i128, i128::MIN);
    for (at, increment) in kept {
        best_start = best_start.max(i128::from(at) - taken);
        taken += i128::from(increment);
        let over = best_start + taken - i128::from(at) - i128::from(rate.capacity_ns());
        if over > 0 {
            return Err(format!("{over} ns too much taken in a span that ends at {at}"));
        }
    }
    Ok(())
}

#[test]
fn the_check_of_spans_finds_what_is_too_much() {
    let rate = rate("2/200ms");
    let at = |ms: u64| (ms * MS, 100 * MS);
    assert!(check_spans(&rate, &[at(0), at(0), at(100), at(200)]).is_ok());
    assert!(check_spans(&rate, &[at(0), at(0), at(99)]).is_err());
    assert!(check_spans(&rate, &[at(0), at(500), at(500), at(650), at(699)]).is_err());
    assert!(check_spans(&rate, &[at(0), at(500), at(500), at(650), at(700)]).is_ok());
}

/// The algorithm in the words of its source, on integers that cannot overflow.
#[derive(Default)]
struct Model {
    tat: u128,
}

impl Model {
    fn take(&mut self, requests: u128, interval: u128, cost: u128, now: u128) -> bool {
        let tat = self.tat.max(now) + cost * interval;
        let admitted = cost == 0 || tat <= now + requests * interval;
        if admitted && cost > 0 {
            self.tat = tat;
        }
        admitted
    }

    fn give_back(&mut self, taken_at: u128, increment: u128, now: u128) {
        self.tat -= increment - (now - taken_at).min(increment);
    }
}

/// One step of a schedule.
#[derive(Clone, Debug)]
struct Step {
    /// Time passing before it, in eighths of an interval and then some nanoseconds.
    passing: (u64, u64),
    /// How much older the request's own idea of now is.
    stale_ns: u64,
    cost: u32,
    /// After how many further steps it is given back.
    back_after: Option<usize>,
}

fn arb_step() -> impl Strategy<Value = Step> {
    let eighths = prop_oneof![3 => Just(0u64), 3 => 0u64..9, 1 => 0u64..100];
    let stale = prop_oneof![3 => Just(0u64), 1 => 0u64..200 * MS];
    let cost = prop_oneof![3 => Just(1u32), 2 => 0u32..14];
    (eighths, 0u64..3, stale, cost, prop::option::of(0usize..6)).prop_map(
        |(eighths, ns, stale_ns, cost, back_after)| Step {
            passing: (eighths, ns),
            stale_ns,
            cost,
            back_after,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_schedule_keeps_the_promise(
        requests in 1u32..13,
        ms in 100i64..500,
        steps in prop::collection::vec(arb_step(), 1..60),
    ) {
        let rate = Rate::new(requests, SignedDuration::from_millis(ms)).unwrap();
        let interval = rate.interval_ns();
        let cell = GcraCell::new();
        let mut model = Model::default();
        let mut pending: Vec<(usize, u64, Taken)> = Vec::new();
        let mut kept = Vec::new();
        // The limit as it were had only those requests been made that were kept.
        let mut without = 0;
        let mut now = 0;
        for (index, step) in steps.iter().enumerate() {
            now += step.passing.0 * interval / 8 + step.passing.1;
            pending.retain(|(due, taken_at, taken)| {
                if *due > index {
                    return true;
                }
                cell.give_back(taken, || now);
                model.give_back((*taken_at).into(), taken.increment.into(), now.into());
                false
            });
            let stamp = now.saturating_sub(step.stale_ns);
            let expected =
                model.take(requests.into(), interval.into(), step.cost.into(), stamp.into());
            let before = cell.0.load(Ordering::SeqCst);
            let peeked = cell.peek(&rate, step.cost, stamp);
            match cell.take(&rate, step.cost, stamp) {
                Ok(taken) => {
                    prop_assert!(expected);
                    prop_assert_eq!(peeked, Ok(level(&rate, before, stamp)));
                    match step.back_after {
                        Some(after) => pending.push((index + after, stamp, taken)),
                        None if step.cost > 0 => {
                            kept.push((stamp, taken.increment));
                            without = stamp.max(without) + taken.increment;
                        }
                        None => {}
                    }
                }
                Err(exceeded) => {
                    prop_assert!(!expected);
                    prop_assert_eq!(peeked, Err(exceeded));
                    let later = exceeded.retry_after_ns.map(|wait| stamp + wait);
                    prop_assert_eq!(later.is_none(), step.cost > requests);
                    if let Some(later) = later {
                        prop_assert!(cell.peek(&rate, step.cost, later).is_ok());
                        prop_assert!(cell.peek(&rate, step.cost, later - 1).is_err());
                    }
                }
            }
            prop_assert_eq!(u128::from(cell.0.load(Ordering::SeqCst)), model.tat);
            prop_assert!(cell.0.load(Ordering::SeqCst).max(now) >= without.max(now));
        }
        check_spans(&rate, &kept).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn giving_back_in_the_same_instant_leaves_no_trace(
        used in 0u32..10, cost in 1u32..10, others in 0u32..10, at in 0u64..2_000 * MS,
    ) {
        let rate = rate("30/3s");
        let (with, without) = (GcraCell::new(), GcraCell::new());
        for cell in [&with, &without] {
            cell.take(&rate, used, 0).unwrap();
        }
        let taken = with.take(&rate, cost, at).unwrap();
        for cell in [&with, &without] {
            cell.take(&rate, others, at).unwrap();
        }
        with.give_back(&taken, || at);
        prop_assert_eq!(with.peek(&rate, 0, at), without.peek(&rate, 0, at));
    }

    #[test]
    fn alone_it_is_given_back_whole_at_any_time(cost in 1u32..10, after in 0u64..2_000 * MS) {
        let rate = rate("10/1s");
        let cell = GcraCell::new();
        let taken = cell.take(&rate, cost, 7).unwrap();
        cell.give_back(&taken, || 7 + after);
        prop_assert!(cell.is_full(7 + after));
    }
}

const THREADS: usize = 8;

/// A generator that is good enough to vary a schedule (xorshift64, Marsaglia 2003).
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Many threads on one cell; `largest_step` is how far each request moves the clock. Half of the
/// admitted are given back if `give_back`. Returns what was kept, and the last time.
fn hammer(rate: &Rate, cell: &GcraCell, largest_step: u64, give_back: bool) -> (Vec<Kept>, u64) {
    let clock = AtomicU64::new(1_000);
    let ready = AtomicUsize::new(0);
    let run = |seed: u64| {
        let mut seed = seed;
        let mut kept = Vec::new();
        ready.fetch_add(1, Ordering::SeqCst);
        while ready.load(Ordering::SeqCst) < THREADS {
            thread::yield_now();
        }
        for _ in 0..4_000 {
            if largest_step > 0 {
                clock.fetch_add(next(&mut seed) % largest_step, Ordering::SeqCst);
            }
            let cost = u32::try_from(next(&mut seed) % 3 + 1).unwrap();
            let now = clock.load(Ordering::SeqCst);
            let Ok(taken) = cell.take(rate, cost, now) else { continue };
            if give_back && next(&mut seed).is_multiple_of(2) {
                // Others get between the load and the swap.
                cell.give_back(&taken, || {
                    let now = clock.load(Ordering::SeqCst);
                    thread::yield_now();
                    now
                });
            } else {
                kept.push((now, taken.increment));
            }
        }
        kept
    };
    let kept = thread::scope(|scope| {
        let threads: Vec<_> =
            (1..=THREADS as u64).map(|n| scope.spawn(move || run(n * 0x9e37_79b9))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (kept, clock.into_inner())
}

fn weight(rate: &Rate, kept: &[Kept]) -> u64 {
    kept.iter().map(|(_, increment)| increment / rate.interval_ns()).sum()
}

#[test]
fn many_threads_with_the_clock_stopped_get_exactly_the_limit() {
    let rate = rate("1000/7s");
    for give_back in [false, true] {
        let cell = GcraCell::new();
        let (kept, now) = hammer(&rate, &cell, 0, give_back);
        // Costs of 2 and 3 or a last give-back may leave a rest; ones take it.
        let rest = (0..1_000).filter(|_| cell.take(&rate, 1, now).is_ok()).count();
        assert_eq!(weight(&rate, &kept) + rest as u64, 1_000, "giving back: {give_back}");
    }
}

#[test]
fn many_threads_with_the_clock_running_keep_the_promise() {
    let rate = rate("50/1s");
    for give_back in [false, true] {
        for largest_step in [2_000_003, 20_000_003, 100_000_007] {
            let cell = GcraCell::new();
            let (kept, now) = hammer(&rate, &cell, largest_step, give_back);
            let most = 50 + (now - 1_000) / rate.interval_ns();
            let total = weight(&rate, &kept);
            assert!(total <= most, "{total} > {most}");
            assert!(total > 50, "the clock ran, so more than one burst was admitted");
            check_spans(&rate, &kept).unwrap();
        }
    }
}
