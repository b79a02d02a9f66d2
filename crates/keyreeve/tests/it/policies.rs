//! Everything that bounds the use of keys, over HTTP.

use keyreeve_api::{
    Client, CostRequest, CreateApiKeyRequest, CreatedApiKeyView, DeriveApiKeyRequest,
    ExplainRequest, LimitView, ListAuditQuery, ReasonRequest, RequestContext, ReserveRequest,
    RestrictionsView, SecretText, UpdateOwnerRequest, VerifyRequest, VerifyView,
};
use serde_json::{Value, json};

use crate::{
    keys::named,
    support::{Installation, block_on, http, problem, refusal},
};

async fn ask(
    client: &Client,
    key: &SecretText,
    change: impl FnOnce(&mut VerifyRequest),
) -> VerifyView {
    let mut request = VerifyRequest::new(key.clone());
    change(&mut request);
    client.verify(&request).await.unwrap()
}

pub(crate) async fn plain(client: &Client, key: &SecretText) -> VerifyView {
    ask(client, key, |_| {}).await
}

pub(crate) async fn make(client: &Client, request: CreateApiKeyRequest) -> CreatedApiKeyView {
    client.create_api_key(&request, None).await.unwrap()
}

fn limit(name: &str, rate: &str) -> LimitView {
    LimitView { name: name.into(), rate: rate.into(), ..LimitView::default() }
}

pub(crate) fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

fn context() -> RequestContext {
    RequestContext {
        ip: Some([203, 0, 113, 9].into()),
        method: Some("GET".into()),
        host: Some("api.example.com".into()),
        path: Some("/v1/items?page=2".into()),
        origin: Some("https://app.example.com".into()),
        ..RequestContext::default()
    }
}

/// One request that is refused for each restriction, and its code.
#[test]
fn every_restriction_refuses_by_its_own_code() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let restrictions = RestrictionsView {
            allow_ips: texts(&["203.0.113.0/24"]),
            deny_ips: texts(&["203.0.113.7"]),
            windows: texts(&["Mon-Fri 09:00-17:00 Europe/Berlin"]),
            origins: texts(&["https://app.example.com"]),
            routes: texts(&["GET /v1/*"]),
            ..RestrictionsView::default()
        };
        let bound = make(&client, CreateApiKeyRequest { restrictions, ..named("bound") }).await;
        let working_day = "2026-11-23T10:00:00Z".parse().unwrap();
        let at_work = RequestContext { at: Some(working_day), ..context() };
        let code = async |context: RequestContext| {
            let verdict = ask(&client, &bound.key, |request| {
                request.request = Some(context);
                request.dry_run = true;
            });
            let verdict = verdict.await;
            let reason = verdict.reason.map(|reason| (reason.check, reason.policy.is_some()));
            (verdict.code, reason)
        };
        assert_eq!(code(at_work.clone()).await, ("VALID".into(), None));
        let sunday = Some("2026-11-22T10:00:00Z".parse().unwrap());
        for (context, expected, check) in [
            (
                RequestContext { ip: Some([203, 0, 113, 7].into()), ..at_work.clone() },
                "FORBIDDEN_IP",
                "ip",
            ),
            (
                RequestContext { ip: Some([198, 51, 100, 1].into()), ..at_work.clone() },
                "FORBIDDEN_IP",
                "ip",
            ),
            (RequestContext { ip: None, ..at_work.clone() }, "FORBIDDEN_IP", "ip"),
            (RequestContext { at: sunday, ..at_work.clone() }, "FORBIDDEN_TIME", "window"),
            (RequestContext { origin: None, ..at_work.clone() }, "FORBIDDEN_ORIGIN", "origin"),
            (
                RequestContext { method: Some("POST".into()), ..at_work.clone() },
                "FORBIDDEN_ROUTE",
                "route",
            ),
            (
                RequestContext { path: Some("/v1/../admin".into()), ..at_work.clone() },
                "FORBIDDEN_ROUTE",
                "route",
            ),
        ] {
            assert_eq!(code(context).await, (expected.into(), Some((check.into(), true))));
        }
        // A mapped address is the address it maps.
        let mapped = RequestContext { ip: Some("::ffff:203.0.113.9".parse().unwrap()), ..at_work };
        assert_eq!(code(mapped).await.0, "VALID");

        let abroad =
            RestrictionsView { allow_countries: texts(&["DE"]), ..RestrictionsView::default() };
        let abroad =
            make(&client, CreateApiKeyRequest { restrictions: abroad, ..named("geo") }).await;
        let verdict = ask(&client, &abroad.key, |request| request.request = Some(context())).await;
        assert_eq!(verdict.code, "FORBIDDEN_GEO", "no database, and the keyspace fails closed");

        let later = Some("2099-01-01T00:00:00Z".parse().unwrap());
        let early = CreateApiKeyRequest {
            not_before: later,
            expires_in: Some("never".into()),
            ..named("early")
        };
        let early = make(&client, early).await;
        assert_eq!(plain(&client, &early.key).await.code, "NOT_YET_VALID");

        let explained = client
            .explain_api_key(
                &bound.details.id,
                &ExplainRequest {
                    request: Some(RequestContext { at: sunday, ..context() }),
                    ..ExplainRequest::default()
                },
            )
            .await
            .unwrap();
        assert_eq!((explained.valid, explained.code.as_str()), (false, "FORBIDDEN_TIME"));
        let failed: Vec<_> = explained
            .checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| check.check.as_str())
            .collect();
        assert_eq!(failed, ["window"]);
    });
}

