//! One secret: its versions, what bounds them, and what people noted about it. Its fields are
//! elsewhere, encrypted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{CasMismatch, VersionMeta, VersionNumber};
use crate::Invalid;

/// How many versions are kept unless something else is said.
pub const DEFAULT_MAX_VERSIONS: u32 = 10;

/// Names of versions that follow from what was done.
const STAGES: [&str; 3] = ["current", "previous", "pending"];
/// The most other names of a secret's versions.
const MOST_ALIASES: usize = 32;

/// Notes that people or programs attach: text by name.
pub type CustomMetadata = BTreeMap<String, String>;

/// What bounds a secret's versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSettings {
    /// How many versions are kept; 0 leaves it to the mount.
    #[serde(default)]
    pub max_versions: u32,
    /// Whether every write has to say which version it has seen.
    #[serde(default)]
    pub cas_required: bool,
    /// How long after it was written a version is deleted; zero never.
    #[serde(default)]
    pub delete_version_after: SignedDuration,
}

/// What bounds all secrets of a project that say nothing themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountConfig {
    /// As [`SecretSettings`]; 0 versions are [`DEFAULT_MAX_VERSIONS`].
    #[serde(flatten)]
    pub settings: SecretSettings,
}

/// Whose a secret is and what is to be done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Whose credentials it holds, by the id in the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How much it opens: `low`, `medium`, `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// When the provider ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How often it is to be changed, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_every_days: Option<u32>,
}

