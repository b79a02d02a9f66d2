//! Errors as answers. The one place where a failure becomes a status and words.
//!
//! What happened inside is logged once, here, under the request id; callers see the table's
//! words and, for their own faults, field and rule.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use keyreeve_api::{ErrorCode, FieldProblem, Problem};
use keyreeve_engine::{Error, FieldError, RequestId, TooMany};
use tracing::error;

/// A failure on its way to becoming an answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    detail: Option<String>,
    errors: Vec<FieldProblem>,
    /// Scope for an RFC 6750 `insufficient_scope` challenge.
    scope: Option<String>,
    /// Whole seconds after which asking again may help.
    retry_after_s: Option<u64>,
    internal: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode) -> Self {
        Self {
            code,
            detail: None,
            errors: Vec::new(),
            scope: None,
            retry_after_s: None,
            internal: None,
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(crate) fn field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        let problem = FieldProblem { field: field.into(), rule: rule.into() };
        Self { errors: vec![problem], ..Self::new(ErrorCode::InvalidRequest) }
    }

    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        let errors = errors
            .into_iter()
            .map(|error| FieldProblem { field: error.field, rule: error.rule.rule().to_owned() })
            .collect();
        Self { errors, ..Self::new(ErrorCode::InvalidRequest) }
    }

    /// A fault of ours. The caller learns nothing of it but the request id.
    fn ours(code: ErrorCode, internal: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { internal: Some(Box::new(internal)), ..Self::new(code) }
    }

    /// Code, words and waiting time, for answers of another form. Logs what happened inside.
    pub(crate) fn words(&self) -> (ErrorCode, String, Option<u64>) {
        if let Some(internal) = &self.internal {
            error!(code = self.code.as_str(), error = %internal);
        }
        let fields = self.errors.iter().map(|it| format!("{} {}", it.field, it.rule));
        let fields: Vec<_> = fields.chain(self.detail.clone()).collect();
        let words =
            if fields.is_empty() { self.code.title().to_owned() } else { fields.join("; ") };
        (self.code, words, self.retry_after_s)
    }

    pub(crate) fn problem(&self, request: &RequestId) -> Problem {
        let mut problem = Problem::new(self.code, request.as_str());
        problem.detail.clone_from(&self.detail);
        problem.errors.clone_from(&self.errors);
        problem
    }

    /// The answer. Logs what happened inside, if anything did.
    pub(crate) fn respond(&self, request: &RequestId) -> Response {
        if let Some(internal) = &self.internal {
            let mut chain = internal.to_string();
            let mut source = internal.source();
            while let Some(cause) = source {
                chain.push_str(": ");
                chain.push_str(&cause.to_string());
                source = cause.source();
            }
            error!(request.id = request.as_str(), code = self.code.as_str(), error = chain);
        }
        let challenge = self.challenge();
        let status = self.code.status();
        let body = serde_json::to_vec(&self.problem(request)).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        } else if status == 503 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// The challenge of RFC 6750, section 3.
    fn challenge(&self) -> Option<String> {
        const REALM: &str = "Bearer realm=\"keyreeve\"";
        match self.code {
            ErrorCode::Unauthenticated => Some(REALM.to_owned()),
            ErrorCode::InvalidCredential => Some(format!("{REALM}, error=\"invalid_token\"")),
            ErrorCode::Forbidden => Some(match &self.scope {
                Some(scope) => {
                    format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\"")
                }
                None => format!("{REALM}, error=\"insufficient_scope\""),
            }),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Invalid(error) => Self::fields(vec![error]),
            Error::Denied(denied) => Self {
                scope: Some(denied.missing.to_owned()),
                ..Self::new(ErrorCode::Forbidden).detail(detail)
            },
            Error::Escalation { .. } => Self::new(ErrorCode::Escalation).detail(detail),
            Error::NotFound(_) => Self::new(ErrorCode::NotFound).detail(detail),
            Error::AlreadyExists(_) => Self::new(ErrorCode::AlreadyExists).detail(detail),
            Error::InUse(_) => Self::new(ErrorCode::InUse).detail(detail),
            Error::WrongState(_) | Error::NotSilent(_) => {
                Self::new(ErrorCode::WrongState).detail(detail)
            }
            Error::ChangedMeanwhile(_) => Self::new(ErrorCode::ChangedMeanwhile).detail(detail),
            Error::IdempotencyMismatch => Self::new(ErrorCode::IdempotencyMismatch),
            Error::IdempotencyResultGone(_) => {
                Self::new(ErrorCode::IdempotencyResultGone).detail(detail)
            }
            Error::TooMany(too_many) => too_many.into(),
            Error::Overloaded => Self::new(ErrorCode::Overloaded),
            Error::Unreachable(source) => Self::ours(ErrorCode::CountsUnavailable, source),
            Error::Store(source) => Self::ours(ErrorCode::StoreUnavailable, source),
            other => Self::ours(ErrorCode::Internal, other),
        }
    }
}

impl From<TooMany> for Failure {
    fn from(too_many: TooMany) -> Self {
        Self::new(ErrorCode::RateLimited)
            .detail(too_many.to_string())
            .retry_after(too_many.retry_after_s)
    }
}

/// An answer or a failure: what every handler returns.
pub(crate) type Answer<T> = Result<T, Failure>;

/// A failure in an answer that the service has yet to write.
#[derive(Clone)]
struct Unwritten(Arc<Failure>);

impl IntoResponse for Failure {
    /// Handlers return failures; the service knows the request id and writes the answer.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Unwritten(Arc::new(self)));
        response
    }
}

/// The failure a handler returned, if it did.
pub(crate) fn unwritten(response: &mut Response) -> Option<Arc<Failure>> {
    response.extensions_mut().remove::<Unwritten>().map(|unwritten| unwritten.0)
}
