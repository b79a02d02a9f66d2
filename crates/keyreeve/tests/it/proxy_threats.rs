//! An attacker who holds a client's key, or runs code where it is: one test for each way in which others
//! have lost the credential. Addresses are in `proxy_addresses`, shapes of requests in `proxy_smuggling`,
//! pages in `proxy_browsers`.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use futures_util::future::join_all;
use keyreeve_api::{CreateProjectRequest, ReasonRequest};
use serde_json::{Value, json};

use crate::{
    backends::eventually,
    proxy::{Answer, Proxied, SECRET, answer, answered, http},
    raw_http::hear,
    service::{Service, forms},
    support::{block_on, refusal},
    vault::call,
};

/// A value that the client sends and that the service must not get.
const EVIL: &str = "evil-of-the-client";

impl Proxied {
    /// Says a whole request by its first line and more headers, with the client's key.
    fn say(&self, first: &str, headers: &str) -> Vec<u16> {
        let head = self.head(first);
        let text = format!("{head}connection: close\r\n{headers}\r\n");
        hear(&self.server.url, text.as_bytes()).statuses()
    }
}

#[test]
fn the_credential_goes_to_its_own_host_whatever_the_client_names() {
    let proxied = Proxied::start();
    let evil = Service::start();
    let (host, url) = (evil.authority(), evil.url());
    for first in [
        "GET /proxy/echo/x".to_owned(),
        format!("GET /proxy/echo/{url}/x"),
        format!("GET /proxy/echo//{host}/x"),
        format!("GET /proxy/echo/@{host}/x"),
        format!("GET /proxy/echo/x?url={url}&host={host}"),
        format!("GET /proxy/echo@{host}/x"),
        format!("GET /proxy/{host}/x"),
        format!("GET {url}/proxy/echo/x"),
        format!("GET http://{host}@{}/proxy/echo/x", proxied.service.authority()),
    ] {
        proxied.say(&first, "");
    }
    for name in ["X-Forwarded-Host", "X-Host", "X-Original-URL", "X-Rewrite-URL", "Forwarded"] {
        let value = if name == "Forwarded" { format!("host={host}") } else { host.clone() };
        assert_eq!(proxied.say("GET /proxy/echo/x", &format!("{name}: {value}\r\n")), [200]);
    }
    assert_eq!(evil.connected(), 0);
    let seen = proxied.service.seen();
    assert!(seen.len() >= 6);
    for one in seen {
        assert_eq!(one.header("host"), proxied.service.authority(), "{one:?}");
        assert!(one.all("x-forwarded-host").is_empty() && one.all("forwarded").is_empty());
    }
}

#[test]
fn who_may_not_read_a_secret_cannot_have_it_sent_anywhere() {
    let proxied = Proxied::start();
    let manager = proxied.make_key(&json!({ "permissions": ["keyreeve.connections.manage",
                                           "keyreeve.connections.call"] }));
    let client = || proxied.server.client(manager.key.expose());
    let echo = Service::start();
    let more = json!({ "base_url": echo.url() });
    let made = block_on(client().create_connection(&proxied.connection("mine", &more)));
    assert_eq!(refusal(made), "forbidden");
    for change in [
        more,
        json!({ "inject": { "kind": "query", "parameters": { "q": "{token}" } } }),
        json!({ "public": ["token"] }),
        json!({ "allow_internal": false }),
    ] {
        let change = serde_json::from_value(change).unwrap();
        assert_eq!(refusal(block_on(client().update_connection("echo", &change))), "forbidden");
    }
    assert_eq!(proxied.get("echo/x").status, 200);
    assert_eq!(echo.connected(), 0);
}

#[test]
fn a_credential_goes_in_clear_text_only_where_that_was_said() {
    let proxied = Proxied::start();
    for more in [json!({ "allow_plaintext": false }), json!({ "allow_plaintext": null })] {
        assert_eq!(refusal(proxied.try_connect("clear", &more)), "invalid_request");
    }
    let https = proxied.service.url().replace("http:", "https:");
    let more = json!({ "allow_plaintext": false, "base_url": https,
                       "patience": { "connect_ms": 500 } });
    proxied.connect("tls", &more);
    let change = serde_json::from_value(json!({ "base_url": proxied.service.url() })).unwrap();
    let changed = block_on(proxied.admin().update_connection("tls", &change));
    assert_eq!(refusal(changed), "invalid_request");
    // A service that speaks no TLS gets nothing that it could read.
    assert!(proxied.get("tls/x").status >= 500);
    let change = serde_json::from_value(json!({ "allow_plaintext": false })).unwrap();
    let changed = block_on(proxied.admin().update_connection("echo", &change));
    assert_eq!(refusal(changed), "invalid_request");
    assert!(!format!("{:?}", proxied.service.seen()).contains(SECRET));
}

