//! `keyreeve secret import`: from files of other tools, and from another vault.

mod aws;
mod history;
mod vault;

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, ensure};
use keyreeve_api::{Client, SecretFields, WriteHow};
use keyreeve_catalog::{Catalog, CredentialPlace, Mode};
use keyreeve_core::{Secret, vault::SecretPath};
use serde::Serialize;
use serde_json::value::to_raw_value;

use super::Outcome;
use crate::{
    catalogue,
    cli::secret::{ImportArgs, ImportFormat},
    config::Flags,
    context::Context,
    output::{
        canvas::{Canvas, Tone},
        printable::printable,
        progress,
        table::{Cell, Column, Table},
    },
    secret_files::{dotenv, dotenv::Assignment, structured},
};

/// The most bytes of a file.
const MOST_BYTES: u64 = 1 << 20;

const COLUMNS: &[Column] = &[
    Column::Free("FIELD"),
    Column::Free("SECRET"),
    Column::Free("WHAT IT IS"),
    Column::Whole("MODE"),
    Column::Free("REMARK"),
];

/// What becomes of one value. The value itself is not in here.
#[derive(Debug, Serialize)]
struct Row {
    secret: String,
    field: String,
    /// As the catalogue knows it: `stripe.secret_key`.
    credential: Option<String>,
    mode: Option<&'static str>,
    /// Why it is left out, or what to look at.
    remark: Option<String>,
    taken: bool,
}

/// A value and where it goes.
struct Planned {
    row: Row,
    value: Secret<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    taken: usize,
    left_out: usize,
    /// Secrets that got a new version.
    written: Vec<String>,
    /// Secrets that held all of it already.
    unchanged: Vec<String>,
    values: Vec<Row>,
}

pub(super) async fn run(
    args: &ImportArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    if let Some(url) = &args.from_vault {
        return vault::run(args, url, client, context).await;
    }
    if let Some(region) = &args.from_aws {
        return aws::run(args, region, client, context).await;
    }
    let hint = "name the files to import, or another store with --from-vault or --from-aws";
    ensure!(!args.files.is_empty(), hint);
    let environment =
        args.environment.as_ref().context("name an environment with --environment")?;
    let config = context.config(Flags::default())?;
    let catalog = catalogue::open(config.catalog.folder.as_deref())?;
    let mut planned = Vec::new();
    for file in &args.files {
        for assignment in read(file, args.form)? {
            planned.push(plan(args, environment.as_str(), &catalog, assignment)?);
        }
    }
    refuse_twice(&planned)?;
    let mut report = Report {
        dry_run: args.dry_run,
        taken: planned.iter().filter(|it| it.row.taken).count(),
        left_out: planned.iter().filter(|it| !it.row.taken).count(),
        written: Vec::new(),
        unchanged: Vec::new(),
        values: Vec::new(),
    };
    let mut secrets: BTreeMap<String, Vec<&Planned>> = BTreeMap::new();
    for it in planned.iter().filter(|it| it.row.taken) {
        secrets.entry(it.row.secret.clone()).or_default().push(it);
    }
    let all = secrets.len() as u64;
    // Everything is looked at before anything is written.
    let mut to_write = Vec::new();
    for (path, values) in &secrets {
        match changes(path, values, args, client).await? {
            None => report.unchanged.push(path.clone()),
            Some(change) => to_write.push((path.clone(), change)),
        }
    }
    let mut outcome = Ok(());
    for (done, (path, change)) in (1..).zip(to_write) {
        if !args.dry_run {
            outcome = change.write(&path, args.force, client).await;
            if outcome.is_err() {
                break;
            }
            context.output.progress(&progress::bar("importing", done, all));
        }
        report.written.push(path);
    }
    context.output.progress("");
    report.values = planned.into_iter().map(|it| it.row).collect();
    // What was done is told, however it ended.
    context.output.show(&report, page)?;
    outcome?;
    Ok(if report.left_out > 0 { Outcome::Negative } else { Outcome::Done })
}

/// Reads a file, in the form that its name or the option says.
fn read(path: &Path, form: Option<ImportFormat>) -> anyhow::Result<Vec<Assignment>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Secret::new(Vec::new());
    let file = File::open(path).with_context(cannot)?;
    // EXPOSE: filled. One byte more than is allowed tells that there is more.
    file.take(MOST_BYTES + 1).read_to_end(bytes.expose_mut()).with_context(cannot)?;
    // EXPOSE: measured and read.
    let bytes = bytes.expose();
    ensure!(bytes.len() as u64 <= MOST_BYTES, "{} is larger than 1 MiB", path.display());
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let form = form.unwrap_or(match ending {
        "json" => ImportFormat::Json,
        "yaml" | "yml" => ImportFormat::Yaml,
        _ => ImportFormat::Dotenv,
    });
    let read = match form {
        ImportFormat::Dotenv => dotenv::parse(bytes),
        ImportFormat::Json => structured::from_json(bytes),
        ImportFormat::Yaml => structured::from_yaml(bytes),
    };
    read.with_context(cannot)
}

