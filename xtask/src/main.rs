//! Development tasks of Keyreeve: tests, tidy checks and benchmarks.
//!
//! Run as `cargo xtask TASK`; this file only dispatches.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a development task talks to the person or the CI job that started it"
)]

mod bench;
mod clock;
mod dist;
mod fuzz;
mod program;
mod test;
mod tidy;
mod workspace;

use clap::Parser;

/// Development tasks of Keyreeve.
#[derive(Debug, Parser)]
#[command(name = "xtask", about = "Development tasks of Keyreeve")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// One development task.
#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Measure Keyreeve on this machine.
    Bench(bench::BenchArgs),
    /// The bare hyper server that `bench verify` compares with and `bench proxy` puts proxies before.
    #[command(hide = true)]
    BareServer(bench::BareArgs),
    /// Build the program as it is handed out, laid out by how it is used.
    Dist(dist::DistArgs),
    /// Format check, lints, tests and the licence check.
    Test,
    /// Run the fuzz targets.
    Fuzz(fuzz::FuzzArgs),
    /// Check the rules of the tree that no compiler checks.
    Tidy,
    /// The same as `test`, held to Cargo.lock.
    Ci,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::BareServer(args) => bench::run_bare(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Test => test::run(test::Lockfile::MayChange),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Tidy => tidy::run(),
        Task::Ci => test::run(test::Lockfile::Locked),
    }
}
