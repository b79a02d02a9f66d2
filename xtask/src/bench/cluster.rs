//! `bench cluster`: several nodes on one PostgreSQL and one Valkey. How long after `revoke` returned
//! some node still accepts the key, under load; how many requests all nodes together admit under one
//! limit; and how many verifications one, two and more nodes serve.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::histogram::Histogram;
use super::http::{self, Connection};
use super::load::{self, LoadReport, Plan, Requests};
use super::nodes::{BOUND, Cluster, STALE, VALID};
use super::report::{self, Format, Machine};
use super::server::Server;
use crate::clock;

/// How long any one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after its revocation a key is asked about before it counts as never denied.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The pause between two questions of one who asks. Without it they take the machine for
/// themselves, and packets on the loopback are dropped.
const PAUSE: Duration = Duration::from_millis(1);
/// How many make keys at once.
const WRITERS: [usize; 3] = [1, 16, 64];
/// Limits that all nodes count together, a day each: what comes back meanwhile is less than one.
const LIMITS: [u32; 3] = [100, 1_000, 5_000];
/// Keys beside those that are revoked; the load asks about these.
const OTHER_KEYS: usize = 1_000;

/// Options of `bench cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterOptions {
    /// Nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Keys that are revoked, each asked about on every node until all deny it.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    revocations: u32,
    /// How many revoke at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=128))]
    revokers: u8,
    /// How long the nodes' throughput is measured.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// What became of revoked keys.
#[derive(Default)]
struct Revocations {
    /// From the return of `revoke` to the last acceptance on any node, for each key; zero if none
    /// came after.
    last_acceptance: Histogram,
    /// How long `revoke` took.
    took: Histogram,
    accepted_after_return: u64,
    accepted_beyond_bound: u64,
    denied_as_stale: u64,
    questions: u64,
}

/// Runs everything, and prints the report.
pub(crate) fn run(options: &ClusterOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    let keys = usize::try_from(options.revocations)? + OTHER_KEYS;
    eprintln!("bench: starting PostgreSQL and seeding {keys} keys");
    let cluster = Cluster::start(options.nodes, binaries, keys)?;
    let (revoked, others) = cluster.seeded.keys.split_at(options.revocations.try_into()?);
    eprintln!("bench: revoking {} keys under load", revoked.len());
    let background = Background::start(&cluster, others);
    let begun = clock::now();
    let revocations = revoke_all(options, &cluster, revoked)?;
    let seconds = clock::now().duration_since(begun).as_secs_f64();
    let background = background.finish()?;
    eprintln!("bench: limits");
    let limits = limits(&cluster)?;
    let mut creates = Vec::new();
    for writers in WRITERS {
        for nodes in [1, cluster.nodes.len()] {
            eprintln!("bench: keys made by {writers} on {nodes} nodes");
            creates.push(create_on(options, &cluster, nodes, writers)?);
        }
    }
    let limited = cluster.limited_key("1000000000/1h")?;
    let mut throughput = Vec::new();
    for (what, keys) in [("no shared limit", others), ("one shared limit", &[limited][..])] {
        for count in 1..=cluster.nodes.len() {
            eprintln!("bench: verify on {count} nodes, {what}");
            let reports = verify_on(options, &cluster, &cluster.nodes[..count], keys)?;
            throughput.push((what, reports));
        }
    }
    for node in &cluster.nodes {
        let ready = http::exchange(node.address(), &http::get("/readyz"), PATIENCE)?;
        let together = http::contains(&ready.body, b"\"limits\":\"ok\"");
        ensure!(together, "the nodes did not count together all the time");
    }
    let figures = Figures { revocations, seconds, background, limits, creates, throughput };
    let machine = Machine::this();
    report::print(format, &figures.lines(options, &machine), &figures.json(options, &machine));
    ensure!(figures.revocations.accepted_beyond_bound == 0, "a key was accepted beyond the bound");
    Ok(())
}

/// Revokes the keys, several at a time, each through the next node.
fn revoke_all(
    options: &ClusterOptions,
    cluster: &Cluster,
    keys: &[String],
) -> anyhow::Result<Revocations> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut revoker = Revoker::connect(cluster)?;
        let mut own = Revocations::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(key) = keys.get(usize::try_from(number)?) else { return Ok(own) };
            revoker.revoke(key, number, &mut own)?;
        }
    };
    thread::scope(|scope| {
        let revokers: Vec<_> = (0..options.revokers).map(|_| scope.spawn(work)).collect();
        let mut all = Revocations::default();
        for revoker in revokers {
            let own: anyhow::Result<Revocations> =
                revoker.join().map_err(|_| anyhow::anyhow!("a revoker panicked"))?;
            all.merge(&own?);
        }
        Ok(all)
    })
}

