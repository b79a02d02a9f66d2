//! The injecting proxy: what a client asks arrives at the service with a credential that the client never
//! sees.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use keyreeve_api::{
    CallCountView, CallUsageQuery, CallView, Client, ClientError, ConnectionView,
    CreateApiKeyRequest, CreateConnectionRequest, CreatedApiKeyView, ListAuditQuery,
    ListCallsQuery, UpdateConnectionRequest,
};
use reqwest::{Method, RequestBuilder, header::HeaderMap, redirect::Policy};
use serde_json::{Value, json};

use crate::{
    backends::eventually,
    keys::named,
    service::Service,
    support::{Installation, PATIENCE, Server, block_on, text},
    vault::call,
};

/// The credential that the service takes. Some of its characters are written otherwise in some encodings.
pub(crate) const SECRET: &str = "canary/4be1+9f2c=made-up";

/// A server, a service behind it, and a client that may call through every connection.
pub(crate) struct Proxied {
    pub(crate) installation: Installation,
    pub(crate) server: Server,
    pub(crate) service: Service,
    /// The client's key.
    pub(crate) key: String,
    /// Its id.
    pub(crate) client: String,
}

impl Proxied {
    /// With one connection, `echo`.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        let installation = Installation::new();
        let server = installation.serve_with(settings);
        let made = make_key(&server, &installation.admin_key, &json!({ "roles": ["client"] }));
        let key = made.key.expose().to_owned();
        let client = made.details.id.clone();
        let proxied = Self { installation, server, service: Service::start(), key, client };
        proxied.write("service", &json!({ "token": SECRET }));
        proxied.connect("echo", &json!({}));
        proxied
    }

    pub(crate) fn admin(&self) -> Arc<Client> {
        self.server.client(&self.installation.admin_key)
    }

    /// Makes a key of this kind.
    pub(crate) fn make_key(&self, about: &Value) -> CreatedApiKeyView {
        make_key(&self.server, &self.installation.admin_key, about)
    }

    /// Writes the next version of a secret.
    pub(crate) fn write(&self, path: &str, fields: &Value) {
        let body = json!({ "data": fields });
        let path = format!("secret/data/{path}");
        let admin = &self.installation.admin_key;
        let (status, said) = block_on(call(&self.server.url, admin, "PUT", &path, Some(&body)));
        assert_eq!(status, 200, "{said}");
    }

    /// What makes a connection to the service. `more` takes the place of what is usual.
    pub(crate) fn try_connect(
        &self,
        name: &str,
        more: &Value,
    ) -> Result<ConnectionView, ClientError> {
        let request = self.connection(name, more);
        block_on(self.admin().create_connection(&request))
    }

    /// What asks for a connection to the service.
    pub(crate) fn connection(&self, name: &str, more: &Value) -> CreateConnectionRequest {
        let mut body = json!({
            "name": name,
            "secret": "service",
            "base_url": self.service.url(),
            "inject": { "kind": "bearer", "token": "{token}" },
            "allow_internal": true,
            "allow_plaintext": true,
        });
        for (member, value) in more.as_object().unwrap() {
            body[member] = value.clone();
        }
        serde_json::from_value(body).unwrap()
    }

    pub(crate) fn connect(&self, name: &str, more: &Value) {
        self.try_connect(name, more).unwrap();
    }

    /// Changes a connection.
    pub(crate) fn change(&self, name: &str, change: Value) {
        let change: UpdateConnectionRequest = serde_json::from_value(change).unwrap();
        block_on(self.admin().update_connection(name, &change)).unwrap();
    }

    /// The address of what is behind `/proxy/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/proxy/{path}", self.server.url)
    }

    /// A request without any credential.
    pub(crate) fn bare(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        http().request(method, self.url(path))
    }

    /// A request of the client.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.bare(method, path).header("x-keyreeve-key", &self.key)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path))
    }

    /// The first bytes of a request of the client, up to and without the line that ends its head.
    pub(crate) fn head(&self, first: &str) -> String {
        format!("{first} HTTP/1.1\r\nhost: keyreeve.example\r\nx-keyreeve-key: {}\r\n", self.key)
    }

    /// What the page of figures says.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let page = answer(http().get(format!("{}/metrics", self.server.url))).body;
        let found = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or_else(|| panic!("{name}: {page}"))
    }

    /// The calls that are recorded.
    pub(crate) fn calls(&self) -> Vec<CallView> {
        let query = ListCallsQuery { limit: Some(1000), ..ListCallsQuery::default() };
        block_on(self.admin().connection_calls(&query)).unwrap().items
    }

    /// The entries of an action in the audit, as JSON.
    pub(crate) fn audit(&self, action: &str) -> Vec<Value> {
        let query = ListAuditQuery { limit: Some(1000), ..ListAuditQuery::default() };
        let listed = block_on(self.admin().list_audit(&query)).unwrap().items;
        let entries = listed.into_iter().map(|entry| serde_json::to_value(entry).unwrap());
        entries.filter(|entry| entry["action"] == action).collect()
    }
}

