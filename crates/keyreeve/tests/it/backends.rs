//! Other stores that hold secrets: a real OpenBao, and AWS Secrets Manager as moto plays it, which checks
//! our signatures as AWS does.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    other_stores::{Losing, Moto, REGION, Store, setting},
    support::{Installation, PATIENCE, Server, block_on, keyreeve, run, run_json, text},
    vault::call,
    vault_clients::{OpenBao, ROOT, program},
};

fn serve(
    installation: &Installation,
    store: &dyn Store,
    more: &[(&str, &str)],
) -> Result<Server, String> {
    let mut settings = store.settings();
    settings.extend(more.iter().map(|(name, value)| setting(name, value)));
    let settings: Vec<_> = settings.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    Server::try_start(&installation.data_dir(), &settings)
}

/// Calls as a user of the admin key.
struct User<'a> {
    server: &'a Server,
    token: &'a str,
}

impl User<'_> {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let path = format!("secret/{path}");
        block_on(call(&self.server.url, self.token, method, &path, body))
    }

    fn fields(&self, path: &str) -> Value {
        self.call("GET", &format!("data/{path}"), None).1["data"]["data"].clone()
    }

    fn put(&self, path: &str, fields: &Value) -> u16 {
        self.call("POST", &format!("data/{path}"), Some(&json!({ "data": fields }))).0
    }
}

pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_secs() * 5 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
    panic!("never so: {what}");
}

/// What another store keeps is read, written and deleted there; a copy is used as long as is allowed.
fn reads_through(store: &dyn Store, stop: impl FnOnce()) {
    let installation = Installation::new();
    let folders = [("FOLDER", "production"), ("REMOTE_FOLDER", "team/prod")];
    let ask = [("FRESH", "0s"), ("STALE", "1h")];
    let server = serve(&installation, store, &[&folders[..], &ask].concat()).unwrap();
    let user = User { server: &server, token: &installation.admin_key };
    // A number that no float holds.
    let id = 9_007_199_254_740_993_u64;
    store.put("team/prod/db", &json!({ "password": "one", "id": id }));
    store.put("team/prod/deep/er", &json!({ "k": "v" }));
    // Exactly as the store itself gives it: OpenBao makes a float of it.
    assert_eq!(user.fields("production/db"), store.get("team/prod/db"));
    store.put("team/prod/db", &json!({ "password": "two" }));
    let (_, second) = user.call("GET", "data/production/db", None);
    assert_eq!(second["data"]["data"], json!({ "password": "two" }));
    assert_eq!(second["data"]["metadata"]["version"], 2);
    // What was before is a version like any other.
    let first = user.call("GET", "data/production/db?version=1", None).1;
    assert_eq!(first["data"]["data"]["password"], "one");
    let listed = |path: &str| user.call("GET", path, None).1["data"]["keys"].clone();
    assert_eq!(listed("metadata/production?list=true"), json!(["db", "deep/"]));
    assert_eq!(listed("metadata?list=true"), json!(["production/"]));
    assert_eq!(listed("metadata/production?scan=true"), json!(["db", "deep/er"]));
    assert_eq!(user.call("GET", "data/production/none", None).0, 404);

    // Written there first.
    assert_eq!(user.put("production/db", &json!({ "password": "three" })), 200);
    assert_eq!(store.get("team/prod/db"), json!({ "password": "three" }));
    assert_eq!(user.put("production/new", &json!({ "a": "b" })), 200);
    assert_eq!(store.get("team/prod/new"), json!({ "a": "b" }));
    let stale = json!({ "data": { "password": "x" }, "options": { "cas": 1 } });
    assert_eq!(user.call("POST", "data/production/db", Some(&stale)).0, 400);
    let waits = json!({ "data": { "password": "four" }, "options": { "pending": true } });
    assert_eq!(user.call("POST", "data/production/db", Some(&waits)).0, 200);
    assert_eq!(store.get("team/prod/db"), json!({ "password": "three" }), "it waits here");
    assert!(run(&["secret", "promote", "production/db"], &server.data_dir).status.success());
    assert_eq!(store.get("team/prod/db"), json!({ "password": "four" }));
    assert_eq!(user.call("DELETE", "data/production/new", None).0, 204);
    assert_eq!(store.get("team/prod/new"), Value::Null);
    store.delete("team/prod/deep/er");
    assert_eq!(user.call("GET", "data/production/deep/er", None).0, 404);
    let (status, said) = user.call("DELETE", "metadata/production/db", None);
    assert_eq!(status, 400);
    assert!(said.to_string().contains("kept in the backend team"), "{said}");
    // Elsewhere it is not asked.
    assert_eq!(user.put("staging/db", &json!({ "password": "own" })), 200);

    let listed = run_json(&["backend", "list"], &server.data_dir);
    assert_eq!(listed[0]["mode"], "read-through");
    assert!(listed[0]["reached_at"].is_string() && listed[0]["failure"].is_null(), "{listed}");

    stop();
    assert_eq!(user.fields("production/db"), json!({ "password": "four" }), "a copy");
    let (status, said) = user.call("POST", "data/production/db", Some(&json!({ "data": {} })));
    assert_eq!(status, 503, "{said}");
    let listed = run(&["backend", "list"], &server.data_dir);
    assert_eq!(listed.status.code(), Some(1));
    let doctor = text(&run(&["doctor"], &server.data_dir).stdout);
    assert!(doctor.contains("team, read-through of") && doctor.contains("FAILED"), "{doctor}");
    assert!(text(&listed.stdout).contains("cannot be reached"), "{}", text(&listed.stdout));
    drop(server);
    // Copies that are allowed no age are not read.
    let ask = [("FRESH", "0s"), ("STALE", "0s")];
    let server = serve(&installation, store, &[&folders[..], &ask].concat()).unwrap();
    let user = User { server: &server, token: &installation.admin_key };
    let (status, said) = user.call("GET", "data/production/db", None);
    assert_eq!(status, 503, "{said}");
    assert!(!said.to_string().contains("four"));
    assert_eq!(user.fields("staging/db"), json!({ "password": "own" }));
    let log = server.stop();
    for canary in ["four", ROOT_LIKE] {
        assert!(!log.contains(canary), "{log}");
    }
}

