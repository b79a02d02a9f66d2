//! Roles, tokens and wrapped answers: beside a real OpenBao, and where ours promises more.

use std::{
    collections::HashMap,
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    support::{Installation, PATIENCE, Server, block_on, http, run, run_json},
    vault::call,
    vault_clients::{OpenBao, ROOT, normal, program},
};

/// Method, path, body, and what of the answer is kept: a name, and where it stands. `$name` in path,
/// body or token is what was kept.
type Step = (&'static str, &'static str, Value, &'static [(&'static str, &'static str)]);

const NONE: &[(&str, &str)] = &[];
const TOKEN: &[(&str, &str)] = &[("token", "/auth/client_token"), ("accessor", "/auth/accessor")];

/// What is asked of both, each line with the token it is asked with.
fn steps() -> Vec<(&'static str, Step)> {
    let role = json!({ "token_policies": ["web"], "token_ttl": "20m", "token_max_ttl": "1h",
                       "secret_id_num_uses": 2, "secret_id_ttl": "1h" });
    let secret_id =
        &[("secret_id", "/data/secret_id"), ("secret_id_accessor", "/data/secret_id_accessor")];
    let login = json!({ "role_id": "$role_id", "secret_id": "$secret_id" });
    let policy =
        json!({ "policy": "path \"secret/data/production/*\" { capabilities = [\"read\"] }" });
    let wrapped: &[(&str, &str)] = &[("wrapped", "/wrap_info/token")];
    vec![
        ("$root", ("PUT", "sys/policies/acl/web", policy, NONE)),
        ("$root", ("PUT", "secret/data/production/a", json!({ "data": { "k": "v" } }), NONE)),
        ("$root", ("GET", "auth/approle/role/web", Value::Null, NONE)),
        ("$root", ("LIST", "auth/approle/role", Value::Null, NONE)),
        ("$root", ("PUT", "auth/approle/role/web", role, NONE)),
        ("$root", ("GET", "auth/approle/role/web", Value::Null, NONE)),
        ("$root", ("LIST", "auth/approle/role", Value::Null, NONE)),
        (
            "$root",
            ("GET", "auth/approle/role/web/role-id", Value::Null, &[("role_id", "/data/role_id")]),
        ),
        ("$root", ("PUT", "auth/approle/role/nowhere/secret-id", Value::Null, NONE)),
        ("$root", ("PUT", "auth/approle/role/web/secret-id", Value::Null, secret_id)),
        ("", ("PUT", "auth/approle/login", json!({ "role_id": "x", "secret_id": "y" }), NONE)),
        (
            "",
            ("PUT", "auth/approle/login", json!({ "role_id": "$role_id", "secret_id": "y" }), NONE),
        ),
        ("", ("PUT", "auth/approle/login", login.clone(), NONE)),
        ("", ("POST", "auth/approle/login", login.clone(), TOKEN)),
        ("", ("PUT", "auth/approle/login", login.clone(), NONE)),
        ("$token", ("GET", "secret/data/production/a", Value::Null, NONE)),
        ("$token", ("GET", "secret/data/staging/a", Value::Null, NONE)),
        ("$token", ("PUT", "secret/data/production/a", json!({ "data": {} }), NONE)),
        ("$token", ("GET", "auth/token/lookup-self", Value::Null, NONE)),
        ("$token", ("PUT", "auth/token/renew-self", json!({ "increment": "10m" }), NONE)),
        ("$root", ("POST", "auth/token/lookup", json!({ "token": "$token" }), NONE)),
        ("$root", ("POST", "auth/token/lookup-accessor", json!({ "accessor": "$accessor" }), NONE)),
        ("$root", ("POST", "auth/token/renew", json!({ "token": "$token" }), NONE)),
        ("$root", ("POST", "auth/token/lookup", json!({ "token": "krt_none" }), NONE)),
        ("$token", ("PUT", "auth/token/revoke-self", Value::Null, NONE)),
        ("$token", ("GET", "auth/token/lookup-self", Value::Null, NONE)),
        (
            "$root",
            (
                "POST",
                "auth/token/create",
                json!({ "policies": ["web"], "ttl": "1h",
            "meta": { "a": "b" }, "display_name": "x", "num_uses": 3, "renewable": false }),
                TOKEN,
            ),
        ),
        ("$token", ("GET", "auth/token/lookup-self", Value::Null, NONE)),
        ("$token", ("GET", "secret/data/production/a", Value::Null, NONE)),
        ("$token", ("GET", "secret/data/production/a", Value::Null, NONE)),
        ("$token", ("GET", "secret/data/production/a", Value::Null, NONE)),
        (
            "$root",
            ("POST", "auth/token/create", json!({ "period": "1h", "policies": ["web"] }), TOKEN),
        ),
        ("$token", ("PUT", "auth/token/renew-self", json!({ "increment": "1m" }), NONE)),
        ("$root", ("POST", "auth/token/revoke-accessor", json!({ "accessor": "$accessor" }), NONE)),
        ("$token", ("GET", "auth/token/lookup-self", Value::Null, NONE)),
        ("$root wrap", ("GET", "secret/data/production/a", Value::Null, wrapped)),
        ("$root", ("PUT", "sys/wrapping/lookup", json!({ "token": "$wrapped" }), NONE)),
        ("$root", ("PUT", "sys/wrapping/unwrap", json!({ "token": "$wrapped" }), NONE)),
        ("$root", ("PUT", "sys/wrapping/unwrap", json!({ "token": "$wrapped" }), NONE)),
        ("$root wrap", ("PUT", "auth/approle/role/web/secret-id", Value::Null, wrapped)),
        ("$wrapped", ("PUT", "sys/wrapping/unwrap", Value::Null, secret_id)),
        ("$root", ("LIST", "auth/approle/role/web/secret-id", Value::Null, NONE)),
        (
            "$root",
            (
                "PUT",
                "auth/approle/role/web/secret-id/lookup",
                json!({ "secret_id": "$secret_id" }),
                NONE,
            ),
        ),
        (
            "$root",
            (
                "PUT",
                "auth/approle/role/web/secret-id/destroy",
                json!({ "secret_id": "$secret_id" }),
                NONE,
            ),
        ),
        ("", ("PUT", "auth/approle/login", login, NONE)),
        ("$root", ("DELETE", "auth/approle/role/web", Value::Null, NONE)),
        ("$root", ("GET", "auth/approle/role/web", Value::Null, NONE)),
    ]
}

async fn step(
    base: &str,
    known: &mut HashMap<&'static str, String>,
    who: &str,
    (method, path, body, kept): &Step,
) -> (u16, Value) {
    let fill = |text: &str| {
        let mut names: Vec<_> = known.iter().collect();
        // The longest first: one may begin like another.
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        names
            .into_iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
    };
    let (token, wraps) = who.split_once(' ').map_or((who, false), |(token, _)| (token, true));
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = http().request(method, format!("{base}/v1/{path}"));
    request = request.header("x-vault-request", "true");
    if !token.is_empty() {
        request = request.header("x-vault-token", fill(token));
    }
    if wraps {
        request = request.header("x-vault-wrap-ttl", "60s");
    }
    if !body.is_null() {
        request = request.body(fill(&body.to_string()));
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let answer: Value =
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null);
    for (name, place) in *kept {
        let value = answer.pointer(place).and_then(Value::as_str);
        known.insert(name, value.unwrap_or_default().to_owned());
    }
    (status, answer)
}

/// Without what is another one at every run.
fn comparable(value: Value) -> Value {
    const OWN: &[&str] = &[
        "client_token",
        "role_id",
        "secret_id",
        "secret_id_accessor",
        "token",
        "keys",
        "last_updated_time",
        "local_secret_ids",
        "entity_id",
        "wrapped_accessor",
        "last_renewal_time",
    ];
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(name, value)| {
                    !OWN.contains(&name.as_str()) || (name == "keys" && value.is_null())
                })
                .map(|(name, value)| (name, comparable(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(comparable).collect()),
        other => other,
    }
}

#[test]
fn roles_tokens_and_wrapped_answers_are_those_of_openbao() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let installation = Installation::new();
    let server = installation.serve();
    let openbao = OpenBao::start(&bao);
    let enable = json!({ "type": "approle" });
    let enabled = call(&openbao.url, ROOT, "POST", "sys/auth/approle", Some(&enable));
    assert_eq!(block_on(enabled).0, 204);
    let mut ours = HashMap::from([("root", installation.admin_key.clone())]);
    let mut theirs = HashMap::from([("root", ROOT.to_owned())]);
    let (mut table, mut differ) = (String::new(), 0);
    for (who, asked) in steps() {
        let our = block_on(step(&server.url, &mut ours, who, &asked));
        let their = block_on(step(&openbao.url, &mut theirs, who, &asked));
        let [our_body, their_body] =
            [our.1, their.1].map(|body| comparable(normal(body)).to_string());
        let same = our.0 == their.0 && our_body == their_body;
        differ += usize::from(!same);
        table.push_str(&format!("{:6} {:45} {} {same}\n", asked.0, asked.1, our.0));
        if !same {
            table.push_str(&format!("  ours:   {} {our_body}\n", our.0));
            table.push_str(&format!("  theirs: {} {their_body}\n", their.0));
        }
    }
    assert_eq!(differ, 0, "\n{table}");
}

