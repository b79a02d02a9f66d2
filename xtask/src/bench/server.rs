//! A server under test: a child process that is gone when its value is dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::NamedTempFile;

use super::http;
use crate::clock;

/// How long a server may take to answer its first health check.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long one health check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(1);
/// The pause between two health checks, and so the precision of the start time.
const CHECK_PAUSE: Duration = Duration::from_millis(2);
/// How long a server that is asked to end may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How much of a server's output an error shows.
const SHOWN_OUTPUT: usize = 2_000;
/// How a server of ours says that it is well.
const HEALTHY: (&str, u16) = ("/healthz", 200);

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// At once.
    Kill,
    /// By asking it first, since it has children of its own, which only it can end.
    Ask,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    stop: Stop,
    address: SocketAddr,
    start_time: Duration,
    output: NamedTempFile,
}

impl Server {
    /// Starts Keyreeve over a data folder.
    pub(crate) fn keyreeve(binaries: &Path, data_dir: &Path) -> anyhow::Result<Self> {
        Self::node(binaries, data_dir, &[])
    }

    /// Starts Keyreeve over a data folder, with these settings.
    pub(crate) fn node(
        binaries: &Path,
        data_dir: &Path,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        Self::node_at(binaries, data_dir, settings, free_address()?)
    }

    /// The same at this address.
    pub(crate) fn node_at(
        binaries: &Path,
        data_dir: &Path,
        settings: &[(&str, &str)],
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(binaries.join("keyreeve"));
        command.envs(settings.iter().copied());
        // One caller makes all requests of a load: its own limits are not what is measured.
        for limit in ["ADMIN", "PER_IP", "KEY_CREATION"] {
            command.env(format!("KEYREEVE_LIMITS__{limit}"), "0");
        }
        command.arg("serve").arg("--data-dir").arg(data_dir);
        command.arg("--listen").arg(address.to_string());
        Self::start("keyreeve", command, address, HEALTHY, Stop::Kill)
    }

    /// Starts OpenBao with this configuration. It answers, and is not initialised yet.
    pub(crate) fn openbao(bao: &Path, config: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let mut command = Command::new(bao);
        command.arg("server").arg("-config").arg(config);
        Self::start("OpenBao", command, address, ("/v1/sys/health", 501), Stop::Kill)
    }

    /// Starts nginx in this folder, with this configuration.
    pub(crate) fn nginx(
        nginx: &Path,
        folder: &Path,
        config: &Path,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(nginx);
        command.arg("-p").arg(folder).arg("-c").arg(config).args(["-e", "stderr"]);
        Self::start("nginx", command, address, HEALTHY, Stop::Ask)
    }

    /// Starts Caddy with this configuration, on this many threads; what it writes goes into the folder.
    pub(crate) fn caddy(
        caddy: &Path,
        folder: &Path,
        config: &Path,
        address: SocketAddr,
        threads: usize,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(caddy);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
        command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        command.env("GOMAXPROCS", threads.to_string());
        Self::start("Caddy", command, address, HEALTHY, Stop::Kill)
    }

