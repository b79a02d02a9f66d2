//! The figures of `bench proxy`, and what is asked of them.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::contender::{CADDY, KEYREEVE, NGINX, UPSTREAM};
use super::{
    BIG_BYTES, BIG_CONNECTIONS, BIG_MEGABYTES, ProxyOptions, RATE, RATE_CONNECTIONS, SMALL_BYTES,
};
use crate::bench::load::LoadReport;
use crate::bench::report::{self, Machine, Summary};

/// The rounds of one kind with one server.
#[derive(Debug)]
pub(super) struct Rounds {
    all: Vec<LoadReport>,
    median: Summary,
}

impl Rounds {
    /// These rounds; there is at least one.
    pub(super) fn of(all: Vec<LoadReport>) -> anyhow::Result<Self> {
        let median = Summary::of(&all).context("no round was measured")?;
        Ok(Self { all, median })
    }

    fn json(&self) -> Value {
        let rounds: Vec<Value> = self.all.iter().map(report::round_json).collect();
        json!({ "median": self.median.json(), "rounds": rounds })
    }
}

/// What one server did.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) small: Rounds,
    pub(super) paced: Rounds,
    pub(super) big: Rounds,
}

impl Measured {
    fn small_rate(&self) -> f64 {
        self.small.median.rps
    }

    fn big_megabytes(&self) -> f64 {
        self.big.median.rps * f64::from(BIG_MEGABYTES)
    }
}

/// What is asked of Keyreeve, and how far it goes.
#[derive(Debug)]
struct Asked {
    what: &'static str,
    bound: Bound,
    /// Nothing where the other one is not on this machine.
    measured: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    /// How many times as much at least.
    AtLeastTimes(f64),
    /// How many milliseconds at most.
    AtMostMillis(f64),
}

impl Bound {
    /// The bound for people.
    fn line(self) -> String {
        match self {
            Self::AtLeastTimes(least) => format!("at least {}", self.text(least)),
            Self::AtMostMillis(most) => format!("at most {}", self.text(most)),
        }
    }

    /// A figure that is held against it.
    fn text(self, figure: f64) -> String {
        match self {
            Self::AtLeastTimes(_) => report::times(figure),
            Self::AtMostMillis(_) => signed_millis(figure),
        }
    }
}

impl Asked {
    fn is_met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(match self.bound {
            Bound::AtLeastTimes(least) => measured >= least,
            Bound::AtMostMillis(most) => measured <= most,
        })
    }

    fn row(&self) -> Vec<String> {
        let met = match self.is_met() {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not known",
        };
        let measured = self.measured.map(|figure| self.bound.text(figure));
        let measured = measured.unwrap_or_else(|| "not measured".to_owned());
        vec![self.what.to_owned(), measured, self.bound.line(), met.to_owned()]
    }

    fn json(&self) -> Value {
        let (bound, asked) = match self.bound {
            Bound::AtLeastTimes(least) => ("at_least_times", least),
            Bound::AtMostMillis(most) => ("at_most_ms", most),
        };
        json!({
            "what": self.what,
            "measured": self.measured,
            bound: asked,
            "met": self.is_met(),
        })
    }
}

/// All that is asked, beside what was measured.
fn asked(all: &[Measured]) -> [Asked; 4] {
    let over = |name: &str, rate: fn(&Measured) -> f64| {
        Some(report::ratio(rate(named(all, KEYREEVE)?), rate(named(all, name)?)))
    };
    [
        Asked {
            what: "small answers/s, keyreeve over nginx",
            bound: Bound::AtLeastTimes(0.85),
            measured: over(NGINX, Measured::small_rate),
        },
        Asked {
            what: "small answers/s, keyreeve over Caddy",
            bound: Bound::AtLeastTimes(2.5),
            measured: over(CADDY, Measured::small_rate),
        },
        Asked {
            what: "p50 that keyreeve adds at the fixed rate",
            bound: Bound::AtMostMillis(0.3),
            measured: named(all, KEYREEVE).and_then(|it| added_millis(all, it)),
        },
        Asked {
            what: "MB/s of big answers, keyreeve over nginx",
            bound: Bound::AtLeastTimes(0.5),
            measured: over(NGINX, Measured::big_megabytes),
        },
    ]
}

fn named<'a>(all: &'a [Measured], name: &str) -> Option<&'a Measured> {
    all.iter().find(|it| it.name == name)
}

/// By how much the p50 at the fixed rate is above that of the upstream itself.
fn added_millis(all: &[Measured], of: &Measured) -> Option<f64> {
    let millis = |it: &Measured| report::micros(it.paced.median.p50) / 1_000.0;
    Some(millis(of) - millis(named(all, UPSTREAM)?))
}

/// Milliseconds that can be less than nothing.
fn signed_millis(millis: f64) -> String {
    format!("{millis:.3} ms")
}

/// The report for people.
pub(super) fn lines_of(
    options: &ProxyOptions,
    all: &[Measured],
    skipped: &[String],
    machine: &Machine,
) -> Vec<String> {
    let mut lines = vec![
        format!(
            "bench proxy: median of {} rounds of {} s each, {} threads for each proxy",
            options.rounds, options.seconds, options.workers
        ),
        machine.line(),
    ];
    lines.extend_from_slice(skipped);
    let small = |it: &Measured| report::grouped(it.small_rate());
    let big = |it: &Measured| report::grouped(it.big_megabytes());
    let paced = |it: &Measured| {
        let added = added_millis(all, it).filter(|_| it.name != UPSTREAM);
        added.map(signed_millis).unwrap_or_default()
    };
    let title = format!("{SMALL_BYTES} bytes, {} connections", options.connections);
    lines.extend(section(all, &title, "requests/s", |it| &it.small, small));
    let rate = report::grouped(f64::from(RATE));
    let title = format!("{SMALL_BYTES} bytes, {rate} requests/s, {RATE_CONNECTIONS} connections");
    lines.extend(section(all, &title, "added p50", |it| &it.paced, paced));
    let title = format!("{BIG_BYTES} bytes, {BIG_CONNECTIONS} connections");
    lines.extend(section(all, &title, "MB/s", |it| &it.big, big));
    lines.push(String::new());
    let heading = ["asked of keyreeve", "measured", "asked", ""].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> =
        [heading].into_iter().chain(asked(all).iter().map(Asked::row)).collect();
    lines.extend(report::table(&rows));
    lines
}

