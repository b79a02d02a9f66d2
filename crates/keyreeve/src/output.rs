//! The one place that prints.
//!
//! What a command was asked for goes to standard output: text for people, JSON for programs.
//! Everything else (notes, progress, errors) goes to standard error. A reader that goes away
//! (`keyreeve key list | head`) is no error, and does not change the exit code either: a verdict
//! must not turn good because nobody read it.

pub(crate) mod api_key;
pub(crate) mod audit;
pub(crate) mod canvas;
pub(crate) mod catalog;
pub(crate) mod connection;
pub(crate) mod fields;
pub(crate) mod import;
pub(crate) mod keyspace;
pub(crate) mod moment;
pub(crate) mod owner;
pub(crate) mod policy;
pub(crate) mod printable;
pub(crate) mod progress;
pub(crate) mod role;
pub(crate) mod secret;
pub(crate) mod table;
pub(crate) mod tenancy;
pub(crate) mod verdict;
pub(crate) mod webhook;

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;

use self::{canvas::Canvas, printable::printable};
use crate::{
    cli::{ColourChoice, Format},
    failure::Failure,
};

/// Where a command prints.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    choice: ColorChoice,
    canvas: Canvas,
}

/// Whether somebody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Go on.
    Listening,
    /// Nobody will see more.
    Gone,
}

impl Output {
    /// Prints in that format; times are shown as seen from `now`.
    pub(crate) fn new(format: Format, colour: ColourChoice, now: Timestamp) -> Self {
        let choice = match colour {
            ColourChoice::Auto => ColorChoice::Auto,
            ColourChoice::Always => ColorChoice::Always,
            ColourChoice::Never => ColorChoice::Never,
        };
        let stdout = AutoStream::new(io::stdout(), choice);
        let coloured = stdout.current_choice() != ColorChoice::Never;
        Self { format, choice, canvas: Canvas::new(coloured, None, now) }
    }

    /// Whether programs read the output.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// What drawing depends on.
    pub(crate) fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    /// Shows a thing: as JSON, or as the text that `text` draws of it.
    pub(crate) fn show<T: Serialize>(
        &self,
        thing: &T,
        text: impl FnOnce(&T, &Canvas) -> String,
    ) -> anyhow::Result<()> {
        if self.is_json() { self.json(thing) } else { self.line(&text(thing, &self.canvas)) }
    }

    /// Prints a value as JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text =
            serde_json::to_string_pretty(value).context("cannot write the answer as JSON")?;
        self.line(&text)
    }

    /// Prints text and a line end.
    pub(crate) fn line(&self, text: &str) -> anyhow::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut stdout = AutoStream::new(io::stdout(), self.choice).lock();
        let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        unless_gone(written).context("cannot write to standard output")?;
        Ok(())
    }

    /// Prints bytes as they are.
    #[expect(clippy::unused_self, reason = "whoever prints holds an Output")]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> anyhow::Result<Reader> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        unless_gone(written).context("cannot write to standard output")
    }

    /// Tells something besides what was asked for.
    pub(crate) fn note(&self, text: &str) -> anyhow::Result<()> {
        unless_gone(self.tell(text)).context("cannot write to standard error")?;
        Ok(())
    }

    /// Shows how far a long work is, on one line that the next call overwrites; only on a
    /// terminal. Empty text wipes the line.
    pub(crate) fn progress(&self, text: &str) {
        const WIPE: &str = "\r\u{1b}[2K";
        let mut stderr = io::stderr().lock();
        if !self.is_json() && stderr.is_terminal() {
            // Progress that cannot be shown is no reason to stop.
            let _ = write!(stderr, "{WIPE}{}", printable(text)).and_then(|()| stderr.flush());
        }
    }

    /// Tells why a command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        let text = if self.is_json() { failure.to_json() } else { failure.to_text() };
        // There is nowhere left to say that this failed.
        let _ = self.tell(&text);
    }

    fn tell(&self, text: &str) -> io::Result<()> {
        let mut stderr = AutoStream::new(io::stderr(), self.choice).lock();
        writeln!(stderr, "{text}").and_then(|()| stderr.flush())
    }
}

fn unless_gone(written: io::Result<()>) -> io::Result<Reader> {
    match written {
        Ok(()) => Ok(Reader::Listening),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        let gone = Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(unless_gone(gone).unwrap(), Reader::Gone);
        assert_eq!(unless_gone(Ok(())).unwrap(), Reader::Listening);
        let full = Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(unless_gone(full).is_err());
    }
}