#[test]
fn methods_that_reflect_or_tunnel_get_no_credential() {
    let proxied = Proxied::start();
    for first in [
        "TRACE /proxy/echo/x",
        "OPTIONS /proxy/echo/x",
        "CONNECT /proxy/echo/x",
        "CONNECT evil.example:443",
        // As some services read them.
        "TRACK /proxy/echo/x",
        "trace /proxy/echo/x",
        "Trace /proxy/echo/x",
        "options /proxy/echo/x",
        "connect /proxy/echo/x",
    ] {
        let statuses = proxied.say(first, "");
        assert!(statuses.iter().all(|status| (400..500).contains(status)), "{first}: {statuses:?}");
        assert!(proxied.service.seen().is_empty(), "{first}");
    }
    assert_eq!(answer(proxied.request("TRACE", "echo/x")).code(), "405 method_not_allowed");
    assert_eq!(answer(proxied.request("OPTIONS", "echo/x")).code(), "405 method_not_allowed");
}

#[test]
fn a_redirect_is_passed_back_and_never_followed() {
    let proxied = Proxied::start();
    let elsewhere = Service::start();
    let stars = "*".repeat(SECRET.len());
    for method in ["GET", "POST"] {
        let path = format!("echo/redirect?to={}/stolen", elsewhere.url());
        let answer = answer(proxied.request(method, &path));
        assert_eq!(answer.status, 302);
        let location = format!("{}/stolen?token={stars}", elsewhere.url());
        assert_eq!(answer.header("location"), location);
    }
    let own = format!("{}/x", proxied.service.url());
    assert_eq!(proxied.get(&format!("echo/redirect?to={own}")).status, 302);
    assert_eq!(elsewhere.connected(), 0);
    assert_eq!(proxied.service.seen().len(), 3, "nor to where the credential may go");
}

