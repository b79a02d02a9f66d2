//! What comes back, as the client gets it.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Body as _;

use super::{
    Refusal, RefusalKind,
    forward::Call,
    headers,
    proof::Proof,
    record::{Ending, Used},
};
use crate::body::{AnswerBody, Patient, Scrubbing, ServiceBody};

impl Call {
    /// The service's answer, scrubbed. Redirects are passed on, never followed: the credential goes
    /// nowhere but to its own host.
    pub(super) fn answer(
        self,
        proof: &Proof,
        response: Response<ServiceBody>,
        used: Option<Used>,
        method: &Method,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (mut parts, body) = response.into_parts();
        // A reason phrase could hold anything, and goes out from there.
        parts.extensions.clear();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let words = "the service changed the protocol, which nobody asked for";
            return Err(self.not_passed(words));
        }
        let settings = &self.connection().settings;
        let (most, idle) = (settings.limits.max_response_bytes, settings.patience.idle());
        let mut scrubbing = Scrubbing::of(proof.scrub());
        if let Some(scrubbing) = &mut scrubbing {
            if is_encoded(&parts.headers) && !body.is_end_stream() && method != Method::HEAD {
                let words = "the service compressed its answer although it was asked not to, so the \
                             answer cannot be looked through";
                return Err(self.not_passed(words));
            }
            scrubbing.mask_headers(&mut parts.headers);
        }
        headers::for_client(&mut parts.headers);
        if let Some(most) = most
            && body.size_hint().lower() > most
        {
            let words =
                format!("the answer is longer than {most} bytes, which this connection allows");
            return Err(self.not_passed(words));
        }
        // Whatever comes is shown by no browser as a page of this server.
        let own = [
            (
                header::CONTENT_SECURITY_POLICY,
                "sandbox; default-src 'none'; frame-ancestors 'none'",
            ),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        for (name, value) in own {
            parts.headers.insert(name, HeaderValue::from_static(value));
        }
        let patient = Patient::new(idle, self.cut);
        let record = self.record.answered(parts.status.as_u16());
        let ending = Box::new(Ending::new(record, used));
        let body = AnswerBody::stream(body, scrubbing, patient, most, ending);
        Ok(Response::from_parts(parts, body))
    }
}

impl Call {
    /// Records a call whose answer is not passed on.
    fn not_passed(self, words: impl Into<String>) -> Refusal {
        self.not_answered(Refusal::saying(RefusalKind::BadAnswer, words))
    }
}

/// Whether a body is in another form than its own (RFC 9110 §8.4).
fn is_encoded(headers: &HeaderMap) -> bool {
    let has_other = |name: header::HeaderName, plain: &str| {
        headers.get_all(name).iter().any(|value| {
            let text = value.to_str().unwrap_or("?");
            text.split(',')
                .map(str::trim)
                .any(|it| !it.is_empty() && !it.eq_ignore_ascii_case(plain))
        })
    };
    // A body can be compressed on the way only, too (RFC 9112 §7).
    has_other(header::CONTENT_ENCODING, "identity")
        || has_other(header::TRANSFER_ENCODING, "chunked")
}