impl Revocations {
    fn merge(&mut self, own: &Self) {
        self.last_acceptance.merge(&own.last_acceptance);
        self.took.merge(&own.took);
        self.accepted_after_return += own.accepted_after_return;
        self.accepted_beyond_bound += own.accepted_beyond_bound;
        self.denied_as_stale += own.denied_as_stale;
        self.questions += own.questions;
    }
}

/// One who revokes keys and then asks every node about them.
struct Revoker<'c> {
    cluster: &'c Cluster,
    nodes: Vec<Connection>,
}

impl<'c> Revoker<'c> {
    fn connect(cluster: &'c Cluster) -> anyhow::Result<Self> {
        let open = |node: &Server| Connection::open(node.address(), PATIENCE);
        let nodes = cluster.nodes.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { cluster, nodes })
    }

    fn revoke(&mut self, key: &str, number: u64, into: &mut Revocations) -> anyhow::Result<()> {
        let question = self.cluster.question(key);
        for node in &mut self.nodes {
            let answer = node.call(&question)?;
            ensure!(
                http::contains(&answer.body, VALID),
                "a key was not good before it was revoked"
            );
        }
        let id = key.rsplit('_').nth(1).context("a key has an id")?;
        let path = format!("/api/v1/api-keys/{id}/revoke");
        let order = http::post(&path, &self.cluster.seeded.admin_key, "{}");
        let begun = clock::now();
        let through = usize::try_from(number)? % self.nodes.len();
        let answer = self.nodes[through].call(&order)?;
        let returned = clock::now();
        ensure!(answer.status == 200, "revoke was answered with status {}", answer.status);
        into.took.record(returned.duration_since(begun));
        let mut last = Duration::ZERO;
        for node in &mut self.nodes {
            last = last.max(last_acceptance(node, &question, returned, into)?);
        }
        into.last_acceptance.record(last);
        into.accepted_after_return += u64::from(last > Duration::ZERO);
        into.accepted_beyond_bound += u64::from(last > BOUND);
        Ok(())
    }
}

/// Asks a node until it denies the key as revoked; gives how long after `returned` its last
/// acceptance came in.
fn last_acceptance(
    node: &mut Connection,
    question: &[u8],
    returned: Instant,
    into: &mut Revocations,
) -> anyhow::Result<Duration> {
    let mut last = Duration::ZERO;
    loop {
        let answer = node.call(question)?;
        let after = clock::now().duration_since(returned);
        into.questions += 1;
        if http::contains(&answer.body, VALID) {
            last = after;
        } else if http::contains(&answer.body, STALE) {
            into.denied_as_stale += 1;
        } else {
            ensure!(answer.status == 200, "a question was answered with {}", answer.status);
            return Ok(last);
        }
        ensure!(after < LONGEST_WAIT, "a revoked key is not denied");
        thread::sleep(PAUSE);
    }
}

/// Verifications on every node, for as long as something else is measured.
struct Background {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<anyhow::Result<u64>>>,
}

impl Background {
    fn start(cluster: &Cluster, keys: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let questions: Vec<Vec<u8>> = keys.iter().map(|key| cluster.question(key)).collect();
        let questions = Arc::new(questions);
        let ask = |address: SocketAddr| {
            let (stop, questions) = (stop.clone(), questions.clone());
            thread::spawn(move || {
                let mut node = Connection::open(address, PATIENCE)?;
                let mut asked = 0;
                for question in questions.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    node.call(question)?;
                    asked += 1;
                    thread::sleep(PAUSE);
                }
                Ok(asked)
            })
        };
        let threads = cluster.nodes.iter().map(|node| ask(node.address())).collect();
        Self { stop, threads }
    }

    /// How many were asked.
    fn finish(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut asked = 0;
        for thread in self.threads {
            asked += thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        }
        Ok(asked)
    }
}

/// How many requests were admitted under one limit.
struct Admitted {
    limit: u32,
    asked: u32,
    by_node: Vec<u32>,
}

