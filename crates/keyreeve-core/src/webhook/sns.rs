//! Amazon SNS, whose signature stands in the body:
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    ConfirmationUrl, Reason, ReceivedRequest, Settings, SigningKey,
    certificate::{sns_subscribe_url, sns_url},
    key::KeyMaterial,
    scheme::{Method, TextForm},
    sent::{Candidate, Sent},
    verify::{Proved, decoded, signed_mark},
};

/// What SNS sends. A member that stands twice is refused: readers differ in which of them counts.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Document {
    #[serde(rename = "Type")]
    kind: String,
    message: String,
    message_id: String,
    subject: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
    timestamp: String,
    token: Option<String>,
    topic_arn: String,
    signature: String,
    signature_version: String,
    #[serde(rename = "SigningCertURL")]
    pub(super) signing_cert_url: String,
}

impl Document {
    pub(super) fn read(body: &[u8]) -> Result<Self, Reason> {
        serde_json::from_slice(body).map_err(|error| {
            if error.is_data() && error.to_string().starts_with("missing field") {
                Reason::MissingSignature
            } else {
                Reason::MalformedHeader
            }
        })
    }

    /// Names and values, each on a line of its own. What is absent is left out with its name.
    fn canonical(&self) -> Result<String, Reason> {
        let confirmation = match self.kind.as_str() {
            "Notification" => false,
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => true,
            _ => return Err(Reason::MalformedHeader),
        };
        let fields: &[(&str, Option<&str>)] = &if confirmation {
            [
                ("Message", Some(self.message.as_str())),
                ("MessageId", Some(&self.message_id)),
                ("SubscribeURL", self.subscribe_url.as_deref()),
                ("Timestamp", Some(&self.timestamp)),
                ("Token", self.token.as_deref()),
                ("TopicArn", Some(&self.topic_arn)),
                ("Type", Some(&self.kind)),
            ]
        } else {
            [
                ("Message", Some(self.message.as_str())),
                ("MessageId", Some(&self.message_id)),
                ("Subject", self.subject.as_deref()),
                ("Timestamp", Some(&self.timestamp)),
                ("TopicArn", Some(&self.topic_arn)),
                ("Type", Some(&self.kind)),
                ("", None),
            ]
        };
        let lines = fields.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        Ok(lines.fold(String::new(), |text, (name, value)| text + name + "\n" + value + "\n"))
    }

    /// What has to be called so that the topic's notifications come. When a subscription was ended there
    /// is an address, too: whoever calls it takes that back, so that nobody does.
    fn asks_for(&self) -> Result<Option<ConfirmationUrl>, Reason> {
        if self.kind != "SubscriptionConfirmation" {
            return Ok(None);
        }
        let url = self.subscribe_url.as_deref().ok_or(Reason::MalformedHeader)?;
        sns_subscribe_url(url).map(Some)
    }
}

/// Which of the keys names a topic.
fn key_of(keys: &[SigningKey], topic: &str) -> Option<usize> {
    keys.iter().position(|SigningKey(key)| match key {
        KeyMaterial::Topics(topics) => topics.iter().any(|ours| ours == topic),
        _ => false,
    })
}

/// Whether any topic is ours at all.
fn has_topics(keys: &[SigningKey], settings: &Settings<'_>) -> bool {
    let names_one = |SigningKey(key): &SigningKey| match key {
        KeyMaterial::Topics(topics) => !topics.is_empty(),
        _ => false,
    };
    !settings.topics.is_empty() || keys.iter().any(names_one)
}

