//! The authoriser for gateways: nginx, Traefik, Caddy and Envoy ask here about each request that
//! they are about to pass on. `docs/guide/gateways.md` is the contract.

mod answer;
mod gateway;
mod identity;
mod question;
mod rate_headers;

use axum::body::Body;
use http::{HeaderMap, Response, request::Parts};
use keyreeve_api::ErrorCode;
use keyreeve_core::{
    Secret, client_address::TrustedProxies, name::ProjectName, restriction::RequestFacts,
    verdict::VerdictCode,
};
use keyreeve_engine::{
    Caller, Engine, Permit, RequestId, Verdict, VerifyInput, action::VerifyKey, live::LiveKey,
};

use self::{
    answer::Decision, gateway::Gateway, identity::Identity, question::Question,
    rate_headers::Policy,
};
use crate::{
    authenticate::{self, Arrival},
    metrics::Metrics,
};

/// What every path served here begins with.
pub(crate) const PREFIX: &str = "/authz/";
/// Where a gateway shows that it is one.
const SECRET: &str = "x-keyreeve-gateway-secret";

/// What gateways show, and what they verify against.
#[derive(Debug)]
pub struct AuthorizerOptions {
    /// What every gateway shows in `X-Keyreeve-Gateway-Secret`. An empty one lets nobody in.
    pub secret: Secret<Vec<u8>>,
    /// The project whose keys are good.
    pub project: ProjectName,
    /// Proxies in front of the gateways, whose word on a client's address counts.
    pub trusted: TrustedProxies,
}

/// Answers a gateway. Every request is denied unless all of it is in order.
pub(crate) async fn serve(
    engine: &Engine,
    metrics: &Metrics,
    options: &AuthorizerOptions,
    parts: &Parts,
    arrival: &Arrival,
) -> Response<Body> {
    let id = &arrival.meta.id;
    let Some(gateway) = Gateway::at(parts.uri.path()) else {
        return answer::no_such_gateway(id);
    };
    if !shows_secret(&parts.headers, &options.secret) {
        engine.count_failed_authentication(arrival.meta.ip, ErrorCode::Forbidden.as_str());
        return answer::stranger(id);
    }
    let question = match Question::read(gateway, parts, arrival.meta.ip, &options.trusted) {
        Ok(question) => question,
        Err(unclear) => return answer::unclear(&unclear, id),
    };
    let key = match credential(&parts.headers) {
        Ok(key) => key,
        Err(code) => {
            metrics.count_verdict(code);
            return answer::deny(gateway, &Decision::early(code), id);
        }
    };
    let caller = Caller::gateway(gateway.name(), options.project.clone(), arrival.meta);
    let Ok(permit) = Permit::<VerifyKey>::check(&caller) else {
        return answer::stranger(id);
    };
    let input = VerifyInput {
        require: question.require.as_ref(),
        request: RequestFacts {
            ip: question.ip,
            origin: question.origin,
            method: Some(question.method),
            host: question.host,
            path: Some(question.path),
            ..RequestFacts::default()
        },
        user_agent: question.user_agent,
        ..VerifyInput::new(key)
    };
    let verdict = engine.verify(&permit, &input).await;
    metrics.count_verdict(verdict.code);
    respond(gateway, &verdict, id)
}

/// Whether the gateway's secret stands in the request, once.
fn shows_secret(headers: &HeaderMap, secret: &Secret<Vec<u8>>) -> bool {
    let mut values = headers.get_all(SECRET).iter();
    match (values.next(), values.next()) {
        (Some(shown), None) => !shown.is_empty() && secret.matches(shown.as_bytes()),
        _ => false,
    }
}

/// The key the client showed, or the verdict that needs no lookup.
fn credential(headers: &HeaderMap) -> Result<&str, VerdictCode> {
    match authenticate::credential(headers) {
        Ok(None) => Err(VerdictCode::Missing),
        Ok(Some(key)) if key.len() > VerifyInput::LONGEST_KEY => Err(VerdictCode::Malformed),
        Ok(Some(key)) => Ok(key),
        Err(failure) if failure.code == ErrorCode::DuplicateHeader => Err(VerdictCode::Duplicate),
        Err(_) => Err(VerdictCode::Malformed),
    }
}

