//! `keyreeve webhook schemes`.

use keyreeve_core::webhook;
use serde_json::json;

use crate::{cmd::Outcome, context::Context, output::webhook as view};

pub(super) fn run(context: &Context) -> anyhow::Result<Outcome> {
    let schemes: Vec<_> = webhook::names().filter_map(webhook::named).collect();
    let items: Vec<_> = schemes
        .iter()
        .map(|scheme| {
            json!({
                "name": scheme.name(),
                "proof": view::proof(scheme),
                "tolerance_s": scheme.tolerance_s(),
                "signs_url": scheme.signs_url(),
            })
        })
        .collect();
    context.output.show(&json!({ "items": items }), |_, canvas| view::schemes(&schemes, canvas))?;
    Ok(Outcome::Done)
}
