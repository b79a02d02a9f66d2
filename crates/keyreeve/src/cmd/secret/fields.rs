//! Fields from standard input, files and, if need be, arguments.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, IsTerminal, Read},
};

use anyhow::{Context as _, bail, ensure};
use keyreeve_api::SecretFields;
use keyreeve_core::Secret;
use serde_json::value::to_raw_value;

use crate::{failure::Advised, output::Output};

/// The most bytes of one value.
const MOST_BYTES: u64 = 1 << 20;

/// Reads what each `FIELD=SOURCE` names.
pub(super) fn read(
    sources: &[String],
    allow_argument: bool,
    mut stdin: impl Read + IsTerminal,
    output: &Output,
) -> anyhow::Result<SecretFields> {
    let mut fields = BTreeMap::new();
    let mut stdin_taken = false;
    for source in sources {
        let Some((name, source)) = source.split_once('=') else {
            // The text is not repeated: it may be a value in the wrong place.
            bail!("each field must be written as FIELD=-, FIELD=@FILE or FIELD=VALUE");
        };
        ensure!(!name.is_empty(), "a field must have a name before the =");
        let value = match source.strip_prefix('@') {
            _ if source == "-" => {
                let again = stdin_taken && !stdin.is_terminal();
                ensure!(!again, "standard input can be read for one field only");
                stdin_taken = true;
                from_stdin(name, &mut stdin, output)?
            }
            Some(path) => {
                let file = File::open(path).with_context(|| format!("cannot read {path}"))?;
                whole(file).with_context(|| format!("cannot read {path}"))?
            }
            None if allow_argument => source.to_owned(),
            None => {
                let hint = "write FIELD=- and pass it on standard input, or FIELD=@FILE; \
                            --allow-argument takes it all the same";
                let what = format!(
                    "the value of {name} stands on the command line, where every \
                                    user of this machine can see it"
                );
                return Err(Advised::new(what, hint).into());
            }
        };
        let before = fields.insert(name.to_owned(), to_raw_value(&value)?);
        ensure!(before.is_none(), "the field {name} is given twice");
    }
    Ok(SecretFields(fields))
}

fn from_stdin(
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
fn whole(input: impl Read) -> anyhow::Result<String> {
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use jiff::Timestamp;

    use super::*;
    use crate::cli::{ColourChoice, Format};

    fn read_with(sources: &[&str], allow: bool, stdin: &str) -> anyhow::Result<SecretFields> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(stdin.as_bytes()).unwrap();
        let output = Output::new(Format::Text, ColourChoice::Never, Timestamp::UNIX_EPOCH);
        let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
        read(&sources, allow, File::open(file.path()).unwrap(), &output)
    }

    #[test]
    fn fields_come_from_stdin_and_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"line\nline\r\n").unwrap();
        let source = format!("pem=@{}", file.path().display());
        let fields = read_with(&["key=-", &source], false, "value\n").unwrap();
        assert_eq!(fields.text("key").unwrap(), "value");
        assert_eq!(fields.text("pem").unwrap(), "line\nline");
    }

    #[test]
    fn values_on_the_command_line_need_a_word() {
        let error = read_with(&["key=canary"], false, "").unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        assert_eq!(read_with(&["key=value"], true, "").unwrap().text("key").unwrap(), "value");
        for bad in [&["canary"][..], &["=x"], &["a=-", "b=-"], &["a=x", "a=y"]] {
            let error = read_with(bad, true, "x").unwrap_err();
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        assert!(read_with(&["a=-"], true, "\n").is_err(), "empty");
    }
}