fn plan(
    args: &ImportArgs,
    folder: &str,
    catalog: &Catalog,
    assignment: Assignment,
) -> anyhow::Result<Planned> {
    let Assignment { name: field, value, has_reference, .. } = assignment;
    // EXPOSE: looked at for what it is.
    let judge =
        |path: &str| catalog.judge(&CredentialPlace { path, field: &field }, value.expose());
    let usual = format!("{folder}{}", args.name);
    let known = judge(&usual).known;
    let secret = match known {
        Some(known) if args.by_provider => format!("{folder}{}", known.provider.id),
        _ => usual,
    };
    secret.parse::<SecretPath>().with_context(|| format!("{} is no path", printable(&secret)))?;
    let judged = judge(&secret);
    let objection = judged.objection.map(|objection| objection.to_string());
    let reference = has_reference.then(|| {
        "holds a reference to another variable, which is kept as it is written".to_owned()
    });
    let row = Row {
        secret,
        credential: judged.known.map(|known| known.name()),
        mode: judged.mode.map(Mode::as_str),
        taken: objection.is_none() || args.force,
        remark: objection.or(reference),
        field,
    };
    Ok(Planned { row, value })
}

/// One field must come from one place.
fn refuse_twice(planned: &[Planned]) -> anyhow::Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for it in planned {
        let (secret, field) = (&it.row.secret, &it.row.field);
        ensure!(
            seen.insert((secret, field)),
            "{} is given twice for {}",
            printable(field),
            printable(secret)
        );
    }
    Ok(())
}

/// What is to be written to one secret.
struct SecretChange {
    fields: SecretFields,
    /// The version that this was decided on; 0 for none.
    seen: u64,
    is_new: bool,
}

impl SecretChange {
    async fn write(&self, path: &str, force: bool, client: &Client) -> anyhow::Result<()> {
        let how = WriteHow { cas: Some(self.seen), force, ..WriteHow::default() };
        let written = if self.is_new {
            client.put_secret(path, &self.fields, how).await?
        } else {
            client.patch_secret(path, &self.fields, how).await?
        };
        written.with_context(|| format!("{} went away meanwhile", printable(path)))?;
        Ok(())
    }
}

/// What a secret lacks; `None` if it has all of it.
async fn changes(
    path: &str,
    values: &[&Planned],
    args: &ImportArgs,
    client: &Client,
) -> anyhow::Result<Option<SecretChange>> {
    let found = client.secret(path, None).await?;
    let seen = found.as_ref().map_or(0, |found| found.metadata.version);
    let there = found.and_then(|found| found.data);
    let is_new = there.is_none();
    let there = there.unwrap_or_default();
    let mut fields = BTreeMap::new();
    for it in values {
        let field = &it.row.field;
        // EXPOSE: compared, and sent to the server.
        let value = it.value.expose();
        match there.text(field) {
            Some(old) if old == *value => continue,
            Some(_) => ensure!(
                args.overwrite,
                "{} of {} has another value already: --overwrite replaces it",
                printable(field),
                printable(path)
            ),
            None => {}
        }
        fields.insert(field.clone(), to_raw_value(value)?);
    }
    let fields = SecretFields(fields);
    Ok((!fields.0.is_empty()).then_some(SecretChange { fields, seen, is_new }))
}

fn page(report: &Report, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for row in &report.values {
        let remark = match (&row.remark, row.taken) {
            (None, _) => Cell::new(""),
            (Some(remark), true) => Cell::toned(remark, Tone::Plain),
            (Some(remark), false) => Cell::toned(format!("left out: {remark}"), Tone::Bad),
        };
        table.row([
            Cell::new(printable(&row.field)),
            Cell::new(printable(&row.secret)),
            Cell::maybe(row.credential.as_deref()),
            Cell::maybe(row.mode),
            remark,
        ]);
    }
    let would = if report.dry_run { "would be " } else { "" };
    let mut lines = vec![table.draw(canvas), String::new()];
    lines.push(format!("{} of {} values {would}taken", report.taken, report.values.len()));
    for path in &report.written {
        lines.push(format!("{} {would}written", printable(path)));
    }
    for path in &report.unchanged {
        lines.push(format!("{} has them already", printable(path)));
    }
    if report.left_out > 0 {
        lines.push(format!("{} left out: --force takes them all the same", report.left_out));
    }
    lines.join("\n")
}
