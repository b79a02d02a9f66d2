//! `bench outage`: three nodes under load while each part is cut in turn. What became of the answers,
//! of what was acknowledged, and of the bound on revocation; and how long recovery took, which nobody
//! helps with.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::histogram::Histogram;
use super::http::{self, Connection};
use super::nodes::{BOUND, Cluster, STALE, VALID};
use super::report::{self, Format, Machine};
use super::server::Server;
use crate::clock;

const NODES: u8 = 3;
/// Keys to revoke, and keys that the load asks about.
const DOOMED: usize = 20_000;
const OTHERS: usize = 500;
/// The pause between two questions of one who asks, and between two changes.
const PAUSE: Duration = Duration::from_millis(2);
const BETWEEN_CHANGES: Duration = Duration::from_millis(10);
/// How long an answer is waited for by those who load and change, and by those who watch: they want to
/// see what a node says when it wakes.
const PATIENCE: Duration = Duration::from_secs(3);
const WATCHING_PATIENCE: Duration = Duration::from_mins(11);
/// How long recovery may take before it counts as failed.
const LONGEST_RECOVERY: Duration = Duration::from_mins(1);
/// A limit that is asked for at each request and never reached.
const WIDE_LIMIT: &str = "1000000000/1h";

/// Options of `bench outage`.
#[derive(Debug, clap::Args)]
pub(crate) struct OutageOptions {
    /// How long a part is away, in seconds; a node that is stopped, for the longer time.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How long a node is stopped in its tracks, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    stopped: u64,
}

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Nothing,
    DatabaseKilled,
    DatabasePaused,
    ValkeyKilled,
    ValkeyPaused,
    NodeKilled,
    NodeStopped,
}

impl Cut {
    const ALL: [Self; 7] = [
        Self::Nothing,
        Self::DatabaseKilled,
        Self::DatabasePaused,
        Self::ValkeyKilled,
        Self::ValkeyPaused,
        Self::NodeKilled,
        Self::NodeStopped,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::DatabaseKilled => "PostgreSQL, kill -9 and restart",
            Self::DatabasePaused => "PostgreSQL, paused",
            Self::ValkeyKilled => "Valkey, kill -9 and restart",
            Self::ValkeyPaused => "Valkey, paused",
            Self::NodeKilled => "a node, kill -9 and restart",
            Self::NodeStopped => "a node, SIGSTOP and SIGCONT",
        }
    }

    /// The node that is cut, whose own answers are counted apart.
    fn node(self) -> Option<usize> {
        matches!(self, Self::NodeKilled | Self::NodeStopped).then_some(CUT_NODE)
    }
}

/// Which node is cut where one is.
const CUT_NODE: usize = 2;

/// What became of questions.
#[derive(Default)]
struct Answers {
    took: Histogram,
    valid: u64,
    stale: u64,
    other: u64,
    failed: u64,
}

impl Answers {
    fn merge(&mut self, own: &Self) {
        self.took.merge(&own.took);
        self.valid += own.valid;
        self.stale += own.stale;
        self.other += own.other;
        self.failed += own.failed;
    }
}

/// What was acknowledged, and so must stand.
#[derive(Default)]
struct Acknowledged {
    /// Questions about revoked keys, and when `revoke` returned.
    revoked: Vec<(Arc<Vec<u8>>, Instant)>,
    /// Questions about new keys.
    created: Vec<Vec<u8>>,
    refused: u64,
}

/// How one part's absence went.
struct Phase {
    cut: Cut,
    away: Duration,
    recovered: Duration,
    elsewhere: Answers,
    on_cut_node: Answers,
    changes: usize,
    refused: u64,
    /// Answers VALID that came later than the bound after the return of `revoke`.
    beyond_bound: u64,
    /// The latest acceptance at all, after the return.
    last_acceptance: Duration,
    lost: usize,
}