#[test]
fn no_way_to_the_proxy_goes_past_the_question_who_asks() {
    let proxied = Proxied::start();
    let paths = [
        "/proxy/echo/x",
        "/proxy/echo",
        "/proxy/echo?x",
        "/proxy/echo/",
        "/proxy//echo/x",
        "//proxy/echo/x",
        "/./proxy/echo/x",
        "/x/../proxy/echo/x",
        "/api/v1/../../proxy/echo/x",
        "/v1/proxy/echo/x",
        "/proxy/echo/../echo/x",
        "/proxy/%65cho/x",
        "/%70roxy/echo/x",
        "/proxy%2Fecho/x",
        "/PROXY/echo/x",
        "/proxy;a/echo/x",
        "/proxy\\echo\\x",
        "http://127.0.0.1/proxy/echo/x",
    ];
    for path in paths {
        for method in ["GET", "HEAD", "POST", "DELETE", "PROPFIND"] {
            let text =
                format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
            let heard = hear(&proxied.server.url, text.as_bytes());
            let statuses = heard.statuses();
            assert!((400..500).contains(&statuses[0]), "{method} {path}: {}", heard.text);
        }
    }
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn a_path_with_two_readings_is_refused_and_what_was_judged_is_what_is_sent() {
    let proxied = Proxied::start();
    let routes = json!({ "restrictions": { "routes": ["GET /v1/public/*"] } });
    proxied.connect("narrow", &routes);
    for path in [
        "/v1/public/../private",
        "/v1/public/%2e%2e/private",
        "/v1/public/%2E%2e%2fprivate",
        "/v1/public/..%2fprivate",
        "/v1/public/..%5cprivate",
        "/v1/public/..\\private",
        "/v1/public/..;/private",
        "/v1/public/.%2e/private",
        "/v1/public/%252e%252e/private",
        "/v1/public/a%252f..%252f..%252fprivate",
        "/v1/public/%c0%ae%c0%ae/private",
        "/v1/public/a%00/private",
        "/v1/public//private",
        "/v1/public/a;x/../../private",
        "//v1/public/a",
        "/v1/./public/a",
        "/v1/public/a%",
        "/v1/public/a%zz",
        "/v1/private",
        "/v1/public",
        "/V1/public/a",
        "/v1%2fpublic/a",
    ] {
        for connection in ["narrow", "echo"] {
            let statuses = proxied.say(&format!("GET /proxy/{connection}{path}"), "");
            if connection == "narrow" {
                assert!((400..500).contains(&statuses[0]), "{path}: {statuses:?}");
            }
            let seen = proxied.service.seen();
            let dotted =
                |target: &str| target.contains("..") || target.to_lowercase().contains("%2e");
            assert!(seen.iter().all(|one| !dotted(&one.target)), "{path}: {seen:?}");
            assert!(connection == "echo" || seen.is_empty(), "{path}: {seen:?}");
            proxied.service.forget();
        }
    }
    for (path, arrives) in [
        ("/v1/public/%61%7eb", "/v1/public/a~b"),
        ("/v1/public/%c3%a4", "/v1/public/%C3%A4"),
        ("/v1/public/a/b/", "/v1/public/a/b/"),
        ("/v1/%70ublic/a?../private&%2e%2e", "/v1/public/a?../private&%2e%2e"),
    ] {
        assert_eq!(proxied.say(&format!("GET /proxy/narrow{path}"), ""), [200], "{path}");
        assert_eq!(proxied.service.last().target, arrives);
    }
    // Who needs such paths says so, and dots are refused all the same.
    proxied.connect("lenient", &json!({ "path_rules": "lenient" }));
    for path in ["/a%2Fb", "/a//b", "/a;v=1/b"] {
        assert_eq!(proxied.say(&format!("GET /proxy/lenient{path}"), ""), [200], "{path}");
        assert_eq!(proxied.service.last().target, path);
        assert_eq!(proxied.say(&format!("GET /proxy/echo{path}"), ""), [400], "{path}");
    }
    assert_eq!(proxied.say("GET /proxy/lenient/a%2F..%2Fb", ""), [400]);
}

/// What is left of credentials in an answer.
fn leaks(answer: &Answer, credentials: &[&str]) -> Vec<String> {
    let text = format!("{:?} {}", answer.headers, answer.body);
    let mut found = Vec::new();
    for credential in credentials {
        let more = [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD].map(|it| it.encode(credential));
        let all = forms(credential).into_iter().chain(more);
        found.extend(all.filter(|form| text.contains(form.as_str())));
    }
    found
}

#[test]
fn a_credential_that_the_service_repeats_is_overwritten_in_every_form() {
    let proxied = Proxied::start();
    proxied.write("pair", &json!({ "user": "account-4711", "password": SECRET }));
    let basic = json!({ "kind": "basic", "user": "{user}", "password": "{password}" });
    proxied.connect("basic", &json!({ "secret": "pair", "inject": basic }));
    let pair = format!("account-4711:{SECRET}");
    let rendered = BASE64_STANDARD.encode(&pair);
    for connection in ["echo", "basic"] {
        for path in ["x", "secret-in-pieces", "reject-versions", "redirect?to=http://a.example/"] {
            let answer = proxied.get(&format!("{connection}/{path}"));
            assert!(answer.body.contains('*') || answer.status == 302, "{answer:?}");
            let found = leaks(&answer, &[SECRET, &pair, &rendered]);
            assert!(found.is_empty(), "{connection} {path}: {found:?} in {answer:?}");
        }
    }
    assert!(proxied.figure("keyreeve_proxy_scrubbed_total") >= 10);
}

#[test]
fn the_client_cannot_put_anything_where_the_credential_goes() {
    let proxied = Proxied::start();
    let authorization = format!("Bearer {SECRET}");
    for headers in [
        format!("Authorization: Bearer {EVIL}\r\n"),
        format!("authorization: Bearer {EVIL}\r\nAUTHORIZATION: Basic {EVIL}\r\n"),
        "Connection: close, authorization\r\n".to_owned(),
        "Connection: x-keyreeve-key\r\n".to_owned(),
        format!("Proxy-Authorization: Bearer {EVIL}\r\nProxy-Connection: keep-alive\r\n"),
        format!("Cookie: session={EVIL}\r\nTrailer: authorization\r\n"),
    ] {
        proxied.service.forget();
        let statuses = proxied.say("GET /proxy/echo/x", &headers);
        if statuses == [200] {
            let seen = proxied.service.last();
            assert_eq!(seen.all("authorization"), [&authorization], "{headers}");
            assert!(!format!("{seen:?}").contains(EVIL), "{headers}: {seen:?}");
        } else {
            assert!((400..500).contains(&statuses[0]), "{headers}: {statuses:?}");
            assert!(proxied.service.seen().is_empty());
        }
    }
}

#[test]
fn what_comes_behind_the_body_is_no_credential_either() {
    let proxied = Proxied::start();
    let slot = json!({ "kind": "headers", "headers": { "X-Api-Key": "{token}" } });
    proxied.connect("slot", &json!({ "inject": slot }));
    for (connection, name) in [("echo", "authorization"), ("slot", "x-api-key"), ("echo", "cookie")]
    {
        let head = proxied.head(&format!("POST /proxy/{connection}/x"));
        let headers =
            format!("connection: close\r\ntransfer-encoding: chunked\r\ntrailer: {name}\r\n");
        let body = format!("0\r\n{name}: {EVIL}\r\n\r\n");
        let heard = hear(&proxied.server.url, format!("{head}{headers}\r\n{body}").as_bytes());
        assert!(!heard.statuses().is_empty(), "{heard:?}");
        let seen = proxied.service.seen();
        assert!(!format!("{seen:?}").contains(EVIL), "{name}: {seen:?}");
    }
}

#[test]
fn a_key_of_ours_never_reaches_the_service() {
    let proxied = Proxied::start();
    proxied.connect(
        "keyed",
        &json!({ "inject": { "kind": "query", "parameters": { "k": "{token}" } } }),
    );
    let key = proxied.key.as_str();
    // Some clients fill both slots with the one key that they have.
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("x-api-key", key.to_owned()),
        ("x-goog-api-key", key.to_owned()),
    ] {
        for connection in ["echo", "keyed"] {
            proxied.service.forget();
            let request = proxied.request("GET", &format!("{connection}/x")).header(name, &value);
            let code = answer(request).code();
            assert!(["200", "400 duplicate_header"].contains(&code.as_str()), "{code}");
            let seen = proxied.service.seen();
            assert!(!format!("{seen:?}").contains(key), "{connection} {name}: {seen:?}");
        }
    }
}

