//! What clients do when the server cannot be reached.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::Duration,
};

use crate::{
    cli::with_stdin,
    support::{Installation, Server, keyreeve, run_json, text},
};

const VALUE: &str = "canary-of-the-copies";
const GET: [&str; 6] = ["secret", "get", "production/app", "--field", "LEVEL", "--reveal"];
const RUN: [&str; 6] = ["run", "--environment", "production", "--", "printenv", "LEVEL"];
const EXPORT: [&str; 6] = ["secret", "export", "--environment", "production", "--form", "dotenv"];

/// A machine with a cache of its own that asks one server.
struct Machine {
    cache: tempfile::TempDir,
    url: String,
    key: String,
}

impl Machine {
    fn new(server: &Server, key: &str) -> Self {
        let cache = tempfile::tempdir().unwrap();
        Self { cache, url: server.url.clone(), key: key.to_owned() }
    }

    fn command(&self, words: &[&str], settings: &[(&str, &str)]) -> Command {
        let mut command = keyreeve();
        command.current_dir(self.cache.path()).env("XDG_CACHE_HOME", self.cache.path());
        command
            .env("KEYREEVE_CACHE__FOLDER", "auto")
            .env("KEYREEVE_URL", &self.url)
            .env("KEYREEVE_TOKEN", &self.key);
        command.args(words).envs(settings.iter().copied());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words, &[]).output().unwrap()
    }

    fn run_with(&self, words: &[&str], settings: &[(&str, &str)]) -> Output {
        self.command(words, settings).output().unwrap()
    }

    /// The files with copies.
    fn copies(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.cache.path().join("keyreeve")) else {
            return Vec::new();
        };
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// A server with one secret.
fn served() -> (Installation, Server) {
    let installation = Installation::new();
    let server = installation.serve();
    put(VALUE, &server);
    (installation, server)
}

fn put(value: &str, server: &Server) {
    let written = with_stdin(&["secret", "put", "production/app", "LEVEL=-"], value, server);
    assert!(written.status.success(), "{}", text(&written.stderr));
}

/// What a command that must succeed says, and what it tells besides.
#[track_caller]
fn good(output: &Output) -> (String, String) {
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout).trim_end().to_owned(), text(&output.stderr))
}