/// What is removed and made anew, here or there, is another secret though its numbers are the same; and one
/// that is written while others read is written once.
fn keeps_apart(store: &dyn Store) {
    let installation = Installation::new();
    // It was here before the other store counted.
    let server = installation.serve();
    let admin = installation.admin_key.as_str();
    let user = User { server: &server, token: admin };
    assert_eq!(user.put("team/before", &json!({ "k": "local" })), 200);
    drop(server);
    let folders = [("FOLDER", "team"), ("REMOTE_FOLDER", "r"), ("FRESH", "0s")];
    let server = serve(&installation, store, &folders).unwrap();
    let user = User { server: &server, token: admin };
    let (status, said) = user.call("GET", "data/team/before", None);
    assert_eq!(
        (status, said.to_string().contains("not in the backend team")),
        (400, true),
        "{said}"
    );
    assert_eq!(user.put("team/before", &json!({ "k": "carried over" })), 200);
    assert_eq!(store.get("r/before"), json!({ "k": "carried over" }));

    store.put("r/again", &json!({ "k": "leaked" }));
    assert_eq!(user.fields("team/again"), json!({ "k": "leaked" }));
    store.remove("r/again");
    store.put("r/again", &json!({ "k": "rotated" }));
    assert_eq!(user.fields("team/again"), json!({ "k": "rotated" }), "not the one of that number");
    // What is gone there can be removed here, with what is left of it.
    store.remove("r/again");
    assert_eq!(user.call("GET", "data/team/again", None).0, 404);
    assert_eq!(user.call("DELETE", "metadata/team/again", None).0, 204);
    assert_eq!(user.call("GET", "data/team/again?version=1", None).0, 404);

    writes_once(store, &user);
}

