//! Answers that were kept: map tiles and geocoded places are asked for again and again, and paid for
//! each time. Only what the operator named is kept, and only as long as the service allows (RFC 9111).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, header, request::Parts};
use keyreeve_core::{egress::Target, name::ProjectName};
use keyreeve_engine::connections::{CacheRules, CacheScope, Client, Connection};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The most bytes that all kept answers have together.
const MOST_BYTES: usize = 64 << 20;
/// What an answer takes besides its body, roughly.
const AROUND: usize = 512;
/// Headers of the request that may choose another answer; what varies by others is not kept.
const CHOOSING: [HeaderName; 3] =
    [header::ACCEPT, header::ACCEPT_LANGUAGE, header::ACCEPT_ENCODING];
/// Headers of a request whose answer is nobody else's: it has a body, a part was asked for, or its sender
/// showed a credential of their own.
const DECIDING: [HeaderName; 6] = [
    header::RANGE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
];
/// Longer targets are not kept, in bytes.
const LONGEST_TARGET: usize = 4096;

/// Whose answer it is, and to what. An answer is never given to another project or client, nor after
/// the connection or its credential has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    project: ProjectName,
    connection: String,
    /// When the connection was last changed, in milliseconds.
    changed_ms: i64,
    version: u64,
    /// The client, unless all clients share.
    client: Option<String>,
    target: String,
    choosing: [Vec<Vec<u8>>; 3],
}

/// An answer that was kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    kept_at: Instant,
    /// How old it was when it came.
    age: Duration,
    good_until: Instant,
    /// What it takes, its key and its headers included, in bytes.
    size: usize,
}

impl Kept {
    /// How old it is, in whole seconds.
    pub(crate) fn age_s(&self, now: Instant) -> u64 {
        (self.age + now.duration_since(self.kept_at)).as_secs()
    }
}

/// Answers that were kept, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    kept: HashMap<CacheKey, (u64, Kept)>,
    /// By when they were used last.
    order: BTreeMap<u64, CacheKey>,
    clock: u64,
    bytes: usize,
}

/// An answer that may be kept once it has come whole.
pub(crate) struct Keeping {
    key: CacheKey,
    headers: HeaderMap,
    body: Vec<u8>,
    most: usize,
    life: Duration,
    age: Duration,
}

impl Keeping {
    /// What it takes: the key is kept twice.
    fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        let choosing: usize = self.key.choosing.iter().flatten().map(Vec::len).sum();
        let key = self.key.target.len() + self.key.connection.len() + choosing;
        self.body.len() + headers + 2 * key + AROUND
    }

    /// Takes a piece of the body; false if the answer is too large to be kept.
    pub(crate) fn add(&mut self, piece: &[u8]) -> bool {
        if self.body.len() + piece.len() > self.most {
            return false;
        }
        self.body.extend_from_slice(piece);
        true
    }
}

/// The key of a request, if its answer may be kept at all.
pub(crate) fn key_of(
    connection: &Connection,
    client: &Client,
    parts: &Parts,
    target: &Target,
    version: u64,
) -> Option<CacheKey> {
    let rules = connection.settings.cache.as_ref()?;
    let host = Some(connection.origin.host().as_str());
    let is_named = rules.routes.iter().any(|route| route.matches("GET", host, target.path()));
    let is_plain = parts.method == Method::GET
        && !DECIDING.iter().any(|name| parts.headers.contains_key(name))
        && target.path().len() + target.query().map_or(0, str::len) <= LONGEST_TARGET
        && !directives(&parts.headers).any(|it| it == "no-store");
    if !is_named || !is_plain {
        return None;
    }
    let query = target.query().map_or_else(String::new, |query| format!("?{query}"));
    Some(CacheKey {
        project: client.project.clone(),
        connection: connection.name.clone(),
        changed_ms: connection.updated_at.as_millisecond(),
        version,
        client: (rules.scope == CacheScope::Client).then(|| client.name()),
        target: format!("{}{query}", target.path()),
        choosing: CHOOSING.map(|name| {
            parts.headers.get_all(name).iter().map(|it| it.as_bytes().to_vec()).collect()
        }),
    })
}

