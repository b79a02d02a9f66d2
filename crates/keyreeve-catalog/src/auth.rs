//! Ways of putting credentials into a request, and the flat tables that files describe them by.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::template::Template;

/// A way to put credentials into a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "AuthFile")]
pub struct Auth {
    /// Names it within its provider.
    pub id: String,
    /// What it is.
    pub method: AuthMethod,
}

/// How credentials get into a request. Read from the same table, without the `id`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "AuthFile")]
pub enum AuthMethod {
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer {
        /// The token.
        token: Template,
    },
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// The user.
        user: Template,
        /// The password.
        password: Template,
    },
    /// Headers by name.
    Headers(BTreeMap<String, Template>),
    /// Parameters of the query.
    Query(BTreeMap<String, Template>),
    /// Cookies by name.
    Cookie(BTreeMap<String, Template>),
    /// Put before the path.
    Path {
        /// What is put there.
        prefix: Template,
    },
    /// Fields of a form body.
    Form(BTreeMap<String, Template>),
    /// Members of a JSON body by pointer (RFC 6901).
    Json(BTreeMap<String, Template>),
    /// AWS Signature Version 4.
    AwsSigV4 {
        /// Names the key.
        access_key_id: Template,
        /// Signs.
        secret_access_key: Template,
        /// Of a temporary key.
        session_token: Option<Template>,
        /// The region in signatures; what the host's name says if `None`.
        region: Option<Template>,
        /// The service in signatures; what the host's name says if `None`.
        service: Option<Template>,
    },
    /// An HMAC over parts of the request.
    Hmac(HmacMethod),
    /// Azure Storage Shared Key.
    AzureSharedKey {
        /// The storage account.
        account: Template,
        /// One of its two keys, in base64.
        key: Template,
    },
    /// A token for client credentials (RFC 6749 §4.4), which then goes as bearer.
    OAuth2Client {
        /// Where tokens are given out.
        token_url: Template,
        /// The client.
        client_id: Template,
        /// Its secret.
        client_secret: Template,
        /// Where the secret goes.
        client_auth: ClientAuth,
        /// What the token is asked for.
        scope: Option<String>,
    },
    /// A token for a signed assertion (RFC 7523), from a Google service account file.
    OAuth2Jwt {
        /// Where tokens are given out.
        token_url: Template,
        /// The file, as JSON.
        service_account: Template,
        /// What the token is asked for.
        scope: String,
    },
    /// A database's address with the password in it.
    ConnectionUrl {
        /// The address.
        url: Template,
    },
    /// SSH.
    Ssh {
        /// The server.
        host: Template,
        /// The user there.
        user: Template,
        /// What the user shows.
        proof: SshProof,
    },
}

/// An HMAC (RFC 2104) over parts of the request, in a header.
#[derive(Clone, Debug)]
pub struct HmacMethod {
    /// What signs.
    pub key: Template,
    /// The hash.
    pub algorithm: HmacHash,
    /// What is signed. `{method}`, `{path}`, `{query}`, `{body}`, `{body_sha256}` and `{timestamp}` (in
    /// whole seconds) stand for parts of the request.
    pub message: Template,
    /// The header that carries it.
    pub header: String,
    /// What stands in the header; `{signature}` and `{timestamp}` have their places there.
    pub value: Template,
    /// How the signature is written.
    pub encoding: SignatureEncoding,
    /// A header that carries the timestamp by itself.
    pub timestamp_header: Option<String>,
}

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum HmacHash {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1, for services that know nothing better.
    Sha1,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SignatureEncoding {
    /// In hexadecimal, lower case.
    #[default]
    Hex,
    /// In base64 (RFC 4648 §4).
    Base64,
}

/// Where a client shows its secret to a token endpoint.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// In the `Authorization` header.
    Basic,
    /// In the form.
    Body,
}

/// What a person proves to an SSH server.
#[derive(Clone, Debug)]
pub enum SshProof {
    /// A password.
    Password(Template),
    /// A private key.
    PrivateKey(Template),
}

type Templates = BTreeMap<String, Template>;