/// Runs everything, and prints the report.
pub(crate) fn run(options: &OutageOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    eprintln!("bench: starting PostgreSQL, Valkey and {NODES} nodes");
    let mut cluster = Cluster::start(NODES, binaries, DOOMED + OTHERS)?;
    let limited = cluster.limited_key(WIDE_LIMIT)?;
    let next = AtomicUsize::new(0);
    let mut phases = Vec::new();
    for cut in Cut::ALL {
        eprintln!("bench: {}", cut.name());
        phases.push(phase(options, &mut cluster, cut, &limited, &next)?);
    }
    let machine = Machine::this();
    report::print(format, &lines(&phases, &machine), &to_json(&phases, &machine));
    let beyond: u64 = phases.iter().map(|phase| phase.beyond_bound).sum();
    let lost: usize = phases.iter().map(|phase| phase.lost).sum();
    ensure!(beyond == 0 && lost == 0, "{beyond} accepted beyond the bound, {lost} lost");
    Ok(())
}

/// Loads the cluster, cuts a part, gives it back, and waits until all is well.
fn phase(
    options: &OutageOptions,
    cluster: &mut Cluster,
    cut: Cut,
    limited: &str,
    next: &AtomicUsize,
) -> anyhow::Result<Phase> {
    let (doomed, others) = cluster.seeded.keys.split_at(DOOMED);
    let load = Load::new(cluster, doomed, others, limited);
    let acknowledged = Mutex::new(Acknowledged::default());
    let (stop, doomed) = (AtomicBool::new(false), doomed.to_vec());
    let addresses: Vec<SocketAddr> = cluster.nodes.iter().map(Server::address).collect();
    thread::scope(|scope| {
        let (load, stop, acknowledged, addresses) = (&load, &stop, &acknowledged, &addresses);
        let asking: Vec<_> =
            addresses.iter().map(|at| scope.spawn(|| load.ask(*at, stop))).collect();
        let watching: Vec<_> =
            addresses.iter().map(|at| scope.spawn(|| watch(*at, stop, acknowledged))).collect();
        let changer =
            scope.spawn(|| load.change(addresses, &doomed, next, stop, acknowledged, cut));
        thread::sleep(Duration::from_secs(1));
        let begun = clock::now();
        let outcome = cut_off(options, cluster, cut);
        let recovered = outcome.and_then(|back| {
            let well = wait_until_well(load, addresses).context("recovery")?;
            Ok((back, well))
        });
        // Some more, so that what follows is seen, too.
        thread::sleep(BOUND + BOUND);
        stop.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow::anyhow!("a thread of the load panicked");
        let mut answers = Vec::new();
        for asked in asking {
            answers.push(asked.join().map_err(panicked)?);
        }
        let (mut beyond_bound, mut last_acceptance) = (0, Duration::ZERO);
        for watched in watching {
            let (beyond, last) = watched.join().map_err(panicked)?;
            beyond_bound += beyond;
            last_acceptance = last_acceptance.max(last);
        }
        changer.join().map_err(panicked)?;
        ensure!(next.load(Ordering::Relaxed) < doomed.len(), "there are no keys left to revoke");
        let (back, well) = recovered?;
        let recovered = well.duration_since(back);
        let acknowledged = acknowledged.lock();
        let (mut elsewhere, mut on_cut_node) = (Answers::default(), Answers::default());
        for (node, own) in answers.iter().enumerate() {
            let into = if cut.node() == Some(node) { &mut on_cut_node } else { &mut elsewhere };
            into.merge(own);
        }
        Ok(Phase {
            cut,
            away: back.duration_since(begun),
            recovered,
            elsewhere,
            on_cut_node,
            changes: acknowledged.revoked.len() + acknowledged.created.len(),
            refused: acknowledged.refused,
            beyond_bound,
            last_acceptance,
            lost: lost(addresses, &acknowledged)?,
        })
    })
}

