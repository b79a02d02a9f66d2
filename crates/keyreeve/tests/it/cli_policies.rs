//! What bounds keys, from the command line.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::{
    cli::with_stdin,
    support::{Installation, Server, keyreeve, run, run_json, text},
};

/// Made up: nobody knows what they are of.
const SHA_256: [&str; 3] = [
    "3d9f1b74db19ba90ca21dc26a7bf46a45bf7f7b0d2d8dd7a3ea7d21e6a1d2e8a",
    "5b6f1e7f2a4d0c3b9e8d7f6a5c4b3a291807f6e5d4c3b2a1908f7e6d5c4b3a29",
    "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
];

/// A key that is bound in every way.
const BOUND: [&str; 23] = [
    "key",
    "create",
    "--name",
    "c",
    "--limit",
    "burst=20/10s",
    "--limit",
    "day=1000/1d",
    "--quota",
    "5000/month",
    "--allow-ip",
    "203.0.113.0/24",
    "--deny-ip",
    "203.0.113.7",
    "--window",
    "Mon-Fri 09:00-17:00 Europe/Berlin",
    "--origin",
    "https://app.example.com",
    "--route",
    "GET /v1/*",
    "--not-before",
    "2026-12-01T00:00:00Z",
    "--expires-in=never",
];

#[test]
fn a_bound_key_from_beginning_to_end() {
    let installation = Installation::new();
    let server = installation.serve();
    let data_dir = installation.data_dir();
    let made = run_json(&BOUND, &data_dir);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let request = [
        "--ip",
        "203.0.113.9",
        "--method",
        "GET",
        "--path",
        "/v1/items",
        "--origin",
        "https://app.example.com",
    ];
    // A Tuesday, ten o'clock in Berlin.
    let verify = |more: &[&str]| {
        let base = ["key", "verify", "--dry-run", "--at", "2026-12-08T09:00:00Z"];
        with_stdin(&[&base, more].concat(), key, &server)
    };
    let good = verify(&request);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stdout));
    assert!(text(&good.stdout).contains("burst: 20 of 20 left"), "{}", text(&good.stdout));
    let costly = verify(&[&request[..], &["--limit-cost", "burst=21"]].concat());
    assert_eq!(costly.status.code(), Some(1));
    assert!(text(&costly.stdout).contains("RATE_LIMITED"), "{}", text(&costly.stdout));
    let elsewhere = verify(&["--ip", "203.0.113.7"]);
    assert!(text(&elsewhere.stdout).contains("FORBIDDEN_IP"), "{}", text(&elsewhere.stdout));
    let explain = ["key", "explain", id, "--at", "2026-12-06T09:00:00Z"];
    let explained = text(&run(&[&explain[..], &request].concat(), &data_dir).stdout);
    assert!(explained.contains("FORBIDDEN_TIME"), "{explained}");

    let changed = [
        "--no-windows",
        "--allow-ip",
        "198.51.100.0/24",
        "--no-not-before",
        "--limit",
        "burst=5/1s",
        "--override",
        "burst:198.51.100.*=50/1s",
        "--no-quota",
    ];
    let changed = run_json(&[&["key", "update", id][..], &changed].concat(), &data_dir);
    let expected = json!({
        "allow_ips": ["198.51.100.0/24"],
        "deny_ips": ["203.0.113.7"],
        "origins": ["https://app.example.com"],
        "routes": ["GET /v1/*"],
    });
    assert_eq!(changed["restrictions"], expected);
    assert_eq!(changed["limits"][0]["overrides"][0]["rate"], "50/1s");
    assert_eq!((changed.get("quota"), changed.get("not_before")), (None, None));
    let shown = text(&run(&["key", "show", id], &data_dir).stdout);
    for expected in ["only from", "198.51.100.0/24", "burst=5/1s", "50/1s for 198.51.100.*"] {
        assert!(shown.contains(expected), "{shown}");
    }
    let freed = run_json(&["key", "update", id, "--no-restrictions", "--no-limits"], &data_dir);
    assert_eq!((freed.get("restrictions"), freed.get("limits")), (None, None));
    let nothing = run(&["key", "update", id], &data_dir);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("key update --help"), "{}", text(&nothing.stderr));
}

#[test]
fn owners_and_keyspaces_carry_bounds_too() {
    let installation = Installation::new();
    let _server = installation.serve();
    let data_dir = installation.data_dir();
    let ok = |words: &[&str]| run_json(words, &data_dir);
    let owner = ok(&["owner", "create", "acme", "--limit", "all=10/1s", "--quota", "9/day"]);
    assert_eq!((&owner["limits"][0]["rate"], &owner["quota"]), (&json!("10/1s"), &json!("9/day")));
    let owner = ok(&["owner", "update", "acme", "--no-limits", "--concurrency", "3/10s"]);
    assert_eq!((owner.get("limits"), &owner["concurrency"]), (None, &json!("3/10s")));
    let shown = text(&run(&["owner", "show", "acme"], &data_dir).stdout);
    assert!(shown.contains("9/day") && shown.contains("3/10s"), "{shown}");

    let create = ["keyspace", "create", "web", "--prefix", "web", "--origin", "https://a.example"];
    let keyspace = ok(&create);
    assert_eq!(keyspace["restrictions"]["origins"], json!(["https://a.example"]));
    let update = ["keyspace", "update", "web", "--limit", "all=10/1s,per=ip", "--no-origins"];
    let keyspace = ok(&update);
    assert_eq!((keyspace.get("restrictions"), &keyspace["limits"][0]["per"]), (None, &json!("ip")));
}