/// Readers do not come between the write there and the one here.
fn writes_once(store: &dyn Store, user: &User<'_>) {
    store.put("r/busy", &json!({ "n": 0 }));
    let done = AtomicBool::new(false);
    let done = &done;
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert!(user.fields("team/busy")["n"].is_number());
                }
            });
        }
        for number in 1..=5 {
            let version =
                user.call("GET", "metadata/team/busy", None).1["data"]["current_version"].clone();
            let body = json!({ "data": { "n": number }, "options": { "cas": version } });
            let (status, said) = user.call("POST", "data/team/busy", Some(&body));
            assert_eq!(status, 200, "{said}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(store.count("r/busy"), 6, "each is written once");
    let known = user.call("GET", "metadata/team/busy", None).1;
    assert_eq!(known["data"]["current_version"], 6);
}

/// What is given is another secret if it was removed and made anew, and another place is another place.
fn gives_to_one_place(store: &dyn Store) {
    let installation = Installation::new();
    let admin = installation.admin_key.as_str();
    let mode = [("MODE", "sync"), ("FOLDER", "out"), ("REMOTE_FOLDER", "s")];
    let server = serve(&installation, store, &mode).unwrap();
    let user = User { server: &server, token: admin };
    for value in ["one", "two"] {
        assert_eq!(user.put("out/x", &json!({ "k": value })), 200);
        eventually("it is there", || store.get("s/x") == json!({ "k": value }));
    }
    let promote = ["secret", "promote", "out/x", "--version", "1"];
    assert!(run(&promote, &server.data_dir).status.success());
    eventually("what was promoted back is current", || store.get("s/x") == json!({ "k": "one" }));
    let destroy = ["secret", "destroy", "out/x", "--all"];
    assert!(run(&destroy, &server.data_dir).status.success());
    assert_eq!(user.put("out/x", &json!({ "k": "another" })), 200);
    eventually("the new one is there", || store.get("s/x") == json!({ "k": "another" }));
    // What somebody changed there since is found by a look through all.
    store.put("s/x", &json!({ "k": "theirs" }));
    let sync = |more: &[&str]| {
        run(&[&["backend", "sync", "team"], more].concat(), &server.data_dir).status.code()
    };
    assert_eq!(sync(&[]), Some(1));
    assert_eq!(store.get("s/x"), json!({ "k": "theirs" }));
    assert_eq!(sync(&["--overwrite"]), Some(0));
    assert_eq!(store.get("s/x"), json!({ "k": "another" }));
    let given = store.count("s/x");
    // Another folder there is another place: nothing of this one is taken for given, or deleted.
    drop(server);
    let mode = [("MODE", "sync"), ("FOLDER", "out"), ("REMOTE_FOLDER", "elsewhere")];
    let server = serve(&installation, store, &mode).unwrap();
    eventually("it is there, too", || store.get("elsewhere/x") == json!({ "k": "another" }));
    drop(server);
    let mode = [("MODE", "sync"), ("FOLDER", "out/deeper"), ("REMOTE_FOLDER", "s")];
    let server = serve(&installation, store, &mode).unwrap();
    let user = User { server: &server, token: admin };
    assert_eq!(user.put("out/deeper/y", &json!({ "k": "y" })), 200);
    eventually("the narrower folder is given", || store.get("s/y") == json!({ "k": "y" }));
    assert_eq!(store.get("s/x"), json!({ "k": "another" }), "it still lives here");
    assert_eq!(store.count("s/x"), given);
}

/// Part of a path of the store: addresses are not logged, either.
const ROOT_LIKE: &str = "team/prod";

/// Another store is given what becomes current here.
fn syncs(store: &dyn Store, stop: impl FnOnce()) {
    let installation = Installation::new();
    let mode = [("MODE", "sync"), ("FOLDER", "production"), ("REMOTE_FOLDER", "out")];
    let server = serve(&installation, store, &mode).unwrap();
    let user = User { server: &server, token: &installation.admin_key };
    // Somebody else's, and the same as ours.
    store.put("out/theirs", &json!({ "k": "theirs" }));
    store.put("out/same", &json!({ "k": "<same>" }));
    for (path, value) in [("db", "one"), ("theirs", "ours"), ("same", "<same>")] {
        assert_eq!(user.put(&format!("production/{path}"), &json!({ "k": value })), 200);
    }
    assert_eq!(user.put("staging/db", &json!({ "k": "not given" })), 200);
    eventually("the first version is there", || store.get("out/db") == json!({ "k": "one" }));
    assert_eq!(user.put("production/db", &json!({ "k": "two" })), 200);
    eventually("the second is there", || store.get("out/db") == json!({ "k": "two" }));
    let listed = || text(&run(&["backend", "list", "--format", "json"], &server.data_dir).stdout);
    eventually("the conflict is told", || listed().contains("production/theirs"));
    assert!(!listed().contains("production/same"), "{}", listed());
    assert_eq!(store.get("out/theirs"), json!({ "k": "theirs" }));
    assert_eq!(store.get("out/staging/db"), Value::Null);
    // What waits is not given; what is promoted, is.
    let waits = json!({ "data": { "k": "three" }, "options": { "pending": true } });
    assert_eq!(user.call("POST", "data/production/db", Some(&waits)).0, 200);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(store.get("out/db"), json!({ "k": "two" }));
    assert!(run(&["secret", "promote", "production/db"], &server.data_dir).status.success());
    eventually("what was promoted is there", || store.get("out/db") == json!({ "k": "three" }));
    assert!(run(&["secret", "delete", "production/db"], &server.data_dir).status.success());
    eventually("what was deleted is gone", || store.get("out/db") == Value::Null);
    assert_eq!(user.put("production/db", &json!({ "k": "four" })), 200);
    eventually("it is back", || store.get("out/db") == json!({ "k": "four" }));
    let sync = |more: &[&str]| {
        let words = [&["backend", "sync", "team"], more].concat();
        run(&words, &server.data_dir)
    };
    assert_eq!(sync(&[]).status.code(), Some(1), "it is still not taken");
    let done = sync(&["--overwrite"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(store.get("out/theirs"), json!({ "k": "ours" }));
    assert_eq!(sync(&[]).status.code(), Some(0));
    assert_eq!(run(&["backend", "sync", "none"], &server.data_dir).status.code(), Some(2));
    assert!(
        run(&["secret", "destroy", "production/same", "--all"], &server.data_dir).status.success()
    );
    eventually("what was removed is gone", || store.get("out/same") == Value::Null);
    // A restart in between: what was given is not given again, and what was not, is.
    drop(server);
    let server = serve(&installation, store, &mode).unwrap();
    let user = User { server: &server, token: &installation.admin_key };
    assert_eq!(user.put("production/later", &json!({ "k": "v" })), 200);
    eventually("the later one is there", || store.get("out/later") == json!({ "k": "v" }));
    stop();
    // Nobody waits for a store that is away.
    assert_eq!(user.put("production/db", &json!({ "k": "five" })), 200);
    assert_eq!(user.fields("production/db"), json!({ "k": "five" }));
    eventually("it is told that it is away", || {
        let listed = run(&["backend", "list"], &server.data_dir);
        listed.status.code() == Some(1) && text(&listed.stdout).contains("cannot be reached")
    });
}

/// A store that can be stopped while it is looked at.
fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn openbao_is_read_through() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let openbao = OpenBao::start(&bao);
    reads_through(&openbao, || kill(openbao.pid()));
}

#[test]
fn openbao_is_given_what_becomes_current() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let openbao = OpenBao::start(&bao);
    syncs(&openbao, || kill(openbao.pid()));
}

#[test]
fn openbao_keeps_secrets_apart() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let openbao = OpenBao::start(&bao);
    keeps_apart(&openbao);
    gives_to_one_place(&openbao);
}

