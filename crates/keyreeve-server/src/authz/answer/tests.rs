//! Every verdict through every gateway.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::*;

const GATEWAYS: [Gateway; 4] = [Gateway::Nginx, Gateway::Traefik, Gateway::Caddy, Gateway::Envoy];

/// What a verdict must look like, whatever the gateway.
struct Expected {
    code: VerdictCode,
    status: u16,
    verdict: &'static str,
    /// Behind `Bearer realm="keyreeve"`; `None` for no challenge.
    challenge: Option<&'static str>,
    /// `code` and `check` of the body.
    problem: (&'static str, Option<&'static str>),
}

const BAD_KEY: &str = ", error=\"invalid_token\", error_description=\"The key is not valid\"";

fn expected() -> Vec<Expected> {
    let bad_key = |code| Expected {
        code,
        status: 401,
        verdict: "INVALID",
        challenge: Some(BAD_KEY),
        problem: ("invalid_credential", None),
    };
    let plain = |code: VerdictCode, status, problem| Expected {
        code,
        status,
        verdict: code.as_str(),
        challenge: None,
        problem,
    };
    let forbidden = |code, check| plain(code, 403, ("forbidden", Some(check)));
    vec![
        Expected {
            challenge: Some(""),
            ..plain(VerdictCode::Missing, 401, ("unauthenticated", None))
        },
        Expected {
            challenge: Some(", error=\"invalid_request\""),
            ..plain(VerdictCode::Duplicate, 400, ("duplicate_header", None))
        },
        bad_key(VerdictCode::Malformed),
        bad_key(VerdictCode::NotFound),
        bad_key(VerdictCode::Revoked),
        bad_key(VerdictCode::Disabled),
        bad_key(VerdictCode::Expired),
        bad_key(VerdictCode::NotYetValid),
        bad_key(VerdictCode::GraceEnded),
        forbidden(VerdictCode::ForbiddenIp, "ip"),
        forbidden(VerdictCode::ForbiddenGeo, "country"),
        forbidden(VerdictCode::ForbiddenTime, "window"),
        forbidden(VerdictCode::ForbiddenOrigin, "origin"),
        forbidden(VerdictCode::ForbiddenRoute, "route"),
        forbidden(VerdictCode::Lockdown, "lockdown"),
        Expected {
            challenge: Some(", error=\"insufficient_scope\", scope=\"a.read b.*\""),
            ..forbidden(VerdictCode::InsufficientPermissions, "permissions")
        },
        plain(VerdictCode::RateLimited, 429, ("rate_limited", None)),
        plain(VerdictCode::QuotaExceeded, 429, ("quota_exceeded", None)),
        plain(VerdictCode::Concurrency, 429, ("concurrency", None)),
        plain(VerdictCode::AbuseLocked, 429, ("abuse_locked", None)),
        plain(VerdictCode::Stale, 503, ("store_unavailable", None)),
        plain(VerdictCode::Error, 503, ("store_unavailable", None)),
    ]
}

fn id() -> RequestId {
    RequestId::from_caller("request-1").unwrap()
}

fn policy(name: &str, remaining: u64, reset_s: u64, exceeded: bool) -> Policy {
    let (name, window_s) = (name.to_owned(), Some(3600));
    Policy { name, amount: 2, window_s, remaining, reset_s, exceeded }
}

fn text<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn body(response: Response<Body>) -> Value {
    let collect = response.into_body().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    serde_json::from_slice(&runtime.block_on(collect).unwrap().to_bytes()).unwrap()
}

/// The status that reaches the gateway.
fn sent(gateway: Gateway, status: u16) -> u16 {
    match (gateway, status) {
        (Gateway::Nginx, 401) => 401,
        (Gateway::Nginx, _) | (Gateway::Envoy, 503) => 403,
        (_, status) => status,
    }
}

