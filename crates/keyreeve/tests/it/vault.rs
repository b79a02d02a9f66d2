//! The vault from outside: rights, tampering, and where no plaintext may be.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    cli::with_stdin,
    support::{Installation, Server, block_on, http, run, run_json, text},
};

const CANARY: &str = "canary-9f2c41d7-plaintext";

/// Status and body of a call to the Vault API.
pub(crate) async fn call(
    base: &str,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = http().request(method.clone(), format!("{base}/v1/{path}"));
    request = request.header("x-vault-token", token).header("x-vault-request", "true");
    if method == reqwest::Method::PATCH {
        request = request.header("content-type", "application/merge-patch+json");
    }
    if let Some(body) = body {
        request = request.body(body.to_string());
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn read(server: &Server, token: &str, path: &str) -> (u16, Value) {
    block_on(call(&server.url, token, "GET", &format!("secret/data/{path}"), None))
}

fn write(server: &Server, token: &str, path: &str, data: &Value) -> (u16, Value) {
    let body = json!({ "data": data });
    block_on(call(&server.url, token, "PUT", &format!("secret/data/{path}"), Some(&body)))
}

fn actions(installation: &Installation, server: &Server) -> Vec<(String, String, String)> {
    let listed = block_on(async {
        let client = server.client(&installation.admin_key);
        client.list_audit(&keyreeve_api::ListAuditQuery::default()).await.unwrap().items
    });
    let shown = listed.into_iter().map(|it| (it.action, it.target.id, it.outcome));
    shown.collect()
}

fn make_key(installation: &Installation, permission: &str) -> String {
    let arguments = ["key", "create", "--name", "app", "--permission", permission];
    let made = run_json(&arguments, &installation.data_dir());
    made["key"].as_str().unwrap().to_owned()
}

#[test]
fn policies_say_who_may_do_what_and_listings_are_filtered() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    for path in ["production/web/a", "production/web/b", "production/db", "staging/x"] {
        assert_eq!(write(&server, admin, path, &json!({ "v": "1" })).0, 200);
    }
    let policy = json!({ "policy": "path \"secret/data/production/web/*\" { capabilities = [\"read\", \"list\"] }\n\
        path \"production/web/b\" { capabilities = [\"deny\"] }" });
    let put = call(&server.url, admin, "PUT", "sys/policies/acl/web", Some(&policy));
    assert_eq!(block_on(put).0, 204);
    let key = make_key(&installation, "keyreeve.policies.web.use");
    assert_eq!(read(&server, &key, "production/web/a").0, 200);
    for path in ["production/web/b", "production/db", "staging/x", "nowhere"] {
        let (status, body) = read(&server, &key, path);
        assert_eq!(status, 403, "{path}");
        assert_eq!(body["errors"][0], "1 error occurred:\n\t* permission denied\n\n");
    }
    assert_eq!(write(&server, &key, "production/web/a", &json!({})).0, 403);
    let list = |path: &str| {
        let path = format!("secret/metadata/{path}?list=true");
        block_on(call(&server.url, &key, "GET", &path, None)).1["data"]["keys"].clone()
    };
    assert_eq!(list(""), json!(["production/"]));
    assert_eq!(list("production/"), json!(["web/"]));
    assert_eq!(list("production/web/"), json!(["a"]));
    let scan = call(&server.url, &key, "SCAN", "secret/metadata/", None);
    assert_eq!(block_on(scan).1["data"]["keys"], json!(["production/web/a"]));
    // Nobody changes the rules they are under.
    for (method, path) in [("PUT", "sys/policies/acl/web"), ("DELETE", "sys/policies/acl/web")] {
        assert_eq!(block_on(call(&server.url, &key, method, path, Some(&policy))).0, 403);
    }
    let denied: Vec<_> = actions(&installation, &server)
        .into_iter()
        .filter(|(action, _, outcome)| action == "secret.access" && outcome == "denied")
        .map(|(_, target, _)| target)
        .collect();
    assert!(denied.contains(&"production/web/b".to_owned()), "{denied:?}");
    let gone = call(&server.url, admin, "DELETE", "sys/policies/acl/web", None);
    assert_eq!(block_on(gone).0, 204);
    assert_eq!(read(&server, &key, "production/web/a").0, 403);
}

#[test]
fn no_role_but_admin_has_a_policy_by_its_wildcards() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    assert_eq!(write(&server, admin, "a", &json!({ "v": "1" })).0, 200);
    for name in ["read", "list", "write", "execute", "use"] {
        let policy = json!({ "policy": "path \"*\" { capabilities = [\"read\"] }" });
        let path = format!("sys/policies/acl/{name}");
        assert_eq!(block_on(call(&server.url, admin, "PUT", &path, Some(&policy))).0, 204);
    }
    for role in ["viewer", "operator", "verifier", "client"] {
        let arguments = ["key", "create", "--name", role, "--role", role];
        let made = run_json(&arguments, &installation.data_dir());
        assert_eq!(read(&server, made["key"].as_str().unwrap(), "a").0, 403, "{role}");
    }
}