/// Makes a key for whoever shows this one.
fn make_key(server: &Server, admin_key: &str, about: &Value) -> CreatedApiKeyView {
    let mut body = serde_json::to_value(named("client")).unwrap();
    for (member, value) in about.as_object().unwrap() {
        body[member] = value.clone();
    }
    let request: CreateApiKeyRequest = serde_json::from_value(body).unwrap();
    block_on(server.client(admin_key).create_api_key(&request, None)).unwrap()
}

/// A client that does only what it is told.
pub(crate) fn http() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    builder.redirect(Policy::none()).build().unwrap()
}

/// An answer as a client got it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The one value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map_or("", |value| value.to_str().unwrap());
        assert_eq!(values.next(), None, "{name} stands twice");
        first
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The status, with the code if it is a problem of ours: `403 forbidden`.
    pub(crate) fn code(&self) -> String {
        if self.header("content-type") == "application/problem+json" {
            return format!("{} {}", self.status, self.json()["code"].as_str().unwrap());
        }
        self.status.to_string()
    }
}

/// Sends a request and reads all of the answer, in which there must be no credential.
pub(crate) fn answer(request: RequestBuilder) -> Answer {
    block_on(answered(request))
}

pub(crate) async fn answered(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = text(&response.bytes().await.unwrap());
    let answer = Answer { status, headers, body };
    assert!(!format!("{answer:?}").contains(SECRET), "{answer:?}");
    answer
}

