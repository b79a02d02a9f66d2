//! Starts the binary and talks to it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use keyreeve_api::{Client, Endpoint};
use keyreeve_core::Secret;
use serde_json::Value;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The limits on calls of the server itself.
const LIMITS: [&str; 7] =
    ["ANONYMOUS", "VIEWER", "OPERATOR", "ADMIN", "PER_IP", "FAILED_AUTH", "KEY_CREATION"];

/// The binary, with an environment of its own.
pub(crate) fn keyreeve() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyreeve"));
    for (name, _) in std::env::vars() {
        if name.starts_with("KEYREEVE_") || name == "NO_COLOR" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str], data_dir: &Path) -> Output {
    let mut command = keyreeve();
    command.current_dir(data_dir.parent().unwrap()).args(arguments);
    command.arg("--data-dir").arg(data_dir).output().unwrap()
}

/// Runs the binary, which must succeed, and reads its JSON.
pub(crate) fn run_json(arguments: &[&str], data_dir: &Path) -> Value {
    let output = run(&[arguments, &["--format", "json"]].concat(), data_dir);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running server on a port of its own. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) data_dir: PathBuf,
    /// Everything it wrote to standard error, once it has ended.
    log: Option<thread::JoinHandle<String>>,
}

/// An installation with its admin key. The folder goes when this goes.
pub(crate) struct Installation {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) admin_key: String,
}

impl Installation {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = run_json(&["init"], &folder.path().join("data"));
        let admin_key = made["admin_key"].as_str().unwrap().to_owned();
        Self { folder, admin_key }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn serve(&self) -> Server {
        Server::start(&self.data_dir(), &[])
    }

    pub(crate) fn serve_with(&self, settings: &[(&str, &str)]) -> Server {
        Server::start(&self.data_dir(), settings)
    }
}

impl Server {
    /// Starts a server and waits until it serves.
    pub(crate) fn start(data_dir: &Path, settings: &[(&str, &str)]) -> Self {
        Self::try_start(data_dir, settings).unwrap_or_else(|log| panic!("did not start: {log}"))
    }

    /// Starts a server, or gives what it said instead.
    pub(crate) fn try_start(data_dir: &Path, settings: &[(&str, &str)]) -> Result<Self, String> {
        Self::try_start_as(keyreeve(), data_dir, settings)
    }

    /// The same with a command that ends in the program.
    pub(crate) fn try_start_as(
        mut command: Command,
        data_dir: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, String> {
        command.args(["serve", "--listen", "127.0.0.1:0", "--threads", "2", "--data-dir"]);
        let folder = data_dir.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap();
        command.arg(data_dir).current_dir(folder);
        command.env("KEYREEVE_LOG__FORMAT", "json");
        // On, but out of the way of tests that are about something else.
        for limit in LIMITS {
            command.env(format!("KEYREEVE_LIMITS__{limit}"), "1000000");
        }
        for (name, value) in settings {
            command.env(name, value);
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (found, url) = mpsc::channel();
        let log = thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str::<Value>(&line)
                    && event["message"] == "serving"
                {
                    let _ = found.send(event["url"].as_str().unwrap().to_owned());
                }
                all.push_str(&line);
                all.push('\n');
            }
            all
        });
        if let Ok(url) = url.recv_timeout(PATIENCE) {
            Ok(Self { child, url, data_dir: data_dir.to_owned(), log: Some(log) })
        } else {
            let _ = child.kill();
            let _ = child.wait();
            Err(log.join().unwrap())
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client over TCP with this key.
    pub(crate) fn client(&self, key: &str) -> Arc<Client> {
        let token = Secret::new(key.to_owned());
        Arc::new(Client::new(Endpoint::Url(self.url.clone()), Some(&token), None).unwrap())
    }

    /// A client over the local socket.
    pub(crate) fn local(&self, project: Option<&str>) -> Client {
        let socket = Endpoint::Socket(self.data_dir.join("keyreeve.sock"));
        Client::new(socket, None, project.map(str::to_owned)).unwrap()
    }

    /// Ends the process at once, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the server to stop, waits, and gives its log.
    pub(crate) fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert!(status.success(), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs async test code.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A plain HTTP client, for requests that the typed one cannot make.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// The error code of a problem, and its field problems as `field: rule`.
pub(crate) async fn problem(response: reqwest::Response) -> (u16, String, Vec<String>) {
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/problem+json");
    let problem: keyreeve_api::Problem = response.json().await.unwrap();
    assert_eq!(problem.status, status);
    let fields =
        problem.errors.iter().map(|error| format!("{}: {}", error.field, error.rule)).collect();
    (status, problem.code, fields)
}

/// The code of a refusal by the typed client.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, keyreeve_api::ClientError>) -> String {
    match result.unwrap_err() {
        keyreeve_api::ClientError::Refused(problem) => problem.code,
        other => panic!("{other}"),
    }
}