#[test]
fn what_can_be_brought_back_is_not_what_is_gone_for_good() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    assert_eq!(write(&server, admin, "a", &json!({ "v": "1" })).0, 200);
    let policy = json!({ "policy": "path \"secret/data/a\" {
        capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\"] }" });
    let put = call(&server.url, admin, "PUT", "sys/policies/acl/app", Some(&policy));
    assert_eq!(block_on(put).0, 204);
    let key = make_key(&installation, "keyreeve.policies.app.use");
    let one = json!({ "versions": [1] });
    let settings = json!({ "max_versions": 1 });
    for (method, path, body, status) in [
        ("DELETE", "secret/data/a", None, 204),
        ("POST", "secret/undelete/a", Some(&one), 204),
        ("POST", "secret/destroy/a", Some(&one), 403),
        ("DELETE", "secret/metadata/a", None, 403),
        ("POST", "secret/metadata/a", Some(&settings), 403),
        ("PATCH", "secret/metadata/nowhere", Some(&settings), 403),
        ("PATCH", "secret/data/nowhere", Some(&json!({ "data": {} })), 403),
        ("PUT", "secret/data/nowhere", Some(&json!({ "data": {} })), 403),
        ("POST", "secret/delete/nowhere", Some(&one), 403),
        ("LIST", "secret/metadata", None, 403),
        ("GET", "secret/config", None, 403),
        ("POST", "secret/config", Some(&settings), 403),
        ("LIST", "sys/policies/acl", None, 403),
        ("GET", "sys/policies/acl/app", None, 403),
        ("GET", "secret/data/a", None, 200),
    ] {
        let answer = block_on(call(&server.url, &key, method, path, body));
        assert_eq!(answer.0, status, "{method} {path}: {}", answer.1);
    }
}

#[test]
fn a_creator_cannot_grant_a_policy_they_do_not_have() {
    let installation = Installation::new();
    let server = installation.serve();
    let manager = make_key(&installation, "keyreeve.keys.manage");
    let made = block_on(async {
        let client = server.client(&manager);
        let body = keyreeve_api::CreateApiKeyRequest {
            name: "app".to_owned(),
            permissions: vec!["keyreeve.policies.web.use".to_owned()],
            ..Default::default()
        };
        client.create_api_key(&body, None).await
    });
    assert_eq!(crate::support::refusal(made), "escalation");
}

