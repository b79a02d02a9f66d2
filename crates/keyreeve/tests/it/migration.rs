//! From the file to the database that nodes share, and back by way of a backup.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
    thread,
    time::Duration,
};

use keyreeve_api::{ReasonRequest, SecretText, VerifyRequest};
use keyreeve_store::conformance::PostgresServer;

use crate::{
    cluster::{Cluster, until_code, verify},
    keys::named,
    support::{Installation, Server, block_on, keyreeve, run_json, text},
};

/// Runs a command on the database at that URL.
fn run_shared(arguments: &[&str], data_dir: &Path, url: &str) -> Output {
    let mut command = keyreeve();
    command.args(arguments).arg("--data-dir").arg(data_dir).env("KEYREEVE_STORE__URL", url);
    command.output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_file_moves_to_the_shared_database() {
    let Some(database) = PostgresServer::start().unwrap() else { return };
    let url = database.database().unwrap();
    let installation = Installation::new();
    let data_dir = installation.data_dir();
    let server = installation.serve();
    let made = run_json(&["key", "create", "--name", "kept", "--quota", "10/month"], &data_dir);
    let revoked = run_json(&["key", "create", "--name", "revoked"], &data_dir);
    run_json(&["key", "revoke", revoked["id"].as_str().unwrap()], &data_dir);
    server.stop();
    let before = fs::read(data_dir.join("keyreeve.db")).unwrap();

    let nowhere = run_shared(&["migrate"], &data_dir, "");
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("KEYREEVE_STORE__URL"), "{}", text(&nowhere.stderr));
    let migrated = done(&run_shared(&["migrate", "--format", "json"], &data_dir, &url));
    assert_eq!(migrated["tables"]["api_keys"], 3, "{migrated}");
    let again = run_shared(&["migrate"], &data_dir, &url);
    assert!(text(&again.stdout).contains("written or removed"), "{}", text(&again.stdout));
    let again = done(&run_shared(&["migrate", "--format", "json"], &data_dir, &url));
    assert_eq!((&again["changed"], &again["root"]), (&0.into(), &migrated["root"]));
    assert_eq!(fs::read(data_dir.join("keyreeve.db")).unwrap(), before, "left as it was");

    let node = Server::start(&data_dir, &[("KEYREEVE_STORE__URL", &url)]);
    let client = node.client(&installation.admin_key);
    block_on(async {
        for (key, code) in [(&made, "VALID"), (&revoked, "REVOKED")] {
            let key = SecretText::new(key["key"].as_str().unwrap().to_owned());
            assert_eq!(verify(&client, &key).await.code, code);
        }
    });
    let refused = run_shared(&["migrate"], &data_dir, &url);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("in use by a node"), "{}", text(&refused.stderr));
    node.stop();
    let refused = run_shared(&["migrate"], &data_dir, &url);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("an empty database"), "{}", text(&refused.stderr));
}

