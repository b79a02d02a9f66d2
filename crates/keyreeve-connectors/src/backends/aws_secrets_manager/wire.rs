//! What AWS is told and what it answers.

use std::collections::BTreeMap;

use keyreeve_core::{Invalid, Secret};
use keyreeve_engine::vault::{BackendError, BackendVersion, Fields};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, value::RawValue};

use super::CURRENT;
use crate::http::Answer;

/// The most bytes of a version that AWS takes.
const MOST_BYTES: usize = 65_536;
/// Room for what is written around a version: a name, a token, and the names of these.
const AROUND: usize = 1_024;

/// Why a call did nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no such secret, or no such version.
    Missing,
    /// The secret is deleted, but can be brought back.
    MarkedForDeletion,
    /// There is one of that name, or a version of that token with other content.
    Exists,
    /// Something that is the same for every call.
    Other(BackendError),
}

impl Refusal {
    /// What an answer that is none says.
    pub(super) fn read(answer: &Answer) -> Self {
        // EXPOSE: read for what went wrong.
        let error = serde_json::from_slice::<ErrorBody>(answer.body.expose()).unwrap_or_default();
        let kind = bare_kind(error.kind.as_deref().unwrap_or_default());
        let message = error.message.or(error.lower_message).unwrap_or_default();
        Self::judge(answer.status, &kind, &message)
    }

    /// What a status and the name of an error mean. The message stays here: it may repeat values.
    fn judge(status: u16, kind: &str, message: &str) -> Self {
        let stem = kind.strip_suffix("Exception").unwrap_or(kind);
        let is_denied = matches!(status, 401 | 403)
            || matches!(
                stem,
                "AccessDenied"
                    | "ExpiredToken"
                    | "IncompleteSignature"
                    | "InvalidClientTokenId"
                    | "InvalidSignature"
                    | "MissingAuthenticationToken"
                    | "UnrecognizedClient"
            );
        let is_passing = status == 429
            || status >= 500
            || matches!(
                stem,
                // The last one: a clock that is off.
                "InternalServiceError" | "Throttling" | "TooManyRequests" | "RequestExpired"
            );
        match stem {
            "ResourceNotFound" => Self::Missing,
            "ResourceExists" => Self::Exists,
            "InvalidRequest" if speaks_of_deletion(message) => Self::MarkedForDeletion,
            _ if is_denied => Self::Other(BackendError::Denied),
            _ if is_passing => {
                let text = format!("answers {status} {kind}");
                Self::Other(BackendError::Unreachable(text.trim_end().to_owned()))
            }
            _ => Self::Other(unexpected(format!("{status} {kind}").trim_end().to_owned())),
        }
    }
}

impl From<BackendError> for Refusal {
    fn from(error: BackendError) -> Self {
        Self::Other(error)
    }
}

impl From<Refusal> for BackendError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // Whoever looks for these handles them. Elsewhere somebody was quicker, or, if something is
            // missing, AWS means something else than the secret: the key that it encrypts with.
            Refusal::MarkedForDeletion | Refusal::Exists => Self::Conflict,
            Refusal::Missing => unexpected("something is missing there".to_owned()),
            Refusal::Other(error) => error,
        }
    }
}

/// What is known of a secret without reading it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The version that can be read.
    pub(super) current: Option<String>,
    /// Whether it can be brought back.
    pub(super) deleted: bool,
}

impl From<Description> for State {
    fn from(description: Description) -> Self {
        if description.deleted_date.is_some() {
            return Self { current: None, deleted: true };
        }
        let mut versions = description.version_ids_to_stages.unwrap_or_default().into_iter();
        let current = versions.find(|(_, stages)| stages.iter().any(|stage| stage == CURRENT));
        Self { current: current.map(|(version, _)| version), deleted: false }
    }
}

/// The answer of `DescribeSecret`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Description {
    version_ids_to_stages: Option<BTreeMap<String, Vec<String>>>,
    deleted_date: Option<IgnoredAny>,
}

/// A page of `ListSecrets`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamesPage {
    pub(super) secret_list: Option<Vec<NamedSecret>>,
    pub(super) next_token: Option<String>,
}

/// A secret on such a page.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamedSecret {
    pub(super) name: String,
}

/// A page of `ListSecretVersionIds`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionsPage {
    pub(super) versions: Option<Vec<LabelledVersion>>,
    pub(super) next_token: Option<String>,
}

/// A version on such a page.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LabelledVersion {
    pub(super) version_id: String,
    pub(super) version_stages: Option<Vec<String>>,
}

/// The answer of `PutSecretValue` and of `CreateSecret`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Written {
    pub(super) version_id: String,
    /// Not there when a secret is made: its first version is the current one.
    pub(super) version_stages: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ValueBody<'b> {
    version_id: String,
    #[serde(borrow)]
    secret_string: Option<&'b RawValue>,
    #[serde(borrow)]
    secret_binary: Option<&'b RawValue>,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(rename = "__type")]
    kind: Option<String>,
    #[serde(rename = "Message")]
    message: Option<String>,
    #[serde(rename = "message")]
    lower_message: Option<String>,
}

