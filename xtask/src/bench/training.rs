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
        ("KEYREEVE_LIMITS__ADMIN", "0"),
        ("KEYREEVE_LIMITS__KEY_CREATION", "0"),
        ("KEYREEVE_LIMITS__PER_IP", "0"),
    ];
    eprintln!("training: verification of keys");
    for mode in Mode::value_variants() {
        verifications(*mode, binaries, &settings)?;
    }
    keys_and_denials(binaries, &settings)?;
    calls_and_secrets(binaries, &settings)
}

/// Keys are created and listed, and what is shown that is no key is denied.
fn keys_and_denials(binaries: &Path, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    eprintln!("training: keys created and listed, and keys that are none");
    let folder = tempfile::tempdir().context("cannot create a data folder")?;
    let admin_key = seed::init(folder.path(), settings)?;
    let server = Server::node(binaries, folder.path(), settings)?;
    let key = json!({ "name": "training", "permissions": ["orders.read"] }).to_string();
    repeat(&server, 201, vec![http::post("/api/v1/api-keys", &admin_key, &key)], None)?;
    // Of another installation: well formed, and unknown here.
    let elsewhere = tempfile::tempdir().context("cannot create a data folder")?;
    let foreign = seed::init(elsewhere.path(), settings)?;
    let denied = [foreign, "no key at all".to_owned()];
    let denied = denied.map(|shown| {
        http::post("/api/v1/verify", &admin_key, &json!({ "key": shown }).to_string())
    });
    let list = http::get_showing(
        "/api/v1/api-keys?limit=20",
        "Authorization",
        &format!("Bearer {admin_key}"),
    );
    repeat(&server, 200, denied.into_iter().chain([list]).collect(), None)?;
    server.end()
}

/// Keys are verified that are bound like this.
fn verifications(mode: Mode, binaries: &Path, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot create a data folder")?;
    let admin_key = seed::init(folder.path(), settings)?;
    let seeded = seed::fill(&*seed::open(folder.path())?, admin_key, KEYS, mode, KEYS)?;
    let server = Server::node(binaries, folder.path(), settings)?;
    repeat(&server, 200, verify::build_requests(&seeded, mode), Some(verify::is_valid))?;
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
    repeat(&server, 200, calls.to_vec(), None)?;
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
    repeat(&server, 200, reads.chain(writes).collect(), None)?;
    server.end()
}

/// Makes these requests in turns for a while; each has to be answered with this status, and as is asked for.
fn repeat(
    server: &Server,
    expected_status: u16,
    requests: Vec<Vec<u8>>,
    body_check: Option<fn(&[u8]) -> bool>,
) -> anyhow::Result<()> {
    let plan = Plan {
        address: server.address(),
        connections: CONNECTIONS,
        threads: 1,
        warm_up: Duration::ZERO,
        measure: EACH,
        expected_status,
        body_check,
    };
    let requests: Arc<Requests> = Requests::of(requests)?;
    report::require_clean(server.name(), &load::run(&plan, &requests)?)
}
