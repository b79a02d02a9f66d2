//! `keyreeve audit verify`: the check that needs the log and the public key, and nothing else.

mod source;

use std::{fs, path::Path};

use anyhow::Context as _;
use keyreeve_core::audit::{Checkpoint, CheckpointVerifier, LogVerifier};
use serde::Serialize;

use self::source::Source;
use crate::{
    cli::audit::VerifyArgs,
    cmd::Outcome,
    context::Context,
    installation::DataFolder,
    output::{
        canvas::{Canvas, Tone},
        fields::Fields,
    },
};

/// What was found.
#[derive(Debug, Serialize)]
pub(in crate::cmd) struct Findings {
    intact: bool,
    pub(in crate::cmd) size: u64,
    pub(in crate::cmd) root: String,
    /// Signed tree heads that were compared.
    checkpoints: usize,
    public_key: String,
    source: String,
    pub(in crate::cmd) faults: Vec<String>,
}

/// Checks the log of the data folder, of an export, or of a server elsewhere.
pub(super) async fn run(args: &VerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let source = Source::choose(args, context).await?;
    let public_key = match &args.public_key {
        Some(given) => named_key(given)?,
        None => source.public_key(context)?,
    };
    let verifier =
        CheckpointVerifier::parse(public_key.trim()).context("the public key cannot be read")?;
    let findings = check(&source, &verifier, args.checkpoint.as_deref())?;
    context.output.show(&findings, text)?;
    Ok(if findings.intact { Outcome::Done } else { Outcome::Negative })
}

/// Checks the log of a data folder with the key that lies in it.
pub(in crate::cmd) fn folder(folder: &DataFolder, context: &Context) -> anyhow::Result<Findings> {
    let source = Source::folder(folder.clone())?;
    let public_key = source.public_key(context)?;
    let verifier =
        CheckpointVerifier::parse(public_key.trim()).context("the public key cannot be read")?;
    check(&source, &verifier, None)
}

/// A key on the command line is the key itself or a file that holds it.
fn named_key(given: &str) -> anyhow::Result<String> {
    if CheckpointVerifier::parse(given).is_ok() {
        return Ok(given.to_owned());
    }
    fs::read_to_string(given)
        .with_context(|| format!("{given} is neither a public key nor a file that holds one"))
}

fn check(
    source: &Source,
    verifier: &CheckpointVerifier,
    checkpoint: Option<&Path>,
) -> anyhow::Result<Findings> {
    let mut faults = Vec::new();
    let mut heads = Vec::new();
    let mut notes = source.checkpoints()?;
    if let Some(path) = checkpoint {
        let note = fs::read_to_string(path)
            .with_context(|| format!("cannot read the checkpoint {}", path.display()))?;
        notes.push((path.display().to_string(), note));
    }
    for (place, note) in notes {
        match verifier.verify(&note) {
            Ok(head) => heads.push(head),
            Err(error) => faults.push(format!("the signed tree head in {place}: {error}")),
        }
    }
    faults.extend(source.problems()?);
    let checkpoints = heads.len();
    let mut log = LogVerifier::new(heads.into_iter().collect::<Vec<Checkpoint>>());
    source.for_each_entry(|seq, bytes, leaf, agrees| {
        if !agrees && faults.len() < 100 {
            faults.push(format!("entry {seq} is listed under other words than were recorded"));
        }
        log.entry(seq, bytes, Some(leaf));
    })?;
    let report = log.finish();
    // What was changed comes first; what follows from it after.
    let mut all: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    all.append(&mut faults);
    Ok(Findings {
        intact: all.is_empty(),
        size: report.size,
        root: report.root.to_base64(),
        checkpoints,
        public_key: verifier.to_string(),
        source: source.to_string(),
        faults: all,
    })
}

fn text(findings: &Findings, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    if findings.intact {
        fields.toned("audit", "intact", Tone::Good);
    } else {
        fields.toned("audit", "NOT intact", Tone::Bad);
    }
    fields
        .add("entries", findings.size.to_string())
        .add("root", &findings.root)
        .add("signed heads", findings.checkpoints.to_string())
        .add("public key", &findings.public_key)
        .add("read from", &findings.source);
    let mut text = fields.draw(canvas);
    for fault in &findings.faults {
        text.push('\n');
        text.push_str(&canvas.paint(fault, Tone::Bad));
    }
    text
}