    /// Starts the bare server.
    pub(crate) fn bare(
        binaries: &Path,
        threads: usize,
        response_bytes: usize,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binaries.join("xtask"));
        command.arg("bare-server").arg("--listen").arg(address.to_string());
        command.arg("--threads").arg(threads.to_string());
        command.arg("--response-bytes").arg(response_bytes.to_string());
        Self::start("bare hyper", command, address, HEALTHY, Stop::Kill)
    }

    /// Starts the bare server as what proxies are put in front of.
    pub(crate) fn upstream(
        binaries: &Path,
        threads: usize,
        (small_bytes, big_bytes): (usize, usize),
        bearer: &str,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binaries.join("xtask"));
        command.arg("bare-server").arg("--listen").arg(address.to_string());
        command.arg("--threads").arg(threads.to_string());
        command.arg("--response-bytes").arg(small_bytes.to_string());
        command.arg("--big-bytes").arg(big_bytes.to_string());
        command.arg("--bearer").arg(bearer);
        Self::start("upstream", command, address, HEALTHY, Stop::Kill)
    }

    /// Starts the command, and waits until it answers its health check with that status.
    fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        health: (&str, u16),
        stop: Stop,
    ) -> anyhow::Result<Self> {
        let output = NamedTempFile::new().context("cannot create a file for the output")?;
        let stdout = output.reopen()?;
        let stderr = stdout.try_clone()?;
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let spawned = clock::now();
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { name, child, stop, address, start_time: Duration::ZERO, output };
        server.wait_until_ready(spawned, health)?;
        server.start_time = clock::now().duration_since(spawned);
        Ok(server)
    }

    /// Asks for the health of the server until it answers as it should.
    fn wait_until_ready(&mut self, spawned: Instant, health: (&str, u16)) -> anyhow::Result<()> {
        let (path, status) = health;
        let request = http::get(path);
        loop {
            let answer = http::exchange(self.address, &request, CHECK_LIMIT);
            if answer.as_ref().is_ok_and(|answer| answer.status == status) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended before it was ready ({status}):\n{}",
                    self.name,
                    self.last_output()
                );
            }
            if clock::now().duration_since(spawned) > START_LIMIT {
                let last = match answer {
                    Ok(answer) => format!("status {}", answer.status),
                    Err(error) => format!("{error:#}"),
                };
                bail!(
                    "{} was not ready after {} s (last health check: {last}):\n{}",
                    self.name,
                    START_LIMIT.as_secs(),
                    self.last_output()
                );
            }
            thread::sleep(CHECK_PAUSE);
        }
    }

    /// The end of what the server has printed.
    fn last_output(&self) -> String {
        let bytes = std::fs::read(self.output.path()).unwrap_or_default();
        let from = bytes.len().saturating_sub(SHOWN_OUTPUT);
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to end, and waits a moment for it.
    fn ask_to_end(&mut self) {
        let pid = self.child.id().to_string();
        let asked = clock::now();
        // While it has not been waited for, its number is nobody else's.
        let mut runs = matches!(self.child.try_wait(), Ok(None));
        if runs {
            // If it cannot be asked, the time runs out, and it is killed.
            let _ = Command::new("kill").args(["-TERM", &pid]).output();
        }
        while runs && clock::now().duration_since(asked) < STOP_LIMIT {
            thread::sleep(CHECK_PAUSE);
            runs = matches!(self.child.try_wait(), Ok(None));
        }
    }

    /// Asks the process to end, and waits until it has, and well.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        self.ask_to_end();
        let ended = self.child.try_wait()?;
        let ended = ended.with_context(|| format!("{} did not end when asked to", self.name))?;
        ensure!(ended.success(), "{} ended badly ({ended})", self.name);
        Ok(())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What reports call the server.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the start of the process to its first healthy answer.
    pub(crate) fn start_time(&self) -> Duration {
        self.start_time
    }

    /// How many bytes of memory the process holds now.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        resident_bytes_of(&status).with_context(|| format!("{path} has no VmRSS in kB"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stop == Stop::Ask {
            self.ask_to_end();
        }
        // Fails only when the process has already ended, and then there is nothing left to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address nobody listens on.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free loopback port")?;
    let address = listener.local_addr()?;
    ensure!(address.port() != 0, "the system gave no port");
    Ok(address)
}

/// The resident memory named in a `/proc/PID/status`.
fn resident_bytes_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kilobytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_a_status_file() {
        let status = "Name:\tkeyreeve\nVmPeak:\t  999 kB\nVmRSS:\t   123456 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes_of(status), Some(123_456 * 1_024));
        assert_eq!(resident_bytes_of("Name:\tzombie\n"), None);
        assert_eq!(resident_bytes_of("VmRSS:\tlots kB\n"), None);
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_output() -> anyhow::Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such folder >&2; exit 3"]);
        let failed = Server::start("a shell", command, free_address()?, HEALTHY, Stop::Kill);
        let message = failed.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("ended before it was ready"), "{message}");
        assert!(message.contains("no such folder"), "{message}");
        Ok(())
    }

    #[test]
    fn a_program_with_children_is_asked_to_end() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let (ready, ended) = (folder.path().join("ready"), folder.path().join("ended"));
        let script = format!(
            "trap 'touch {}; exit' TERM; touch {}; while :; do sleep 0.01; done",
            ended.display(),
            ready.display()
        );
        let child = Command::new("sh").args(["-c", &script]).spawn()?;
        let server = Server {
            name: "a shell",
            child,
            stop: Stop::Ask,
            address: free_address()?,
            start_time: Duration::ZERO,
            output: NamedTempFile::new()?,
        };
        let began = clock::now();
        while !ready.exists() && clock::now().duration_since(began) < START_LIMIT {
            thread::sleep(CHECK_PAUSE);
        }
        drop(server);
        assert!(ended.exists());
        Ok(())
    }
}