#[test]
fn aws_secrets_manager_keeps_secrets_apart() {
    let Some(moto) = program("KEYREEVE_MOTO", "moto_server") else { return };
    let moto = Moto::start(&moto);
    keeps_apart(&moto);
    gives_to_one_place(&moto);
}

/// A role whose policy does not reach everything, and whose proof is good for few logins.
#[test]
fn a_path_that_is_refused_holds_up_no_other() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let openbao = OpenBao::start(&bao);
    let root = |method: &str, path: &str, body: Value| {
        let (status, answer) = block_on(call(&openbao.url, ROOT, method, path, Some(&body)));
        assert!(status < 300, "{path}: {answer}");
        answer
    };
    let everything = "path \"secret/*\" { capabilities = [\"create\", \"read\", \"update\", \
                      \"delete\", \"list\"] } path \"secret/data/out/aaa\" { capabilities = [\"deny\"] }";
    root("PUT", "sys/policies/acl/sync", json!({ "policy": everything }));
    root("POST", "sys/auth/approle", json!({ "type": "approle" }));
    let role = json!({ "token_policies": ["sync"], "secret_id_num_uses": 2 });
    root("POST", "auth/approle/role/sync", role);
    let id = root("GET", "auth/approle/role/sync/role-id", json!({}));
    let proof = root("POST", "auth/approle/role/sync/secret-id", json!({}));
    let installation = Installation::new();
    let settings = [
        setting("KIND", "vault"),
        setting("ADDRESS", &openbao.url),
        setting("ROLE_ID", id["data"]["role_id"].as_str().unwrap()),
        setting("SECRET_ID", "env:TEST_PROOF"),
        ("TEST_PROOF".to_owned(), proof["data"]["secret_id"].as_str().unwrap().to_owned()),
        setting("MODE", "sync"),
        setting("FOLDER", "production"),
        setting("REMOTE_FOLDER", "out"),
    ];
    let settings: Vec<_> = settings.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let server = installation.serve_with(&settings);
    let user = User { server: &server, token: &installation.admin_key };
    for name in ["aaa", "bbb", "ccc"] {
        assert_eq!(user.put(&format!("production/{name}"), &json!({ "k": name })), 200);
    }
    for name in ["bbb", "ccc"] {
        let path = format!("out/{name}");
        eventually(name, || openbao.get(&path) == json!({ "k": name }));
    }
    for number in 0..5 {
        let value = json!({ "k": number });
        assert_eq!(user.put("production/aaa", &value), 200);
        assert_eq!(user.put("production/bbb", &value), 200);
        eventually("one more", || openbao.get("out/bbb") == value);
    }
    assert_eq!(openbao.get("out/aaa"), Value::Null);
    let listed = run_json_of(&server, &["backend", "list"]);
    assert_eq!(listed[0]["faults"][0]["path"], "production/aaa", "{listed}");
}

