//! Fields from standard input, files and, if need be, arguments.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{IsTerminal, Read},
};

use anyhow::{Context as _, bail, ensure};
use keyreeve_api::SecretFields;
use serde_json::value::to_raw_value;

use crate::{
    failure::Advised,
    hidden_input::{from_stdin, whole},
    output::Output,
};

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
