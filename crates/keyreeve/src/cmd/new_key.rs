//! Printing a new key.

use keyreeve_api::{ApiKeyView, SecretText};
use serde::Serialize;

use super::Outcome;
use crate::{
    context::Context,
    output::{canvas::Canvas, printable::printable},
};

/// Prints the answer that holds a new key. For people the key stands alone on standard output, so
/// that `KEY=$(keyreeve key create …)` works, and what there is to know about it goes to standard
/// error.
pub(super) fn print(
    answer: &impl Serialize,
    key: &SecretText,
    about: impl FnOnce(&Canvas) -> String,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let output = &context.output;
    if output.is_json() {
        output.json(answer)?;
        return Ok(Outcome::Done);
    }
    // EXPOSE: showing it, this once, is what the command is for.
    output.line(&printable(key.expose()))?;
    let about = about(output.canvas());
    output.note(&format!("{about}\nThe key is shown this once and cannot be shown again."))?;
    Ok(Outcome::Done)
}

/// `key 4Tn0Zs8QbW1c (billing)`.
pub(super) fn name(key: &ApiKeyView) -> String {
    format!("key {} ({})", printable(&key.id), printable(&key.name))
}

/// `expires 2026-12-21 09:00 UTC (in 30 days)`.
pub(super) fn expiry(key: &ApiKeyView, canvas: &Canvas) -> String {
    match key.expires_at {
        Some(at) => format!("expires {}", canvas.moment(at)),
        None => "does not expire".to_owned(),
    }
}
