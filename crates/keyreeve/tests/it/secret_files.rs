//! Secrets that come from files and other vaults, and go to programs and other tools.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    cli::with_stdin,
    support::{Installation, PATIENCE, Server, block_on, keyreeve, run, run_json, text},
    vault::call,
    vault_clients::{OpenBao, ROOT, program},
};

const LIVE: &str = "sk_live_EXAMPLEexampleEXAMPLE00";
const TEST: &str = "sk_test_EXAMPLEexampleEXAMPLE00";
const SID: &str = "AC0123456789abcdef0123456789abcdef";

fn env_file() -> String {
    format!(
        "# the shop\nexport STRIPE_SECRET_KEY={LIVE}\nOPENAI_API_KEY=changeme\n\
         TWILIO_AUTH_TOKEN='{SID}'\nDB_URL=\"postgres://app:canary@db/app\"\nLEVEL=info # usual\n"
    )
}

/// Runs a command; its exit code and what it says as JSON.
fn said(arguments: &[&str], server: &Server) -> (Option<i32>, Value) {
    let words: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
    let output = run(&words, &server.data_dir);
    let value = serde_json::from_slice(&output.stdout);
    (output.status.code(), value.unwrap_or_else(|_| json!(text(&output.stderr))))
}

fn fields(server: &Server, path: &str) -> Value {
    run_json(&["secret", "get", path, "--reveal"], &server.data_dir)["data"].clone()
}

fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_env_file_is_taken_over_and_what_cannot_be_meant_is_left_out() {
    let installation = Installation::new();
    let server = installation.serve();
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), ".env", env_file());
    let import =
        ["secret", "import", path.as_str(), "--environment", "production", "--by-provider"];
    let with = |more: &[&'static str]| -> Vec<&str> {
        import.iter().copied().chain(more.iter().copied()).collect()
    };
    let (code, dry) = said(&with(&["--dry-run"]), &server);
    assert_eq!((code, &dry["taken"], &dry["left_out"]), (Some(1), &json!(3), &json!(2)));
    assert_eq!(run_json(&["secret", "list", "-r"], &server.data_dir)["items"], json!([]));
    let (code, report) = said(&with(&[]), &server);
    assert_eq!((code, &report["taken"]), (Some(1), &json!(3)));
    let remark = |field: &str| {
        let values = report["values"].as_array().unwrap();
        let row = values.iter().find(|row| row["field"] == field).unwrap();
        (row["mode"].clone(), row["remark"].clone())
    };
    assert_eq!(remark("STRIPE_SECRET_KEY"), (json!("live"), Value::Null));
    assert!(remark("OPENAI_API_KEY").1.as_str().unwrap().starts_with("is a placeholder"));
    assert!(remark("TWILIO_AUTH_TOKEN").1.as_str().unwrap().starts_with("is a Twilio account SID"));
    assert!(!report.to_string().contains("canary") && !report.to_string().contains(SID));
    assert_eq!(fields(&server, "production/stripe"), json!({ "STRIPE_SECRET_KEY": LIVE }));
    assert_eq!(fields(&server, "production/app"), json!({ "LEVEL": "info" }));
    // Once more changes nothing; another value is not replaced unasked, and then nothing is.
    let (_, again) = said(&with(&[]), &server);
    assert_eq!((&again["written"], again["unchanged"].as_array().unwrap().len()), (&json!([]), 3));
    fs::write(&path, env_file().replace("info", "debug") + "NEW=1\n").unwrap();
    let (code, refused) = said(&with(&[]), &server);
    assert_eq!(code, Some(2));
    assert!(refused.to_string().contains("LEVEL of production/app has another value"), "{refused}");
    assert_eq!(fields(&server, "production/app"), json!({ "LEVEL": "info" }));
    let (code, _) = said(&with(&["--overwrite", "--force"]), &server);
    assert_eq!(code, Some(0));
    assert_eq!(fields(&server, "production/app"), json!({ "LEVEL": "debug", "NEW": "1" }));
    let written = run_json(&["audit", "list", "--action", "secret.put"], &server.data_dir);
    let forced = written["items"].as_array().unwrap().iter();
    let forced: Vec<_> = forced.filter_map(|it| it["details"].get("forced")).collect();
    assert_eq!(forced.len(), 2, "{written}");
}

