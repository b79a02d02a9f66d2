//! `keyreeve webhook verify`: no server is asked.

use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use keyreeve_core::webhook::{
    self, Certificate, Outcome as Verdict, Reason, ReceivedRequest, Settings, Vector,
};
use serde_json::json;

use super::{bytes_in, captured::Captured, scheme_of, secret_in, secrets_of};
use crate::{cli::webhook::VerifyArgs, cmd::Outcome, context::Context, output::webhook as view};

pub(super) fn run(args: &VerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    match (&args.vectors, &args.request) {
        (Some(path), _) => vectors(path, context),
        (None, Some(path)) => request(path, args, context),
        (None, None) => Err(anyhow!("say what to verify: --request or --vectors")),
    }
}

/// One line a case, for programs and for people.
fn vectors(path: &Path, context: &Context) -> anyhow::Result<Outcome> {
    let shown = path.display().to_string();
    let vectors = Vector::read(&bytes_in(path)?).with_context(|| shown.clone())?;
    let mut unexpected = 0_usize;
    for vector in &vectors {
        let Verdict { id, reason, .. } = vector.run(&vectors);
        let is_expected = vector.expects(reason);
        unexpected += usize::from(!is_expected);
        let reason = reason.map(Reason::as_str);
        if context.output.is_json() {
            let line = json!({ "id": id, "valid": reason.is_none(), "reason": reason });
            context.output.line(&line.to_string())?;
        } else {
            context.output.line(&view::case(&id, reason, is_expected, context.output.canvas()))?;
        }
    }
    let count = vectors.len();
    context.output.note(&format!("{count} cases, {unexpected} of them not as they say"))?;
    Ok(if unexpected == 0 { Outcome::Done } else { Outcome::Negative })
}

fn request(path: &Path, args: &VerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let scheme = scheme_of(&args.scheme)?;
    let mut keys = Vec::new();
    if args.scheme.secrets.is_empty() && scheme.uses_certificate() {
        // Amazon SNS has no id of a webhook; its topics are what counts.
        keys.push(scheme.key("").context("the scheme")?);
    } else {
        for secret in secrets_of(&args.scheme, context)? {
            // EXPOSE: read as a key, which does not print.
            keys.push(scheme.key(secret.expose()).context("--secret-file")?);
        }
    }
    let shown = path.display().to_string();
    let captured = Captured::read(&bytes_in(path)?).with_context(|| shown.clone())?;
    let url = args.url.as_deref().unwrap_or(&captured.url);
    ensure!(url.contains("://"), "--url must be given: {shown} does not say the whole address");
    let certificate = match &args.certificate {
        Some(path) => Some(Certificate::trusted(&bytes_in(path)?).context("--certificate")?),
        None => None,
    };
    let handshake = match &args.handshake_file {
        Some(path) => Some(secret_in(path, context)?),
        None => None,
    };
    let settings = Settings {
        tolerance_s: args.tolerance,
        // EXPOSE: compared in constant time.
        verify_token: handshake.as_ref().map(|token| token.expose().as_bytes()),
        topics: &args.topic,
        allow_sha1: args.allow_sha1,
        allow_from: &args.allow_from,
        event_id: None,
        order_by: None,
        certificate: certificate.as_ref(),
    };
    let now_s = args.at.unwrap_or_else(|| context.now.as_second());
    let lines = captured.lines();
    let request = ReceivedRequest {
        method: &captured.method,
        url,
        headers: &lines,
        body: &captured.body,
        remote_ip: args.remote_ip,
        now_ms: now_s.saturating_mul(1_000),
    };
    let verdict = webhook::certificate_needed(&scheme, &request)
        .and_then(|_| webhook::verify(&scheme, &keys, &settings, &request));
    let report = match &verdict {
        Ok(verified) => json!({
            "valid": true,
            "reason": null,
            "event_id": verified.event_id,
            "sent_at_ms": verified.sent_at_ms,
            "secret": verified.key + 1,
            "handshake": verified.handshake.as_ref().map(|answer| json!({
                "status": answer.status, "content_type": answer.content_type, "body": answer.body,
            })),
        }),
        Err(reason) => json!({ "valid": false, "reason": reason.as_str() }),
    };
    context.output.show(&report, |_, canvas| view::verdict(&verdict, keys.len(), canvas))?;
    Ok(if verdict.is_ok() { Outcome::Done } else { Outcome::Negative })
}