/// A write that got through though its answer was lost is no conflict, whatever was changed here since.
#[test]
fn a_lost_answer_holds_nothing_up() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let openbao = OpenBao::start(&bao);
    let losing = Losing::before(&openbao.url);
    let installation = Installation::new();
    let settings = [
        setting("KIND", "vault"),
        setting("ADDRESS", &losing.url),
        setting("TOKEN", "env:TEST_TOKEN"),
        ("TEST_TOKEN".to_owned(), ROOT.to_owned()),
        setting("MODE", "sync"),
        setting("FOLDER", "production"),
        setting("REMOTE_FOLDER", "out"),
    ];
    let settings: Vec<_> = settings.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let server = installation.serve_with(&settings);
    let user = User { server: &server, token: &installation.admin_key };
    let lost = |path: &str, value: &str| {
        losing.loses(true);
        assert_eq!(user.put(&format!("production/{path}"), &json!({ "k": value })), 200);
        let there = format!("out/{path}");
        eventually("it got through", || openbao.get(&there) == json!({ "k": value }));
    };
    // The next version comes before anybody knows of this one.
    lost("db", "one");
    assert_eq!(user.put("production/db", &json!({ "k": "two" })), 200);
    losing.loses(false);
    eventually("the next one is there", || openbao.get("out/db") == json!({ "k": "two" }));
    // Or it is deleted.
    lost("gone", "leaked");
    assert!(run(&["secret", "delete", "production/gone"], &server.data_dir).status.success());
    losing.loses(false);
    eventually("what was withdrawn is gone", || openbao.get("out/gone") == Value::Null);
    // Or the deletion is lost, and it is written again.
    losing.loses(true);
    assert!(run(&["secret", "delete", "production/db"], &server.data_dir).status.success());
    eventually("the deletion got through", || openbao.get("out/db") == Value::Null);
    assert_eq!(user.put("production/db", &json!({ "k": "three" })), 200);
    losing.loses(false);
    eventually("it is back", || openbao.get("out/db") == json!({ "k": "three" }));
    let listed = run_json_of(&server, &["backend", "list"]);
    assert_eq!(listed[0]["faults"], json!([]), "{listed}");
}

