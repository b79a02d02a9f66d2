//! Answers that are given again, and answers that are kept for that.

use http::{HeaderName, HeaderValue, Response, header, request::Parts};
use keyreeve_engine::connections::Connection;
use tokio::time::Instant;

use super::{Proxy, forward::Call, proof::Proof, record::Ending};
use crate::{
    body::AnswerBody,
    cache::{self, CacheKey, Kept},
};

/// Tells an answer that was kept from one that came now.
const FROM_CACHE: HeaderName = HeaderName::from_static("x-keyreeve-cache");

/// What is known of a call whose answer may be kept.
pub(super) enum Cached {
    /// The answer is there.
    Answer(Kept),
    /// It is not: where the one that comes is kept.
    Missing(Box<CacheKey>),
}

impl Proxy {
    /// Looks for an answer; `None` if none may be kept for such a call.
    pub(super) fn cached(&self, call: &Call, parts: &Parts, proof: &Proof) -> Option<Cached> {
        let (connection, target) = (call.connection(), &call.target);
        let key = cache::key_of(connection, call.client(), parts, target, proof.version())?;
        let kept = (!cache::wants_fresh(&parts.headers))
            .then(|| self.cache.get(&key, Instant::now()))
            .flatten();
        Some(kept.map_or_else(|| Cached::Missing(Box::new(key)), Cached::Answer))
    }

    /// Keeps an answer as it passes, if it may be kept.
    pub(super) fn keep(
        &self,
        connection: &Connection,
        place: Option<Box<CacheKey>>,
        answer: Response<AnswerBody>,
    ) -> Response<AnswerBody> {
        let (Some(key), Some(rules)) = (place, &connection.settings.cache) else { return answer };
        let keeping = cache::keeping(*key, rules, answer.status(), answer.headers());
        let Some(keeping) = keeping else { return answer };
        let mut answer = answer.map(|body| body.keep_in(self.cache.clone(), keeping));
        answer.headers_mut().insert(FROM_CACHE, HeaderValue::from_static("miss"));
        answer
    }
}

/// An answer that was kept, recorded like every other.
pub(super) fn again(call: Call, kept: Kept) -> Response<AnswerBody> {
    let age = kept.age_s(Instant::now());
    let mut response = Response::new(AnswerBody::whole(kept.body.clone()));
    *response.headers_mut() = kept.headers;
    response.headers_mut().insert(header::AGE, HeaderValue::from(age));
    response.headers_mut().insert(FROM_CACHE, HeaderValue::from_static("hit"));
    let record = call.record.kept().answered(200);
    Ending::new(record, None).end(kept.body.len() as u64, 0, true);
    response
}