#[test]
fn no_plaintext_stays_on_the_disk_or_in_the_log() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    for number in 0..5 {
        let data = json!({ "field": CANARY, "number": number });
        assert_eq!(write(&server, admin, "production/canary", &data).0, 200);
        let (_, body) = read(&server, admin, "production/canary");
        assert_eq!(body["data"]["data"]["field"], CANARY);
    }
    let patch = json!({ "data": { "other": CANARY } });
    let patched = call(&server.url, admin, "PATCH", "secret/data/production/canary", Some(&patch));
    assert_eq!(block_on(patched).0, 200);
    // Refused with the value in the wrong place.
    let wrong = json!({ "data": CANARY, "options": { "cas": CANARY } });
    let refused = call(&server.url, admin, "PUT", "secret/data/production/canary", Some(&wrong));
    let (status, body) = block_on(refused);
    assert_eq!(status, 400);
    assert!(!body.to_string().contains(CANARY), "{body}");
    let listed = actions(&installation, &server);
    assert!(!format!("{listed:?}").contains(CANARY));
    let log = server.stop();
    assert!(!log.contains(CANARY));
    for entry in fs::read_dir(installation.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = fs::read(&path) else { continue };
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

/// What is done to the database of a server that has stopped.
#[derive(Debug)]
enum Damage {
    /// A byte of every sealed version is another one.
    Flip(usize),
    Sql(&'static str),
}

fn database(data_dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(data_dir.join("keyreeve.db")).unwrap()
}

fn version_length(data_dir: &Path) -> usize {
    let sql = "SELECT min(length(sealed)) FROM vault_versions";
    let length: u32 = database(data_dir).query_row(sql, [], |row| row.get(0)).unwrap();
    length as usize
}

impl Damage {
    fn apply(&self, data_dir: &Path) {
        let connection = database(data_dir);
        match self {
            Self::Sql(sql) => connection.execute_batch(sql).unwrap(),
            Self::Flip(at) => {
                let mut select =
                    connection.prepare("SELECT rowid, sealed FROM vault_versions").unwrap();
                let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                let rows: Vec<(i64, Vec<u8>)> = rows.map(Result::unwrap).collect();
                assert!(!rows.is_empty());
                for (row, mut sealed) in rows {
                    sealed[*at] ^= 1;
                    let sql = "UPDATE vault_versions SET sealed = ?2 WHERE rowid = ?1";
                    connection.execute(sql, rusqlite::params![row, sealed]).unwrap();
                }
            }
        }
    }
}

#[test]
fn whatever_is_changed_or_swapped_in_the_database_is_refused_and_recorded() {
    const SWAP_VERSIONS: &str = "CREATE TEMP TABLE old AS SELECT * FROM vault_versions;
        UPDATE vault_versions SET sealed = (SELECT old.sealed FROM old WHERE
        old.secret <> vault_versions.secret AND old.version = vault_versions.version)";
    const SWAP_NUMBERS: &str = "UPDATE vault_versions SET version = version + 10;
        UPDATE vault_versions SET version = 13 - version";
    const SWAP_PATHS: &str = "UPDATE vault_records SET id = id || '-' WHERE kind = 'secret';
        UPDATE vault_records SET id = CASE id WHEN 'a-' THEN 'b' ELSE 'a' END
        WHERE kind = 'secret'";
    let records = [
        "UPDATE vault_records SET body = replace(body, '\"current\":2', '\"current\":1')
         WHERE kind = 'secret'",
        "UPDATE vault_records SET tag = zeroblob(32) WHERE kind = 'secret'",
        "UPDATE vault_records SET key = 2 WHERE kind = 'secret'",
        SWAP_PATHS,
        SWAP_VERSIONS,
        SWAP_NUMBERS,
        "DELETE FROM vault_versions",
    ];
    let installation = Installation::new();
    let server = installation.serve();
    for path in ["a", "b"] {
        for number in 1..=2 {
            let data = json!({ "field": CANARY, "path": path, "number": number });
            assert_eq!(write(&server, &installation.admin_key, path, &data).0, 200);
        }
    }
    server.stop();
    let database = installation.data_dir().join("keyreeve.db");
    let good = fs::read(&database).unwrap();
    let checks = || {
        let what = "some of each part of a version, then records and rows in the wrong place";
        let length = version_length(&installation.data_dir());
        let flips = (0..12).map(|part| Damage::Flip(part * (length - 1) / 11));
        assert!(length > 101, "{what}");
        flips.chain(records.iter().map(|sql| Damage::Sql(sql))).collect::<Vec<_>>()
    };
    for damage in checks() {
        fs::write(&database, &good).unwrap();
        let checkpoint = installation.data_dir().join("audit.checkpoint");
        let _ = fs::remove_file(checkpoint);
        damage.apply(&installation.data_dir());
        let server = installation.serve();
        let (status, body) = read(&server, &installation.admin_key, "a");
        assert_eq!(status, 500, "{damage:?}: {body}");
        assert!(!body.to_string().contains(CANARY), "{damage:?}: {body}");
        let found = actions(&installation, &server);
        assert!(found.iter().any(|(action, ..)| action == "vault.tampering_found"), "{damage:?}");
        server.stop();
    }
}

#[test]
fn a_vault_without_its_root_key_is_sealed_and_everything_else_goes_on() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    assert_eq!(write(&server, admin, "a", &json!({ "v": 1 })).0, 200);
    server.stop();
    let root_key = installation.data_dir().join("root.key");
    let kept = fs::read(&root_key).unwrap();
    let other = "keyreeve-root-key:1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    for replaced in [None, Some(other), Some("not a key")] {
        match replaced {
            None => fs::remove_file(&root_key).unwrap(),
            Some(text) => fs::write(&root_key, text).unwrap(),
        }
        let server = installation.serve();
        let (status, body) = read(&server, admin, "a");
        assert_eq!((status, &body["errors"][0]), (503, &json!("Vault is sealed")));
        let health = block_on(call(&server.url, "", "GET", "sys/health", None));
        assert_eq!((health.0, &health.1["sealed"]), (503, &json!(true)));
        let health = call(&server.url, "", "GET", "sys/health?sealedcode=299", None);
        assert_eq!(block_on(health).0, 299);
        // Keys are verified and made all the same.
        assert!(!run_json(&["key", "list"], &installation.data_dir()).is_null());
        let log = server.stop();
        assert!(log.contains("the vault stays sealed"), "{log}");
    }
    fs::write(&root_key, kept).unwrap();
    let settings = [("KEYREEVE_VAULT__ROOT_KEY", "env:NOT_THERE")];
    let server = installation.serve_with(&settings);
    assert_eq!(read(&server, admin, "a").0, 503);
    assert!(server.stop().contains("the vault stays sealed"));
    let server = installation.serve();
    assert_eq!(read(&server, admin, "a").1["data"]["data"]["v"], 1);
}

