//! How one variable is written in each form, and which one a form cannot carry.

use std::{collections::HashSet, fmt::Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::secret_files::{dotenv, structured::is_safe_in_yaml};

/// The most bytes that all values of one Kubernetes Secret have.
const MOST_OF_KUBERNETES: usize = 1 << 20;
/// The longest name of Kubernetes, of an object and of a key in it.
const LONGEST_OF_KUBERNETES: usize = 253;
/// The longest line that systemd reads.
const LONGEST_OF_SYSTEMD: usize = 1 << 20;
/// The longest name of a credential.
const LONGEST_CREDENTIAL: usize = 255;
/// What the lines that end a value in GitHub's file begin with.
const DELIMITER: &str = "KEYREEVE_EOF_";
const SHELL_NAME: &str = "its name must be letters, digits and _, and not begin with a digit";
const DOTENV_NAME: &str = "its name must be a letter or _ followed by letters, digits, _, . or -";
const NUL: &str = "its value has a NUL, which no variable can have";

/// Single quotes keep everything but a single quote.
pub(super) fn env(name: &str, value: &str, text: &mut String) -> Result<(), &'static str> {
    check(is_shell_name(name), SHELL_NAME)?;
    check(!value.contains('\0'), NUL)?;
    text.push_str("export ");
    text.push_str(name);
    text.push_str("='");
    for sign in value.chars() {
        match sign {
            '\'' => text.push_str(r"'\''"),
            _ => text.push(sign),
        }
    }
    text.push_str("'\n");
    Ok(())
}

/// In single quotes if that is possible, since all dialects take what is in them literally, line
/// ends included; only that of Python makes one of two `\` in a row.
///
/// A value with a single quote or `\r` in it or a `\` at its end would be read differently there.
/// It comes in double quotes, which mean the same everywhere as long as nothing in them needs an
/// escape. The escapes are those of Compose: that of Node.js keeps the `\` before `"`, `$` and
/// `\`, that of Python the one before `$`. A shell that sources the file would run what stands
/// between backticks: for shells there is the form of its own.
pub(super) fn dotenv(name: &str, value: &str, text: &mut String) -> Result<(), &'static str> {
    check(dotenv::is_name(name), DOTENV_NAME)?;
    check(!value.contains('\0'), NUL)?;
    text.push_str(name);
    text.push('=');
    if !value.contains(['\'', '\r']) && !value.ends_with('\\') {
        text.push('\'');
        text.push_str(value);
        text.push_str("'\n");
        return Ok(());
    }
    text.push('"');
    for sign in value.chars() {
        match sign {
            '\\' | '"' | '$' => text.extend(['\\', sign]),
            '\r' => text.push_str("\\r"),
            _ => text.push(sign),
        }
    }
    text.push_str("\"\n");
    Ok(())
}

/// Names are quoted as well: `no` and `1` would be no texts.
pub(super) fn yaml(name: &str, value: &str, text: &mut String) {
    double_quoted(name, text);
    text.push_str(": ");
    double_quoted(value, text);
    text.push('\n');
}

/// A text that JSON, YAML 1.1 and YAML 1.2 read in the same way.
pub(super) fn double_quoted(value: &str, text: &mut String) {
    text.push('"');
    for sign in value.chars() {
        match sign {
            '"' | '\\' => text.extend(['\\', sign]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            _ if !is_safe_in_yaml(sign) => {
                // A String takes everything.
                let _ = write!(text, "\\u{:04x}", u32::from(sign));
            }
            _ => text.push(sign),
        }
    }
    text.push('"');
}

/// The value in base64. `all` is how many bytes the values up to and with this one have.
pub(super) fn kubernetes(
    name: &str,
    value: &str,
    all: usize,
    text: &mut String,
) -> Result<(), &'static str> {
    let is_key = (1..=LONGEST_OF_KUBERNETES).contains(&name.len())
        && name.chars().all(is_key_sign)
        && name != "."
        && !name.starts_with("..");
    check(is_key, "its name must be 1 to 253 letters, digits, -, _ and ., and not begin with ..")?;
    check(all <= MOST_OF_KUBERNETES, "with it all values would be larger than 1 MiB")?;
    text.push_str("  ");
    double_quoted(name, text);
    text.push_str(": \"");
    BASE64_STANDARD.encode_string(value, text);
    text.push_str("\"\n");
    Ok(())
}

/// Everything is escaped that could mean something to systemd, and in a way that means the same
/// wherever it stands: `\\` at the end of a line looks like a line that goes on, and `%%` would be
/// two signs, since specifiers have no meaning in a value.
pub(super) fn systemd(name: &str, value: &str, text: &mut String) -> Result<(), &'static str> {
    let is_credential = (1..=LONGEST_CREDENTIAL).contains(&name.len())
        && name.chars().all(is_key_sign)
        && !matches!(name, "." | "..");
    check(is_credential, "its name must be 1 to 255 letters, digits, -, _ and .")?;
    check(!value.is_empty(), "its value is empty, and systemd ignores empty credentials")?;
    let before = text.len();
    text.push_str("SetCredential=");
    text.push_str(name);
    text.push(':');
    for byte in value.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'%' | b'\\') => text.push(char::from(byte)),
            _ => {
                // A String takes everything.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('\n');
    check(text.len() - before < LONGEST_OF_SYSTEMD, "its line would be longer than 1 MiB")
}

/// `NAME<<DELIMITER`, the value, and the delimiter on its own line, which the value must not have.
pub(super) fn github(name: &str, value: &str, text: &mut String) -> Result<(), &'static str> {
    let upper = name.to_ascii_uppercase();
    let is_taken = upper.starts_with("GITHUB_") || upper.starts_with("RUNNER_");
    check(is_shell_name(name), SHELL_NAME)?;
    check(!is_taken, "names that begin with GITHUB_ or RUNNER_ are GitHub's own")?;
    check(upper != "NODE_OPTIONS", "GitHub does not let this file set NODE_OPTIONS")?;
    check(!value.contains('\0'), NUL)?;
    check(
        !value.ends_with('\r'),
        "its value ends in \\r, which a runner on Windows would cut off",
    )?;
    let lines = value.lines().filter(|line| line.starts_with(DELIMITER));
    let taken: HashSet<&str> = lines.collect();
    let mut number = 1;
    let mut delimiter = format!("{DELIMITER}{number}");
    while taken.contains(delimiter.as_str()) {
        number += 1;
        delimiter = format!("{DELIMITER}{number}");
    }
    for part in [name, "<<", &delimiter, "\n", value, "\n", &delimiter, "\n"] {
        text.push_str(part);
    }
    Ok(())
}

fn check(holds: bool, rule: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(rule) }
}

fn is_shell_name(name: &str) -> bool {
    dotenv::is_name(name) && !name.contains(['.', '-'])
}

fn is_key_sign(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_' | '.')
}

/// A subdomain as RFC 1123 has it, in lower case.
pub(super) fn is_subdomain(name: &str) -> bool {
    let is_inner = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_inner)
            && label.ends_with(is_inner)
            && label.chars().all(|sign| is_inner(sign) || sign == '-')
    };
    name.len() <= LONGEST_OF_KUBERNETES && name.split('.').all(is_label)
}
