//! Limits: how often something may be asked, and how much at the same time.
//!
//! A [`Limit`] is the rule as people write it. The state it is kept with lives elsewhere: a
//! [`GcraCell`] for each subject of a rate, [`Leases`] for what is in flight, an
//! [`AdaptiveState`] for a limit that moves. Time in these is nanoseconds of a clock of this
//! process that never goes back.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Invalid, restriction::RoutePattern};

/// Serde for a type whose one form outside is its text.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;

mod adaptive;
mod concurrency;
mod gcra;
mod rate;
mod subject;

pub use adaptive::{AdaptiveRange, AdaptiveState, INTERVAL, Observation, Why, adapt, advance_idle};
pub use concurrency::{Concurrency, LeaseLevel, LeaseRefused, Leases};
pub use gcra::{Exceeded, GcraCell, Level, Taken, standing};
pub use rate::Rate;
pub(crate) use rate::parse_count;
pub use subject::SubjectPattern;

/// The most limits one thing can carry.
pub const MOST_LIMITS: usize = 16;
/// The most overrides one limit can have.
pub const MOST_OVERRIDES: usize = 100;

/// A limit's name: 1 to 32 characters of `a-z`, `0-9`, `-` and `_`.
///
/// Held in place: it goes into every verdict, and threads that share text wait for one another to
/// count who holds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitName {
    /// The rest is zeros.
    bytes: [u8; LimitName::LONGEST],
    length: u8,
}

impl LimitName {
    const LONGEST: usize = 32;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // It was text when it came in.
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl FromStr for LimitName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        if (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(good) {
            let mut bytes = [0; Self::LONGEST];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            return Ok(Self { bytes, length });
        }
        Err(Invalid::new("must have a name of 1 to 32 characters of a-z, 0-9, '-' and '_'"))
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

serde_as_text!(LimitName);

/// What shares one count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each key has its own.
    Key,
    /// All keys of one owner together.
    Owner,
    /// Each client address has its own.
    Ip,
    /// Each route has its own.
    Route,
    /// All keys of the keyspace together.
    Keyspace,
}

impl Per {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Key, Self::Owner, Self::Ip, Self::Route, Self::Keyspace];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Owner => "owner",
            Self::Ip => "ip",
            Self::Route => "route",
            Self::Keyspace => "keyspace",
        }
    }
}

impl FromStr for Per {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|per| per.as_str() == text);
        found.ok_or(Invalid::new("must count per key, owner, ip, route or keyspace"))
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// On how many nodes one count is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitScope {
    /// One count for all nodes, where they have a place to share it; it is asked at each request.
    #[default]
    Cluster,
    /// Each node counts for itself, in memory: a limit of as much on each.
    Node,
}

impl LimitScope {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::Node];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
        }
    }

    /// Whether it is what a limit has that says nothing of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for LimitScope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or(Invalid::new("must have the scope cluster or node"))
    }
}

/// A named rate, for whom and for what.
///
/// On the command line `burst=20/10s`, then options after commas: `per=ip`, `route=GET /v1/*`,
/// `adaptive=10%-100%`, `scope=node`. That text has no place for overrides, nor for a route with a
/// comma in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What it is called; distinct among the limits of one thing.
    pub name: LimitName,
    /// How often.
    pub rate: Rate,
    /// What shares one count. None: whatever carries the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// Counts only requests that match. None: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RoutePattern>,
    /// Between which factors the rate moves with what is seen. None: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveRange>,
    /// Whether all nodes count together.
    #[serde(default, skip_serializing_if = "LimitScope::is_default")]
    pub scope: LimitScope,
    /// Other rates for some subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<LimitOverride>,
}

/// Another rate for some subjects of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitOverride {
    /// Which subjects.
    pub subject: SubjectPattern,
    /// Their rate.
    pub rate: Rate,
}

impl Limit {
    /// The rate for `subject`: that of an override with exactly this text, else that of the
    /// matching wildcard with the most characters other than `*` (the first of equals), else the
    /// limit's own.
    pub fn rate_for(&self, subject: &str) -> &Rate {
        let mut best: Option<(&Rate, usize)> = None;
        for LimitOverride { subject: pattern, rate } in &self.overrides {
            if pattern.as_str() == subject {
                return rate;
            }
            let weight = pattern.weight();
            if best.is_none_or(|(_, most)| weight > most) && pattern.matches(subject) {
                best = Some((rate, weight));
            }
        }
        best.map_or(&self.rate, |(rate, _)| rate)
    }
}

