//! Whether a credential is good: asked of the service itself, by a request or a sign-in without cost or
//! effect. What is asked is decided here; whoever moves the bytes asks it.

mod call;
mod sign_in;
mod url;

use std::{collections::BTreeMap, time::Duration};

use keyreeve_catalog::{Connect, Liveliness, Liveness, Provider};
use keyreeve_core::{
    Invalid,
    audit::Target as About,
    vault::{Capability, Found, SecretPath, VersionNumber},
};
use serde_json::{Value, json};

pub use self::{
    call::{CallProbe, Expected},
    sign_in::{Encryption, Protocol, SignIn},
};
use super::credential::Values;
use crate::{
    Engine, Error, FieldError, Permit,
    action::ManageConnections,
    store::Kind,
    vault::{VaultAccess, VaultError},
};

/// What is to be tested.
#[derive(Clone, Debug)]
pub enum ProbeSpec {
    /// A connection: whether the service takes its credential.
    Connection {
        /// Its name.
        name: String,
        /// What to `GET`; the catalogue says it if `None`.
        path: Option<String>,
    },
    /// A secret for a service that speaks no HTTP.
    Secret {
        /// Where it is kept.
        path: SecretPath,
        /// Whose it is; what is known of the secret if `None`.
        provider: Option<String>,
        /// What stands for fields that the secret does not have, such as the host.
        parameters: BTreeMap<String, String>,
        /// Whether the service may be on this machine or in a private network.
        allow_internal: bool,
        /// Whether the credential may go without TLS.
        allow_plaintext: bool,
    },
}

/// What is asked of a service.
#[derive(Debug)]
pub struct Probe {
    /// The service, for people.
    pub service: String,
    /// The version of the secret that is tested.
    pub version: VersionNumber,
    /// How it is asked.
    pub ask: Ask,
}

/// How a service is asked.
#[derive(Debug)]
pub enum Ask {
    /// By an HTTP request.
    Call(Box<CallProbe>),
    /// By signing in.
    SignIn(Box<SignIn>),
}

/// What a service said.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Whether the credential is good.
    pub verdict: Liveliness,
    /// The same in words. Nothing of the credential or of the answer's content.
    pub detail: String,
    /// The status, where it is HTTP.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
}

fn invalid(field: &str, rule: impl Into<String>) -> VaultError {
    VaultError::Invalid(FieldError::new(field, Invalid::new(rule.into())))
}

impl Engine {
    /// Makes what a service is to be asked. Durable in the audit before anything is sent.
    pub async fn prepare_probe(
        &self,
        permit: &Permit<'_, ManageConnections>,
        spec: ProbeSpec,
    ) -> Result<Probe, VaultError> {
        let (about, probe) = match spec {
            ProbeSpec::Connection { name, path } => {
                let probe = self.call_probe(permit, &name, path.as_deref()).await?;
                (About::new("connection", name), probe)
            }
            ProbeSpec::Secret { path, provider, parameters, allow_internal, allow_plaintext } => {
                let access = self.vault_access(permit.caller()).await?;
                let allowed =
                    sign_in::Allowed { internal: allow_internal, plaintext: allow_plaintext };
                let probe = self
                    .sign_in_probe(&access, &path, provider.as_deref(), parameters, allowed)
                    .await?;
                (About::new("secret", path.as_str()), probe)
            }
        };
        let mut entry = permit.entry(self.now(), about);
        entry.action = "connection.test".into();
        entry.details.insert("service".to_owned(), json!(probe.service));
        entry.details.insert("version".to_owned(), json!(probe.version));
        if let Ask::Call(call) = &probe.ask {
            entry.details.insert("method".to_owned(), json!(call.method));
            entry.details.insert("path".to_owned(), json!(call.target.path()));
        }
        self.begin(permit.project()).commit(entry).await.map_err(Error::from)?;
        Ok(probe)
    }

    async fn call_probe(
        &self,
        permit: &Permit<'_, ManageConnections>,
        name: &str,
        path: Option<&str>,
    ) -> Result<Probe, VaultError> {
        let project = permit.project();
        let connection = self.known_connection(project, name)?;
        let connection = connection.ok_or(Error::NotFound(Kind::Connection))?;
        let access = self.vault_access(permit.caller()).await?;
        let secret = &connection.settings.secret;
        // Whoever has a secret sent somewhere must be allowed to read it.
        self.permit_path(&access, Capability::Read, secret).await?;
        let known = self.known_secret(project, secret)?;
        let version = known.as_ref().and_then(|it| match it.find(None, self.now()) {
            Found::Readable(version, _) => Some(version),
            _ => None,
        });
        let version =
            version.ok_or_else(|| invalid("secret", "must have a version that can be read"))?;
        let fields = self.open_version_for(&access, secret, version).await?;
        let credential = connection
            .credential(version, false, &fields)
            .map_err(|why| invalid("secret", why.to_string()))?;
        let types = self.credential_types.as_ref();
        let known = connection.settings.provider.as_deref();
        let known = known.and_then(|id| types.and_then(|types| types.provider(id)));
        let values = Values::of(&fields);
        let service = connection.settings.base_url.to_string();
        let call = CallProbe::new(connection, credential, known, &values, path)
            .map_err(VaultError::Invalid)?;
        Ok(Probe { service, version, ask: Ask::Call(Box::new(call)) })
    }

