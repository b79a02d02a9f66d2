//! What a gateway gets, and through it the client.
//!
//! Sources: RFC 6750 for challenges, RFC 9457 for bodies,
//! draft-ietf-httpapi-ratelimit-headers-10 for the problems of limits.

use std::borrow::Cow;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use keyreeve_api::{ErrorCode, FieldProblem};
use keyreeve_core::verdict::VerdictCode;
use keyreeve_engine::RequestId;
use serde::Serialize;

use super::{
    gateway::Gateway,
    identity::Identity,
    question::Unclear,
    rate_headers::{self, Policy},
};

const STATUS: &str = "x-auth-status";
const VERDICT: &str = "x-keyreeve-verdict";
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const ABNORMAL_USAGE: &str =
    "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";

/// Why a client is denied.
#[derive(Debug)]
pub(super) struct Decision<'a> {
    pub(super) code: VerdictCode,
    pub(super) why: Option<&'a str>,
    pub(super) missing: &'a [String],
    pub(super) policies: &'a [Policy],
    pub(super) retry_after_s: Option<u64>,
}

impl Decision<'_> {
    /// One that needed no lookup.
    pub(super) fn early(code: VerdictCode) -> Self {
        Self { code, why: None, missing: &[], policies: &[], retry_after_s: None }
    }
}

/// The body of a denial.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    type_uri: Cow<'static, str>,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The check that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    missing: &'a [String],
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    violated_policies: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    request_id: &'a str,
}

impl<'a> Problem<'a> {
    fn of(code: ErrorCode, id: &'a RequestId) -> Self {
        Self {
            type_uri: code.type_uri().into(),
            title: code.title(),
            status: code.status(),
            code: code.as_str(),
            detail: None,
            check: None,
            missing: &[],
            violated_policies: Vec::new(),
            errors: Vec::new(),
            request_id: id.as_str(),
        }
    }

    /// The problem of a verdict.
    ///
    /// Which fault a key that is no good has, only its owner may learn: the words are the same
    /// for all. Neither does a client learn what is wrong inside.
    fn of_verdict(decision: &Decision<'a>, id: &'a RequestId) -> Self {
        let forbidden = || Self {
            check: Some(decision.code.check()),
            detail: decision.why,
            ..Self::of(ErrorCode::Forbidden, id)
        };
        match decision.code {
            VerdictCode::Missing => Self::of(ErrorCode::Unauthenticated, id),
            VerdictCode::Malformed
            | VerdictCode::NotFound
            | VerdictCode::Revoked
            | VerdictCode::Disabled
            | VerdictCode::Expired
            | VerdictCode::NotYetValid
            | VerdictCode::GraceEnded => Self::of(ErrorCode::InvalidCredential, id),
            VerdictCode::Duplicate => Self::of(ErrorCode::DuplicateHeader, id),
            VerdictCode::ForbiddenIp
            | VerdictCode::ForbiddenGeo
            | VerdictCode::ForbiddenTime
            | VerdictCode::ForbiddenOrigin
            | VerdictCode::ForbiddenRoute
            | VerdictCode::Lockdown => forbidden(),
            VerdictCode::InsufficientPermissions => {
                Self { missing: decision.missing, ..forbidden() }
            }
            VerdictCode::RateLimited => Self::of_limit("rate_limited", decision, id),
            VerdictCode::QuotaExceeded => Self::of_limit("quota_exceeded", decision, id),
            VerdictCode::Concurrency => Self::of_limit("concurrency", decision, id),
            VerdictCode::AbuseLocked => Self {
                type_uri: ABNORMAL_USAGE.into(),
                title: "Too many bad keys came from this address",
                code: "abuse_locked",
                ..Self::of(ErrorCode::Overloaded, id)
            },
            // `Valid` does not come here; if it did, it would open nothing.
            VerdictCode::Stale | VerdictCode::Error | VerdictCode::Valid => {
                Self::of(ErrorCode::StoreUnavailable, id)
            }
        }
    }

    fn of_limit(code: &'static str, decision: &Decision<'a>, id: &'a RequestId) -> Self {
        let exceeded = decision.policies.iter().filter(|policy| policy.exceeded);
        Self {
            type_uri: QUOTA_EXCEEDED.into(),
            title: "A limit of the key is used up",
            code,
            detail: decision.why,
            violated_policies: exceeded.map(|policy| policy.name.as_str()).collect(),
            ..Self::of(ErrorCode::Overloaded, id)
        }
    }

