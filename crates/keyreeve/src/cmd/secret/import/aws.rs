//! Taking over what AWS Secrets Manager holds: the current version of each secret, the one before and the
//! one that waits. Older ones have no name there, and go by themselves.

use std::sync::Arc;

use anyhow::Context as _;
use keyreeve_api::{Client, SecretBounds, SecretFields};
use keyreeve_connectors::{
    backends::{AwsCredentials, AwsSecretsManager, StagedVersion},
    http::ServiceAddress,
};
use keyreeve_core::{Invalid, Secret};
use keyreeve_engine::vault::BackendError;

use super::{
    super::Outcome,
    history::{History, OldVersion, take_over_all},
};
use crate::{
    cli::secret::ImportArgs, context::Context, environment::Environment, system::SystemClock,
};

pub(super) async fn run(
    args: &ImportArgs,
    region: &str,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let source = source(region, &context.environment)?;
    let (from, target) = (args.from_path.as_str(), args.target());
    let names = source.names(from).await.map_err(|error| said(&error))?;
    let read = async |name: &str| {
        let rest = name.strip_prefix(from).unwrap_or(name).trim_start_matches('/');
        let versions = source.history(name).await.map_err(|error| said(&error))?;
        history(versions, format!("{target}{rest}"))
    };
    take_over_all(args, &names, read, client, context).await
}

/// The store, with the credential that AWS's own programs take from the environment.
fn source(region: &str, environment: &Environment) -> anyhow::Result<AwsSecretsManager> {
    let given = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let needed = |name: &str| given(name).with_context(|| format!("put it into {name}"));
    let credentials = AwsCredentials {
        access_key_id: needed("AWS_ACCESS_KEY_ID")
            .context("the id of an access key is needed")?
            .to_owned(),
        secret_access_key: Secret::new(
            needed("AWS_SECRET_ACCESS_KEY").context("an access key is needed")?.to_owned(),
        ),
        session_token: given("AWS_SESSION_TOKEN").map(|token| Secret::new(token.to_owned())),
    };
    let own = ["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"].into_iter().find_map(given);
    let address = own.map_or_else(|| AwsSecretsManager::usual_address(region), str::to_owned);
    let plaintext = environment.get("KEYREEVE_ALLOW_PLAINTEXT") == Some("1");
    let rule = |what: &'static str| move |rule: Invalid| anyhow::anyhow!("{what} {}", rule.rule());
    let address = ServiceAddress::parse(&address, plaintext).map_err(rule("AWS_ENDPOINT_URL"))?;
    let clock = Arc::new(SystemClock::new());
    AwsSecretsManager::new(address, region.to_owned(), credentials, clock)
        .map_err(rule("the region"))
}

fn said(error: &BackendError) -> anyhow::Error {
    anyhow::anyhow!("AWS Secrets Manager {error}")
}

fn history(staged: Vec<StagedVersion>, path: String) -> anyhow::Result<History> {
    let current = staged.iter().position(|it| it.stage == "AWSCURRENT");
    let versions = staged.into_iter().map(|StagedVersion { stage, version }| {
        // EXPOSE: copied field by field, to be sent on.
        let fields: SecretFields = serde_json::from_str(version.fields.text().expose())
            .context("AWS Secrets Manager gave no JSON object")?;
        Ok(OldVersion { name: stage, fields })
    });
    let versions = versions.collect::<anyhow::Result<_>>()?;
    Ok(History { path, versions, current, bounds: SecretBounds::default(), remark: None })
}