/// Whether a client wants an answer that was asked for now.
pub(crate) fn wants_fresh(headers: &HeaderMap) -> bool {
    directives(headers).any(|it| it == "no-cache" || it == "max-age=0")
}

/// What to keep of an answer, if it may be kept.
pub(crate) fn keeping(
    key: CacheKey,
    rules: &CacheRules,
    status: StatusCode,
    headers: &HeaderMap,
) -> Option<Keeping> {
    let varies = headers.get_all(header::VARY).iter().flat_map(|value| {
        value.to_str().unwrap_or("*").split(',').map(|it| it.trim().to_ascii_lowercase())
    });
    let known = |name: &String| {
        ["accept", "accept-language", "accept-encoding", "origin", ""].contains(&name.as_str())
    };
    if status != StatusCode::OK || !varies.into_iter().all(|name| known(&name)) {
        return None;
    }
    let life = life(rules, headers)?;
    let age = headers.get(header::AGE).and_then(|it| it.to_str().ok()?.parse().ok()).unwrap_or(0);
    let age = Duration::from_secs(age);
    let most = usize::try_from(rules.max_entry_bytes).unwrap_or(usize::MAX);
    (life > age).then(|| Keeping {
        key,
        headers: headers.clone(),
        body: Vec::new(),
        most,
        life: life.saturating_sub(age),
        age,
    })
}

/// How long an answer may be kept: as the service says, at most as long as the operator says; `None` if
/// the service says not at all.
fn life(rules: &CacheRules, headers: &HeaderMap) -> Option<Duration> {
    let most = Duration::from_secs(rules.max_age_s.into());
    let is_shared = rules.scope == CacheScope::Connection;
    let (mut max_age, mut shared_age) = (None, None);
    for directive in directives(headers) {
        let (name, value) = directive.split_once('=').unwrap_or((&directive, ""));
        let seconds = || value.trim_matches('"').parse::<u64>().ok().map(Duration::from_secs);
        match name {
            "no-store" | "no-cache" => return None,
            "private" if is_shared => return None,
            "max-age" => max_age = Some(seconds().unwrap_or_default()),
            "s-maxage" if is_shared => shared_age = Some(seconds().unwrap_or_default()),
            _ => {}
        }
    }
    let told = shared_age.or(max_age);
    if told.is_none() && headers.contains_key(header::EXPIRES) {
        // Said in a way that nobody needs to use any more.
        return None;
    }
    Some(told.map_or(most, |told| told.min(most))).filter(|life| !life.is_zero())
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(|it| it.trim().to_ascii_lowercase())
}

impl Cache {
    /// An answer that is still good.
    pub(crate) fn get(&self, key: &CacheKey, now: Instant) -> Option<Kept> {
        let mut entries = self.0.lock();
        let (used, kept) = entries.kept.get(key)?;
        if kept.good_until <= now {
            let used = *used;
            entries.remove(used);
            return None;
        }
        let (used, kept) = (*used, kept.clone());
        entries.touch(used);
        Some(kept)
    }

    /// Keeps an answer that has come whole. What was used longest ago makes room.
    pub(crate) fn put(&self, keeping: Keeping, now: Instant) {
        let size = keeping.size();
        if size > MOST_BYTES {
            return;
        }
        let kept = Kept {
            headers: keeping.headers,
            body: Bytes::from(keeping.body),
            kept_at: now,
            age: keeping.age,
            good_until: now + keeping.life,
            size,
        };
        let mut entries = self.0.lock();
        if let Some((used, _)) = entries.kept.get(&keeping.key) {
            let used = *used;
            entries.remove(used);
        }
        while entries.bytes + size > MOST_BYTES {
            let Some(oldest) = entries.order.keys().next().copied() else { break };
            entries.remove(oldest);
        }
        entries.clock += 1;
        let used = entries.clock;
        entries.bytes += size;
        entries.order.insert(used, keeping.key.clone());
        entries.kept.insert(keeping.key, (used, kept));
    }
}