/// Takes the part away, and gives it back; when it began to do so.
fn cut_off(options: &OutageOptions, cluster: &mut Cluster, cut: Cut) -> anyhow::Result<Instant> {
    let away = Duration::from_secs(options.seconds);
    let mut back = clock::now() + away;
    match cut {
        Cut::Nothing => thread::sleep(away),
        Cut::DatabaseKilled => {
            cluster.database.crash()?;
            thread::sleep(away);
            cluster.database.launch()?;
        }
        Cut::DatabasePaused => {
            let processes = cluster.database.processes();
            signal("-STOP", &processes)?;
            thread::sleep(away);
            signal("-CONT", &processes)?;
        }
        Cut::ValkeyKilled => {
            cluster.valkey.crash()?;
            thread::sleep(away);
            cluster.valkey.launch()?;
        }
        Cut::ValkeyPaused => {
            let process: Vec<u32> = cluster.valkey.process().into_iter().collect();
            signal("-STOP", &process)?;
            thread::sleep(away);
            signal("-CONT", &process)?;
        }
        Cut::NodeKilled => {
            cluster.nodes[CUT_NODE].kill()?;
            thread::sleep(away);
            cluster.restart(CUT_NODE)?;
        }
        Cut::NodeStopped => {
            let process = [cluster.nodes[CUT_NODE].pid()];
            signal("-STOP", &process)?;
            thread::sleep(Duration::from_secs(options.stopped));
            back = clock::now();
            signal("-CONT", &process)?;
        }
    }
    Ok(back)
}

fn signal(name: &str, processes: &[u32]) -> anyhow::Result<()> {
    // One that ended meanwhile needs none.
    let pids = processes.iter().map(ToString::to_string);
    Command::new("kill").arg(name).args(pids).output().context("cannot run kill")?;
    Ok(())
}