/// Asks with a token; the status.
fn read(server: &Server, token: &str, path: &str) -> u16 {
    block_on(call(&server.url, token, "GET", &format!("secret/data/{path}"), None)).0
}

fn write(server: &Server, token: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = block_on(call(&server.url, token, "PUT", path, Some(body)));
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

fn create_token(server: &Server, token: &str, body: &Value) -> String {
    let answer = write(server, token, "auth/token/create", body);
    answer["auth"]["client_token"].as_str().unwrap().to_owned()
}

fn web_policy(server: &Server, admin: &str) {
    let policy = json!({ "policy": "path \"production/*\" { capabilities = [\"read\"] }" });
    write(server, admin, "sys/policies/acl/web", &policy);
    write(server, admin, "secret/data/production/a", &json!({ "data": { "k": "v" } }));
}

#[test]
fn tokens_end_with_what_they_were_made_by() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    web_policy(&server, admin);
    let arguments = ["key", "create", "--name", "app", "--permission", "keyreeve.policies.web.use"];
    let made = run_json(&arguments, &server.data_dir);
    let key = made["key"].as_str().unwrap();
    let web = json!({ "policies": ["web"] });
    let first = create_token(&server, key, &web);
    let second = create_token(&server, &first, &json!({}));
    let third = create_token(&server, &second, &web);
    for token in [&first, &second, &third] {
        assert_eq!(read(&server, token, "production/a"), 200);
        assert_eq!(read(&server, token, "staging/a"), 403);
    }
    // Nobody gives more than they have.
    for body in [
        json!({ "policies": ["root"] }),
        json!({ "policies": ["other"] }),
        json!({ "no_parent": true }),
    ] {
        for token in [key, &first] {
            let created = call(&server.url, token, "PUT", "auth/token/create", Some(&body));
            assert_eq!(block_on(created).0, 400, "{body}");
        }
    }
    for path in ["auth/token/lookup", "auth/token/revoke"] {
        let other = json!({ "token": first });
        assert_eq!(block_on(call(&server.url, &second, "PUT", path, Some(&other))).0, 403);
    }
    for path in ["sys/policies/acl/web", "sys/seal", "sys/rotate", "auth/approle/role/x"] {
        assert_eq!(block_on(call(&server.url, &first, "PUT", path, Some(&json!({})))).0, 403);
    }
    // After a restart they are what they were.
    server.stop();
    let server = installation.serve();
    assert_eq!(read(&server, &third, "production/a"), 200);
    write(&server, &second, "auth/token/revoke-self", &json!({}));
    assert_eq!(read(&server, &first, "production/a"), 200);
    assert_eq!(
        (read(&server, &second, "production/a"), read(&server, &third, "production/a")),
        (403, 403)
    );
    let id = made["id"].as_str().unwrap();
    assert!(run(&["key", "revoke", id], &server.data_dir).status.success());
    assert_eq!(read(&server, &first, "production/a"), 403, "its key is revoked");
}

