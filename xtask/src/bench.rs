//! `xtask bench`: Keyreeve measured against a bare server of the same shape.
//!
//! A benchmark of unoptimised code says nothing, so the debug task builds the binaries as they
//! are handed out, as `xtask dist` does, and starts itself again from there.

mod bare;
mod cluster;
mod create;
mod engine;
mod histogram;
mod http;
mod load;
mod migrate;
mod nodes;
mod outage;
mod pace;
mod proxy;
mod report;
mod seed;
mod server;
mod streams;
mod training;
mod vault;
mod verify;
mod webhook;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::dist;

pub(crate) use bare::BareArgs;

/// Options of `xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
    /// How the result is printed.
    #[arg(long, global = true, value_enum, default_value = "table")]
    format: report::Format,
    /// Set by the task itself when it starts again from the optimised build.
    #[arg(long, global = true, hide = true)]
    already_release: bool,
}

/// What is measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Verifications a second, next to a bare hyper server on the same machine.
    Verify(verify::VerifyOptions),
    /// How long one verification takes in the process itself.
    Engine(engine::EngineBenchOptions),
    /// Keys created a second, with one connection and with many.
    Create(create::CreateOptions),
    /// How soon a revoked key is denied everywhere, with several nodes on one PostgreSQL.
    Cluster(cluster::ClusterOptions),
    /// How long an installation takes from SQLite to PostgreSQL, into a backup and back.
    Migrate(migrate::MigrateOptions),
    /// What becomes of the load while each part of a cluster is cut in turn.
    Outage(outage::OutageOptions),
    /// Secrets read and written a second, beside OpenBao.
    Vault(vault::VaultOptions),
    /// Requests a second, latency and throughput through the proxy, beside nginx and Caddy.
    Proxy(proxy::ProxyOptions),
    /// Memory of streams that are open and silent, and how soon all of them are ended.
    Streams(streams::StreamsOptions),
    /// The load under which the build for `xtask dist` counts; it measures nothing.
    #[command(hide = true)]
    Training(training::TrainingOptions),
    /// Webhooks verified a second, and events taken and durable, beside the disk's syncs.
    Webhook(webhook::WebhookOptions),
}

/// Runs a benchmark, from the optimised build.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if !args.already_release {
        return build_and_run_again();
    }
    anyhow::ensure!(
        !cfg!(debug_assertions),
        "--already-release was given to a debug build: leave it out"
    );
    let binaries = own_folder()?;
    match &args.what {
        What::Verify(options) => verify::run(options, &binaries, args.format),
        What::Engine(options) => engine::run(options, args.format),
        What::Create(options) => create::run(options, &binaries, args.format),
        What::Cluster(options) => cluster::run(options, &binaries, args.format),
        What::Migrate(options) => migrate::run(options, &binaries, args.format),
        What::Outage(options) => outage::run(options, &binaries, args.format),
        What::Vault(options) => vault::run(options, &binaries, args.format),
        What::Proxy(options) => proxy::run(options, &binaries, args.format),
        What::Streams(options) => streams::run(options, &binaries, args.format),
        What::Training(options) => training::run(options, &binaries),
        What::Webhook(options) => webhook::run(options, &binaries, args.format),
    }
}

/// Runs the bare server until it is killed.
pub(crate) fn run_bare(args: &BareArgs) -> anyhow::Result<()> {
    bare::run(args)
}

/// Builds the binaries as they are handed out and starts this task again from them, with the same arguments.
fn build_and_run_again() -> anyhow::Result<()> {
    let built = dist::build(false)?;
    let binary = built.folder.join("xtask");
    let ended = Command::new(&binary)
        .args(std::env::args_os().skip(1))
        .arg("--already-release")
        .env(
            report::BUILD,
            if built.has_profile { report::WITH_PROFILE } else { report::WITHOUT_PROFILE },
        )
        .status()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    anyhow::ensure!(ended.success(), "the benchmark failed ({ended})");
    Ok(())
}

/// The folder of the running binary: the one that holds `keyreeve` too.
fn own_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this binary is")?;
    let folder = own.parent().context("this binary has no folder")?.to_path_buf();
    let keyreeve = folder.join("keyreeve");
    anyhow::ensure!(keyreeve.is_file(), "{} does not exist", keyreeve.display());
    Ok(folder)
}
