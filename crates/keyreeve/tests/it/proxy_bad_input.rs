//! What the proxy makes of clients, credentials and services that are not as they should be.

use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::{
    backends::eventually,
    proxy::{Proxied, SECRET, answer, answered, http},
    raw_http::{Raw, hear},
    support::{PATIENCE, block_on},
    vault::call,
};

impl Proxied {
    /// A call of the Vault API as an admin.
    fn vault(&self, method: &str, path: &str, body: Option<&Value>) -> u16 {
        block_on(call(&self.server.url, &self.installation.admin_key, method, path, body)).0
    }

    /// Whether the answer to a call breaks off.
    fn breaks_off(&self, path: &str) -> bool {
        let whole = block_on(async {
            let response = self.request("GET", path).send().await?;
            response.bytes().await
        });
        whole.is_err()
    }
}

#[test]
fn an_unknown_connection_is_not_there() {
    let proxied = Proxied::start();
    for (path, expected) in [
        ("none/x", "404 not_found"),
        ("ECHO/x", "404 not_found"),
        ("echo2", "404 not_found"),
        ("", "400 invalid_request"),
        ("/x", "400 invalid_request"),
        ("%65cho/x", "400 invalid_request"),
        ("echo%2Fx", "400 invalid_request"),
        ("echo:8080/x", "400 invalid_request"),
    ] {
        assert_eq!(proxied.get(path).code(), expected, "{path}");
    }
    let long = "n".repeat(5_000);
    assert_eq!(proxied.get(&format!("{long}/x")).code(), "404 not_found");
    assert!(proxied.service.seen().is_empty());
    assert_eq!(proxied.figure("keyreeve_proxy_refusals_total{kind=\"not_found\"}"), 4);
}

#[test]
fn a_sealed_vault_calls_nobody() {
    let proxied = Proxied::start();
    // Made once, so it was in memory.
    assert_eq!(proxied.get("echo/x").status, 200);
    assert_eq!(proxied.vault("PUT", "sys/seal", None), 204);
    proxied.service.forget();
    for path in ["echo/x", "none/x"] {
        assert_eq!(proxied.get(path).code(), "503 vault_sealed", "{path}");
    }
    assert!(proxied.service.seen().is_empty());
    assert_eq!(proxied.figure("keyreeve_proxy_refusals_total{kind=\"sealed\"}"), 2);
}

#[test]
fn a_secret_that_is_gone_is_not_called_without() {
    let proxied = Proxied::start();
    assert_eq!(proxied.get("echo/x").status, 200);
    proxied.service.forget();
    assert_eq!(proxied.vault("DELETE", "secret/data/service", None), 204);
    assert_eq!(proxied.get("echo/x").code(), "503 credential_unavailable");
    let versions = json!({ "versions": [1] });
    assert_eq!(proxied.vault("POST", "secret/undelete/service", Some(&versions)), 204);
    assert_eq!(proxied.get("echo/x").status, 200);
    assert_eq!(proxied.service.last().header("authorization"), format!("Bearer {SECRET}"));
    proxied.service.forget();
    assert_eq!(proxied.vault("PUT", "secret/destroy/service", Some(&versions)), 204);
    assert_eq!(proxied.get("echo/x").code(), "503 credential_unavailable");
    assert_eq!(proxied.vault("DELETE", "secret/metadata/service", None), 204);
    assert_eq!(proxied.get("echo/x").code(), "503 credential_unavailable");
    assert!(proxied.service.seen().is_empty());
    // A secret of that name that is made anew is another one.
    proxied.write("service", &json!({ "token": "made-up-anew" }));
    assert_eq!(proxied.get("echo/x").status, 200);
    assert_eq!(proxied.service.last().header("authorization"), "Bearer made-up-anew");
}

