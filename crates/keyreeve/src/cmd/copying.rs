//! Copying an installation between databases, with a bar and with advice.

use std::fs;

use anyhow::Context as _;
use keyreeve_core::audit::CheckpointVerifier;
use keyreeve_store::transfer::{self, Copied, Proof, Source, Target, TransferError};

use crate::{
    context::Context,
    failure::Advised,
    installation::{Anchor, DataFolder},
    output::progress::bar,
};

/// What lies in a data folder to check its log against: the public key, and the head that was kept
/// outside the database. To be read before the database, which a server takes further meanwhile.
pub(super) fn proof_in(folder: &DataFolder) -> anyhow::Result<Proof> {
    let path = folder.audit_public_key();
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read the public key {}", path.display()))?;
    let verifier = CheckpointVerifier::parse(text.trim()).context("audit.pub cannot be read")?;
    let anchor = Anchor::new(folder.clone(), verifier.clone()).read()?;
    Ok(Proof { verifier, anchor })
}

/// Makes the target a copy of the source.
pub(super) fn copy(
    source: &mut Source,
    target: &mut Target,
    proof: &Proof,
    context: &Context,
) -> anyhow::Result<Copied> {
    let copied = prepare("copying", source, target, proof, context)?;
    transfer::finish(source, target)?;
    Ok(copied)
}

/// The same up to the point from which servers open the target.
pub(super) fn prepare(
    what: &str,
    source: &mut Source,
    target: &mut Target,
    proof: &Proof,
    context: &Context,
) -> anyhow::Result<Copied> {
    let copied = transfer::prepare(source, target, proof, &mut |done, all| {
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