/// What a command tells that must fail.
#[track_caller]
fn bad(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(!text(&output.stdout).contains("canary"), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn a_copy_stands_in_for_a_server_that_is_away() {
    let (installation, server) = served();
    let machine = Machine::new(&server, &installation.admin_key);
    let exported = format!("LEVEL={VALUE}");
    let all = [(&GET, VALUE), (&RUN, VALUE), (&EXPORT, exported.as_str())];
    for (words, expected) in all {
        let (said, told) = good(&machine.run(words));
        assert!(said.replace(['"', '\''], "").contains(expected), "{said}");
        assert_eq!(told, "");
    }
    // Run and export ask for the same.
    let copies = machine.copies();
    assert_eq!(copies.len(), 2, "{copies:?}");
    for copy in &copies {
        let bytes = fs::read(copy).unwrap();
        for told in [VALUE, "LEVEL", "production", installation.admin_key.as_str()] {
            assert!(!bytes.windows(told.len()).any(|part| part == told.as_bytes()), "{told}");
        }
        let mode = fs::metadata(copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    server.kill();
    for (words, expected) in all {
        let (said, told) = good(&machine.run(words));
        assert!(said.replace(['"', '\''], "").contains(expected), "{said}");
        assert!(told.contains("cannot be reached") && told.contains("the copy of"), "{told}");
        assert!(!told.contains("warning") && !told.contains("canary"), "{told}");
    }
    // A program that is watched starts, too, and its exit code passes.
    let script = "printf %s \"$LEVEL\"; exit 7";
    let watched = ["run", "-e", "production", "--watch", "restart", "--", "sh", "-c", script];
    let output = machine.run(&watched);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), VALUE.to_owned()));
    // What was not asked for before is not there, and neither is anything for another key.
    let other = bad(&machine.run(&["secret", "get", "production/app", "--version", "1"]));
    assert!(other.contains("no server answers"), "{other}");
    let stranger = [("KEYREEVE_TOKEN", "krt_0ya4eNJa-Pve6W6vD4AE8ASP4Xj7TqYtSuh4fYx34rQ")];
    let other = bad(&machine.run_with(&GET, &stranger));
    assert!(other.contains("no server answers"), "{other}");
    assert_eq!(machine.copies().len(), 2);
}

#[test]
fn a_copy_is_used_only_while_it_is_young_enough() {
    let (installation, server) = served();
    let machine = Machine::new(&server, &installation.admin_key);
    let short = [("KEYREEVE_CACHE__FRESH", "1s")];
    let patient = [("KEYREEVE_CACHE__FRESH", "1s"), ("KEYREEVE_CACHE__STALE", "1h")];
    good(&machine.run_with(&GET, &short));
    server.kill();
    thread::sleep(Duration::from_secs(2));
    let (said, told) = good(&machine.run_with(&GET, &patient));
    assert_eq!(said, VALUE);
    assert!(told.contains("warning") && told.contains("seconds ago)"), "{told}");
    let told = bad(&machine.run_with(&GET, &short));
    assert!(told.contains("too old") && told.contains("cache.stale"), "{told}");
    assert!(told.contains("no server answers"), "{told}");
    assert!(machine.copies().is_empty());
}

#[test]
fn nothing_is_kept_where_it_is_switched_off() {
    let (installation, server) = served();
    let machine = Machine::new(&server, &installation.admin_key);
    let off = [("KEYREEVE_CACHE__FRESH", "0s")];
    for words in [GET, RUN, EXPORT] {
        good(&machine.run_with(&words, &off));
    }
    // That is how it is unless it is asked for.
    good(&machine.run_with(&GET, &[("KEYREEVE_CACHE__FOLDER", "")]));
    assert_eq!(fs::read_dir(machine.cache.path()).unwrap().count(), 0);
    server.kill();
    assert!(bad(&machine.run_with(&GET, &off)).contains("no server answers"));
}

#[test]
fn what_is_withdrawn_is_forgotten_and_what_is_changed_is_replaced() {
    let (_installation, server) = served();
    let made = run_json(&["key", "create", "--name", "a", "--role", "admin"], &server.data_dir);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let machine = Machine::new(&server, key);
    good(&machine.run(&GET));
    good(&machine.run(&RUN));
    put("canary-two", &server);
    assert_eq!(good(&machine.run(&GET)).0, "canary-two");
    assert_eq!(machine.copies().len(), 2);
    // What is gone at the server is gone here, even if nobody was refused anything.
    run_json(&["secret", "delete", "production/app"], &server.data_dir);
    bad(&machine.run(&GET));
    assert_eq!(machine.copies().len(), 1);
    put("canary-three", &server);
    good(&machine.run(&GET));
    run_json(&["key", "revoke", id, "--reason", "lost"], &server.data_dir);
    assert!(bad(&machine.run(&GET)).contains("permission denied"));
    assert!(bad(&machine.run(&RUN)).contains("permission denied"));
    assert!(machine.copies().is_empty());
    server.kill();
    assert!(bad(&machine.run(&GET)).contains("no server answers"));
}

#[test]
fn a_sealed_vault_has_answered_and_a_gateway_before_nothing_has_not() {
    let (installation, server) = served();
    let machine = Machine::new(&server, &installation.admin_key);
    good(&machine.run(&GET));
    run_json(&["vault", "seal"], &server.data_dir);
    assert!(bad(&machine.run(&GET)).contains("the vault is sealed"));
    assert_eq!(machine.copies().len(), 1);
    server.kill();
    let address = machine.url.strip_prefix("http://").unwrap();
    let gateway = TcpListener::bind(address).unwrap();
    let answers = thread::spawn(move || {
        let (mut connection, _) = gateway.accept().unwrap();
        let mut request = [0; 4096];
        assert!(connection.read(&mut request).unwrap() > 0);
        let answer =
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbad";
        connection.write_all(answer.as_bytes()).unwrap();
    });
    let (said, told) = good(&machine.run(&GET));
    answers.join().unwrap();
    assert_eq!(said, VALUE);
    assert!(told.contains("answered 502"), "{told}");
}

#[test]
fn a_copy_that_cannot_be_kept_is_no_error() {
    let (installation, server) = served();
    let machine = Machine::new(&server, &installation.admin_key);
    let folder = machine.cache.path().join("keyreeve");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let (said, told) = good(&machine.run(&GET));
    assert_eq!(said, VALUE);
    assert!(told.contains("other users may write"), "{told}");
    assert!(machine.copies().is_empty());
    // A setting that is wrong does not stand in the way either.
    let broken = [("KEYREEVE_STORE__READERS", "0")];
    let (said, told) = good(&machine.run_with(&GET, &broken));
    assert_eq!(said, VALUE);
    assert!(told.contains("store.readers"), "{told}");
}
