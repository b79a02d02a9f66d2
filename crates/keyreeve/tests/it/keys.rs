//! One key from birth to death, over HTTP.

use std::time::Duration;

use keyreeve_api::{
    CleanupExpiredRequest, Client, CreateApiKeyRequest, CreateRoleRequest, ExpiringQuery,
    FinishRotationRequest, ListApiKeysQuery, Patch, ReasonRequest, RequestContext,
    RotateApiKeyRequest, SecretText, UpdateApiKeyRequest, UpdateRoleRequest, VerifyRequest,
    VerifyView,
};

use crate::support::{Installation, block_on, refusal};

pub(crate) fn named(name: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest { name: name.to_owned(), ..CreateApiKeyRequest::default() }
}

async fn verify(client: &Client, key: &SecretText, require: Option<&str>) -> VerifyView {
    let require = require.map(str::to_owned);
    client.verify(&VerifyRequest { require, ..VerifyRequest::new(key.clone()) }).await.unwrap()
}

async fn code(client: &Client, key: &SecretText) -> String {
    verify(client, key, None).await.code
}

fn because(reason: &str) -> ReasonRequest {
    ReasonRequest { reason: Some(reason.to_owned()) }
}

#[test]
fn from_birth_to_death() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let made = client
            .create_api_key(
                &CreateApiKeyRequest {
                    owner: Some("acme".into()),
                    permissions: vec!["documents.read".into()],
                    expires_in: Some("30d".into()),
                    ..named("demo")
                },
                None,
            )
            .await
            .unwrap();
        assert!(made.key.expose().starts_with("kr_live_"), "{:?}", made.details);
        assert_eq!(made.details.state, "active");
        let life = made.details.expires_at.unwrap().duration_since(made.details.created_at);
        assert_eq!(life.as_hours(), 30 * 24);
        assert_eq!(client.owner("acme").await.unwrap().id, "acme");

        let good = verify(&client, &made.key, Some("documents.read")).await;
        assert!(good.valid && good.code == "VALID", "{good:?}");
        assert_eq!(good.owner.unwrap().id, "acme");
        assert_eq!(good.permissions, ["documents.read"]);
        let short = verify(&client, &made.key, Some("documents.write")).await;
        assert_eq!((short.valid, short.code.as_str()), (false, "INSUFFICIENT_PERMISSIONS"));
        assert_eq!(short.reason.unwrap().missing, ["documents.write"]);

        let id = &made.details.id;
        client.disable_api_key(id, &because("holiday")).await.unwrap();
        assert_eq!(code(&client, &made.key).await, "DISABLED");
        assert_eq!(refusal(client.disable_api_key(id, &because("x")).await), "wrong_state");
        client.enable_api_key(id).await.unwrap();
        assert_eq!(code(&client, &made.key).await, "VALID");

        let revoked = client.revoke_api_key(id, &because("leaked")).await.unwrap();
        assert_eq!(revoked.revocation.unwrap().reason.as_deref(), Some("leaked"));
        assert_eq!(code(&client, &made.key).await, "REVOKED");
        let again = client.revoke_api_key(id, &because("other")).await.unwrap();
        assert_eq!(again.revocation.unwrap().reason.as_deref(), Some("leaked"));
        assert_eq!(refusal(client.enable_api_key(id).await), "wrong_state");

        client.delete_api_key(id).await.unwrap();
        assert_eq!(code(&client, &made.key).await, "NOT_FOUND");
        let listed = client.list_api_keys(&ListApiKeysQuery::default()).await.unwrap();
        assert!(listed.items.iter().all(|key| key.id != *id));
        assert_eq!(client.api_key(id).await.unwrap().state, "deleted");
        assert_eq!(refusal(client.purge_api_key(id).await), "wrong_state");
        let back = client.undelete_api_key(id).await.unwrap();
        assert_eq!(back.state, "revoked");
        assert_eq!(code(&client, &made.key).await, "REVOKED");
    });
}