/// The table of one kind: a row for each server, with its main figure first.
fn section(
    all: &[Measured],
    title: &str,
    figure: &str,
    rounds: impl Fn(&Measured) -> &Rounds,
    main: impl Fn(&Measured) -> String,
) -> Vec<String> {
    let mut rows = vec![[title, figure, "p50", "p99"].map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|it| {
        let median = rounds(it).median;
        let (p50, p99) = (report::millis(median.p50), report::millis(median.p99));
        vec![it.name.to_owned(), main(it), p50, p99]
    }));
    let mut lines = vec![String::new()];
    lines.extend(report::table(&rows));
    lines
}

/// The same report for programs.
pub(super) fn json_of(
    options: &ProxyOptions,
    all: &[Measured],
    skipped: &[String],
    machine: &Machine,
) -> Value {
    let servers: Vec<Value> = all
        .iter()
        .map(|it| {
            json!({
                "name": it.name,
                "small": it.small.json(),
                "fixed_rate": it.paced.json(),
                "added_p50_ms": added_millis(all, it),
                "big": it.big.json(),
                "big_megabytes_per_second": it.big_megabytes(),
            })
        })
        .collect();
    json!({
        "bench": "proxy",
        "machine": machine.json(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "workers": options.workers,
        "small": { "bytes": SMALL_BYTES, "connections": options.connections },
        "fixed_rate": {
            "bytes": SMALL_BYTES,
            "connections": RATE_CONNECTIONS,
            "requests_per_second": RATE,
        },
        "big": { "bytes": BIG_BYTES, "connections": BIG_CONNECTIONS },
        "skipped": skipped,
        "servers": servers,
        "asked": asked(all).iter().map(Asked::json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: ProxyOptions,
    }

    /// A server of which only these figures matter.
    fn measured(name: &'static str, small: f64, p50: u64, big: f64) -> anyhow::Result<Measured> {
        let rounds = |rps, p50| {
            Rounds::of(vec![LoadReport {
                requests: 1,
                seconds: 1.0,
                rps,
                p50: Duration::from_micros(p50),
                p99: Duration::from_micros(p50 * 2),
                p999: Duration::ZERO,
                max: Duration::ZERO,
                errors: 0,
                first_error: None,
            }])
        };
        Ok(Measured {
            name,
            small: rounds(small, 1)?,
            paced: rounds(1_000.0, p50)?,
            big: rounds(big, 1)?,
        })
    }

    #[test]
    fn what_is_asked_stands_beside_what_was_measured() -> anyhow::Result<()> {
        let options = Line::try_parse_from(["bench"])?.options;
        let all = [
            measured(UPSTREAM, 90_000.0, 100, 3_000.0)?,
            measured(NGINX, 40_000.0, 150, 2_000.0)?,
            measured(CADDY, 10_000.0, 300, 1_500.0)?,
            measured(KEYREEVE, 36_000.0, 350, 800.0)?,
        ];
        let machine = Machine::this();
        let rows = asked(&all).map(|it| it.row().join(" | "));
        assert_eq!(
            rows,
            [
                "small answers/s, keyreeve over nginx | 0.90x | at least 0.85x | met",
                "small answers/s, keyreeve over Caddy | 3.60x | at least 2.50x | met",
                "p50 that keyreeve adds at the fixed rate | 0.250 ms | at most 0.300 ms | met",
                "MB/s of big answers, keyreeve over nginx | 0.40x | at least 0.50x | not met",
            ]
        );
        let text = lines_of(&options, &all, &[], &machine).join("\n");
        assert!(text.contains("36,000"), "{text}");
        assert!(text.contains("200 bytes, 1,000 requests/s, 8 connections"), "{text}");
        let json = json_of(&options, &all, &[], &machine);
        assert_eq!(json["asked"][3]["at_least_times"], 0.5);
        assert_eq!(json["asked"][3]["met"], false);
        assert_eq!(json["servers"][3]["big_megabytes_per_second"], 800.0);
        Ok(())
    }

    #[test]
    fn a_peer_that_is_not_there_leaves_its_figures_open() -> anyhow::Result<()> {
        let options = Line::try_parse_from(["bench"])?.options;
        let all =
            [measured(UPSTREAM, 90_000.0, 100, 3_000.0)?, measured(KEYREEVE, 36_000.0, 90, 800.0)?];
        let skipped = ["SKIPPED: nginx".to_owned(), "SKIPPED: Caddy".to_owned()];
        let machine = Machine::this();
        let rows = asked(&all).map(|it| it.row());
        assert_eq!(rows[0][1..], ["not measured", "at least 0.85x", "not known"]);
        assert_eq!(rows[2][1..], ["-0.010 ms", "at most 0.300 ms", "met"]);
        let text = lines_of(&options, &all, &skipped, &machine).join("\n");
        assert!(text.contains("\nSKIPPED: Caddy\n"), "{text}");
        let json = json_of(&options, &all, &skipped, &machine);
        assert_eq!(json["asked"][1]["measured"], Value::Null);
        assert_eq!(json["skipped"][0], "SKIPPED: nginx");
        Ok(())
    }
}
