//! Values that nobody is to see, from standard input and files.

use std::io::{BufRead as _, BufReader, IsTerminal, Read};

use anyhow::{Context as _, bail, ensure};
use keyreeve_core::Secret;

use crate::output::Output;

/// The most bytes of one value.
const MOST_BYTES: u64 = 1 << 20;

/// A value from standard input; a terminal is asked without showing what is typed.
pub(crate) fn from_stdin(
    name: &str,
    stdin: &mut (impl Read + IsTerminal),
    output: &Output,
) -> anyhow::Result<String> {
    if !stdin.is_terminal() {
        return whole(stdin).context("cannot read standard input");
    }
    output.note(&format!("{name} (not shown while you type; end with Enter):"))?;
    let _silence = Silence::begin()?;
    let mut line = String::with_capacity(4096);
    BufReader::new(stdin.take(MOST_BYTES))
        .read_line(&mut line)
        .context("cannot read the terminal")?;
    cut_line_end(&mut line);
    ensure!(!line.is_empty(), "nothing was typed");
    Ok(line)
}

/// All there is, without one line end.
pub(crate) fn whole(input: impl Read) -> anyhow::Result<String> {
    let mut bytes = Secret::new(Vec::new());
    // EXPOSE: filled and measured. One byte more than is allowed tells that there is more.
    input.take(MOST_BYTES + 1).read_to_end(bytes.expose_mut())?;
    ensure!(bytes.expose().len() as u64 <= MOST_BYTES, "it is larger than 1 MiB");
    // EXPOSE: becomes the text of the value.
    let Ok(mut text) = String::from_utf8(std::mem::take(bytes.expose_mut())) else {
        // The error of the standard library would show the bytes.
        bail!("it is not UTF-8 text");
    };
    cut_line_end(&mut text);
    ensure!(!text.is_empty(), "it is empty");
    Ok(text)
}

fn cut_line_end(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

/// A terminal that does not show what is typed, for as long as this lives.
struct Silence(rustix::termios::Termios);

impl Silence {
    fn begin() -> anyhow::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).context("cannot ask without showing what is typed")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent)
            .context("cannot ask without showing what is typed")?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // There is nothing left to do if the terminal is gone.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
