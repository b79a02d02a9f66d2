//! Taking over what another vault holds: Vault or OpenBao, KV version 2, with its versions.

use std::path::Path;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use keyreeve_api::{Client, SecretBounds, SecretVersionView};
use keyreeve_core::Secret;

use super::{
    super::Outcome,
    history::{History, OldVersion, take_over_all},
};
use crate::{
    cli::secret::ImportArgs, connect::Whereabouts, context::Context, output::printable::printable,
};

/// The most secrets and folders that are taken over.
const MOST_NAMES: usize = 1_000_000;

pub(super) async fn run(
    args: &ImportArgs,
    url: &str,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let token = ["VAULT_TOKEN", "BAO_TOKEN"].into_iter().find_map(|it| context.environment.get(it));
    let token = token.context("put the other vault's token into VAULT_TOKEN")?;
    let allow_plaintext = context.environment.get("KEYREEVE_ALLOW_PLAINTEXT") == Some("1");
    let token = Secret::new(token.to_owned());
    let whereabouts = Whereabouts {
        url: Some(url),
        data_dir: Path::new(""),
        project: None,
        token: Some(&token),
        allow_plaintext,
    };
    let source = whereabouts.connect()?.at_mount(args.mount.trim_matches('/'));
    let (from, target) = (args.from_path.as_str(), args.target());
    let names = names_below(&source, from).await?;
    let read = async |name: &str| {
        let (old, new) = (format!("{from}{name}"), format!("{target}{name}"));
        history(&source, &old, new, context.now).await
    };
    take_over_all(args, &names, read, client, context).await
}

/// The names of all secrets below a folder, found folder by folder: not every vault lists all at once.
async fn names_below(source: &Client, from: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for name in source.list_secrets(&format!("{from}{folder}"), false, None).await? {
            let name = format!("{folder}{name}");
            ensure!(
                names.len() + folders.len() < MOST_NAMES,
                "there are more than {MOST_NAMES} names"
            );
            if name.ends_with('/') { folders.push(name) } else { names.push(name) }
        }
    }
    names.sort();
    Ok(names)
}

/// Reads all versions of a secret that can be read.
async fn history(
    source: &Client,
    old: &str,
    path: String,
    now: Timestamp,
) -> anyhow::Result<History> {
    let known = source.secret_metadata(old).await?;
    let known = known.with_context(|| format!("{} went away meanwhile", printable(old)))?;
    let mut numbers: Vec<u64> = Vec::new();
    for (number, version) in &known.versions {
        if is_readable(version, now)? {
            numbers.push(number.parse().context("the other vault names a version oddly")?);
        }
    }
    numbers.sort_unstable();
    let mut versions = Vec::new();
    let mut current = None;
    for number in numbers {
        let found = source.secret(old, Some(number)).await?;
        let Some(fields) = found.and_then(|found| found.data) else { continue };
        if number == known.current_version {
            current = Some(versions.len());
        }
        versions.push(OldVersion { name: number.to_string(), fields });
    }
    let gone = known.versions.len() - versions.len();
    let remark =
        (gone > 0).then(|| format!("{gone} deleted or destroyed versions were passed over"));
    let bounds = SecretBounds {
        max_versions: known.max_versions,
        cas_required: known.cas_required,
        delete_version_after: known.delete_version_after,
        custom_metadata: known.custom_metadata.unwrap_or_default(),
    };
    Ok(History { path, versions, current, bounds, remark })
}

/// Whether it is there now: its end may lie ahead.
fn is_readable(version: &SecretVersionView, now: Timestamp) -> anyhow::Result<bool> {
    if version.destroyed || version.deletion_time.is_empty() {
        return Ok(!version.destroyed);
    }
    let end: Timestamp =
        version.deletion_time.parse().context("the other vault writes a time oddly")?;
    Ok(end > now)
}