#[test]
fn a_call_arrives_with_the_credential_and_its_sender_never_sees_it() {
    let proxied = Proxied::start();
    let request = proxied.request("POST", "echo/some/path?x=1&y=%20");
    let request = request.header("x-custom", "kept").header("content-type", "text/plain");
    let answer = answer(request.body("hello"));
    assert_eq!(answer.status, 200);
    let seen = proxied.service.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/some/path?x=1&y=%20"));
    assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(seen.header("host"), proxied.service.authority());
    assert_eq!((seen.header("x-custom"), seen.header("content-type")), ("kept", "text/plain"));
    assert_eq!(seen.text(), "hello");
    assert!(!format!("{seen:?}").contains(&proxied.key), "{seen:?}");
    // What the service repeated of it was overwritten, in the head and in the body.
    let stars = "*".repeat(SECRET.len());
    assert_eq!(answer.header("x-repeated"), format!("Bearer {stars}"));
    assert!(answer.json()["headers"].to_string().contains(&stars), "{answer:?}");
    assert!(proxied.figure("keyreeve_proxy_scrubbed_total") >= 2);
    assert_eq!(proxied.figure("keyreeve_proxy_answers_total{class=\"2xx\"}"), 1);
    // Browsers show nothing of it as a page of this server.
    assert!(answer.header("content-security-policy").contains("sandbox"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[test]
fn a_key_is_taken_from_the_slot_that_the_services_own_client_fills() {
    let proxied = Proxied::start();
    proxied.connect(
        "keyed",
        &json!({ "inject": { "kind": "query", "parameters": { "k": "{token}" } } }),
    );
    let key = proxied.key.as_str();
    let basic = |pair: String| format!("Basic {}", BASE64_STANDARD.encode(pair));
    for (name, value) in [
        ("x-keyreeve-key", key.to_owned()),
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("bearer {key}")),
        ("authorization", basic(format!("account:{key}"))),
        ("authorization", basic(format!("{key}:"))),
        ("x-api-key", key.to_owned()),
    ] {
        for connection in ["echo", "keyed"] {
            let request = proxied.bare("GET", &format!("{connection}/x")).header(name, &value);
            assert_eq!(answer(request).status, 200, "{name}: {value}");
            let seen = proxied.service.last();
            assert!(!format!("{seen:?}").contains(key), "{seen:?}");
            assert!(!format!("{seen:?}").contains(&value), "{seen:?}");
        }
    }
    proxied.service.forget();
    let twice = proxied.bare("GET", "echo/x").bearer_auth(key).header("x-api-key", key);
    assert_eq!(answer(twice).code(), "400 duplicate_header");
    let twice = proxied.bare("GET", "echo/x").header("x-api-key", key).header("x-api-key", key);
    assert_eq!(answer(twice).code(), "400 duplicate_header");
    assert_eq!(answer(proxied.bare("GET", "echo/x")).code(), "401 unauthenticated");
    let other = proxied.bare("GET", "echo/x").header("authorization", "Digest username=x");
    assert_eq!(answer(other).code(), "401 unauthenticated");
    let wrong = proxied.bare("GET", "echo/x").bearer_auth(key.replace("_live_", "_test_"));
    assert_eq!(answer(wrong).code(), "401 invalid_credential");
    assert!(proxied.service.seen().is_empty());
    assert_eq!(proxied.figure("keyreeve_proxy_refusals_total{kind=\"two_credentials\"}"), 2);
    assert_eq!(proxied.figure("keyreeve_proxy_refusals_total{kind=\"unauthenticated\"}"), 2);
}

#[test]
fn methods_statuses_and_bodies_pass_both_ways() {
    let proxied = Proxied::start();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        for body in ["", "some body"] {
            let sent = answer(proxied.request(method, "echo/x").body(body));
            assert_eq!(sent.status, 200, "{method}");
            let seen = proxied.service.last();
            assert_eq!((seen.method.as_str(), seen.text().as_str()), (method, body));
            assert_eq!(sent.body.is_empty(), method == "HEAD", "{sent:?}");
        }
    }
    for status in [200, 201, 204, 304, 400, 401, 404, 418, 429, 500, 503, 599] {
        let answer = proxied.get(&format!("echo/status/{status}"));
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.body, if [204, 304].contains(&status) { "" } else { "as asked" });
    }
    // All of it, whatever path the base has.
    proxied.connect("below", &json!({ "base_url": format!("{}/v1/", proxied.service.url()) }));
    for (path, target) in [("below", "/v1/"), ("below/", "/v1/"), ("below/a?b", "/v1/a?b")] {
        assert_eq!(proxied.get(path).status, 200);
        assert_eq!(proxied.service.last().target, target);
    }
}

#[test]
fn http2_clients_are_served_many_calls_at_once() {
    let proxied = Proxied::start();
    let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let client = builder.http2_prior_knowledge().build().unwrap();
    let call = |number: usize| {
        let request = client.post(proxied.url(&format!("echo/number/{number}")));
        let request = request.header("x-keyreeve-key", &proxied.key).body(format!("body {number}"));
        async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.version(), reqwest::Version::HTTP_2);
            let said: Value = response.json().await.unwrap();
            assert_eq!(said["target"], format!("/number/{number}"));
            assert_eq!(said["body"], format!("body {number}"));
        }
    };
    block_on(join_all((0..50).map(call)));
    let seen = proxied.service.seen();
    assert_eq!(seen.len(), 50);
    for one in &seen {
        assert_eq!(one.header("authorization"), format!("Bearer {SECRET}"));
        assert_eq!(one.header("host"), proxied.service.authority());
    }
}

