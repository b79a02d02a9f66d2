//! HTTP: one request with a connection's credential.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Limited};
use keyreeve_catalog::Liveliness;
use keyreeve_engine::connections::{CallProbe, Probed};
use serde_json::Value;

use super::{Untold, probed};
use crate::{
    body::RequestBody,
    proxy::{Answered, Outgoing, Proof, Proxy, prepare},
    tokens::NotMinted,
    upstream::{Destination, Purpose},
};

/// The most bytes of an answer that are looked at.
const MOST_ANSWER_BYTES: usize = 64 << 10;
const USER_AGENT: &str = concat!("keyreeve/", env!("CARGO_PKG_VERSION"));

impl Proxy {
    pub(super) async fn probe_call(&self, probe: CallProbe) -> Result<Probed, Untold> {
        let connection = &probe.connection;
        let credential = probe.credential.clone();
        let proof = match self.proof_of_its_own(connection, credential).await {
            Ok(proof) => proof,
            Err(why) => {
                let verdict = match why {
                    NotMinted::Refused => Liveliness::Dead,
                    _ => Liveliness::Unknown,
                };
                return Ok(probed(verdict, &format!("the credential gives no token: {why}")));
            }
        };
        let request = self.probe_request(&probe, &proof);
        let mut request = request.map_err(|_| Untold::Said("the credential fits no request"))?;
        let destination = Destination {
            origin: connection.origin.clone(),
            allow_internal: connection.settings.allow_internal,
        };
        let patience = connection.settings.patience.connect();
        let sender = self.dialer().dial(&destination, patience, Purpose::Whole).await?;
        let unsent = |_| Untold::Said("the request could not be made");
        prepare(&mut request, &sender, &destination.origin).map_err(unsent)?;
        let answer = sender.send(&mut request).await;
        let answer = answer.map_err(|_| Untold::Said("the service broke off"))?;
        let Answered { response: answer, sender: _kept } = answer;
        let status = answer.status().as_u16();
        let mut body: Option<Value> = None;
        if probe.expected.looks_at_body() {
            let read = Limited::new(answer.into_body(), MOST_ANSWER_BYTES).collect().await;
            let read = read.map_err(|_| Untold::Said("the service's answer broke off"))?;
            body = serde_json::from_slice(&read.to_bytes()).ok();
        }
        let verdict = probe.expected.verdict(status, body.as_ref());
        let words = match verdict {
            Liveliness::Live => "the service takes the credential",
            Liveliness::Limited => "the service takes the credential, but not for this request",
            Liveliness::Dead => "the service refuses the credential",
            Liveliness::Unknown => "the service's answer does not tell",
        };
        Ok(Probed { status: Some(status), ..probed(verdict, words) })
    }

    fn probe_request(
        &self,
        probe: &CallProbe,
        proof: &Proof,
    ) -> Result<http::Request<RequestBody>, crate::Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in &probe.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.insert(name, value);
            }
        }
        let body = probe.body.clone().map(Bytes::from).unwrap_or_default();
        if !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let method = Method::from_bytes(probe.method.as_bytes()).unwrap_or(Method::GET);
        let connection = &probe.connection;
        let mut outgoing = Outgoing::new(
            method,
            &connection.origin,
            &connection.settings.base_url.path,
            &probe.target,
            proof.injection(),
            headers,
        );
        proof.set_headers(&mut outgoing)?;
        let body = outgoing.finish(proof.injection(), body, self.now())?;
        let body =
            if body.is_empty() { RequestBody::Empty } else { RequestBody::Whole(Some(body)) };
        outgoing.into_request(body)
    }
}