impl About {
    /// Checks what people say about a secret.
    pub fn check(&self) -> Result<(), Invalid> {
        let texts = [&self.provider, &self.owner].into_iter().flatten();
        let good =
            |text: &String| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
        if !texts.into_iter().all(good) {
            return Err(Invalid::new(
                "must name provider and owner in 1 to 128 bytes without control characters",
            ));
        }
        if self
            .risk
            .as_ref()
            .is_some_and(|risk| !["low", "medium", "high"].contains(&risk.as_str()))
        {
            return Err(Invalid::new("must give the risk as low, medium or high"));
        }
        if self.rotate_every_days.is_some_and(|days| !(1..=3_650).contains(&days)) {
            return Err(Invalid::new("must give rotate_every_days as 1 to 3650"));
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A secret.
///
/// This is the form that is stored, too: as JSON, authenticated together with its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRecord {
    /// Its own id, which no other secret ever has, not even one at the same path later.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When anything about it changed last.
    pub updated_at: Timestamp,
    /// What bounds its versions.
    #[serde(flatten)]
    pub settings: SecretSettings,
    /// What was noted about it.
    #[serde(default)]
    pub custom_metadata: CustomMetadata,
    /// Whose it is and what is to be done with it.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub about: About,
    /// How often bounds or notes were set.
    #[serde(default)]
    pub metadata_version: u64,
    /// The version that is read; 0 while there is none.
    pub current: VersionNumber,
    /// The version that was read before; 0 if there was none.
    #[serde(default)]
    pub previous: VersionNumber,
    /// The version that waits to be read; 0 if none does.
    #[serde(default)]
    pub pending: VersionNumber,
    /// Names that people gave to versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, VersionNumber>,
    /// The highest number that was ever given.
    pub last: VersionNumber,
    /// The versions that are still known, by number.
    pub versions: BTreeMap<VersionNumber, VersionMeta>,
}

/// What a new version is at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// The version that is read.
    #[default]
    Current,
    /// One that waits to be.
    Pending,
}

/// What a look for a version finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'r> {
    /// Its fields can be read.
    Readable(VersionNumber, &'r VersionMeta),
    /// It is deleted or destroyed.
    Gone(VersionNumber, &'r VersionMeta),
    /// It never was, or was pruned.
    Missing,
}

impl SecretRecord {
    /// A secret without versions.
    pub fn new(id: String, now: Timestamp) -> Self {
        Self {
            id,
            created_at: now,
            updated_at: now,
            settings: SecretSettings::default(),
            custom_metadata: CustomMetadata::new(),
            about: About::default(),
            metadata_version: 0,
            current: 0,
            previous: 0,
            pending: 0,
            aliases: BTreeMap::new(),
            last: 0,
            versions: BTreeMap::new(),
        }
    }

    /// Makes room for one more version, which becomes the current one, or waits to become it. Gives its
    /// number and those that are pruned for it.
    ///
    /// `cas` is what the writer has seen: the current version, or 0 for none.
    pub fn put(
        &mut self,
        cas: Option<VersionNumber>,
        stage: Stage,
        mount: &MountConfig,
        created_by: Option<String>,
        now: Timestamp,
    ) -> Result<(VersionNumber, Vec<VersionNumber>), CasMismatch> {
        let required = self.settings.cas_required || mount.settings.cas_required;
        match cas {
            None if required => return Err(CasMismatch::Required),
            Some(seen) if seen != self.current => {
                return Err(CasMismatch::Mismatch { current: self.current });
            }
            _ => {}
        }
        self.last += 1;
        match stage {
            Stage::Current => self.make_current(self.last),
            Stage::Pending => self.pending = self.last,
        }
        let deleted_at = self.life(mount).and_then(|life| now.checked_add(life).ok());
        let meta = VersionMeta { created_at: now, deleted_at, destroyed: false, created_by };
        self.versions.insert(self.last, meta);
        self.updated_at = now;
        Ok((self.last, self.prune(mount)))
    }

    fn make_current(&mut self, version: VersionNumber) {
        if self.current != version {
            self.previous = self.current;
        }
        self.current = version;
        if self.pending == version {
            self.pending = 0;
        }
    }

    /// Makes a version the current one; the one that waits if none is named. Gives its number.
    pub fn promote(
        &mut self,
        version: Option<VersionNumber>,
        now: Timestamp,
    ) -> Result<VersionNumber, Invalid> {
        let version = version.unwrap_or(self.pending);
        if version == 0 {
            return Err(Invalid::new("must be named: none is pending"));
        }
        if !self.versions.get(&version).is_some_and(|meta| meta.is_readable(now)) {
            return Err(Invalid::new("must be a version that can be read"));
        }
        self.make_current(version);
        self.updated_at = now;
        Ok(version)
    }

    /// Gives a version another name, or takes a name away.
    pub fn set_alias(
        &mut self,
        alias: &str,
        version: Option<VersionNumber>,
        now: Timestamp,
    ) -> Result<(), Invalid> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        let is_name = (1..=64).contains(&alias.len())
            && alias.bytes().all(good)
            && alias.starts_with(|c: char| c.is_ascii_lowercase());
        if !is_name || STAGES.contains(&alias) {
            return Err(Invalid::new(
                "must be 1 to 64 characters of a-z, 0-9, '-' and '_', begin with a letter, and be \
                 none of current, previous and pending",
            ));
        }
        match version {
            None => drop(self.aliases.remove(alias)),
            Some(version) if !self.versions.contains_key(&version) => {
                return Err(Invalid::new("must name a version that is there"));
            }
            Some(_) if self.aliases.len() >= MOST_ALIASES && !self.aliases.contains_key(alias) => {
                return Err(Invalid::new("must be at most 32"));
            }
            Some(version) => drop(self.aliases.insert(alias.to_owned(), version)),
        }
        self.updated_at = now;
        Ok(())
    }

    /// The version of that name: `current`, `previous`, `pending` or an alias.
    pub fn labelled(&self, label: &str) -> Option<VersionNumber> {
        let version = match label {
            "current" => self.current,
            "previous" => self.previous,
            "pending" => self.pending,
            alias => self.aliases.get(alias).copied().unwrap_or(0),
        };
        (version > 0).then_some(version)
    }

    /// Forgets the oldest versions beyond those that are kept, but never the current one or one that
    /// waits. Gives their numbers.
    fn prune(&mut self, mount: &MountConfig) -> Vec<VersionNumber> {
        let most = [self.settings.max_versions, mount.settings.max_versions, DEFAULT_MAX_VERSIONS];
        let most = most.into_iter().find(|most| *most > 0).unwrap_or(DEFAULT_MAX_VERSIONS);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut pruned = Vec::new();
        let needed = [self.current, self.pending];
        while self.versions.len() > most {
            let mut numbers = self.versions.keys().copied();
            let Some(oldest) = numbers.find(|number| !needed.contains(number)) else { break };
            self.versions.remove(&oldest);
            self.aliases.retain(|_, version| *version != oldest);
            if self.previous == oldest {
                self.previous = 0;
            }
            pruned.push(oldest);
        }
        pruned
    }

    /// How long its new versions live: the shorter of what it and the mount say.
    fn life(&self, mount: &MountConfig) -> Option<SignedDuration> {
        let lives = [self.settings.delete_version_after, mount.settings.delete_version_after];
        // A negative length switches it off for this secret, whatever the mount says.
        if lives[0].is_negative() {
            return None;
        }
        lives.into_iter().filter(SignedDuration::is_positive).min()
    }

    /// Looks for a version; `None` is the current one.
    pub fn find(&self, version: Option<VersionNumber>, now: Timestamp) -> Found<'_> {
        let number = version.filter(|number| *number > 0).unwrap_or(self.current);
        match self.versions.get(&number) {
            Some(meta) if meta.is_readable(now) => Found::Readable(number, meta),
            Some(meta) => Found::Gone(number, meta),
            None => Found::Missing,
        }
    }