#[test]
fn limits_are_taken_together_or_not_at_all() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let limits = vec![limit("burst", "3/1h"), limit("day", "100/1d")];
        let key = make(&client, CreateApiKeyRequest { limits, ..named("limited") }).await;
        let dry = ask(&client, &key.key, |request| request.dry_run = true).await;
        assert_eq!((dry.code.as_str(), dry.limits[0].remaining), ("VALID", 3));
        for left in [2, 1, 0] {
            let verdict = plain(&client, &key.key).await;
            assert_eq!((verdict.code.as_str(), verdict.limits[0].remaining), ("VALID", left));
        }
        let refused = plain(&client, &key.key).await;
        assert_eq!(refused.code, "RATE_LIMITED");
        assert!(refused.limits[0].exceeded && !refused.limits[1].exceeded);
        assert!((1..=1200).contains(&refused.retry_after_s.unwrap()), "{refused:?}");
        assert_eq!(refused.limits[1].remaining, 97, "the other limit lost nothing");
        let peek = ask(&client, &key.key, |request| {
            request.cost =
                Some(CostRequest { quota: None, limits: [("burst".to_owned(), 0)].into() });
        });
        assert_eq!(peek.await.code, "VALID", "a cost of nothing only asks");

        // An owner's limit is shared by its keys, and two rotations of a key share theirs.
        let owned = |name: &str| CreateApiKeyRequest { owner: Some("acme".into()), ..named(name) };
        let (one, two) = (make(&client, owned("one")).await, make(&client, owned("two")).await);
        let change = UpdateOwnerRequest {
            limits: Some(vec![limit("all", "2/1h")]),
            ..UpdateOwnerRequest::default()
        };
        client.update_owner("acme", &change).await.unwrap();
        assert_eq!(plain(&client, &one.key).await.code, "VALID");
        assert_eq!(plain(&client, &two.key).await.code, "VALID");
        assert_eq!(plain(&client, &one.key).await.code, "RATE_LIMITED");

        let limits = vec![limit("once", "1/1h")];
        let old = make(&client, CreateApiKeyRequest { limits, ..named("old") }).await;
        assert_eq!(plain(&client, &old.key).await.code, "VALID");
        let new = client.rotate_api_key(&old.details.id, &Default::default(), None).await.unwrap();
        assert_eq!(plain(&client, &new.key).await.code, "RATE_LIMITED");
    });
}