/// Waits until every node is ready, counts together with the others, and takes changes.
fn wait_until_well(load: &Load, addresses: &[SocketAddr]) -> anyhow::Result<Instant> {
    let begun = clock::now();
    let is_well = |address: SocketAddr| {
        let ready = http::exchange(address, &http::get("/readyz"), PATIENCE);
        let ready = ready.is_ok_and(|answer| {
            answer.status == 200 && http::contains(&answer.body, b"\"limits\":\"ok\"")
        });
        ready
            && http::exchange(address, &load.creation, PATIENCE)
                .is_ok_and(|answer| answer.status == 201)
    };
    while !addresses.iter().all(|address| is_well(*address)) {
        ensure!(clock::now().duration_since(begun) < LONGEST_RECOVERY, "never came");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(clock::now())
}

/// What is asked.
struct Load {
    questions: Vec<Vec<u8>>,
    about_doomed: Vec<Arc<Vec<u8>>>,
    verifier_key: String,
    admin_key: String,
    creation: Vec<u8>,
}

impl Load {
    fn new(cluster: &Cluster, doomed: &[String], others: &[String], limited: &str) -> Self {
        let limited = cluster.question(limited);
        let questions = others.iter().flat_map(|key| [cluster.question(key), limited.clone()]);
        let admin_key = cluster.seeded.admin_key.clone();
        Self {
            questions: questions.collect(),
            about_doomed: doomed.iter().map(|key| Arc::new(cluster.question(key))).collect(),
            verifier_key: cluster.seeded.verifier_key.clone(),
            creation: http::post("/api/v1/api-keys", &admin_key, r#"{"name":"new"}"#),
            admin_key,
        }
    }

    /// Asks about good keys, half of them under a limit that all nodes count together.
    fn ask(&self, address: SocketAddr, stop: &AtomicBool) -> Answers {
        let mut asker = Asker::new(address, PATIENCE);
        let mut answers = Answers::default();
        for question in self.questions.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let asked = clock::now();
            let answer = asker.ask(question);
            let took = clock::now().duration_since(asked);
            // What is refused at once took no time; what never came took at least this.
            if answer.is_some() || took >= PATIENCE {
                answers.took.record(took);
            }
            let body = answer.as_ref().map(|answer| answer.body.as_slice());
            *match body {
                None => &mut answers.failed,
                Some(body) if http::contains(body, VALID) => &mut answers.valid,
                Some(body) if http::contains(body, STALE) => &mut answers.stale,
                Some(_) => &mut answers.other,
            } += 1;
            thread::sleep(PAUSE);
        }
        answers
    }

    /// Revokes and makes keys, through one node after the other, but not through one that is stopped,
    /// which would only hold this up.
    fn change(
        &self,
        addresses: &[SocketAddr],
        doomed: &[String],
        next: &AtomicUsize,
        stop: &AtomicBool,
        acknowledged: &Mutex<Acknowledged>,
        cut: Cut,
    ) {
        let mut through: Vec<Asker> = addresses
            .iter()
            .enumerate()
            .filter(|(number, _)| cut != Cut::NodeStopped || *number != CUT_NODE)
            .map(|(_, address)| Asker::new(*address, PATIENCE))
            .collect();
        let nodes = through.len();
        let mut turn = 0;
        while !stop.load(Ordering::Relaxed) {
            turn += 1;
            let number = next.load(Ordering::Relaxed);
            // Each node gets both kinds.
            let node = &mut through[turn / 2 % nodes];
            let done = if turn % 2 == 0 {
                self.create(node, acknowledged)
            } else if let Some(key) = doomed.get(number) {
                // One that was tried is not tried again: perhaps it was revoked all the same.
                next.fetch_add(1, Ordering::Relaxed);
                self.revoke(node, key, number, acknowledged)
            } else {
                return;
            };
            acknowledged.lock().refused += u64::from(!done);
            thread::sleep(BETWEEN_CHANGES);
        }
    }

    fn create(&self, node: &mut Asker, acknowledged: &Mutex<Acknowledged>) -> bool {
        let Some(answer) = node.ask(&self.creation).filter(|answer| answer.status == 201) else {
            return false;
        };
        let made: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let body = json!({ "key": made["key"] }).to_string();
        let question = http::post("/api/v1/verify", &self.verifier_key, &body);
        acknowledged.lock().created.push(question);
        true
    }

    fn revoke(
        &self,
        node: &mut Asker,
        key: &str,
        number: usize,
        acknowledged: &Mutex<Acknowledged>,
    ) -> bool {
        let Some(id) = key.rsplit('_').nth(1) else { return false };
        let path = format!("/api/v1/api-keys/{id}/revoke");
        let order = http::post(&path, &self.admin_key, "{}");
        let revoked = node.ask(&order).is_some_and(|answer| answer.status == 200);
        if revoked {
            let returned = clock::now();
            acknowledged.lock().revoked.push((self.about_doomed[number].clone(), returned));
        }
        revoked
    }
}

/// Asks a node about revoked keys for as long as that may matter; gives how often one was accepted
/// beyond the bound, and how long after its revocation the last acceptance came. A question that a
/// stopped node answers when it wakes counts as answered then.
fn watch(
    address: SocketAddr,
    stop: &AtomicBool,
    acknowledged: &Mutex<Acknowledged>,
) -> (u64, Duration) {
    let mut asker = Asker::new(address, WATCHING_PATIENCE);
    let (mut beyond, mut last, mut turn) = (0, Duration::ZERO, 0_usize);
    while !stop.load(Ordering::Relaxed) {
        turn = turn.wrapping_add(1);
        let picked = pick(&acknowledged.lock(), turn);
        let is_valid = |answer: http::Answer| http::contains(&answer.body, VALID);
        if let Some((question, returned)) = picked
            && asker.ask(&question).is_some_and(is_valid)
        {
            let after = clock::now().duration_since(returned);
            last = last.max(after);
            beyond += u64::from(after > BOUND);
        }
        thread::sleep(PAUSE);
    }
    (beyond, last)
}

/// A revoked key: a young one more often than an old one.
fn pick(acknowledged: &Acknowledged, turn: usize) -> Option<(Arc<Vec<u8>>, Instant)> {
    let count = acknowledged.revoked.len();
    let back = if turn.is_multiple_of(4) { turn } else { turn % 8 };
    let place = count.checked_sub(1 + back % count.max(1))?;
    acknowledged.revoked.get(place).cloned()
}

/// How much of what was acknowledged does not stand on some node.
fn lost(addresses: &[SocketAddr], acknowledged: &Acknowledged) -> anyhow::Result<usize> {
    let mut lost = 0;
    for address in addresses {
        let mut node = Connection::open(*address, PATIENCE)?;
        for (question, _) in &acknowledged.revoked {
            let denied = http::contains(&node.call(question)?.body, b"\"code\":\"REVOKED\"");
            lost += usize::from(!denied);
        }
        for question in &acknowledged.created {
            lost += usize::from(!http::contains(&node.call(question)?.body, VALID));
        }
    }
    Ok(lost)
}

/// A connection that is made anew when it broke.
struct Asker {
    address: SocketAddr,
    patience: Duration,
    connection: Option<Connection>,
}

impl Asker {
    fn new(address: SocketAddr, patience: Duration) -> Self {
        Self { address, patience, connection: None }
    }

    /// The answer, if there is one in time.
    fn ask(&mut self, request: &[u8]) -> Option<http::Answer> {
        if self.connection.is_none() {
            self.connection = Connection::open(self.address, self.patience).ok();
        }
        let answer = self.connection.as_mut()?.call(request).ok();
        if answer.is_none() {
            self.connection = None;
        }
        answer
    }
}

fn lines(phases: &[Phase], machine: &Machine) -> Vec<String> {
    let heading = [
        "cut",
        "away",
        "p50",
        "p99",
        "max",
        "valid",
        "stale",
        "other",
        "failed",
        "changes",
        "refused",
        "last accepted",
        "beyond 1 s",
        "lost",
        "well again",
    ];
    let mut rows = vec![Vec::from(heading.map(str::to_owned))];
    for phase in phases {
        let answers = &phase.elsewhere;
        let at = |permille| report::millis(answers.took.quantile(permille));
        rows.push(vec![
            phase.cut.name().to_owned(),
            report::millis(phase.away),
            at(500),
            at(990),
            report::millis(answers.took.max()),
            answers.valid.to_string(),
            answers.stale.to_string(),
            answers.other.to_string(),
            answers.failed.to_string(),
            phase.changes.to_string(),
            phase.refused.to_string(),
            report::millis(phase.last_acceptance),
            phase.beyond_bound.to_string(),
            phase.lost.to_string(),
            report::millis(phase.recovered),
        ]);
        if phase.cut.node().is_some() {
            let own = &phase.on_cut_node;
            let at = |permille| report::millis(own.took.quantile(permille));
            let mut row = vec!["  the node itself".to_owned(), String::new(), at(500), at(990)];
            row.push(report::millis(own.took.max()));
            row.extend([own.valid, own.stale, own.other, own.failed].map(|n| n.to_string()));
            row.resize(heading.len(), String::new());
            rows.push(row);
        }
    }
    let mut lines = vec![
        format!(
            "bench outage: {NODES} nodes on one PostgreSQL (fsync on) and one Valkey, under load"
        ),
        machine.line(),
        String::new(),
    ];
    lines.extend(report::table(&rows));
    lines
}

fn to_json(phases: &[Phase], machine: &Machine) -> Value {
    let answers = |of: &Answers| {
        json!({
            "p50_us": report::micros(of.took.quantile(500)),
            "p99_us": report::micros(of.took.quantile(990)),
            "max_us": report::micros(of.took.max()),
            "valid": of.valid, "stale": of.stale, "other": of.other, "failed": of.failed,
        })
    };
    let phases: Vec<Value> = phases
        .iter()
        .map(|phase| {
            json!({
                "cut": phase.cut.name(),
                "away_us": report::micros(phase.away),
                "recovered_us": report::micros(phase.recovered),
                "elsewhere": answers(&phase.elsewhere),
                "on_cut_node": answers(&phase.on_cut_node),
                "changes": phase.changes,
                "refused": phase.refused,
                "last_acceptance_us": report::micros(phase.last_acceptance),
                "beyond_bound": phase.beyond_bound,
                "lost": phase.lost,
            })
        })
        .collect();
    json!({ "bench": "outage", "machine": machine.json(), "nodes": NODES, "phases": phases })
}
