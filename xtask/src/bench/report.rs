//! How the figures of a benchmark are printed.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::load::LoadReport;

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The machine a benchmark ran on.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    /// How the program was built that is measured, as far as it is known.
    build: String,
}

/// Says how the program was built that is measured; set by the task when it starts again.
pub(crate) const BUILD: &str = "KEYREEVE_BENCH_BUILD";
/// It is as the compiler lays it out.
pub(crate) const WITHOUT_PROFILE: &str = "plain";
/// It is laid out by what was counted under a load like those that are measured.
pub(crate) const WITH_PROFILE: &str = "profile";

impl Machine {
    /// This machine.
    pub(crate) fn this() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let build = std::env::var(BUILD).unwrap_or_else(|_| "unknown".to_owned());
        Self { cores: cores(), cpu: cpu_model(&cpuinfo), build }
    }

    /// This machine, for what is measured in this very process, which no profile lays out.
    pub(crate) fn in_process() -> Self {
        Self { build: WITHOUT_PROFILE.to_owned(), ..Self::this() }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let build = match self.build.as_str() {
            WITH_PROFILE => "keyreeve is laid out by a profile of such loads, nothing else is",
            WITHOUT_PROFILE => "no profile was used",
            _ => "it is not known how keyreeve was built",
        };
        format!(
            "machine: {} cores, {}; servers and load generator ran on it in the same run; {build}",
            self.cores, self.cpu
        )
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        json!({ "cores": self.cores, "cpu": self.cpu, "same_run": true, "build": self.build })
    }
}

/// The cores this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The first processor model named in a `/proc/cpuinfo`.
fn cpu_model(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "model name")
        .map_or_else(|| "unknown processor".to_owned(), |(_, model)| model.trim().to_owned())
}

/// The medians of several rounds, each figure by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    /// Requests a second.
    pub(crate) rps: f64,
    /// Half of the requests took at most this long.
    pub(crate) p50: Duration,
    /// 99 of a hundred took at most this long.
    pub(crate) p99: Duration,
}

impl Summary {
    /// The medians of these rounds; with an even number, the upper of the two in the middle.
    pub(crate) fn of(rounds: &[LoadReport]) -> Option<Self> {
        let mut rps: Vec<f64> = rounds.iter().map(|round| round.rps).collect();
        rps.sort_by(f64::total_cmp);
        Some(Self {
            rps: rps.get(rps.len() / 2).copied()?,
            p50: median(rounds.iter().map(|round| round.p50).collect())?,
            p99: median(rounds.iter().map(|round| round.p99).collect())?,
        })
    }

    /// The summary for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "requests_per_second": self.rps,
            "p50_us": micros(self.p50),
            "p99_us": micros(self.p99),
        })
    }
}

/// The middle of a set of durations.
fn median(mut set: Vec<Duration>) -> Option<Duration> {
    set.sort_unstable();
    set.get(set.len() / 2).copied()
}

/// One round for programs.
pub(crate) fn round_json(round: &LoadReport) -> Value {
    json!({
        "requests": round.requests,
        "seconds": round.seconds,
        "requests_per_second": round.rps,
        "p50_us": micros(round.p50),
        "p99_us": micros(round.p99),
        "p999_us": micros(round.p999),
        "max_us": micros(round.max),
        "errors": round.errors,
    })
}

/// One round as a line of progress, on the error output.
pub(crate) fn print_round(name: &str, round: &LoadReport) {
    eprintln!(
        "bench: {name}: {}/s, p50 {}, p99 {}, p99.9 {}, max {} ({} requests in {:.1} s)",
        grouped(round.rps),
        millis(round.p50),
        millis(round.p99),
        millis(round.p999),
        millis(round.max),
        round.requests,
        round.seconds
    );
}

/// Fails when a round got an answer it did not expect: its other figures would mean nothing.
pub(crate) fn require_clean(name: &str, round: &LoadReport) -> anyhow::Result<()> {
    anyhow::ensure!(
        round.errors == 0,
        "{name}: {} answers were not the expected ones; the first: {}",
        round.errors,
        round.first_error.as_deref().unwrap_or("unknown")
    );
    Ok(())
}

/// Prints a report in the format that was asked for.
pub(crate) fn print(format: Format, lines: &[String], json: &Value) {
    match format {
        Format::Table => println!("{}", lines.join("\n")),
        Format::Json => println!("{json:#}"),
    }
}

/// Lines of aligned columns: the first to the left, the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| {
                    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                })
                .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A whole number with commas between its thousands.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1_000.0)
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000_000.0
}

/// Memory in mebibytes.
pub(crate) fn mebibytes(bytes: u64) -> String {
    let kibibytes = f64::from(u32::try_from(bytes / 1_024).unwrap_or(u32::MAX));
    format!("{:.1} MiB", kibibytes / 1_024.0)
}

/// How many times the second figure goes into the first; zero over zero is zero.
pub(crate) fn ratio(figure: f64, base: f64) -> f64 {
    if base > 0.0 { figure / base } else { 0.0 }
}

/// A ratio as text.
pub(crate) fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of which only these figures matter.
    fn round(rps: f64, p50: u64, p99: u64) -> LoadReport {
        LoadReport {
            requests: 1,
            seconds: 1.0,
            rps,
            p50: Duration::from_micros(p50),
            p99: Duration::from_micros(p99),
            p999: Duration::ZERO,
            max: Duration::ZERO,
            errors: 0,
            first_error: None,
        }
    }

    #[test]
    fn a_summary_takes_the_median_of_each_figure() {
        let rounds = [round(10.0, 3, 90), round(30.0, 1, 70), round(20.0, 2, 80)];
        let summary = Summary::of(&rounds).map(|it| (grouped(it.rps), it.p50, it.p99));
        let (p50, p99) = (Duration::from_micros(2), Duration::from_micros(80));
        assert_eq!(summary, Some(("20".to_owned(), p50, p99)));
        assert!(Summary::of(&[]).is_none());
    }

    #[test]
    fn a_round_with_errors_is_not_clean() {
        let mut faulty = round(1.0, 1, 1);
        assert!(require_clean("bare", &faulty).is_ok());
        faulty.errors = 2;
        assert!(require_clean("bare", &faulty).is_err());
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0.0), "0");
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(1_234.0), "1,234");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }

    #[test]
    fn a_table_is_aligned() {
        let rows = [
            vec![String::new(), "p50".to_owned()],
            vec!["keyreeve".to_owned(), "0.125 ms".to_owned()],
        ];
        assert_eq!(table(&rows), ["               p50", "keyreeve  0.125 ms"]);
    }

    #[test]
    fn the_processor_is_named() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Fast CPU @ 3.0GHz\nmodel name\t: other\n";
        assert_eq!(cpu_model(cpuinfo), "Fast CPU @ 3.0GHz");
        assert_eq!(cpu_model(""), "unknown processor");
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(millis(Duration::from_micros(1_500)), "1.500 ms");
        assert_eq!(mebibytes(3 * 1_024 * 1_024), "3.0 MiB");
        assert_eq!(times(ratio(3.0, 2.0)), "1.50x");
        assert_eq!(times(ratio(3.0, 0.0)), "0.00x");
    }
}