impl FromStr for Limit {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be a limit such as burst=20/10s, then per=, route=, adaptive= or \
                            scope= at most once each after commas";
        let mut pairs = text.split(',').map(|part| part.split_once('=').ok_or(Invalid::new(RULE)));
        let (name, rate) = pairs.next().ok_or(Invalid::new(RULE))??;
        let mut limit = Self {
            name: name.parse()?,
            rate: rate.parse()?,
            per: None,
            route: None,
            adaptive: None,
            scope: LimitScope::default(),
            overrides: Vec::new(),
        };
        let mut scope = None;
        for pair in pairs {
            let repeated = match pair? {
                ("per", value) => limit.per.replace(value.parse()?).is_some(),
                ("route", value) => limit.route.replace(value.parse()?).is_some(),
                ("adaptive", value) => limit.adaptive.replace(value.parse()?).is_some(),
                ("scope", value) => scope.replace(value.parse()?).is_some(),
                _ => true,
            };
            if repeated {
                return Err(Invalid::new(RULE));
            }
        }
        limit.scope = scope.unwrap_or_default();
        Ok(limit)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.rate)?;
        if let Some(per) = self.per {
            write!(f, ",per={per}")?;
        }
        if let Some(route) = &self.route {
            write!(f, ",route={route}")?;
        }
        if let Some(adaptive) = &self.adaptive {
            write!(f, ",adaptive={adaptive}")?;
        }
        if !self.scope.is_default() {
            write!(f, ",scope={}", self.scope.as_str())?;
        }
        Ok(())
    }
}

/// The limits of one thing: at most [`MOST_LIMITS`], their names distinct, each with at most
/// [`MOST_OVERRIDES`] overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Limit>")]
pub struct Limits(Vec<Limit>);

impl Limits {
    /// Checks the limits together.
    pub fn new(limits: Vec<Limit>) -> Result<Self, Invalid> {
        if limits.len() > MOST_LIMITS {
            return Err(Invalid::new(format!("must be at most {MOST_LIMITS} limits")));
        }
        if limits.iter().any(|limit| limit.overrides.len() > MOST_OVERRIDES) {
            let rule = format!("must have at most {MOST_OVERRIDES} overrides in each limit");
            return Err(Invalid::new(rule));
        }
        let is_repeated =
            |(i, limit): (usize, &Limit)| limits[..i].iter().any(|other| other.name == limit.name);
        if limits.iter().enumerate().any(is_repeated) {
            return Err(Invalid::new("must not have two limits of the same name"));
        }
        Ok(Self(limits))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The limits in the order they were given.
    pub fn as_slice(&self) -> &[Limit] {
        &self.0
    }
}

impl Deref for Limits {
    type Target = [Limit];

    fn deref(&self) -> &[Limit] {
        &self.0
    }
}

impl TryFrom<Vec<Limit>> for Limits {
    type Error = Invalid;

