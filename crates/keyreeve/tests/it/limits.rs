//! What limits count, whom they make exceptions for, and how they move.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Installation, Server, block_on, http};

struct Setup {
    installation: Installation,
    server: Server,
}

impl Setup {
    fn start() -> Self {
        let installation = Installation::new();
        let server = installation.serve();
        Self { installation, server }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.post_with(&http(), path, body).await
    }

    async fn post_with(&self, client: &reqwest::Client, path: &str, body: Value) -> Value {
        let request = client.post(format!("{}/api/v1/{path}", self.server.url));
        let request = request.bearer_auth(&self.installation.admin_key).json(&body);
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    /// Makes a key and gives its text.
    async fn key(&self, mut body: Value) -> String {
        body["name"] = json!("limited");
        self.post("api-keys", body).await["key"].as_str().unwrap().to_owned()
    }

    async fn verify(&self, key: &str, request: Value) -> Value {
        self.post("verify", json!({ "key": key, "request": request })).await
    }

    /// How many of ten such requests are let through.
    async fn admitted(&self, key: &str, request: Value) -> usize {
        let mut admitted = 0;
        for _ in 0..10 {
            let verdict = self.verify(key, request.clone()).await;
            admitted += usize::from(verdict["valid"] == true);
            let code = verdict["code"].as_str().unwrap();
            assert!(["VALID", "RATE_LIMITED"].contains(&code), "{verdict}");
        }
        admitted
    }
}

fn from(ip: &str) -> Value {
    json!({ "ip": ip })
}

fn to(method: &str, path: &str) -> Value {
    json!({ "method": method, "path": path })
}

#[test]
fn addresses_and_routes_have_counts_of_their_own() {
    let setup = Setup::start();
    block_on(async {
        let per_ip = json!([{"name": "a", "rate": "3/1h", "per": "ip"}]);
        let key = setup.key(json!({ "limits": per_ip })).await;
        for ip in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
            assert_eq!(setup.admitted(&key, from(ip)).await, 3, "{ip}");
        }
        // The same /64, the same mapped address, and those that do not tell theirs.
        assert_eq!(setup.admitted(&key, from("2001:db8::ffff")).await, 0);
        assert_eq!(setup.admitted(&key, from("::ffff:192.0.2.1")).await, 0);
        assert_eq!(setup.admitted(&key, json!({})).await, 3);
        let other = setup.key(json!({ "limits": per_ip })).await;
        assert_eq!(setup.admitted(&other, from("192.0.2.1")).await, 3, "another key");

        let per_route = json!([{"name": "a", "rate": "4/1h", "per": "route"}]);
        let key = setup.key(json!({ "limits": per_route })).await;
        for (method, path) in [("GET", "/v1/a"), ("GET", "/v1/b"), ("POST", "/v1/a")] {
            assert_eq!(setup.admitted(&key, to(method, path)).await, 4, "{method} {path}");
        }
        assert_eq!(setup.admitted(&key, to("GET", "/v1/a?page=2")).await, 0, "a query is none");

        let on_route = json!([{"name": "a", "rate": "2/1h", "route": "GET /v1/search"}]);
        let key = setup.key(json!({ "limits": on_route })).await;
        assert_eq!(setup.admitted(&key, to("GET", "/v1/search")).await, 2);
        assert_eq!(setup.admitted(&key, to("GET", "/v1/items")).await, 10);
    });
}

#[test]
fn owners_and_keyspaces_share_their_limits() {
    let setup = Setup::start();
    block_on(async {
        let limits = json!([{"name": "shared", "rate": "5/1h"}]);
        setup.post("owners", json!({"id": "acme", "limits": limits})).await;
        let one = setup.key(json!({"owner": "acme"})).await;
        let two = setup.key(json!({"owner": "acme"})).await;
        assert_eq!(setup.admitted(&one, json!({})).await, 5);
        assert_eq!(setup.admitted(&two, json!({})).await, 0);
        // A limit of the key's own goes before its owner's of the same name.
        let own = json!([{"name": "shared", "rate": "7/1h"}]);
        let three = setup.key(json!({"owner": "acme", "limits": own})).await;
        assert_eq!(setup.admitted(&three, json!({})).await, 7);

        let of_all = json!([
            {"name": "all", "rate": "9/1h"},
            {"name": "each", "rate": "6/1h", "per": "key"},
        ]);
        setup.post("keyspaces", json!({"name": "web", "prefix": "web", "limits": of_all})).await;
        let one = setup.key(json!({"keyspace": "web"})).await;
        let two = setup.key(json!({"keyspace": "web"})).await;
        assert_eq!(setup.admitted(&one, json!({})).await, 6, "as many as each may");
        assert_eq!(setup.admitted(&two, json!({})).await, 3, "what is left for all");
    });
}