/// Whether SNS signed the body, for one of our topics.
///
/// Every account of AWS can have SNS sign for a topic of its own, so that the topic is what counts.
pub(super) fn prove<'a>(
    keys: &[SigningKey],
    settings: &Settings<'_>,
    request: &ReceivedRequest<'a>,
) -> Result<(Sent<'a>, Proved), Reason> {
    if !has_topics(keys, settings) {
        return Err(Reason::ConfigError);
    }
    let document = Document::read(request.body)?;
    let sha1 = match document.signature_version.as_str() {
        "1" if settings.allow_sha1 => true,
        "2" => false,
        _ => return Err(Reason::UnsupportedAlgorithm),
    };
    sns_url(&document.signing_cert_url)?;
    let canonical = document.canonical()?;
    let certificate = settings.certificate.ok_or(Reason::ConfigError)?;
    let signature = decoded(TextForm::Base64, document.signature.as_bytes());
    if !signature.is_some_and(|it| certificate.signed(sha1, canonical.as_bytes(), &it)) {
        return Err(Reason::BadSignature);
    }
    let key = match key_of(keys, &document.topic_arn) {
        Some(key) => key,
        None if settings.topics.contains(&document.topic_arn) => 0,
        None => return Err(Reason::TopicNotAllowed),
    };
    let mark = signed_mark(&[Cow::Borrowed(canonical.as_bytes())]);
    let proved = Proved { key, mark, confirm: document.asks_for()? };
    let sent = Sent {
        candidates: vec![Candidate {
            text: Cow::Owned(document.signature),
            method: Method::Certificate { sha1 },
        }],
        timestamp: Some(Cow::Owned(document.timestamp)),
        id: Some(Cow::Owned(document.message_id)),
    };
    Ok((sent, proved))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, SigningKey as _};
    use serde_json::{Value, json};

    use super::*;
    use crate::webhook::{Certificate, Verified, named, verify};

    const TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:MyTopic";
    const OTHER: &str = "arn:aws:sns:us-west-2:123456789012:Other";
    const SUBSCRIBE: &str = "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription\
                             &TopicArn=arn:aws:sns:us-west-2:123456789012:MyTopic&Token=2336412f37";

    /// Who signs, as SNS does it.
    struct Signer {
        key: KeyPair,
        certificate: Certificate,
    }

    impl Signer {
        fn new() -> Self {
            let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
            let names = vec!["sns.amazonaws.com".to_owned()];
            let made = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            Self { key, certificate: Certificate::trusted(made.pem().as_bytes()).unwrap() }
        }

        fn message(&self, kind: &str, subscribe_url: Option<&str>) -> Vec<u8> {
            let mut message = json!({
                "Type": kind,
                "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
                "Token": "2336412f37",
                "TopicArn": TOPIC,
                "Message": "a",
                "SubscribeURL": subscribe_url,
                "Timestamp": "2027-01-15T08:00:00.000Z",
                "SignatureVersion": "2",
                "Signature": "",
                "SigningCertURL": "https://sns.us-west-2.amazonaws.com/x.pem",
            });
            let read = Document::read(message.to_string().as_bytes()).unwrap();
            let signature = self.key.sign(read.canonical().unwrap().as_bytes()).unwrap();
            message["Signature"] = Value::String(STANDARD.encode(signature));
            message.to_string().into_bytes()
        }

        fn verdict(
            &self,
            secrets: &[&str],
            topics: &[&str],
            body: &[u8],
        ) -> Result<Verified, Reason> {
            let scheme = named("aws-sns").unwrap();
            let keys: Vec<SigningKey> =
                secrets.iter().map(|secret| scheme.key(secret).unwrap()).collect();
            let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
            let settings = Settings {
                topics: &topics,
                certificate: Some(&self.certificate),
                ..Settings::default()
            };
            let request = ReceivedRequest {
                method: "POST",
                url: "https://app.example.com/hooks/in",
                headers: &[],
                body,
                remote_ip: None,
                now_ms: 1_800_000_000_000,
            };
            verify(&scheme, &keys, &settings, &request)
        }
    }

    #[test]
    fn topics_are_ours_by_key_or_by_setting() {
        let signer = Signer::new();
        let body = signer.message("Notification", None);
        let key = |secrets: &[&str], topics: &[&str]| {
            signer.verdict(secrets, topics, &body).map(|verified| verified.key)
        };
        assert_eq!(key(&[TOPIC], &[]), Ok(0));
        assert_eq!(key(&[OTHER, TOPIC], &[]), Ok(1));
        assert_eq!(key(&[&format!("{OTHER}\n{TOPIC}")], &[]), Ok(0));
        assert_eq!(key(&[""], &[TOPIC]), Ok(0));
        assert_eq!(key(&[OTHER, TOPIC], &[TOPIC]), Ok(1));
        assert_eq!(key(&[OTHER], &[]), Err(Reason::TopicNotAllowed));
        assert_eq!(key(&[""], &[OTHER]), Err(Reason::TopicNotAllowed));
        assert_eq!(key(&[""], &[]), Err(Reason::ConfigError));
        assert_eq!(key(&[], &[TOPIC]), Err(Reason::ConfigError));
        let other = Signer::new().verdict(&[TOPIC], &[], &body);
        assert_eq!(other, Err(Reason::BadSignature));
    }

    #[test]
    fn only_a_subscription_is_confirmed() {
        let signer = Signer::new();
        let confirm = |secret: &str, kind: &str, url: Option<&str>| {
            let verdict = signer.verdict(&[secret], &[], &signer.message(kind, url));
            verdict.map(|verified| verified.confirm.map(|confirm| confirm.as_str().to_owned()))
        };
        let asked = confirm(TOPIC, "SubscriptionConfirmation", Some(SUBSCRIBE));
        assert_eq!(asked, Ok(Some(SUBSCRIBE.to_owned())));
        for kind in ["UnsubscribeConfirmation", "Notification"] {
            assert_eq!(confirm(TOPIC, kind, Some(SUBSCRIBE)), Ok(None), "{kind}");
        }
        for bad in [None, Some("https://evil.example/?Action=ConfirmSubscription")] {
            let refused = confirm(TOPIC, "SubscriptionConfirmation", bad);
            assert_eq!(refused, Err(Reason::MalformedHeader), "{bad:?}");
        }
        // Nobody else's topic has us call anything.
        let foreign = confirm(OTHER, "SubscriptionConfirmation", Some(SUBSCRIBE));
        assert_eq!(foreign, Err(Reason::TopicNotAllowed));
    }
}
