//! `keyreeve webhook sign`: no server is asked.

use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keyreeve_core::webhook::{self, Signing};
use serde_json::json;

use super::{bytes_in, scheme_of, secrets_of};
use crate::{cli::webhook::SignArgs, cmd::Outcome, context::Context, output::webhook as view};

pub(super) fn run(args: &SignArgs, context: &Context) -> anyhow::Result<Outcome> {
    let scheme = scheme_of(&args.scheme)?;
    let secrets = secrets_of(&args.scheme, context)?;
    ensure!(secrets.len() == 1, "--secret-file must be given once: a sender signs with one secret");
    let [secret] = &secrets[..] else { return Ok(Outcome::Done) };
    // EXPOSE: read as a key, which does not print.
    let key = scheme.key(secret.expose()).context("--secret-file")?;
    let now_s = args.at.unwrap_or_else(|| context.now.as_second());
    let id = args.id.clone().unwrap_or_else(|| format!("test_{now_s}"));
    let body = match &args.body_file {
        Some(path) => bytes_in(path)?,
        None => json!({
            "id": id, "type": "keyreeve.test", "webhookTimestamp": now_s.saturating_mul(1_000),
        })
        .to_string()
        .into_bytes(),
    };
    let signing = Signing {
        method: &args.method,
        url: &args.url,
        content_type: &args.content_type,
        body: &body,
        id: &id,
        now_ms: now_s.saturating_mul(1_000),
    };
    let mut signed = webhook::sign(&scheme, &key, secret, &signing).context("--scheme")?;
    signed.headers.insert(0, ("Content-Type".to_owned(), args.content_type.clone()));
    let headers: serde_json::Map<_, _> =
        signed.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let report = json!({
        "method": args.method,
        "url": signed.url,
        "headers": headers,
        "body": STANDARD.encode(&signed.body),
    });
    // In the line itself stands only what was read from nowhere or was changed.
    let file =
        args.body_file.as_deref().filter(|path| *path != Path::new("-") && signed.body == body);
    ensure!(
        file.is_some() || context.output.is_json() || std::str::from_utf8(&signed.body).is_ok(),
        "the body is no text: put it into a file, or use --format json"
    );
    context.output.show(&report, |_, _| view::curl(&args.method, &signed, file))?;
    Ok(Outcome::Done)
}