fn respond(gateway: Gateway, verdict: &Verdict, id: &RequestId) -> Response<Body> {
    let policies = policies(verdict);
    if let (VerdictCode::Valid, Some(key)) = (verdict.code, verdict.key.as_deref()) {
        return answer::allow(gateway, &identity(key), &policies);
    }
    let decision = Decision {
        code: verdict.code,
        why: verdict.why.as_deref(),
        missing: &verdict.missing,
        policies: &policies,
        retry_after_s: verdict.retry_after_s,
    };
    answer::deny(gateway, &decision, id)
}

fn identity(key: &LiveKey) -> Identity {
    let mut permissions = Vec::new();
    key.for_each_permission(|permission| permissions.push(permission.to_owned()));
    Identity {
        key_id: key.id().as_str().to_owned(),
        key_name: key.name().to_owned(),
        owner: key.owner_id().unwrap_or_default().to_owned(),
        roles: key.role_names().map(str::to_owned).collect(),
        permissions,
        environment: key.environment().to_owned(),
        keyspace: key.keyspace().to_owned(),
        project: key.project().as_str().to_owned(),
    }
}

/// The limits behind a verdict, and the quota if it ends some day.
fn policies(verdict: &Verdict) -> Vec<Policy> {
    let levels = verdict.limits.iter().map(|level| Policy {
        name: level.name.to_string(),
        amount: level.limit.into(),
        window_s: Some(level.period_s),
        remaining: level.remaining.into(),
        reset_s: level.reset_s,
        exceeded: level.exceeded,
    });
    let quota = verdict.quota.as_ref().and_then(|quota| {
        let left = quota.resets_at?.duration_since(verdict.at);
        let whole = left.as_secs().saturating_add((left.subsec_nanos() > 0).into());
        Some(Policy {
            name: "quota".to_owned(),
            amount: quota.amount,
            window_s: None,
            remaining: quota.remaining,
            // A moment that has passed is now.
            reset_s: u64::try_from(whole).unwrap_or(0),
            exceeded: quota.exceeded,
        })
    });
    let mut policies: Vec<Policy> = levels.chain(quota).collect();
    for policy in policies.iter_mut().filter(|policy| policy.exceeded) {
        // A limit is usable again before it is full again.
        policy.reset_s = policy.reset_s.min(verdict.retry_after_s.unwrap_or(u64::MAX));
    }
    policies
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_the_whole_secret_shown_once_will_do() {
        let secret = Secret::new(b"correct".to_vec());
        assert!(shows_secret(&headers(&[(SECRET, "correct")]), &secret));
        for wrong in [
            &[][..],
            &[(SECRET, "")],
            &[(SECRET, "correc")],
            &[(SECRET, "correct ")],
            &[(SECRET, "Correct")],
            &[(SECRET, "correct"), (SECRET, "correct")],
            &[(SECRET, "wrong"), (SECRET, "correct")],
            &[("x-keyreeve-gateway", "correct")],
        ] {
            assert!(!shows_secret(&headers(wrong), &secret), "{wrong:?}");
        }
    }

    #[test]
    fn an_empty_secret_lets_nobody_in() {
        let empty = Secret::new(Vec::new());
        assert!(!shows_secret(&headers(&[(SECRET, "")]), &empty));
        assert!(!shows_secret(&headers(&[]), &empty));
    }

    #[test]
    fn the_key_is_found_or_the_verdict_is_clear() {
        let longest: &'static str = "k".repeat(VerifyInput::LONGEST_KEY).leak();
        let longer: &'static str = "k".repeat(VerifyInput::LONGEST_KEY + 1).leak();
        for (pairs, expected) in [
            (&[("authorization", "Bearer abc")][..], Ok("abc")),
            (&[("x-api-key", "abc")], Ok("abc")),
            (&[("x-api-key", longest)], Ok(longest)),
            (&[], Err(VerdictCode::Missing)),
            (&[("authorization", "Basic abc")], Err(VerdictCode::Missing)),
            (&[("x-api-key", longer)], Err(VerdictCode::Malformed)),
            (&[("x-api-key", "a"), ("x-api-key", "a")], Err(VerdictCode::Duplicate)),
            (&[("x-api-key", "a"), ("authorization", "Bearer a")], Err(VerdictCode::Duplicate)),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
                Err(VerdictCode::Duplicate),
            ),
        ] {
            assert_eq!(credential(&headers(pairs)), expected, "{pairs:?}");
        }
        let mut unreadable = HeaderMap::new();
        unreadable.insert("x-api-key", HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap());
        assert_eq!(credential(&unreadable), Err(VerdictCode::Malformed));
    }
}
