//! What is said when the command line itself cannot be read.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::error::ErrorKind;

use crate::failure::{Advised, Failure};

const KEY_HINT: &str = "a key typed as an argument stays in the shell's history and is visible to \
                        others: rotate it; `keyreeve key verify` reads it from standard input, \
                        other commands take its id";

/// Prints help, the version, or what is wrong, and gives the exit code that goes with it.
///
/// What is wrong is usually repeated in the message. If it is a key, it is not: the message may
/// end up in the log of a build.
///
/// What is wrong is JSON where JSON was asked for, as any other failure is. Help and the version
/// stay text: they are for people.
pub(crate) fn report(error: &clap::Error, arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let keys: Vec<String> = arguments.iter().flat_map(|argument| keys_in(argument)).collect();
    // There is nowhere to say that printing failed; a reader that went away is no error.
    let _ = if error.use_stderr() && wants_json(&arguments) {
        writeln!(anstream::stderr().lock(), "{}", to_json(error, &keys))
    } else if keys.is_empty() {
        error.print()
    } else {
        print_without(error, &keys)
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn print_without(error: &clap::Error, keys: &[String]) -> io::Result<()> {
    let mut stderr = anstream::stderr().lock();
    writeln!(stderr, "{}\nhint: {KEY_HINT}", without(&error.render().to_string(), keys).trim_end())
}

/// Whether JSON was asked for. The options could not be read, so the bare words have to tell.
fn wants_json(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--format=json")
        || arguments.windows(2).any(|pair| pair == ["--format", "json"])
}

/// The same JSON as that of other failures. What is wrong is the message; usage and tips, which
/// stand in paragraphs below it, are the hint.
fn to_json(error: &clap::Error, keys: &[String]) -> String {
    let text = without(&error.render().to_string(), keys);
    let mut paragraphs = text.split("\n\n").map(on_one_line).filter(|line| !line.is_empty());
    let (message, hint) = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Here the text is the whole help, which does not say that it is there for an error.
        ("a command is missing".to_owned(), "`--help` shows the commands there are".to_owned())
    } else {
        let first = paragraphs.next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
        (message, paragraphs.collect::<Vec<_>>().join("; "))
    };
    let hint = if keys.is_empty() { hint } else { KEY_HINT.to_owned() };
    Failure::of(&anyhow::Error::from(Advised::new(message, hint))).to_json()
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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

    fn json(arguments: &[&str], keys: &[String]) -> serde_json::Value {
        let words = ["keyreeve"].iter().chain(arguments);
        let error = Cli::try_parse_from(words).unwrap_err();
        serde_json::from_str(&to_json(&error, keys)).unwrap()
    }

    #[test]
    fn programs_get_json() {
        let failure = json(&["key", "list", "--limit", "0", "--format", "json"], &[]);
        let message = failure["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("invalid value '0' for '--limit"), "{message}");
        assert!(!message.contains('\n'), "{message}");
        assert!(failure["error"]["hint"].as_str().unwrap().contains("--help"), "{failure}");
        let failure = json(&["--format=json", "key"], &[]);
        assert_eq!(failure["error"]["message"], "a command is missing");
    }

    #[test]
    fn keys_are_not_repeated_in_json_either() {
        let key = format!("kr_live_4Tn0Zs8QbW1c_{}", "a".repeat(49));
        let failure = json(&["key", "verify", &key, "--format=json"], std::slice::from_ref(&key));
        assert!(!failure.to_string().contains("4Tn0Zs8QbW1c"), "{failure}");
        assert_eq!(failure["error"]["hint"], KEY_HINT);
    }

    #[test]
    fn json_is_asked_for_in_two_ways() {
        let wants = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            wants_json(&words)
        };
        assert!(wants(&["keyreeve", "--format", "json", "x"]) && wants(&["--format=json"]));
        for other in [&["--format", "text", "json"][..], &["json"], &["--format=text"], &[]] {
            assert!(!wants(other), "{other:?}");
        }
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
