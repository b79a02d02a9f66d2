//! `xtask dist`: the program as it is handed out, laid out by how it is used.
//!
//! Much of what a request takes is spent fetching instructions, for each touches a little of a large
//! program. So a build that counts is put under load first, and what runs often then stands side by side
//! in the one that is handed out (profile-guided optimisation,
//! <https://doc.rust-lang.org/rustc/profile-guided-optimization.html>).

mod counts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::workspace;

/// The folder of the build that counts, and of what it counted, in the target folder.
const COUNTING: &str = "dist-counting";

/// The values that calls are made with are not counted, nor looked for: no library reads those counts.
const WITHOUT_VALUES: &str = "-Cllvm-args=-disable-vp";

/// Whether all crates are made into one program as a whole at the end, or each for itself.
const WHOLE: &str = "fat";
const IN_PARTS: &str = "off";

/// Options of `xtask dist`.
#[derive(Debug, clap::Args)]
pub(crate) struct DistArgs {
    /// Count anew, even if there is a profile of an earlier state of the code.
    #[arg(long)]
    train: bool,
}

/// Builds the program and says where it is.
pub(crate) fn run(args: &DistArgs) -> anyhow::Result<()> {
    let folder = build(args.train)?;
    println!("{}", folder.join("keyreeve").display());
    Ok(())
}

/// Builds the program, and this one beside it; gives their folder. What was counted before is used again:
/// where the code has changed since, the compiler leaves that part of it out.
pub(crate) fn build(train: bool) -> anyhow::Result<PathBuf> {
    let target = target_folder()?;
    let counting = target.join(COUNTING);
    eprintln!("dist: building what loads and measures (a quarter of an hour the first time)");
    // Without the profile: what is measured beside the program gets nothing of it.
    let tools = cargo_build(&target, "xtask", &[], WHOLE)?;
    let mut profile = counts::known(&counting)?.filter(|_| !train);
    if profile.is_some() {
        eprintln!("dist: as counted before; `cargo xtask dist --train` counts anew");
    } else if let Some(profdata) = counts::program() {
        profile = Some(count(&counting, &tools, &profdata)?);
    } else {
        eprintln!(
            "dist: SKIPPED: llvm-profdata is not on this machine, so the program is built without what \
             is counted under load, and is slower (Debian's package llvm has it)"
        );
    }
    eprintln!("dist: building what is handed out (a quarter of an hour the first time)");
    let laid_out =
        profile.map(|it| [format!("-Cprofile-use={}", it.display()), WITHOUT_VALUES.to_owned()]);
    let flags = laid_out.as_ref().map_or(&[][..], |flags| flags.as_slice());
    cargo_build(&target, "keyreeve", flags, WHOLE)
}

/// Makes the profile: builds what counts, loads it, and puts together what it counted.
fn count(counting: &Path, tools: &Path, profdata: &Path) -> anyhow::Result<PathBuf> {
    let raw = counting.join("raw");
    if raw.exists() {
        fs::remove_dir_all(&raw).context("what was counted before cannot be removed")?;
    }
    fs::create_dir_all(&raw).context("cannot create a folder for what is counted")?;
    eprintln!("dist: building what counts (a quarter of an hour the first time)");
    let flags = ["-Cprofile-generate".to_owned(), WITHOUT_VALUES.to_owned()];
    // What is counted is put in before programs are joined into a whole: that can be left out here.
    let folder = cargo_build(counting, "keyreeve", &flags, IN_PARTS)?;
    // It looks for the program where it stands itself.
    let loader = folder.join("xtask");
    fs::copy(tools.join("xtask"), &loader).context("what loads cannot be put beside it")?;
    let trained = Command::new(&loader)
        .args(["bench", "training", "--already-release", "--counts"])
        .arg(&raw)
        .status()
        .context("the load cannot be started")?;
    ensure!(trained.success(), "the load failed ({trained})");
    counts::merge(&raw, profdata, counting)
}

/// Builds a package with the profile `dist` and these flags; gives the folder of the program. One at a
/// time: together with another one it would get that one's features, too, and what was counted would be of
/// another program.
fn cargo_build(
    target: &Path,
    package: &str,
    flags: &[String],
    lto: &str,
) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let built = Command::new(workspace::cargo())
        // With a target named, the flags are for the program alone, and not for what builds it.
        .args(["build", "--profile", "dist", "-p", package, "--target", &host, "--target-dir"])
        .arg(target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_PROFILE_DIST_LTO", lto)
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
