//! HashiCorp Vault and OpenBao, secrets engine KV version 2
//! (<https://openbao.org/api-docs/secret/kv/kv-v2/>).

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use keyreeve_core::{Invalid, Secret};
use keyreeve_engine::{
    Clock,
    vault::{BackendError, BackendVersion, Expect, Fields, SecretBackend},
};
use parking_lot::Mutex;
use reqwest::{Method, header::HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::http::{Answer, GuardedClient, ServiceAddress};

/// Tokens live longer than this.
const NEW_TOKEN_NS: u64 = 60_000_000_000;
/// The most names of one folder.
const MOST_NAMES: usize = 100_000;

/// How we prove who we are there.
#[derive(Debug)]
pub enum VaultLogin {
    /// A token. It ends when it ends: nobody renews it here.
    Token(Secret<String>),
    /// A role, which gives a new token whenever the old one has ended.
    AppRole {
        /// Which.
        role_id: String,
        /// Its proof.
        secret_id: Secret<String>,
    },
}

/// Secrets of one mount.
pub struct VaultKv2 {
    client: GuardedClient,
    address: ServiceAddress,
    mount: String,
    namespace: Option<HeaderValue>,
    login: VaultLogin,
    clock: Arc<dyn Clock>,
    /// What a login gave, and when, on the monotonic clock.
    token: Mutex<Option<(HeaderValue, u64)>>,
    /// One at a time logs in.
    logging_in: tokio::sync::Mutex<()>,
}

impl fmt::Debug for VaultKv2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultKv2").field("mount", &self.mount).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: ReadData<'a>,
}

#[derive(Deserialize)]
struct ReadData<'a> {
    /// `null` where the version is deleted.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Version,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
    created_time: String,
}

impl Version {
    /// A secret that was removed and written again has the same numbers as before.
    fn name(&self) -> String {
        format!("{}@{}", self.version, self.created_time)
    }
}

#[derive(Serialize)]
struct Write<'a> {
    data: &'a RawValue,
    options: WriteOptions,
}

#[derive(Serialize)]
struct WriteOptions {
    cas: u64,
}

#[derive(Deserialize)]
struct Written {
    data: Version,
}

#[derive(Deserialize)]
struct Metadata {
    data: MetadataOf,
}

#[derive(Deserialize)]
struct MetadataOf {
    current_version: u64,
}