    /// The answer with this status; `true_status` is the one that the client ought to see.
    fn respond(
        mut self,
        status: StatusCode,
        true_status: StatusCode,
        verdict: &'static str,
    ) -> Response<Body> {
        self.status = status.as_u16();
        // Strings and numbers: there is nothing here that can fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(STATUS, true_status.as_u16().into());
        headers.insert(VERDICT, HeaderValue::from_static(verdict));
        response
    }
}

/// Lets a request pass. Nothing but 200 does so with every gateway.
pub(super) fn allow(gateway: Gateway, identity: &Identity, policies: &[Policy]) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    // A gateway may keep answers; an old one would outlive a revocation.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VERDICT, HeaderValue::from_static(VerdictCode::Valid.as_str()));
    identity.insert_into(headers);
    rate_headers::insert(headers, policies);
    if gateway == Gateway::Envoy {
        // Envoy strips these before the service sees the request.
        let names = "authorization, x-api-key, x-keyreeve-gateway-secret";
        headers.insert("x-envoy-auth-headers-to-remove", HeaderValue::from_static(names));
    }
    response
}

/// Denies a request for what the verdict says.
pub(super) fn deny(gateway: Gateway, decision: &Decision<'_>, id: &RequestId) -> Response<Body> {
    let true_status = true_status(decision.code);
    let problem = Problem::of_verdict(decision, id);
    let status = gateway.denial(true_status);
    let mut response = problem.respond(status, true_status, shown(decision.code));
    let headers = response.headers_mut();
    if let Some(challenge) = challenge(decision) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if true_status == StatusCode::TOO_MANY_REQUESTS {
        rate_headers::insert(headers, decision.policies);
    }
    if let Some(seconds) = retry_after(true_status, decision) {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Nobody asks here.
pub(super) fn no_such_gateway(id: &RequestId) -> Response<Body> {
    let status = StatusCode::NOT_FOUND;
    Problem::of(ErrorCode::NotFound, id).respond(status, status, "REFUSED")
}

/// Whoever asks did not show the secret.
pub(super) fn stranger(id: &RequestId) -> Response<Body> {
    let status = StatusCode::FORBIDDEN;
    Problem::of(ErrorCode::Forbidden, id).respond(status, status, "REFUSED")
}

/// The gateway does not say clearly what it asks. Its client cannot help that.
pub(super) fn unclear(unclear: &Unclear, id: &RequestId) -> Response<Body> {
    let mut problem = Problem::of(ErrorCode::InvalidRequest, id);
    let (field, rule) = (unclear.field.clone(), unclear.rule.clone().into_owned());
    problem.errors.push(FieldProblem { field, rule });
    problem.respond(StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST, "REFUSED")
}

/// The status that a client ought to see.
fn true_status(code: VerdictCode) -> StatusCode {
    match StatusCode::from_u16(code.http_status()) {
        Ok(status) if status.is_client_error() || status.is_server_error() => status,
        // No denial has another status; this one opens nothing.
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The verdict as the client may see it.
fn shown(code: VerdictCode) -> &'static str {
    match code {
        VerdictCode::Missing => VerdictCode::Missing.as_str(),
        VerdictCode::Valid => VerdictCode::Error.as_str(),
        code if code.http_status() == 401 => "INVALID",
        code => code.as_str(),
    }
}

/// The challenge of RFC 6750, section 3.
fn challenge(decision: &Decision<'_>) -> Option<HeaderValue> {
    const REALM: &str = "Bearer realm=\"keyreeve\"";
    let text = match decision.code {
        VerdictCode::Missing => return Some(HeaderValue::from_static(REALM)),
        VerdictCode::Duplicate => format!("{REALM}, error=\"invalid_request\""),
        VerdictCode::InsufficientPermissions => {
            let scope = scope(decision.missing);
            format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\"")
        }
        code if code.http_status() == 401 => {
            format!("{REALM}, error=\"invalid_token\", error_description=\"The key is not valid\"")
        }
        _ => return None,
    };
    HeaderValue::try_from(text).ok()
}

/// The missing permissions as a scope of RFC 6749, section 3.3.
fn scope(missing: &[String]) -> String {
    let fits = |word: &&str| word.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    missing.iter().map(String::as_str).filter(fits).collect::<Vec<_>>().join(" ")
}

/// When to come back, in whole seconds; never before a limit that was exceeded says so.
fn retry_after(status: StatusCode, decision: &Decision<'_>) -> Option<u64> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            let exceeded = decision.policies.iter().filter(|policy| policy.exceeded);
            let latest = exceeded.map(|policy| policy.reset_s).max().unwrap_or(0);
            // At once is no time to come back.
            decision.retry_after_s.map(|seconds| seconds.max(latest).max(1))
        }
        StatusCode::SERVICE_UNAVAILABLE => Some(decision.retry_after_s.unwrap_or(1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
