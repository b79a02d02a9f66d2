//! `keyreeve audit export`.

use std::path::Path;

use keyreeve_api::AuditExport;
use serde::Serialize;

use super::part_file::PartFile;
use crate::{
    cli::audit::ExportArgs,
    cmd::Outcome,
    context::Context,
    output::{Output, Reader},
};

/// Progress is shown once for so many bytes.
const STEP: u64 = 256 * 1024;

pub(super) async fn run(args: &ExportArgs, context: &Context) -> anyhow::Result<Outcome> {
    let export = context.client()?.export_audit().await?;
    match &args.output {
        Some(path) => to_file(path, export, &context.output).await,
        None => to_stdout(export, &context.output).await,
    }
}

/// What was written to a file.
#[derive(Serialize)]
struct ExportedView {
    file: String,
    lines: u64,
    bytes: u64,
}

async fn to_file(path: &Path, mut export: AuditExport, output: &Output) -> anyhow::Result<Outcome> {
    let mut file = PartFile::create(path)?;
    let copied = copy(&mut export, &mut file, output).await;
    output.progress("");
    let Counter { lines, bytes, .. } = copied?;
    file.finish()?;
    let view = ExportedView { file: path.display().to_string(), lines, bytes };
    output
        .show(&view, |view, _| format!("{} in {}", counted(view.lines, view.bytes), view.file))?;
    Ok(Outcome::Done)
}

async fn copy(
    export: &mut AuditExport,
    file: &mut PartFile,
    output: &Output,
) -> anyhow::Result<Counter> {
    let mut counter = Counter::default();
    while let Some(chunk) = export.chunk().await? {
        file.write(&chunk)?;
        counter.count(&chunk, output);
    }
    Ok(counter)
}

async fn to_stdout(mut export: AuditExport, output: &Output) -> anyhow::Result<Outcome> {
    while let Some(chunk) = export.chunk().await? {
        if output.bytes(&chunk)? == Reader::Gone {
            break;
        }
    }
    Ok(Outcome::Done)
}

/// How much has arrived.
#[derive(Debug, Default)]
struct Counter {
    lines: u64,
    bytes: u64,
    shown: u64,
}

impl Counter {
    fn count(&mut self, chunk: &[u8], output: &Output) {
        self.add(chunk);
        if self.bytes / STEP > self.shown {
            self.shown = self.bytes / STEP;
            output.progress(&format!("exporting: {} so far", counted(self.lines, self.bytes)));
        }
    }

    fn add(&mut self, chunk: &[u8]) {
        let line_ends = chunk.split(|byte| *byte == b'\n').count() - 1;
        self.lines += u64::try_from(line_ends).unwrap_or(u64::MAX);
        self.bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
    }
}

fn counted(lines: u64, bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    let size = if bytes < 10 * MIB {
        format!("{} KiB", bytes.div_ceil(KIB))
    } else {
        format!("{} MiB", bytes / MIB)
    };
    format!("{lines} lines ({size})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_over_chunks() {
        let mut counter = Counter::default();
        counter.add(b"{\"a\":1}\n{\"b");
        counter.add(b"\":2}\n");
        assert_eq!((counter.lines, counter.bytes), (2, 16));
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(counted(3, 1), "3 lines (1 KiB)");
        assert_eq!(counted(9, 20 * 1024 * 1024), "9 lines (20 MiB)");
    }
}