#[test]
fn every_verdict_is_denied_as_promised_through_every_gateway() {
    let missing = ["a.read".to_owned(), "b.*".to_owned()];
    for expected in expected() {
        for gateway in GATEWAYS {
            let which = format!("{:?} {gateway:?}", expected.code);
            let decision = Decision {
                why: Some("the address is on the deny list"),
                missing: &missing,
                ..Decision::early(expected.code)
            };
            let response = deny(gateway, &decision, &id());
            assert_eq!(response.status(), sent(gateway, expected.status), "{which}");
            let header = |name| text(&response, name);
            assert_eq!(header("x-auth-status"), Some(&*expected.status.to_string()), "{which}");
            assert_eq!(header("x-keyreeve-verdict"), Some(expected.verdict), "{which}");
            assert_eq!(header("cache-control"), Some("no-store"), "{which}");
            assert_eq!(header("content-type"), Some("application/problem+json"), "{which}");
            let challenge =
                expected.challenge.map(|rest| format!("Bearer realm=\"keyreeve\"{rest}"));
            assert_eq!(header("www-authenticate"), challenge.as_deref(), "{which}");
            let retry = (expected.status == 503).then_some("1");
            assert_eq!(header("retry-after"), retry, "{which}");
            for name in response.headers().keys() {
                assert!(!name.as_str().starts_with("x-keyreeve-key"), "{which}: {name}");
            }
            let status = response.status().as_u16();
            let body = body(response);
            assert_eq!(body["status"], status, "{which}");
            assert_eq!(body["code"], expected.problem.0, "{which}");
            assert_eq!(body["check"].as_str(), expected.problem.1, "{which}");
            assert_eq!(body["request_id"], "request-1", "{which}");
        }
    }
}

#[test]
fn no_verdict_is_left_out() {
    let expected = expected();
    for code in VerdictCode::ALL.iter().copied() {
        let listed = expected.iter().any(|expected| expected.code == code);
        assert_eq!(listed, code != VerdictCode::Valid, "{code:?}");
    }
}

#[test]
fn which_fault_a_bad_key_has_is_not_told() {
    let answer = |code| {
        let decision = Decision { why: Some("revoked by bob"), ..Decision::early(code) };
        let response = deny(Gateway::Caddy, &decision, &id());
        (format!("{:?}", response.headers()), body(response))
    };
    let first = answer(VerdictCode::NotFound);
    assert!(!first.1.to_string().contains("bob"), "{first:?}");
    for expected in expected().iter().filter(|expected| expected.verdict == "INVALID") {
        assert_eq!(answer(expected.code), first, "{:?}", expected.code);
    }
}

#[test]
fn a_valid_verdict_without_a_key_opens_nothing() {
    for gateway in GATEWAYS {
        let response = deny(gateway, &Decision::early(VerdictCode::Valid), &id());
        assert_eq!(response.status(), sent(gateway, 503), "{gateway:?}");
        assert_eq!(text(&response, "x-auth-status"), Some("503"));
        assert_eq!(text(&response, "x-keyreeve-verdict"), Some("ERROR"));
    }
}