#[test]
fn limits_admit_exactly_what_they_allow_under_load() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let request = CreateApiKeyRequest {
            limits: vec![limit("a", "40/1d"), limit("b", "60/1d")],
            quota: Some("50/day".into()),
            ..named("raced")
        };
        let key = make(&client, request).await;
        let asked = (0..300).map(|_| plain(&client, &key.key));
        let verdicts = futures_util::future::join_all(asked).await;
        let of = |code: &str| verdicts.iter().filter(|verdict| verdict.code == code).count();
        assert_eq!((of("VALID"), of("RATE_LIMITED")), (40, 260));
        let after = ask(&client, &key.key, |request| request.dry_run = true).await;
        assert_eq!(after.limits[1].remaining, 20, "nothing was lost to requests that were refused");
    });
}

#[test]
fn quotas_survive_a_crash_and_are_never_overspent() {
    let installation = Installation::new();
    let mut server = installation.serve();
    let mut client = server.client(&installation.admin_key);
    let key = block_on(make(
        &client,
        CreateApiKeyRequest { quota: Some("30/month".into()), ..named("quota") },
    ));
    let mut valid = 0;
    for round in 0..4 {
        for _ in 0..7 {
            valid += u32::from(block_on(plain(&client, &key.key)).valid);
        }
        if round == 3 {
            server.stop()
        } else {
            server.kill();
            String::new()
        };
        server = installation.serve();
        client = server.client(&installation.admin_key);
    }
    while block_on(plain(&client, &key.key)).valid {
        valid += 1;
        assert!(valid <= 30, "overspent");
    }
    let refused = block_on(plain(&client, &key.key));
    assert_eq!(refused.code, "QUOTA_EXCEEDED");
    assert_eq!(refused.quota.unwrap().remaining, 0);
    // Three crashes cost at most one claim, here of one, each.
    assert!(valid >= 27, "{valid} of 30");
}

#[test]
fn what_is_reserved_is_committed_or_free_again() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let request = CreateApiKeyRequest {
            quota: Some("100/day".into()),
            concurrency: Some("1/1h".into()),
            ..named("r")
        };
        let key = make(&client, request).await;
        let reserve = |amount| {
            move |request: &mut VerifyRequest| {
                request.reserve = Some(ReserveRequest { amount, ttl_s: Some(60) });
            }
        };
        let held = ask(&client, &key.key, reserve(80)).await;
        assert_eq!((held.code.as_str(), held.quota.unwrap().remaining), ("VALID", 20));
        let lease = held.lease.unwrap();
        assert_eq!(plain(&client, &key.key).await.code, "CONCURRENCY");
        let api = |path: String| {
            http()
                .post(format!("{}/api/v1/{path}", server.url))
                .bearer_auth(&installation.admin_key)
        };
        let released = api(format!("leases/{}/release", lease.id)).send().await.unwrap();
        assert_eq!(released.status(), 204);
        assert_eq!(ask(&client, &key.key, reserve(30)).await.code, "QUOTA_EXCEEDED");
        let id = held.reservation.unwrap().id;
        let too_much = api(format!("reservations/{id}/commit")).json(&json!({"amount": 81}));
        assert_eq!(problem(too_much.send().await.unwrap()).await.0, 400);
        let level = client
            .commit_reservation(&id, &keyreeve_api::CommitReservationRequest { amount: 10 })
            .await
            .unwrap();
        assert_eq!(level.remaining, 90);
        let again = client
            .commit_reservation(&id, &keyreeve_api::CommitReservationRequest { amount: 1 })
            .await;
        assert_eq!(refusal(again), "not_found");
    });
}