#[derive(Deserialize)]
struct Listed {
    data: Keys,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// A version that is deleted is answered with 404 and this.
#[derive(Deserialize)]
struct Deleted {
    #[expect(dead_code, reason = "that it is there tells that the store knows the path")]
    data: DeletedData,
}

#[derive(Deserialize)]
struct DeletedData {
    #[expect(dead_code, reason = "likewise")]
    metadata: Version,
}

impl VaultKv2 {
    /// The secrets at a mount. An empty `namespace` is none. `clock` says how old a login is.
    pub fn new(
        address: ServiceAddress,
        mount: &str,
        namespace: &str,
        login: VaultLogin,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Invalid> {
        let mount = mount.trim_matches('/').to_owned();
        if mount.is_empty() {
            return Err(Invalid::new("must name a mount"));
        }
        let namespace = match namespace {
            "" => None,
            name => Some(
                HeaderValue::from_str(name)
                    .map_err(|_| Invalid::new("must be a namespace of visible ASCII"))?,
            ),
        };
        let token = match &login {
            VaultLogin::Token(token) => Some((sensitive(token)?, 0)),
            VaultLogin::AppRole { .. } => None,
        };
        let client = GuardedClient::new(&address)?;
        let (token, logging_in) = (Mutex::new(token), tokio::sync::Mutex::default());
        Ok(Self { client, address, mount, namespace, login, clock, token, logging_in })
    }

    /// Calls the store; after a refusal once more with a new token, if there is a role to get one.
    async fn call(
        &self,
        method: &Method,
        operation: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Secret<Vec<u8>>>,
    ) -> Result<Answer, BackendError> {
        let mut refused = None;
        for _ in 0..2 {
            let Some(token) = self.token_but(refused.as_ref()).await? else { break };
            let segments = ["v1"].into_iter().chain(self.mount.split('/')).chain([operation]);
            let segments = segments.chain(path.split('/').filter(|segment| !segment.is_empty()));
            let mut request = self.client.request(method.clone(), self.address.join(segments));
            request = request.query(query).header("x-vault-token", token.clone());
            let answer = self.send(request, body).await?;
            if answer.status != 403 {
                return Ok(answer);
            }
            refused = Some(token);
        }
        Err(BackendError::Denied)
    }

    /// A token other than one that was refused; `None` if that one is so new that it cannot have ended: it
    /// may simply not do that, and each login may use up the proof of the role.
    async fn token_but(
        &self,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, BackendError> {
        let usable = || {
            let known = self.token.lock();
            let (token, since_ns) = known.as_ref()?;
            if refused != Some(token) {
                return Some(Some(token.clone()));
            }
            let age = self.clock.monotonic_ns().saturating_sub(*since_ns);
            let is_own = matches!(self.login, VaultLogin::AppRole { .. });
            (!is_own || age < NEW_TOKEN_NS).then_some(None)
        };
        if let Some(found) = usable() {
            return Ok(found);
        }
        let _turn = self.logging_in.lock().await;
        match usable() {
            Some(found) => Ok(found),
            None => self.log_in().await.map(Some),
        }
    }

    async fn log_in(&self) -> Result<HeaderValue, BackendError> {
        let VaultLogin::AppRole { role_id, secret_id } = &self.login else {
            return Err(BackendError::Denied);
        };
        // EXPOSE: sent to the store that it is for.
        let body = serde_json::json!({ "role_id": role_id, "secret_id": secret_id.expose() });
        let body = Secret::new(body.to_string().into_bytes());
        let url = self.address.join(["v1", "auth", "approle", "login"]);
        let answer = self.send(self.client.request(Method::POST, url), Some(&body)).await?;
        if answer.status != 200 {
            // A role that is not known, or a proof that has ended, is 400 there.
            return Err(BackendError::Denied);
        }
        let LoggedIn { auth } = read(&answer)?;
        let token = sensitive(&Secret::new(auth.client_token));
        let token = token.map_err(|_| BackendError::Answer("an odd token".to_owned()))?;
        *self.token.lock() = Some((token.clone(), self.clock.monotonic_ns()));
        Ok(token)
    }

    async fn send(
        &self,
        mut request: reqwest::RequestBuilder,
        body: Option<&Secret<Vec<u8>>>,
    ) -> Result<Answer, BackendError> {
        request = request.header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace.clone());
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json");
            // EXPOSE: sent to the store that it is for.
            request = request.body(body.expose().clone());
        }
        let request = request.build();
        let request = request.map_err(|_| BackendError::Answer("no request".to_owned()))?;
        let answer = self.client.send(request).await?;
        match answer.status {
            // A node that stands by, one that lags, one that has too much to do, one that is sealed.
            300..=399 | 412 | 429 | 472 | 473 | 500..=599 => {
                Err(BackendError::Unreachable(format!("it answers {}", answer.status)))
            }
            _ => Ok(answer),
        }
    }

    /// The number of the newest version, deleted or not; 0 if there is none.
    async fn newest(&self, path: &str) -> Result<u64, BackendError> {
        let answer = self.call(&Method::GET, "metadata", path, &[], None).await?;
        match answer.status {
            404 if is_nothing(&answer) => Ok(0),
            200 => Ok(read::<Metadata>(&answer)?.data.current_version),
            status => Err(refused(status, &answer)),
        }
    }

    /// What a write has to have seen, as the store asks for it.
    async fn cas(&self, path: &str, expect: &Expect) -> Result<u64, BackendError> {
        match expect {
            Expect::Version(version) => {
                let number = version.split('@').next().unwrap_or_default().parse();
                let number = number
                    .map_err(|_| BackendError::Answer("a version of no number".to_owned()))?;
                // Of another secret at the same path the same number is another version.
                let there = self.read(path).await?;
                let is_it = there.is_some_and(|there| there.version == *version);
                if is_it { Ok(number) } else { Err(BackendError::Conflict) }
            }
            Expect::Nothing => {
                // What is deleted there still counts for the store.
                if self.read(path).await?.is_some() {
                    return Err(BackendError::Conflict);
                }
                self.newest(path).await
            }
        }
    }
}

#[async_trait]
impl SecretBackend for VaultKv2 {
    fn kind(&self) -> &'static str {
        "vault"
    }

