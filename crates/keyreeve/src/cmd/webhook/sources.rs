//! Commands about sources.

use keyreeve_api::{
    Client, CreateWebhookSourceRequest, Patch, RotateWebhookSecretRequest, SecretText,
    UpdateWebhookSourceRequest,
};

use super::{described, token_place};
use crate::{
    cli::webhook::{AddArgs, RotateArgs, UpdateArgs},
    cmd::{Outcome, change::must_change},
    context::Context,
    output::{printable::printable, webhook as view},
};

/// The fields that two requests have in common, as they were typed.
macro_rules! request {
    ($request:ident, $settings:expr, $($name:ident: $value:expr),*) => {{
        let settings = $settings;
        let set = |text: &Option<String>| text.clone().map_or(Patch::Keep, Patch::Set);
        $request {
            $($name: $value,)*
            hmac: described(settings.proof.scheme_file.as_deref())?
                .map(serde_json::to_value)
                .transpose()?,
            token: token_place(&settings.proof).map(serde_json::to_value).transpose()?,
            field: set(&settings.field),
            allow_internal: settings.allow_internal,
            allow_plaintext: settings.allow_plaintext,
            tolerance_s: settings.tolerance.map_or(Patch::Keep, Patch::Set),
            allow_from: Some(settings.allow_from.clone()).filter(|list| !list.is_empty()),
            event_id: set(&settings.event_id),
            handshake_field: set(&settings.handshake_field),
            max_body_bytes: settings.max_body,
            attempts: settings.attempts,
            patience_ms: settings.patience,
            max_concurrent: settings.concurrent,
            order_by: set(&settings.order_by),
            answer_within_ms: settings.answer_within.map_or(Patch::Keep, Patch::Set),
        }
    }};
}

pub(super) async fn add(
    client: &Client,
    args: &AddArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let settings = &args.settings;
    let is_described =
        settings.proof.scheme_file.is_some() || token_place(&settings.proof).is_some();
    // A source is most often named after its sender.
    let scheme =
        settings.proof.scheme.clone().or_else(|| (!is_described).then(|| args.name.clone()));
    let body = request!(
        CreateWebhookSourceRequest,
        settings,
        name: args.name.clone(),
        scheme: scheme,
        secret: Some(args.secret.clone()),
        public_url: Some(args.public_url.clone()),
        to: Some(args.to.clone())
    );
    let made = client.create_webhook_source(&body).await?;
    let about = format!(
        "The source {} takes requests at {}. Events go to {}.",
        printable(&made.source.name),
        printable(&made.source.path),
        printable(&made.source.to),
    );
    show_secret(&made, &made.signing_secret, &about, context)
}

pub(super) async fn update(
    client: &Client,
    args: &UpdateArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let mut body = request!(
        UpdateWebhookSourceRequest,
        &args.settings,
        paused: None,
        scheme: args.settings.proof.scheme.clone(),
        secret: args.secret.clone(),
        public_url: args.public_url.clone(),
        to: args.to.clone()
    );
    if args.no_order_by {
        body.order_by = Patch::Clear;
    }
    if args.no_answer_within {
        body.answer_within_ms = Patch::Clear;
    }
    must_change(&body, "webhook update")?;
    let source = client.update_webhook_source(&args.name, &body).await?;
    context.output.show(&source, view::source)?;
    Ok(Outcome::Done)
}

pub(super) async fn pause(
    client: &Client,
    name: &str,
    paused: bool,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let body = UpdateWebhookSourceRequest { paused: Some(paused), ..Default::default() };
    let source = client.update_webhook_source(name, &body).await?;
    context.output.show(&source, view::source)?;
    Ok(Outcome::Done)
}

pub(super) async fn rotate(
    client: &Client,
    args: &RotateArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let body = RotateWebhookSecretRequest { overlap: Some(args.overlap.clone()) };
    let made = client.rotate_webhook_secret(&args.name, &body).await?;
    let about = format!("For {} the secret before signs, too.", printable(&args.overlap));
    show_secret(&made, &made.signing_secret, &about, context)
}

/// The secret alone on standard output, and what there is to know about it on standard error.
fn show_secret(
    answer: &impl serde::Serialize,
    secret: &SecretText,
    about: &str,
    context: &Context,
) -> anyhow::Result<Outcome> {
    if context.output.is_json() {
        context.output.json(answer)?;
        return Ok(Outcome::Done);
    }
    // EXPOSE: showing it, this once, is what the command is for.
    context.output.line(&printable(secret.expose()))?;
    context.output.note(&format!(
        "{about}\nThe app verifies events with this secret, in the form of Standard Webhooks. It is \
         shown this once."
    ))?;
    Ok(Outcome::Done)
}
