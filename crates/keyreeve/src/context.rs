//! What every command gets besides its own arguments.

use jiff::Timestamp;
use keyreeve_api::Client;

use crate::{
    cli::GlobalArgs,
    config::{Config, ConfigError, ConfigFile, Flags, Sources},
    connect::Whereabouts,
    environment::Environment,
    offline::OfflineCopies,
    output::Output,
};

/// What every command gets besides its own arguments.
#[derive(Debug)]
pub(crate) struct Context {
    /// Options of every command.
    pub(crate) global: GlobalArgs,
    /// The process environment.
    pub(crate) environment: Environment,
    /// Where to print.
    pub(crate) output: Output,
    /// The time the program was started.
    pub(crate) now: Timestamp,
}

impl Context {
    /// Reads the settings. The data folder of the command line counts, whatever `flags` say of it.
    pub(crate) fn config(&self, flags: Flags) -> Result<Config, ConfigError> {
        let file = match filled(self.global.config.as_ref(), |path| path.as_os_str().is_empty()) {
            Some(path) => ConfigFile::Named(path.clone()),
            None => ConfigFile::Usual("keyreeve.toml".into()),
        };
        let data_dir = filled(self.global.data_dir.as_ref(), |path| path.as_os_str().is_empty());
        let flags = Flags { data_dir: data_dir.cloned().or(flags.data_dir), ..flags };
        Config::load(Sources { file, variables: self.environment.variables(), flags })
    }

    /// A client for the server that the options, the environment and the settings point to.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let url = filled(self.global.url.as_deref(), str::is_empty);
        // The settings say where the socket is; with an address nothing of them is needed.
        let data_dir = match url {
            Some(_) => std::path::PathBuf::new(),
            None => self.config(Flags::default())?.store.data_dir,
        };
        let whereabouts = Whereabouts {
            url,
            data_dir: &data_dir,
            project: filled(self.global.project.as_deref(), str::is_empty),
            token: self.environment.token(),
            allow_plaintext: self.environment.get("KEYREEVE_ALLOW_PLAINTEXT") == Some("1"),
        };
        Ok(whereabouts.connect()?)
    }

    /// Copies of what the server at the named address said to the holder of the key. There are none
    /// over the socket: that server is on this machine, and mostly there is no key to seal them under.
    pub(crate) fn offline(&self) -> Result<Option<OfflineCopies<'_>>, ConfigError> {
        let url = filled(self.global.url.as_deref(), str::is_empty);
        let (Some(url), Some(token)) = (url, self.environment.token()) else { return Ok(None) };
        let cache = self.config(Flags::default())?.cache;
        Ok(OfflineCopies::new(&cache, &self.environment, url, token))
    }
}

/// A variable that is set to nothing is as good as not set.
fn filled<T: ?Sized>(value: Option<&T>, is_empty: impl Fn(&T) -> bool) -> Option<&T> {
    value.filter(|value| !is_empty(value))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn context(arguments: &[&str], variables: &[(&str, &str)]) -> Context {
        let words = ["keyreeve", "doctor"].iter().chain(arguments);
        let Cli { mut global, .. } = Cli::try_parse_from(words).unwrap();
        // Only what the test says counts, not the environment it runs in.
        global.project = None;
        let pairs = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let now = Timestamp::UNIX_EPOCH;
        let output = Output::new(global.format, global.colour, now);
        Context { global, environment: Environment::from_pairs(pairs), output, now }
    }

    #[test]
    fn options_go_before_variables() {
        let variables = [("KEYREEVE_STORE__DATA_DIR", "/from/variable")];
        let config = context(&[], &variables).config(Flags::default()).unwrap();
        assert_eq!(config.store.data_dir, PathBuf::from("/from/variable"));
        let context = context(&["--data-dir", "/from/option"], &variables);
        let config = context.config(Flags::default()).unwrap();
        assert_eq!(config.store.data_dir, PathBuf::from("/from/option"));
    }

    #[test]
    fn a_broken_setting_does_not_stand_in_the_way_of_an_address() {
        let variables = [("KEYREEVE_STORE__READERS", "0")];
        let context = context(&["--url", "http://127.0.0.1:7420"], &variables);
        assert!(context.config(Flags::default()).is_err());
        assert!(context.client().is_ok());
    }

    #[test]
    fn copies_need_an_address_and_a_key_and_a_place() {
        let url = &["--url", "http://127.0.0.1:7420"][..];
        let (token, place) = (("KEYREEVE_TOKEN", "kr_live_canary"), ("HOME", "/home/a"));
        let off = ("KEYREEVE_CACHE__FRESH", "0s");
        let on = ("KEYREEVE_CACHE__FOLDER", "auto");
        for (arguments, variables, expected) in [
            (url, &[token, place, on][..], true),
            (url, &[token, place][..], false),
            (&["--url", ""][..], &[token, place, on][..], false),
            (url, &[place, on][..], false),
            (url, &[token, on][..], false),
            (url, &[token, place, on, off][..], false),
        ] {
            let found = context(arguments, variables).offline().unwrap().is_some();
            assert_eq!(found, expected, "{arguments:?} {variables:?}");
        }
    }

    #[test]
    fn a_key_is_not_sent_in_clear_text_unless_allowed() {
        let url = ["--url", "http://keys.example.com"];
        let token = ("KEYREEVE_TOKEN", "kr_live_canary");
        let error = context(&url, &[token]).client().unwrap_err();
        assert!(error.to_string().contains("in clear text"), "{error}");
        let allowed = [token, ("KEYREEVE_ALLOW_PLAINTEXT", "1")];
        assert!(context(&url, &allowed).client().is_ok());
    }
}
