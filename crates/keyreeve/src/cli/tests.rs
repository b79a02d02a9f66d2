use clap::CommandFactory as _;

use super::*;

/// Every command with its path, such as `keyreeve key create`.
fn commands() -> Vec<(String, clap::Command)> {
    fn collect(path: &str, command: &clap::Command, found: &mut Vec<(String, clap::Command)>) {
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name());
            found.push((path.clone(), inner.clone()));
            collect(&path, inner, found);
        }
    }
    let root = Cli::command();
    let mut found = vec![("keyreeve".to_owned(), root.clone())];
    collect("keyreeve", &root, &mut found);
    found
}

/// The examples of a command: lines beneath "Examples:" that are set in.
fn examples(command: &clap::Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    text.lines()
        .skip_while(|line| *line != "Examples:")
        .filter_map(|line| line.strip_prefix("  "))
        .map(str::to_owned)
        .collect()
}

/// The words of the part of a line that runs keyreeve.
fn words(line: &str) -> Vec<String> {
    let line = line.rsplit(" | ").next().unwrap_or(line);
    let line = line.split(" > ").next().unwrap_or(line);
    let line = line.split(" < ").next().unwrap_or(line);
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        if c == '\'' {
            quoted = !quoted;
        } else if c == ' ' && !quoted {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(c);
        }
    }
    words.push(word);
    words
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples_that_parse() {
    for (path, command) in commands() {
        let examples = examples(&command);
        assert!(!examples.is_empty(), "{path} has no examples");
        assert!(
            examples.iter().any(|example| example.contains(&path)) || path == "keyreeve",
            "no example of {path}"
        );
        for example in examples {
            let words = words(&example);
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn every_command_and_option_is_explained() {
    for (path, command) in commands() {
        assert!(command.get_about().is_some(), "{path}");
        for argument in command.get_arguments() {
            let explained = argument.get_help().is_some();
            let own = !matches!(argument.get_id().as_str(), "help" | "version");
            assert!(explained || !own, "{path} {}", argument.get_id());
        }
    }
}

#[test]
fn no_option_takes_a_secret() {
    for (path, command) in commands() {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            assert!(!["token", "key", "secret", "password"].contains(&id), "{path} --{id}");
        }
    }
}

#[test]
fn a_key_cannot_be_typed_where_it_is_verified() {
    assert!(Cli::try_parse_from(["keyreeve", "key", "verify", "kr_live_x"]).is_err());
}

#[test]
fn contradictions_are_refused() {
    for words in [
        "key create --name a --expires-in 1d --expires-at 2026-12-01",
        "key update 4Tn0Zs8QbW1c --owner a --no-owner",
        "key update 4Tn0Zs8QbW1c --role a --no-roles",
        "key update 4Tn0Zs8QbW1c --expires-in 1d --never-expires",
        "key update 4Tn0Zs8QbW1c --expires-at 2026-12-01 --never-expires",
        "owner update acme --name a --no-name",
        "owner update acme --quota 1/day --no-quota",
        "key update 4Tn0Zs8QbW1c --limit a=1/1s --no-limits",
        "key update 4Tn0Zs8QbW1c --override a:b=1/1s",
        "key update 4Tn0Zs8QbW1c --origin https://a.example --no-restrictions",
        "keyspace update partners --allow-ip 192.0.2.1 --no-allow-ips",
        "key verify --at 2026-12-01",
        "key list --limit 0",
        "key list --limit 1001",
        "key list --state asleep",
        "key expiring --days 0",
        "key verify --require (a",
        "environment create canary --tag real",
        "keyspace create Partners --prefix a",
        "serve --listen localhost",
        "--format yaml doctor",
    ] {
        let arguments = std::iter::once("keyreeve").chain(words.split(' '));
        let error = Cli::try_parse_from(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words}");
    }
}

#[test]
fn global_options_stand_anywhere() {
    let words = ["keyreeve", "--format", "json", "key", "list", "--color", "never"];
    let cli = Cli::try_parse_from(words).unwrap();
    assert_eq!(cli.global.format, Format::Json);
    assert_eq!(cli.global.colour, ColourChoice::Never);
}