impl Entries {
    fn remove(&mut self, used: u64) {
        let Some(key) = self.order.remove(&used) else { return };
        if let Some((_, kept)) = self.kept.remove(&key) {
            self.bytes = self.bytes.saturating_sub(kept.size);
        }
    }

    fn touch(&mut self, used: u64) {
        let Some(key) = self.order.remove(&used) else { return };
        self.clock += 1;
        if let Some(entry) = self.kept.get_mut(&key) {
            entry.0 = self.clock;
        }
        self.order.insert(self.clock, key);
    }
}

/// Shared by all cores.
pub(crate) type SharedCache = Arc<Cache>;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn rules(scope: CacheScope) -> CacheRules {
        CacheRules { routes: Vec::new(), max_age_s: 60, scope, max_entry_bytes: 1000 }
    }

    fn said(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(text))])
    }

    fn key(target: &str) -> CacheKey {
        CacheKey {
            project: ProjectName::default_project(),
            connection: "maps".to_owned(),
            changed_ms: 0,
            version: 1,
            client: None,
            target: target.to_owned(),
            choosing: [const { Vec::new() }; 3],
        }
    }

    #[test]
    fn the_service_and_the_operator_both_bound_the_life() {
        let all = rules(CacheScope::Connection);
        let own = rules(CacheScope::Client);
        let seconds = |it| Some(Duration::from_secs(it));
        assert_eq!(life(&all, &HeaderMap::new()), seconds(60));
        assert_eq!(life(&all, &said("public, max-age=30")), seconds(30));
        assert_eq!(life(&all, &said("max-age=300")), seconds(60));
        assert_eq!(life(&all, &said("max-age=300, s-maxage=5")), seconds(5));
        assert_eq!(life(&own, &said("max-age=30, s-maxage=5")), seconds(30));
        assert_eq!(life(&all, &said("private, max-age=30")), None);
        assert_eq!(life(&own, &said("private, max-age=30")), seconds(30));
        for never in ["no-store", "no-cache", "max-age=0", "max-age=x"] {
            assert_eq!(life(&own, &said(never)), None, "{never}");
        }
    }

    #[test]
    fn what_varies_by_more_than_is_known_is_not_kept() {
        let rules = rules(CacheScope::Connection);
        let vary = |text| HeaderMap::from_iter([(header::VARY, HeaderValue::from_static(text))]);
        let may = |headers| keeping(key("/"), &rules, StatusCode::OK, &headers).is_some();
        assert!(may(vary("Accept-Encoding, Origin")));
        assert!(!may(vary("Cookie")) && !may(vary("*")));
        assert!(keeping(key("/"), &rules, StatusCode::NOT_FOUND, &HeaderMap::new()).is_none());
    }

    #[test]
    fn answers_end_and_make_room() {
        let cache = Cache::default();
        let now = Instant::now();
        let rules = CacheRules { max_entry_bytes: 20 << 20, ..rules(CacheScope::Connection) };
        let keep = |target: &str, size: usize| {
            let mut keeping =
                keeping(key(target), &rules, StatusCode::OK, &HeaderMap::new()).unwrap();
            assert!(keeping.add(&vec![0; size]));
            cache.put(keeping, now);
        };
        for target in ["/a", "/b", "/c"] {
            keep(target, 20 << 20);
        }
        assert!(cache.get(&key("/a"), now).is_some(), "used again");
        keep("/d", 20 << 20);
        assert!(cache.get(&key("/b"), now).is_none(), "used longest ago");
        assert!(cache.get(&key("/a"), now).is_some());
        assert!(cache.get(&key("/a"), now + Duration::from_secs(61)).is_none(), "over");
        assert!(cache.0.lock().bytes <= MOST_BYTES);
    }
}