#[test]
fn secrets_from_the_command_line() {
    let installation = Installation::new();
    let server = installation.serve();
    let data_dir = installation.data_dir();
    let put = ["secret", "put", "production/stripe", "words=-"];
    let written = with_stdin(&put, &format!("{CANARY}\n"), &server);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let get = ["secret", "get", "production/stripe", "--field", "words"];
    assert_eq!(text(&run(&get, &data_dir).stdout), format!("{CANARY}\n"));
    let merge = ["secret", "put", "production/stripe", "mode=live", "--merge", "--allow-argument"];
    assert_eq!(run_json(&merge, &data_dir)["version"], 2);
    let shown = run_json(&["secret", "get", "production/stripe"], &data_dir);
    assert_eq!(shown["data"], json!({ "mode": "live", "words": CANARY }));
    let rollback = ["secret", "rollback", "production/stripe", "--to", "1"];
    assert_eq!(run_json(&rollback, &data_dir)["version"], 3);
    let versions = run_json(&["secret", "versions", "production/stripe"], &data_dir);
    assert_eq!(versions["current_version"], 3);
    assert!(run(&["secret", "delete", "production/stripe"], &data_dir).status.success());
    let gone = run(&["secret", "get", "production/stripe"], &data_dir);
    assert_eq!(gone.status.code(), Some(2));
    assert!(text(&gone.stderr).contains("version 3 of production/stripe is deleted"));
    let undelete = ["secret", "undelete", "production/stripe", "--version", "3"];
    assert!(run(&undelete, &data_dir).status.success());
    let found = run_json(&["secret", "search", "STRIPE"], &data_dir);
    assert_eq!(found["items"], json!(["production/stripe"]));
    let stale = ["secret", "put", "production/stripe", "a=b", "--allow-argument", "--cas", "1"];
    let stale = run(&stale, &data_dir);
    assert_eq!(stale.status.code(), Some(2));
    assert!(text(&stale.stderr).contains("did not match the current version"));
    assert!(run(&["secret", "destroy", "production/stripe", "--all"], &data_dir).status.success());
    assert_eq!(run_json(&["secret", "list"], &data_dir)["items"], json!([]));
    for (path, part) in [("../x", "segments"), ("a//b", "segments"), ("nowhere", "no secret at")] {
        let refused = run(&["secret", "get", path], &data_dir);
        assert_eq!(refused.status.code(), Some(2), "{path}");
        assert!(text(&refused.stderr).contains(part), "{}", text(&refused.stderr));
    }
}
