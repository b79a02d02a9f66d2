//! Reading a key from standard input.

use std::io::{BufRead as _, BufReader, IsTerminal, Read};

use anyhow::{Context as _, ensure};
use keyreeve_api::SecretText;
use keyreeve_core::Secret;

use crate::{failure::Advised, output::Output};

/// The longest text that is read; no key is nearly as long.
const LONGEST: usize = 4096;

/// Reads a key: all there is, or one line if a person types it.
pub(super) fn from(input: impl Read + IsTerminal, output: &Output) -> anyhow::Result<SecretText> {
    let is_typed = input.is_terminal();
    if is_typed {
        output.note("paste the key and press Enter:")?;
    }
    // One byte more than is allowed tells that there is more.
    let mut input = BufReader::new(input).take(LONGEST as u64 + 1);
    let mut text = String::with_capacity(LONGEST + 1);
    let read = if is_typed { input.read_line(&mut text) } else { input.read_to_string(&mut text) };
    let text = Secret::new(text);
    read.context("cannot read the key from standard input")?;
    // EXPOSE: to look at its length and to put it into the request.
    let text = text.expose();
    ensure!(text.len() <= LONGEST, "standard input holds more than a key");
    if text.trim().is_empty() {
        let hint = "pass it like this: printf %s \"$KEY\" | keyreeve key verify";
        return Err(Advised::new("there is no key on standard input", hint).into());
    }
    Ok(SecretText::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use jiff::Timestamp;

    use super::*;
    use crate::cli::{ColourChoice, Format};

    fn read(content: &str) -> anyhow::Result<SecretText> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let output = Output::new(Format::Text, ColourChoice::Never, Timestamp::UNIX_EPOCH);
        from(fs::File::open(file.path()).unwrap(), &output)
    }

    #[test]
    fn white_space_around_a_key_is_cut_off() {
        for content in ["kr_live_x", "kr_live_x\n", " \tkr_live_x\r\n\n"] {
            assert_eq!(read(content).unwrap().expose(), "kr_live_x");
        }
    }

    #[test]
    fn nothing_and_too_much_are_errors_that_show_nothing() {
        assert!(read(" \n").unwrap_err().to_string().contains("there is no key"));
        let error = read(&"canary".repeat(LONGEST)).unwrap_err();
        assert!(!format!("{error:?}").contains("canary"));
    }
}
