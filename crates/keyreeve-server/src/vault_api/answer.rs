//! Answers in the form of Vault.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use keyreeve_api::ErrorCode;
use keyreeve_engine::{
    RequestId,
    vault::{BackendError, VaultError},
};
use serde_json::{Value, json};
use tracing::error;

use crate::problem::Failure;

/// Why a call was not answered as asked.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// `None` for an answer without a body.
    errors: Option<Vec<String>>,
    retry_after_s: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, errors: Some(vec![error.into()]), retry_after_s: None }
    }

    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the body must be at most 1 MiB")
    }

    pub(super) fn unsupported_media_type() -> Self {
        let error = "PATCH takes application/merge-patch+json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error)
    }

    pub(super) fn sealed() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed")
    }

    /// Nothing is there, which Vault says without a word.
    pub(super) fn nothing() -> Self {
        Self { errors: Some(Vec::new()), ..Self::without_body() }
    }

    fn without_body() -> Self {
        Self { status: StatusCode::NOT_FOUND, errors: None, retry_after_s: None }
    }

    /// Where a patch finds nothing, there is not even an empty list of errors.
    pub(super) fn of_patch(failed: VaultError) -> Self {
        match failed {
            VaultError::NotFound(_) => Self::without_body(),
            other => other.into(),
        }
    }

    pub(super) fn unsupported() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unsupported path")
    }

    /// Nothing of that name is there.
    pub(super) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub(super) fn no_mount(path: &str) -> Self {
        let shown: String = path.chars().filter(|c| !c.is_control()).take(64).collect();
        let error = format!("no handler for route \"{shown}\". route entry not found.");
        Self::new(StatusCode::NOT_FOUND, error)
    }

    fn denied() -> Self {
        let error = "1 error occurred:\n\t* permission denied\n\n";
        Self::new(StatusCode::FORBIDDEN, error)
    }

    pub(super) fn respond(&self, id: &RequestId) -> Response<Body> {
        let mut response = match &self.errors {
            Some(errors) => plain(self.status, &json!({ "errors": errors })),
            None => json_response(self.status, Body::empty()),
        };
        let wait = self.retry_after_s.or((self.status == 503).then_some(1));
        if let Some(seconds) = wait {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        tracing::debug!(request.id = id.as_str(), status = self.status.as_u16(), "refused");
        response
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let (code, detail, retry_after_s) = failure.words();
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        match code {
            // What Vault says of every token that it does not know.
            ErrorCode::Unauthenticated | ErrorCode::InvalidCredential => {
                Self::new(StatusCode::FORBIDDEN, "permission denied")
            }
            _ => Self { retry_after_s, ..Self::new(status, detail) },
        }
    }
}

impl Refusal {
    /// What another store said no to.
    fn behind(name: &str, error: &BackendError) -> Self {
        let status = match error {
            BackendError::Invalid(_) => StatusCode::BAD_REQUEST,
            BackendError::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, format!("the backend {name} {error}"))
    }
}

impl From<VaultError> for Refusal {
    fn from(failed: VaultError) -> Self {
        match failed {
            VaultError::Sealed => Self::sealed(),
            VaultError::Denied { .. } => Self::denied(),
            VaultError::NotFound(_) => Self::nothing(),
            VaultError::Cas(mismatch) => Self::bad_request(mismatch.to_string()),
            VaultError::Invalid(fault) => {
                Self::bad_request(format!("{} {}", fault.field, fault.rule))
            }
            doubtful @ VaultError::Doubtful(_) => Self::bad_request(doubtful.to_string()),
            VaultError::BadToken => Self::new(StatusCode::FORBIDDEN, "permission denied"),
            error @ VaultError::NoSuchToken => Self::new(StatusCode::FORBIDDEN, error.to_string()),
            error @ (VaultError::BadLogin
            | VaultError::BadWrapping
            | VaultError::OtherSeal { .. }
            | VaultError::KeptElsewhere(_)
            | VaultError::OnlyHere(_)) => Self::bad_request(error.to_string()),
            VaultError::Backend { name, error } => Self::behind(&name, &error),
            // A wrong key, passphrase or share; what was given is not told apart further.
            VaultError::WrongRoot => Self::bad_request("that does not open this vault"),
            error @ VaultError::Busy => Self {
                retry_after_s: Some(1),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
            },
            VaultError::Engine(error) => Failure::from(error).into(),
            other => {
                error!(error = %other, "the vault failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, other.to_string())
            }
        }
    }
}

/// What an answer holds besides its data.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    pub(super) data: Value,
    pub(super) auth: Value,
    pub(super) wrap_info: Value,
    pub(super) warning: Option<&'a str>,
}

impl Envelope<'_> {
    fn json(self, id: &RequestId) -> Value {
        json!({
            "request_id": id.as_str(),
            "lease_id": "",
            "renewable": false,
            "lease_duration": 0,
            "data": self.data,
            "wrap_info": self.wrap_info,
            "warnings": self.warning.map(|warning| [warning]),
            "auth": self.auth,
        })
    }

    /// As the answer to a call.
    pub(super) fn respond(self, id: &RequestId) -> Response<Body> {
        plain(StatusCode::OK, &self.json(id))
    }
}

/// An answer with data.
pub(super) fn data(id: &RequestId, data: Value) -> Response<Body> {
    Envelope { data, ..Envelope::default() }.respond(id)
}

/// Data of something that is gone.
pub(super) fn gone(id: &RequestId, data: Value) -> Response<Body> {
    plain(StatusCode::NOT_FOUND, &Envelope { data, ..Envelope::default() }.json(id))
}

/// A map both as data and beside it, as Vault does it for these.
pub(super) fn spread(id: &RequestId, map: Value) -> Response<Body> {
    let mut body = Envelope { data: map.clone(), ..Envelope::default() }.json(id);
    if let (Value::Object(members), Value::Object(map)) = (&mut body, map) {
        members.extend(map);
    }
    plain(StatusCode::OK, &body)
}

/// An answer that is not wrapped in anything.
pub(super) fn plain(status: StatusCode, body: &Value) -> Response<Body> {
    json_response(status, Body::from(body.to_string()))
}

pub(super) fn json_response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Done, and nothing to say.
pub(super) fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
