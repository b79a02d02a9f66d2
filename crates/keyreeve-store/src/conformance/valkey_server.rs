//! A private Valkey or Redis server for tests, which keeps nothing.

use std::{
    env,
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Says where the server's program is.
const PROGRAM: &str = "KEYREEVE_VALKEY";
/// Set where a missing server is a failure and not a reason to skip.
const REQUIRED: &str = "KEYREEVE_REQUIRE_PEERS";
/// How often it is asked whether it is up, and how long each time is waited.
const MOST_QUESTIONS: u32 = 200;
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(50);

/// A running server. Dropped, it ends.
pub struct ValkeyServer {
    program: PathBuf,
    port: u16,
    process: Option<Child>,
    /// Certificate and key, if it speaks TLS and nothing else.
    secured: Option<(PathBuf, PathBuf)>,
}

impl ValkeyServer {
    /// Starts a server; `None` if none is installed and none is required.
    ///
    /// # Errors
    ///
    /// One is installed or required, and does not start.
    pub fn start() -> io::Result<Option<Self>> {
        let Some(program) = program() else {
            if env::var_os(REQUIRED).is_none() {
                // Not by a macro: the test runner keeps what those print to itself.
                writeln!(io::stderr(), "\nSKIPPED: neither Valkey nor Redis is installed\n")?;
                return Ok(None);
            }
            let missing = format!("neither Valkey nor Redis is installed; see {PROGRAM}");
            return Err(io::Error::other(missing));
        };
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut server = Self { program, port, process: None, secured: None };
        server.launch()?;
        Ok(Some(server))
    }

    /// The server's address.
    pub fn url(&self) -> String {
        let scheme = if self.secured.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}/0", self.port)
    }

    /// Starts it anew as one that speaks TLS and nothing else, with the certificate and the key in
    /// these files.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn secure(&mut self, certificate: PathBuf, key: PathBuf) -> io::Result<()> {
        self.secured = Some((certificate, key));
        self.crash()?;
        self.launch()
    }

    /// Ends the server at once. All counts are gone.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub fn crash(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Starts it, again after [`ValkeyServer::crash`].
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn launch(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        let port = self.port.to_string();
        match &self.secured {
            None => command.args(["--port", &port]),
            Some((certificate, key)) => command
                .args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"])
                .arg("--tls-cert-file")
                .arg(certificate)
                .arg("--tls-key-file")
                .arg(key)
                .arg("--tls-ca-cert-file")
                .arg(certificate),
        };
        let process = command
            .args(["--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.process = Some(process);
        for _ in 0..MOST_QUESTIONS {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            thread::sleep(BETWEEN_QUESTIONS);
        }
        Err(io::Error::other("the Valkey server does not start"))
    }

    /// The server's process.
    pub fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }
}

impl Drop for ValkeyServer {
    fn drop(&mut self) {
        // It keeps nothing that a hard end could hurt.
        let _ = self.crash();
    }
}

fn program() -> Option<PathBuf> {
    if let Some(told) = env::var_os(PROGRAM) {
        return Some(told.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let named = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|p| p.is_file());
    named("valkey-server").or_else(|| named("redis-server"))
}
