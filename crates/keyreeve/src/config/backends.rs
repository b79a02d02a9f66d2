//! Other stores that hold secrets of the vault.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use keyreeve_connectors::{backends::AwsSecretsManager, http::ServiceAddress};
use keyreeve_core::{Invalid, name::ProjectName, vault::SecretPathPrefix};
use serde::Deserialize;

use super::{fault::Rules, rule::span, secret::SecretReference};

const LONGEST_FRESH: SignedDuration = SignedDuration::from_hours(24);
const LONGEST_STALE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One `[backends.NAME]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendConfig {
    /// What it is called.
    pub(crate) name: String,
    /// The tenant.
    pub(crate) project: ProjectName,
    /// The folder here.
    pub(crate) folder: SecretPathPrefix,
    /// The same folder there.
    pub(crate) remote_folder: String,
    /// Which of the two counts.
    pub(crate) mode: ModeConfig,
    /// Where it is.
    pub(crate) address: ServiceAddress,
    /// What it is, and how it is reached.
    pub(crate) kind: KindConfig,
}

/// Which of two stores counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeConfig {
    /// The other one.
    ReadThrough { fresh: SignedDuration, stale: SignedDuration },
    /// This one.
    Sync { overwrite: bool },
}

/// What a store is, and with which credential it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KindConfig {
    /// HashiCorp Vault or OpenBao.
    Vault { mount: String, namespace: String, login: LoginConfig },
    /// AWS Secrets Manager.
    Aws {
        region: String,
        access_key_id: String,
        secret_access_key: SecretReference,
        session_token: Option<SecretReference>,
    },
}

/// How a Vault is logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoginConfig {
    /// With a token.
    Token(SecretReference),
    /// As a role.
    AppRole { role_id: String, secret_id: SecretReference },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBackend {
    kind: String,
    mode: String,
    project: String,
    folder: String,
    remote_folder: String,
    address: String,
    plaintext: String,
    mount: String,
    namespace: String,
    token: String,
    role_id: String,
    secret_id: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    fresh: String,
    stale: String,
    conflict: String,
}

/// Judges all of them.
pub(super) fn resolve(
    raw: BTreeMap<String, RawBackend>,
    rules: &mut Rules<'_>,
) -> Option<Vec<BackendConfig>> {
    // Every one is judged before any is given up.
    let judged: Vec<_> = raw.into_iter().map(|(name, raw)| raw.resolve(name, rules)).collect();
    let backends = judged.into_iter().collect::<Option<Vec<_>>>()?;
    for (n, one) in backends.iter().enumerate() {
        if backends.iter().take(n).any(|other| overlap(one, other)) {
            let rule = "must not lie in another folder that is read through, nor that in it";
            let key = format!("backends.{}.folder", one.name);
            rules.keep(&key, Err::<(), _>(Invalid::new(rule)))?;
        }
    }
    Some(backends)
}

fn overlap(one: &BackendConfig, other: &BackendConfig) -> bool {
    let through = |it: &BackendConfig| matches!(it.mode, ModeConfig::ReadThrough { .. });
    let (a, b) = (one.folder.as_str(), other.folder.as_str());
    through(one)
        && through(other)
        && one.project == other.project
        && (a.starts_with(b) || b.starts_with(a))
}

impl RawBackend {
    fn resolve(self, name: String, rules: &mut Rules<'_>) -> Option<BackendConfig> {
        let key = |setting: &str| format!("backends.{name}.{setting}");
        let project = rules.keep(&key("project"), self.project.parse());
        let folder = rules.keep(&key("folder"), self.folder.parse::<SecretPathPrefix>());
        let there = self.remote_folder.parse::<SecretPathPrefix>();
        let there = rules.keep(&key("remote_folder"), there);
        let allow = one_of(&self.plaintext, [("refuse", false), ("allow", true)]);
        let allow = rules.keep(&key("plaintext"), allow);
        let mode = self.mode(&key, rules);
        let kind = one_of(&self.kind, [("vault", true), ("aws-secrets-manager", false)]);
        let is_vault = rules.keep(&key("kind"), kind)?;
        let usual = AwsSecretsManager::usual_address(&self.region);
        let address = if is_vault || !self.address.is_empty() { &self.address } else { &usual };
        let address = ServiceAddress::parse(address, allow.unwrap_or(true));
        let address = rules.keep(&key("address"), address);
        let kind = if is_vault { self.vault(&key, rules) } else { self.aws(&key, rules) };
        Some(BackendConfig {
            project: project?,
            folder: folder?,
            remote_folder: there?.as_str().to_owned(),
            mode: mode?,
            address: address?,
            kind: kind?,
            name,
        })
    }

    fn mode(&self, key: &impl Fn(&str) -> String, rules: &mut Rules<'_>) -> Option<ModeConfig> {
        let fresh = span(&self.fresh, &(SignedDuration::ZERO..=LONGEST_FRESH));
        let fresh = rules.keep(&key("fresh"), fresh);
        let stale = span(&self.stale, &(SignedDuration::ZERO..=LONGEST_STALE));
        let stale = rules.keep(&key("stale"), stale);
        let overwrite = one_of(&self.conflict, [("keep", false), ("overwrite", true)]);
        let overwrite = rules.keep(&key("conflict"), overwrite);
        let mode = one_of(&self.mode, [("read-through", true), ("sync", false)]);
        let is_through = rules.keep(&key("mode"), mode)?;
        let (fresh, stale, overwrite) = (fresh?, stale?, overwrite?);
        if is_through {
            return Some(ModeConfig::ReadThrough { fresh, stale });
        }
        Some(ModeConfig::Sync { overwrite })
    }

    fn vault(&self, key: &impl Fn(&str) -> String, rules: &mut Rules<'_>) -> Option<KindConfig> {
        let token = rules.keep(&key("token"), SecretReference::parse(&self.token))?;
        let secret_id = rules.keep(&key("secret_id"), SecretReference::parse(&self.secret_id))?;
        let login = match (token, secret_id) {
            (Some(token), None) if self.role_id.is_empty() => Ok(LoginConfig::Token(token)),
            (None, Some(secret_id)) if !self.role_id.is_empty() => {
                Ok(LoginConfig::AppRole { role_id: self.role_id.clone(), secret_id })
            }
            _ => Err(Invalid::new("must be given, or role_id and secret_id instead")),
        };
        let login = rules.keep(&key("token"), login)?;
        let (mount, namespace) = (self.mount.clone(), self.namespace.clone());
        Some(KindConfig::Vault { mount, namespace, login })
    }

    fn aws(&self, key: &impl Fn(&str) -> String, rules: &mut Rules<'_>) -> Option<KindConfig> {
        let given = |text: &str| match text {
            "" => Err(Invalid::new("must be given")),
            text => Ok(text.to_owned()),
        };
        let region = rules.keep(&key("region"), given(&self.region));
        let access_key_id = rules.keep(&key("access_key_id"), given(&self.access_key_id));
        let secret = SecretReference::parse(&self.secret_access_key)
            .and_then(|secret| secret.ok_or_else(|| Invalid::new("must be given")));
        let secret_access_key = rules.keep(&key("secret_access_key"), secret);
        let session_token = SecretReference::parse(&self.session_token);
        let session_token = rules.keep(&key("session_token"), session_token);
        Some(KindConfig::Aws {
            region: region?,
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
            session_token: session_token?,
        })
    }
}

/// A word out of a few.
fn one_of<T: Copy, const N: usize>(text: &str, words: [(&str, T); N]) -> Result<T, Invalid> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Invalid::new(format!("must be one of {}", words.join(", ")))
    })
}