/// A credential that is good for nothing is told, and nothing is lost.
#[test]
fn a_credential_that_is_refused_is_told() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let openbao = OpenBao::start(&bao);
    let installation = Installation::new();
    let settings = |mode| {
        let all = [
            setting("KIND", "vault"),
            setting("ADDRESS", &openbao.url),
            setting("TOKEN", "env:TEST_TOKEN"),
            ("TEST_TOKEN".to_owned(), "canary-of-a-wrong-token".to_owned()),
            setting("FOLDER", "production"),
            setting("MODE", mode),
            setting("FRESH", "0s"),
        ];
        let all: Vec<_> = all.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        installation.serve_with(&all)
    };
    let server = settings("sync");
    let user = User { server: &server, token: &installation.admin_key };
    assert_eq!(user.put("production/db", &json!({ "k": "v" })), 200);
    eventually("it is told", || {
        let listed = run(&["backend", "list"], &server.data_dir);
        listed.status.code() == Some(1) && text(&listed.stdout).contains("refuses the credential")
    });
    let log = server.stop();
    assert!(!log.contains("canary"), "{log}");
    // What that store never had is not deleted here once it counts.
    drop(log);
    let server =
        serve(&installation, &openbao, &[("FOLDER", "production"), ("FRESH", "0s")]).unwrap();
    let user = User { server: &server, token: &installation.admin_key };
    assert_eq!(user.call("GET", "data/production/db", None).0, 400);
    drop(server);
    let server = settings("read-through");
    let user = User { server: &server, token: &installation.admin_key };
    assert_eq!(user.call("GET", "data/production/db", None).0, 502);
    drop(server);
    let server = installation.serve();
    let user = User { server: &server, token: &installation.admin_key };
    assert_eq!(user.fields("production/db"), json!({ "k": "v" }), "it is still here");
}

/// A store without the mount has not deleted anything.
#[test]
fn a_missing_mount_deletes_nothing() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let openbao = OpenBao::start(&bao);
    let installation = Installation::new();
    let server = serve(&installation, &openbao, &[("FOLDER", "team"), ("FRESH", "0s")]).unwrap();
    let user = User { server: &server, token: &installation.admin_key };
    openbao.put("x", &json!({ "k": "v" }));
    assert_eq!(user.fields("team/x"), json!({ "k": "v" }));
    assert_eq!(block_on(call(&openbao.url, ROOT, "DELETE", "sys/mounts/secret", None)).0, 204);
    let (status, said) = user.call("GET", "data/team/x", None);
    assert_eq!((status, said.to_string().contains("no such mount")), (502, true), "{said}");
    let known = user.call("GET", "data/team/x?version=1", None);
    assert_eq!(known.0, 502, "{}", known.1);
}

