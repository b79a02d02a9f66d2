//! `keyreeve secret`.

mod about;
mod diff;
mod export;
mod fields;
mod import;
pub(super) mod variables;

use anyhow::{Context as _, bail, ensure};
use keyreeve_api::{Client, SecretFields, SecretView, WriteHow};
use keyreeve_core::vault::SecretPath;
use serde_json::json;

use super::Outcome;
use crate::{
    cli::secret::{
        DestroyArgs, GetArgs, ListArgs, PutArgs, RollbackArgs, SearchArgs, SecretCommand,
        SomeVersionsArgs, VersionsArgs,
    },
    context::Context,
    failure::Advised,
    offline::Fallback,
    output::{
        printable::printable,
        secret::{self, Values},
    },
};

/// The most paths that a list or a search collects.
const MOST_PATHS: usize = 1_000_000;

pub(super) async fn run(command: &SecretCommand, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    match command {
        SecretCommand::Put(args) => put(args, &client, context).await,
        SecretCommand::Get(args) => get(args, &client, context).await,
        SecretCommand::List(args) => list(args, &client, context).await,
        SecretCommand::Search(args) => search(args, &client, context).await,
        SecretCommand::Promote(args) => about::promote(args, &client, context).await,
        SecretCommand::Label(args) => about::label(args, &client, context).await,
        SecretCommand::Describe(args) => about::describe(args, &client, context).await,
        SecretCommand::Explain(args) => about::explain(args, &client, context).await,
        SecretCommand::Used(args) => about::used(&args.path, &client, context).await,
        SecretCommand::Diff(args) => diff::run(args, &client, context).await,
        SecretCommand::Import(args) => import::run(args, &client, context).await,
        SecretCommand::Export(args) => export::run(args, &client, context).await,
        SecretCommand::Versions(args) => versions(&args.path, &client, context).await,
        SecretCommand::Rollback(args) => rollback(args, &client, context).await,
        SecretCommand::Delete(args) => delete(args, &client, context).await,
        SecretCommand::Undelete(args) => undelete(args, &client, context).await,
        SecretCommand::Destroy(args) => destroy(args, &client, context).await,
    }
}

async fn put(args: &PutArgs, client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    let fields =
        fields::read(&args.fields, args.allow_argument, std::io::stdin(), &context.output)?;
    let path = args.path.as_str();
    let how = WriteHow { cas: args.cas, force: args.force, pending: args.pending };
    let written = if args.merge {
        client.patch_secret(path, &fields, how).await?
    } else {
        client.put_secret(path, &fields, how).await?
    };
    let written = written.ok_or_else(|| nothing_at(&args.path))?;
    let view = json!({ "path": path, "version": written.version });
    context.output.show(&view, |_, _| {
        let (path, version) = (printable(path), written.version);
        if args.pending {
            format!("version {version} of {path} waits: `keyreeve secret promote` makes it current")
        } else {
            format!("{path} is version {version} now")
        }
    })?;
    Ok(Outcome::Done)
}

async fn get(args: &GetArgs, client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    let question = json!(["secret", args.path.as_str(), args.version, args.label]).to_string();
    let found = Fallback::new(context, question).ask(wanted(args, client)).await?;
    let fields = found.data.clone().unwrap_or_default();
    let values = Values::for_output(args.reveal);
    let Some(name) = &args.field else {
        let shown = SecretView { data: Some(values.of(&fields)), ..found };
        context.output.show(&shown, |_, canvas| secret::page(&args.path, &shown, canvas))?;
        values.tell_masked(&context.output)?;
        return Ok(Outcome::Done);
    };
    let Some(value) = fields.0.get(name) else {
        let known: Vec<_> = fields.0.keys().map(|name| printable(name)).collect();
        bail!("{} has no field of that name; it has: {}", args.path, known.join(", "));
    };
    let value = values.one(value);
    let shown = SecretFields([(name.clone(), value)].into());
    context.output.show(&shown, |shown, _| shown.text(name).unwrap_or_default())?;
    values.tell_masked(&context.output)?;
    Ok(Outcome::Done)
}

/// The version that `get` is asked for.
async fn wanted(args: &GetArgs, client: &Client) -> anyhow::Result<SecretView> {
    let Some(label) = &args.label else {
        return read(client, &args.path, args.version).await;
    };
    let found = client.labelled_secret(args.path.as_str(), label).await?;
    found.with_context(|| format!("{} has no version called {label}", args.path))
}

