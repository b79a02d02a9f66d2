//! Writing the versions of a secret that another store has had so far.

use anyhow::{Context as _, ensure};
use keyreeve_api::{Client, SecretBounds, SecretFields, SecretMetadataView, WriteHow};
use keyreeve_catalog::{Catalog, CredentialPlace};
use serde::Serialize;

use super::super::Outcome;
use crate::{
    catalogue,
    cli::secret::ImportArgs,
    config::Flags,
    context::Context,
    output::{
        canvas::Canvas,
        printable::printable,
        progress,
        table::{Cell, Column, Table},
    },
};

/// How many versions a secret keeps that says nothing of it.
const USUAL_VERSIONS: usize = 10;

const COLUMNS: &[Column] =
    &[Column::Free("SECRET"), Column::Whole("VERSIONS"), Column::Free("REMARK")];

/// A secret of another store: what of it can be read, from the oldest version to the newest.
#[derive(Debug)]
pub(super) struct History {
    /// Where it is to be here.
    pub(super) path: String,
    pub(super) versions: Vec<OldVersion>,
    /// Which of them is the current one there; `None` if that is deleted.
    pub(super) current: Option<usize>,
    /// What bounds it, with its notes.
    pub(super) bounds: SecretBounds,
    /// What was passed over.
    pub(super) remark: Option<String>,
}

#[derive(Debug)]
pub(super) struct OldVersion {
    /// What it is called there.
    pub(super) name: String,
    pub(super) fields: SecretFields,
}

/// What became of one secret.
#[derive(Debug, Serialize)]
struct Row {
    secret: String,
    versions: usize,
    remark: Option<String>,
    #[serde(skip)]
    was_left_out: bool,
}

/// What became of all of them.
#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    secrets: Vec<Row>,
}

/// What is here already of a secret that is taken over.
enum There {
    /// So many of its versions, and none of them is current: a take-over that was broken off goes on.
    Some(usize),
    /// Something else, or all of it.
    Other(&'static str),
}

/// Takes over secrets one after the other, each as `history` reads it, and tells what was done, however it
/// ends.
pub(super) async fn take_over_all(
    args: &ImportArgs,
    names: &[String],
    history: impl AsyncFn(&str) -> anyhow::Result<History>,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let config = context.config(Flags::default())?;
    let catalog = catalogue::open(config.catalog.folder.as_deref())?;
    let mut report = Report { dry_run: args.dry_run, secrets: Vec::new() };
    let mut outcome = Ok(());
    for (done, name) in (1..).zip(names) {
        let taken = async { take_over(history(name).await?, args, &catalog, client).await };
        match taken.await {
            Ok(row) => report.secrets.push(row),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        context.output.progress(&progress::bar("importing", done, names.len() as u64));
    }
    context.output.progress("");
    context.output.show(&report, page)?;
    outcome?;
    let is_partial = report.secrets.iter().any(|row| row.was_left_out);
    Ok(if is_partial { Outcome::Negative } else { Outcome::Done })
}

/// Writes the versions in their order. None of them is read before the one that is current at the source
/// is promoted: half a history would make an old value current.
async fn take_over(
    history: History,
    args: &ImportArgs,
    catalog: &Catalog,
    client: &Client,
) -> anyhow::Result<Row> {
    let History { path, versions, current, bounds, remark } = history;
    let left_out = |path: String, remark: String| Row {
        secret: path,
        versions: 0,
        remark: Some(remark),
        was_left_out: true,
    };
    let objection = versions.iter().find_map(|version| objection(catalog, &path, version));
    if let Some(objection) = objection.filter(|_| !args.force) {
        return Ok(left_out(path, objection));
    }
    let written = match client.secret_metadata(&path).await? {
        None => 0,
        Some(there) => match compare(client, &path, &there, &versions).await? {
            There::Some(written) => written,
            There::Other(remark) => return Ok(left_out(path, remark.to_owned())),
        },
    };
    if !args.dry_run {
        if written == 0 {
            let bounds = keeping(bounds, versions.len());
            if !bounds.are_usual() {
                client.set_secret_bounds(&path, &bounds).await?;
            }
        }
        for (number, version) in (1_u64..).zip(&versions).skip(written) {
            write(client, &path, number, version, args.force).await?;
        }
        if let Some(current) = current {
            let promoted = client.promote_secret(&path, Some(current as u64 + 1)).await?;
            promoted.with_context(|| format!("{} went away meanwhile", printable(&path)))?;
        }
    }
    let waits = "its current version is deleted there: what is older waits here until \
                 `keyreeve secret promote` makes it current";
    let remarks = [remark, current.is_none().then(|| waits.to_owned())];
    let remark = remarks.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let remark = Some(remark).filter(|remark| !remark.is_empty());
    Ok(Row { secret: path, versions: versions.len(), remark, was_left_out: false })
}

/// Room for all versions, where the source does not say how many it keeps.
fn keeping(mut bounds: SecretBounds, versions: usize) -> SecretBounds {
    if bounds.max_versions == 0 && versions > USUAL_VERSIONS {
        bounds.max_versions = versions as u64;
    }
    bounds
}

async fn write(
    client: &Client,
    path: &str,
    number: u64,
    version: &OldVersion,
    force: bool,
) -> anyhow::Result<()> {
    // Nothing is current yet, and nobody may change that meanwhile.
    let how = WriteHow { cas: Some(0), force, pending: true };
    let written = client.put_secret(path, &version.fields, how).await.with_context(|| {
        format!("version {} of {} was not taken", printable(&version.name), printable(path))
    })?;
    ensure!(
        written.map(|written| written.version) == Some(number),
        "{} changed while it was written",
        printable(path)
    );
    Ok(())
}

async fn compare(
    client: &Client,
    path: &str,
    there: &SecretMetadataView,
    versions: &[OldVersion],
) -> anyhow::Result<There> {
    if there.current_version > 0 {
        return Ok(There::Other("is here already, and was left alone"));
    }
    let other = There::Other("is here already with other versions, and was left alone");
    let written = there.versions.len();
    if written > versions.len() {
        return Ok(other);
    }
    for (number, version) in (1_u64..).zip(versions.iter().take(written)) {
        let found = client.secret(path, Some(number)).await?.and_then(|found| found.data);
        if !found.is_some_and(|found| is_same(&found, &version.fields)) {
            return Ok(other);
        }
    }
    Ok(There::Some(written))
}

fn is_same(one: &SecretFields, other: &SecretFields) -> bool {
    one.0.len() == other.0.len()
        && one
            .0
            .iter()
            .all(|(name, value)| other.0.get(name).is_some_and(|other| other.get() == value.get()))
}

/// Why a version would be refused.
fn objection(catalog: &Catalog, path: &str, version: &OldVersion) -> Option<String> {
    version.fields.0.keys().find_map(|field| {
        let value = version.fields.text(field)?;
        let objection = catalog.judge(&CredentialPlace { path, field }, &value).objection?;
        let (field, name) = (printable(field), printable(&version.name));
        Some(format!("left out: {field} of version {name} {objection}; --force takes it"))
    })
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