#[test]
fn rotation_has_no_gap_and_ends_exactly() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let first = client.create_api_key(&named("first"), None).await.unwrap();
        let grace = |grace: &str| RotateApiKeyRequest {
            grace: Some(grace.to_owned()),
            ..RotateApiKeyRequest::default()
        };
        let second = client.rotate_api_key(&first.details.id, &grace("2s"), None).await.unwrap();
        assert_ne!(second.details.id, first.details.id);
        let old = verify(&client, &first.key, None).await;
        assert!(old.valid);
        let rotation = old.rotation.unwrap();
        assert_eq!(rotation.successor_id, second.details.id);
        assert_eq!(rotation.grace_ends_at, second.grace_ends_at);
        assert_eq!(code(&client, &second.key).await, "VALID");
        let twice = client.rotate_api_key(&first.details.id, &grace("2s"), None).await;
        assert_eq!(refusal(twice), "wrong_state");
        tokio::time::sleep(Duration::from_millis(2100)).await;
        assert_eq!(code(&client, &first.key).await, "GRACE_ENDED");
        assert_eq!(code(&client, &second.key).await, "VALID");

        // A second rotation during a grace retires the oldest key first.
        let third = client.rotate_api_key(&second.details.id, &grace("1h"), None).await.unwrap();
        let fourth = client.rotate_api_key(&third.details.id, &grace("1h"), None).await.unwrap();
        assert_eq!(code(&client, &second.key).await, "GRACE_ENDED");
        assert_eq!(code(&client, &third.key).await, "VALID");
        assert_eq!(fourth.details.rotation.unwrap().lineage, first.details.id);

        // Finishing early waits for silence if told to.
        let silent = FinishRotationRequest { if_silent_for: Some("1h".into()) };
        let finish = client.finish_rotation(&third.details.id, &silent).await;
        assert_eq!(refusal(finish), "wrong_state");
        let now = FinishRotationRequest::default();
        client.finish_rotation(&third.details.id, &now).await.unwrap();
        assert_eq!(code(&client, &third.key).await, "GRACE_ENDED");
    });
}

#[test]
fn a_retry_makes_nothing_twice() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let request = named("retried");
        let first = client.create_api_key(&request, Some("attempt-1")).await.unwrap();
        let again = client.create_api_key(&request, Some("attempt-1")).await.unwrap();
        assert_eq!(again.key, first.key);
        assert_eq!(again.details.id, first.details.id);
        let other = client.create_api_key(&named("other"), Some("attempt-1")).await;
        assert_eq!(refusal(other), "idempotency_mismatch");

        let rotate = RotateApiKeyRequest::default();
        let id = &first.details.id;
        let rotated = client.rotate_api_key(id, &rotate, Some("r-1")).await.unwrap();
        let again = client.rotate_api_key(id, &rotate, Some("r-1")).await.unwrap();
        assert_eq!((again.key, again.grace_ends_at), (rotated.key, rotated.grace_ends_at));

        // Many at once: one key.
        let racing = named("racing");
        let calls = (0..16).map(|_| client.create_api_key(&racing, Some("race")));
        let mut ids: Vec<_> = futures_util::future::join_all(calls)
            .await
            .into_iter()
            .map(|made| made.unwrap().details.id)
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), 1);

        // Rotations too: one successor, and everybody gets it.
        let made = client.create_api_key(&named("rotating"), None).await.unwrap();
        let calls =
            (0..16).map(|_| client.rotate_api_key(&made.details.id, &rotate, Some("race-2")));
        let mut ids: Vec<_> = futures_util::future::join_all(calls)
            .await
            .into_iter()
            .map(|rotated| rotated.unwrap().details.id)
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), 1);

        // Over the local socket too.
        let local = server.local(None);
        let first = local.create_api_key(&named("local"), Some("l")).await.unwrap();
        let again = local.create_api_key(&named("local"), Some("l")).await.unwrap();
        assert_eq!(first.key, again.key);
    });
    // The sealed answer survives a restart, and opens for the same caller only.
    drop(server);
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let again = client.create_api_key(&named("retried"), Some("attempt-1")).await.unwrap();
        assert!(again.key.expose().starts_with("kr_live_"));
        let local = server.local(None);
        let gone = local.create_api_key(&named("local"), Some("l")).await;
        assert_eq!(refusal(gone), "idempotency_result_gone");
    });
}

