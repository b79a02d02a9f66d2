//! `bench vault`: secrets read and written a second, beside OpenBao on the same machine.
//!
//! OpenBao runs with its usual store for a single machine, raft, whose writes are synced, and with an
//! audit file, which it does not sync. Keyreeve syncs its audit with every read, too. Both get the
//! same requests, `X-Vault-Token` and all, over the same number of connections.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;
use super::load::{self, LoadReport, Plan, Requests};
use super::report::{self, Format, Machine};
use super::seed;
use super::server::Server;

/// How long each run is loaded before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long one request of the preparation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of `bench vault`.
#[derive(Debug, clap::Args)]
pub(crate) struct VaultOptions {
    /// How long each run is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of each kind on each server, in turns; the one in the middle counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: u8,
    /// Connections.
    #[arg(long, default_value = "64")]
    connections: NonZeroUsize,
    /// Secrets.
    #[arg(long, default_value = "1000")]
    secrets: NonZeroUsize,
    /// The `bao` program; by default where the tests keep it.
    #[arg(long, env = "KEYREEVE_BAO")]
    bao: Option<PathBuf>,
}

/// A server that is measured, filled with secrets.
struct Candidate {
    server: Server,
    reads: Arc<Requests>,
    writes: Arc<Requests>,
    idle_bytes: u64,
    _folder: TempDir,
}

/// What one server did: of its rounds the one in the middle.
#[derive(Debug)]
struct Measured {
    name: &'static str,
    idle_bytes: u64,
    reads: LoadReport,
    writes: LoadReport,
    loaded_bytes: u64,
}

/// Loads both servers in turns, so that what else the machine does hits both, and prints the report.
pub(crate) fn run(options: &VaultOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    let both = [keyreeve(options, binaries)?, openbao(options)?];
    let holds_value: fn(&[u8]) -> bool = |body| http::contains(body, b"EXAMPLE-");
    let reads = rounds(&both, "reads", |it| &it.reads, Some(holds_value), options)?;
    let writes = rounds(&both, "writes", |it| &it.writes, None, options)?;
    let mut all = Vec::new();
    for ((candidate, reads), writes) in both.iter().zip(reads).zip(writes) {
        let (name, idle_bytes) = (candidate.server.name(), candidate.idle_bytes);
        let loaded_bytes = candidate.server.resident_bytes()?;
        all.push(Measured { name, idle_bytes, reads, writes, loaded_bytes });
    }
    let machine = Machine::this();
    report::print(format, &lines_of(options, &all, &machine), &json_of(options, &all, &machine));
    Ok(())
}

fn keyreeve(options: &VaultOptions, binaries: &Path) -> anyhow::Result<Candidate> {
    let folder = tempfile::tempdir().context("cannot create a data folder")?;
    let admin_key = seed::init(folder.path(), &[])?;
    let server = Server::keyreeve(binaries, folder.path())?;
    fill(server, folder, &admin_key, options)
}

fn openbao(options: &VaultOptions) -> anyhow::Result<Candidate> {
    let usual = crate::workspace::root()?.join("target/peers/venv/bin/bao");
    let bao = options.bao.clone().unwrap_or(usual);
    ensure!(
        bao.is_file(),
        "{} is not there: `cargo xtask test` installs it, or name another with --bao",
        bao.display()
    );
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let (server, token) = start_openbao(&bao, folder.path())?;
    fill(server, folder, &token, options)
}