#[test]
fn a_used_up_limit_says_which_and_until_when() {
    let policies =
        [policy("burst", 0, 1800, true), policy("daily", 1, 9, false), policy("ip", 0, 7, true)];
    for gateway in GATEWAYS {
        let decision = Decision {
            policies: &policies,
            retry_after_s: Some(1799),
            ..Decision::early(VerdictCode::RateLimited)
        };
        let response = deny(gateway, &decision, &id());
        let header = |name| text(&response, name);
        assert_eq!(header("retry-after"), Some("1800"), "not before t");
        assert_eq!(
            header("ratelimit"),
            Some(r#""burst";r=0;t=1800, "daily";r=1;t=9, "ip";r=0;t=7"#)
        );
        assert_eq!(header("x-ratelimit-limit"), Some("2"));
        assert_eq!(header("x-ratelimit-remaining"), Some("0"));
        assert_eq!(header("x-ratelimit-reset"), Some("1800"));
        let body = body(response);
        assert_eq!(body["type"], QUOTA_EXCEEDED);
        assert_eq!(body["violated-policies"], json!(["burst", "ip"]));
    }
}

#[test]
fn a_limit_that_never_lets_it_pass_names_no_time() {
    let policies = [policy("burst", 2, 0, true)];
    let decision = Decision { policies: &policies, ..Decision::early(VerdictCode::RateLimited) };
    let response = deny(Gateway::Traefik, &decision, &id());
    assert_eq!(text(&response, "retry-after"), None);
}

#[test]
fn an_address_with_many_bad_keys_learns_when_to_come_back() {
    let decision =
        Decision { retry_after_s: Some(60), ..Decision::early(VerdictCode::AbuseLocked) };
    let response = deny(Gateway::Envoy, &decision, &id());
    assert_eq!(text(&response, "retry-after"), Some("60"));
    assert_eq!(text(&response, "ratelimit"), None);
    assert_eq!(body(response)["type"], ABNORMAL_USAGE);
}

#[test]
fn a_restriction_says_why_and_a_missing_permission_which() {
    let missing = ["a.read".to_owned()];
    let why = Some("the address is on the deny list");
    let decision = Decision { why, ..Decision::early(VerdictCode::ForbiddenIp) };
    let told = body(deny(Gateway::Caddy, &decision, &id()));
    assert_eq!(told["detail"], "the address is on the deny list");
    let decision =
        Decision { missing: &missing, ..Decision::early(VerdictCode::InsufficientPermissions) };
    let told = body(deny(Gateway::Caddy, &decision, &id()));
    assert_eq!(told["missing"], json!(["a.read"]));
}

#[test]
fn a_scope_cannot_break_out_of_its_quotes() {
    let missing = ["a\"b".to_owned(), "c d".to_owned(), "e\\f".to_owned(), "g.h".to_owned()];
    assert_eq!(scope(&missing), "g.h");
}

#[test]
fn a_good_key_gets_200_with_all_there_is() {
    let identity = Identity { key_id: "abc".into(), ..Identity::default() };
    let policies = [policy("burst", 1, 1800, false)];
    for gateway in GATEWAYS {
        let response = allow(gateway, &identity, &policies);
        assert_eq!(response.status(), 200, "{gateway:?}");
        let header = |name| text(&response, name);
        assert_eq!(header("x-keyreeve-verdict"), Some("VALID"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-keyreeve-key-id"), Some("abc"));
        assert_eq!(header("x-keyreeve-owner"), Some(""));
        assert_eq!(header("ratelimit-policy"), Some(r#""burst";q=2;w=3600"#));
        assert_eq!(header("retry-after"), None);
        assert_eq!(header("x-auth-status"), None);
        let to_remove = (gateway == Gateway::Envoy)
            .then_some("authorization, x-api-key, x-keyreeve-gateway-secret");
        assert_eq!(header("x-envoy-auth-headers-to-remove"), to_remove, "{gateway:?}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        assert!(body.is_empty());
    }
}

#[test]
fn the_gateways_own_faults_open_nothing_and_are_named() {
    let response = stranger(&id());
    assert_eq!(response.status(), 403);
    assert_eq!(text(&response, "x-auth-status"), Some("403"));
    assert_eq!(text(&response, "www-authenticate"), None);
    assert_eq!(body(response)["code"], "forbidden");

    let response = unclear(&Unclear::header("x-original-uri", "must stand once"), &id());
    assert_eq!(response.status(), 403);
    assert_eq!(text(&response, "x-auth-status"), Some("400"));
    let told = body(response);
    assert_eq!(told["code"], "invalid_request");
    assert_eq!(
        told["errors"],
        json!([{ "field": "header x-original-uri", "rule": "must stand once" }])
    );

    assert_eq!(no_such_gateway(&id()).status(), 404);
}
