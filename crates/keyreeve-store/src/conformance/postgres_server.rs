//! A private PostgreSQL server for tests, in a temporary folder.

use std::{
    env, fs,
    io::{self, Write as _},
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use keyreeve_engine::store::StoreError;

use crate::postgres::run_once;

/// Says where the server's programs are.
const PROGRAMS: &str = "KEYREEVE_POSTGRES";
/// Set where a missing server is a failure and not a reason to skip.
const REQUIRED: &str = "KEYREEVE_REQUIRE_PEERS";
/// Where Debian has them, by version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// How often it is asked whether it is up, and how long each time is waited.
const MOST_QUESTIONS: u32 = 300;
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(100);

/// A running server. Dropped, it ends and its folder goes.
pub struct PostgresServer {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
    databases: AtomicU32,
    /// Whether it speaks TLS.
    is_secure: bool,
    /// Whether what it commits is on the disk, which tests need not wait for.
    is_durable: bool,
    /// What lets in; everybody is let in without one.
    password: Option<String>,
}

impl PostgresServer {
    /// Starts a server; `None` if none is installed and none is required.
    ///
    /// # Errors
    ///
    /// One is installed or required, and does not start.
    pub fn start() -> io::Result<Option<Self>> {
        Self::start_as(false, None)
    }

    /// The same for whoever knows this password.
    ///
    /// # Errors
    ///
    /// As of [`PostgresServer::start`].
    pub fn start_with_password(password: &str) -> io::Result<Option<Self>> {
        Self::start_as(false, Some(password))
    }

    /// The same with what it commits brought to the disk, as in earnest.
    ///
    /// # Errors
    ///
    /// As of [`PostgresServer::start`].
    pub fn start_durable() -> io::Result<Option<Self>> {
        Self::start_as(true, None)
    }

    fn start_as(is_durable: bool, password: Option<&str>) -> io::Result<Option<Self>> {
        match programs() {
            Some(programs) => Self::start_in(programs, is_durable, password).map(Some),
            None if env::var_os(REQUIRED).is_none() => {
                // Not by a macro: the test runner keeps what those print to itself.
                writeln!(io::stderr(), "\nSKIPPED: PostgreSQL is not installed\n")?;
                Ok(None)
            }
            None => Err(io::Error::other(format!("PostgreSQL is not installed; see {PROGRAMS}"))),
        }
    }

    fn start_in(programs: PathBuf, is_durable: bool, password: Option<&str>) -> io::Result<Self> {
        let folder = unique_folder()?;
        if is_root()? {
            // The server refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(&folder))?;
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut server = Self {
            programs,
            folder,
            port,
            process: None,
            databases: AtomicU32::new(0),
            is_secure: false,
            is_durable,
            password: password.map(str::to_owned),
        };
        let data = server.folder.join("data");
        let password = server.folder.join("password");
        fs::write(&password, server.password.as_deref().unwrap_or_default())?;
        let mut command = server.program("initdb")?;
        match server.password {
            None => command.args(["-A", "trust"]),
            Some(_) => command.args(["-A", "scram-sha-256", "--pwfile"]).arg(&password),
        };
        run(command
            .args(["-U", "keyreeve", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(data))?;
        server.launch()?;
        Ok(server)
    }

    /// The address of a fresh database.
    ///
    /// # Errors
    ///
    /// The server does not make one.
    pub fn database(&self) -> Result<String, StoreError> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        run_once(&self.url("postgres"), &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// Starts it anew as one that speaks TLS as well, with this certificate and its key in PEM.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn secure(&mut self, certificate: &str, key: &str) -> io::Result<()> {
        let data = self.folder.join("data");
        for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
            fs::write(data.join(name), pem)?;
            run(Command::new("chmod").arg("600").arg(data.join(name)))?;
            if is_root()? {
                run(Command::new("chown").arg("postgres").arg(data.join(name)))?;
            }
        }
        self.is_secure = true;
        self.crash()?;
        self.launch()
    }

    fn url(&self, database: &str) -> String {
        let password = self.password.as_ref().map(|it| format!(":{it}")).unwrap_or_default();
        format!("postgres://keyreeve{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends the server at once, as a crash does. Its processes notice and end, too.
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

    /// Starts it, again after [`PostgresServer::crash`].
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn launch(&mut self) -> io::Result<()> {
        let log = fs::File::create(self.folder.join("log"))?;
        let process = self
            .program("postgres")?
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", self.port)])
            .args(["-c", &format!("unix_socket_directories={}", self.folder.display())])
            .args(["-c", "max_connections=200"])
            .args(["-c", if self.is_durable { "fsync=on" } else { "fsync=off" }])
            .args([
                "-c",
                if self.is_durable { "full_page_writes=on" } else { "full_page_writes=off" },
            ])
            .args(["-c", if self.is_secure { "ssl=on" } else { "ssl=off" }])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.process = Some(process);
        for _ in 0..MOST_QUESTIONS {
            if run_once(&self.url("postgres"), "SELECT 1").is_ok() {
                return Ok(());
            }
            thread::sleep(BETWEEN_QUESTIONS);
        }
        Err(io::Error::other(fs::read_to_string(self.folder.join("log"))?))
    }

    /// The server's process and those it started.
    pub fn processes(&self) -> Vec<u32> {
        let Some(server) = &self.process else { return Vec::new() };
        let children = format!("/proc/{0}/task/{0}/children", server.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(server.id()).chain(children).collect()
    }

    /// One of the server's programs, to be run by whoever may.
    fn program(&self, name: &str) -> io::Result<Command> {
        let program = self.programs.join(name);
        let mut command = if is_root()? {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // Its own: the folder the tests run in may be closed to it.
        command.current_dir(&self.folder);
        Ok(command)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // SIGINT: it ends its connections and cleans up.
            let _ = run(Command::new("kill").args(["-INT", &process.id().to_string()]));
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where the programs of the newest installed server are.
fn programs() -> Option<PathBuf> {
    if let Some(told) = env::var_os(PROGRAMS) {
        return Some(told.into());
    }
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| version(path));
    let on_path = env::var_os("PATH").unwrap_or_default();
    let newest = newest.map(|version| version.join("bin"));
    newest
        .into_iter()
        .chain(env::split_paths(&on_path))
        .find(|folder| folder.join("initdb").is_file())
}

fn unique_folder() -> io::Result<PathBuf> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1_000 {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("keyreeve-pg-{}-{number}", std::process::id()));
        match fs::create_dir(&folder) {
            // Left behind by a process of that number that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
    Err(io::Error::other("the temporary folder is full of what earlier servers left behind"))
}

fn is_root() -> io::Result<bool> {
    // Whoever owns what this process makes is whom it runs as.
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}