#[test]
fn files_that_break_a_rule_are_told_by_line_and_leave_nothing_behind() {
    let installation = Installation::new();
    let server = installation.serve();
    let folder = tempfile::tempdir().unwrap();
    for (name, content, part) in [
        ("twice.env", &b"A=canary\nA=canary2\n"[..], "line 2"),
        ("utf8.env", b"A=1\nB=\xffcanary\n", "line 2: it is not UTF-8"),
        ("quote.env", b"A=1\nB='canary\n", "line 2: the quote"),
        ("name.env", b"9A=canary\n", "line 1"),
        ("nested.json", b"{\"a\": {\"b\": \"canary\"}}", "line 1"),
        ("list.yaml", b"a:\n  - canary\n", "line 1"),
    ] {
        let path = file(folder.path(), name, content);
        let output = run(&["secret", "import", &path, "-e", "staging"], &server.data_dir);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(told.contains(part) && !told.contains("canary"), "{name}: {told}");
    }
    assert_eq!(run_json(&["secret", "list", "-r"], &server.data_dir)["items"], json!([]));
}

#[test]
fn what_cannot_be_meant_is_refused_on_every_way_in() {
    let installation = Installation::new();
    let server = installation.serve();
    let put = |value: &str, more: &[&'static str]| -> Output {
        let words = ["secret", "put", "production/stripe", "secret_key=-"];
        let words: Vec<&str> = words.into_iter().chain(more.iter().copied()).collect();
        with_stdin(&words, value, &server)
    };
    assert!(put(LIVE, &[]).status.success());
    for (value, part) in
        [(TEST, "for tests"), ("changeme", "placeholder"), (SID, "does not look like")]
    {
        let refused = put(value, &[]);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2));
        assert!(told.contains(part) && !told.contains(value), "{told}");
    }
    let admin = &installation.admin_key;
    let path = "secret/data/production/stripe";
    let body = json!({ "data": { "secret_key": TEST } });
    let (status, answer) = block_on(call(&server.url, admin, "PUT", path, Some(&body)));
    assert_eq!(status, 400, "{answer}");
    let (status, _) = block_on(call(&server.url, admin, "PATCH", path, Some(&body)));
    assert_eq!(status, 400);
    // What nobody named in a patch is not looked at.
    let other = json!({ "data": { "note": "x" } });
    assert_eq!(block_on(call(&server.url, admin, "PATCH", path, Some(&other))).0, 200);
    let forced = json!({ "data": { "secret_key": TEST }, "options": { "force": true } });
    assert_eq!(block_on(call(&server.url, admin, "PUT", path, Some(&forced))).0, 200);
    assert!(put(TEST, &["--force"]).status.success());
}

#[test]
fn programs_get_their_secrets_and_nothing_of_ours() {
    let installation = Installation::new();
    let server = installation.serve();
    assert!(
        with_stdin(&["secret", "put", "production/stripe", "secret_key=-"], LIVE, &server)
            .status
            .success()
    );
    assert!(
        with_stdin(&["secret", "put", "production/app", "LEVEL=-"], "a b'c", &server)
            .status
            .success()
    );
    assert!(
        with_stdin(&["secret", "put", "staging/app", "LEVEL=-"], "x", &server).status.success()
    );
    let run_in = |words: &[&str]| {
        let mut command = keyreeve();
        command.args(words.iter().take_while(|word| **word != "--"));
        command.arg("--data-dir").arg(&server.data_dir).arg("--");
        command.args(words.iter().skip_while(|word| **word != "--").skip(1));
        // Over the socket no key is needed; whatever is set must not reach the program.
        command.env("KEYREEVE_TOKEN", "").output().unwrap()
    };
    let script =
        "printf '%s|%s|%s' \"$STRIPE_SECRET_KEY\" \"$LEVEL\" \"${KEYREEVE_TOKEN-none}\"; exit 7";
    let output = run_in(&["run", "--environment", "production", "--", "sh", "-c", script]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(7), format!("{LIVE}|a b'c|none"))
    );
    let output = run_in(&["run", "--path", "production/app", "--clean", "--", "env"]);
    let names: Vec<String> = text(&output.stdout)
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .collect();
    assert!(names.contains(&"LEVEL".to_owned()));
    let usual = ["LEVEL", "PATH", "HOME", "USER", "LANG", "TERM", "TZ"];
    assert!(names.iter().all(|name| usual.contains(&name.as_str())), "{names:?}");
    let both = ["run", "--path", "production/app", "--path", "staging/app", "--", "true"];
    assert!(text(&run_in(&both).stderr).contains("both give the variable LEVEL"));
    assert_eq!(run_in(&["run", "--environment", "nowhere", "--", "true"]).status.code(), Some(2));
    assert_eq!(
        run_in(&["run", "--path", "production/app", "--", "/nowhere"]).status.code(),
        Some(2)
    );
}