    fn try_from(limits: Vec<Limit>) -> Result<Self, Invalid> {
        Self::new(limits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(text: &str) -> Limit {
        text.parse().unwrap()
    }

    #[test]
    fn text_of_a_limit() {
        for (text, canonical) in [
            ("burst=20/10s", "burst=20/10s"),
            ("burst=5/s,per=ip", "burst=5/1s,per=ip"),
            ("burst=5/s,scope=cluster", "burst=5/1s"),
            ("burst=5/s,scope=node,per=ip", "burst=5/1s,per=ip,scope=node"),
            ("search=10/1m,route=GET /v1/search", "search=10/1m,route=GET /v1/search"),
            (
                "a_b-1=1/1d,adaptive=10%-100%,route=* /a=b,per=keyspace",
                "a_b-1=1/1d,per=keyspace,route=* /a=b,adaptive=10%-100%",
            ),
        ] {
            assert_eq!(limit(text).to_string(), canonical);
            assert_eq!(limit(canonical), limit(text));
        }
        let search = limit("search=10/1m,route=GET /v1/search,adaptive=10%-100%,per=route");
        assert_eq!(search.per, Some(Per::Route));
        assert!(search.route.unwrap().matches("GET", None, "/v1/search"));
        assert_eq!(search.adaptive, AdaptiveRange::new(100, 1_000).ok());
    }

    #[test]
    fn refuses_what_is_no_limit() {
        for text in [
            "",
            "burst",
            "=20/10s",
            "burst=",
            "burst=20",
            "Burst=20/10s",
            "burst=20/10s,",
            "burst=20/10s,per",
            "burst=20/10s,per=",
            "burst=20/10s,per=IP",
            "burst=20/10s,per=ip,per=key",
            "burst=20/10s,route=",
            "burst=20/10s,adaptive=10%",
            "burst=20/10s,colour=red",
            "burst=20/10s,scope=planet",
            "burst=20/10s,scope=node,scope=node",
            "burst=20/10s, per=ip",
        ] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }

    #[test]
    fn names() {
        for good in ["a", "0", "-", "per_minute-2", &"x".repeat(32)] {
            assert_eq!(good.parse::<LimitName>().unwrap().as_str(), good);
        }
        for bad in ["", "A", "a b", "a.b", "ä", &"x".repeat(33)] {
            assert!(bad.parse::<LimitName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_shares_a_count_has_one_name_everywhere() {
        for per in Per::ALL {
            assert_eq!(per.as_str().parse::<Per>().unwrap(), per);
            assert_eq!(serde_json::to_value(per).unwrap(), per.as_str());
        }
    }

    #[test]
    fn overrides_go_from_exact_to_wildcard_to_own() {
        let over = |subject: &str, rate: &str| LimitOverride {
            subject: subject.parse().unwrap(),
            rate: rate.parse().unwrap(),
        };
        let mut burst = limit("burst=1/1s");
        burst.overrides = vec![
            over("*", "2/1s"),
            over("*@acme.com", "3/1s"),
            over("vip@*.com**", "4/1s"),
            over("vip@acme*", "5/1s"),
            over("vip@*.com", "6/1s"),
            over("vip@acme.com", "7/1s"),
            over("vip@acme.com", "8/1s"),
        ];
        for (subject, requests) in [
            ("vip@acme.com", 7),
            ("me@acme.com", 3),
            ("vip@other.com", 4),
            ("vip@acme.org", 5),
            ("nobody", 2),
        ] {
            assert_eq!(burst.rate_for(subject).requests(), requests, "{subject}");
        }
        burst.overrides.remove(0);
        assert_eq!(burst.rate_for("nobody").requests(), 1);
    }

    #[test]
    fn json_of_limits() {
        let text = concat!(
            r#"[{"name":"burst","rate":"20/10s"},"#,
            r#"{"name":"day","rate":"1000/1d","per":"owner","route":"GET /a","#,
            r#""adaptive":"10%-100%","scope":"node","overrides":[{"subject":"acme*","rate":"5000/1d"}]}]"#,
        );
        let limits: Limits = serde_json::from_str(text).unwrap();
        assert_eq!(limits.len(), 2);
        assert_eq!(serde_json::to_string(&limits).unwrap(), text);
        for bad in [
            r#"[{"name":"a","rate":"1/1s"},{"name":"a","rate":"2/1s"}]"#,
            r#"[{"name":"a","rate":"1/1s","color":1}]"#,
            r#"[{"name":"a"}]"#,
            r#"[{"name":"a","rate":"1/1s","scope":"planet"}]"#,
            r#"[{"name":"a","rate":"1/1s","per":"planet"}]"#,
            r#"[{"name":"a","rate":"1/1s","overrides":[{"subject":"","rate":"1/1s"}]}]"#,
        ] {
            assert!(serde_json::from_str::<Limits>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn how_many() {
        let named = |n: usize| limit(&format!("l{n}=1/1s"));
        let most: Vec<_> = (0..MOST_LIMITS).map(named).collect();
        assert_eq!(Limits::new(most.clone()).unwrap().as_slice(), most);
        assert!(Limits::new((0..=MOST_LIMITS).map(named).collect()).is_err());
        assert!(Limits::default().is_empty());

        let over = LimitOverride { subject: "a".parse().unwrap(), rate: "1/1s".parse().unwrap() };
        let with = |n: usize| Limit { overrides: vec![over.clone(); n], ..named(0) };
        assert!(Limits::new(vec![with(MOST_OVERRIDES)]).is_ok());
        assert!(Limits::new(vec![with(MOST_OVERRIDES + 1)]).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(
            head in "[a-z]{0,3}=?[0-9]{0,3}/?[0-9a-z]{0,3}",
            options in "(,(per|route|adaptive|scope)?=?.{0,8}){0,3}",
        ) {
            let text = head + &options;
            if let Ok(limit) = text.parse::<Limit>() {
                prop_assert_eq!(limit.to_string().parse::<Limit>().unwrap(), limit);
            }
        }
    }
}
