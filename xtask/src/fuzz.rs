//! `xtask fuzz`: every fuzz target for a while, with libFuzzer and the ordinary toolchain.
//!
//! Coverage comes from LLVM's own pass, which the stable compiler can switch on; sanitizers need
//! a nightly one and would find little in code without `unsafe`.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::workspace;

const TARGETS: [&str; 13] = [
    "key",
    "permission_query",
    "checkpoint",
    "audit_entry",
    "audit_export",
    "duration",
    "cursor",
    "policy",
    "request",
    "vault",
    "egress",
    "webhook",
    "http1_answer",
];

const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Ccodegen-units=1";

/// What to fuzz and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct FuzzArgs {
    /// Only this target.
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
}

/// Builds all targets and runs them one after the other. A crash is a failure and leaves its
/// input in `fuzz/artifacts`.
pub(crate) fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    run_targets(args.target.as_deref(), args.seconds)
}

/// A short run of every target, for the test command.
pub(crate) fn smoke() -> anyhow::Result<()> {
    run_targets(None, 3)
}

fn run_targets(only: Option<&str>, seconds: u32) -> anyhow::Result<()> {
    let folder = workspace::root()?.join("fuzz");
    let host = host_triple()?;
    let built = Command::new(workspace::cargo())
        .current_dir(&folder)
        // Named, so that build scripts and macros are built without the coverage flags.
        .args(["build", "--release", "--target", &host])
        .env("RUSTFLAGS", COVERAGE)
        .status()?;
    ensure!(built.success(), "the fuzz targets do not build");
    let binaries = folder.join("target").join(&host).join("release");
    for target in TARGETS.iter().filter(|target| only.is_none_or(|only| only == **target)) {
        let corpus = folder.join("corpus").join(target);
        let artifacts = folder.join("artifacts").join(target);
        std::fs::create_dir_all(&corpus)?;
        std::fs::create_dir_all(&artifacts)?;
        println!("fuzzing {target} for {seconds} s");
        let ran = Command::new(binaries.join(target))
            .arg(&corpus)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-verbosity=0", "-max_len=2048"])
            .status()
            .with_context(|| format!("{target} could not be started"))?;
        ensure!(ran.success(), "{target} failed; its input is in {}", artifacts.display());
    }
    Ok(())
}

fn host_triple() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc cannot be run")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_run() -> anyhow::Result<()> {
        let folder = workspace::root()?.join("fuzz/fuzz_targets");
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            files.extend(name.strip_suffix(".rs").map(str::to_owned));
        }
        files.sort_unstable();
        let mut run = TARGETS.map(str::to_owned);
        run.sort_unstable();
        assert_eq!(files, run);
        Ok(())
    }
}