#[test]
fn a_derived_key_is_narrower_and_dies_with_its_parent() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let permissions = texts(&["documents.*", "keyreeve.keys.derive", "keyreeve.keys.verify"]);
        let request = CreateApiKeyRequest {
            permissions,
            limits: vec![limit("all", "3/1h")],
            ..named("parent")
        };
        let parent = make(&client, request).await;
        let holder = server.client(parent.key.expose());
        let wanted = DeriveApiKeyRequest {
            name: "child".into(),
            permissions: texts(&["documents.read"]),
            expires_in: Some("1h".into()),
            ..DeriveApiKeyRequest::default()
        };
        let child = holder.derive_api_key(&wanted, None).await.unwrap();
        assert_eq!(child.details.parent.as_deref(), Some(parent.details.id.as_str()));
        let stronger =
            DeriveApiKeyRequest { permissions: texts(&["accounts.read"]), ..wanted.clone() };
        assert_eq!(refusal(holder.derive_api_key(&stronger, None).await), "escalation");
        let longer = DeriveApiKeyRequest { expires_in: Some("never".into()), ..wanted };
        assert_eq!(refusal(holder.derive_api_key(&longer, None).await), "invalid_request");
        let verdict =
            ask(&client, &child.key, |request| request.require = Some("documents.read".into()))
                .await;
        // The parent called thrice itself, and its limit counts the child's requests too.
        assert_eq!(verdict.code, "RATE_LIMITED");
        client.revoke_api_key(&parent.details.id, &ReasonRequest::default()).await.unwrap();
        assert_eq!(plain(&client, &child.key).await.code, "REVOKED");
    });
}

#[test]
fn a_key_is_derived_once_however_often_it_is_asked_for() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = server.client(&installation.admin_key);
    block_on(async {
        let wanted = DeriveApiKeyRequest { name: "once".into(), ..DeriveApiKeyRequest::default() };
        let first = admin.derive_api_key(&wanted, Some("once")).await.unwrap();
        let again = admin.derive_api_key(&wanted, Some("once")).await.unwrap();
        assert_eq!(first.details.id, again.details.id);
        assert_eq!(first.key.expose(), again.key.expose());
        let other = admin.derive_api_key(&wanted, None).await.unwrap();
        assert_ne!(first.details.id, other.details.id);
    });
}

#[test]
fn a_derived_key_makes_nothing_that_would_outlive_its_parent() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = server.client(&installation.admin_key);
    block_on(async {
        let wanted = DeriveApiKeyRequest { name: "child".into(), ..DeriveApiKeyRequest::default() };
        let child = admin.derive_api_key(&wanted, None).await.unwrap();
        assert_eq!(child.details.roles, ["admin"]);
        let child = server.client(child.key.expose());
        child.list_keyspaces().await.unwrap();
        assert_eq!(refusal(child.create_api_key(&named("free"), None).await), "forbidden");
        child.derive_api_key(&wanted, None).await.unwrap();
    });
}

#[test]
fn the_service_limits_its_own_callers() {
    let installation = Installation::new();
    let server = installation.serve_with(&[
        ("KEYREEVE_LIMITS__ANONYMOUS", "20"),
        ("KEYREEVE_LIMITS__ADMIN", "500"),
        ("KEYREEVE_LIMITS__KEY_CREATION", "5"),
        ("KEYREEVE_LIMITS__FAILED_AUTH", "10"),
        ("KEYREEVE_LIMITS__PER_IP", "0"),
        ("KEYREEVE_LIMITS__LOCKOUT", "2s"),
    ]);
    let client = server.client(&installation.admin_key);
    block_on(async {
        for n in 0..5 {
            make(&client, named(&format!("k{n}"))).await;
        }
        assert_eq!(refusal(client.create_api_key(&named("k6"), None).await), "rate_limited");
        let get = |key: Option<String>| {
            let request = http().get(format!("{}/api/v1/owners", server.url));
            key.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth).send()
        };
        for n in 0..21 {
            let response = get(None).await.unwrap();
            assert_eq!(response.status(), if n < 20 { 401 } else { 429 }, "{n}");
        }
        for n in 0..12 {
            let response = get(Some("kr_live_nonsense".into())).await.unwrap();
            let (status, code, _) = problem(response).await;
            assert_eq!(
                (status, code.as_str()),
                if n < 11 { (401, "invalid_credential") } else { (429, "locked_out") },
                "{n}"
            );
        }
        let locked = get(Some(installation.admin_key.clone())).await.unwrap();
        assert_eq!(locked.status(), 429, "a lockout is for all who share the address");
        let metrics = http().get(format!("{}/metrics", server.url)).send().await.unwrap();
        assert!(metrics.text().await.unwrap().contains("keyreeve_lockouts_total 1"));
        assert!(locked.headers().contains_key("retry-after"));
        tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
        assert_eq!(get(Some(installation.admin_key.clone())).await.unwrap().status(), 200);
    });
    // All of it stands in the record, in batches by check.
    server.stop();
    let server = installation.serve();
    let query = ListAuditQuery { action: Some("denial.batch".into()), ..Default::default() };
    let client = server.client(&installation.admin_key);
    let entries = block_on(client.list_audit(&query)).unwrap().items;
    let total = |check: &str| {
        let entry = entries.iter().find(|entry| entry.details["check"] == check);
        entry.map_or(0, |entry| entry.details["total"].as_u64().unwrap())
    };
    // One key too many and one anonymous request; 20 without and 11 with a bad credential, and two
    // of an address that was locked out.
    let totals = ["admission", "anonymous", "authentication", "lockout"].map(total);
    assert_eq!(totals, [1, 1, 33, 1], "{entries:?}");
}