fn run_json_of(server: &Server, words: &[&str]) -> Value {
    let output = run(&[words, &["--format", "json"]].concat(), &server.data_dir);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn aws_secrets_manager_is_read_through() {
    let Some(moto) = program("KEYREEVE_MOTO", "moto_server") else { return };
    let moto = Moto::start(&moto);
    reads_through(&moto, || kill(moto.pid()));
}

#[test]
fn aws_secrets_manager_is_given_what_becomes_current() {
    let Some(moto) = program("KEYREEVE_MOTO", "moto_server") else { return };
    let moto = Moto::start(&moto);
    syncs(&moto, || kill(moto.pid()));
}

#[test]
fn aws_secrets_manager_is_taken_over() {
    let Some(moto) = program("KEYREEVE_MOTO", "moto_server") else { return };
    let moto = Moto::start(&moto);
    moto.put("old/db", &json!({ "password": "one" }));
    moto.put("old/db", &json!({ "password": "two" }));
    moto.boto(&["stage", "old/db", "{\"password\":\"three\"}", "AWSPENDING"]);
    moto.boto(&["put", "old/text", "no JSON"]);
    moto.boto(&["binary", "old/binary"]);
    moto.put("other/db", &json!({ "password": "not asked for" }));
    let installation = Installation::new();
    let server = installation.serve();
    let import = |secret: &str| {
        let mut command = keyreeve();
        command.args(["secret", "import", "--from-aws", REGION, "--from-path", "old", "-e", "new"]);
        command.args(["--format", "json", "--data-dir"]).arg(&server.data_dir);
        command.env("AWS_ACCESS_KEY_ID", &moto.key.0).env("AWS_SECRET_ACCESS_KEY", secret);
        command.env("AWS_ENDPOINT_URL", &moto.url).output().unwrap()
    };
    let wrong = import("canary-of-a-wrong-key");
    assert_eq!(wrong.status.code(), Some(2));
    let said = text(&wrong.stderr);
    assert!(said.contains("refuses the credential") && !said.contains("canary"), "{said}");
    let done = import(&moto.key.1);
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    let get = |path: &str, more: &[&str]| {
        let words = [&["secret", "get", path, "--reveal"], more].concat();
        run_json(&words, &server.data_dir)["data"].clone()
    };
    assert_eq!(get("new/db", &[]), json!({ "password": "two" }));
    assert_eq!(get("new/db", &["--version", "1"]), json!({ "password": "one" }));
    assert_eq!(get("new/db", &["--label", "pending"]), json!({ "password": "three" }));
    assert_eq!(get("new/text", &[]), json!({ "value": "no JSON" }));
    assert_eq!(get("new/binary", &[]), json!({ "binary": "AAE=" }));
    let listed = run_json(&["secret", "list", "-r"], &server.data_dir);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "{listed}");
}

#[test]
fn a_wrong_backend_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let wrong = |settings: &[(&str, &str)]| {
        let settings: Vec<_> = settings.iter().map(|(name, value)| setting(name, value)).collect();
        let settings: Vec<_> = settings.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let said = Server::try_start(&data_dir, &settings).err().unwrap();
        assert!(!data_dir.exists() && !said.contains("canary"), "{said}");
        said
    };
    let address = ("ADDRESS", "https://vault.example.com");
    for (settings, said) in [
        (&[("KIND", "canary")][..], "backends.team.kind: must be one of"),
        (&[("MODE", "canary"), address], "backends.team.mode: must be one of"),
        (&[("TOKEN", "canary"), address], "backends.team.token: must be file:/path"),
        (&[address], "backends.team.token: must be given, or role_id and secret_id"),
        (
            &[("ADDRESS", "http://vault.example.com"), ("TOKEN", "env:T")],
            "backends.team.address: must",
        ),
        (&[("FRESH", "canary"), address, ("TOKEN", "env:T")], "backends.team.fresh: must"),
        (&[("KIND", "aws-secrets-manager")], "backends.team.region: must be given"),
        (&[("NONSENSE", "canary")], "backends.team.nonsense: is not a setting"),
        (&[address, ("TOKEN", "env:NOT_SET")], "no such environment variable"),
    ] {
        let told = wrong(settings);
        assert!(told.contains(said), "{settings:?}: {told}");
    }
}
