//! The script against the laws of `keyreeve-core`, on a real server.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use keyreeve_core::{
    Secret,
    limit::{Concurrency, GcraCell, Leases, Rate, Taken, standing},
    name::ProjectName,
};
use keyreeve_engine::shared_counts::{
    CountName, LimitAsk, PlaceAsk, SharedAnswer, SharedAsk, SharedCounts as _,
};
use proptest::{prelude::*, test_runner::TestRunner};
use tokio::runtime::Runtime;

use super::{
    ValkeyCounts, ValkeyOptions, open,
    script::{Call, Operation},
};
use crate::conformance::ValkeyServer;

const MICROSECOND_NS: u64 = 1_000;
const SECOND_NS: u64 = 1_000_000_000;
/// Where the tests' clock begins.
const START_NS: u64 = 1_800_000_000 * SECOND_NS;

/// A fresh count for each use.
fn fresh() -> CountName {
    static MADE: AtomicU64 = AtomicU64::new(0);
    CountName::of(&[&MADE.fetch_add(1, Ordering::Relaxed).to_le_bytes()])
}

fn counts(server: &ValkeyServer) -> ValkeyCounts {
    let url = Secret::new(server.url());
    // Long: what is tested is not whether this machine is busy.
    let timeout = Duration::from_secs(20);
    open(&ValkeyOptions { url, authorities: None, timeout, prefix: "kr".to_owned() }).unwrap()
}

