//! Other stores, as the settings name them.

use std::sync::Arc;

use anyhow::Context as _;
use keyreeve_connectors::backends::{AwsCredentials, AwsSecretsManager, VaultKv2, VaultLogin};
use keyreeve_core::{Invalid, Secret, vault::credential_digest};
use keyreeve_engine::vault::{BackendMode, BackendOptions, SecretBackend};

use crate::{
    config::{
        backends::{BackendConfig, KindConfig, LoginConfig, ModeConfig},
        secret::SecretReference,
    },
    environment::Environment,
    system::SystemClock,
};

/// Reads their credentials. None of them is asked anything yet.
pub(super) fn open(
    configs: &[BackendConfig],
    environment: &Environment,
) -> anyhow::Result<Vec<BackendOptions>> {
    let open = |config: &BackendConfig| {
        let remote = remote(config, environment)
            .with_context(|| format!("the backend {} cannot be used", config.name))?;
        Ok(BackendOptions {
            name: config.name.clone(),
            project: config.project.clone(),
            folder: config.folder.clone(),
            remote_folder: config.remote_folder.clone(),
            place: place(config),
            mode: match config.mode {
                ModeConfig::ReadThrough { fresh, stale } => {
                    BackendMode::ReadThrough { fresh, stale }
                }
                ModeConfig::Sync { overwrite } => BackendMode::Sync { overwrite },
            },
            remote,
        })
    };
    configs.iter().map(open).collect()
}

/// Stands for where the secrets of a backend are: here and there.
fn place(config: &BackendConfig) -> String {
    let there = match &config.kind {
        KindConfig::Vault { mount, namespace, .. } => format!("vault\n{mount}\n{namespace}"),
        // Nothing else tells one account from another; the same secrets are found again with a new key.
        KindConfig::Aws { region, access_key_id, .. } => format!("aws\n{region}\n{access_key_id}"),
    };
    let (folder, remote_folder) = (config.folder.as_str(), &config.remote_folder);
    credential_digest(&format!("{there}\n{}\n{folder}\n{remote_folder}", config.address))
}

fn remote(
    config: &BackendConfig,
    environment: &Environment,
) -> anyhow::Result<Arc<dyn SecretBackend>> {
    let text = |reference: &SecretReference| text(reference, environment);
    let rule = |invalid: Invalid| anyhow::anyhow!("it {}", invalid.rule());
    let address = config.address.clone();
    let clock = Arc::new(SystemClock::new());
    match &config.kind {
        KindConfig::Vault { mount, namespace, login } => {
            let login = match login {
                LoginConfig::Token(token) => VaultLogin::Token(text(token)?),
                LoginConfig::AppRole { role_id, secret_id } => {
                    VaultLogin::AppRole { role_id: role_id.clone(), secret_id: text(secret_id)? }
                }
            };
            Ok(Arc::new(VaultKv2::new(address, mount, namespace, login, clock).map_err(rule)?))
        }
        KindConfig::Aws { region, access_key_id, secret_access_key, session_token } => {
            let credentials = AwsCredentials {
                access_key_id: access_key_id.clone(),
                secret_access_key: text(secret_access_key)?,
                session_token: session_token.as_ref().map(text).transpose()?,
            };
            let aws = AwsSecretsManager::new(address, region.clone(), credentials, clock);
            Ok(Arc::new(aws.map_err(rule)?))
        }
    }
}

fn text(reference: &SecretReference, environment: &Environment) -> anyhow::Result<Secret<String>> {
    let bytes = reference.resolve(environment)?;
    // EXPOSE: copied as text.
    let text = String::from_utf8(bytes.expose().clone());
    let text = text.ok().with_context(|| format!("{reference} is not UTF-8"))?;
    Ok(Secret::new(text))
}
