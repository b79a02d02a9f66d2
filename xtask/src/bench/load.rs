//! A closed-loop HTTP/1.1 load generator: every connection sends its next request when the
//! answer to the last one is here.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use super::histogram::Histogram;
use super::http::{Head, Incoming};
use crate::clock;

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How much longer than its window a load may run before it is called stuck.
const GRACE: Duration = Duration::from_secs(30);
/// Primes that spread the connections, and the requests of each, over the whole set.
const CONNECTION_STRIDE: usize = 15_485_863;
const SEQUENCE_STRIDE: usize = 104_729;

/// One run against one server.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// Threads that drive them; never more than connections.
    pub(crate) threads: usize,
    /// How long requests are sent before they are counted.
    pub(crate) warm_up: Duration,
    /// How long they are counted.
    pub(crate) measure: Duration,
    /// The status every answer must have.
    pub(crate) expected_status: u16,
    /// What every body must satisfy.
    pub(crate) body_check: Option<fn(&[u8]) -> bool>,
}

impl Plan {
    /// What is wrong with an answer, if anything.
    pub(super) fn fault(&self, status: u16, body: &[u8]) -> Option<String> {
        let wrong_status = status != self.expected_status;
        let wrong_body = self.body_check.is_some_and(|holds| !holds(body));
        (wrong_status || wrong_body).then(|| {
            let shown = &body[..body.len().min(300)];
            format!("status {status}: {}", String::from_utf8_lossy(shown))
        })
    }
}

/// The requests of a run, built once.
#[derive(Debug)]
pub(crate) struct Requests {
    built: Vec<Vec<u8>>,
}

impl Requests {
    /// A set of requests; never empty.
    pub(crate) fn of(built: Vec<Vec<u8>>) -> anyhow::Result<Arc<Self>> {
        ensure!(!built.is_empty(), "there are no requests to send");
        Ok(Arc::new(Self { built }))
    }

    /// The request a connection sends as its n-th.
    pub(crate) fn pick(&self, connection: usize, sequence: usize) -> &[u8] {
        let spread = connection
            .wrapping_mul(CONNECTION_STRIDE)
            .wrapping_add(sequence.wrapping_mul(SEQUENCE_STRIDE));
        &self.built[spread % self.built.len()]
    }
}

/// What a run measured.
#[derive(Debug, Clone)]
pub(crate) struct LoadReport {
    /// Requests that began inside the window, all of them answered.
    pub(crate) requests: u64,
    /// From the opening of the window to the last answer.
    pub(crate) seconds: f64,
    /// Requests a second.
    pub(crate) rps: f64,
    /// Half of the requests took at most this long.
    pub(crate) p50: Duration,
    /// 99 of a hundred took at most this long.
    pub(crate) p99: Duration,
    /// 999 of a thousand took at most this long.
    pub(crate) p999: Duration,
    /// The slowest.
    pub(crate) max: Duration,
    /// Answers with another status or a body that failed its check, warm-up included.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) first_error: Option<String>,
}

/// Runs a load to its end.
pub(crate) fn run(plan: &Plan, requests: &Arc<Requests>) -> anyhow::Result<LoadReport> {
    let shares = connect(plan)?;
    let opens = clock::now() + plan.warm_up;
    let closes = opens + plan.measure;
    let mut threads = Vec::with_capacity(shares.len());
    for share in shares {
        let job = Job { plan: plan.clone(), requests: Arc::clone(requests), opens, closes };
        let thread = thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || drive_share(share, job))
            .context("cannot start a load thread")?;
        threads.push(thread);
    }
    let mut total = Tally::default();
    for thread in threads {
        let tally = thread.join().map_err(|_| anyhow!("a load thread panicked"))??;
        total.merge(tally);
    }
    total.into_report(opens)
}

/// The connections one thread drives, each with its number.
type Share = Vec<(usize, std::net::TcpStream)>;

/// Opens every connection before the clock starts, and deals them out to the threads.
fn connect(plan: &Plan) -> anyhow::Result<Vec<Share>> {
    let threads = plan.threads.min(plan.connections).max(1);
    let mut shares: Vec<Share> = (0..threads).map(|_| Vec::new()).collect();
    for connection in 0..plan.connections {
        let stream = std::net::TcpStream::connect_timeout(&plan.address, CONNECT_LIMIT)
            .with_context(|| format!("cannot open connection {connection} to {}", plan.address))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        shares[connection % threads].push((connection, stream));
    }
    Ok(shares)
}

/// What the connections of a thread share.
#[derive(Debug)]
struct Job {
    plan: Plan,
    requests: Arc<Requests>,
    opens: Instant,
    closes: Instant,
}

/// Drives the connections of one thread until the window closes.
fn drive_share(share: Share, job: Job) -> anyhow::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = job.closes.saturating_duration_since(clock::now()) + GRACE;
    let job = Rc::new(job);
    let tally = Rc::new(RefCell::new(Tally::default()));
    let local = LocalSet::new();
    local.block_on(&runtime, drive_all(share, &job, &tally, limit))?;
    Ok(tally.take())
}