    /// Deletes versions, so that they can be brought back. Gives whether anything changed. Versions
    /// that are not there, or not any more, are passed over.
    pub fn delete(&mut self, versions: &[VersionNumber], now: Timestamp) -> bool {
        self.change(versions, now, |meta| {
            let deletes = meta.is_readable(now);
            if deletes {
                meta.deleted_at = Some(now);
            }
            deletes
        })
    }

    /// Brings deleted versions back. Where versions end by themselves, these live as long as a new one
    /// would.
    pub fn undelete(
        &mut self,
        versions: &[VersionNumber],
        mount: &MountConfig,
        now: Timestamp,
    ) -> bool {
        let until = self.life(mount).and_then(|life| now.checked_add(life).ok());
        self.change(versions, now, |meta| {
            let comes_back = !meta.destroyed && meta.deleted_at.is_some();
            if comes_back {
                meta.deleted_at = until;
            }
            comes_back
        })
    }

    /// Destroys versions for good. Gives those whose fields have to go.
    pub fn destroy(&mut self, versions: &[VersionNumber], now: Timestamp) -> Vec<VersionNumber> {
        let mut wiped = Vec::new();
        for number in versions {
            if let Some(meta) = self.versions.get_mut(number)
                && !meta.destroyed
            {
                meta.destroyed = true;
                wiped.push(*number);
                self.updated_at = now;
            }
        }
        wiped
    }

    fn change(
        &mut self,
        versions: &[VersionNumber],
        now: Timestamp,
        mut change: impl FnMut(&mut VersionMeta) -> bool,
    ) -> bool {
        let mut changed = false;
        for number in versions {
            if let Some(meta) = self.versions.get_mut(number) {
                changed |= change(meta);
            }
        }
        if changed {
            self.updated_at = now;
        }
        changed
    }

    /// The oldest version that is known; 0 while none was pruned.
    pub fn oldest(&self) -> VersionNumber {
        let first = self.versions.keys().next().copied().unwrap_or_default();
        if first <= 1 { 0 } else { first }
    }
}

/// The most notes of a secret, and the most bytes of their names and values; as OpenBao's limits.
const MOST_NOTES: usize = 64;
const LONGEST_NAME: usize = 128;
const LONGEST_VALUE: usize = 512;

