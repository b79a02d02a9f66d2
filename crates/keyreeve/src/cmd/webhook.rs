//! `keyreeve webhook`.

mod captured;
mod events;
mod schemes;
mod sign;
mod sources;
mod verify;

use std::path::Path;

use anyhow::{Context as _, ensure};
use keyreeve_core::{
    Secret,
    webhook::{self, GenericScheme, Scheme, SharedToken},
};

use super::{Outcome, deletion, listing};
use crate::{
    cli::webhook::{ProofArgs, SchemeArgs, WebhookCommand},
    context::Context,
    hidden_input,
    output::webhook as view,
};

/// The most bytes of a file with a request, a body or vectors.
const MOST_BYTES: u64 = 64 << 20;

/// What ids of events begin with.
const EVENT_ID: &str = "whe_";

pub(super) async fn run(command: &WebhookCommand, context: &Context) -> anyhow::Result<Outcome> {
    let client = || context.client();
    match command {
        // These ask no server.
        WebhookCommand::Schemes => schemes::run(context),
        WebhookCommand::Verify(args) => verify::run(args, context),
        WebhookCommand::Sign(args) => sign::run(args, context),
        WebhookCommand::Add(args) => sources::add(&client()?, args, context).await,
        WebhookCommand::List => {
            let page = client()?.list_webhook_sources().await?;
            listing::show(&page, "sources", view::sources, context)
        }
        WebhookCommand::Show(args) if args.what.starts_with(EVENT_ID) => {
            events::show(&client()?, args, context).await
        }
        WebhookCommand::Show(args) => {
            let source = client()?.webhook_source(&args.what).await?;
            context.output.show(&source, view::source)?;
            Ok(Outcome::Done)
        }
        WebhookCommand::Update(args) => sources::update(&client()?, args, context).await,
        WebhookCommand::Pause(args) => sources::pause(&client()?, &args.name, true, context).await,
        WebhookCommand::Resume(args) => {
            sources::pause(&client()?, &args.name, false, context).await
        }
        WebhookCommand::Rm(args) => {
            client()?.delete_webhook_source(&args.name).await?;
            deletion::tell("source", &args.name, context)
        }
        WebhookCommand::RotateSecret(args) => sources::rotate(&client()?, args, context).await,
        WebhookCommand::Events(args) => events::list(&client()?, args, context).await,
        WebhookCommand::Replay(args) => events::replay(&client()?, args, context).await,
        WebhookCommand::Tail(args) => events::tail(&client()?, args, context).await,
    }
}

/// An HMAC that a file describes.
fn described(path: Option<&Path>) -> anyhow::Result<Option<GenericScheme>> {
    let Some(path) = path else { return Ok(None) };
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    let described = toml_edit::de::from_str(&text);
    described.with_context(|| format!("{shown} does not describe a scheme")).map(Some)
}

/// Where a token stands, if one is shown.
fn token_place(proof: &ProofArgs) -> Option<SharedToken> {
    let place = SharedToken {
        header: proof.in_header.clone(),
        query: proof.in_query.clone(),
        path: proof.in_path,
        basic: proof.in_basic,
    };
    (place != SharedToken::default()).then_some(place)
}

/// How the sender proves itself.
fn scheme_of(args: &SchemeArgs) -> anyhow::Result<Scheme> {
    let ProofArgs { scheme, scheme_file, .. } = &args.proof;
    match (scheme, described(scheme_file.as_deref())?) {
        (Some(name), _) => webhook::named(name).with_context(
            || "--scheme is not known; `keyreeve webhook schemes` lists those that are",
        ),
        (None, Some(described)) => Ok(described.scheme("generic-hmac").context("--scheme-file")?),
        (None, None) => {
            let place = token_place(&args.proof).context(
                "say how the sender proves itself: --scheme, --scheme-file, or where its token is: --in-header, …",
            )?;
            Ok(place.scheme("shared-token").context("the token's place")?)
        }
    }
}

/// Secrets, each out of a file.
fn secrets_of(args: &SchemeArgs, context: &Context) -> anyhow::Result<Vec<Secret<String>>> {
    ensure!(
        !args.secrets.is_empty(),
        "--secret-file must be given: the secret that the sender shows"
    );
    args.secrets.iter().map(|path| secret_in(path, context)).collect()
}

/// One secret, out of a file.
fn secret_in(path: &Path, context: &Context) -> anyhow::Result<Secret<String>> {
    let text = if path == Path::new("-") {
        hidden_input::from_stdin("the secret", &mut std::io::stdin(), &context.output)?
    } else {
        let file = std::fs::File::open(path);
        let shown = path.display();
        let file = file.with_context(|| format!("{shown} cannot be read"))?;
        hidden_input::whole(file).with_context(|| format!("{shown} holds no secret"))?
    };
    Ok(Secret::new(text))
}

/// A file of bytes, `-` for standard input.
fn bytes_in(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let shown = path.display();
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MOST_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("{shown} cannot be read"))?;
    ensure!(bytes.len() as u64 <= MOST_BYTES, "{shown} is larger than 64 MiB");
    Ok(bytes)
}
