//! `bench create`: how many keys a second are created and durable, with few and many connections.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::http;
use super::load::{self, LoadReport, Plan, Requests};
use super::report::{self, Format, Machine};
use super::seed;
use super::server::Server;

/// How long each run is loaded before it counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// Options of `bench create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateOptions {
    /// How long each connection count is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connection counts, measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,64")]
    connections: Vec<NonZeroUsize>,
}

/// The figures of one connection count.
#[derive(Debug)]
struct Measured {
    connections: usize,
    report: LoadReport,
}

/// Creates keys with every connection count, and prints the report.
pub(crate) fn run(options: &CreateOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    let data = tempfile::tempdir().context("cannot create a data folder")?;
    let seeded = seed::seed(data.path(), 0, seed::Mode::Plain)?;
    let body = json!({ "name": "bench", "permissions": ["documents.read"] }).to_string();
    let request = http::post("/api/v1/api-keys", &seeded.admin_key, &body);
    let requests = Requests::of(vec![request])?;
    let keyreeve = Server::keyreeve(binaries, data.path())?;
    let mut all = Vec::new();
    for connections in options.connections.iter().map(|count| count.get()) {
        let report = load::run(&plan(&keyreeve, connections, options.seconds), &requests)?;
        report::require_clean(keyreeve.name(), &report)?;
        report::print_round(&format!("{connections} connections"), &report);
        all.push(Measured { connections, report });
    }
    let machine = Machine::this();
    report::print(format, &lines_of(options, &all, &machine), &json_of(options, &all, &machine));
    Ok(())
}

/// The load of one connection count.
fn plan(keyreeve: &Server, connections: usize, seconds: u64) -> Plan {
    Plan {
        address: keyreeve.address(),
        connections,
        threads: (report::cores() / 2).max(1),
        warm_up: WARM_UP,
        measure: Duration::from_secs(seconds),
        expected_status: 201,
        body_check: None,
    }
}

/// How much more the last connection count creates than the first.
fn last_over_first(all: &[Measured]) -> f64 {
    let rps = |measured: Option<&Measured>| measured.map_or(0.0, |it| it.report.rps);
    report::ratio(rps(all.last()), rps(all.first()))
}

/// The report for people.
fn lines_of(options: &CreateOptions, all: &[Measured], machine: &Machine) -> Vec<String> {
    let heading = ["connections", "creates/s", "p50", "p99"].map(str::to_owned);
    let mut rows = vec![Vec::from(heading)];
    rows.extend(all.iter().map(|Measured { connections, report }| {
        vec![
            connections.to_string(),
            report::grouped(report.rps),
            report::millis(report.p50),
            report::millis(report.p99),
        ]
    }));
    let mut lines = vec![
        format!("bench create: {} s for each connection count", options.seconds),
        machine.line(),
        String::new(),
    ];
    lines.extend(report::table(&rows));
    lines.push(String::new());
    lines.push(format!("creates/s, last over first: {}", report::times(last_over_first(all))));
    lines
}

/// The same report for programs.
fn json_of(options: &CreateOptions, all: &[Measured], machine: &Machine) -> Value {
    let runs: Vec<Value> = all
        .iter()
        .map(|Measured { connections, report }| {
            json!({ "connections": connections, "report": report::round_json(report) })
        })
        .collect();
    json!({
        "bench": "create",
        "machine": machine.json(),
        "seconds": options.seconds,
        "runs": runs,
        "last_over_first": last_over_first(all),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of which only the rate matters.
    fn measured(connections: usize, rps: f64) -> Measured {
        let report = LoadReport {
            requests: 1,
            seconds: 1.0,
            rps,
            p50: Duration::from_millis(1),
            p99: Duration::from_millis(2),
            p999: Duration::from_millis(3),
            max: Duration::from_millis(4),
            errors: 0,
            first_error: None,
        };
        Measured { connections, report }
    }

    #[test]
    fn the_last_count_is_compared_with_the_first() {
        let all = [measured(1, 100.0), measured(8, 400.0), measured(64, 1_500.0)];
        assert_eq!(report::times(last_over_first(&all)), "15.00x");
        assert_eq!(report::times(last_over_first(&[])), "0.00x");
    }

    #[test]
    fn the_report_has_a_row_for_every_count() {
        let options = CreateOptions { seconds: 5, connections: Vec::new() };
        let all = [measured(1, 1_234.0), measured(64, 2_468.0)];
        let machine = Machine::this();
        let text = lines_of(&options, &all, &machine).join("\n");
        assert!(text.contains("1,234"), "{text}");
        assert!(text.contains("2.00x"), "{text}");
        let json = json_of(&options, &all, &machine);
        assert_eq!(json["runs"][1]["connections"], 64);
    }
}
