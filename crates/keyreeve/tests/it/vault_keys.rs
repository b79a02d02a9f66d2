//! Opening and sealing the vault, and changing the keys over everything.

use std::{collections::HashMap, fs, path::Path, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    cli::with_stdin,
    support::{Installation, Server, block_on, run, run_json, text},
    vault::call,
};

const PASSPHRASE: &str = "correct horse battery staple";

fn succeed(arguments: &[&str], stdin: &str, server: &Server) -> String {
    let output = with_stdin(arguments, stdin, server);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command that fails says.
fn fail(arguments: &[&str], stdin: &str, server: &Server) -> String {
    let output = with_stdin(arguments, stdin, server);
    assert!(!output.status.success(), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

fn put(server: &Server, path: &str, value: &str) {
    succeed(&["secret", "put", path, "key=-"], value, server);
}

fn get(server: &Server, path: &str) -> String {
    let arguments = ["secret", "get", path, "--field", "key", "--reveal"];
    succeed(&arguments, "", server).trim().to_owned()
}

fn status(server: &Server) -> Value {
    run_json(&["vault", "status"], &server.data_dir)
}

/// All ciphertexts as they are stored.
fn sealed_rows(data_dir: &Path) -> Vec<(String, Vec<u8>)> {
    let file = data_dir.join("keyreeve.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    let sql = "SELECT secret || version, sealed FROM vault_versions ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_new_key_takes_over_in_the_background() {
    let installation = Installation::new();
    let mut server = installation.serve();
    let base = json!({ "policy": "path \"production/*\" { capabilities = [\"read\"] }" });
    let admin = &installation.admin_key;
    let policy = call(&server.url, admin, "PUT", "sys/policies/acl/p", Some(&base));
    assert_eq!(block_on(policy).0, 204);
    for number in 0..30 {
        let body = json!({ "data": { "key": format!("value-{number}") } });
        let path = format!("secret/data/production/{number}");
        assert_eq!(block_on(call(&server.url, admin, "PUT", &path, Some(&body))).0, 200);
    }
    let before = sealed_rows(&server.data_dir);
    assert!(before.iter().all(|(_, sealed)| sealed[1..5] == [0, 0, 0, 1]));
    assert_eq!(block_on(call(&server.url, admin, "PUT", "sys/rotate", None)).0, 204);
    // Broken off at once, wherever it is: it goes on after the start.
    server.kill();
    server = installation.serve();
    put(&server, "production/new", "new");
    let mut waited = 0;
    while status(&server)["key"]["rewrapping"] == json!(true) {
        thread::sleep(Duration::from_millis(200));
        waited += 1;
        assert!(waited < 300, "not done after a minute");
    }
    assert_eq!(status(&server)["key"]["term"], json!(2));
    for number in 0..30 {
        assert_eq!(get(&server, &format!("production/{number}")), format!("value-{number}"));
    }
    let after: HashMap<_, _> = sealed_rows(&server.data_dir).into_iter().collect();
    for (name, before) in &before {
        let after = &after[name];
        // The wrapped data key is another one, the fields were not encrypted anew.
        assert_eq!(after[1..5], [0, 0, 0, 2]);
        assert_eq!(before[85..], after[85..]);
        assert_ne!(before[5..85], after[5..85]);
    }
    // What was moved still knows when it was tampered with.
    server.stop();
    let server = installation.serve();
    assert_eq!(get(&server, "production/new"), "new");
    assert_eq!(status(&server)["key"]["keys"], json!(2));
}

#[test]
fn keys_that_are_made_at_once_have_numbers_of_their_own() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    let statuses = block_on(async {
        let tasks = (0..24).map(|number| {
            let (url, admin) = (server.url.clone(), admin.clone());
            tokio::spawn(async move {
                let body = json!({ "data": { "key": number.to_string() } });
                let path = format!("secret/data/production/{number}");
                let rotated = call(&url, &admin, "PUT", "sys/rotate", None).await.0;
                (rotated, call(&url, &admin, "PUT", &path, Some(&body)).await.0)
            })
        });
        let mut statuses = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            statuses.push(task.await.unwrap());
        }
        statuses
    });
    assert!(statuses.iter().all(|it| *it == (204, 200)), "{statuses:?}");
    assert_eq!(status(&server)["key"]["keys"], json!(25));
    server.stop();
    let server = installation.serve();
    for number in 0..24 {
        assert_eq!(get(&server, &format!("production/{number}")), number.to_string());
    }
}

#[test]
fn shares_open_the_vault_together() {
    let installation = Installation::new();
    let server = installation.serve();
    put(&server, "production/a", "value");
    let before = sealed_rows(&server.data_dir);
    let folder = tempfile::tempdir().unwrap();
    let shares = folder.path().join("shares");
    let shares = shares.to_str().unwrap();
    let rekey = ["vault", "rekey", "--to", "shares", "--shares", "4", "--threshold", "3"];
    let rekey: Vec<&str> = rekey.into_iter().chain(["--output", shares]).collect();
    succeed(&rekey, "", &server);
    assert_eq!(get(&server, "production/a"), "value");
    assert_eq!(sealed_rows(&server.data_dir), before, "no secret was written again");
    // Shares that nobody uses are not made over others.
    assert!(fail(&rekey, "", &server).contains("cannot make the folder"));
    server.stop();
    let server = installation.serve();
    assert_eq!(status(&server)["sealed"], json!(true));
    let share = |number: u8| fs::read_to_string(format!("{shares}/share-{number}")).unwrap();
    let said = fail(&["vault", "unseal"], "keyreeve-share:1:canary", &server);
    assert!(said.contains("not a share") && !said.contains("canary"), "{said}");
    let mut mistyped = share(1);
    mistyped.replace_range(30..31, if mistyped.as_bytes()[30] == b'A' { "B" } else { "A" });
    assert!(fail(&["vault", "unseal"], &mistyped, &server).contains("mistyped"));
    succeed(&["vault", "unseal"], &share(4), &server);
    succeed(&["vault", "unseal"], &share(4), &server);
    assert_eq!(status(&server)["progress"], json!(1), "the same one twice");
    succeed(&["vault", "unseal", "--reset"], "", &server);
    assert_eq!(status(&server)["progress"], json!(0));
    for number in [2, 4] {
        succeed(&["vault", "unseal"], &share(number), &server);
        assert_eq!(status(&server)["sealed"], json!(true));
    }
    // The rest of the program is up all the while.
    assert!(run(&["key", "list"], &server.data_dir).status.success());
    assert!(fail(&["secret", "get", "production/a"], "", &server).contains("sealed"));
    succeed(&["vault", "unseal"], &share(1), &server);
    assert_eq!(get(&server, "production/a"), "value");
}

#[test]
fn a_passphrase_opens_the_vault_and_a_wrong_one_is_recorded() {
    let installation = Installation::new();
    let server = installation.serve();
    put(&server, "production/a", "value");
    let to_passphrase = ["vault", "rekey", "--to", "passphrase"];
    assert!(fail(&to_passphrase, "short", &server).contains("at least 12 characters"));
    succeed(&to_passphrase, PASSPHRASE, &server);
    succeed(&["vault", "seal"], "", &server);
    assert!(fail(&["secret", "get", "production/a"], "", &server).contains("sealed"));
    let said = fail(&["vault", "unseal"], "canary horse battery staple", &server);
    assert!(said.contains("does not open") && !said.contains("canary"), "{said}");
    succeed(&["vault", "unseal"], PASSPHRASE, &server);
    assert_eq!(get(&server, "production/a"), "value");
    let listed = run_json(&["audit", "list", "--action", "vault.unseal"], &server.data_dir);
    let outcomes: Vec<_> = listed["items"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&outcomes[0]["outcome"], &outcomes[1]["outcome"]),
        (&json!("done"), &json!("denied"))
    );
    server.stop();
    // From the settings, without anybody there.
    let server = installation.serve_with(&[
        ("KEYREEVE_VAULT__PASSPHRASE", "env:VAULT_PHRASE"),
        ("VAULT_PHRASE", PASSPHRASE),
    ]);
    assert_eq!(get(&server, "production/a"), "value");
    server.stop();
    let server = installation.serve_with(&[
        ("KEYREEVE_VAULT__PASSPHRASE", "env:VAULT_PHRASE"),
        ("VAULT_PHRASE", "another horse battery staple"),
    ]);
    assert_eq!(status(&server)["sealed"], json!(true));
}

#[test]
fn another_root_key_replaces_the_first() {
    let installation = Installation::new();
    let server = installation.serve();
    put(&server, "production/a", "value");
    let file = server.data_dir.join("new.key");
    let name = file.to_str().unwrap().to_owned();
    succeed(&["vault", "rekey", "--to", "key", "--output", &name], "", &server);
    assert_eq!(get(&server, "production/a"), "value");
    server.stop();
    let server = installation.serve();
    assert_eq!(status(&server)["sealed"], json!(true), "the old key opens nothing");
    let new = fs::read_to_string(&file).unwrap();
    let said = fail(&["vault", "unseal"], "bm90IGEga2V5", &server);
    assert!(said.contains("32 bytes in base64"), "{said}");
    succeed(&["vault", "unseal"], &new, &server);
    assert_eq!(get(&server, "production/a"), "value");
    server.stop();
    fs::rename(&file, installation.data_dir().join("root.key")).unwrap();
    let server = installation.serve();
    assert_eq!(get(&server, "production/a"), "value");
}

#[test]
fn only_who_may_manage_the_vault_changes_its_keys() {
    let installation = Installation::new();
    let server = installation.serve();
    let arguments = ["key", "create", "--name", "app", "--permission", "keyreeve.secrets.manage"];
    let made = run_json(&arguments, &server.data_dir);
    let key = made["key"].as_str().unwrap();
    for path in [
        "sys/seal",
        "sys/rotate",
        "sys/rotate/keyring",
        "sys/keyreeve/rekey",
        "sys/keyreeve/backends/team/sync",
    ] {
        assert_eq!(block_on(call(&server.url, key, "PUT", path, None)).0, 403, "{path}");
    }
    for path in ["sys/key-status", "sys/keyreeve/backends"] {
        assert_eq!(block_on(call(&server.url, key, "GET", path, None)).0, 403, "{path}");
    }
    assert_eq!(status(&server)["sealed"], json!(false));
    let core = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = core.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let limits: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(limits, ["0", "0"], "no core dumps: {core}");
}