    async fn read(&self, path: &str) -> Result<Option<BackendVersion>, BackendError> {
        let answer = self.call(&Method::GET, "data", path, &[], None).await?;
        match answer.status {
            404 if is_nothing(&answer) || read::<Deleted>(&answer).is_ok() => return Ok(None),
            200 => {}
            status => return Err(refused(status, &answer)),
        }
        // EXPOSE: taken apart.
        let Read { data } = parse(answer.body.expose())?;
        let Some(fields) = data.data.filter(|fields| fields.get() != "null") else {
            return Ok(None);
        };
        let fields = Fields::parse(Secret::new(fields.get().to_owned()));
        let fields = fields.map_err(|_| BackendError::Answer("no JSON object".to_owned()))?;
        Ok(Some(BackendVersion { version: data.metadata.name(), fields }))
    }

    async fn write(
        &self,
        path: &str,
        fields: &Fields,
        expect: &Expect,
        _attempt: &str,
    ) -> Result<String, BackendError> {
        let cas = self.cas(path, expect).await?;
        // EXPOSE: sent to the store that it is for.
        let data = serde_json::from_str::<&RawValue>(fields.text().expose());
        let data = data.map_err(|_| BackendError::Invalid(Invalid::new("must be JSON")))?;
        let body = serde_json::to_vec(&Write { data, options: WriteOptions { cas } });
        let body = body.map_err(|_| BackendError::Invalid(Invalid::new("must be JSON")))?;
        let body = Secret::new(body);
        let answer = self.call(&Method::POST, "data", path, &[], Some(&body)).await?;
        match answer.status {
            200 => Ok(read::<Written>(&answer)?.data.name()),
            400 if says(&answer, "check-and-set parameter did not match") => {
                Err(BackendError::Conflict)
            }
            status => Err(refused(status, &answer)),
        }
    }

    async fn delete(&self, path: &str, expect: &Expect) -> Result<(), BackendError> {
        // The store cannot be told what is expected: somebody may come between the look and the deed.
        let there = self.read(path).await?.map(|there| there.version);
        match (there, expect) {
            (None, _) => return Ok(()),
            (Some(there), Expect::Version(version)) if there == *version => {}
            (Some(_), _) => return Err(BackendError::Conflict),
        }
        let answer = self.call(&Method::DELETE, "data", path, &[], None).await?;
        match answer.status {
            200 | 204 => Ok(()),
            404 if is_nothing(&answer) => Ok(()),
            status => Err(refused(status, &answer)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, BackendError> {
        let answer = self.call(&Method::GET, "metadata", folder, &[("list", "true")], None).await?;
        match answer.status {
            404 if is_nothing(&answer) => return Ok(Vec::new()),
            200 => {}
            status => return Err(refused(status, &answer)),
        }
        let Listed { data: Keys { keys } } = read(&answer)?;
        if keys.len() > MOST_NAMES {
            return Err(BackendError::Answer(format!("more than {MOST_NAMES} names")));
        }
        Ok(keys)
    }
}

/// A token as a header that nobody prints.
fn sensitive(token: &Secret<String>) -> Result<HeaderValue, Invalid> {
    // EXPOSE: copied into a header.
    let header = HeaderValue::from_str(&Zeroizing::new(token.expose().trim().to_owned()));
    let mut header = header.map_err(|_| Invalid::new("must be a token of visible ASCII"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BackendError> {
    // The library's own words may repeat what stands there.
    serde_json::from_slice(body).map_err(|_| BackendError::Answer("other JSON".to_owned()))
}

fn read<T: for<'a> Deserialize<'a>>(answer: &Answer) -> Result<T, BackendError> {
    // EXPOSE: taken apart.
    parse(answer.body.expose())
}

fn says(answer: &Answer, words: &str) -> bool {
    read::<Errors>(answer)
        .is_ok_and(|answer| answer.errors.iter().any(|error| error.contains(words)))
}

/// Whether a 404 says that nothing is at the path, and not that there is no such mount, or that some other
/// program answers.
fn is_nothing(answer: &Answer) -> bool {
    read::<Errors>(answer).is_ok_and(|answer| answer.errors.is_empty())
}

fn refused(status: u16, answer: &Answer) -> BackendError {
    // A mount that is not there, or of version 1, is the likeliest mistake.
    if status == 404 || says(answer, "no handler for route") {
        return BackendError::Answer("there is no such mount".to_owned());
    }
    BackendError::Answer(format!("status {status}"))
}
