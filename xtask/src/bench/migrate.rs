//! `bench migrate`: how long a whole installation takes from SQLite to PostgreSQL, and from there
//! into a backup and back.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use keyreeve_store::conformance::PostgresServer;
use serde_json::{Value, json};

use super::report::{self, Format, Machine};
use super::seed::{self, Mode};
use crate::clock;

/// Options of `bench migrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct MigrateOptions {
    /// Keys of the installation.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    keys: u32,
}

/// One step and how long it took.
struct Step {
    what: &'static str,
    took: Duration,
}

/// Runs everything, and prints the report.
pub(crate) fn run(options: &MigrateOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let path = |name: &str| folder.path().join(name);
    let data_dir = path("data");
    eprintln!("bench: seeding {} keys", options.keys);
    seed::seed(&data_dir, options.keys.try_into()?, Mode::Full)?;
    let database = PostgresServer::start_durable()?.context("PostgreSQL is not installed")?;
    let (url, other) = (database.database()?, database.database()?);
    let backup = path("backup").display().to_string();
    let keyreeve = |arguments: &[&str], data_dir: &Path, url: &str| -> anyhow::Result<Value> {
        let output = Command::new(binaries.join("keyreeve"))
            .args(arguments)
            .args(["--format", "json", "--data-dir"])
            .arg(data_dir)
            .env("KEYREEVE_STORE__URL", url)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let mut steps = Vec::new();
    let mut roots = Vec::new();
    for (what, arguments, data_dir, url) in [
        ("migrate", vec!["migrate"], data_dir.clone(), &url),
        ("migrate once more, nothing to do", vec!["migrate"], data_dir.clone(), &url),
        ("backup of PostgreSQL", vec!["backup", &backup], data_dir, &url),
        ("restore into PostgreSQL", vec!["restore", &backup], path("node"), &other),
    ] {
        eprintln!("bench: {what}");
        let begun = clock::now();
        let made = keyreeve(&arguments, &data_dir, url)?;
        steps.push(Step { what, took: clock::now().duration_since(begun) });
        roots.push(made["root"].clone());
    }
    ensure!(roots.windows(2).all(|pair| pair[0] == pair[1]), "the roots differ: {roots:?}");
    let machine = Machine::this();
    report::print(format, &lines(options, &steps, &machine), &to_json(options, &steps, &machine));
    Ok(())
}

fn lines(options: &MigrateOptions, steps: &[Step], machine: &Machine) -> Vec<String> {
    let mut rows = vec![["step", "seconds", "keys/s"].map(str::to_owned).to_vec()];
    for step in steps {
        let seconds = step.took.as_secs_f64();
        let each = report::grouped(f64::from(options.keys) / seconds);
        rows.push(vec![step.what.to_owned(), format!("{seconds:.1}"), each]);
    }
    let head = format!("bench migrate: {} keys, each with limits and a quota", options.keys);
    let mut lines = vec![head, machine.line(), String::new()];
    lines.extend(report::table(&rows));
    lines
}

fn to_json(options: &MigrateOptions, steps: &[Step], machine: &Machine) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| json!({ "step": step.what, "took_us": report::micros(step.took) }))
        .collect();
    json!({ "bench": "migrate", "machine": machine.json(), "keys": options.keys, "steps": steps })
}