/// The version in an answer. A text that is a JSON object is taken as it stands; any other becomes the
/// field `value`, and bytes become the field `binary`, in base64.
pub(super) fn read_version(answer: &Secret<Vec<u8>>) -> Result<BackendVersion, BackendError> {
    // EXPOSE: taken apart.
    let body = serde_json::from_slice::<ValueBody<'_>>(answer.expose());
    let body = body.map_err(|_| misshapen())?;
    let text = match (body.secret_string, body.secret_binary) {
        (Some(quoted), _) => {
            let text = unquoted(quoted)?;
            if is_object(&text) { text } else { with_name("value", quoted) }
        }
        (None, Some(quoted)) => {
            unquoted(quoted)?;
            with_name("binary", quoted)
        }
        (None, None) => return Err(misshapen()),
    };
    let fields = Fields::parse(text).map_err(|_| misshapen())?;
    Ok(BackendVersion { version: body.version_id, fields })
}

/// The text that a JSON string stands for.
fn unquoted(quoted: &RawValue) -> Result<Secret<String>, BackendError> {
    serde_json::from_str(quoted.get()).map(Secret::new).map_err(|_| misshapen())
}

fn is_object(text: &Secret<String>) -> bool {
    // EXPOSE: looked through for its shape.
    let text = text.expose();
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// An object with one field.
fn with_name(name: &str, value: &RawValue) -> Secret<String> {
    let value = value.get();
    // The room is made at once: growing would leave a copy of the value behind.
    let mut text = String::with_capacity(name.len() + value.len() + 5);
    for piece in ["{\"", name, "\":", value, "}"] {
        text.push_str(piece);
    }
    Secret::new(text)
}

/// A request to write a version. `named` is what the call calls the secret's name.
pub(super) fn write_body(
    named: &str,
    path: &str,
    token: &str,
    fields: &Fields,
) -> Result<Secret<Vec<u8>>, BackendError> {
    // EXPOSE: goes into the request.
    let text = fields.text().expose().as_str();
    if text.len() > MOST_BYTES {
        return Err(BackendError::Invalid(Invalid::new("must be at most 64 KiB of JSON")));
    }
    let body =
        BTreeMap::from([(named, path), ("ClientRequestToken", token), ("SecretString", text)]);
    // Every sign of JSON is escaped as two at most. Growing would leave a copy behind.
    let mut bytes = Secret::new(Vec::with_capacity(2 * text.len() + AROUND));
    // EXPOSE: filled.
    serde_json::to_writer(bytes.expose_mut(), &body).map_err(|_| unsendable())?;
    Ok(bytes)
}

/// A request with nothing secret in it.
pub(super) fn plain(body: &Value) -> Secret<Vec<u8>> {
    Secret::new(body.to_string().into_bytes())
}

/// An answer with nothing secret in it.
pub(super) fn parsed<T: DeserializeOwned>(answer: &Secret<Vec<u8>>) -> Result<T, BackendError> {
    // EXPOSE: no secret stands in it.
    serde_json::from_slice(answer.expose()).map_err(|_| misshapen())
}

/// The name of an error alone. AWS may put a namespace before it and an address after it.
fn bare_kind(kind: &str) -> String {
    let name = kind.rsplit('#').next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    name.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

/// Whether an error is about a secret that waits for its end: AWS has one name for several errors.
fn speaks_of_deletion(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["marked for deletion", "scheduled for deletion", "marked deleted"]
        .into_iter()
        .any(|sign| message.contains(sign))
}

pub(super) fn unexpected(what: String) -> BackendError {
    BackendError::Answer(what)
}

/// The parser's own words may repeat what it read.
fn misshapen() -> BackendError {
    unexpected("an answer of another shape".to_owned())
}

pub(super) fn unsendable() -> BackendError {
    BackendError::Invalid(Invalid::new("cannot be put into a request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<Vec<u8>> {
        Secret::new(text.as_bytes().to_vec())
    }

    fn fields_of(value: &str) -> Result<String, BackendError> {
        let answer = format!(r#"{{"ARN":"a","VersionId":"v1",{value},"CreatedDate":1.5}}"#);
        let version = read_version(&secret(&answer))?;
        assert_eq!(version.version, "v1");
        Ok(version.fields.text().expose().clone())
    }

    #[test]
    fn values_become_fields() {
        for (value, fields) in [
            (r#""SecretString":"{\"n\": 1.50, \"z\":1e400}""#, r#"{"n": 1.50, "z":1e400}"#),
            (r#""SecretString":"{}","SecretBinary":null"#, "{}"),
            (r#""SecretString":"pass\"word\u00e9""#, r#"{"value":"pass\"word\u00e9"}"#),
            (r#""SecretString":"[1]""#, r#"{"value":"[1]"}"#),
            (r#""SecretString":"{broken""#, r#"{"value":"{broken"}"#),
            (r#""SecretString":null,"SecretBinary":"AP8=""#, r#"{"binary":"AP8="}"#),
        ] {
            assert_eq!(fields_of(value).unwrap(), fields);
        }
    }

    #[test]
    fn what_is_no_value_is_refused_without_repeating_it() {
        for value in [r#""Name":"canary""#, r#""SecretString":["canary"]"#, r#""SecretBinary":7"#] {
            let error = fields_of(value).unwrap_err();
            assert!(matches!(error, BackendError::Answer(_)), "{value}");
            assert!(!error.to_string().contains("canary"));
        }
        assert!(read_version(&secret("canary")).is_err());
    }

    #[test]
    fn what_is_written_is_the_text_as_it_was() {
        let text = "{\"n\": 1.50,\n\"s\":\"\\u00e9\\n\"}";
        let fields = Fields::parse(Secret::new(text.to_owned())).unwrap();
        let body = write_body("Name", "a/b", "t", &fields).unwrap();
        let body: Value = serde_json::from_slice(body.expose()).unwrap();
        let expected = serde_json::json!({
            "Name": "a/b",
            "ClientRequestToken": "t",
            "SecretString": text,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let fields = |length: usize| {
            let text = format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
            Fields::parse(Secret::new(text)).unwrap()
        };
        assert!(write_body("Name", "a", "t", &fields(MOST_BYTES)).is_ok());
        let error = write_body("Name", "a", "t", &fields(MOST_BYTES + 1)).unwrap_err();
        assert!(matches!(error, BackendError::Invalid(_)));
    }

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal::read(&Answer { status, body: secret(body) })
    }

    #[test]
    fn errors_are_told_apart() {
        let missing = r#"{"__type":"com.amazonaws.secretsmanager#ResourceNotFoundException"}"#;
        assert!(matches!(refusal(400, missing), Refusal::Missing));
        let missing = r#"{"__type":"ResourceNotFoundException","message":"m","Message":"M"}"#;
        assert!(matches!(refusal(404, missing), Refusal::Missing));
        let exists = r#"{"__type":"ResourceExistsException:http://internal.amazon.com/"}"#;
        assert!(matches!(refusal(400, exists), Refusal::Exists));
        for name in ["Message", "message"] {
            let deleted = format!(
                r#"{{"__type":"InvalidRequestException","{name}":"it was marked for deletion."}}"#
            );
            assert!(matches!(refusal(400, &deleted), Refusal::MarkedForDeletion));
        }
        for denied in ["AccessDeniedException", "ExpiredTokenException", "IncompleteSignature"] {
            let error = BackendError::from(refusal(400, &format!(r#"{{"__type":"{denied}"}}"#)));
            assert!(matches!(error, BackendError::Denied), "{denied}");
        }
        assert!(matches!(BackendError::from(refusal(403, "<html>")), BackendError::Denied));
    }

    #[test]
    fn what_may_pass_is_tried_later() {
        for (status, body, text) in [
            (503, "", "cannot be reached: answers 503"),
            (500, "<html>canary", "cannot be reached: answers 500"),
            (
                400,
                r#"{"__type":"ThrottlingException"}"#,
                "cannot be reached: answers 400 ThrottlingException",
            ),
            (429, r#"{"__type":"x#Slow"}"#, "cannot be reached: answers 429 Slow"),
        ] {
            let error = BackendError::from(refusal(status, body));
            assert!(matches!(error, BackendError::Unreachable(_)));
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn other_errors_are_named_and_nothing_is_repeated() {
        let body = r#"{"__type":"a#InvalidRequestException","Message":"canary is invalid"}"#;
        let error = BackendError::from(refusal(400, body));
        assert!(
            matches!(&error, BackendError::Answer(said) if said == "400 InvalidRequestException")
        );
        let long = format!(r#"{{"__type":"<{}>"}}"#, "x".repeat(100));
        let error = BackendError::from(refusal(400, &long));
        let expected = format!("400 {}", "x".repeat(64));
        assert!(matches!(&error, BackendError::Answer(said) if *said == expected));
    }

    #[test]
    fn a_description_says_what_can_be_read() {
        let state = |body: &str| parsed::<Description>(&secret(body)).map(State::from).unwrap();
        let versions = r#""VersionIdsToStages":{"v1":["AWSPREVIOUS"],"v2":["x","AWSCURRENT"]}"#;
        let there = state(&format!(r#"{{{versions},"DeletedDate":null}}"#));
        assert_eq!(there, State { current: Some("v2".to_owned()), deleted: false });
        let deleted = state(&format!(r#"{{{versions},"DeletedDate":1797924772.97}}"#));
        assert_eq!(deleted, State { current: None, deleted: true });
        assert_eq!(state("{}"), State::default());
    }
}
