//! What is said when the command line itself cannot be read.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// Prints help, the version, or what is wrong, and gives the exit code that goes with it.
///
/// What is wrong is usually repeated in the message. If it is a key, it is not: the message may
/// end up in the log of a build.
pub(crate) fn report(error: &clap::Error, arguments: impl Iterator<Item = String>) -> ExitCode {
    let keys: Vec<String> = arguments.flat_map(|argument| keys_in(&argument)).collect();
    // There is nowhere to say that printing failed; a reader that went away is no error.
    let _ = if keys.is_empty() { error.print() } else { print_without(error, &keys) };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn print_without(error: &clap::Error, keys: &[String]) -> io::Result<()> {
    const HINT: &str = "hint: a key typed as an argument stays in the shell's history and is \
                        visible to others: rotate it; `keyreeve key verify` reads it from \
                        standard input, other commands take its id";
    let mut stderr = anstream::stderr().lock();
    writeln!(stderr, "{}\n{HINT}", without(&error.render().to_string(), keys).trim_end())
}

fn without(message: &str, keys: &[String]) -> String {
    keys.iter().fold(message.to_owned(), |message, key| message.replace(key, "[a key]"))
}

/// The parts of an argument that have the look of a key: long, and tagged live or test.
fn keys_in(argument: &str) -> Vec<String> {
    argument
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|part| part.len() >= 40 && (part.contains("_live_") || part.contains("_test_")))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn keys_are_not_repeated() {
        let key = format!("kr_live_4Tn0Zs8QbW1c_{}", "a".repeat(49));
        let keys = keys_in(&format!("--name={key}"));
        assert_eq!(keys, std::slice::from_ref(&key));
        let error = Cli::try_parse_from(["keyreeve", "key", "verify", &key]).unwrap_err();
        let message = error.render().to_string();
        assert!(message.contains(&key));
        let message = without(&message, &keys);
        assert!(!message.contains("4Tn0Zs8QbW1c") && message.contains("[a key]"), "{message}");
    }

    #[test]
    fn other_arguments_are_repeated() {
        for argument in ["--verbose", "4Tn0Zs8QbW1c", "a_live_wire", &"x".repeat(80)] {
            assert!(keys_in(argument).is_empty(), "{argument}");
        }
    }

    #[test]
    fn wrong_usage_is_2_and_help_is_0() {
        let error = Cli::try_parse_from(["keyreeve", "nonsense"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let error = Cli::try_parse_from(["keyreeve", "--help"]).unwrap_err();
        assert_eq!(error.exit_code(), 0);
        let error = Cli::try_parse_from(["keyreeve", "key"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