    async fn sign_in_probe(
        &self,
        access: &VaultAccess,
        path: &SecretPath,
        provider: Option<&str>,
        parameters: BTreeMap<String, String>,
        allowed: sign_in::Allowed,
    ) -> Result<Probe, VaultError> {
        // Whoever has a secret sent to an address must be allowed to read it.
        self.permit_path(access, Capability::Read, path).await?;
        let known = self.known_secret(access.project(), path)?;
        let known = known.ok_or_else(|| VaultError::NotFound(path.clone()))?;
        let id = provider.or(known.about.provider.as_deref()).ok_or_else(|| {
            invalid("provider", "must be given: the secret is of no provider that is known")
        })?;
        let types = self.credential_types.as_ref();
        let Some((provider, _)) = types.and_then(|types| types.provider(id)) else {
            return Err(invalid("provider", "must be one of the catalogue"));
        };
        let Found::Readable(version, _) = known.find(None, self.now()) else {
            return Err(invalid("secret", "must have a version that can be read"));
        };
        let fields = self.open_version_for(access, path, version).await?;
        let given = Given { provider, parameters: &parameters, values: &Values::of(&fields) };
        given.check_parameters().map_err(VaultError::Invalid)?;
        let sign_in = given.sign_in(allowed).map_err(VaultError::Invalid)?;
        let service = format!("{}:{}", sign_in.host, sign_in.port);
        Ok(Probe { service, version, ask: Ask::SignIn(Box::new(sign_in)) })
    }
}

/// What a sign-in is made of.
struct Given<'a> {
    provider: &'a Provider,
    parameters: &'a BTreeMap<String, String>,
    values: &'a Values,
}

impl<'a> Given<'a> {
    /// The field of that name or of one of its usual names, else the parameter that was given, else what
    /// the catalogue takes for it. What is stored with a secret says where it may go.
    fn find(&self, name: &str) -> Option<&'a str> {
        let parameter = self.provider.parameters.iter().find(|it| it.id == name);
        let given = || self.parameters.get(name).map(String::as_str);
        let usual = || parameter.and_then(|it| it.default.as_deref());
        self.stored(name).or_else(given).or_else(usual)
    }

    fn stored(&self, name: &str) -> Option<&'a str> {
        let parameter = self.provider.parameters.iter().find(|it| it.id == name);
        let credential = self.provider.credential(name);
        let aliases = match (parameter, credential) {
            (Some(parameter), _) => &parameter.variables[..],
            (None, Some(credential)) => &credential.variables[..],
            (None, None) => &[],
        };
        self.values.named(name, aliases)
    }

    /// Whether the parameters say nothing else than the secret.
    fn check_parameters(&self) -> Result<(), FieldError> {
        for (name, given) in self.parameters {
            if self.stored(name).is_some_and(|stored| stored != given) {
                let rule =
                    "must be left out: the secret says otherwise, and it goes only where that says";
                return Err(FieldError::new(format!("parameters.{name}"), Invalid::new(rule)));
            }
        }
        Ok(())
    }

    fn need(&self, name: &str) -> Result<&'a str, FieldError> {
        let is_parameter = self.provider.parameters.iter().any(|it| it.id == name);
        self.find(name).ok_or_else(|| {
            let field =
                if is_parameter { format!("parameters.{name}") } else { "secret".to_owned() };
            let rule = format!("must be given, or the secret must have the field `{name}`");
            FieldError::new(field, Invalid::new(rule))
        })
    }

    /// The protocol that the provider is asked in, for the first credential that the secret has.
    fn liveness(&self) -> Option<(&'a Liveness, Connect)> {
        let mut all = self.provider.liveness.iter().filter_map(|it| Some((it, it.connect?)));
        all.find(|(liveness, _)| self.find(&liveness.credential).is_some())
    }
}

/// A provider of the catalogue, with its file as JSON.
type Known<'a> = Option<(&'a Provider, &'a Value)>;
