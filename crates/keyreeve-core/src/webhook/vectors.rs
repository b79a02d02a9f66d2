//! Test vectors: a list of requests with the verdict that each must get, as JSON.
//!
//! A case has the members `id`, `provider`, `secret` (a text, or several, the newest first), `method`,
//! `url`, `headers` (a value, or several for a header that stands more than once), `body` (base64),
//! `now` (seconds of Unix time), `valid`, `expect` (a reason) and `extra`, for what is configured.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Certificate, GenericScheme, HandshakeAnswer, HeaderLine, Reason, ReceivedRequest, Scheme,
    Settings, SharedToken, Verified, named, verify,
};
use crate::{Invalid, restriction::IpNetwork};

/// The most cases of one file.
const MOST_CASES: usize = 100_000;

/// One case.
#[derive(Deserialize)]
pub struct Vector {
    /// Names it.
    pub id: String,
    /// Names the scheme.
    pub provider: String,
    /// Whether the request must be accepted, where the case says so.
    pub valid: Option<bool>,
    /// The reason that it must be refused for, where the case says one.
    pub expect: Option<String>,
    #[serde(default)]
    secret: Option<OneOrMore>,
    method: String,
    url: String,
    headers: BTreeMap<String, OneOrMore>,
    #[serde(default)]
    body: String,
    now: i64,
    #[serde(default)]
    extra: Extra,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
        }
    }
}

/// What is configured beside the secret.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Extra {
    after: Option<String>,
    mode: Option<String>,
    webhook_id: Option<String>,
    cert_pem: Option<String>,
    topic_arn: Option<OneOrMore>,
    allow_sha1: bool,
    verify_token: Option<String>,
    expected_response: Option<Value>,
    scheme: Option<GenericScheme>,
    tolerance_s: Option<u32>,
    replay_id: Option<String>,
    replay_id_header: Option<String>,
    remote_ip: Option<std::net::IpAddr>,
    ip_allow: Vec<IpNetwork>,
    token_param: Option<String>,
    token_header: Option<String>,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Names the case.
    pub id: String,
    /// Why it was refused, if it was.
    pub reason: Option<Reason>,
    /// What the sender is answered, if it only asked whether we are there.
    pub handshake: Option<HandshakeAnswer>,
}