fn until_up(counts: &ValkeyCounts) {
    for _ in 0..400 {
        if counts.link.is_up() {
            return;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("the server was never reached");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Asks as of a moment of the test's own.
async fn ask_at(
    counts: &ValkeyCounts,
    operation: Operation,
    ask: &SharedAsk,
    now_ns: u64,
) -> SharedAnswer {
    let call = Call { operation, ask, now_ns: Some(now_ns) };
    counts.link.run(|connection| counts.script.call(connection, &call)).await.unwrap()
}

/// What is done next, after how long.
#[derive(Clone, Debug)]
enum Step {
    Take {
        costs: [u32; 2],
        request: u64,
    },
    Peek {
        costs: [u32; 2],
        request: u64,
    },
    /// Gives back the last but so many, with a clock that went back so many microseconds.
    GiveBack {
        before_last: usize,
        back_us: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let costs = || prop::array::uniform2(prop_oneof![4 => 0..4_u32, 1 => any::<u32>()]);
    prop_oneof![
        6 => (costs(), 0..6_u64).prop_map(|(costs, request)| Step::Take { costs, request }),
        2 => (costs(), 0..6_u64).prop_map(|(costs, request)| Step::Peek { costs, request }),
        2 => (0..3_usize, prop_oneof![3 => Just(0), 1 => 0..5_000_000_u64])
            .prop_map(|(before_last, back_us)| Step::GiveBack { before_last, back_us }),
    ]
}

/// In microseconds: nothing, a little, about a request's time, and more than a whole limit.
fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..10_u64, 0..2_000_000_u64, 0..400_000_000_u64]
}

fn rate() -> impl Strategy<Value = Rate> {
    let requests = prop_oneof![1..6_u32, 1..2_000_u32, Just(1_000_000_000)];
    let millis =
        prop_oneof![Just(100_i64), 100..5_000_i64, Just(1_000), Just(366 * 24 * 3_600 * 1_000)];
    (requests, millis).prop_filter_map("no such rate", |(requests, millis)| {
        Rate::new(requests, SignedDuration::from_millis(millis)).ok()
    })
}

fn rule() -> impl Strategy<Value = Concurrency> {
    (1..4_u32, 1_000..5_000_i64)
        .prop_map(|(most, ms)| Concurrency::new(most, SignedDuration::from_millis(ms)).unwrap())
}

/// What `keyreeve-core` makes of the same steps.
#[derive(Default)]
struct Model {
    cells: [GcraCell; 2],
    leases: Leases,
    taken: Vec<(SharedAsk, SharedAnswer, [Taken; 2])>,
}

impl Model {
    /// Compares an answer about what was asked at `now_ns`; `take` says whether it may take.
    fn compare(&mut self, ask: &SharedAsk, answer: &SharedAnswer, now_ns: u64, take: bool) {
        let rule = ask.places[0].rule;
        let peeked: Vec<_> = (ask.limits.iter().zip(&self.cells))
            .map(|(limit, cell)| cell.peek(&limit.rate, limit.cost, now_ns))
            .collect();
        let mut leased = self.leases.clone();
        let place = leased.take(&rule, ask.lease, now_ns);
        let fits = peeked.iter().all(Result::is_ok) && place.is_ok();
        assert_eq!(answer.taken, fits && take);
        assert_eq!(answer.now_ns, now_ns);
        if answer.taken {
            self.leases = leased;
            let took = std::array::from_fn(|n| {
                let LimitAsk { rate, cost, .. } = &ask.limits[n];
                self.cells[n].take(rate, *cost, now_ns).unwrap()
            });
            for (n, took) in took.iter().enumerate() {
                let level = standing(&ask.limits[n].rate, answer.limits[n], 0, now_ns).unwrap();
                assert_eq!(level, took.level);
            }
            let level = place.unwrap();
            assert_eq!(answer.places[0].in_flight, level.in_flight);
            assert_eq!(answer.places[0].ends_ns, level.expires_ns);
            self.taken.push((ask.clone(), answer.clone(), took));
            return;
        }
        for (n, peeked) in peeked.into_iter().enumerate() {
            let LimitAsk { rate, cost, .. } = &ask.limits[n];
            assert_eq!(standing(rate, answer.limits[n], *cost, now_ns), peeked);
        }
        assert_eq!(answer.places[0].in_flight, self.leases.in_flight(now_ns));
        assert_eq!(answer.places[0].full, place.is_err());
        if let Err(refused) = place {
            assert_eq!(answer.places[0].ends_ns - now_ns, refused.retry_after_ns);
        }
    }
}

#[test]
fn the_script_keeps_the_laws_of_the_core() {
    let Some(server) = ValkeyServer::start().unwrap() else { return };
    let runtime = runtime();
    let counts = counts(&server);
    until_up(&counts);
    let project = ProjectName::default_project();
    let strategy =
        (prop::array::uniform2(rate()), rule(), prop::collection::vec((step(), pause()), 1..40));
    let mut runner = TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    let run = |(rates, rule, steps): ([Rate; 2], Concurrency, Vec<(Step, u64)>)| {
        let names = [fresh(), fresh(), fresh()];
        let ask = |costs: [u32; 2], request| SharedAsk {
            project: project.clone(),
            limits: (0..2)
                .map(|n| LimitAsk { count: names[n], rate: rates[n], cost: costs[n] })
                .collect(),
            places: [PlaceAsk { count: names[2], rule }].into_iter().collect(),
            lease: request,
        };
        let mut model = Model::default();
        let mut now_ns = START_NS;
        for (step, pause_us) in steps {
            now_ns += pause_us * MICROSECOND_NS;
            match step {
                Step::Take { costs, request } => {
                    let ask = ask(costs, request);
                    let answer = runtime.block_on(ask_at(&counts, Operation::Take, &ask, now_ns));
                    model.compare(&ask, &answer, now_ns, true);
                }
                Step::Peek { costs, request } => {
                    let ask = ask(costs, request);
                    let answer = runtime.block_on(ask_at(&counts, Operation::Peek, &ask, now_ns));
                    model.compare(&ask, &answer, now_ns, false);
                }
                Step::GiveBack { before_last, back_us } => {
                    let now_ns = now_ns - back_us * MICROSECOND_NS;
                    let Some(at) = model.taken.len().checked_sub(before_last + 1) else { continue };
                    let (ask, answer, took) = model.taken.remove(at);
                    let operation = Operation::GiveBack { taken_ns: answer.now_ns };
                    runtime.block_on(ask_at(&counts, operation, &ask, now_ns));
                    for (cell, took) in model.cells.iter().zip(&took) {
                        cell.give_back(took, || now_ns);
                    }
                    model.leases.release(ask.lease, now_ns);
                }
            }
        }
        Ok(())
    };
    runner.run(&strategy, run).unwrap();
}

#[test]
fn many_at_once_are_admitted_as_often_as_may_be() {
    let Some(server) = ValkeyServer::start().unwrap() else { return };
    let runtime = runtime();
    // As three nodes.
    let nodes = [counts(&server), counts(&server), counts(&server)];
    for node in &nodes {
        until_up(node);
    }
    let limit = LimitAsk { count: fresh(), rate: "40/1h".parse().unwrap(), cost: 1 };
    let place = PlaceAsk { count: fresh(), rule: "25/1h".parse().unwrap() };
    let ask = |lease, places: &[PlaceAsk]| SharedAsk {
        project: ProjectName::default_project(),
        limits: [limit].into_iter().collect(),
        places: places.iter().copied().collect(),
        lease,
    };
    runtime.block_on(async {
        let both: Vec<SharedAsk> = (0..100).map(|lease| ask(lease, &[place])).collect();
        let asked = both.iter().enumerate().map(|(n, ask)| nodes[n % 3].take(ask));
        let answers = futures_util::future::join_all(asked).await;
        let taken: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().taken).collect();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 25);
        // Whoever found no place took nothing of the limit either.
        let rest: Vec<SharedAsk> = (0..100).map(|lease| ask(lease, &[])).collect();
        let asked = rest.iter().enumerate().map(|(n, ask)| nodes[n % 3].take(ask));
        let answers = futures_util::future::join_all(asked).await;
        assert_eq!(answers.iter().filter(|answer| answer.as_ref().unwrap().taken).count(), 15);
        // Places are given up on any node.
        let first = both.iter().zip(&taken).find(|(_, taken)| **taken).unwrap().0;
        let places = [place.count];
        let give_up = || nodes[2].release(&first.project, &places, first.lease);
        assert_eq!(give_up().await, Ok(true));
        assert_eq!(give_up().await, Ok(false));
    });
}