#[test]
fn a_server_goes_on_verifying_while_it_is_moved() {
    let Some(database) = PostgresServer::start().unwrap() else { return };
    let url = database.database().unwrap();
    let installation = Installation::new();
    let data_dir = installation.data_dir();
    let old = installation.serve();
    let client = old.client(&installation.admin_key);
    let first = block_on(client.create_api_key(&named("first"), None)).unwrap();
    let mut migrating = keyreeve();
    migrating.args(["migrate", "--data-dir"]).arg(&data_dir).env("KEYREEVE_STORE__URL", &url);
    migrating.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut migrating = migrating.spawn().unwrap();
    // Keys are made until that is refused, and verified all the while.
    let mut acknowledged = vec![first.key];
    block_on(async {
        let refused = loop {
            match client.create_api_key(&named("during"), None).await {
                Ok(made) => acknowledged.push(made.key),
                Err(refused) => break refused,
            }
            assert_eq!(verify(&client, &acknowledged[0]).await.code, "VALID");
        };
        assert!(refused.to_string().contains("not available"), "{refused}");
        assert_eq!(verify(&client, &acknowledged[0]).await.code, "VALID");
        assert!(client.readiness().await.unwrap().ready, "it can be asked");
    });
    assert!(acknowledged.len() > 1, "some were made while it was copied");
    let mut said = BufReader::new(migrating.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("complete and checked") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
    }
    thread::sleep(Duration::from_millis(500));
    assert!(migrating.try_wait().unwrap().is_none(), "it waits for the old server");

    let new_folder = installation.folder.path().join("node");
    fs::create_dir(&new_folder).unwrap();
    fs::copy(data_dir.join("audit.key"), new_folder.join("audit.key")).unwrap();
    let new = Server::start(&new_folder, &[("KEYREEVE_STORE__URL", &url)]);
    let new_client = new.client(&installation.admin_key);
    block_on(async {
        for key in &acknowledged {
            assert_eq!(verify(&new_client, key).await.code, "VALID");
        }
        new_client.create_api_key(&named("after"), None).await.unwrap();
    });
    drop(old);
    assert!(migrating.wait().unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    new.stop();
    let doctor = run_shared(&["doctor", "--format", "json"], &new_folder, &url);
    let found: Vec<serde_json::Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    let anchor = found.iter().find(|check| check["check"] == "audit anchor").unwrap();
    assert_eq!(anchor["status"], "ok", "{anchor}");
}

#[test]
fn a_backup_of_the_shared_database_is_restored_to_either_kind() {
    let Some(mut cluster) = Cluster::start(2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let client = cluster.client(0);
    let (kept, revoked) = block_on(async {
        let kept = client.create_api_key(&named("kept"), None).await.unwrap();
        let revoked = client.create_api_key(&named("revoked later"), None).await.unwrap();
        (kept, revoked)
    });
    let backup = path("backup").display().to_string();
    let arguments = ["backup", &backup, "--format", "json"];
    let made = done(&run_shared(&arguments, &cluster.nodes[1].data_dir, cluster.url()));
    block_on(client.revoke_api_key(&revoked.details.id, &ReasonRequest::default())).unwrap();
    let mut files: Vec<_> =
        fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["audit.checkpoint", "audit.key", "audit.pub", "keyreeve.db"]);
    for (file, mode) in [("", 0o700), ("keyreeve.db", 0o600), ("audit.key", 0o600)] {
        let path = Path::new(&backup).join(file);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{file}");
    }

    let both_valid = |server: &Server| {
        let client = server.client(cluster.admin_key());
        block_on(async {
            until_code(&client, &kept.key, "VALID").await;
            let verdict = client.verify(&VerifyRequest::new(revoked.key.clone())).await.unwrap();
            assert_eq!(verdict.code, "VALID", "as it was when it was backed up");
            client.create_api_key(&named("after"), None).await.unwrap();
        });
    };
    // Into a file.
    let file = path("file");
    let restored = run_json(&["restore", &backup], &file);
    assert_eq!(restored["root"], made["root"]);
    let server = Server::start(&file, &[]);
    both_valid(&server);
    run_json(&["audit", "verify"], &file);
    server.stop();

    // Into a database, but not into one that holds something else or more.
    let node = path("node");
    let refused = run_shared(&["restore", &backup], &node, cluster.url());
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("in use by a node"), "{}", text(&refused.stderr));
    let empty = cluster.another_database();
    let restored = done(&run_shared(&["restore", &backup, "--format", "json"], &node, &empty));
    assert_eq!(restored["root"], made["root"]);
    let server = Server::start(&node, &[("KEYREEVE_STORE__URL", &empty)]);
    both_valid(&server);
    server.stop();
    for node in cluster.nodes.drain(..) {
        node.stop();
    }
    let refused = run_shared(&["restore", &backup], &path("other"), cluster.url());
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("an empty database"), "{}", text(&refused.stderr));
    assert!(!path("other").exists(), "nothing half done");
}
