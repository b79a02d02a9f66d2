//! `xtask test` and `xtask ci`: every check a change has to pass, in order.

mod peers;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Context as _;

use crate::{clock, fuzz, workspace};

/// Whether the run may write to Cargo.lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lockfile {
    /// A developer's run: cargo may bring the lock file up to date.
    MayChange,
    /// A CI run: a lock file that does not fit is a failure.
    Locked,
}

/// Runs every step, and stops at the first that fails. The tests come last, so that their
/// summary is what stands at the end of the output.
pub(crate) fn run(lockfile: Lockfile) -> anyhow::Result<()> {
    let started = clock::now();
    let [fmt, clippy, test] = steps(lockfile);
    run_step(&fmt, &[])?;
    run_step(&clippy, &[])?;
    let mut done = 4;
    if deny_is_installed() {
        run_step(&deny_step(lockfile), &[])?;
        done += 1;
    } else {
        eprintln!(
            "\nSKIPPED: cargo-deny is not installed: licences, bans and sources were NOT checked \
             (cargo install --locked cargo-deny)"
        );
    }
    println!("\n==> fuzz: a few seconds a target");
    fuzz::smoke()?;
    println!(
        "\n==> peers: PostgreSQL, Valkey, nginx, Caddy, bao, moto, Chromium, the SDKs of services and sshd"
    );
    let peers = peers::prepare()?;
    run_step(&test, &peers.variables)?;
    for missing in &peers.missing {
        eprintln!("\nSKIPPED: nothing was tested with {missing}");
    }
    let seconds = clock::now().duration_since(started).as_secs_f64();
    println!("\nxtask: all {done} steps passed in {seconds:.1} s");
    Ok(())
}

/// One cargo command of the run.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    name: &'static str,
    args: Vec<&'static str>,
}

/// The steps that always run.
fn steps(lockfile: Lockfile) -> [Step; 3] {
    let mut clippy = vec!["clippy", "--workspace", "--all-targets"];
    let mut test = vec!["test", "--workspace"];
    if lockfile == Lockfile::Locked {
        clippy.push("--locked");
        test.push("--locked");
    }
    clippy.extend(["--", "-D", "warnings"]);
    [
        Step { name: "fmt", args: vec!["fmt", "--all", "--check"] },
        Step { name: "clippy", args: clippy },
        Step { name: "test", args: test },
    ]
}

/// The step that runs where `cargo deny` is installed.
fn deny_step(lockfile: Lockfile) -> Step {
    let mut args = vec!["deny"];
    if lockfile == Lockfile::Locked {
        args.push("--locked");
    }
    args.extend(["check", "licenses", "bans", "sources"]);
    Step { name: "deny", args }
}

/// Whether `cargo deny` answers.
fn deny_is_installed() -> bool {
    Command::new(workspace::cargo())
        .args(["deny", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs one step with its output passed through, under a heading.
fn run_step(step: &Step, variables: &[(&'static str, PathBuf)]) -> anyhow::Result<()> {
    let Step { name, args } = step;
    println!("\n==> {name}: cargo {}", args.join(" "));
    let started = clock::now();
    let status = Command::new(workspace::cargo())
        .args(args)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(workspace::root()?)
        .status()
        .with_context(|| format!("step {name} could not be started"))?;
    let seconds = clock::now().duration_since(started).as_secs_f64();
    anyhow::ensure!(status.success(), "step {name} failed after {seconds:.1} s ({status})");
    println!("<== {name}: ok in {seconds:.1} s");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_run_is_held_to_the_lock_file() {
        let locked = steps(Lockfile::Locked);
        let expected =
            ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        assert_eq!(locked[1].args, expected);
        assert_eq!(locked[2].args, ["test", "--workspace", "--locked"]);
        assert!(deny_step(Lockfile::Locked).args.contains(&"--locked"));
    }

    #[test]
    fn a_developer_run_is_not() {
        let steps = steps(Lockfile::MayChange);
        assert!(steps.iter().all(|step| !step.args.contains(&"--locked")));
        assert_eq!(steps.map(|step| step.name), ["fmt", "clippy", "test"]);
    }
}
