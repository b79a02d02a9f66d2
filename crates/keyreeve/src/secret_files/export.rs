//! Writing secrets in the forms that other tools read.
//!
//! What each form can carry comes from the documentation of the tool that reads it:
//!
//! - shells: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html>;
//! - `.env` files: see the module `dotenv`;
//! - YAML: a JSON text is a YAML 1.2 text in double quotes (<https://yaml.org/spec/1.2.2/>, 1.2 and
//!   7.3.1). Signs that YAML 1.1 takes for line breaks or does not allow are escaped on top;
//! - Kubernetes: <https://kubernetes.io/docs/concepts/configuration/secret/> and
//!   <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>;
//! - systemd: `SetCredential=` in systemd.exec(5), escapes and the longest line in
//!   systemd.syntax(7) (<https://www.freedesktop.org/software/systemd/man/latest/>);
//! - GitHub:
//!   <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.
//!
//! What a form cannot carry unchanged is refused and never bent.

mod forms;

use std::collections::BTreeMap;

use clap::ValueEnum;
use keyreeve_core::Secret;

/// A form that another tool reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Lines `export NAME='value'` for any POSIX shell to evaluate
    Env,
    /// A `.env` file for dotenv libraries and Docker Compose
    Dotenv,
    /// One JSON object
    Json,
    /// One YAML mapping
    Yaml,
    /// A manifest of a Kubernetes Secret
    Kubernetes,
    /// A drop-in for a systemd unit with `SetCredential=` lines; systemd tells them to every user
    /// of its machine who asks
    Systemd,
    /// Blocks for the file `$GITHUB_ENV` of GitHub Actions
    GithubActions,
}

/// Which variable a form cannot carry, and why. Its value is not in here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be written in this form: {rule}", .name.escape_debug())]
pub(crate) struct Unfit {
    /// The name of the variable, or of the Kubernetes Secret.
    pub(crate) name: String,
    /// The rule it breaks.
    pub(crate) rule: &'static str,
}

/// Writes variables in the order of their names. `name` is what a Kubernetes Secret is called; the
/// other forms have no use for it.
///
/// [`ExportFormat::GithubActions`] hides nothing in the logs of a run, and the file it is for has
/// no means to: whoever calls this prints `::add-mask::` and the value to standard output first,
/// once for each line of it that is not empty, with `%` as `%25` and `\r` as `%0D`.
///
/// # Errors
///
/// The first variable that the form cannot carry unchanged, or a `name` that Kubernetes refuses.
pub(crate) fn render(
    format: ExportFormat,
    name: &str,
    variables: &BTreeMap<String, Secret<String>>,
) -> Result<Secret<String>, Unfit> {
    if format == ExportFormat::Json {
        return json(name, variables);
    }
    let mut page = Secret::new(String::with_capacity(room(name, variables)));
    // EXPOSE: written.
    let text = page.expose_mut();
    begin(format, name, variables.is_empty(), text)
        .map_err(|rule| Unfit { name: name.to_owned(), rule })?;
    let mut bytes = 0;
    for (name, value) in variables {
        // EXPOSE: written in the form that was asked for.
        let value = value.expose();
        bytes += value.len();
        let written = match format {
            ExportFormat::Env => forms::env(name, value, text),
            ExportFormat::Dotenv => forms::dotenv(name, value, text),
            ExportFormat::Json | ExportFormat::Yaml => {
                forms::yaml(name, value, text);
                Ok(())
            }
            ExportFormat::Kubernetes => forms::kubernetes(name, value, bytes, text),
            ExportFormat::Systemd => forms::systemd(name, value, text),
            ExportFormat::GithubActions => forms::github(name, value, text),
        };
        written.map_err(|rule| Unfit { name: name.clone(), rule })?;
    }
    Ok(page)
}

/// Bytes enough for any form, so that no copy stays behind where a text outgrew its place: the
/// longest escape makes six signs of one byte, and the longest frame is the one of GitHub.
fn room(name: &str, variables: &BTreeMap<String, Secret<String>>) -> usize {
    const FRAME: usize = 128;
    // EXPOSE: measured.
    let of_one = |(name, value): (&String, &Secret<String>)| name.len() + value.expose().len();
    let all: usize = variables.iter().map(of_one).sum();
    6 * (name.len() + all) + FRAME * (variables.len() + 1)
}

/// What stands before the first variable.
fn begin(
    format: ExportFormat,
    name: &str,
    is_empty: bool,
    text: &mut String,
) -> Result<(), &'static str> {
    match format {
        ExportFormat::Kubernetes => {
            if !forms::is_subdomain(name) {
                return Err("the name of a Secret must be a subdomain of RFC 1123: lower case \
                            letters, digits, - and ., with a letter or digit around each .");
            }
            text.push_str("apiVersion: v1\nkind: Secret\nmetadata:\n  name: ");
            forms::double_quoted(name, text);
            text.push_str("\ntype: Opaque\ndata:");
            text.push_str(if is_empty { " {}\n" } else { "\n" });
        }
        ExportFormat::Systemd => text.push_str("[Service]\n"),
        // Without this a file with nothing in it would be null.
        ExportFormat::Yaml if is_empty => text.push_str("{}\n"),
        _ => {}
    }
    Ok(())
}