/// A version that can be read, or why there is none.
async fn read(
    client: &Client,
    path: &SecretPath,
    version: Option<u64>,
) -> anyhow::Result<SecretView> {
    let found = client.secret(path.as_str(), version).await?;
    let Some(found) = found else {
        return match version {
            Some(version) => bail!("{path} has no version {version}"),
            None => Err(nothing_at(path)),
        };
    };
    let number = found.metadata.version;
    ensure!(!found.metadata.destroyed, "version {number} of {path} was destroyed");
    if found.data.is_none() {
        let hint = format!("keyreeve secret undelete {path} --version {number}");
        return Err(Advised::new(format!("version {number} of {path} is deleted"), hint).into());
    }
    Ok(found)
}

fn nothing_at(path: &SecretPath) -> anyhow::Error {
    let hint = "`keyreeve secret list --recursive` shows what you may see";
    Advised::new(format!("there is no secret at {path}"), hint).into()
}

/// All names below a folder.
async fn collect(client: &Client, folder: &str, recursive: bool) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    while names.len() < MOST_PATHS {
        let after = names.last().cloned();
        let page = client.list_secrets(folder, recursive, after.as_deref()).await?;
        if page.is_empty() {
            break;
        }
        names.extend(page);
    }
    Ok(names)
}

async fn list(args: &ListArgs, client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    let names = collect(client, args.folder.as_str(), args.recursive).await?;
    show_names(&names, context)
}

async fn search(args: &SearchArgs, client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    let word = args.word.to_lowercase();
    let mut names = collect(client, "", true).await?;
    names.retain(|path| path.to_lowercase().contains(&word));
    show_names(&names, context)
}

fn show_names(names: &[String], context: &Context) -> anyhow::Result<Outcome> {
    context.output.show(&json!({ "items": names }), |_, _| {
        names.iter().map(|name| printable(name)).collect::<Vec<_>>().join("\n")
    })?;
    if names.is_empty() && !context.output.is_json() {
        context.output.note("no secrets that you may see")?;
    }
    Ok(Outcome::Done)
}

async fn versions(
    path: &SecretPath,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let found = client.secret_metadata(path.as_str()).await?.ok_or_else(|| nothing_at(path))?;
    context.output.show(&found, secret::versions)?;
    Ok(Outcome::Done)
}

async fn rollback(
    args: &RollbackArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let path = args.path.as_str();
    let known = client.secret_metadata(path).await?.ok_or_else(|| nothing_at(&args.path))?;
    let old = read(client, &args.path, Some(args.to)).await?;
    let fields = old.data.unwrap_or_default();
    // Nobody's write in between is rolled back unseen.
    let how = WriteHow { cas: Some(known.current_version), force: true, ..WriteHow::default() };
    let written = client.put_secret(path, &fields, how).await?;
    let written = written.ok_or_else(|| nothing_at(&args.path))?;
    let view = json!({ "path": path, "version": written.version, "from": args.to });
    context.output.show(&view, |_, _| {
        format!(
            "{} is version {} now, with the fields of version {}",
            printable(path),
            written.version,
            args.to
        )
    })?;
    Ok(Outcome::Done)
}

async fn delete(
    args: &VersionsArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let path = args.path.as_str();
    exists(client, &args.path).await?;
    if args.versions.is_empty() {
        client.delete_secret(path).await?;
    } else {
        client.change_secret_versions("delete", path, &args.versions).await?;
    }
    told(&args.path, "deleted", "can be brought back with `keyreeve secret undelete`", context)
}

async fn undelete(
    args: &SomeVersionsArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    exists(client, &args.path).await?;
    client.change_secret_versions("undelete", args.path.as_str(), &args.versions).await?;
    told(&args.path, "undeleted", "is back, as far as it was not destroyed", context)
}

async fn destroy(
    args: &DestroyArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    exists(client, &args.path).await?;
    if args.all {
        client.remove_secret(args.path.as_str()).await?;
    } else {
        client.change_secret_versions("destroy", args.path.as_str(), &args.versions).await?;
    }
    told(&args.path, "destroyed", "is gone for good", context)
}

/// The server passes over what is not there; a person wants to know.
async fn exists(client: &Client, path: &SecretPath) -> anyhow::Result<()> {
    client.secret_metadata(path.as_str()).await?.ok_or_else(|| nothing_at(path))?;
    Ok(())
}

fn told(path: &SecretPath, done: &str, words: &str, context: &Context) -> anyhow::Result<Outcome> {
    let view = json!({ "path": path.as_str(), "done": done });
    context.output.show(&view, |_, _| format!("{} {words}", printable(path.as_str())))?;
    Ok(Outcome::Done)
}