#[test]
fn the_next_call_is_made_with_the_version_that_became_current() {
    let proxied = Proxied::start();
    let used = || {
        assert_eq!(proxied.get("echo/x").status, 200);
        proxied.service.last().header("authorization").to_owned()
    };
    assert_eq!(used(), format!("Bearer {SECRET}"));
    for version in ["made-up-second-version", "made-up-third-version"] {
        proxied.write("service", &json!({ "token": version }));
        assert_eq!(used(), format!("Bearer {version}"));
    }
    // What waits is not used before it is promoted.
    let waits = json!({ "data": { "token": "made-up-fourth" }, "options": { "pending": true } });
    let admin = &proxied.installation.admin_key;
    let path = "secret/data/service";
    assert_eq!(block_on(call(&proxied.server.url, admin, "PUT", path, Some(&waits))).0, 200);
    assert_eq!(used(), "Bearer made-up-third-version");
    let promote = ["secret", "promote", "service"];
    assert!(crate::support::run(&promote, &proxied.server.data_dir).status.success());
    assert_eq!(used(), "Bearer made-up-fourth");
    // Each version was opened once, however many calls it was used for.
    assert_eq!(used(), "Bearer made-up-fourth");
    assert_eq!(proxied.audit("secret.inject").len(), 4);
}

#[test]
fn a_version_that_the_service_refuses_again_and_again_gives_way_to_the_one_before() {
    let proxied = Proxied::start();
    proxied.service.takes(&[SECRET]);
    assert_eq!(proxied.get("echo/reject-versions").status, 200);
    proxied.write("service", &json!({ "token": "made-up-and-refused" }));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(proxied.get("echo/reject-versions").status);
    }
    let first_good = statuses.iter().position(|status| *status == 200).unwrap();
    // One refusal may be a service that has not heard of the new one everywhere.
    assert!((1..=4).contains(&first_good), "{statuses:?}");
    assert!(statuses[..first_good].iter().all(|status| *status == 401), "{statuses:?}");
    assert!(statuses[first_good..].iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(proxied.service.last().header("authorization"), format!("Bearer {SECRET}"));
    let posted = answer(proxied.request("POST", "echo/reject-versions").body("a body"));
    assert_eq!(posted.status, 200);
    let wanted = proxied.audit("connection.rollback_wanted");
    assert_eq!(wanted.len(), 1, "told once: {wanted:?}");
    let details = &wanted[0]["details"];
    assert_eq!((&details["refused_version"], &details["used_version"]), (&json!(2), &json!(1)));
    assert_eq!(details["connection"], "echo");
    // The next one is tried at once.
    proxied.write("service", &json!({ "token": "made-up-and-good" }));
    proxied.service.takes(&["made-up-and-good"]);
    assert_eq!(proxied.get("echo/reject-versions").status, 200);
    assert_eq!(proxied.service.last().header("authorization"), "Bearer made-up-and-good");
}