#[test]
fn a_version_that_ends_by_itself_is_not_called_with() {
    let proxied = Proxied::start();
    let lasts = json!({ "delete_version_after": "4s" });
    assert_eq!(proxied.vault("POST", "secret/metadata/service", Some(&lasts)), 204);
    proxied.write("service", &json!({ "token": "made-up-for-a-while" }));
    assert_eq!(proxied.get("echo/x").status, 200);
    assert_eq!(proxied.service.last().header("authorization"), "Bearer made-up-for-a-while");
    // Nobody changes anything: only time passes.
    let refused = || proxied.get("echo/x").code() == "503 credential_unavailable";
    eventually("the version has ended", refused);
    proxied.service.forget();
    assert!(refused());
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn a_secret_without_the_field_is_not_called_without() {
    let proxied = Proxied::start();
    assert_eq!(proxied.get("echo/x").status, 200);
    proxied.service.forget();
    proxied.write("service", &json!({ "other": "made-up-value", "another": "made-up-value" }));
    let refused = proxied.get("echo/x");
    assert_eq!(refused.code(), "503 credential_unavailable");
    assert!(!refused.body.contains("made-up-value"), "{refused:?}");
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn a_service_that_is_down_is_told_of_and_then_left_alone() {
    let proxied = Proxied::start();
    // A port that is taken, so that nobody else listens there either.
    let taken = TcpStream::connect(proxied.service.authority()).unwrap();
    let down = format!("http://{}", taken.local_addr().unwrap());
    proxied.connect("down", &json!({ "base_url": down }));
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(proxied.get("down/x").code());
        if codes.last().is_some_and(|code| code == "503 circuit_open") {
            break;
        }
    }
    let (last, before) = codes.split_last().unwrap();
    assert_eq!(last, "503 circuit_open", "{codes:?}");
    assert!(before.len() >= 2, "one failure is no outage: {codes:?}");
    assert!(before.iter().all(|code| code == "502 service_unreachable"), "{codes:?}");
    let refused = proxied.get("down/x");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(proxied.figure("keyreeve_proxy_circuits_open"), 1);
    assert_eq!(proxied.get("echo/x").status, 200, "others are called on");
}

#[test]
fn a_service_that_is_back_is_called_again() {
    let proxied = Proxied::start();
    let mut opened = false;
    for _ in 0..20 {
        opened = proxied.get("echo/close").code() == "503 circuit_open";
        if opened {
            break;
        }
    }
    assert!(opened);
    assert_eq!(proxied.get("echo/x").code(), "503 circuit_open");
    eventually("it is called again", || proxied.get("echo/x").status == 200);
    assert_eq!(proxied.get("echo/x").status, 200);
    assert_eq!(proxied.figure("keyreeve_proxy_circuits_open"), 0);
}

#[test]
fn what_breaks_off_on_a_connection_that_waited_is_sent_again_where_nothing_is_done_twice() {
    let proxied = Proxied::start();
    proxied.connect(
        "form",
        &json!({ "inject": { "kind": "form", "fields": { "token": "{token}" } } }),
    );
    // One client, so that all of it comes to one core, with its connections to the service.
    let client = http();
    let send = async |method: &str, path: &str| {
        let request = client.request(method.parse().unwrap(), proxied.url(path));
        let request = request.header("x-keyreeve-key", &proxied.key);
        answered(request.header("x-twice", "one").header("x-twice", "two")).await
    };
    let seen_of = async |method: &str, connection: &str| {
        assert_eq!(send("GET", &format!("{connection}/x")).await.status, 200);
        proxied.service.forget();
        let broken_off = send(method, &format!("{connection}/close")).await;
        assert_eq!(broken_off.code(), "502 service_unreachable");
        proxied.service.seen()
    };
    block_on(async {
        let seen = seen_of("GET", "echo").await;
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(seen[0].headers, seen[1].headers);
        assert_eq!(seen[1].header("authorization"), format!("Bearer {SECRET}"));
        assert_eq!(seen[1].all("x-twice"), ["one", "two"]);
        assert_eq!(seen_of("POST", "echo").await.len(), 1);
        // It has a body once the credential is in it.
        assert_eq!(seen_of("GET", "form").await.len(), 1);
    });
}

#[test]
fn a_service_that_is_slow_is_waited_for_as_long_as_was_agreed_on() {
    let proxied = Proxied::start();
    proxied.connect("hasty", &json!({ "patience": { "first_byte_ms": 300 } }));
    assert_eq!(proxied.get("hasty/slow-head?ms=60000").code(), "504 service_timeout");
    assert_eq!(proxied.get("echo/slow-head?ms=1000").body, "late");
    assert_eq!(proxied.figure("keyreeve_proxy_refusals_total{kind=\"timed_out\"}"), 1);
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    proxied.connect("silent", &json!({ "base_url": url, "patience": { "first_byte_ms": 300 } }));
    assert_eq!(proxied.get("silent/x").code(), "504 service_timeout");
    let url = url.replace("http:", "https:");
    proxied.connect("tls", &json!({ "base_url": url, "patience": { "connect_ms": 300 } }));
    assert_eq!(proxied.get("tls/x").code(), "504 service_timeout");
}

#[test]
fn what_a_service_breaks_is_not_passed_on_as_whole() {
    let proxied = Proxied::start();
    for (path, expected) in [
        ("close", "502 service_unreachable"),
        ("garbage", "502 service_answer"),
        ("many-headers", "502 service_answer"),
        ("huge-header", "502 service_answer"),
        ("two-lengths", "502 service_answer"),
        ("switch", "502 service_answer"),
        ("gzip", "502 service_answer"),
    ] {
        // In between all is well, so that the service is not left alone.
        assert_eq!(proxied.get("echo/x").status, 200, "before {path}");
        assert_eq!(proxied.get(&format!("echo/{path}")).code(), expected, "{path}");
    }
    // What is too much is told as that.
    assert_eq!(proxied.get("echo/ninety-headers").status, 200);
    for path in ["one-header-more", "many-headers", "huge-header"] {
        let refused = proxied.get(&format!("echo/{path}"));
        assert_eq!(refused.code(), "502 service_answer", "{path}");
        assert!(refused.body.contains("more than 100 headers"), "{path}: {}", refused.body);
        assert_eq!(proxied.get("echo/x").status, 200, "after {path}");
    }
    for path in ["half", "bad-chunks"] {
        assert!(proxied.breaks_off(&format!("echo/{path}")), "{path}");
    }
    // None of it is left on a connection that is used again.
    for number in 0..10 {
        let said = proxied.get(&format!("echo/after/{number}"));
        assert_eq!(said.json()["target"], format!("/after/{number}"));
    }
    eventually("it is recorded", || {
        proxied.calls().iter().any(|call| call.path == "/half" && !call.whole)
    });
}

#[test]
fn an_answer_that_cannot_be_looked_through_passes_only_where_nothing_is_looked_for() {
    let proxied = Proxied::start();
    assert_eq!(proxied.get("echo/gzip").code(), "502 service_answer");
    assert_eq!(answer(proxied.request("HEAD", "echo/gzip")).header("content-encoding"), "gzip");
    // The service was asked for what can be looked through, in one piece.
    let request = proxied.request("GET", "echo/x").header("accept-encoding", "gzip, br");
    assert_eq!(answer(request.header("range", "bytes=3-9")).status, 200);
    let seen = proxied.service.last();
    assert_eq!(seen.header("accept-encoding"), "identity");
    assert!(seen.all("range").is_empty(), "{seen:?}");
    // What is nothing secret need not be looked for: then ranges and encodings are the client's.
    proxied.connect("public", &json!({ "public": ["token"] }));
    let request = proxied.request("GET", "public/status/206").header("accept-encoding", "gzip");
    assert_eq!(answer(request.header("range", "bytes=3-9")).status, 206);
    let seen = proxied.service.last();
    assert_eq!((seen.header("accept-encoding"), seen.header("range")), ("gzip", "bytes=3-9"));
    assert_eq!(proxied.get("public/gzip").header("content-encoding"), "gzip");
}

#[test]
fn bombs_of_headers_are_refused_before_anything_is_called() {
    let settings = [("KEYREEVE_SERVER__HEADER_TIMEOUT", "2s")];
    let proxied = Proxied::start_with(&settings);
    let head = proxied.head("GET /proxy/echo/x");
    let many = (0..1_000).map(|number| format!("x-{number}: y\r\n"));
    let many: String = many.collect();
    let huge = format!("x-huge: {}\r\n", "h".repeat(1 << 20));
    let long_path = proxied.head(&format!("GET /proxy/echo/{}", "p".repeat(1 << 20)));
    for bomb in
        [format!("{head}{many}\r\n"), format!("{head}{huge}\r\n"), format!("{long_path}\r\n")]
    {
        let heard = hear(&proxied.server.url, bomb.as_bytes());
        let refused = heard.statuses().iter().all(|status| (400..500).contains(status));
        assert!(heard.is_closed && refused, "{}", heard.text);
    }
    // One that never ends is not waited for.
    let mut raw = Raw::connect(&proxied.server.url);
    raw.send(head.as_bytes());
    assert!(raw.rest().is_closed, "within {PATIENCE:?}");
    assert!(proxied.service.seen().is_empty());
    assert_eq!(proxied.get("echo/x").status, 200);
}
