//! `keyreeve secret describe`, `explain` and `used`: what is known of secrets besides their values.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keyreeve_api::{Client, ListAuditQuery, SecretAbout};
use keyreeve_core::vault::SecretPath;
use serde::Serialize;

use super::{Outcome, nothing_at};
use crate::{
    cli::secret::{DescribeArgs, ExplainArgs, LabelArgs, PromoteArgs},
    context::Context,
    output::{
        fields::Fields,
        printable::printable,
        table::{Cell, Column, Table},
    },
};

/// The most reads that are looked at.
const MOST_READS: usize = 10_000;

const USED: &[Column] =
    &[Column::Free("WHO"), Column::Whole("VERSION"), Column::Whole("READS"), Column::Free("LAST")];

pub(super) async fn describe(
    args: &DescribeArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let path = args.path.as_str();
    let change = SecretAbout {
        provider: args.provider.clone(),
        owner: args.owner.clone(),
        risk: args.risk.clone(),
        expires_at: args.expires.map(|at| at.to_string()),
        rotate_every_days: args.rotate_every_days,
        ..SecretAbout::default()
    };
    if change != SecretAbout::default() {
        client.secret_about(path).await?.ok_or_else(|| nothing_at(&args.path))?;
        client.describe_secret(path, &change).await?;
    }
    let about = client.secret_about(path).await?.ok_or_else(|| nothing_at(&args.path))?;
    context.output.show(&Shown::of(&about), |_, canvas| {
        let mut fields = Fields::default();
        let labels: Vec<String> =
            about.labels.iter().map(|(label, version)| format!("{label} {version}")).collect();
        let days = about.rotate_every_days.map(|days| format!("every {days} days"));
        fields
            .add("path", path)
            .maybe("provider", about.provider.as_deref())
            .maybe("owner", about.owner.as_deref())
            .maybe("risk", about.risk.as_deref())
            .maybe("expires", about.expires_at.as_deref())
            .maybe("to be changed", days.as_deref())
            .list("versions", &labels);
        fields.draw(canvas)
    })?;
    Ok(Outcome::Done)
}

/// What is known of a secret, its labels among it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    about: &'a SecretAbout,
    labels: &'a BTreeMap<String, u64>,
}

impl<'a> Shown<'a> {
    fn of(about: &'a SecretAbout) -> Self {
        Self { about, labels: &about.labels }
    }
}

pub(super) async fn explain(
    args: &ExplainArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let why = client.explain(args.path.as_str(), &args.policies).await?;
    let why = why.ok_or_else(|| anyhow::anyhow!("the server did not explain it"))?;
    context.output.show(&why, |why, _| {
        let path = printable(&why.path);
        let granted = why.granted.join(", ");
        match &why.pattern {
            _ if why.everything => format!("{path}: everything, whatever policies say"),
            None => format!("{path}: nothing, for no pattern of any policy matches"),
            Some(pattern) => format!(
                "{path}: {}\ndecided by the pattern {} of {}",
                if granted.is_empty() { "nothing" } else { &granted },
                printable(pattern),
                why.policies.join(" and "),
            ),
        }
    })?;
    Ok(Outcome::Done)
}

pub(super) async fn promote(
    args: &PromoteArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let promoted = client.promote_secret(args.path.as_str(), args.version).await?;
    let promoted = promoted.ok_or_else(|| nothing_at(&args.path))?;
    let path = printable(args.path.as_str());
    context.output.show(&promoted, |it, _| format!("{path} is version {} now", it.version))?;
    Ok(Outcome::Done)
}

pub(super) async fn label(
    args: &LabelArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let path = args.path.as_str();
    client.secret_about(path).await?.ok_or_else(|| nothing_at(&args.path))?;
    client.label_secret(path, &args.label, args.version).await?;
    let view = serde_json::json!({ "path": path, "label": args.label, "version": args.version });
    context.output.show(&view, |_, _| match args.version {
        Some(version) => format!("{} is version {version} of {}", args.label, printable(path)),
        None => format!("no version of {} is called {} any more", printable(path), args.label),
    })?;
    Ok(Outcome::Done)
}

/// Who read a version how often.
#[derive(Debug, Serialize)]
struct Use {
    actor: String,
    version: u64,
    reads: u64,
    last: Timestamp,
}

pub(super) async fn used(
    path: &SecretPath,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    client.secret_about(path.as_str()).await?.ok_or_else(|| nothing_at(path))?;
    let mut query = ListAuditQuery {
        action: Some("secret.read".to_owned()),
        target: Some(path.to_string()),
        outcome: Some("done".to_owned()),
        limit: Some(1_000),
        ..ListAuditQuery::default()
    };
    let mut uses: BTreeMap<(String, u64), Use> = BTreeMap::new();
    let mut seen = 0;
    while seen < MOST_READS {
        let page = client.list_audit(&query).await?;
        seen += page.items.len();
        for entry in page.items {
            let version = entry.details.get("version").and_then(serde_json::Value::as_u64);
            let version = version.unwrap_or(0);
            // The newest comes first.
            let place = uses.entry((entry.actor.clone(), version)).or_insert_with(|| Use {
                actor: entry.actor.clone(),
                version,
                reads: 0,
                last: entry.at,
            });
            place.reads += 1;
        }
        match page.next_cursor {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    let mut uses: Vec<Use> = uses.into_values().collect();
    uses.sort_by_key(|it| std::cmp::Reverse(it.last));
    context.output.show(&uses, |uses, canvas| {
        let mut table = Table::new(USED);
        for it in uses {
            table.row([
                Cell::new(printable(&it.actor)),
                Cell::new(it.version.to_string()),
                Cell::new(it.reads.to_string()),
                Cell::new(canvas.moment(it.last)),
            ]);
        }
        table.draw(canvas)
    })?;
    if uses.is_empty() && !context.output.is_json() {
        context.output.note("nobody has read it")?;
    }
    Ok(Outcome::Done)
}