#[test]
fn a_token_does_no_more_than_its_key_does_now() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    web_policy(&server, admin);
    let make = |more: &[&str]| {
        let words = ["key", "create", "--name", "app", "--permission", "keyreeve.policies.web.use"];
        let words: Vec<&str> = words.into_iter().chain(more.iter().copied()).collect();
        run_json(&words, &server.data_dir)
    };
    let made = make(&[]);
    let token =
        create_token(&server, made["key"].as_str().unwrap(), &json!({ "policies": ["web"] }));
    assert_eq!(read(&server, &token, "production/a"), 200);
    let id = made["id"].as_str().unwrap();
    let update = ["key", "update", id, "--permission", "documents.read"];
    assert!(run(&update, &server.data_dir).status.success());
    assert_eq!(read(&server, &token, "production/a"), 403, "its key may not any more");
    let bound = make(&["--allow-ip", "127.0.0.1/32"]);
    let key = bound["key"].as_str().unwrap();
    let nothing = json!({});
    let created = call(&server.url, key, "PUT", "auth/token/create", Some(&nothing));
    let (status, answer) = block_on(created);
    assert_eq!(status, 400);
    assert!(answer["errors"][0].as_str().unwrap().contains("bound to addresses"), "{answer}");
    // What another token may do is asked by those who may do everything.
    let other = create_token(&server, admin, &json!({ "policies": ["web"] }));
    let ask = json!({ "token": other, "path": "secret/data/production/a" });
    let asked = call(&server.url, admin, "PUT", "sys/capabilities", Some(&ask));
    assert_eq!(block_on(asked).1["data"]["capabilities"], json!(["read"]));
    assert_eq!(
        block_on(call(
            &server.url,
            &other,
            "PUT",
            "sys/capabilities",
            Some(&json!({
        "token": token, "path": "a" }))
        ))
        .0,
        403
    );
}