/// Runs a task for every connection, and waits for all of them.
async fn drive_all(
    share: Share,
    job: &Rc<Job>,
    tally: &Rc<RefCell<Tally>>,
    limit: Duration,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (connection, stream) in share {
        let stream = TcpStream::from_std(stream)?;
        tasks.spawn_local(drive(connection, stream, Rc::clone(job), Rc::clone(tally)));
    }
    let all_ended = async {
        while let Some(ended) = tasks.join_next().await {
            ended.context("a connection task panicked")??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(limit, all_ended)
        .await
        .context("a server stopped answering: the load did not end in time")?
}

/// Sends requests on one connection until the window closes.
async fn drive(
    connection: usize,
    mut stream: TcpStream,
    job: Rc<Job>,
    tally: Rc<RefCell<Tally>>,
) -> anyhow::Result<()> {
    let mut incoming = Incoming::new();
    let mut sequence = 0_usize;
    loop {
        let began = clock::now();
        if began >= job.closes {
            return Ok(());
        }
        let request = job.requests.pick(connection, sequence);
        stream.write_all(request).await.context("cannot send a request")?;
        let head = receive(&mut stream, &mut incoming).await?;
        let ended = clock::now();
        let fault = job.plan.fault(head.status, incoming.body(head));
        let mut tally = tally.borrow_mut();
        if began >= job.opens {
            tally.record(began, ended);
        }
        tally.note(fault);
        incoming.clear();
        sequence = sequence.wrapping_add(1);
    }
}

/// Reads one whole answer.
async fn receive(stream: &mut TcpStream, incoming: &mut Incoming) -> anyhow::Result<Head> {
    loop {
        let read = stream.read(incoming.spare()?).await.context("cannot read an answer")?;
        incoming.advance(read)?;
        if let Some(head) = incoming.complete()? {
            return Ok(head);
        }
    }
}

/// What a thread has counted so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    latencies: Histogram,
    last_ended: Option<Instant>,
    errors: u64,
    first_error: Option<String>,
}

impl Tally {
    /// Counts one answered request of the window.
    pub(super) fn record(&mut self, began: Instant, ended: Instant) {
        self.latencies.record(ended.saturating_duration_since(began));
        self.last_ended = self.last_ended.max(Some(ended));
    }

    /// Counts a fault, if there is one, and keeps the first.
    pub(super) fn note(&mut self, fault: Option<String>) {
        if let Some(fault) = fault {
            self.errors += 1;
            self.first_error.get_or_insert(fault);
        }
    }

    /// Adds what another thread counted.
    pub(super) fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.last_ended = self.last_ended.max(other.last_ended);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// The figures of the whole run.
    pub(super) fn into_report(self, opens: Instant) -> anyhow::Result<LoadReport> {
        let last_ended = self.last_ended.context("not one request was answered in the window")?;
        let seconds = last_ended.saturating_duration_since(opens).as_secs_f64();
        let requests = self.latencies.total();
        Ok(LoadReport {
            requests,
            seconds,
            rps: as_f64(requests) / seconds.max(f64::MIN_POSITIVE),
            p50: self.latencies.quantile(500),
            p99: self.latencies.quantile(990),
            p999: self.latencies.quantile(999),
            max: self.latencies.max(),
            errors: self.errors,
            first_error: self.first_error,
        })
    }
}

/// A count as a float; no run counts more than four thousand million requests.
fn as_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_gets_its_turn() -> anyhow::Result<()> {
        let requests = Requests::of((0..100_u8).map(|number| vec![number]).collect())?;
        let mut seen: Vec<u8> =
            (0..100).filter_map(|sequence| requests.pick(3, sequence).first().copied()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100_u8).collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn no_requests_is_an_error() {
        assert!(Requests::of(Vec::new()).is_err());
    }

    #[test]
    fn faults_are_counted_and_the_first_is_kept() {
        let mut tally = Tally::default();
        tally.note(None);
        tally.note(Some("first".to_owned()));
        tally.note(Some("second".to_owned()));
        let mut total = Tally::default();
        total.merge(tally);
        assert_eq!(total.errors, 2);
        assert_eq!(total.first_error.as_deref(), Some("first"));
    }

    #[test]
    fn a_report_counts_up_to_the_last_answer() -> anyhow::Result<()> {
        let opens = clock::now();
        let mut tally = Tally::default();
        for millis in [100, 300, 500] {
            let began = opens + Duration::from_millis(millis - 100);
            tally.record(began, opens + Duration::from_millis(millis));
        }
        let report = tally.into_report(opens)?;
        assert_eq!(report.requests, 3);
        assert!((report.seconds - 0.5).abs() < 1e-9);
        assert!((report.rps - 6.0).abs() < 1e-6);
        assert_eq!(report.max, Duration::from_millis(100));
        Ok(())
    }

    #[test]
    fn a_window_without_answers_is_an_error() {
        assert!(Tally::default().into_report(clock::now()).is_err());
    }
}
