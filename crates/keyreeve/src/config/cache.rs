//! What clients keep for when the server cannot be reached.

use std::path::PathBuf;

use jiff::SignedDuration;
use serde::Deserialize;

use super::{
    fault::Rules,
    rule::{path, span},
};

/// The longest that a copy counts as fresh.
const LONGEST_FRESH: SignedDuration = SignedDuration::from_hours(24);
/// The longest that a copy is used at all.
const LONGEST_STALE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// `[cache]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheConfig {
    /// How old a copy may be; zero means that none is kept.
    pub(crate) fresh: SignedDuration,
    /// How old a copy may be that is used with a warning; zero means none.
    pub(crate) stale: SignedDuration,
    /// Where copies are; `None` means that none are kept.
    pub(crate) folder: Option<CacheFolder>,
}

/// Where copies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CacheFolder {
    /// In the user's own folder for such things.
    Usual,
    /// Here.
    At(PathBuf),
}

impl CacheConfig {
    /// The age at which a copy is of no more use.
    pub(crate) fn longest(&self) -> SignedDuration {
        self.fresh.max(self.stale)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCache {
    fresh: String,
    stale: String,
    folder: String,
}

impl RawCache {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<CacheConfig> {
        let up_to = |longest| SignedDuration::ZERO..=longest;
        let fresh = rules.keep("cache.fresh", span(&self.fresh, &up_to(LONGEST_FRESH)));
        let stale = rules.keep("cache.stale", span(&self.stale, &up_to(LONGEST_STALE)));
        let folder = match self.folder.as_str() {
            "" => None,
            "auto" => Some(CacheFolder::Usual),
            folder => Some(CacheFolder::At(rules.keep("cache.folder", path(folder))?)),
        };
        Some(CacheConfig { fresh: fresh?, stale: stale?, folder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError, ConfigFile, Flags, Sources};

    fn load(pairs: &[(&str, &str)]) -> Result<CacheConfig, ConfigError> {
        let variables = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let file = ConfigFile::Usual(folder.path().join("keyreeve.toml"));
        let sources = Sources { file, variables, flags: Flags::default() };
        Config::load(sources).map(|config| config.cache)
    }

    #[test]
    fn none_are_kept_unless_a_folder_is_set_and_then_for_five_minutes() {
        let five_minutes = SignedDuration::from_mins(5);
        let usual = CacheConfig { fresh: five_minutes, stale: SignedDuration::ZERO, folder: None };
        assert_eq!(load(&[]).unwrap(), usual);
        assert_eq!(usual.longest(), five_minutes);
        let pairs = [
            ("KEYREEVE_CACHE__FRESH", "0s"),
            ("KEYREEVE_CACHE__STALE", "30d"),
            ("KEYREEVE_CACHE__FOLDER", "/var/cache/keys"),
        ];
        let set = load(&pairs).unwrap();
        assert!(set.fresh.is_zero());
        assert_eq!(set.longest(), LONGEST_STALE);
        assert_eq!(set.folder, Some(CacheFolder::At(PathBuf::from("/var/cache/keys"))));
        let usual = load(&[("KEYREEVE_CACHE__FOLDER", "auto")]).unwrap();
        assert_eq!(usual.folder, Some(CacheFolder::Usual));
    }

    #[test]
    fn ages_keep_their_bounds() {
        for (name, value, expected) in [
            ("FRESH", "25h", "cache.fresh must be between 0s and 1d"),
            ("FRESH", "soon", "cache.fresh must be a length of time"),
            ("STALE", "31d", "cache.stale must be between 0s and 30d"),
            ("FOLDER", " ", "cache.folder must not be empty"),
        ] {
            let name = format!("KEYREEVE_CACHE__{name}");
            let error = load(&[(name.as_str(), value)]).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
