//! `keyreeve catalog`.

use anyhow::bail;
use keyreeve_catalog::Catalog;
use serde::Serialize;
use serde_json::json;

use super::Outcome;
use crate::{
    catalogue,
    cli::catalog::{CatalogCommand, ListArgs, ShowArgs, ValidateArgs},
    config::Flags,
    context::Context,
    output::catalog,
};

pub(super) fn run(command: &CatalogCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        CatalogCommand::List(args) => list(args, context),
        CatalogCommand::Show(args) => show(args, context),
        CatalogCommand::Validate(args) => validate(args, context),
    }
}

fn open(context: &Context) -> anyhow::Result<Catalog> {
    let config = context.config(Flags::default())?;
    catalogue::open(config.catalog.folder.as_deref())
}

fn list(args: &ListArgs, context: &Context) -> anyhow::Result<Outcome> {
    let all = open(context)?;
    let word = args.word.as_deref().unwrap_or_default().to_ascii_lowercase();
    let rows: Vec<catalog::Row> =
        all.providers().filter(|it| catalog::mentions(it, &word)).map(catalog::Row::of).collect();
    context.output.show(&json_list(&rows), |_, canvas| catalog::table(&rows, canvas))?;
    if rows.is_empty() && !context.output.is_json() {
        context.output.note("no provider")?;
    }
    Ok(Outcome::Done)
}

fn json_list(rows: &[impl Serialize]) -> serde_json::Value {
    json!({ "items": rows })
}

fn show(args: &ShowArgs, context: &Context) -> anyhow::Result<Outcome> {
    let all = open(context)?;
    let Some(provider) = all.provider(&args.provider) else {
        bail!("the catalogue has no such provider; `keyreeve catalog list` shows all");
    };
    let document = all.document(&provider.id);
    context.output.show(&document, |_, canvas| catalog::page(provider, canvas))?;
    Ok(Outcome::Done)
}

fn validate(args: &ValidateArgs, context: &Context) -> anyhow::Result<Outcome> {
    let paths = if args.files.is_empty() {
        match context.config(Flags::default())?.catalog.folder {
            Some(folder) => catalogue::in_folder(&folder)?,
            None => bail!("name files to check, or set catalog.folder in the settings"),
        }
    } else {
        args.files.clone()
    };
    let files = catalogue::read_all(&paths)?;
    let mistakes = catalogue::with(&files).err().unwrap_or_default();
    let report = json!({
        "files": files.len(),
        "mistakes": mistakes.iter().map(|it| json!({
            "file": it.file, "line": it.line, "rule": it.rule,
        })).collect::<Vec<_>>(),
    });
    context.output.show(&report, |_, _| {
        if mistakes.is_empty() {
            return format!("{} good", counted(files.len(), "file"));
        }
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    Ok(if mistakes.is_empty() { Outcome::Done } else { Outcome::Negative })
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
