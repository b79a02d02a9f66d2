//! `bench verify`: how many verifications a second, next to a bare hyper server.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::http;
use super::load::{self, LoadReport, Plan, Requests};
use super::report::{self, Format, Machine, Summary};
use super::seed::{self, Mode, Seeded};
use super::server::Server;

/// How long each server is loaded before the first round.
const FIRST_WARM_UP: Duration = Duration::from_secs(2);
/// How long each round is loaded before it counts.
const ROUND_WARM_UP: Duration = Duration::from_millis(500);
/// How long the one request that measures the answer may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// What every answer must say.
const VALID: &[u8] = b"\"valid\":true";

/// Options of `bench verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyOptions {
    /// Keys in the store; a million in mode full, else 100,000 when left out.
    #[arg(long)]
    keys: Option<NonZeroUsize>,
    /// What each key is bound by.
    #[arg(long, value_enum, default_value = "plain")]
    mode: Mode,
    /// Keep-alive connections of the load generator.
    #[arg(long, default_value = "64")]
    connections: NonZeroUsize,
    /// How long each round is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds with each server, taken in turns.
    #[arg(long, default_value = "3")]
    rounds: NonZeroUsize,
    /// Threads of the load generator; half of the cores when left out.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

impl VerifyOptions {
    fn keys(&self) -> usize {
        self.keys.map_or_else(|| self.mode.usual_keys(), NonZeroUsize::get)
    }
}

/// Everything one run measured.
#[derive(Debug)]
struct Measured {
    bare: Vec<LoadReport>,
    keyreeve: Vec<LoadReport>,
    response_bytes: usize,
    start_time: Duration,
    resident_at_start: u64,
    resident_after_load: u64,
}

/// Seeds a store, measures both servers in turns, and prints the report.
pub(crate) fn run(options: &VerifyOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    let data = tempfile::tempdir().context("cannot create a data folder")?;
    eprintln!("bench: seeding {} keys", options.keys());
    let seeded = seed::seed(data.path(), options.keys(), options.mode)?;
    let requests = Requests::of(build_requests(&seeded, options.mode))?;
    let measured = measure(options, binaries, data.path(), &requests)?;
    let bare = Summary::of(&measured.bare).context("no rounds with the bare server")?;
    let keyreeve = Summary::of(&measured.keyreeve).context("no rounds with Keyreeve")?;
    let machine = Machine::this();
    let lines = lines_of(options, &measured, &bare, &keyreeve, &machine);
    let json = json_of(options, &measured, &bare, &keyreeve, &machine);
    report::print(format, &lines, &json);
    Ok(())
}

/// One request for every sampled key; both servers get these very bytes.
pub(super) fn build_requests(seeded: &Seeded, mode: Mode) -> Vec<Vec<u8>> {
    seeded
        .keys
        .iter()
        .map(|key| {
            let mut body = json!({ "key": key, "require": "documents.read" });
            match mode {
                Mode::Plain | Mode::Limits8 => {}
                Mode::Full => body["request"] = json!({ "ip": "203.0.113.9" }),
                Mode::Restricted => {
                    body["request"] = json!({
                        "ip": "203.0.113.9",
                        "method": "GET",
                        "host": "api.example.com",
                        "path": "/v1/items/17",
                        "origin": "https://app.example.com",
                    });
                }
            }
            let body = body.to_string();
            http::post("/api/v1/verify", &seeded.verifier_key, &body)
        })
        .collect()
}

/// Starts both servers, warms them, and loads them in turns.
fn measure(
    options: &VerifyOptions,
    binaries: &Path,
    data_dir: &Path,
    requests: &Arc<Requests>,
) -> anyhow::Result<Measured> {
    let keyreeve = Server::keyreeve(binaries, data_dir)?;
    let resident_at_start = keyreeve.resident_bytes()?;
    let response_bytes = probe(&keyreeve, requests)?;
    let bare = Server::bare(binaries, report::cores(), response_bytes)?;
    for server in [&bare, &keyreeve] {
        eprintln!("bench: warming {}", server.name());
        let warm_up = plan(options, server, Duration::ZERO, FIRST_WARM_UP);
        report::require_clean(server.name(), &load::run(&warm_up, requests)?)?;
    }
    let mut measured = Measured {
        bare: Vec::new(),
        keyreeve: Vec::new(),
        response_bytes,
        start_time: keyreeve.start_time(),
        resident_at_start,
        resident_after_load: 0,
    };
    for _ in 0..options.rounds.get() {
        measured.bare.push(round(options, &bare, requests)?);
        measured.keyreeve.push(round(options, &keyreeve, requests)?);
    }
    measured.resident_after_load = keyreeve.resident_bytes()?;
    Ok(measured)
}