#[test]
fn a_connection_whose_credential_cannot_be_made_is_not_called_without_one() {
    let proxied = Proxied::start();
    let inject = json!({ "kind": "oauth2_client", "token_url": "https://127.0.0.1:1/token",
                         "client_id": "{token}", "client_secret": "{token}",
                         "client_auth": "basic" });
    // Either it cannot be made, or it cannot be called while nobody gives out tokens.
    if proxied.try_connect("minted", &json!({ "inject": inject })).is_ok() {
        let refused = proxied.get("minted/x");
        assert!(refused.status >= 500, "{refused:?}");
    }
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn the_client_does_not_choose_slot_or_form() {
    let proxied = Proxied::start();
    let authorization = format!("Bearer {SECRET}");
    for (path, name, value) in [
        ("echo/x?inject=query&kind=query&token=%7Btoken%7D", "x-custom", "{token}"),
        ("echo/{token}/x", "x-keyreeve-inject", "header:X-Evil={token}"),
        ("echo/x", "x-keyreeve-connection", "other"),
        ("echo/x", "x-keyreeve-secret", "service"),
        ("echo/x", "keyreeve-project", "other"),
    ] {
        let request = proxied.request("POST", path).header(name, value).body("{token}");
        assert_eq!(answer(request).status, 200, "{name}");
        let seen = proxied.service.last();
        assert_eq!(seen.header("authorization"), authorization);
        let places = format!("{seen:?}").matches(SECRET).count();
        assert_eq!((places, seen.text().as_str()), (1, "{token}"), "{seen:?}");
    }
}

#[test]
fn every_connection_and_tenant_gets_its_own_credential() {
    let proxied = Proxied::start();
    let ours = proxied.admin();
    let project = CreateProjectRequest { name: "globex".into() };
    let theirs = block_on(ours.create_project(&project)).unwrap().admin_key.key;
    let (url, theirs) = (&proxied.server.url, theirs.expose());
    let body = json!({ "data": { "token": "made-up-of-globex" } });
    let written = call(url, theirs, "PUT", "secret/data/service", Some(&body));
    assert_eq!(block_on(written).0, 200);
    let same = proxied.connection("echo", &json!({}));
    block_on(proxied.server.client(theirs).create_connection(&same)).unwrap();
    proxied.write("second", &json!({ "token": "made-up-of-the-second" }));
    proxied.connect("second", &json!({ "secret": "second" }));

    let callers = [
        ("first", "echo", proxied.key.as_str(), SECRET),
        ("other", "second", proxied.key.as_str(), "made-up-of-the-second"),
        ("globex", "echo", theirs, "made-up-of-globex"),
    ];
    // They share the service and so the connections to it.
    for _ in 0..3 {
        block_on(join_all((0..60).map(|number| {
            let (who, connection, key, _) = callers[number % callers.len()];
            let request = proxied.bare("GET", &format!("{connection}/{who}/{number}"));
            let request = request.header("x-keyreeve-key", key);
            async move { assert_eq!(answered(request).await.status, 200, "{who}") }
        })));
    }
    for one in proxied.service.seen() {
        let who = one.path().split('/').nth(1).unwrap();
        let expected = callers.iter().find(|caller| caller.0 == who).unwrap().3;
        assert_eq!(one.header("authorization"), format!("Bearer {expected}"), "{who}");
    }
    // What is of one tenant is not there for another.
    let request = proxied.bare("GET", "second/x").header("x-keyreeve-key", theirs);
    assert_eq!(answer(request).code(), "404 not_found");
}

#[test]
fn who_looks_after_connections_sees_no_secret() {
    let proxied = Proxied::start();
    assert_eq!(proxied.get("echo/x").status, 200);
    let rights = ["keyreeve.connections.manage", "keyreeve.connections.read"];
    let manager = proxied.make_key(&json!({ "permissions": rights }));
    let client = |key: &str| proxied.server.client(key);
    let manager = manager.key.expose();
    let listed = block_on(client(manager).list_connections()).unwrap();
    let shown = block_on(client(manager).connection("echo")).unwrap();
    let off = serde_json::from_value(json!({ "enabled": false })).unwrap();
    let changed = block_on(client(manager).update_connection("echo", &off)).unwrap();
    let page = answer(http().get(format!("{}/metrics", proxied.server.url))).body;
    for text in [format!("{listed:?}"), format!("{shown:?}"), format!("{changed:?}"), page] {
        assert!(!text.contains(SECRET), "{text}");
    }
    for path in ["secret/data/service", "secret/metadata/service", "secret/metadata?list=true"] {
        let read = block_on(call(&proxied.server.url, manager, "GET", path, None));
        assert_eq!(read.0, 403, "{path}: {}", read.1);
    }
    let viewer = proxied.make_key(&json!({ "roles": ["viewer"] }));
    let viewer = viewer.key.expose();
    assert!(
        !format!("{:?}", block_on(client(viewer).list_connections()).unwrap()).contains(SECRET)
    );
    assert_eq!(refusal(block_on(client(viewer).delete_connection("echo"))), "forbidden");
}

#[test]
fn a_stolen_key_works_only_where_it_may_and_not_once_it_is_revoked() {
    let proxied = Proxied::start();
    proxied.connect("other", &json!({}));
    let call = |key: &str, path: &str, origin: Option<&str>| {
        let mut request = proxied.bare("GET", path).header("x-keyreeve-key", key);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        answer(request).code()
    };
    let permissions = json!(["keyreeve.connections.echo.call"]);
    let make = |restrictions: Value| {
        let about = json!({ "permissions": permissions, "restrictions": restrictions });
        proxied.make_key(&about)
    };
    let elsewhere = make(json!({ "allow_ips": ["203.0.113.0/24"] }));
    assert_eq!(call(elsewhere.key.expose(), "echo/x", None), "403 forbidden");
    let page = make(json!({ "origins": ["https://app.example.com"] }));
    assert_eq!(call(page.key.expose(), "echo/x", None), "403 forbidden");
    let evil = Some("https://evil.example");
    assert_eq!(call(page.key.expose(), "echo/x", evil), "403 forbidden");
    let limited = proxied.make_key(&json!({ "permissions": permissions, "expires_in": "1s" }));
    let here = make(json!({ "allow_ips": ["127.0.0.0/8"] }));
    assert_eq!(call(here.key.expose(), "other/x", None), "403 forbidden");
    assert!(proxied.service.seen().is_empty());
    assert_eq!(call(here.key.expose(), "echo/x", None), "200");
    let reason = ReasonRequest::default();
    block_on(proxied.admin().revoke_api_key(&here.details.id, &reason)).unwrap();
    proxied.service.forget();
    assert_eq!(call(here.key.expose(), "echo/x", None), "401 invalid_credential");
    eventually("it has expired", || {
        call(limited.key.expose(), "echo/x", None) == "401 invalid_credential"
    });
}
