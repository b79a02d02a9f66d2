//! The command line as people and scripts use it.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::support::{Installation, Server, keyreeve, run, run_json, text};

pub(crate) fn with_stdin(arguments: &[&str], stdin: &str, server: &Server) -> Output {
    let mut command = keyreeve();
    command.args(arguments).arg("--data-dir").arg(&server.data_dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_main_way_through() {
    let installation = Installation::new();
    let server = installation.serve();
    let data_dir = installation.data_dir();
    let made = run_json(
        &[
            "key",
            "create",
            "--name",
            "demo",
            "--owner",
            "acme",
            "--permission",
            "documents.read",
            "--expires-in",
            "30d",
        ],
        &data_dir,
    );
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(made["expires_at"].is_string());
    let good = with_stdin(&["key", "verify", "--require", "documents.read"], key, &server);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let bad = with_stdin(&["key", "verify", "--require", "documents.write"], key, &server);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stdout).contains("documents.write"));

    let shown = run_json(&["key", "show", id], &data_dir);
    assert_eq!(shown["owner"], "acme");
    assert!(shown.get("key").is_none());
    let rotated = run_json(&["key", "rotate", id, "--grace", "1h"], &data_dir);
    assert_ne!(rotated["id"], made["id"]);
    assert_ne!(rotated["key"], made["key"]);
    assert!(rotated["grace_ends_at"].is_string());
    let revoked = run_json(&["key", "revoke", id, "--reason", "leaked"], &data_dir);
    assert_eq!(revoked["state"], "revoked");
    let dead = with_stdin(&["key", "verify", "--format", "json"], key, &server);
    assert_eq!(dead.status.code(), Some(1));
    let verdict: Value = serde_json::from_slice(&dead.stdout).unwrap();
    assert_eq!(verdict["code"], "REVOKED");

    let listed = text(&run(&["key", "list"], &data_dir).stdout);
    assert!(listed.contains(id) && listed.contains("revoked"), "{listed}");
    let audit = run_json(&["audit", "list", "--target", id], &data_dir);
    assert_eq!(audit["items"].as_array().map(Vec::len), Some(3), "{audit}");
    run_json(&["audit", "verify"], &data_dir);
}

#[test]
fn everything_else_has_a_command() {
    let installation = Installation::new();
    let _server = installation.serve();
    let data_dir = installation.data_dir();
    let ok = |arguments: &[&str]| {
        run_json(arguments, &data_dir);
    };
    ok(&["keyspace", "create", "mobile", "--prefix", "acme_m", "--default-expires-in", "never"]);
    ok(&["keyspace", "update", "mobile", "--default-grace", "2h"]);
    ok(&["keyspace", "list"]);
    ok(&["role", "create", "reader", "--permission", "a.read"]);
    ok(&["role", "show", "reader"]);
    ok(&["owner", "create", "globex", "--name", "Globex"]);
    ok(&["owner", "list"]);
    ok(&["environment", "create", "qa", "--tag", "test"]);
    let made = run_json(
        &[
            "key",
            "create",
            "--name",
            "edge",
            "--role",
            "verifier",
            "--keyspace",
            "mobile",
            "--env",
            "qa",
            "--tag",
            "edge",
        ],
        &data_dir,
    );
    assert!(made["key"].as_str().unwrap().starts_with("acme_m_test_"));
    let id = made["id"].as_str().unwrap();
    ok(&["key", "update", id, "--name", "edge-2", "--owner", "globex"]);
    ok(&["key", "disable", id]);
    ok(&["key", "enable", id]);
    ok(&["key", "delete", id]);
    ok(&["key", "undelete", id]);
    ok(&["key", "expiring", "--days", "365"]);
    ok(&["key", "cleanup-expired", "--dry-run"]);
    ok(&["project", "create", "other"]);
    ok(&["project", "list"]);
    ok(&["audit", "checkpoint"]);
    ok(&["doctor"]);
    ok(&["role", "delete", "reader"]);
    for command in [&["completions", "bash"][..], &["manual"]] {
        let output = run(command, &data_dir);
        assert!(output.status.success() && output.stdout.len() > 1000, "{command:?}");
    }
}

#[test]
fn errors_say_what_to_do_next() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let output = run(&["key", "list"], &data_dir);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("keyreeve serve") && said.contains("--url"), "{said}");

    let installation = Installation::new();
    let server = installation.serve();
    let remote = |key: Option<&str>, arguments: &[&str]| {
        let mut command = keyreeve();
        command.args(arguments).args(["--url", &server.url, "--format", "json"]);
        if let Some(key) = key {
            command.env("KEYREEVE_TOKEN", key);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        serde_json::from_slice::<Value>(&output.stderr).unwrap()
    };
    let error = remote(None, &["key", "list"]);
    assert_eq!(error["error"]["code"], "unauthenticated");
    assert!(error["error"]["hint"].as_str().unwrap().contains("KEYREEVE_TOKEN"));
    let error = remote(Some(&installation.admin_key), &["key", "show", "AAAAAAAAAAAA"]);
    assert_eq!(error["error"]["code"], "not_found");
    let error = remote(Some(&installation.admin_key), &["key", "create", "--name", " x"]);
    assert_eq!(error["error"]["errors"][0]["field"], "name");

    let usage = run(&["key", "create"], &data_dir);
    assert_eq!(usage.status.code(), Some(2));
    assert!(text(&usage.stderr).contains("--name"));
}

#[test]
fn wrong_usage_is_json_where_json_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    for format in [&["--format", "json"][..], &["--format=json"]] {
        let output = run(&[&["key", "list", "--limit", "0"], format].concat(), &data_dir);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let failure: Value = serde_json::from_slice(&output.stderr).unwrap();
        let message = failure["error"]["message"].as_str().unwrap();
        assert!(message.contains("--limit") && !message.starts_with("error"), "{message}");
        assert!(failure["error"]["hint"].is_string(), "{failure}");
    }
    for plain in ["--help", "--version"] {
        let output = run(&[plain, "--format", "json"], &data_dir);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("keyreeve") && output.stderr.is_empty());
    }
}

#[test]
fn a_key_that_is_set_acts_on_the_socket_too() {
    let installation = Installation::new();
    let _server = installation.serve();
    let data_dir = installation.data_dir();
    let weak = run_json(&["key", "create", "--name", "weak"], &data_dir);
    let listing = |key: &str| {
        let mut command = keyreeve();
        command.args(["key", "list", "--format", "json", "--data-dir"]).arg(&data_dir);
        command.env("KEYREEVE_TOKEN", key).output().unwrap()
    };
    let refused = listing(weak["key"].as_str().unwrap());
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stdout));
    let error: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(error["error"]["code"], "forbidden");
    let allowed = listing(&installation.admin_key);
    assert_eq!(allowed.status.code(), Some(0), "{}", text(&allowed.stderr));
    run_json(&["key", "list"], &data_dir);
}

#[test]
fn a_key_is_never_an_argument() {
    let installation = Installation::new();
    let output = run(&["key", "verify", &installation.admin_key], &installation.data_dir());
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).contains(&installation.admin_key[21..]));
}

#[test]
fn the_doctor_names_what_is_wrong() {
    let installation = Installation::new();
    let data_dir = installation.data_dir();
    let key = data_dir.join("audit.key");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, mode).unwrap();
    let output = run(&["doctor"], &data_dir);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("FAILED") && said.contains("audit.key"), "{said}");
}