/// One object, each variable on its line.
fn json(name: &str, variables: &BTreeMap<String, Secret<String>>) -> Result<Secret<String>, Unfit> {
    let unfit = || Unfit { name: name.to_owned(), rule: "it could not be written as JSON" };
    // EXPOSE: written as JSON.
    let plain = variables.iter().map(|(name, value)| (name, value.expose()));
    let plain: BTreeMap<_, _> = plain.collect();
    let mut page = Secret::new(Vec::with_capacity(room(name, variables)));
    // EXPOSE: written.
    serde_json::to_writer_pretty(page.expose_mut(), &plain).map_err(|_| unfit())?;
    // EXPOSE: becomes a text where it stands.
    let text = String::from_utf8(std::mem::take(page.expose_mut())).map_err(|_| unfit())?;
    let mut page = Secret::new(text);
    // EXPOSE: the end of the last line.
    page.expose_mut().push('\n');
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, process::Command};

    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::{
        ExportFormat::{Dotenv, Env, GithubActions, Json, Kubernetes, Systemd, Yaml},
        *,
    };
    use crate::secret_files::{
        dotenv,
        structured::{from_json, from_yaml},
    };

    fn write(format: ExportFormat, pairs: &[(&str, &str)]) -> Result<String, Unfit> {
        let secret = |value: &str| Secret::new(value.to_owned());
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), secret(value)));
        let variables = variables.collect();
        let page = render(format, "my-app.1", &variables)?;
        assert_eq!(page.expose().capacity(), room("my-app.1", &variables), "it was moved");
        Ok(page.expose().clone())
    }

    /// Every text of up to four of the signs that mean something anywhere, and longer ones.
    fn torture() -> Vec<String> {
        let signs = ['\'', '"', '`', '\\', '$', '{', '#', ' ', '\n', '\r', 'n', '%', ':'];
        let mut texts = vec![String::new()];
        let mut longest = texts.clone();
        for _ in 0..4 {
            let with_each = |text: &String| signs.map(|sign| format!("{text}{sign}"));
            longest = longest.iter().flat_map(with_each).collect();
            texts.extend(longest.iter().cloned());
        }
        let more = [
            "\tü€😀\u{7f}\u{85}\u{a0}\u{2028}\u{feff}\u{ffff}\u{1}",
            "KEYREEVE_EOF_1\nKEYREEVE_EOF_2\r\n KEYREEVE_EOF_3\nKEYREEVE_EOF_4",
            "-----BEGIN KEY-----\nAAAA==\n-----END KEY-----\n",
            "$(exit 1) `exit 1` ${A:-b} !! ~ * ; & | < > \u{1b}",
            "null",
        ];
        texts.extend(more.map(str::to_owned));
        texts
    }

    /// Writes and reads each of these texts alone.
    fn round_trip(format: ExportFormat, refused: fn(&str) -> bool, read: fn(&str) -> String) {
        for value in torture() {
            match write(format, &[("A", &value)]) {
                Ok(page) => assert_eq!(read(&page), value, "{page}"),
                Err(unfit) => assert!(refused(&value), "{value:?}: {unfit}"),
            }
        }
    }

    #[test]
    fn own_readers_read_what_is_written() {
        fn only(found: Result<Vec<dotenv::Assignment>, dotenv::Mistake>) -> String {
            let [only] = found.unwrap().try_into().unwrap();
            assert!(only.name == "A" && !only.has_reference);
            only.value.expose().clone()
        }
        round_trip(Dotenv, |_| false, |page| only(dotenv::parse(page.as_bytes())));
        round_trip(Json, |_| false, |page| only(from_json(page.as_bytes())));
        round_trip(Yaml, |_| false, |page| only(from_yaml(page.as_bytes())));
        round_trip(
            Yaml,
            |_| false,
            |page| {
                let text = page.strip_prefix("\"A\": ").unwrap();
                serde_json::from_str(text).unwrap()
            },
        );
    }

    #[test]
    fn a_shell_reads_what_is_written() {
        let texts = torture();
        let mut script = String::new();
        for value in &texts {
            script += &write(Env, &[("A", value)]).unwrap();
            script += "printf '%s\\0' \"$A\"\n";
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(script.as_bytes()).unwrap();
        let shell = Command::new("sh").arg(file.path()).output().unwrap();
        let read = String::from_utf8(shell.stdout).unwrap();
        assert!(read.split_terminator('\0').eq(texts.iter().map(String::as_str)));
    }

    #[test]
    fn kubernetes_has_the_bytes_of_each_value() {
        round_trip(
            Kubernetes,
            |_| false,
            |page| {
                let (_, value) = page.split_once("data:\n  \"A\": \"").unwrap();
                let bytes = BASE64_STANDARD.decode(value.strip_suffix("\"\n").unwrap()).unwrap();
                String::from_utf8(bytes).unwrap()
            },
        );
        let expected = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"my-app.1\"\ntype: \
                        Opaque\ndata:\n  \"a.pem\": \"Yg==\"\n  \"c\": \"\"\n";
        assert_eq!(write(Kubernetes, &[("c", ""), ("a.pem", "b")]).unwrap(), expected);
    }

    #[test]
    fn systemd_finds_escapes_and_nothing_else() {
        round_trip(Systemd, str::is_empty, |page| {
            let line = page.strip_prefix("[Service]\nSetCredential=A:").unwrap();
            let line = line.strip_suffix('\n').unwrap();
            assert!(line.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%'));
            let mut parts = line.split('\\');
            let mut bytes = parts.next().unwrap().as_bytes().to_vec();
            for part in parts {
                let (digits, plain) = part.strip_prefix('x').unwrap().split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                bytes.extend(plain.bytes());
            }
            String::from_utf8(bytes).unwrap()
        });
    }

    #[test]
    fn github_finds_the_end_of_each_value() {
        round_trip(
            GithubActions,
            |value| value.ends_with('\r'),
            |page| {
                let (head, rest) = page.split_once('\n').unwrap();
                let delimiter = head.strip_prefix("A<<").unwrap();
                let value = rest.strip_suffix(&format!("\n{delimiter}\n")).unwrap();
                assert!(value.split('\n').all(|line| line.trim_end_matches('\r') != delimiter));
                value.to_owned()
            },
        );
        let expected = "A<<KEYREEVE_EOF_1\nx\nKEYREEVE_EOF_1\nB<<KEYREEVE_EOF_2\nKEYREEVE_EOF_1\n\
                        KEYREEVE_EOF_2\n";
        let pairs = [("B", "KEYREEVE_EOF_1"), ("A", "x")];
        assert_eq!(write(GithubActions, &pairs).unwrap(), expected);
    }

    #[test]
    fn the_simple_case_of_each_form_looks_simple() {
        let pairs = [("B", "it's \"$1\" \\ \r\n"), ("A", "b c")];
        let table = [
            (Env, "export A='b c'\nexport B='it'\\''s \"$1\" \\ \r\n'\n"),
            (Dotenv, "A='b c'\nB=\"it's \\\"\\$1\\\" \\\\ \\r\n\"\n"),
            (Json, "{\n  \"A\": \"b c\",\n  \"B\": \"it's \\\"$1\\\" \\\\ \\r\\n\"\n}\n"),
            (Yaml, "\"A\": \"b c\"\n\"B\": \"it's \\\"$1\\\" \\\\ \\r\\n\"\n"),
        ];
        for (format, expected) in table {
            assert_eq!(write(format, &pairs).unwrap(), expected);
        }
        let empty = [(Env, ""), (Dotenv, ""), (Json, "{}\n"), (Yaml, "{}\n")];
        for (format, expected) in empty {
            assert_eq!(write(format, &[]).unwrap(), expected);
        }
        assert!(write(Kubernetes, &[]).unwrap().ends_with("\ndata: {}\n"));
    }

    #[test]
    fn what_a_form_cannot_carry_is_refused_by_name() {
        let long = "a".repeat(254);
        let large = "canary".repeat(1 << 18);
        let table = [
            (Env, "A.B", "canary"),
            (Env, "1A", "canary"),
            (Env, "", "canary"),
            (Env, "A", "canary\0"),
            (Dotenv, "A B", "canary"),
            (Dotenv, "A", "canary\0"),
            (Kubernetes, "A/B", "canary"),
            (Kubernetes, "", "canary"),
            (Kubernetes, "..a", "canary"),
            (Kubernetes, &long, "canary"),
            (Kubernetes, "A", &large),
            (Systemd, "A:B", "canary"),
            (Systemd, "%n", "canary"),
            (Systemd, "..", "canary"),
            (Systemd, "A", ""),
            (Systemd, "A", &large),
            (GithubActions, "A-B", "canary"),
            (GithubActions, "GITHUB_X", "canary"),
            (GithubActions, "Runner_x", "canary"),
            (GithubActions, "NODE_OPTIONS", "canary"),
            (GithubActions, "A", "canary\0"),
        ];
        for (format, name, value) in table {
            let unfit = write(format, &[(name, value)]).unwrap_err();
            assert_eq!(unfit.name, name, "{format:?}");
            assert!(!unfit.to_string().contains("canary"), "{unfit}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a", &long] {
            let unfit = render(Kubernetes, name, &BTreeMap::new()).unwrap_err();
            assert_eq!(unfit.name, name);
        }
    }
}