#[test]
fn changes_reach_verification_at_once() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let role = CreateRoleRequest {
            name: "writer".into(),
            description: String::new(),
            permissions: vec!["documents.*".into()],
        };
        client.create_role(&role).await.unwrap();
        let key = CreateApiKeyRequest { roles: vec!["writer".into()], ..named("writer") };
        let made = client.create_api_key(&key, None).await.unwrap();
        assert!(verify(&client, &made.key, Some("documents.pages.write")).await.valid);
        assert_eq!(refusal(client.delete_role("writer").await), "in_use");

        let less = UpdateRoleRequest {
            permissions: Some(vec!["documents.read".into()]),
            ..UpdateRoleRequest::default()
        };
        client.update_role("writer", &less).await.unwrap();
        assert!(!verify(&client, &made.key, Some("documents.pages.write")).await.valid);

        let change = UpdateApiKeyRequest {
            name: Some("reader".into()),
            owner: Patch::Set("acme".into()),
            roles: Some(vec![]),
            permissions: Some(vec!["a.b".into()]),
            expires_at: Patch::Clear,
            ..UpdateApiKeyRequest::default()
        };
        let changed = client.update_api_key(&made.details.id, &change).await.unwrap();
        assert_eq!(changed.expires_at, None);
        assert_eq!(changed.revision, made.details.revision + 1);
        let verdict = verify(&client, &made.key, Some("a.b")).await;
        assert!(verdict.valid);
        assert_eq!(verdict.key.unwrap().name, "reader");
        let stale = UpdateApiKeyRequest { revision: Some(1), ..change };
        let stale = client.update_api_key(&made.details.id, &stale).await;
        assert_eq!(refusal(stale), "changed_meanwhile");
        client.delete_role("writer").await.unwrap();
    });
}

#[test]
fn use_is_counted_and_survives_a_graceful_stop() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    let id = block_on(async {
        let made = client.create_api_key(&named("used"), None).await.unwrap();
        for _ in 0..3 {
            let request = VerifyRequest {
                request: Some(RequestContext {
                    ip: Some("203.0.113.9".parse().unwrap()),
                    user_agent: Some("curl/8".into()),
                    ..RequestContext::default()
                }),
                ..VerifyRequest::new(made.key.clone())
            };
            assert!(client.verify(&request).await.unwrap().valid);
        }
        let usage = client.api_key(&made.details.id).await.unwrap().usage.unwrap();
        assert_eq!(usage.verifications, 3);
        made.details.id
    });
    server.stop();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    let usage = block_on(client.api_key(&id)).unwrap().usage.unwrap();
    assert_eq!(usage.verifications, 3);
    assert_eq!(usage.last_ip.as_deref(), Some("203.0.113.9"));
    assert_eq!(usage.last_user_agent.as_deref(), Some("curl/8"));
    assert!(usage.last_used_at.is_some());
}

