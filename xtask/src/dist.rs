//! `xtask dist`: the program as it is handed out, laid out by how it is used.
//!
//! Much of what a request takes is spent fetching instructions, for each touches a little of a large
//! program. So a build that counts is put under load first, and what runs often then stands side by side
//! in the one that is handed out (profile-guided optimisation,
//! <https://doc.rust-lang.org/rustc/profile-guided-optimization.html>).

mod counts;
mod fit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::workspace;

/// The folder of the build that counts, and of what it counted, in the target folder.
const COUNTING: &str = "dist-counting";

/// The values that calls are made with are not counted, nor looked for: no library reads those counts.
const WITHOUT_VALUES: &str = "-Cllvm-args=-disable-vp";

/// What is counted is put in before programs are joined into a whole, so that can be left out, and takes a
/// third of the time with it. By flags: what a profile of cargo says is in the names of all functions, by
/// which the compiler finds what was counted.
const IN_PARTS: [&str; 2] = ["-Clto=off", "-Clinker-plugin-lto=off"];

/// Options of `xtask dist`.
#[derive(Debug, clap::Args)]
pub(crate) struct DistArgs {
    /// Count anew, even if there is a profile of an earlier state of the code.
    #[arg(long)]
    train: bool,
}

/// Builds the program and says where it is.
pub(crate) fn run(args: &DistArgs) -> anyhow::Result<()> {
    ensure!(
        !args.train || counts::program().is_some(),
        "nothing can be counted: llvm-profdata is not on this machine (Debian's package llvm has it)"
    );
    let built = build(args.train)?;
    println!("{}", built.folder.join("keyreeve").display());
    Ok(())
}

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// Where the program is, and this one beside it.
    pub(crate) folder: PathBuf,
    /// Whether the program is laid out by what was counted.
    pub(crate) has_profile: bool,
}

/// Builds the program, and this one beside it. What was counted before is used again with the same compiler
/// and dependencies: of functions that have changed since, the compiler leaves it out.
pub(crate) fn build(train: bool) -> anyhow::Result<Built> {
    let target = target_folder()?;
    let counting = target.join(COUNTING);
    eprintln!("dist: building what loads and measures (a quarter of an hour the first time)");
    // Without the profile: what is measured beside the program gets nothing of it.
    let tools = cargo_build(&target, "xtask", &[])?;
    let made_of = fit::made_of()?;
    let mut profile = counts::known(&counting, &made_of)?.filter(|_| !train);
    if profile.is_some() {
        eprintln!("dist: as counted before; `cargo xtask dist --train` counts anew");
    } else if let Some(profdata) = counts::program() {
        profile = Some(count(&counting, &made_of, &tools, &profdata)?);
    } else {
        eprintln!(
            "dist: SKIPPED: llvm-profdata is not on this machine, so the program is built without what \
             is counted under load, and is slower (Debian's package llvm has it)"
        );
    }
    eprintln!("dist: building what is handed out (a quarter of an hour the first time)");
    let Some(profile) = profile else {
        return Ok(Built { folder: cargo_build(&target, "keyreeve", &[])?, has_profile: false });
    };
    let laid_out = format!("-Cprofile-use={}", profile.display());
    let folder = cargo_build(&target, "keyreeve", &[&laid_out, WITHOUT_VALUES])?;
    fit::check(&profile, &folder.join("keyreeve"))?;
    Ok(Built { folder, has_profile: true })
}

/// Makes the profile: builds what counts, loads it, and puts together what it counted.
fn count(counting: &Path, made_of: &str, tools: &Path, profdata: &Path) -> anyhow::Result<PathBuf> {
    let raw = counting.join("raw");
    if raw.exists() {
        fs::remove_dir_all(&raw).context("what was counted before cannot be removed")?;
    }
    fs::create_dir_all(&raw).context("cannot create a folder for what is counted")?;
    eprintln!("dist: building what counts (a quarter of an hour the first time)");
    let [separately, without_bitcode] = IN_PARTS;
    let flags = ["-Cprofile-generate", WITHOUT_VALUES, separately, without_bitcode];
    let folder = cargo_build(counting, "keyreeve", &flags)?;
    // It looks for the program where it stands itself.
    let loader = folder.join("xtask");
    fs::copy(tools.join("xtask"), &loader).context("what loads cannot be put beside it")?;
    let trained = Command::new(&loader)
        .args(["bench", "training", "--already-release", "--counts"])
        .arg(&raw)
        .status()
        .context("the load cannot be started")?;
    ensure!(trained.success(), "the load failed ({trained})");
    counts::merge(&raw, profdata, counting, made_of)
}

/// Builds a package with the profile `dist` and these flags; gives the folder of the program. One at a
/// time: together with another one it would get that one's features, too, and what was counted would be of
/// another program.
fn cargo_build(target: &Path, package: &str, flags: &[&str]) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let built = Command::new(workspace::cargo())
        // With a target named, the flags are for the program alone, and not for what builds it.
        .args(["build", "--profile", "dist", "-p", package, "--target", &host, "--target-dir"])
        .arg(target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .current_dir(workspace::root()?)
        .status()
        .context("cannot start cargo build")?;
    ensure!(built.success(), "cargo build --profile dist failed ({built})");
    Ok(target.join(host).join("dist"))
}

/// What the compiler calls this machine.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

fn target_folder() -> anyhow::Result<PathBuf> {
    let metadata = workspace::metadata()?;
    let target = metadata["target_directory"].as_str();
    Ok(target.context("cargo metadata names no target directory")?.into())
}