/// An `[[auth]]` table: all members that any kind has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthFile {
    #[serde(default)]
    id: String,
    kind: Kind,
    token: Option<Template>,
    user: Option<Template>,
    password: Option<Template>,
    headers: Option<Templates>,
    parameters: Option<Templates>,
    cookies: Option<Templates>,
    prefix: Option<Template>,
    fields: Option<Templates>,
    pointers: Option<Templates>,
    access_key_id: Option<Template>,
    secret_access_key: Option<Template>,
    session_token: Option<Template>,
    region: Option<Template>,
    service: Option<Template>,
    account: Option<Template>,
    key: Option<Template>,
    algorithm: Option<HmacHash>,
    message: Option<Template>,
    header: Option<String>,
    value: Option<Template>,
    encoding: Option<SignatureEncoding>,
    timestamp_header: Option<String>,
    token_url: Option<Template>,
    client_id: Option<Template>,
    client_secret: Option<Template>,
    client_auth: Option<ClientAuth>,
    scope: Option<String>,
    service_account: Option<Template>,
    url: Option<Template>,
    host: Option<Template>,
    private_key: Option<Template>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Bearer,
    Basic,
    Headers,
    Query,
    Cookie,
    Path,
    Form,
    Json,
    AwsSigv4,
    Hmac,
    AzureSharedKey,
    Oauth2Client,
    Oauth2Jwt,
    ConnectionUrl,
    Ssh,
}

impl TryFrom<AuthFile> for Auth {
    type Error = String;

    fn try_from(mut file: AuthFile) -> Result<Self, String> {
        let id = std::mem::take(&mut file.id);
        if id.is_empty() {
            return Err("an auth needs `id`".to_owned());
        }
        Ok(Self { id, method: file.try_into()? })
    }
}

impl TryFrom<AuthFile> for AuthMethod {
    type Error = String;

    fn try_from(mut file: AuthFile) -> Result<Self, String> {
        let method = file.method()?;
        if let Some(name) = file.left_over() {
            return Err(format!("`{name}` does not belong to an auth of this kind"));
        }
        Ok(method)
    }
}

/// Takes a member that the kind cannot do without.
fn needed<T>(member: &mut Option<T>, name: &str) -> Result<T, String> {
    member.take().ok_or_else(|| format!("an auth of this kind needs `{name}`"))
}

fn filled(member: &mut Option<Templates>, name: &str) -> Result<Templates, String> {
    let templates = needed(member, name)?;
    if templates.is_empty() {
        return Err(format!("`{name}` must not be empty"));
    }
    Ok(templates)
}

impl AuthFile {
    fn method(&mut self) -> Result<AuthMethod, String> {
        Ok(match self.kind {
            Kind::Bearer => AuthMethod::Bearer { token: needed(&mut self.token, "token")? },
            Kind::Basic => AuthMethod::Basic {
                user: needed(&mut self.user, "user")?,
                password: needed(&mut self.password, "password")?,
            },
            Kind::Headers => AuthMethod::Headers(filled(&mut self.headers, "headers")?),
            Kind::Query => AuthMethod::Query(filled(&mut self.parameters, "parameters")?),
            Kind::Cookie => AuthMethod::Cookie(filled(&mut self.cookies, "cookies")?),
            Kind::Path => AuthMethod::Path { prefix: needed(&mut self.prefix, "prefix")? },
            Kind::Form => AuthMethod::Form(filled(&mut self.fields, "fields")?),
            Kind::Json => AuthMethod::Json(filled(&mut self.pointers, "pointers")?),
            Kind::AwsSigv4 => AuthMethod::AwsSigV4 {
                access_key_id: needed(&mut self.access_key_id, "access_key_id")?,
                secret_access_key: needed(&mut self.secret_access_key, "secret_access_key")?,
                session_token: self.session_token.take(),
                region: self.region.take(),
                service: self.service.take(),
            },
            Kind::Hmac => AuthMethod::Hmac(HmacMethod {
                key: needed(&mut self.key, "key")?,
                algorithm: self.algorithm.take().unwrap_or_default(),
                message: needed(&mut self.message, "message")?,
                header: needed(&mut self.header, "header")?,
                value: self.value.take().unwrap_or_else(|| "{signature}".to_owned().into()),
                encoding: self.encoding.take().unwrap_or_default(),
                timestamp_header: self.timestamp_header.take(),
            }),
            Kind::AzureSharedKey => AuthMethod::AzureSharedKey {
                account: needed(&mut self.account, "account")?,
                key: needed(&mut self.key, "key")?,
            },
            Kind::Oauth2Client => AuthMethod::OAuth2Client {
                token_url: needed(&mut self.token_url, "token_url")?,
                client_id: needed(&mut self.client_id, "client_id")?,
                client_secret: needed(&mut self.client_secret, "client_secret")?,
                client_auth: needed(&mut self.client_auth, "client_auth")?,
                scope: self.scope.take(),
            },
            Kind::Oauth2Jwt => AuthMethod::OAuth2Jwt {
                token_url: needed(&mut self.token_url, "token_url")?,
                service_account: needed(&mut self.service_account, "service_account")?,
                scope: needed(&mut self.scope, "scope")?,
            },
            Kind::ConnectionUrl => AuthMethod::ConnectionUrl { url: needed(&mut self.url, "url")? },
            Kind::Ssh => AuthMethod::Ssh {
                host: needed(&mut self.host, "host")?,
                user: needed(&mut self.user, "user")?,
                proof: match (self.password.take(), self.private_key.take()) {
                    (Some(password), None) => SshProof::Password(password),
                    (None, Some(key)) => SshProof::PrivateKey(key),
                    _ => return Err("ssh needs `password` or `private_key`, not both".to_owned()),
                },
            },
        })
    }

