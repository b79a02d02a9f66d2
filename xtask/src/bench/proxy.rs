//! `bench proxy`: requests a second, latency and throughput through Keyreeve's proxy, beside nginx and
//! Caddy on the same machine.
//!
//! All three stand in front of the same bare server, which answers only to its bearer token, and put
//! that token into every request. Keyreeve besides looks the key of the client up, checks that it may
//! use the connection, counts a limit, reads the token from the vault, looks through the answer for it,
//! and records the use. Each has the same number of threads, and connections to the bare server that
//! stay open.

mod contender;
mod figures;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::contender::{CONNECTION, TOKEN, set_up};
use self::contender::{Contender, LineUp};
use self::figures::{Measured, Rounds};
use super::load::{self, LoadReport, Plan, Requests};
use super::report::{self, Format, Machine};
use super::{bare, http, pace};

/// How long each run is loaded before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the two answers of the upstream are.
const SMALL_BYTES: usize = 200;
const BIG_MEGABYTES: u32 = 1;
const BIG_BYTES: usize = BIG_MEGABYTES as usize * 1_000_000;
/// Over how many connections big answers are asked for.
const BIG_CONNECTIONS: usize = 16;
/// How many requests a second latency is measured at, and over how many connections: as many as can
/// wait for answers of several milliseconds without holding each other up.
const RATE: u32 = 1_000;
const RATE_CONNECTIONS: usize = 8;

/// Options of `bench proxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyOptions {
    /// How long each run is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of each kind with each proxy, in turns; the median counts. Each opens its connections anew,
    /// and how evenly the system deals them to a proxy's threads can make a difference of a
    /// tenth.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: u8,
    /// Connections over which small answers are asked for.
    #[arg(long, default_value = "64")]
    connections: NonZeroUsize,
    /// Threads, or processes, of each proxy.
    #[arg(long, default_value = "2")]
    workers: NonZeroUsize,
    /// The `nginx` program; by default on the path, or where Debian has it.
    #[arg(long, env = "KEYREEVE_NGINX")]
    nginx: Option<PathBuf>,
    /// The `caddy` program; by default on the path, or where the tests keep it.
    #[arg(long, env = "KEYREEVE_CADDY")]
    caddy: Option<PathBuf>,
}

impl ProxyOptions {
    /// A load of one round over this many connections.
    fn plan(&self, to: &Contender, connections: usize, holds: fn(&[u8]) -> bool) -> Plan {
        Plan {
            address: to.server.address(),
            connections,
            threads: (report::cores() / 2).max(1),
            warm_up: WARM_UP,
            measure: Duration::from_secs(self.seconds),
            expected_status: 200,
            body_check: Some(holds),
        }
    }
}

/// Loads all in turns, so that what else the machine does hits all, and prints the report.
pub(crate) fn run(options: &ProxyOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    let LineUp { all, skipped } = LineUp::start(options, binaries)?;
    for line in &skipped {
        eprintln!("bench: {line}");
    }
    let small = in_turns(options, &all, "small answers", |it| {
        load::run(&options.plan(it, options.connections.get(), is_small), &it.small)
    })?;
    let paced = in_turns(options, &all, "at a fixed rate", |it| {
        pace::run(&options.plan(it, RATE_CONNECTIONS, is_small), RATE, &it.small)
    })?;
    let big = in_turns(options, &all, "big answers", |it| {
        load::run(&options.plan(it, BIG_CONNECTIONS, is_big), &it.big)
    })?;
    let measured: Vec<Measured> = all
        .iter()
        .zip(small)
        .zip(paced)
        .zip(big)
        .map(|(((it, small), paced), big)| Measured { name: it.server.name(), small, paced, big })
        .collect();
    let machine = Machine::this();
    report::print(
        format,
        &figures::lines_of(options, &measured, &skipped, &machine),
        &figures::json_of(options, &measured, &skipped, &machine),
    );
    Ok(())
}

/// The same load on each in turns: of each all its rounds.
fn in_turns(
    options: &ProxyOptions,
    all: &[Contender],
    what: &str,
    load: impl Fn(&Contender) -> anyhow::Result<LoadReport>,
) -> anyhow::Result<Vec<Rounds>> {
    let mut measured: Vec<Vec<LoadReport>> = all.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (contender, measured) in all.iter().zip(&mut measured) {
            let name = contender.server.name();
            let round = load(contender)?;
            report::require_clean(name, &round)?;
            report::print_round(&format!("{name}, {what}"), &round);
            measured.push(round);
        }
    }
    measured.into_iter().map(Rounds::of).collect()
}

/// Whether a body can be that of the small answer.
fn is_small(body: &[u8]) -> bool {
    body.len() >= SMALL_BYTES && http::contains(body, bare::RECORD)
}

/// Whether a body can be that of the big answer. In chunks it is a little longer.
fn is_big(body: &[u8]) -> bool {
    body.len() >= BIG_BYTES && body.len() < 2 * BIG_BYTES
}

/// One request for ever.
fn only(request: Vec<u8>) -> anyhow::Result<Arc<Requests>> {
    Requests::of(vec![request])
}