/// Checks notes.
pub fn check_custom_metadata(notes: &CustomMetadata) -> Result<(), Invalid> {
    if notes.len() > MOST_NOTES {
        return Err(Invalid::new("must have at most 64 members"));
    }
    for (name, value) in notes {
        if name.is_empty() || name.len() > LONGEST_NAME || value.len() > LONGEST_VALUE {
            return Err(Invalid::new(
                "must have names of 1 to 128 bytes and values of at most 512 bytes",
            ));
        }
        if name.chars().chain(value.chars()).any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(Invalid::new("must not contain control characters"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn secret() -> SecretRecord {
        SecretRecord::new("a1".to_owned(), at(0))
    }

    fn put(secret: &mut SecretRecord, cas: Option<u64>) -> Result<u64, CasMismatch> {
        let mount = MountConfig::default();
        secret.put(cas, Stage::Current, &mount, None, at(1)).map(|(number, _)| number)
    }

    #[test]
    fn a_write_says_what_it_has_seen() {
        let mut secret = secret();
        let mismatch = |current| Err(CasMismatch::Mismatch { current });
        assert_eq!(put(&mut secret, Some(1)), mismatch(0));
        assert_eq!(put(&mut secret, Some(0)), Ok(1));
        assert_eq!(put(&mut secret, Some(0)), mismatch(1));
        assert_eq!(put(&mut secret, Some(1)), Ok(2));
        // A deleted version still counts.
        assert!(secret.delete(&[2], at(2)));
        assert_eq!(put(&mut secret, Some(1)), mismatch(2));
        assert_eq!(put(&mut secret, None), Ok(3));
        secret.settings.cas_required = true;
        assert_eq!(put(&mut secret, None), Err(CasMismatch::Required));
        assert_eq!(put(&mut secret, Some(3)), Ok(4));
    }

    #[test]
    fn versions_are_deleted_brought_back_and_destroyed() {
        let mut secret = secret();
        for _ in 0..3 {
            put(&mut secret, None).unwrap();
        }
        assert!(secret.delete(&[3, 9], at(5)));
        assert!(!secret.delete(&[3], at(6)), "already");
        assert!(matches!(secret.find(None, at(6)), Found::Gone(3, _)));
        assert!(matches!(secret.find(Some(2), at(6)), Found::Readable(2, _)));
        assert!(secret.undelete(&[3], &MountConfig::default(), at(7)));
        assert!(matches!(secret.find(Some(0), at(7)), Found::Readable(3, _)));
        assert_eq!(secret.destroy(&[2, 2, 9], at(8)), [2]);
        assert!(!secret.undelete(&[2], &MountConfig::default(), at(9)));
        assert!(matches!(secret.find(Some(2), at(9)), Found::Gone(2, _)));
        assert_eq!(secret.find(Some(9), at(9)), Found::Missing);
        assert_eq!((secret.current, secret.updated_at), (3, at(8)));
    }

    #[test]
    fn a_version_waits_until_it_is_promoted() {
        let mut secret = secret();
        put(&mut secret, None).unwrap();
        assert!(secret.promote(None, at(1)).is_err(), "none waits");
        let mount = MountConfig::default();
        secret.put(Some(1), Stage::Pending, &mount, None, at(2)).unwrap();
        assert!(matches!(secret.find(None, at(2)), Found::Readable(1, _)));
        assert_eq!((secret.labelled("pending"), secret.labelled("previous")), (Some(2), None));
        assert_eq!(secret.promote(None, at(3)), Ok(2));
        let labels = ["current", "previous", "pending"].map(|label| secret.labelled(label));
        assert_eq!(labels, [Some(2), Some(1), None]);
        secret.set_alias("blue", Some(1), at(4)).unwrap();
        assert_eq!(secret.labelled("blue"), Some(1));
        for (alias, version) in
            [("current", Some(1)), ("1", Some(1)), ("A", Some(1)), ("x", Some(9))]
        {
            assert!(secret.set_alias(alias, version, at(4)).is_err(), "{alias}");
        }
        secret.set_alias("blue", None, at(5)).unwrap();
        assert_eq!(secret.labelled("blue"), None);
        secret.delete(&[1], at(6));
        assert!(secret.promote(Some(1), at(7)).is_err(), "it is deleted");
    }

    #[test]
    fn versions_end_by_themselves() {
        let mut secret = secret();
        secret.settings.delete_version_after = SignedDuration::from_secs(10);
        put(&mut secret, None).unwrap();
        assert!(matches!(secret.find(None, at(10)), Found::Readable(1, _)));
        assert!(matches!(secret.find(None, at(11)), Found::Gone(1, _)));
        let mut mount = MountConfig::default();
        mount.settings.delete_version_after = SignedDuration::from_secs(5);
        secret.put(None, Stage::Current, &mount, None, at(20)).unwrap();
        assert_eq!(secret.versions[&2].deleted_at, Some(at(25)));
    }

    proptest! {
        /// Numbers only grow, and never more versions are kept than may be.
        #[test]
        fn numbers_are_never_reused(
            steps in proptest::collection::vec((0_u8..6, 1_u64..12), 1..80),
            most in 0_u32..6,
        ) {
            let mut secret = secret();
            secret.settings.max_versions = most;
            let kept = if most == 0 { 10 } else { most as usize };
            let (mut highest, mut current) = (0, 0);
            for (step, number) in steps {
                match step {
                    0 | 4 => {
                        let stage = if step == 0 { Stage::Current } else { Stage::Pending };
                        let mount = MountConfig::default();
                        let (new, pruned) = secret.put(None, stage, &mount, None, at(1)).unwrap();
                        prop_assert!(new > highest && pruned.iter().all(|old| *old < new));
                        prop_assert!(pruned.iter().all(|old| !secret.versions.contains_key(old)));
                        highest = new;
                        current = if step == 0 { new } else { current };
                    }
                    5 => {
                        let before = secret.current;
                        if let Ok(promoted) = secret.promote(Some(number), at(3)) {
                            current = promoted;
                            prop_assert!(before == promoted || secret.previous == before);
                        }
                    }
                    1 => drop(secret.delete(&[number], at(2))),
                    2 => drop(secret.undelete(&[number], &MountConfig::default(), at(3))),
                    _ => drop(secret.destroy(&[number], at(4))),
                }
                // Two may be needed beyond what is kept.
                prop_assert!(secret.versions.len() <= kept.max(2));
                prop_assert_eq!((secret.current, secret.last), (current, highest));
                let needed = [secret.current, secret.pending];
                prop_assert!(needed.iter().all(|it| *it == 0 || secret.versions.contains_key(it)));
            }
            let text = serde_json::to_string(&secret).unwrap();
            prop_assert_eq!(serde_json::from_str::<SecretRecord>(&text).unwrap(), secret);
        }
    }
}