#[test]
fn nobody_makes_tokens_beyond_their_rights() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    web_policy(&server, admin);
    let policy = json!({ "policy": "path \"production/*\" { capabilities = [\"read\"] }" });
    write(&server, admin, "sys/policies/acl/default", &policy);
    let make = |permission: &str| {
        let words = ["key", "create", "--name", "app", "--permission", permission];
        run_json(&words, &server.data_dir)["key"].as_str().unwrap().to_owned()
    };
    let post = |token: &str, path: &str, body: &Value| {
        block_on(call(&server.url, token, "PUT", path, Some(body))).0
    };
    let stranger = make("documents.read");
    assert_eq!(post(&stranger, "auth/token/create", &json!({})), 403);
    assert_eq!(post(&stranger, "auth/token/create", &json!({ "policies": ["default"] })), 400);
    let none = json!({ "policy": "path \"elsewhere/*\" { capabilities = [\"read\"] }" });
    write(&server, admin, "sys/policies/acl/web", &none);
    let token = create_token(&server, &make("keyreeve.policies.web.use"), &json!({}));
    assert_eq!(read(&server, &token, "production/a"), 403, "the key has no policy called default");
    let few = create_token(&server, admin, &json!({ "policies": ["web"], "num_uses": 5 }));
    assert_eq!(post(&few, "auth/token/create", &json!({})), 400);
    // A length of time that cannot be is refused before a token is made.
    let mut known = HashMap::from([("root", admin.clone())]);
    let count = |known: &mut HashMap<&'static str, String>| {
        let list: Step = ("LIST", "auth/token/accessors", Value::Null, NONE);
        let (_, listed) = block_on(step(&server.url, known, "$root", &list));
        listed["data"]["keys"].as_array().unwrap().len()
    };
    let before = count(&mut known);
    let status = block_on(async {
        let url = format!("{}/v1/auth/token/create", server.url);
        let request = http().put(url).header("x-vault-token", admin);
        request.header("x-vault-wrap-ttl", "800h").send().await.unwrap().status()
    });
    assert_eq!(status, 400);
    assert_eq!(count(&mut known), before);
}