#[test]
fn a_key_is_derived_from_the_one_that_asks() {
    let installation = Installation::new();
    let server = installation.serve();
    let data_dir = installation.data_dir();
    let permissions = ["--permission", "keyreeve.keys.derive", "--permission", "documents.*"];
    let parent =
        run_json(&[&["key", "create", "--name", "parent"], &permissions[..]].concat(), &data_dir);
    let derive = |token: Option<&str>| {
        let mut command = keyreeve();
        command.args(["key", "derive", "--name", "child", "--expires-in", "1h"]);
        command.args(["--permission", "documents.read", "--allow-ip", "192.0.2.0/24"]);
        command.arg("--data-dir").arg(&data_dir).current_dir(data_dir.parent().unwrap());
        token.into_iter().fold(&mut command, |command, key| command.env("KEYREEVE_TOKEN", key));
        command.output().unwrap()
    };
    let child = derive(parent["key"].as_str());
    assert!(child.status.success(), "{}", text(&child.stderr));
    let child = text(&child.stdout);
    let verify = |ip| with_stdin(&["key", "verify", "--ip", ip], child.trim(), &server);
    assert_eq!(verify("192.0.2.9").status.code(), Some(0));
    assert_eq!(verify("198.51.100.9").status.code(), Some(1));
    run_json(&["key", "revoke", parent["id"].as_str().unwrap()], &data_dir);
    assert_eq!(verify("192.0.2.9").status.code(), Some(1), "the tree is dead");
    let nobody = derive(None);
    assert!(!nobody.status.success());
    assert!(text(&nobody.stderr).contains("KEYREEVE_TOKEN"), "{}", text(&nobody.stderr));
}

/// Imports a file of that name.
fn import(server: &Server, name: &str, content: &str, flags: &[&str]) -> (Option<i32>, Output) {
    let file = server.data_dir.parent().unwrap().join(name);
    fs::write(&file, content).unwrap();
    let file = file.display().to_string();
    let output = run(&[&["key", "import", &file], flags].concat(), &server.data_dir);
    (output.status.code(), output)
}

fn keys(server: &Server) -> Vec<Value> {
    let listed = run_json(&["key", "list", "--all"], &server.data_dir);
    listed["items"].as_array().unwrap().clone()
}

#[test]
fn keys_are_imported_from_tables() {
    let installation = Installation::new();
    let server = installation.serve();
    let before = keys(&server).len();
    let [billing, search, mobile] = SHA_256;
    let table = format!(
        "name,hash,owner,roles,metadata\nbilling,{billing},acme,viewer,\"{{\"\"plan\"\":1}}\"\n\
         search,{search},,,\nbad,no-hash,,,\n"
    );
    let (code, output) = import(&server, "keys.csv", &table, &["--dry-run"]);
    assert_eq!(code, Some(1), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("2 keys of 3 are good; 1 row is refused"), "{shown}");
    assert!(shown.contains("3    hash"), "{shown}");
    let (code, output) = import(&server, "keys.csv", &table, &[]);
    assert_eq!(code, Some(1));
    assert!(text(&output.stdout).contains("brought in nothing"), "{}", text(&output.stdout));
    assert_eq!(keys(&server).len(), before);
    let (code, output) = import(&server, "keys.csv", &table, &["--partial", "--format", "json"]);
    assert_eq!(code, Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["imported"], &report["refused"]), (&json!(2), &json!(1)));
    assert!(report["rows"][0]["id"].is_string() && report["rows"][2]["rule"].is_string());
    // What cannot even be read is a row among others.
    let broken = format!("name,hash,expires_at\nlate,{mobile},soon\nother,{mobile},\n");
    let (code, output) = import(&server, "broken.csv", &broken, &["--format", "json"]);
    assert_eq!(code, Some(1), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["stored"], &report["imported"]), (&json!(false), &json!(1)));
    assert_eq!(report["rows"][0]["field"], "expires_at");
    let row = json!([{"name": "mobile", "hash": mobile, "expires_at": "2036-01-01T00:00:00Z"}]);
    let (code, output) = import(&server, "keys.json", &row.to_string(), &[]);
    assert_eq!(code, Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), "brought in 1 key");
    assert_eq!(keys(&server).len(), before + 3);
    let (code, output) = import(&server, "keys.json", &row.to_string(), &[]);
    assert_eq!(code, Some(1), "twice is refused");
    assert!(text(&output.stdout).contains("not here yet"), "{}", text(&output.stdout));
}

#[test]
fn a_large_import_is_all_or_nothing() {
    let installation = Installation::new();
    let server = installation.serve();
    let before = keys(&server).len();
    let table = |rows: u64, twice: bool| {
        let rows = (0..rows).map(|n| format!("key {n},{n:064x}\n"));
        let again = twice.then(|| format!("again,{:064x}\n", 0));
        "name,hash\n".to_owned() + &rows.chain(again).collect::<String>()
    };
    // The second of the two stands in another request of the look beforehand.
    let (code, output) = import(&server, "many.csv", &table(4_999, true), &[]);
    assert_eq!(code, Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("must not stand twice"), "{}", text(&output.stdout));
    assert_eq!(keys(&server).len(), before);
    let (code, output) = import(&server, "many.csv", &table(20_000, false), &[]);
    assert_eq!(code, Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), "brought in 20000 keys");
    let (code, output) = import(&server, "many.csv", &table(50_001, false), &[]);
    assert_eq!(code, Some(2));
    assert!(text(&output.stderr).contains("--partial"), "{}", text(&output.stderr));
    run_json(&["audit", "verify"], &server.data_dir);
}