#[test]
fn expiring_and_expired_keys_are_found() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let soon = CreateApiKeyRequest { expires_in: Some("5d".into()), ..named("soon") };
        let soon = client.create_api_key(&soon, None).await.unwrap();
        let never = CreateApiKeyRequest { expires_in: Some("never".into()), ..named("never") };
        let never = client.create_api_key(&never, None).await.unwrap();
        assert_eq!(never.details.expires_at, None);
        let query = ExpiringQuery { days: Some(30), ..ExpiringQuery::default() };
        let found = client.expiring_api_keys(&query).await.unwrap();
        let found: Vec<_> = found.items.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(found, [soon.details.id.as_str()]);

        let brief = CreateApiKeyRequest { expires_in: Some("1s".into()), ..named("brief") };
        let brief = client.create_api_key(&brief, None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(code(&client, &brief.key).await, "EXPIRED");
        let filter = ListApiKeysQuery { state: Some("expired".into()), ..Default::default() };
        assert_eq!(client.list_api_keys(&filter).await.unwrap().items.len(), 1);
        let dry = CleanupExpiredRequest { dry_run: true, ..Default::default() };
        assert_eq!(client.cleanup_expired(&dry).await.unwrap().count, 1);
        let done = client.cleanup_expired(&CleanupExpiredRequest::default()).await.unwrap();
        assert_eq!((done.count, done.ids), (1, vec![brief.details.id.clone()]));
        assert_eq!(client.api_key(&brief.details.id).await.unwrap().state, "deleted");
        let again = client.cleanup_expired(&CleanupExpiredRequest::default()).await.unwrap();
        assert_eq!(again.count, 0);
    });
}

#[test]
fn nobody_grants_more_than_they_have() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = server.client(&installation.admin_key);
    block_on(async {
        let issuer = CreateRoleRequest {
            name: "issuer".into(),
            description: String::new(),
            permissions: vec!["keyreeve.keys.*".into(), "documents.*".into()],
        };
        admin.create_role(&issuer).await.unwrap();
        let key = CreateApiKeyRequest { roles: vec!["issuer".into()], ..named("issuer") };
        let key = admin.create_api_key(&key, None).await.unwrap();
        let issuer = server.client(key.key.expose());
        let within =
            CreateApiKeyRequest { permissions: vec!["documents.read".into()], ..named("ok") };
        let within_id = issuer.create_api_key(&within, None).await.unwrap().details.id;
        for beyond in [
            CreateApiKeyRequest { permissions: vec!["invoices.read".into()], ..named("no") },
            CreateApiKeyRequest { permissions: vec!["*".into()], ..named("no") },
            CreateApiKeyRequest { roles: vec!["admin".into()], ..named("no") },
        ] {
            assert_eq!(refusal(issuer.create_api_key(&beyond, None).await), "escalation");
        }
        // Rotating a stronger key would hand over its rights.
        let mine = admin.list_api_keys(&ListApiKeysQuery::default()).await.unwrap();
        let strong = mine.items.iter().find(|key| key.name == "admin").unwrap();
        let rotate = RotateApiKeyRequest::default();
        let stolen = issuer.rotate_api_key(&strong.id, &rotate, None).await;
        assert_eq!(refusal(stolen), "escalation");
        // Nor can a weak key bring a strong one back, or lengthen its life.
        let key = CreateApiKeyRequest { roles: vec!["admin".into()], ..named("strong") };
        let strong = admin.create_api_key(&key, None).await.unwrap().details.id;
        admin.disable_api_key(&strong, &because("leaked")).await.unwrap();
        assert_eq!(refusal(issuer.enable_api_key(&strong).await), "escalation");
        admin.delete_api_key(&strong).await.unwrap();
        assert_eq!(refusal(issuer.undelete_api_key(&strong).await), "escalation");
        let forever = UpdateApiKeyRequest { expires_at: Patch::Clear, ..Default::default() };
        assert_eq!(refusal(issuer.update_api_key(&strong, &forever).await), "escalation");
        issuer.revoke_api_key(&within_id, &because("done")).await.unwrap();
        // A customer's key with every permission of the team's own API opens nothing here.
        let star = CreateApiKeyRequest { permissions: vec!["*".into()], ..named("customer") };
        let star = admin.create_api_key(&star, None).await.unwrap();
        let customer = server.client(star.key.expose());
        let listed = customer.list_api_keys(&ListApiKeysQuery::default()).await;
        assert_eq!(refusal(listed), "forbidden");
    });
}
