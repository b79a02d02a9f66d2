//! Nothing of credentials, keys and what is said in calls stays anywhere but where it belongs.

use std::fs;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use keyreeve_api::{CallUsageQuery, ListAuditQuery};
use serde_json::json;

use crate::{
    backends::eventually,
    proxy::{Proxied, SECRET, answer},
    raw_http::hear,
    service::forms,
    support::{block_on, text},
};

/// What a client says in a call, wherever it can say something.
const SAID: [&str; 5] = [
    "canary-5512-path",
    "canary-5512-query",
    "canary-5512-header",
    "canary-5512-body",
    "canary-5512-name",
];

/// Calls that succeed, are refused, and fail, each with something that nobody is to keep; gives every
/// problem that the client was told of.
fn use_the_proxy(proxied: &Proxied) -> Vec<String> {
    let [path, query, header, body, name] = SAID;
    let mut problems = Vec::new();
    for (connection, rest) in [
        ("echo", "x"),
        ("echo", "secret-in-pieces"),
        ("echo", "reject-versions"),
        ("echo", "redirect"),
        ("echo", "garbage"),
        ("echo", "gzip"),
        ("echo", "close"),
        ("echo", "status/500"),
        ("narrow", "x"),
        ("hasty", "slow-head"),
        ("internal", "x"),
        ("broken", "x"),
        ("off", "x"),
        ("no-such", "x"),
        (name, "x"),
    ] {
        let path = format!("{connection}/{rest}/{path}?to=http://a.example/&{query}={query}");
        for method in ["GET", "POST", "OPTIONS"] {
            let request = proxied.request(method, &path).header("x-said", header);
            let request = request.header("user-agent", header).header("cookie", header);
            let answer = answer(request.body(if method == "POST" { body } else { "" }));
            if answer.header("content-type") == "application/problem+json" {
                problems.push(answer.body);
            }
        }
        let nobody = answer(proxied.bare("GET", &path).bearer_auth(header));
        problems.push(nobody.body);
    }
    // What is no good HTTP is not repeated, either.
    let head = proxied.head(&format!("GET /proxy/echo/{path}"));
    for rest in [format!("{header}\r\n\r\n"), format!("x-said : {header}\r\n\r\n")] {
        problems.push(hear(&proxied.server.url, format!("{head}{rest}").as_bytes()).text);
    }
    problems
}

#[test]
fn nothing_secret_and_nothing_said_is_in_logs_records_or_problems() {
    let proxied = Proxied::start_with(&[("KEYREEVE_LOG__LEVEL", "trace")]);
    let routes = json!({ "routes": ["GET /v1/*"] });
    proxied.connect("narrow", &json!({ "restrictions": routes }));
    proxied.connect("hasty", &json!({ "patience": { "first_byte_ms": 200 } }));
    proxied.connect("internal", &json!({ "allow_internal": false }));
    proxied.connect("off", &json!({ "enabled": false }));
    proxied.write("broken", &json!({ "token": SECRET }));
    proxied.connect("broken", &json!({ "secret": "broken" }));
    proxied.write("broken", &json!({ "token": format!("{SECRET}\r\n") }));
    let problems = use_the_proxy(&proxied);
    assert!(problems.len() > 20, "{problems:?}");
    eventually("calls are recorded", || proxied.calls().iter().any(|call| call.status == 500));

    let all = ListAuditQuery { limit: Some(1000), ..ListAuditQuery::default() };
    let audit = block_on(proxied.admin().list_audit(&all)).unwrap();
    assert!(audit.items.iter().any(|entry| entry.action == "secret.inject"));
    let audit = serde_json::to_string(&audit).unwrap();
    let calls = format!("{:?}", proxied.calls());
    let usage = block_on(proxied.admin().connection_usage(&CallUsageQuery::default())).unwrap();
    let connections = block_on(proxied.admin().list_connections()).unwrap();
    let page = answer(crate::proxy::http().get(format!("{}/metrics", proxied.server.url))).body;
    let Proxied { server, installation, service, key, .. } = proxied;
    assert!(!service.seen().is_empty());
    let log = server.stop();
    assert!(log.contains("\"DEBUG\"") && log.contains("no connection to the service"));

    let places = [
        ("problems", problems.join("\n")),
        ("audit", audit),
        ("calls", calls),
        ("usage", format!("{usage:?}")),
        ("connections", format!("{connections:?}")),
        ("metrics", page),
        ("log", log),
    ];
    let encoded = BASE64_STANDARD_NO_PAD.encode(SECRET);
    let keys = [&key, &installation.admin_key].map(|key| key[21..].to_owned());
    for (place, text) in &places {
        for secret in forms(SECRET).iter().chain([&encoded]).chain(&keys) {
            assert!(!text.contains(secret.as_str()), "{place} has {secret}");
        }
        // The names of connections that are not there are recorded as they were asked for.
        let may_be_named = *place == "audit";
        for said in SAID.iter().filter(|said| !(may_be_named && said.ends_with("-name"))) {
            assert!(!text.contains(said), "{place} has {said}");
        }
    }
    // Nor is anything of it on the disk: what is at rest is sealed.
    for entry in fs::read_dir(installation.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = fs::read(&path) else { continue };
        let kept = text(&bytes);
        for secret in forms(SECRET).iter().chain(&keys[..1]) {
            assert!(!kept.contains(secret.as_str()), "{} has {secret}", path.display());
        }
    }
}
