//! AWS Secrets Manager:
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/Welcome.html>.
//!
//! It has no compare-and-set: what a writer expects is looked at just before the write.

mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use keyreeve_core::{Invalid, Secret, signature::aws};
use keyreeve_engine::{
    Clock,
    vault::{BackendError, BackendVersion, Expect, Fields, SecretBackend},
};
use reqwest::{Method, Url, header::HeaderValue};
use serde_json::{Value, json};

use self::wire::{
    Description, NamesPage, Refusal, State, VersionsPage, Written, parsed, plain, read_version,
    unexpected, unsendable, write_body,
};
use crate::http::{GuardedClient, ServiceAddress};

/// The service's name in signatures and in the names of its calls.
const SERVICE: &str = "secretsmanager";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// The label of the version that is read.
const CURRENT: &str = "AWSCURRENT";
/// The label of a version that is being rotated in.
const PENDING: &str = "AWSPENDING";
/// The labels that a history knows, in the order that versions come to carry them, oldest first.
const STAGES: [&str; 3] = ["AWSPREVIOUS", CURRENT, PENDING];
/// The longest name that AWS takes.
const MOST_NAME: usize = 512;
/// How long a deleted secret can be brought back: the longest that AWS offers.
const RECOVERY_DAYS: u32 = 30;
/// The most entries on a page: the most that AWS gives.
const PAGE: u32 = 100;
/// The most names that are listed.
const MOST_NAMES: usize = 100_000;
/// The most pages that are asked for: AWS may fill them sparsely, but not for ever.
const MOST_PAGES: usize = 10_000;

/// What to sign requests with.
#[derive(Debug)]
pub struct AwsCredentials {
    /// The name of the access key.
    pub access_key_id: String,
    /// The access key.
    pub secret_access_key: Secret<String>,
    /// What goes with an access key that is good for a while only.
    pub session_token: Option<Secret<String>>,
}

impl AwsCredentials {
    /// Whether they can stand in headers.
    fn check(&self) -> Result<(), Invalid> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let id = &self.access_key_id;
        if id.is_empty() || id.len() > 128 || !id.bytes().all(is_word) {
            return Err(Invalid::new("must have an access key id of 1 to 128 letters and digits"));
        }
        if let Some(token) = &self.session_token {
            // EXPOSE: looked through for what no header can hold.
            let token = token.expose();
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Invalid::new("must have a session token of visible ASCII signs"));
            }
        }
        Ok(())
    }
}

/// A version and the label that it carries.
#[derive(Debug)]
pub struct StagedVersion {
    /// `AWSPREVIOUS`, `AWSCURRENT` or `AWSPENDING`.
    pub stage: String,
    /// The version.
    pub version: BackendVersion,
}

/// Secrets in one region of one AWS account.
pub struct AwsSecretsManager {
    client: GuardedClient,
    address: ServiceAddress,
    region: String,
    credentials: AwsCredentials,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for AwsSecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSecretsManager").field("region", &self.region).finish_non_exhaustive()
    }
}