#[test]
fn a_secret_id_for_one_use_gives_one_token_however_many_ask() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    web_policy(&server, admin);
    write(
        &server,
        admin,
        "auth/approle/role/web",
        &json!({ "policies": "web", "secret_id_num_uses": "1" }),
    );
    let role = block_on(call(&server.url, admin, "GET", "auth/approle/role/web/role-id", None)).1;
    let made = write(&server, admin, "auth/approle/role/web/secret-id", &json!({}));
    let login =
        json!({ "role_id": role["data"]["role_id"], "secret_id": made["data"]["secret_id"] });
    let statuses = block_on(async {
        let tasks = (0..16).map(|_| {
            let (url, login) = (server.url.clone(), login.clone());
            tokio::spawn(async move {
                call(&url, "none", "PUT", "auth/approle/login", Some(&login)).await.0
            })
        });
        let mut statuses = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            statuses.push(task.await.unwrap());
        }
        statuses
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    // What would restrict a role and is not known is refused, not passed over.
    let bound = json!({ "token_bound_cidrs": ["10.0.0.0/8"] });
    let put = call(&server.url, admin, "PUT", "auth/approle/role/web", Some(&bound));
    assert_eq!(block_on(put).0, 400);
}

#[test]
fn a_second_look_at_a_wrapped_answer_is_an_alarm() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    web_policy(&server, admin);
    let mut known = HashMap::from([("root", admin.clone())]);
    let wrap: Step =
        ("GET", "secret/data/production/a", Value::Null, &[("wrapped", "/wrap_info/token")]);
    block_on(step(&server.url, &mut known, "$root wrap", &wrap));
    let wrapped = known["wrapped"].clone();
    let unwrap =
        |token: &str| block_on(call(&server.url, token, "PUT", "sys/wrapping/unwrap", None));
    assert_eq!(unwrap(&wrapped).1["data"]["data"], json!({ "k": "v" }));
    let (status, answer) = unwrap(&wrapped);
    assert_eq!(status, 400);
    assert_eq!(answer["errors"][0], "wrapping token is not valid or does not exist");
    let listed =
        run_json(&["audit", "list", "--action", "wrapping.second_unwrap"], &server.data_dir);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let log = server.stop();
    assert!(log.contains("ALARM") && !log.contains(&wrapped), "{log}");
}

/// Ended when the test is.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_agent_renders_a_template_and_renders_it_again() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    web_policy(&server, admin);
    write(&server, admin, "auth/approle/role/web", &json!({ "token_policies": "web" }));
    let role = block_on(call(&server.url, admin, "GET", "auth/approle/role/web/role-id", None)).1;
    let made = write(&server, admin, "auth/approle/role/web/secret-id", &json!({}));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("role_id"), role["data"]["role_id"].as_str().unwrap()).unwrap();
    fs::write(file("secret_id"), made["data"]["secret_id"].as_str().unwrap()).unwrap();
    let template = "{{ with secret \"secret/data/production/a\" }}k={{ .Data.data.k }}{{ end }}";
    fs::write(file("template"), template).unwrap();
    let config = format!(
        "vault {{\n  address = {:?}\n}}\nauto_auth {{\n  method \"approle\" {{\n    config = {{\n      \
         role_id_file_path = {:?}\n      secret_id_file_path = {:?}\n    }}\n  }}\n}}\n\
         template_config {{\n  static_secret_render_interval = \"1s\"\n}}\n\
         template {{\n  source = {:?}\n  destination = {:?}\n}}\n",
        server.url,
        file("role_id"),
        file("secret_id"),
        file("template"),
        file("rendered"),
    );
    fs::write(file("agent.hcl"), config).unwrap();
    let agent = Command::new(&bao)
        .args(["agent", "-config", &file("agent.hcl")])
        .env_clear()
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _agent = Agent(agent);
    let wait_for = |wanted: &str| {
        for _ in 0..PATIENCE.as_secs() * 10 {
            if fs::read_to_string(file("rendered")).is_ok_and(|text| text == wanted) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("the agent did not render {wanted}");
    };
    wait_for("k=v");
    write(&server, admin, "secret/data/production/a", &json!({ "data": { "k": "second" } }));
    wait_for("k=second");
}
