//! Amazon SNS, whose signature stands in the body:
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Reason, ReceivedRequest, Settings,
    certificate::sns_url,
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
}

/// Whether SNS signed the body, for one of our topics.
///
/// Every account of AWS can have SNS sign for a topic of its own, so that the topic is what counts.
pub(super) fn prove<'a>(
    settings: &Settings<'_>,
    request: &ReceivedRequest<'a>,
) -> Result<(Sent<'a>, Proved), Reason> {
    if settings.topics.is_empty() {
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
    if !settings.topics.contains(&document.topic_arn) {
        return Err(Reason::TopicNotAllowed);
    }
    let proved = Proved { key: 0, mark: signed_mark(&[Cow::Borrowed(canonical.as_bytes())]) };
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
