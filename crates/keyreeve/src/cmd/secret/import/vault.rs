//! Taking over what another vault holds: Vault or OpenBao, KV version 2, with its versions.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use keyreeve_api::{Client, SecretFields, SecretVersionView, WriteHow};
use keyreeve_catalog::{Catalog, CredentialPlace};
use keyreeve_core::Secret;
use serde::Serialize;

use super::super::Outcome;
use crate::{
    catalogue,
    cli::secret::ImportArgs,
    config::Flags,
    connect::Whereabouts,
    context::Context,
    output::{
        canvas::Canvas,
        printable::printable,
        progress,
        table::{Cell, Column, Table},
    },
};

/// The most secrets and folders that are taken over.
const MOST_NAMES: usize = 1_000_000;

const COLUMNS: &[Column] =
    &[Column::Free("SECRET"), Column::Whole("VERSIONS"), Column::Free("REMARK")];

#[derive(Debug, Serialize)]
struct Row {
    secret: String,
    versions: usize,
    remark: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    secrets: Vec<Row>,
}

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
    let target = args.environment.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default();
    let from = args.from_path.as_str();
    let config = context.config(Flags::default())?;
    let catalog = catalogue::open(config.catalog.folder.as_deref())?;
    let names = names_below(&source, from).await?;
    let mut report = Report { dry_run: args.dry_run, secrets: Vec::new() };
    let all = names.len() as u64;
    for (done, name) in (1..).zip(&names) {
        let (old, new) = (format!("{from}{name}"), format!("{target}{name}"));
        report.secrets.push(take_over(args, &catalog, &source, &old, client, new).await?);
        context.output.progress(&progress::bar("importing", done, all));
    }
    context.output.progress("");
    context.output.show(&report, page)?;
    let refused = report.secrets.iter().any(|row| row.remark.is_some() && row.versions == 0);
    Ok(if refused { Outcome::Negative } else { Outcome::Done })
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

/// Writes the versions of one secret in their order. A secret that is here already is left alone: a
/// take-over that was broken off goes on with the next.
async fn take_over(
    args: &ImportArgs,
    catalog: &Catalog,
    source: &Client,
    old: &str,
    client: &Client,
    new: String,
) -> anyhow::Result<Row> {
    let known = source.secret_metadata(old).await?;
    let known = known.with_context(|| format!("{} went away meanwhile", printable(old)))?;
    let there = client.secret_metadata(&new).await?;
    if there.as_ref().is_some_and(|there| there.current_version > 0) {
        let remark = Some("is here already, and was left alone".to_owned());
        return Ok(Row { secret: new, versions: 0, remark });
    }
    let mut numbers: Vec<u64> = Vec::new();
    for (number, version) in &known.versions {
        if is_readable(version) {
            numbers.push(number.parse().context("the other vault names a version oddly")?);
        }
    }
    numbers.sort_unstable();
    let gone = known.versions.len() - numbers.len();
    let mut versions = Vec::new();
    for number in numbers {
        let found = source.secret(old, Some(number)).await?;
        let Some(fields) = found.and_then(|found| found.data) else { continue };
        // All are looked at before any is written: half a history would make an old value current.
        if let Some(remark) = objection(catalog, &new, number, &fields).filter(|_| !args.force) {
            return Ok(Row { secret: new, versions: 0, remark: Some(remark) });
        }
        versions.push((number, fields));
    }
    let mut written = 0;
    for (number, fields) in versions {
        if !args.dry_run {
            let how = WriteHow { cas: Some(written), force: args.force, pending: false };
            let version = client.put_secret(&new, &fields, how).await;
            let version = version
                .with_context(|| format!("version {number} of {} was not taken", printable(old)))?;
            if version.map(|version| version.version) != Some(written + 1) {
                bail!("{} changed while it was written", printable(&new));
            }
        }
        written += 1;
    }
    if !args.dry_run
        && let Some(notes) = known.custom_metadata.filter(|notes| !notes.is_empty())
    {
        client.set_secret_notes(&new, &notes).await?;
    }
    let remark =
        (gone > 0).then(|| format!("{gone} deleted or destroyed versions were passed over"));
    Ok(Row { secret: new, versions: usize::try_from(written).unwrap_or(usize::MAX), remark })
}

/// Why a version would be refused.
fn objection(catalog: &Catalog, path: &str, number: u64, fields: &SecretFields) -> Option<String> {
    fields.0.keys().find_map(|field| {
        let value = fields.text(field)?;
        let objection = catalog.judge(&CredentialPlace { path, field }, &value).objection?;
        let field = printable(field);
        Some(format!("left out: {field} of version {number} {objection}; --force takes it"))
    })
}

fn is_readable(version: &SecretVersionView) -> bool {
    !version.destroyed && version.deletion_time.is_empty()
}

fn page(report: &Report, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for row in &report.secrets {
        table.row([
            Cell::new(printable(&row.secret)),
            Cell::new(row.versions.to_string()),
            Cell::maybe(row.remark.as_deref()),
        ]);
    }
    let versions: usize = report.secrets.iter().map(|row| row.versions).sum();
    let would = if report.dry_run { "would be " } else { "" };
    let total = format!("{versions} versions of {} secrets {would}taken", report.secrets.len());
    format!("{}\n\n{total}", table.draw(canvas))
}
