//! `bench training`: the load that a build which counts is put under. Nothing is measured: what many
//! requests go through is gone through often.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use serde_json::json;

use super::load::{self, Plan, Requests};
use super::proxy::{CONNECTION, TOKEN, set_up};
use super::seed::{self, Mode};
use super::server::Server;
use super::{bare, http, report, vault, verify};

/// How long each kind of request is made.
const EACH: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 16;
const KEYS: usize = 2_000;
const SECRETS: usize = 100;
/// How long one request of the preparation may take; what counts is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of `bench training`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrainingOptions {
    /// The folder that servers write what they counted into when they end.
    #[arg(long)]
    counts: PathBuf,
}

/// Loads one server after the other.
pub(crate) fn run(options: &TrainingOptions, binaries: &Path) -> anyhow::Result<()> {
    let file = options.counts.join("%p.profraw").display().to_string();
    let settings = [
        ("LLVM_PROFILE_FILE", file.as_str()),
        ("KEYREEVE_LIMITS__VIEWER", "0"),
        ("KEYREEVE_LIMITS__OPERATOR", "0"),
    ];
    eprintln!("training: verification of keys");
    for mode in Mode::value_variants() {
        verifications(*mode, binaries, &settings)?;
    }
    calls_and_secrets(binaries, &settings)
}

/// Keys are verified that are bound like this.
fn verifications(mode: Mode, binaries: &Path, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot create a data folder")?;
    let admin_key = seed::init(folder.path(), settings)?;
    let seeded = seed::fill(&*seed::open(folder.path())?, admin_key, KEYS, mode, KEYS)?;
    let server = Server::node(binaries, folder.path(), settings)?;
    repeat(&server, verify::build_requests(&seeded, mode))?;
    server.end()
}

/// Services are called through the proxy, and secrets written and read.
fn calls_and_secrets(binaries: &Path, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    eprintln!("training: calls through the proxy, secrets written and read");
    let upstream = Server::upstream(binaries, report::cores(), (200, 100_000), TOKEN)?;
    let folder = tempfile::tempdir().context("cannot create a data folder")?;
    let admin_key = seed::init(folder.path(), settings)?;
    let server = Server::node(binaries, folder.path(), settings)?;
    let key = set_up(server.address(), &admin_key, upstream.address())?;
    let calls = [bare::SMALL, bare::SMALL, bare::SMALL, bare::BIG].map(|path| {
        http::get_showing(&format!("/proxy/{CONNECTION}{path}"), "X-Keyreeve-Key", &key)
    });
    repeat(&server, calls.to_vec())?;
    let path = |number: usize| format!("/v1/secret/data/production/service-{number}");
    let writes: Vec<Vec<u8>> = (0..SECRETS)
        .map(|number| {
            let body = json!({ "data": { "api_key": format!("EXAMPLE-{number:032}") } });
            vault::request("PUT", &path(number), &admin_key, &body.to_string())
        })
        .collect();
    let mut connection = http::Connection::open(server.address(), PATIENCE)?;
    for write in &writes {
        let status = connection.call(write)?.status;
        ensure!(status == 200, "a secret was to be written, and the answer was {status}");
    }
    drop(connection);
    let reads = (0..SECRETS).map(|number| vault::request("GET", &path(number), &admin_key, ""));
    repeat(&server, reads.chain(writes).collect())?;
    server.end()
}

/// Makes these requests in turns for a while; each has to be answered with 200.
fn repeat(server: &Server, requests: Vec<Vec<u8>>) -> anyhow::Result<()> {
    let plan = Plan {
        address: server.address(),
        connections: CONNECTIONS,
        threads: 1,
        warm_up: Duration::ZERO,
        measure: EACH,
        expected_status: 200,
        body_check: None,
    };
    let requests: Arc<Requests> = Requests::of(requests)?;
    report::require_clean(server.name(), &load::run(&plan, &requests)?)
}