#[test]
fn a_server_that_went_is_left_alone_until_it_is_back() {
    let Some(mut server) = ValkeyServer::start().unwrap() else { return };
    let runtime = runtime();
    let counts = counts(&server);
    until_up(&counts);
    let limit = LimitAsk { count: fresh(), rate: "1/1h".parse().unwrap(), cost: 1 };
    let ask = SharedAsk {
        project: ProjectName::default_project(),
        limits: [limit].into_iter().collect(),
        places: [].into_iter().collect(),
        lease: 1,
    };
    runtime.block_on(async {
        assert!(counts.take(&ask).await.unwrap().taken);
        assert!(!counts.take(&ask).await.unwrap().taken);
    });
    server.crash().unwrap();
    assert!(runtime.block_on(counts.take(&ask)).is_err());
    assert!(!counts.is_reachable());
    server.launch().unwrap();
    until_up(&counts);
    // The script is taught again to a server that does not know it.
    assert!(runtime.block_on(counts.take(&ask)).unwrap().taken);
}

#[test]
fn a_server_that_refuses_is_left_alone_until_it_counts_again() {
    let Some(server) = ValkeyServer::start().unwrap() else { return };
    let runtime = runtime();
    let counts = counts(&server);
    until_up(&counts);
    let set = |memory: &str| {
        let client = redis::Client::open(server.url()).unwrap();
        runtime.block_on(async {
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let mut command = redis::cmd("CONFIG");
            command.arg("SET").arg("maxmemory").arg(memory);
            command.exec_async(&mut connection).await.unwrap();
        });
    };
    let limit = LimitAsk { count: fresh(), rate: "1000/1h".parse().unwrap(), cost: 1 };
    let ask = SharedAsk {
        project: ProjectName::default_project(),
        limits: [limit].into_iter().collect(),
        places: [].into_iter().collect(),
        lease: 1,
    };
    // Full: it answers, and counts nothing.
    set("1");
    let until = |what: &str, reachable: bool| {
        for _ in 0..400 {
            // Asking is what shows it.
            let _ = runtime.block_on(counts.take(&ask));
            if counts.is_reachable() == reachable {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("never {what}");
    };
    until("out of reach", false);
    assert_eq!(counts.outages(), 1);
    set("0");
    until("back", true);
    assert!(runtime.block_on(counts.take(&ask)).unwrap().taken);
    assert_eq!(counts.outages(), 1);
}
