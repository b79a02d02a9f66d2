//! Copying an installation between databases, with a bar and with advice.

use std::fs;

use anyhow::Context as _;
use keyreeve_core::audit::CheckpointVerifier;
use keyreeve_store::transfer::{self, Copied, Source, Target, TransferError};

use crate::{context::Context, failure::Advised, installation::DataFolder, output::progress::bar};

/// Makes the target a copy of the source, checked with the public key that lies in `keys`.
pub(super) fn copy(
    what: &str,
    source: &mut Source,
    target: &mut Target,
    keys: &DataFolder,
    context: &Context,
) -> anyhow::Result<Copied> {
    let path = keys.audit_public_key();
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read the public key {}", path.display()))?;
    let verifier = CheckpointVerifier::parse(text.trim()).context("audit.pub cannot be read")?;
    let copied = transfer::copy(source, target, &verifier, &mut |done, all| {
        context.output.progress(&bar(what, done, all));
    });
    context.output.progress("");
    match copied {
        Err(TransferError::OtherLog) => Err(Advised::new(
            "the database holds another installation, or this one and more",
            "name an empty database in store.url; nothing is ever written over",
        )
        .into()),
        copied => Ok(copied?),
    }
}
