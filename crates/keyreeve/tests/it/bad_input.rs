//! Whatever comes in, the answer names the field and the rule, and nothing is half done.

use reqwest::{Method, header};

use crate::support::{Installation, Server, block_on, http, problem};

struct Site {
    server: Server,
    key: String,
}

impl Site {
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        http().request(method, format!("{}{path}", self.server.url)).bearer_auth(&self.key)
    }

    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, String, Vec<String>) {
        let request = self.request(Method::POST, path);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        problem(request.send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> (u16, String, Vec<String>) {
        problem(self.request(Method::GET, path).send().await.unwrap()).await
    }
}

fn with_site(test: impl AsyncFnOnce(&Site)) {
    let installation = Installation::new();
    let server = installation.serve();
    let site = Site { server, key: installation.admin_key.clone() };
    block_on(test(&site));
}

#[test]
fn fields_and_rules_are_named() {
    with_site(async |site| {
        for (path, body, expected) in [
            ("/api/v1/api-keys", r#"{"name":7}"#, "name: must be text"),
            ("/api/v1/api-keys", "{}", "name: is missing"),
            ("/api/v1/api-keys", r#"{"name":"a","colour":1}"#, "colour: is not known here"),
            ("/api/v1/api-keys", r#"{"name":""}"#, "name: must be 1 to 100 characters"),
            ("/api/v1/api-keys", r#"{"name":"a","expires_in":"soon"}"#, "expires_in: must be a"),
            ("/api/v1/api-keys", r#"{"name":"a","expires_in":"0s"}"#, "expires_in: must be long"),
            ("/api/v1/api-keys", r#"{"name":"a","expires_in":"200y"}"#, "expires_in: must be a"),
            (
                "/api/v1/api-keys",
                r#"{"name":"a","expires_at":"2001-01-01T00:00:00Z"}"#,
                "expires_at: must lie in the future",
            ),
            ("/api/v1/api-keys", r#"{"name":"a","expires_at":"x"}"#, "expires_at: must be a time"),
            ("/api/v1/api-keys", r#"{"name":"a","permissions":["a..b"]}"#, "permissions: must be"),
            ("/api/v1/api-keys", r#"{"name":"a","roles":["nobody"]}"#, "roles: must name a role"),
            ("/api/v1/api-keys", r#"{"name":"a","keyspace":"x"}"#, "keyspace: must name a"),
            ("/api/v1/api-keys", r#"{"name":"a","environment":"x"}"#, "environment: must name"),
            ("/api/v1/api-keys", r#"{"name":"a","tags":["a b"]}"#, "tags: must be at most 20"),
            ("/api/v1/api-keys", "[1]", "body: must be a JSON object"),
            ("/api/v1/verify", r#"{"key":1}"#, "key: must be text"),
            ("/api/v1/verify", r#"{"key":"k","require":"a AND"}"#, "require: ends where"),
            (
                "/api/v1/verify",
                r#"{"key":"k","request":{"ip":"x"}}"#,
                "request.ip: must be an IP address",
            ),
            ("/api/v1/keyspaces", r#"{"name":"A","prefix":"_"}"#, "name: must be 1 to 64"),
            ("/api/v1/roles", r#"{"name":"r","permissions":["*x"]}"#, "permissions: must be"),
            ("/api/v1/environments", r#"{"name":"e","tag":"x"}"#, "tag: must be live or test"),
        ] {
            let (status, code, fields) = site.post(path, body).await;
            assert_eq!((status, code.as_str()), (400, "invalid_request"), "{path} {body}");
            assert!(fields.iter().any(|f| f.starts_with(expected)), "{body}: {fields:?}");
        }
        // Every broken rule of a request at once.
        let (_, _, fields) = site.post("/api/v1/keyspaces", r#"{"name":"A","prefix":"_"}"#).await;
        assert_eq!(fields.len(), 2);
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(101));
        assert_eq!(site.post("/api/v1/api-keys", long).await.2.len(), 1);
        let long = format!(r#"{{"key":"{}"}}"#, "x".repeat(513));
        let (_, _, fields) = site.post("/api/v1/verify", long).await;
        assert_eq!(fields, ["key: must be at most 512 characters"]);
    });
}

#[test]
fn nothing_from_the_request_comes_back_in_an_error() {
    with_site(async |site| {
        let canary = "kr_live_canary0000000000000000000";
        for body in [
            format!(r#"{{"name":"a","tags":"{canary}"}}"#),
            format!(r#"{{"name":"a","expires_in":"{canary}"}}"#),
            format!(r#"{{"name":"a","permissions":["{canary}!"]}}"#),
            format!(r#"{{"name":"a","owner":" {canary}"}}"#),
            format!(r#"{{"name":"{canary}"#),
        ] {
            let request = site.request(Method::POST, "/api/v1/api-keys");
            let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 400);
            assert!(!response.text().await.unwrap().contains("canary"));
        }
        // Nor from the path or the query.
        for path in ["/api/v1/api-keys/kr_live_canary", "/api/v1/api-keys?state=canary"] {
            let response = site.request(Method::GET, path).send().await.unwrap();
            assert_eq!(response.status(), 400, "{path}");
            assert!(!response.text().await.unwrap().contains("canary"), "{path}");
        }
    });
}

#[test]
fn queries_and_paths() {
    with_site(async |site| {
        for (path, status, code) in [
            ("/api/v1/api-keys?limit=0", 400, "invalid_request"),
            ("/api/v1/api-keys?limit=ten", 400, "invalid_request"),
            ("/api/v1/api-keys?cursor=zzz", 400, "invalid_request"),
            ("/api/v1/api-keys?colour=red", 400, "invalid_request"),
            ("/api/v1/api-keys?state=odd", 400, "invalid_request"),
            ("/api/v1/api-keys/expiring?days=0", 400, "invalid_request"),
            ("/api/v1/audit?since=yesterday", 400, "invalid_request"),
            ("/api/v1/audit?outcome=odd", 400, "invalid_request"),
            ("/api/v1/api-keys/short", 400, "invalid_request"),
            ("/api/v1/api-keys/AAAAAAAAAAAA", 404, "not_found"),
            ("/api/v1/owners/%FF", 400, "invalid_request"),
            ("/api/v1/owners/nobody", 404, "not_found"),
            ("/api/v1/keyspaces/none", 404, "not_found"),
            ("/api/v1/nothing", 404, "not_found"),
            ("/", 404, "not_found"),
            ("/api/v1/verify", 405, "method_not_allowed"),
            ("/api/v1/api-keys/AAAAAAAAAAAA/revoke", 405, "method_not_allowed"),
        ] {
            let (got_status, got_code, _) = site.get(path).await;
            assert_eq!((got_status, got_code.as_str()), (status, code), "{path}");
        }
    });
}

#[test]
fn headers_and_bodies() {
    with_site(async |site| {
        let create = || site.request(Method::POST, "/api/v1/api-keys");
        let json = ("content-type", "application/json");
        let twice = create().header(header::AUTHORIZATION, "Bearer other").header(json.0, json.1);
        let response = twice.body(r#"{"name":"a"}"#).send().await.unwrap();
        assert_eq!(problem(response).await.1, "duplicate_header");
        let both = create().header("x-api-key", "other").header(json.0, json.1);
        let response = both.body(r#"{"name":"a"}"#).send().await.unwrap();
        assert_eq!(problem(response).await.1, "duplicate_header");

        let response = create().body(r#"{"name":"a"}"#).send().await.unwrap();
        assert_eq!(problem(response).await.1, "unsupported_media_type");
        let form = create().header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = form.body("name=a").send().await.unwrap();
        assert_eq!(problem(response).await.1, "unsupported_media_type");

        let (status, _, _) = site.post("/api/v1/api-keys", vec![0xff, 0xfe, b'{']).await;
        assert_eq!(status, 400);
        for path in ["/api/v1/api-keys", "/api/v1/verify"] {
            let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
            let (status, code, _) = site.post(path, huge).await;
            assert_eq!((status, code.as_str()), (413, "payload_too_large"), "{path}");
            let (status, code, _) = site.post(path, "{\"name\":\"a\"} x").await;
            assert_eq!((status, code.as_str()), (400, "invalid_request"), "{path}");
        }
        let key = "x".repeat(256);
        let long = create().header("idempotency-key", key).header(json.0, json.1);
        let response = long.body(r#"{"name":"a"}"#).send().await.unwrap();
        let (_, _, fields) = problem(response).await;
        assert!(fields[0].starts_with("header idempotency-key: must be 1 to 255"), "{fields:?}");

        let listed = site.request(Method::GET, "/api/v1/api-keys").send().await.unwrap();
        let listed: serde_json::Value = listed.json().await.unwrap();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1, "nothing was made on the way");
    });
}

#[test]
fn malformed_and_unknown_keys_get_a_verdict() {
    with_site(async |site| {
        let unknown = site.key.replace("_live_", "_test_");
        let mut flipped = site.key.clone();
        flipped.pop();
        flipped.push('!');
        for (key, code) in [
            ("", "MALFORMED"),
            ("hello", "MALFORMED"),
            (flipped.as_str(), "MALFORMED"),
            (unknown.as_str(), "MALFORMED"),
            ("kr_live_\u{fc}", "MALFORMED"),
        ] {
            let request = site.request(Method::POST, "/api/v1/verify");
            let response = request.json(&serde_json::json!({ "key": key })).send().await.unwrap();
            assert_eq!(response.status(), 200);
            let verdict: serde_json::Value = response.json().await.unwrap();
            assert_eq!(verdict["code"], code, "{key}");
            assert_eq!(verdict["valid"], false);
            assert_eq!(verdict["reason"]["check"], "format");
        }
        // Well-formed, but nobody's: as if made by another installation.
        let other = Installation::new();
        let request = site.request(Method::POST, "/api/v1/verify");
        let body = serde_json::json!({ "key": other.admin_key });
        let verdict: serde_json::Value =
            request.json(&body).send().await.unwrap().json().await.unwrap();
        assert_eq!(verdict["code"], "NOT_FOUND");
    });
}
