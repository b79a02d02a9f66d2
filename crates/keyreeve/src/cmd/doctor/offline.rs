//! Checks of the copies for when the server cannot be reached.

use jiff::SignedDuration;
use keyreeve_core::duration;

use super::{Check, Status};
use crate::{
    config::{Config, cache::CacheConfig},
    context::Context,
    offline::CopyFolder,
    output::moment,
};

/// What was withdrawn at the server should not be used for longer than this.
const LONG: SignedDuration = SignedDuration::from_hours(24);

/// Whether copies can be kept, how many there are and how old they are.
pub(super) fn look(config: &Config, context: &Context, found: &mut Vec<Check>) {
    let (status, detail) = judge(&config.cache, context);
    found.push(Check::new("offline copies", status, detail));
}

fn judge(cache: &CacheConfig, context: &Context) -> (Status, String) {
    if cache.folder.is_none() {
        return (Status::Skipped, "none are kept: cache.folder says no place".to_owned());
    }
    if cache.fresh.is_zero() {
        return (Status::Skipped, "none are kept: cache.fresh is 0s".to_owned());
    }
    let Some(folder) = CopyFolder::find(cache, &context.environment) else {
        let why = "none can be kept: neither XDG_CACHE_HOME nor HOME says where";
        return (Status::Skipped, why.to_owned());
    };
    let mut kept = match folder.tidy(cache.longest(), context.now) {
        Ok(kept) => kept,
        Err(error) => {
            let error = anyhow::Error::new(error);
            return (Status::Warning, format!("none can be kept: {error:#}"));
        }
    };
    kept.sort_unstable_by_key(|copy| copy.kept_at);
    let count = match (kept.first(), kept.last()) {
        (Some(oldest), Some(newest)) => {
            let age = |at| moment::relative(at, context.now);
            let (newest, oldest) = (age(newest.kept_at), age(oldest.kept_at));
            format!("{} (newest {newest}, oldest {oldest})", kept.len())
        }
        _ => "none".to_owned(),
    };
    let place = folder.path().display();
    let detail = format!("{count} in {place}; {}", limits(cache));
    if cache.stale > LONG {
        let why = "what was withdrawn at the server is used for more than a day (cache.stale)";
        return (Status::Warning, format!("{detail}: {why}"));
    }
    if matches!(context.offline(), Ok(None)) {
        let why = "more are kept only with --url and a key in KEYREEVE_TOKEN";
        return (Status::Skipped, format!("{detail}; {why}"));
    }
    (Status::Ok, detail)
}

/// How old copies may be.
fn limits(cache: &CacheConfig) -> String {
    let fresh = format!("used up to {} old", duration::format(cache.fresh));
    if cache.stale <= cache.fresh {
        return fresh;
    }
    format!("{fresh}, with a warning up to {}", duration::format(cache.stale))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use clap::Parser as _;
    use keyreeve_engine::Clock as _;

    use super::*;
    use crate::{
        cli::Cli, config::Flags, environment::Environment, output::Output, system::SystemClock,
    };

    /// What is said with these settings, below a home of its own.
    fn said(settings: &[(&str, &str)]) -> (Status, String) {
        let words = ["keyreeve", "doctor", "--url", "http://127.0.0.1:7420"];
        let Cli { global, .. } = Cli::try_parse_from(words).unwrap();
        let on = [("KEYREEVE_CACHE__FOLDER", "auto")];
        let pairs =
            on.iter().chain(settings).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let environment = Environment::from_pairs(pairs);
        let now = SystemClock::new().now();
        let output = Output::new(global.format, global.colour, now);
        let context = Context { global, environment, output, now };
        let mut found = Vec::new();
        look(&context.config(Flags::default()).unwrap(), &context, &mut found);
        let only = found.pop().unwrap();
        (only.status, only.detail)
    }

    #[test]
    fn what_is_kept_and_for_how_long_is_told() {
        let caches = tempfile::tempdir().unwrap();
        let place = ("XDG_CACHE_HOME", caches.path().to_str().unwrap());
        let token = ("KEYREEVE_TOKEN", "kr_live_canary");
        let (status, detail) = said(&[place, token]);
        assert_eq!(status, Status::Ok, "{detail}");
        assert!(detail.starts_with("none in ") && detail.ends_with("used up to 5m old"));
        let folder = caches.path().join("keyreeve");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(folder.join(CopyFolder::file_name(&"0a".repeat(32))), "x").unwrap();
        let (status, detail) = said(&[place, token, ("KEYREEVE_CACHE__STALE", "1h")]);
        assert_eq!(status, Status::Ok, "{detail}");
        assert!(detail.starts_with("1 (newest now, oldest now) in "), "{detail}");
        assert!(detail.ends_with("used up to 5m old, with a warning up to 1h"), "{detail}");
        let (status, detail) = said(&[place, ("KEYREEVE_CACHE__STALE", "2d")]);
        assert_eq!(status, Status::Warning, "{detail}");
        let (status, detail) = said(&[place]);
        assert_eq!(status, Status::Skipped, "{detail}");
        assert!(detail.contains("KEYREEVE_TOKEN"), "{detail}");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let (status, detail) = said(&[place, token]);
        assert_eq!(status, Status::Warning, "{detail}");
        assert!(detail.contains("other users may write"), "{detail}");
    }

    #[test]
    fn why_none_can_be_kept_is_told() {
        let (status, detail) = said(&[("HOME", "/home/a"), ("KEYREEVE_CACHE__FRESH", "0s")]);
        assert_eq!((status, &*detail), (Status::Skipped, "none are kept: cache.fresh is 0s"));
        let (status, detail) = said(&[]);
        assert_eq!(status, Status::Skipped);
        assert!(detail.contains("HOME"), "{detail}");
        let (status, detail) = said(&[("KEYREEVE_CACHE__FOLDER", "")]);
        assert_eq!(status, Status::Skipped);
        assert!(detail.contains("cache.folder"), "{detail}");
    }
}
