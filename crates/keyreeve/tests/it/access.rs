//! Every endpoint refuses who may not use it. The list comes from the OpenAPI document, so an
//! endpoint added tomorrow is tested tomorrow.

use keyreeve_api::{CreateApiKeyRequest, ListAuditQuery};
use reqwest::Method;
use serde_json::Value;

use crate::{
    keys::named,
    support::{Installation, block_on, http, problem},
};

/// Method and path of every operation that needs a credential, with path parameters filled in.
async fn operations(url: &str) -> Vec<(Method, String)> {
    let document: Value =
        http().get(format!("{url}/openapi.json")).send().await.unwrap().json().await.unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if keyreeve_server::PUBLIC_ROUTES.contains(&path.as_str()) {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{id}", "AAAAAAAAAAAA").replace("{name}", "some-name");
            operations.push((method, format!("{url}{path}")));
        }
    }
    assert!(operations.len() > 30);
    operations
}

#[test]
fn every_endpoint_refuses_without_a_good_credential() {
    let installation = Installation::new();
    let server = installation.serve();
    block_on(async {
        for (method, url) in operations(&server.url).await {
            let place = format!("{method} {url}");
            let response = http().request(method.clone(), &url).send().await.unwrap();
            let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert_eq!(challenge, "Bearer realm=\"keyreeve\"", "{place}");
            assert_eq!(problem(response).await.1, "unauthenticated", "{place}");

            let wrong = installation.admin_key.replace("_live_", "_test_");
            let response = http().request(method, &url).bearer_auth(wrong).send().await.unwrap();
            let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.contains("error=\"invalid_token\""), "{place}: {challenge}");
            assert_eq!(problem(response).await.1, "invalid_credential", "{place}");
        }
    });
}

#[test]
fn every_endpoint_refuses_a_key_without_the_right_and_records_it() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = server.client(&installation.admin_key);
    block_on(async {
        // `client` may only call through connections, which are elsewhere.
        let key = CreateApiKeyRequest { roles: vec!["client".into()], ..named("weak") };
        let weak = admin.create_api_key(&key, None).await.unwrap();
        let operations = operations(&server.url).await;
        for (method, url) in &operations {
            let place = format!("{method} {url}");
            let request = http()
                .request(method.clone(), url)
                .bearer_auth(weak.key.expose())
                .header("content-type", "application/json")
                .body(body_for(url));
            let response = request.send().await.unwrap();
            let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.contains("insufficient_scope"), "{place}: {challenge}");
            assert!(challenge.contains("scope=\"keyreeve."), "{place}: {challenge}");
            assert_eq!(problem(response).await.1, "forbidden", "{place}");
        }
        let query = ListAuditQuery {
            actor: Some(format!("key:{}", weak.details.id)),
            outcome: Some("denied".into()),
            limit: Some(1000),
            ..ListAuditQuery::default()
        };
        let recorded = admin.list_audit(&query).await.unwrap();
        assert_eq!(recorded.items.len(), operations.len(), "one entry a refusal");
        assert!(recorded.items.iter().all(|entry| entry.request.is_some()));
    });
}

/// A body that every handler of that path takes, so that the right is what is missing.
fn body_for(url: &str) -> &'static str {
    match url.rsplit("/api/v1/").next().unwrap_or_default() {
        "verify" => r#"{"key":"k"}"#,
        "api-keys" | "api-keys/derive" | "projects" => r#"{"name":"n"}"#,
        "keyspaces" => r#"{"name":"n","prefix":"p"}"#,
        "environments" => r#"{"name":"n","tag":"live"}"#,
        "owners" => r#"{"id":"o"}"#,
        "roles" => r#"{"name":"n","permissions":[]}"#,
        "connections" => {
            r#"{"name":"n","secret":"s","base_url":"https://a.example","inject":{"kind":"bearer","token":"{t}"}}"#
        }
        "client-tokens" => r#"{"connections":["n"]}"#,
        "api-keys/import" => r#"{"keys":[]}"#,
        path if path.ends_with("/commit") => r#"{"amount":1}"#,
        _ => "{}",
    }
}

#[test]
fn a_verifier_verifies_and_nothing_else() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = server.client(&installation.admin_key);
    block_on(async {
        let key = CreateApiKeyRequest { roles: vec!["verifier".into()], ..named("edge") };
        let verifier = admin.create_api_key(&key, None).await.unwrap();
        for (method, url) in operations(&server.url).await {
            let request = http()
                .request(method, &url)
                .bearer_auth(verifier.key.expose())
                .header("content-type", "application/json")
                .body(body_for(&url));
            let status = request.send().await.unwrap().status().as_u16();
            // What a verification set aside is its own to give up; here it names nothing.
            let own = ["/commit", "/cancel", "/release"].iter().any(|end| url.ends_with(end));
            let expected = if url.ends_with("/verify") {
                200
            } else if own {
                400
            } else {
                403
            };
            assert_eq!(status, expected, "{url}");
        }
    });
}

#[test]
fn expired_disabled_and_revoked_keys_open_nothing() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = server.client(&installation.admin_key);
    block_on(async {
        let key = CreateApiKeyRequest {
            roles: vec!["admin".into()],
            expires_in: Some("1s".into()),
            ..named("brief")
        };
        let brief = admin.create_api_key(&key, None).await.unwrap();
        let key = CreateApiKeyRequest { roles: vec!["admin".into()], ..named("revoked") };
        let revoked = admin.create_api_key(&key, None).await.unwrap();
        server.client(revoked.key.expose()).list_keyspaces().await.unwrap();
        admin.revoke_api_key(&revoked.details.id, &Default::default()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        for key in [&brief.key, &revoked.key] {
            let refused = server.client(key.expose()).list_keyspaces().await;
            assert_eq!(crate::support::refusal(refused), "invalid_credential");
        }
    });
}