/// The size of a real answer, so that the bare server sends as much.
fn probe(keyreeve: &Server, requests: &Requests) -> anyhow::Result<usize> {
    let answer = http::exchange(keyreeve.address(), requests.pick(0, 0), PROBE_LIMIT)
        .context("the first verification failed")?;
    ensure!(
        answer.status == 200 && is_valid(&answer.body),
        "the first verification was answered with status {}: {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    Ok(answer.body.len())
}

/// Whether an answer calls the key valid.
pub(super) fn is_valid(body: &[u8]) -> bool {
    http::contains(body, VALID)
}

/// One measured round with one server.
fn round(
    options: &VerifyOptions,
    server: &Server,
    requests: &Arc<Requests>,
) -> anyhow::Result<LoadReport> {
    let plan = plan(options, server, ROUND_WARM_UP, Duration::from_secs(options.seconds));
    let report = load::run(&plan, requests)?;
    report::require_clean(server.name(), &report)?;
    report::print_round(server.name(), &report);
    Ok(report)
}

/// The load of one round.
fn plan(options: &VerifyOptions, server: &Server, warm_up: Duration, measure: Duration) -> Plan {
    Plan {
        address: server.address(),
        connections: options.connections.get(),
        threads: load_threads(options),
        warm_up,
        measure,
        expected_status: 200,
        body_check: Some(is_valid),
    }
}

/// Threads of the load generator.
fn load_threads(options: &VerifyOptions) -> usize {
    options.threads.map_or_else(|| (report::cores() / 2).max(1), NonZeroUsize::get)
}

/// The report for people.
fn lines_of(
    options: &VerifyOptions,
    measured: &Measured,
    bare: &Summary,
    keyreeve: &Summary,
    machine: &Machine,
) -> Vec<String> {
    let row = |name: &str, summary: &Summary| {
        vec![
            name.to_owned(),
            report::grouped(summary.rps),
            report::millis(summary.p50),
            report::millis(summary.p99),
        ]
    };
    let [rps, p50, p99] = ratios(bare, keyreeve).map(report::times);
    let mut lines = vec![
        format!(
            "bench verify, mode {:?}: {} keys, {} connections over {} load threads, median of {} rounds of {} s",
            options.mode,
            options.keys(),
            options.connections,
            load_threads(options),
            options.rounds,
            options.seconds
        ),
        machine.line(),
        String::new(),
    ];
    lines.extend(report::table(&[
        vec![String::new(), "requests/s".to_owned(), "p50".to_owned(), "p99".to_owned()],
        row("bare hyper", bare),
        row("keyreeve", keyreeve),
        vec!["keyreeve / bare".to_owned(), rps, p50, p99],
    ]));
    lines.extend([
        String::new(),
        format!("answer size: {} bytes, the same from both", measured.response_bytes),
        format!("start with {} keys: {}", options.keys(), report::millis(measured.start_time)),
        format!(
            "resident memory with {} keys: {} at start, {} after the load",
            options.keys(),
            report::mebibytes(measured.resident_at_start),
            report::mebibytes(measured.resident_after_load)
        ),
    ]);
    lines
}

/// Keyreeve's figures over those of the bare server: requests a second, p50, p99.
fn ratios(bare: &Summary, keyreeve: &Summary) -> [f64; 3] {
    [
        report::ratio(keyreeve.rps, bare.rps),
        report::ratio(report::micros(keyreeve.p50), report::micros(bare.p50)),
        report::ratio(report::micros(keyreeve.p99), report::micros(bare.p99)),
    ]
}

/// The same report for programs.
fn json_of(
    options: &VerifyOptions,
    measured: &Measured,
    bare: &Summary,
    keyreeve: &Summary,
    machine: &Machine,
) -> Value {
    let [rps, p50, p99] = ratios(bare, keyreeve);
    let rounds =
        |rounds: &[LoadReport]| -> Vec<Value> { rounds.iter().map(report::round_json).collect() };
    json!({
        "bench": "verify",
        "machine": machine.json(),
        "mode": format!("{:?}", options.mode).to_lowercase(),
        "keys": options.keys(),
        "connections": options.connections.get(),
        "load_threads": load_threads(options),
        "seconds": options.seconds,
        "rounds": options.rounds.get(),
        "response_bytes": measured.response_bytes,
        "bare": { "median": bare.json(), "rounds": rounds(&measured.bare) },
        "keyreeve": { "median": keyreeve.json(), "rounds": rounds(&measured.keyreeve) },
        "ratio": { "requests_per_second": rps, "p50": p50, "p99": p99 },
        "start_time_us": report::micros(measured.start_time),
        "resident_bytes_at_start": measured.resident_at_start,
        "resident_bytes_after_load": measured.resident_after_load,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_the_verifier_key_and_the_checked_key() {
        let seeded = Seeded {
            verifier_key: "verifier".to_owned(),
            admin_key: "admin".to_owned(),
            keys: vec!["one".to_owned(), "two".to_owned()],
        };
        let requests = build_requests(&seeded, Mode::Plain);
        assert_eq!(requests.len(), 2);
        assert!(requests[0].starts_with(b"POST /api/v1/verify HTTP/1.1\r\n"));
        assert!(http::contains(&requests[0], b"Authorization: Bearer verifier\r\n"));
        let body = br#"{"key":"two","require":"documents.read"}"#;
        assert!(requests[1].ends_with(body));
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        assert!(http::contains(&requests[1], length.as_bytes()));
    }

    #[test]
    fn only_a_valid_answer_passes() {
        assert!(is_valid(br#"{"valid":true,"id":"1"}"#));
        assert!(!is_valid(br#"{"valid":false}"#));
    }

    #[test]
    fn ratios_are_keyreeve_over_bare() {
        let summary = |rps, micros| Summary {
            rps,
            p50: Duration::from_micros(micros),
            p99: Duration::from_micros(micros * 2),
        };
        let ratios = ratios(&summary(200.0, 100), &summary(150.0, 150)).map(report::times);
        assert_eq!(ratios, ["0.75x", "1.50x", "1.50x"]);
    }
}
