//! What is said after something was removed.

use serde::Serialize;

use super::Outcome;
use crate::{context::Context, output::printable::printable};

#[derive(Serialize)]
struct DeletedView<'a> {
    deleted: &'a str,
}

/// Tells that a thing is gone.
pub(super) fn tell(kind: &str, name: &str, context: &Context) -> anyhow::Result<Outcome> {
    let view = DeletedView { deleted: name };
    context.output.show(&view, |view, _| format!("{kind} {} is gone", printable(view.deleted)))?;
    Ok(Outcome::Done)
}