/// Starts OpenBao on raft with an audit file, initialised and unsealed, with KV version 2.
fn start_openbao(bao: &Path, folder: &Path) -> anyhow::Result<(Server, String)> {
    let (api, cluster) = (super::server::free_address()?, super::server::free_address()?);
    let data = folder.join("data");
    fs::create_dir(&data)?;
    let config = format!(
        "disable_mlock = true\napi_addr = \"http://{api}\"\ncluster_addr = \"http://{cluster}\"\n\
         storage \"raft\" {{\n  path = {:?}\n  node_id = \"one\"\n}}\n\
         listener \"tcp\" {{\n  address = \"{api}\"\n  cluster_address = \"{cluster}\"\n  \
         tls_disable = true\n}}\n\
         audit \"file\" \"file\" {{\n  options {{\n    file_path = {:?}\n  }}\n}}\n",
        data.display().to_string(),
        folder.join("audit.log").display().to_string(),
    );
    let path = folder.join("config.hcl");
    fs::write(&path, config)?;
    let server = Server::openbao(bao, &path, api)?;
    let put = |path: &str, token: &str, body: &Value| -> anyhow::Result<Value> {
        let request = request("PUT", path, token, &body.to_string());
        let answer = http::exchange(api, &request, PATIENCE)?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(answer.status < 300, "OpenBao answered {} to {path}: {body}", answer.status);
        Ok(serde_json::from_str(&body).unwrap_or_default())
    };
    let made = put("/v1/sys/init", "", &json!({ "secret_shares": 1, "secret_threshold": 1 }))?;
    let token = made["root_token"].as_str().context("OpenBao gave no token")?.to_owned();
    put("/v1/sys/unseal", "", &json!({ "key": made["keys_base64"][0] }))?;
    let mount = json!({ "type": "kv", "options": { "version": "2" } });
    // It takes a moment to become active.
    let mut last = Ok(Value::Null);
    for _ in 0..100 {
        last = put("/v1/sys/mounts/secret", &token, &mount);
        if last.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    last?;
    Ok((server, token))
}

/// The bytes of a request as clients of Vault make it.
pub(super) fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Vault-Request: true\r\n\
         X-Vault-Token: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn fill(
    server: Server,
    folder: TempDir,
    token: &str,
    options: &VaultOptions,
) -> anyhow::Result<Candidate> {
    let idle_bytes = server.resident_bytes()?;
    let path = |number: usize| format!("/v1/secret/data/production/service-{number}");
    let count = options.secrets.get();
    let writes = (0..count).map(|number| {
        let value = format!("EXAMPLE-{number:032}");
        let body = json!({ "data": { "api_key": value, "user": "service" } }).to_string();
        request("PUT", &path(number), token, &body)
    });
    let writes = Requests::of(writes.collect())?;
    let mut connection = http::Connection::open(server.address(), PATIENCE)?;
    for number in 0..count {
        let status = connection.call(writes.pick(0, number))?.status;
        ensure!(status == 200 || status == 204, "{} answered {status} to a write", server.name());
    }
    let reads = (0..count).map(|number| request("GET", &path(number), token, ""));
    let reads = Requests::of(reads.collect())?;
    Ok(Candidate { server, reads, writes, idle_bytes, _folder: folder })
}

/// The same load on each in turns; of each the round in the middle.
fn rounds(
    all: &[Candidate],
    what: &str,
    requests: impl Fn(&Candidate) -> &Arc<Requests>,
    body_check: Option<fn(&[u8]) -> bool>,
    options: &VaultOptions,
) -> anyhow::Result<Vec<LoadReport>> {
    let mut measured: Vec<Vec<LoadReport>> = all.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (candidate, measured) in all.iter().zip(&mut measured) {
            let plan = Plan {
                address: candidate.server.address(),
                connections: options.connections.get(),
                threads: (report::cores() / 2).max(1),
                warm_up: WARM_UP,
                measure: Duration::from_secs(options.seconds),
                expected_status: 200,
                body_check,
            };
            let name = candidate.server.name();
            let round = load::run(&plan, requests(candidate))?;
            report::require_clean(name, &round)?;
            report::print_round(&format!("{name}, {what}"), &round);
            measured.push(round);
        }
    }
    let middle = |mut rounds: Vec<LoadReport>| {
        rounds.sort_by(|one, other| one.rps.total_cmp(&other.rps));
        let middle = rounds.len() / 2;
        rounds.into_iter().nth(middle).context("no round was measured")
    };
    measured.into_iter().map(middle).collect()
}

/// How often the first's rate is the second's.
fn over(all: &[Measured], rate: impl Fn(&Measured) -> f64) -> f64 {
    match all {
        [ours, theirs] => report::ratio(rate(ours), rate(theirs)),
        _ => 0.0,
    }
}

/// The report for people.
fn lines_of(options: &VaultOptions, all: &[Measured], machine: &Machine) -> Vec<String> {
    let heading = ["", "reads/s", "p50", "p99", "writes/s", "p50", "p99", "idle", "loaded"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|it| {
        vec![
            it.name.to_owned(),
            report::grouped(it.reads.rps),
            report::millis(it.reads.p50),
            report::millis(it.reads.p99),
            report::grouped(it.writes.rps),
            report::millis(it.writes.p50),
            report::millis(it.writes.p99),
            report::mebibytes(it.idle_bytes),
            report::mebibytes(it.loaded_bytes),
        ]
    }));
    let mut lines = vec![
        format!(
            "bench vault: {} secrets, {} connections, {} rounds of {} s each",
            options.secrets, options.connections, options.rounds, options.seconds
        ),
        machine.line(),
        String::new(),
    ];
    lines.extend(report::table(&rows));
    lines.push(String::new());
    lines.push(format!("reads: {}", report::times(over(all, |it| it.reads.rps))));
    lines.push(format!("writes: {}", report::times(over(all, |it| it.writes.rps))));
    lines
}

/// The same report for programs.
fn json_of(options: &VaultOptions, all: &[Measured], machine: &Machine) -> Value {
    let servers: Vec<Value> = all
        .iter()
        .map(|it| {
            json!({
                "name": it.name,
                "reads": report::round_json(&it.reads),
                "writes": report::round_json(&it.writes),
                "idle_bytes": it.idle_bytes,
                "loaded_bytes": it.loaded_bytes,
            })
        })
        .collect();
    json!({
        "bench": "vault",
        "machine": machine.json(),
        "secrets": options.secrets,
        "connections": options.connections,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "servers": servers,
        "reads_ratio": over(all, |it| it.reads.rps),
        "writes_ratio": over(all, |it| it.writes.rps),
    })
}