impl AwsSecretsManager {
    /// The store at that address. `clock` says when a request was signed.
    pub fn new(
        address: ServiceAddress,
        region: String,
        credentials: AwsCredentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Invalid> {
        check_region(&region)?;
        credentials.check()?;
        let client = GuardedClient::new(&address)?;
        Ok(Self { client, address, region, credentials, clock })
    }

    /// Where AWS has the store of a region.
    pub fn usual_address(region: &str) -> String {
        let end = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://{SERVICE}.{region}.amazonaws.com{end}")
    }

    /// The versions that carry a label and can be read, the previous one first. One that is current and
    /// pending is given as the current one.
    pub async fn history(&self, path: &str) -> Result<Vec<StagedVersion>, BackendError> {
        check_name(path)?;
        let staged = self.staged(path).await?;
        let current = staged.get(CURRENT);
        let mut history = Vec::new();
        for stage in STAGES {
            let Some(version) = staged.get(stage) else { continue };
            if stage == PENDING && Some(version) == current {
                continue;
            }
            let wanted = json!({ "SecretId": path, "VersionId": version });
            if let Some(version) = self.value(&wanted).await? {
                history.push(StagedVersion { stage: stage.to_owned(), version });
            }
        }
        Ok(history)
    }

    /// All names that begin so, each once; all names there are for an empty text. Without those of
    /// deleted secrets.
    pub async fn names(&self, prefix: &str) -> Result<Vec<String>, BackendError> {
        if !prefix.is_empty() {
            check_name(prefix)?;
        }
        let mut names = BTreeSet::new();
        let mut next: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut wanted = json!({ "MaxResults": PAGE });
            if !prefix.is_empty() {
                wanted["Filters"] = json!([{ "Key": "name", "Values": [prefix] }]);
            }
            if let Some(next) = &next {
                wanted["NextToken"] = json!(next);
            }
            let answer = self.call("ListSecrets", &plain(&wanted)).await?;
            let page: NamesPage = parsed(&answer)?;
            let listed = page.secret_list.unwrap_or_default().into_iter().map(|entry| entry.name);
            // AWS's filter is looser than ours.
            names.extend(listed.filter(|name| name.starts_with(prefix)));
            if names.len() > MOST_NAMES {
                return Err(unexpected(format!("more than {MOST_NAMES} names")));
            }
            next = page.next_token.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(names.into_iter().collect());
            }
        }
        Err(unexpected(format!("more than {MOST_PAGES} pages")))
    }

    /// The ids of versions by the labels that they carry. Empty if there is no such secret.
    async fn staged(&self, path: &str) -> Result<BTreeMap<String, String>, BackendError> {
        let mut staged = BTreeMap::new();
        let mut next: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut wanted = json!({ "SecretId": path, "MaxResults": PAGE });
            if let Some(next) = &next {
                wanted["NextToken"] = json!(next);
            }
            let answer = match self.call("ListSecretVersionIds", &plain(&wanted)).await {
                Ok(answer) => answer,
                Err(Refusal::Missing | Refusal::MarkedForDeletion) => return Ok(BTreeMap::new()),
                Err(refusal) => return Err(refusal.into()),
            };
            let page: VersionsPage = parsed(&answer)?;
            for version in page.versions.unwrap_or_default() {
                let stages = version.version_stages.unwrap_or_default();
                staged.extend(stages.into_iter().map(|it| (it, version.version_id.clone())));
            }
            next = page.next_token.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(staged);
            }
        }
        Err(unexpected(format!("more than {MOST_PAGES} pages")))
    }

    /// What is known of a secret.
    async fn state(&self, path: &str) -> Result<State, BackendError> {
        let wanted = plain(&json!({ "SecretId": path }));
        match self.call("DescribeSecret", &wanted).await {
            Ok(answer) => parsed::<Description>(&answer).map(State::from),
            Err(Refusal::Missing) => Ok(State::default()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// A version; `None` if it is not there, or the secret is deleted.
    async fn value(&self, wanted: &Value) -> Result<Option<BackendVersion>, BackendError> {
        match self.call("GetSecretValue", &plain(wanted)).await {
            Ok(answer) => read_version(&answer).map(Some),
            Err(Refusal::Missing | Refusal::MarkedForDeletion) => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Signs and sends a request; gives the body of its answer.
    async fn call(
        &self,
        operation: &str,
        body: &Secret<Vec<u8>>,
    ) -> Result<Secret<Vec<u8>>, Refusal> {
        let url = self.address.join(std::iter::empty());
        let host = host_header(&url);
        let target = format!("{SERVICE}.{operation}");
        let headers = [("content-type", CONTENT_TYPE), ("x-amz-target", target.as_str())];
        let unsigned = aws::UnsignedRequest {
            method: "POST",
            host: &host,
            path: url.path(),
            query: aws::Query::Pairs(&[]),
            headers: &headers,
            // EXPOSE: signed.
            payload: aws::Payload::Bytes(body.expose()),
        };
        let signer = aws::Signer {
            access_key_id: &self.credentials.access_key_id,
            secret_access_key: &self.credentials.secret_access_key,
            session_token: self.credentials.session_token.as_ref(),
            region: &self.region,
            service: SERVICE,
        };
        let added = signer.sign(&unsigned, self.clock.now());
        let mut request = self.client.request(Method::POST, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in &added {
            // EXPOSE: sent, and marked so that nobody prints it.
            let value = HeaderValue::from_str(value.expose());
            let mut value = value.map_err(|_| unsendable())?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        // EXPOSE: sent.
        let request = request.body(body.expose().clone()).build().map_err(|_| unsendable())?;
        let answer = self.client.send(request).await?;
        if answer.status == 200 { Ok(answer.body) } else { Err(Refusal::read(&answer)) }
    }
}

#[async_trait]
impl SecretBackend for AwsSecretsManager {
    fn kind(&self) -> &'static str {
        "aws-secrets-manager"
    }

    async fn read(&self, path: &str) -> Result<Option<BackendVersion>, BackendError> {
        check_name(path)?;
        self.value(&json!({ "SecretId": path, "VersionStage": CURRENT })).await
    }

    async fn write(
        &self,
        path: &str,
        fields: &Fields,
        expect: &Expect,
        attempt: &str,
    ) -> Result<String, BackendError> {
        check_name(path)?;
        let token = aws::request_token(attempt);
        let put = write_body("SecretId", path, &token, fields)?;
        let state = self.state(path).await?;
        if state.current.as_ref() == Some(&token) {
            // Written before; the answer was lost.
            return Ok(token);
        }
        if !fits(expect, state.current.as_deref()) {
            return Err(BackendError::Conflict);
        }
        let outcome = if state.deleted {
            Err(Refusal::MarkedForDeletion)
        } else {
            self.call("PutSecretValue", &put).await
        };
        let outcome = match outcome {
            Err(Refusal::Missing) => {
                let create = write_body("Name", path, &token, fields)?;
                self.call("CreateSecret", &create).await
            }
            Err(Refusal::MarkedForDeletion) => {
                self.call("RestoreSecret", &plain(&json!({ "SecretId": path }))).await?;
                let put = self.call("PutSecretValue", &put).await;
                if put.is_err() {
                    // What was deleted must not come back instead of what was to be written. If this
                    // fails, too, the first error tells more.
                    let _ = self.call("DeleteSecret", &deletion(path)).await;
                }
                put
            }
            outcome => outcome,
        };
        let written: Written = parsed(&outcome?)?;
        // A version that was there already stays where it is, and AWS says so only by this.
        if written.version_stages.is_some_and(|stages| !stages.iter().any(|it| it == CURRENT)) {
            return Err(BackendError::Conflict);
        }
        Ok(written.version_id)
    }

    /// AWS deletes secrets, not versions: all of them come back with it.
    async fn delete(&self, path: &str, expect: &Expect) -> Result<(), BackendError> {
        check_name(path)?;
        let Some(current) = self.state(path).await?.current else { return Ok(()) };
        if !fits(expect, Some(&current)) {
            return Err(BackendError::Conflict);
        }
        match self.call("DeleteSecret", &deletion(path)).await {
            Ok(_) | Err(Refusal::Missing | Refusal::MarkedForDeletion) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, BackendError> {
        Ok(one_level(&self.names(folder).await?, folder))
    }
}

/// Deletes a secret in a way that people can take back.
fn deletion(path: &str) -> Secret<Vec<u8>> {
    plain(&json!({ "SecretId": path, "RecoveryWindowInDays": RECOVERY_DAYS }))
}

/// The `host` header as the client sends it.
fn host_header(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether what is there is what was expected.
fn fits(expect: &Expect, current: Option<&str>) -> bool {
    match expect {
        Expect::Nothing => current.is_none(),
        Expect::Version(version) => current == Some(version.as_str()),
    }
}

/// The entries of a folder: what follows it in these names, up to the first slash, each once.
fn one_level(names: &[String], folder: &str) -> Vec<String> {
    let rests = names.iter().filter_map(|name| name.strip_prefix(folder));
    let entries: BTreeSet<&str> = rests
        .filter(|rest| !rest.is_empty())
        .map(|rest| rest.find('/').map_or(rest, |slash| &rest[..=slash]))
        .collect();
    entries.into_iter().map(str::to_owned).collect()
}

fn check_name(name: &str) -> Result<(), BackendError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
    if name.is_empty() || name.len() > MOST_NAME || !name.bytes().all(is_allowed) {
        let rule = "names must be 1 to 512 letters, digits and signs of /_+=.@-";
        return Err(BackendError::Invalid(Invalid::new(rule)));
    }
    Ok(())
}

fn check_region(region: &str) -> Result<(), Invalid> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if matches!(region.len(), 1..=32) && region.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(Invalid::new("must be a region such as eu-central-1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_reduced_to_one_level() {
        let names = ["a", "a/b", "a/b/c", "a/b/d", "a/bc", "b"].map(str::to_owned);
        assert_eq!(one_level(&names, ""), ["a", "a/", "b"]);
        assert_eq!(one_level(&names, "a/"), ["b", "b/", "bc"]);
        assert_eq!(one_level(&names, "a/b/"), ["c", "d"]);
        assert!(one_level(&names, "c/").is_empty());
    }

    #[test]
    fn only_names_that_aws_takes_go_there() {
        let (longest, too_long) = ("n".repeat(512), "n".repeat(513));
        for good in ["a", "prod/db/main", "A-z_0+9=.@x", longest.as_str()] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "arn:aws:x", "ä", "a!", "a\"b", too_long.as_str()] {
            let error = check_name(bad).unwrap_err();
            assert!(matches!(error, BackendError::Invalid(_)), "{bad}");
        }
    }

    #[test]
    fn every_region_has_its_address() {
        assert_eq!(
            AwsSecretsManager::usual_address("eu-central-1"),
            "https://secretsmanager.eu-central-1.amazonaws.com"
        );
        assert_eq!(
            AwsSecretsManager::usual_address("cn-north-1"),
            "https://secretsmanager.cn-north-1.amazonaws.com.cn"
        );
        assert!(check_region("us-gov-west-1").is_ok());
        let too_long = "a".repeat(33);
        for bad in ["", "EU-1", "eu.central", "a/b", too_long.as_str()] {
            assert!(check_region(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_host_header_has_the_port_if_it_is_not_the_usual_one() {
        for (address, host) in [
            ("https://a.example/", "a.example"),
            ("https://a.example:443/", "a.example"),
            ("http://a.example:80/", "a.example"),
            ("http://127.0.0.1:5000/", "127.0.0.1:5000"),
            ("http://[::1]:80/", "[::1]"),
            ("https://[::1]:8443/", "[::1]:8443"),
        ] {
            assert_eq!(host_header(&Url::parse(address).unwrap()), host);
        }
    }

    #[test]
    fn what_is_there_fits_or_not() {
        let seen = Expect::Version("v1".to_owned());
        assert!(fits(&seen, Some("v1")));
        assert!(!fits(&seen, Some("v2")));
        assert!(!fits(&seen, None));
        assert!(fits(&Expect::Nothing, None));
        assert!(!fits(&Expect::Nothing, Some("v1")));
    }

    #[test]
    fn credentials_must_go_into_headers_and_are_not_printed() {
        let credentials = |id: &str, token: Option<&str>| AwsCredentials {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new("canary".to_owned()),
            session_token: token.map(|token| Secret::new(token.to_owned())),
        };
        assert!(credentials("AKIDEXAMPLE", None).check().is_ok());
        assert!(credentials("ASIAEXAMPLE", Some("canary/+=")).check().is_ok());
        for (id, token) in [("", None), ("a b", None), ("A", Some("")), ("A", Some("canary\n"))] {
            let error = credentials(id, token).check().unwrap_err();
            assert!(!error.rule().contains("canary"));
        }
        let shown = format!("{:?}", credentials("AKIDEXAMPLE", Some("canary")));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