/// Asks twice as often as each limit allows, on all nodes at once.
fn limits(cluster: &Cluster) -> anyhow::Result<Vec<Admitted>> {
    let mut found = Vec::new();
    for limit in LIMITS {
        let question = cluster.question(&cluster.limited_key(&format!("{limit}/1d"))?);
        let each = (limit * 2).div_ceil(u32::try_from(cluster.nodes.len())?);
        let ask = |address: SocketAddr| -> anyhow::Result<u32> {
            let mut node = Connection::open(address, PATIENCE)?;
            let mut admitted = 0;
            for _ in 0..each {
                admitted += u32::from(http::contains(&node.call(&question)?.body, VALID));
            }
            Ok(admitted)
        };
        let by_node = thread::scope(|scope| {
            let ask = &ask;
            let asking: Vec<_> =
                cluster.nodes.iter().map(|node| scope.spawn(move || ask(node.address()))).collect();
            let joined = asking.into_iter().map(|asked| {
                asked.join().map_err(|_| anyhow::anyhow!("one who asked panicked"))?
            });
            joined.collect::<anyhow::Result<Vec<u32>>>()
        })?;
        let asked = each * u32::try_from(cluster.nodes.len())?;
        found.push(Admitted { limit, asked, by_node });
    }
    Ok(found)
}

/// Loads these nodes at once; gives what each served.
fn verify_on(
    options: &ClusterOptions,
    cluster: &Cluster,
    nodes: &[Server],
    keys: &[String],
) -> anyhow::Result<Vec<LoadReport>> {
    let questions = keys.iter().map(|key| cluster.question(key)).collect();
    load_all(nodes, questions, |address| plan(options, address))
}

/// The load of verifications on one node.
fn plan(options: &ClusterOptions, address: SocketAddr) -> Plan {
    Plan {
        address,
        connections: 32,
        threads: 1,
        warm_up: Duration::from_millis(500),
        measure: Duration::from_secs(options.seconds),
        expected_status: 200,
        body_check: Some(is_valid),
    }
}

/// Loads these nodes at once; gives what each served.
fn load_all(
    nodes: &[Server],
    requests: Vec<Vec<u8>>,
    plan: impl Fn(SocketAddr) -> Plan,
) -> anyhow::Result<Vec<LoadReport>> {
    let requests = Requests::of(requests)?;
    let start = |node: &Server| {
        let (plan, requests) = (plan(node.address()), requests.clone());
        thread::spawn(move || load::run(&plan, &requests))
    };
    let loads: Vec<_> = nodes.iter().map(start).collect();
    let mut reports = Vec::new();
    for load in loads {
        let report = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        report::require_clean("a node", &report)?;
        reports.push(report);
    }
    Ok(reports)
}

/// Keys made by so many at once, on the first so many nodes: what one order for all nodes costs.
struct Creates {
    writers: usize,
    nodes: usize,
    reports: Vec<LoadReport>,
}