#[test]
fn calls_are_recorded_by_template_and_nothing_of_their_content() {
    const VALUE: &str = "customer-4711";
    let proxied = Proxied::start();
    for _ in 0..3 {
        let request = proxied.request("POST", &format!("echo/v1/customers/{VALUE}?mail={VALUE}"));
        assert_eq!(answer(request.header("x-name", VALUE).body(VALUE)).status, 200);
    }
    assert_eq!(proxied.get("echo/status/404").status, 404);
    eventually("all calls are recorded", || proxied.calls().len() == 4);
    let calls = proxied.calls();
    let posted: Vec<_> = calls.iter().filter(|call| call.method == "POST").collect();
    assert_eq!(posted.len(), 3);
    for call in posted {
        assert_eq!((call.connection.as_str(), call.client.as_str()), ("echo", &*proxied.client));
        assert_eq!((call.path.as_str(), call.status, call.version), ("/v1/customers/*", 200, 1));
        assert_eq!(call.request_bytes, VALUE.len() as u64);
        assert!(call.answer_bytes > 0 && call.scrubbed > 0 && call.whole, "{call:?}");
    }
    let usage = block_on(proxied.admin().connection_usage(&CallUsageQuery::default())).unwrap();
    // Two rows if midnight came between.
    let sum = |of: fn(&CallCountView) -> u64| usage.items.iter().map(of).sum::<u64>();
    assert_eq!((sum(|it| it.calls), sum(|it| it.failed)), (4, 1));
    assert_eq!(sum(|it| it.request_bytes), 3 * VALUE.len() as u64);
    let recorded = proxied.audit("proxy.calls");
    let counted: u64 = recorded.iter().map(|it| it["details"]["calls"].as_u64().unwrap()).sum();
    assert_eq!(counted, 4);
    assert!(recorded.iter().all(|it| it["details"]["sha256"].is_string()), "{recorded:?}");
    for kept in [format!("{calls:?}"), format!("{usage:?}"), format!("{recorded:?}")] {
        assert!(!kept.contains(VALUE) && !kept.contains(SECRET), "{kept}");
    }
    // Where routes are named, the route is the template.
    proxied.connect("routed", &json!({ "restrictions": { "routes": ["GET /status/*"] } }));
    assert_eq!(proxied.get("routed/status/418").status, 418);
    eventually("it is recorded, too", || proxied.calls().len() == 5);
    assert_eq!(proxied.calls()[0].path, "/status/*");
}

#[test]
fn a_call_that_was_let_through_leaves_a_record_even_if_it_was_never_sent() {
    let proxied = Proxied::start();
    proxied.connect("short", &json!({ "limits": { "max_request_bytes": 4 } }));
    let request = proxied.request("POST", "short/too/long");
    assert_eq!(answer(request.body("12345")).code(), "413 payload_too_large");
    proxied.connect("nowhere", &json!({ "base_url": "http://127.0.0.1:9" }));
    assert_eq!(proxied.get("nowhere/x").code(), "502 service_unreachable");
    eventually("both are recorded", || proxied.calls().len() == 2);
    let mut calls: Vec<_> =
        proxied.calls().into_iter().map(|it| (it.connection, it.status, it.version)).collect();
    calls.sort();
    assert_eq!(calls, [("nowhere".to_owned(), 502, 0), ("short".to_owned(), 413, 0)]);
}

#[test]
fn disabled_and_removed_connections_are_closed_at_once() {
    let proxied = Proxied::start();
    assert_eq!(proxied.get("echo/x").status, 200);
    proxied.change("echo", json!({ "enabled": false }));
    assert_eq!(proxied.get("echo/x").code(), "403 forbidden");
    proxied.change("echo", json!({ "enabled": true }));
    assert_eq!(proxied.get("echo/x").status, 200);
    let elsewhere = Service::start();
    proxied.change("echo", json!({ "base_url": elsewhere.url() }));
    let before = proxied.service.seen().len();
    assert_eq!(proxied.get("echo/x").status, 200);
    assert_eq!((proxied.service.seen().len(), elsewhere.seen().len()), (before, 1));
    block_on(proxied.admin().delete_connection("echo")).unwrap();
    assert_eq!(proxied.get("echo/x").code(), "404 not_found");
    assert_eq!(elsewhere.seen().len(), 1);
    assert!(block_on(proxied.admin().list_connections()).unwrap().items.is_empty());
    // One of the same name is another one.
    proxied.connect("echo", &json!({}));
    assert_eq!(proxied.get("echo/x").status, 200);
    assert_eq!((proxied.service.seen().len(), elsewhere.seen().len()), (before + 1, 1));
}