    /// A member that no part of the method took.
    fn left_over(&self) -> Option<&'static str> {
        let templates = [
            (&self.token, "token"),
            (&self.user, "user"),
            (&self.password, "password"),
            (&self.prefix, "prefix"),
            (&self.access_key_id, "access_key_id"),
            (&self.secret_access_key, "secret_access_key"),
            (&self.session_token, "session_token"),
            (&self.region, "region"),
            (&self.service, "service"),
            (&self.account, "account"),
            (&self.key, "key"),
            (&self.message, "message"),
            (&self.value, "value"),
            (&self.token_url, "token_url"),
            (&self.client_id, "client_id"),
            (&self.client_secret, "client_secret"),
            (&self.service_account, "service_account"),
            (&self.url, "url"),
            (&self.host, "host"),
            (&self.private_key, "private_key"),
        ];
        let maps = [
            (&self.headers, "headers"),
            (&self.parameters, "parameters"),
            (&self.cookies, "cookies"),
            (&self.fields, "fields"),
            (&self.pointers, "pointers"),
        ];
        let left = templates.into_iter().find(|(member, _)| member.is_some());
        let left = left.map(|(_, name)| name);
        let left = left.or_else(|| {
            maps.into_iter().find(|(member, _)| member.is_some()).map(|(_, name)| name)
        });
        let others = [
            (self.client_auth.is_some(), "client_auth"),
            (self.scope.is_some(), "scope"),
            (self.algorithm.is_some(), "algorithm"),
            (self.header.is_some(), "header"),
            (self.encoding.is_some(), "encoding"),
            (self.timestamp_header.is_some(), "timestamp_header"),
        ];
        left.or_else(|| others.into_iter().find(|(given, _)| *given).map(|(_, name)| name))
    }
}

impl AuthMethod {
    /// Every template in it.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Bearer { token: one }
            | Self::Path { prefix: one }
            | Self::ConnectionUrl { url: one } => vec![one],
            Self::Basic { user, password } => vec![user, password],
            Self::Headers(many)
            | Self::Query(many)
            | Self::Cookie(many)
            | Self::Form(many)
            | Self::Json(many) => many.values().collect(),
            Self::AwsSigV4 { access_key_id, secret_access_key, session_token, region, service } => {
                let more = [session_token, region, service].into_iter().flatten();
                [access_key_id, secret_access_key].into_iter().chain(more).collect()
            }
            // What the message and the value hold besides are parts of the request.
            Self::Hmac(hmac) => vec![&hmac.key],
            Self::AzureSharedKey { account, key } => vec![account, key],
            Self::OAuth2Client { token_url, client_id, client_secret, .. } => {
                vec![token_url, client_id, client_secret]
            }
            Self::OAuth2Jwt { token_url, service_account, .. } => vec![token_url, service_account],
            Self::Ssh {
                host,
                user,
                proof: SshProof::Password(proof) | SshProof::PrivateKey(proof),
            } => vec![host, user, proof],
        }
    }

    /// What it is called in files.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bearer { .. } => "bearer",
            Self::Basic { .. } => "basic",
            Self::Headers(_) => "headers",
            Self::Query(_) => "query",
            Self::Cookie(_) => "cookie",
            Self::Path { .. } => "path",
            Self::Form(_) => "form",
            Self::Json(_) => "json",
            Self::AwsSigV4 { .. } => "aws_sigv4",
            Self::Hmac(_) => "hmac",
            Self::AzureSharedKey { .. } => "azure_shared_key",
            Self::OAuth2Client { .. } => "oauth2_client",
            Self::OAuth2Jwt { .. } => "oauth2_jwt",
            Self::ConnectionUrl { .. } => "connection_url",
            Self::Ssh { .. } => "ssh",
        }
    }
}