fn create_on(
    options: &ClusterOptions,
    cluster: &Cluster,
    nodes: usize,
    writers: usize,
) -> anyhow::Result<Creates> {
    let order = http::post("/api/v1/api-keys", &cluster.seeded.admin_key, r#"{"name":"new"}"#);
    // One alone cannot be divided.
    let used = nodes.min(writers);
    let connections = writers.div_ceil(used);
    let reports = load_all(&cluster.nodes[..used], vec![order], |address| Plan {
        connections,
        expected_status: 201,
        body_check: None,
        ..plan(options, address)
    })?;
    Ok(Creates { writers, nodes: used, reports })
}

fn is_valid(body: &[u8]) -> bool {
    http::contains(body, VALID)
}

/// Everything one run measured.
struct Figures {
    revocations: Revocations,
    seconds: f64,
    background: u64,
    limits: Vec<Admitted>,
    creates: Vec<Creates>,
    throughput: Vec<(&'static str, Vec<LoadReport>)>,
}

impl Figures {
    fn lines(&self, options: &ClusterOptions, machine: &Machine) -> Vec<String> {
        let Revocations { last_acceptance, took, .. } = &self.revocations;
        let row = |name: &str, of: &Histogram| {
            let at = |permille| report::millis(of.quantile(permille));
            vec![name.to_owned(), at(500), at(990), at(999), report::millis(of.max())]
        };
        let mut lines = vec![
            format!(
                "bench cluster: {} nodes on one PostgreSQL (fsync on), {} revocations by {} at once \
                 in {:.1} s",
                options.nodes, options.revocations, options.revokers, self.seconds
            ),
            machine.line(),
            String::new(),
        ];
        let heading = ["", "p50", "p99", "p99.9", "max"].map(str::to_owned);
        lines.extend(report::table(&[
            Vec::from(heading),
            row("revoke took", took),
            row("last acceptance after it returned", last_acceptance),
        ]));
        let revocations = &self.revocations;
        lines.extend([
            String::new(),
            format!(
                "accepted anywhere after the return: {} keys",
                revocations.accepted_after_return
            ),
            format!(
                "accepted beyond the bound of {} s: {} keys",
                BOUND.as_secs(),
                revocations.accepted_beyond_bound
            ),
            format!(
                "denied as stale: {} of {} questions",
                revocations.denied_as_stale, revocations.questions
            ),
            format!("other verifications meanwhile: {}", self.background),
            String::new(),
        ]);
        let heading = ["limit", "asked", "admitted", "by node"].map(str::to_owned);
        let mut rows = vec![Vec::from(heading)];
        rows.extend(self.limits.iter().map(|found| {
            let by_node: Vec<String> = found.by_node.iter().map(ToString::to_string).collect();
            let admitted: u32 = found.by_node.iter().sum();
            let numbers = [found.limit, found.asked, admitted].map(|number| number.to_string());
            numbers.into_iter().chain([by_node.join(" ")]).collect()
        }));
        lines.extend(report::table(&rows));
        lines.push(String::new());
        lines.extend(self.create_lines());
        lines.push(String::new());
        let heading = ["keys with", "nodes", "verifications/s", "p99 of the slowest"];
        let mut rows = vec![Vec::from(heading.map(str::to_owned))];
        rows.extend(self.throughput.iter().map(|(what, reports)| {
            let rps: f64 = reports.iter().map(|report| report.rps).sum();
            let p99 = reports.iter().map(|report| report.p99).max().unwrap_or_default();
            let nodes = reports.len().to_string();
            vec![(*what).to_owned(), nodes, report::grouped(rps), report::millis(p99)]
        }));
        lines.extend(report::table(&rows));
        lines
    }

    fn create_lines(&self) -> Vec<String> {
        let heading = ["makers at once", "nodes", "durable keys/s", "p50", "p99"];
        let mut rows = vec![Vec::from(heading.map(str::to_owned))];
        rows.extend(self.creates.iter().map(|made| {
            let rps: f64 = made.reports.iter().map(|report| report.rps).sum();
            let most = |of: fn(&LoadReport) -> Duration| {
                report::millis(made.reports.iter().map(of).max().unwrap_or_default())
            };
            let (p50, p99) = (most(|report| report.p50), most(|report| report.p99));
            vec![made.writers.to_string(), made.nodes.to_string(), report::grouped(rps), p50, p99]
        }));
        report::table(&rows)
    }

    fn json(&self, options: &ClusterOptions, machine: &Machine) -> Value {
        let of = |histogram: &Histogram| {
            json!({
                "p50_us": report::micros(histogram.quantile(500)),
                "p99_us": report::micros(histogram.quantile(990)),
                "p999_us": report::micros(histogram.quantile(999)),
                "max_us": report::micros(histogram.max()),
            })
        };
        let rounds = |(what, reports): &(&str, Vec<LoadReport>)| {
            let nodes: Vec<Value> = reports.iter().map(report::round_json).collect();
            json!({ "keys_with": what, "nodes": nodes })
        };
        let creates = self.creates.iter().map(|made| {
            let nodes: Vec<Value> = made.reports.iter().map(report::round_json).collect();
            json!({ "writers": made.writers, "nodes": nodes })
        });
        let limits = self.limits.iter().map(|found| {
            json!({ "limit": found.limit, "asked": found.asked, "admitted_by_node": found.by_node })
        });
        let revocations = &self.revocations;
        json!({
            "bench": "cluster",
            "machine": machine.json(),
            "nodes": options.nodes,
            "revocations": options.revocations,
            "seconds": self.seconds,
            "revoke": of(&revocations.took),
            "last_acceptance": of(&revocations.last_acceptance),
            "accepted_after_return": revocations.accepted_after_return,
            "accepted_beyond_bound": revocations.accepted_beyond_bound,
            "denied_as_stale": revocations.denied_as_stale,
            "questions": revocations.questions,
            "limits": limits.collect::<Vec<_>>(),
            "creates": creates.collect::<Vec<_>>(),
            "throughput": self.throughput.iter().map(rounds).collect::<Vec<_>>(),
        })
    }
}