#[test]
fn an_exact_override_goes_before_a_wildcard_and_that_before_the_rate() {
    let setup = Setup::start();
    block_on(async {
        let limits = json!([{"name": "a", "rate": "1/1h", "per": "ip", "overrides": [
            {"subject": "192.0.2.*", "rate": "4/1h"},
            {"subject": "192.*", "rate": "2/1h"},
            {"subject": "192.0.2.7", "rate": "6/1h"},
        ]}]);
        let key = setup.key(json!({ "limits": limits })).await;
        for (ip, expected) in
            [("192.0.2.7", 6), ("192.0.2.8", 4), ("192.1.0.1", 2), ("198.51.100.1", 1)]
        {
            assert_eq!(setup.admitted(&key, from(ip)).await, expected, "{ip}");
        }
    });
}

#[test]
fn a_keyspace_restricts_what_its_keys_leave_open() {
    let setup = Setup::start();
    block_on(async {
        let restrictions = json!({"allow_ips": ["192.0.2.0/24"], "routes": ["GET /v1/*"]});
        let keyspace = json!({"name": "web", "prefix": "web", "restrictions": restrictions});
        setup.post("keyspaces", keyspace).await;
        let plain = setup.key(json!({"keyspace": "web"})).await;
        let own = json!({"allow_ips": ["198.51.100.0/24"]});
        let own = setup.key(json!({"keyspace": "web", "restrictions": own})).await;
        let code = async |key: &str, ip: &str, method: &str| {
            let request = json!({"ip": ip, "method": method, "path": "/v1/x"});
            setup.verify(key, request).await["code"].as_str().unwrap().to_owned()
        };
        assert_eq!(code(&plain, "192.0.2.1", "GET").await, "VALID");
        assert_eq!(code(&plain, "198.51.100.1", "GET").await, "FORBIDDEN_IP");
        assert_eq!(code(&own, "198.51.100.1", "GET").await, "VALID");
        assert_eq!(code(&own, "192.0.2.1", "GET").await, "FORBIDDEN_IP", "in place of its default");
        assert_eq!(code(&own, "198.51.100.1", "POST").await, "FORBIDDEN_ROUTE", "the other stays");
    });
}

#[test]
fn an_adaptive_limit_tightens_on_failures_that_it_looks_at() {
    let setup = Setup::start();
    block_on(async {
        let limit = |name: &str, route: &str| json!({"name": name, "rate": "100/1h", "route": route, "adaptive": "10%-100%"});
        let limits = json!([limit("write", "POST /v1/*"), limit("read", "GET /v1/*")]);
        let key = setup.key(json!({ "limits": limits })).await;
        for n in 0..18 {
            // Those that go well are seen, too.
            let (require, code) = match n % 3 {
                0 => (Value::Null, "VALID"),
                _ => (json!("documents.write"), "INSUFFICIENT_PERMISSIONS"),
            };
            let body = json!({"key": key, "require": require, "request": to("POST", "/v1/x")});
            assert_eq!(setup.post("verify", body).await["code"], code);
        }
        // One interval of adaptation.
        tokio::time::sleep(Duration::from_millis(10_100)).await;
        let write = setup.verify(&key, to("POST", "/v1/x")).await;
        let limit = &write["limits"][0];
        assert_eq!((&limit["name"], &limit["limit"]), (&json!("write"), &json!(50)), "{write}");
        assert!(limit["why"].as_str().unwrap().contains("12 of 18 requests refused"), "{write}");
        let read = setup.verify(&key, to("GET", "/v1/x")).await;
        assert_eq!(read["limits"][0]["limit"], 100, "{read}");
    });
}

/// A key whose own quota is spent takes from the limit it shares, and gives back. Whoever asks in
/// between must not get through without taking.
#[test]
fn what_is_given_back_lets_nobody_through_for_nothing() {
    let setup = Setup::start();
    block_on(async {
        let limits = json!([{"name": "all", "rate": "30/1d"}]);
        setup.post("owners", json!({"id": "acme", "limits": limits})).await;
        let spent = setup.key(json!({"owner": "acme", "quota": "1/month"})).await;
        assert_eq!(setup.verify(&spent, json!({})).await["code"], "VALID");
        let good = setup.key(json!({"owner": "acme"})).await;
        // One for all: making a client takes longer than its request, and all would wait for the last.
        let client = http();
        let ask = async |key: &str| {
            setup.post_with(&client, "verify", json!({ "key": key })).await["valid"] == true
        };
        let asked = (0..600).map(|n| ask(if n % 2 == 0 { &spent } else { &good }));
        let admitted = futures_util::future::join_all(asked).await;
        let admitted = admitted.into_iter().filter(|admitted| *admitted).count();
        assert!((25..=29).contains(&admitted), "{admitted} of the 29 that were left");
    });
}