#[test]
fn bad_policies_are_refused_by_field_and_rule() {
    let installation = Installation::new();
    let server = installation.serve();
    block_on(async {
        let post = async |body: Value| {
            let request = http().post(format!("{}/api/v1/api-keys", server.url));
            let sent =
                request.bearer_auth(&installation.admin_key).json(&body).send().await.unwrap();
            problem(sent).await
        };
        for (body, field) in [
            (
                json!({"restrictions": {"allow_ips": ["203.0.113.0/33"]}}),
                "restrictions.allow_ips[0]",
            ),
            (
                json!({"restrictions": {"windows": ["Mon 17:00-09:00 Europe/Berlin"]}}),
                "restrictions.windows[0]",
            ),
            (
                json!({"restrictions": {"windows": ["Mon 09:00-17:00 Mars/Olympus"]}}),
                "restrictions.windows[0]",
            ),
            (
                json!({"restrictions": {"windows": ["Mon 09:00-12:00 UTC", "Mon 11:00-13:00 UTC"]}}),
                "restrictions.windows",
            ),
            (json!({"limits": [{"name": "a", "rate": "0/1s"}]}), "limits[0].rate"),
            (
                json!({"limits": [{"name": "a", "rate": "1/1s"}, {"name": "a", "rate": "2/1s"}]}),
                "limits",
            ),
            (json!({"limits": [{"name": "a", "rate": "1/1s", "per": "owner"}]}), "limits"),
            (json!({"quota": "-5/month"}), "quota"),
            (json!({"quota": "5/month Mars/Olympus"}), "quota"),
            (json!({"concurrency": "0/1s"}), "concurrency"),
            (json!({"not_before": "2099-01-01T00:00:00Z"}), "not_before"),
        ] {
            let mut whole = json!({"name": "bad"});
            whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            let (status, code, fields) = post(whole).await;
            assert_eq!((status, code.as_str()), (400, "invalid_request"), "{body}");
            assert!(fields[0].starts_with(&format!("{field}: must")), "{body}: {fields:?}");
        }
        let verify = async |body: Value| {
            let request = http().post(format!("{}/api/v1/verify", server.url));
            let sent =
                request.bearer_auth(&installation.admin_key).json(&body).send().await.unwrap();
            problem(sent).await
        };
        for body in [
            json!({"key": "k", "cost": {"limits": {"a": -1}}}),
            json!({"key": "k", "cost": {"limits": {"a": 4_294_967_296_u64}}}),
            json!({"key": "k", "cost": {"quota": -1}}),
            json!({"key": "k", "reserve": {"amount": 0}}),
            json!({"key": "k", "request": {"at": "2026-11-21T00:00:00Z"}}),
        ] {
            assert_eq!(verify(body.clone()).await.0, 400, "{body}");
        }
    });
}