/// Ended when the test is.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(path: &Path, wanted: &str) {
    for _ in 0..PATIENCE.as_secs() * 10 {
        if fs::read_to_string(path).is_ok_and(|text| text == wanted) {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{} never held {wanted:?}: {:?}", path.display(), fs::read_to_string(path));
}

#[test]
fn a_watched_program_is_started_anew_and_signals_pass() {
    let installation = Installation::new();
    let server = installation.serve();
    let put = |value: &str| {
        assert!(
            with_stdin(&["secret", "put", "production/app", "LEVEL=-"], value, &server)
                .status
                .success()
        );
    };
    put("one");
    // Neither a version that ends one day nor one without fields is news at every look.
    let body = json!({ "delete_version_after": "1h" });
    let set = |path: &str, body: &Value| {
        block_on(call(&server.url, &installation.admin_key, "POST", path, Some(body))).0
    };
    assert_eq!(set("secret/metadata/production/ends", &body), 204);
    assert_eq!(set("secret/data/production/ends", &json!({ "data": { "ENDS": "x" } })), 200);
    assert_eq!(set("secret/data/production/empty", &json!({ "data": {} })), 200);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let script = format!(
        "trap 'printf hup >> {out}; exit 5' HUP; trap 'exit 0' TERM; printf \"$LEVEL.\" >> {out}; \
         while true; do sleep 0.05; done",
        out = out.display()
    );
    let mut command = keyreeve();
    command.args(["run", "--environment", "production", "--watch", "restart", "--interval", "1"]);
    command.arg("--data-dir").arg(&server.data_dir).args(["--", "sh", "-c", &script]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    wait_for(&out, "one.");
    // What no variable can hold does not end the program that runs.
    assert_eq!(set("secret/data/production/nul", &json!({ "data": { "N": "a\u{0}b" } })), 200);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(fs::read_to_string(&out).unwrap(), "one.");
    assert!(run(&["secret", "delete", "production/nul"], &server.data_dir).status.success());
    put("two");
    wait_for(&out, "one.two.");
    let hangup = Command::new("kill").args(["-HUP", &running.0.id().to_string()]).status();
    assert!(hangup.unwrap().success());
    wait_for(&out, "one.two.hup");
    assert_eq!(running.0.wait().unwrap().code(), Some(5));
}

#[test]
fn exports_are_for_their_owner_and_environments_are_compared_without_values() {
    let installation = Installation::new();
    let server = installation.serve();
    for (path, value) in [("production/app", LIVE), ("staging/app", TEST)] {
        assert!(
            with_stdin(&["secret", "put", path, "STRIPE_SECRET_KEY=-"], value, &server)
                .status
                .success()
        );
    }
    assert!(
        with_stdin(&["secret", "put", "staging/app", "ONLY=-", "--merge"], "x", &server)
            .status
            .success()
    );
    let (code, rows) = said(&["secret", "diff", "staging", "production"], &server);
    assert_eq!(code, Some(1));
    let states: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert_eq!(states, [&json!("only_in_one"), &json!("different")]);
    assert!(!rows.to_string().contains("sk_"));
    assert_eq!(said(&["secret", "diff", "staging", "staging"], &server), (Some(0), json!([])));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.env");
    let output = path.to_str().unwrap();
    let export = ["secret", "export", "-e", "staging", "--form", "dotenv", "--output", output];
    assert!(run(&export, &server.data_dir).status.success());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(run(&export, &server.data_dir).status.code(), Some(2), "it is there already");
    // What was written is read again as it was.
    let back = ["secret", "import", output, "-e", "development"];
    assert!(run(&back, &server.data_dir).status.success());
    assert_eq!(fields(&server, "development/app"), fields(&server, "staging/app"));
}

#[test]
fn another_vault_is_taken_over_with_its_versions() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let installation = Installation::new();
    let server = installation.serve();
    let openbao = OpenBao::start(&bao);
    let write = |path: &str, body: Value| {
        let (status, answer) = block_on(call(&openbao.url, ROOT, "POST", path, Some(&body)));
        assert!(status < 300, "{path}: {answer}");
    };
    for number in 1..=3 {
        let id = 9_007_199_254_740_993_u64;
        write("secret/data/team/web/db", json!({ "data": { "v": number.to_string(), "id": id } }));
    }
    write("secret/data/top", json!({ "data": { "k": "v" } }));
    write("secret/delete/team/web/db", json!({ "versions": [2] }));
    write("secret/metadata/top", json!({ "custom_metadata": { "owner": "web" } }));
    let import = |more: &[&str]| {
        let mut command = keyreeve();
        command.args(["secret", "import", "--from-vault", &openbao.url, "-e", "old"]).args(more);
        command.args(["--format", "json", "--data-dir"]).arg(&server.data_dir);
        command.env("VAULT_TOKEN", ROOT).output().unwrap()
    };
    // A version that cannot be meant leaves its whole secret out: half a history would be worse.
    let path = "secret/data/shop/stripe";
    write(path, json!({ "data": { "secret_key": "changeme" } }));
    write(path, json!({ "data": { "secret_key": TEST } }));
    let left_out = import(&["--from-path", "shop"]);
    assert_eq!(left_out.status.code(), Some(1));
    assert!(text(&left_out.stdout).contains("secret_key of version 1 is a placeholder"));
    assert_eq!(run_json(&["secret", "list", "-r"], &server.data_dir)["items"], json!([]));
    let (status, _) =
        block_on(call(&openbao.url, ROOT, "DELETE", "secret/metadata/shop/stripe", None));
    assert_eq!(status, 204);
    let dry = import(&["--dry-run"]);
    assert!(dry.status.success(), "{}", text(&dry.stderr));
    assert_eq!(run_json(&["secret", "list", "-r"], &server.data_dir)["items"], json!([]));
    let done = import(&[]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["secrets"][0]["versions"], 2);
    assert!(report["secrets"][0]["remark"].as_str().unwrap().contains("1 deleted"));
    let first = ["secret", "get", "old/team/web/db", "--version", "1", "--reveal"];
    assert_eq!(run_json(&first, &server.data_dir)["data"]["v"], "1");
    assert_eq!(fields(&server, "old/team/web/db")["v"], "3");
    let known = run_json(&["secret", "versions", "old/top"], &server.data_dir);
    assert_eq!(known["custom_metadata"], json!({ "owner": "web" }));
    assert_eq!(import(&[]).status.code(), Some(1), "all of it is here already");
    assert_eq!(
        run_json(&["secret", "versions", "old/top"], &server.data_dir)["current_version"],
        1
    );
    history_of_another_vault_is_kept((&server, &installation.admin_key), &write, &import);
}

/// Versions that end one day, whose current one is gone, that are many, or of which some are here.
fn history_of_another_vault_is_kept(
    (server, admin): (&Server, &str),
    write: &dyn Fn(&str, Value),
    import: &dyn Fn(&[&str]) -> std::process::Output,
) {
    let folder = ["--from-path", "more"];
    let bounds =
        json!({ "max_versions": 20, "delete_version_after": "768h", "cas_required": true });
    write("secret/metadata/more/many", bounds);
    for number in 0..12 {
        let body = json!({ "data": { "n": number }, "options": { "cas": number } });
        write("secret/data/more/many", body);
    }
    write("secret/data/more/gone", json!({ "data": { "n": 1 } }));
    write("secret/data/more/gone", json!({ "data": { "n": 2 } }));
    write("secret/delete/more/gone", json!({ "versions": [2] }));
    write("secret/data/more/half", json!({ "data": { "n": 1 } }));
    write("secret/data/more/half", json!({ "data": { "n": 2 } }));
    write("secret/data/more/other", json!({ "data": { "n": 1 } }));
    for (path, value) in [("secret/data/old/half", 1), ("secret/data/old/other", 9)] {
        let body = json!({ "data": { "n": value }, "options": { "pending": true } });
        assert_eq!(block_on(call(&server.url, admin, "POST", path, Some(&body))).0, 200);
    }
    let done = import(&folder);
    assert_eq!(done.status.code(), Some(1), "one was left alone: {}", text(&done.stderr));
    let report = text(&done.stdout);
    for said in ["is here already with other versions", "deleted there"] {
        assert!(report.contains(said), "{report}");
    }
    let known = |path: &str| run_json(&["secret", "versions", path], &server.data_dir);
    let many = known("old/many");
    assert_eq!(many["current_version"], 12);
    assert_eq!(many["versions"].as_object().unwrap().len(), 12);
    assert_eq!((&many["cas_required"], &many["max_versions"]), (&json!(true), &json!(20)));
    assert_ne!(many["versions"]["12"]["deletion_time"], "", "it ends here, too");
    assert_eq!(known("old/gone")["current_version"], 0, "no old value becomes current");
    assert_eq!(known("old/half")["current_version"], 2);
    assert_eq!(known("old/half")["versions"].as_object().unwrap().len(), 2);
    assert_eq!(known("old/other")["current_version"], 0);
}

#[test]
fn a_secret_is_described_explained_and_its_readers_are_known() {
    let installation = Installation::new();
    let server = installation.serve();
    let put = ["secret", "put", "production/stripe", "secret_key=-"];
    assert!(with_stdin(&put, LIVE, &server).status.success());
    let describe = |more: &[&'static str]| {
        let words = ["secret", "describe", "production/stripe"];
        said(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>(), &server)
    };
    let known = json!({ "provider": "stripe", "labels": { "current": 1 } });
    assert_eq!(describe(&[]).1, known, "found by the catalogue");
    let (code, about) =
        describe(&["--owner", "payments", "--risk", "high", "--rotate-every-days", "90"]);
    assert_eq!(code, Some(0));
    let mut expected = json!({ "provider": "stripe", "owner": "payments", "risk": "high",
                               "rotate_every_days": 90, "labels": { "current": 1 } });
    assert_eq!(about, expected);
    let (code, told) = describe(&["--rotate-every-days", "9000"]);
    assert_eq!(code, Some(2));
    assert!(told.to_string().contains("1 to 3650"), "{told}");
    // A new version changes nothing of it.
    assert!(with_stdin(&put, LIVE, &server).status.success());
    expected["labels"] = json!({ "current": 2, "previous": 1 });
    assert_eq!(describe(&[]).1, expected);
    let admin = &installation.admin_key;
    let policy = json!({ "policy": "path \"production/*\" { capabilities = [\"read\"] }\n\
                                    path \"production/db\" { capabilities = [\"deny\"] }" });
    let (status, _) =
        block_on(call(&server.url, admin, "PUT", "sys/policies/acl/web", Some(&policy)));
    assert_eq!(status, 204);
    let explain = |path: &str| said(&["secret", "explain", path, "--policy", "web"], &server).1;
    let why = explain("production/stripe");
    assert_eq!((&why["pattern"], &why["granted"]), (&json!("production/*"), &json!(["read"])));
    let why = explain("production/db");
    assert_eq!((&why["pattern"], &why["granted"]), (&json!("production/db"), &json!(["deny"])));
    assert_eq!(explain("staging/db")["pattern"], Value::Null);
    assert_eq!(said(&["secret", "explain", "a"], &server).1["everything"], json!(true));
    for version in ["1", "1", "2"] {
        let path = format!("secret/data/production/stripe?version={version}");
        assert_eq!(block_on(call(&server.url, admin, "GET", &path, None)).0, 200);
    }
    let (_, used) = said(&["secret", "used", "production/stripe"], &server);
    let mut used: Vec<_> = used.as_array().unwrap().iter().collect();
    used.sort_by_key(|it| it["version"].as_u64());
    assert_eq!((&used[0]["version"], &used[0]["reads"]), (&json!(1), &json!(2)));
    assert_eq!((&used[1]["version"], &used[1]["reads"]), (&json!(2), &json!(1)));
    assert!(used.iter().all(|it| it["actor"].as_str().unwrap().starts_with("key:")));
}

#[test]
fn a_pending_version_waits_and_versions_have_names() {
    let installation = Installation::new();
    let server = installation.serve();
    let put = |value: &str, more: &[&'static str]| {
        let words = ["secret", "put", "production/app", "KEY=-"];
        let words: Vec<&str> = words.into_iter().chain(more.iter().copied()).collect();
        assert!(with_stdin(&words, value, &server).status.success());
    };
    let value = |more: &[&'static str]| {
        let words = ["secret", "get", "production/app", "--field", "KEY"];
        said(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>(), &server).1["KEY"]
            .clone()
    };
    put("one", &[]);
    put("two", &["--pending"]);
    assert_eq!((value(&[]), value(&["--label", "pending"])), (json!("one"), json!("two")));
    assert_eq!(said(&["secret", "promote", "production/app"], &server).1["version"], 2);
    assert_eq!((value(&[]), value(&["--label", "previous"])), (json!("two"), json!("one")));
    assert_eq!(said(&["secret", "promote", "production/app"], &server).0, Some(2), "none waits");
    assert_eq!(
        said(&["secret", "label", "production/app", "blue", "--version", "1"], &server).0,
        Some(0)
    );
    assert_eq!(value(&["--label", "blue"]), json!("one"));
    for bad in [["current", "1"], ["blue", "9"], ["Blue", "1"]] {
        let words = ["secret", "label", "production/app", bad[0], "--version", bad[1]];
        assert_eq!(said(&words, &server).0, Some(2), "{bad:?}");
    }
    assert_eq!(
        said(&["secret", "get", "production/app", "--label", "nowhere"], &server).0,
        Some(2)
    );
    assert_eq!(
        said(&["secret", "promote", "production/app", "--version", "1"], &server).0,
        Some(0)
    );
    assert_eq!(value(&[]), json!("one"));
}