impl Vector {
    /// Reads a list of cases. Fails with the rule that is broken.
    pub fn read(json: &[u8]) -> Result<Vec<Self>, Invalid> {
        let vectors: Vec<Self> = serde_json::from_slice(json).map_err(|error| {
            Invalid::new(format!(
                "must be a JSON list of cases (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        if vectors.len() > MOST_CASES {
            return Err(Invalid::new("must have at most 100000 cases"));
        }
        Ok(vectors)
    }

    /// Runs one case of a list, behind the one that it comes after.
    pub fn run(&self, all: &[Self]) -> Outcome {
        let seen = match &self.extra.after {
            Some(id) => all
                .iter()
                .find(|vector| vector.id == *id)
                .and_then(|first| first.verdict().ok())
                .map(|verified| verified.replay_keys)
                .unwrap_or_default(),
            None => Vec::new(),
        };
        let verdict = self.verdict().and_then(|verified| {
            if verified.replay_keys.iter().any(|key| seen.contains(key)) {
                Err(Reason::Replay)
            } else {
                Ok(verified)
            }
        });
        let id = self.id.clone();
        match verdict {
            Ok(verified) => Outcome { id, reason: None, handshake: verified.handshake },
            Err(reason) => Outcome { id, reason: Some(reason), handshake: None },
        }
    }

    /// Whether that is what the case says must become of it. A case that says nothing expects anything.
    pub fn expects(&self, reason: Option<Reason>) -> bool {
        self.valid.is_none_or(|valid| valid == reason.is_none())
            && self.expect.as_deref().is_none_or(|code| reason.map(Reason::as_str) == Some(code))
    }

    /// What has to be answered, as the case says it: `status`, and `body` or `json`.
    pub fn expected_answer(&self) -> Option<&Value> {
        self.extra.expected_response.as_ref()
    }

    fn verdict(&self) -> Result<Verified, Reason> {
        let scheme = self.scheme()?;
        let none = OneOrMore::One(self.extra.webhook_id.clone().unwrap_or_default());
        let keys = self.secret.as_ref().unwrap_or(&none).as_slice().iter();
        let keys: Result<Vec<_>, _> = keys.map(|secret| scheme.key(secret)).collect();
        let keys = keys.map_err(|_| Reason::ConfigError)?;
        let mut lines = Vec::new();
        for (name, values) in &self.headers {
            for value in values.as_slice() {
                lines.push(HeaderLine { name, value: value.as_bytes() });
            }
        }
        let body = STANDARD.decode(&self.body).map_err(|_| Reason::ConfigError)?;
        let certificate = self.extra.cert_pem.as_ref();
        let certificate = certificate
            .map(|pem| Certificate::trusted(pem.as_bytes()))
            .transpose()
            .map_err(|_| Reason::ConfigError)?;
        let header = self.extra.replay_id_header.as_ref().map(|name| format!("header:{name}"));
        let settings = Settings {
            tolerance_s: self.extra.tolerance_s,
            verify_token: self.extra.verify_token.as_deref().map(str::as_bytes),
            topics: self.extra.topic_arn.as_ref().map_or(&[], OneOrMore::as_slice),
            allow_sha1: self.extra.allow_sha1,
            allow_from: &self.extra.ip_allow,
            event_id: header.as_deref().or(self.extra.replay_id.as_deref()),
            order_by: None,
            certificate: certificate.as_ref(),
        };
        let request = ReceivedRequest {
            method: &self.method,
            url: &self.url,
            headers: &lines,
            body: &body,
            remote_ip: self.extra.remote_ip,
            now_ms: self.now.saturating_mul(1_000),
        };
        verify(&scheme, &keys, &settings, &request)
    }

    fn scheme(&self) -> Result<Scheme, Reason> {
        let extra = &self.extra;
        let scheme = match (extra.mode.as_deref(), &extra.scheme) {
            (_, Some(generic)) => generic.scheme(&self.provider).ok(),
            (Some("shared_token"), _) => {
                let place = SharedToken {
                    header: extra.token_header.clone(),
                    query: extra.token_param.clone(),
                    ..SharedToken::default()
                };
                place.scheme(&self.provider).ok()
            }
            (Some("token"), _) if self.provider == "gitlab" => named("gitlab-token"),
            _ => named(&self.provider),
        };
        scheme.ok_or(Reason::ConfigError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: &[u8] = include_bytes!("../../tests/vectors/webhooks.json");

    #[test]
    fn every_vector_gets_its_verdict() {
        let vectors = Vector::read(VECTORS).unwrap();
        assert!(vectors.len() > 100);
        let mut wrong = Vec::new();
        for vector in &vectors {
            let outcome = vector.run(&vectors);
            assert_eq!(vector.valid == Some(false), vector.expect.is_some(), "{}", vector.id);
            if !vector.expects(outcome.reason) {
                let (reason, expected) = (outcome.reason, &vector.expect);
                wrong.push(format!("{}: {reason:?} instead of {expected:?}", vector.id));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_webhook_of_paypal_may_be_made_anew() {
        let mut cases: Vec<Value> = serde_json::from_slice(VECTORS).unwrap();
        let mut case =
            cases.swap_remove(cases.iter().position(|it| it["id"] == "paypal-1").unwrap());
        let old = case["secret"].clone();
        for (secrets, reason) in [
            (vec![Value::from("NEWER"), old.clone()], None),
            (vec![old, Value::from("OLDER")], None),
            (vec![Value::from("OTHER")], Some(Reason::BadSignature)),
            (vec![Value::from("")], Some(Reason::ConfigError)),
        ] {
            case["secret"] = Value::from(secrets.clone());
            let vector: Vector = serde_json::from_value(case.clone()).unwrap();
            assert_eq!(vector.run(&[]).reason, reason, "{secrets:?}");
        }
    }

    #[test]
    fn a_wrong_verdict_is_not_expected() {
        let vectors = Vector::read(VECTORS).unwrap();
        let refused = vectors.iter().find(|vector| vector.valid == Some(false)).unwrap();
        assert!(!refused.expects(None));
        assert!(!refused.expects(Some(Reason::ConfigError)));
        let accepted = vectors.iter().find(|vector| vector.valid == Some(true)).unwrap();
        assert!(accepted.expects(None));
        assert!(!accepted.expects(Some(Reason::BadSignature)));
    }

    #[test]
    fn handshakes_are_answered_as_providers_want_it() {
        let vectors = Vector::read(VECTORS).unwrap();
        let mut answered = 0;
        for vector in vectors.iter().filter(|vector| vector.valid == Some(true)) {
            let Some(expected) = vector.expected_answer() else { continue };
            let answer = vector.run(&vectors).handshake.expect("an answer");
            assert_eq!(u64::from(answer.status), expected["status"], "{}", vector.id);
            if let Some(text) = expected["body"].as_str() {
                assert_eq!(answer.body, text, "{}", vector.id);
            }
            if !expected["json"].is_null() {
                let json: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(json, expected["json"], "{}", vector.id);
            }
            answered += 1;
        }
        assert!(answered >= 3, "{answered}");
    }

    #[test]
    fn what_is_no_list_of_cases_is_refused() {
        for bad in [&b"{}"[..], b"[{}]", b"", b"[1]", b"\xff"] {
            assert!(Vector::read(bad).is_err());
        }
    }
}
