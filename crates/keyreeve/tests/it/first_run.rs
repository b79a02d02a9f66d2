//! Starting: in an empty folder, a second time, and where it cannot be done.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::Stdio,
    time::Duration,
};

use keyreeve_api::VerifyRequest;

use crate::support::{Installation, Server, block_on, keyreeve, run, run_json, text};

#[test]
fn init_shows_the_key_once_and_refuses_a_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let made = run_json(&["init"], &data_dir);
    let key = made["admin_key"].as_str().unwrap();
    assert!(key.starts_with("kr_live_"));
    assert_eq!(made["url"], "http://127.0.0.1:7420");
    let mode = fs::metadata(&data_dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for file in ["keyreeve.db", "audit.key"] {
        let mode = fs::metadata(data_dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for file in fs::read_dir(&data_dir).unwrap() {
        let path = file.unwrap().path();
        let secret = &key.as_bytes()[21..];
        let holds = fs::read(&path).unwrap().windows(secret.len()).any(|w| w == secret);
        assert!(!holds, "{} holds the key", path.display());
    }
    let again = run(&["init"], &data_dir);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is already initialised"), "{}", text(&again.stderr));
    assert!(again.stdout.is_empty());
}

#[test]
fn serve_sets_an_empty_folder_up_and_shows_the_key_once() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let log = Server::start(&data_dir, &[]).stop();
    let key = log.split_whitespace().find(|word| word.starts_with("kr_live_")).unwrap();
    let server = Server::start(&data_dir, &[]);
    let client = server.client(key);
    let question = VerifyRequest::new(keyreeve_api::SecretText::new(key));
    assert!(block_on(client.verify(&question)).unwrap().valid);
    assert!(!server.stop().contains("kr_live_"), "shown a second time");
}

fn refused(data_dir: &Path, settings: &[(&str, &str)], expected: &str) {
    match Server::try_start(data_dir, settings) {
        Ok(_) => panic!("started, but {expected:?} was expected"),
        Err(log) => assert!(log.contains(expected), "{expected:?} is not in:\n{log}"),
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    refused(&file, &[], "is not a folder");
    refused(&file.join("below"), &[], "cannot write to the data folder");
    refused(&folder.path().join("x".repeat(120)), &[], "107 bytes");

    let garbage = folder.path().join("garbage");
    fs::create_dir(&garbage).unwrap();
    let installation = Installation::new();
    for name in ["audit.key", "audit.pub"] {
        fs::copy(installation.data_dir().join(name), garbage.join(name)).unwrap();
    }
    fs::write(garbage.join("keyreeve.db"), "this is no database, but it is long enough").unwrap();
    refused(&garbage, &[], "not a SQLite database");

    let foreign = garbage.join("keyreeve.db");
    fs::remove_file(&foreign).unwrap();
    let database = rusqlite::Connection::open(&foreign).unwrap();
    database.execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    drop(database);
    refused(&garbage, &[], "of another program");

    let newer = installation.data_dir().join("keyreeve.db");
    let database = rusqlite::Connection::open(&newer).unwrap();
    database.pragma_update(None, "user_version", 4711).unwrap();
    drop(database);
    refused(&installation.data_dir(), &[], "4711");
}

#[test]
fn a_lost_audit_key_and_a_rolled_back_database_are_refused() {
    let installation = Installation::new();
    let data_dir = installation.data_dir();
    let before = fs::read(data_dir.join("keyreeve.db")).unwrap();
    let server = installation.serve();
    block_on(server.client(&installation.admin_key).list_audit(&Default::default())).unwrap();
    server.stop();
    let after = fs::read(data_dir.join("keyreeve.db")).unwrap();
    fs::write(data_dir.join("keyreeve.db"), before).unwrap();
    refused(&data_dir, &[], "were anchored");
    fs::write(data_dir.join("keyreeve.db"), after).unwrap();
    installation.serve().stop();
    fs::rename(data_dir.join("audit.key"), data_dir.join("elsewhere")).unwrap();
    refused(&data_dir, &[], "audit.key is missing");
}

#[test]
fn a_second_server_is_kept_out() {
    let installation = Installation::new();
    let _first = installation.serve();
    refused(&installation.data_dir(), &[], "in use by another keyreeve server");
}

#[test]
fn a_second_signal_ends_the_drain_and_the_next_start_works() {
    let installation = Installation::new();
    let mut command = keyreeve();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(installation.data_dir());
    command.current_dir(installation.folder.path()).env("KEYREEVE_LOG__FORMAT", "json");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let serving = log.find(|line| line.contains("\"serving\"")).unwrap();
    let serving: serde_json::Value = serde_json::from_str(&serving).unwrap();
    let address = serving["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut open = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /api/v1/api-keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 15\r\n\r\n{{",
        installation.admin_key,
    );
    open.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let pid = rustix::process::Pid::from_child(&child);
    let terminate = || rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    terminate();
    assert!(log.any(|line| line.contains("stopping: ")));
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "the open request is waited for");
    terminate();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    installation.serve().stop();
}

#[test]
fn a_busy_port_leaves_an_empty_folder_empty_of_keys() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = keyreeve()
        .current_dir(folder.path())
        .args(["serve", "--listen", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("is in use by another program"), "{said}");
    assert!(!said.contains("kr_live_"), "{said}");
    // The admin key is shown by the start that works.
    let log = Server::start(&folder.path().join("keyreeve-data"), &[]).stop();
    assert!(log.contains("kr_live_"));
}

#[test]
fn a_broken_configuration_is_named_without_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    refused(&data_dir, &[("KEYREEVE_SERVER__COLOUR", "canary")], "server.colour");
    refused(&data_dir, &[("KEYREEVE_USAGE__FLUSH_INTERVAL", "canary")], "usage.flush_interval");
    refused(&data_dir, &[("KEYREEVE_KEYS__PEPPER", "canary-secret")], "keys.pepper");
    match Server::try_start(&data_dir, &[("KEYREEVE_KEYS__PEPPER", "canary-secret")]) {
        Err(log) => assert!(!log.contains("canary"), "{log}"),
        Ok(_) => panic!("a pepper in the clear was taken"),
    }
    let file = folder.path().join("keyreeve.toml");
    fs::write(&file, "[server]\nlisten = 5\n").unwrap();
    refused(&data_dir, &[], "server.listen");
    fs::write(&file, "[server\n").unwrap();
    refused(&data_dir, &[], "is not TOML");
    refused(&data_dir, &[("KEYREEVE_CONFIG", "/nowhere.toml")], "/nowhere.toml");
}

#[test]
fn a_pepper_protects_new_keys_and_leaves_old_ones_working() {
    let installation = Installation::new();
    let pepper = ("PEPPER_FOR_TEST", "0123456789abcdef0123456789abcdef");
    let settings = [("KEYREEVE_KEYS__PEPPER", "env:PEPPER_FOR_TEST"), pepper];
    let server = installation.serve_with(&settings);
    let client = server.client(&installation.admin_key);
    let made = block_on(client.create_api_key(&crate::keys::named("peppered"), None)).unwrap();
    server.stop();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    let question = VerifyRequest::new(made.key);
    assert_eq!(block_on(client.verify(&question)).unwrap().code, "NOT_FOUND");
}
