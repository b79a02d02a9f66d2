use std::{fs, path::Path};

use anyhow::anyhow;
use keyreeve_api::{Endpoint, ErrorCode, Problem};

use super::*;
use crate::config::cache::CacheFolder;

const ENDPOINT: &str = "https://keys.example.com";
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn token(text: &str) -> Token {
    Secret::new(text.to_owned())
}

fn nowhere() -> Environment {
    Environment::from_pairs([])
}

fn cache(folder: &Path, fresh: SignedDuration, stale: SignedDuration) -> CacheConfig {
    CacheConfig { fresh, stale, folder: Some(CacheFolder::At(folder.to_owned())) }
}

fn copies<'c>(
    folder: &Path,
    (fresh, stale): (i32, i32),
    endpoint: &'c str,
    token: &'c Token,
) -> OfflineCopies<'c> {
    let cache = cache(folder, MINUTE * fresh, MINUTE * stale);
    OfflineCopies::new(&cache, &nowhere(), endpoint, token).unwrap()
}

fn text(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

fn now() -> Timestamp {
    SystemClock::new().now()
}

/// What a search comes to, in words.
fn sought(copies: &OfflineCopies<'_>, name: &str, now: Timestamp) -> String {
    match copies.find(name, now).unwrap() {
        Sought::Nothing => "nothing".to_owned(),
        Sought::TooOld { .. } => "too old".to_owned(),
        Sought::Found(found) => {
            let text = String::from_utf8(found.plaintext.expose().clone()).unwrap();
            if found.is_stale { format!("{text}, stale") } else { text }
        }
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_copy_is_found_by_its_question_server_and_token() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (token("kr_live_a"), token("kr_live_b"));
    let mine = copies(folder.path(), (5, 0), ENDPOINT, &one);
    mine.keep("a", &text("canary"), now(), now()).unwrap();
    mine.keep("a", &text("canary 2"), now(), now()).unwrap();
    assert_eq!(files(folder.path()), 1);
    assert_eq!(sought(&mine, "a", now()), "canary 2");
    assert_eq!(sought(&mine, "b", now()), "nothing");
    let with_slash = copies(folder.path(), (5, 0), "https://keys.example.com/", &one);
    assert_eq!(sought(&with_slash, "a", now()), "canary 2");
    let elsewhere = copies(folder.path(), (5, 0), "https://keys.example.org", &one);
    assert_eq!(sought(&elsewhere, "a", now()), "nothing");
    let of_another = copies(folder.path(), (5, 0), ENDPOINT, &other);
    assert_eq!(sought(&of_another, "a", now()), "nothing");
    // Even if it were found, it would not open.
    let (from, to) = (folder.path().join(mine.file("a")), folder.path().join(of_another.file("a")));
    fs::copy(from, &to).unwrap();
    assert_eq!(sought(&of_another, "a", now()), "nothing");
    assert!(!to.exists());
    assert!(!format!("{mine:?}").contains("kr_live_a"));
    mine.forget("a").unwrap();
    mine.forget("a").unwrap();
    assert_eq!(sought(&mine, "a", now()), "nothing");
}

#[test]
fn nothing_of_a_copy_can_be_read_or_changed() {
    let folder = tempfile::tempdir().unwrap();
    let token = token("kr_live_a");
    let copies = copies(folder.path(), (5, 0), ENDPOINT, &token);
    copies.keep("production/app", &text("canary"), now(), now()).unwrap();
    let name = copies.file("production/app");
    let path = folder.path().join(&name);
    let mut bytes = fs::read(&path).unwrap();
    for told in ["canary", "production", "example", "kr_live_a"] {
        assert!(!bytes.windows(told.len()).any(|part| part == told.as_bytes()), "{told}");
        assert!(!name.contains(told));
    }
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(sought(&copies, "production/app", now()), "nothing");
    assert!(!path.exists());
}

#[test]
fn copies_are_used_while_they_are_young_enough() {
    let folder = tempfile::tempdir().unwrap();
    let token = token("kr_live_a");
    let (strict, patient) = (
        copies(folder.path(), (5, 0), ENDPOINT, &token),
        copies(folder.path(), (5, 60), ENDPOINT, &token),
    );
    let taken = Timestamp::from_millisecond(now().as_millisecond()).unwrap();
    strict.keep("a", &text("x"), taken, taken).unwrap();
    for (minutes, with) in [(0, "x"), (5, "x"), (6, "x, stale"), (59, "x, stale")] {
        assert_eq!(sought(&patient, "a", taken + MINUTE * minutes), with, "{minutes}");
    }
    assert_eq!(sought(&strict, "a", taken + MINUTE * 4), "x");
    assert_eq!(sought(&strict, "a", taken + MINUTE * 6), "too old");
    // Nothing that is too old stays.
    assert_eq!(files(folder.path()), 0);
    // A clock that was set back makes nothing young again.
    strict.keep("a", &text("x"), taken + MINUTE, taken).unwrap();
    assert_eq!(sought(&strict, "a", taken), "nothing");
}

#[test]
fn what_is_too_large_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let token = token("kr_live_a");
    let copies = copies(folder.path(), (5, 0), ENDPOINT, &token);
    let keep = |bytes| copies.keep("a", &Secret::new(vec![b'x'; bytes]), now(), now());
    assert!(keep(MOST_BYTES + 1).unwrap_err().to_string().contains("2 MiB"));
    keep(MOST_BYTES).unwrap();
    assert_eq!(sought(&copies, "a", now()).len(), MOST_BYTES);
}

#[test]
fn there_are_none_where_they_are_switched_off_or_have_no_place() {
    let token = token("kr_live_a");
    let off = cache(Path::new("/nowhere"), SignedDuration::ZERO, MINUTE);
    assert!(OfflineCopies::new(&off, &nowhere(), ENDPOINT, &token).is_none());
    let homeless = CacheConfig { fresh: MINUTE, stale: MINUTE, folder: Some(CacheFolder::Usual) };
    assert!(OfflineCopies::new(&homeless, &nowhere(), ENDPOINT, &token).is_none());
}

#[test]
fn a_secret_is_kept_as_it_was_said() {
    let said = concat!(
        r#"{"data":{"id":9007199254740993,"key":"a\"b\u00fc"},"metadata":"#,
        r#"{"created_time":"2026-11-22T05:50:48Z","deletion_time":"","destroyed":false,"version":3}}"#,
    );
    let view: SecretView = serde_json::from_str(said).unwrap();
    let kept = view.to_kept().unwrap();
    assert_eq!(kept.expose().capacity(), kept.expose().len(), "it was moved");
    let back = SecretView::from_kept(&kept).unwrap();
    assert_eq!(back.metadata, view.metadata);
    let fields = back.data.unwrap();
    assert_eq!(fields.text("id").unwrap(), "9007199254740993");
    assert_eq!(fields.text("key").unwrap(), "a\"bü");
}

#[test]
fn only_what_cannot_be_reached_is_stood_in_for() {
    let not_keyreeve = |status| {
        let endpoint = Endpoint::Url(ENDPOINT.to_owned());
        anyhow::Error::new(ClientError::NotKeyreeve { endpoint, status })
    };
    let vault = |status, errors: &[&str]| {
        let errors = errors.iter().map(|&error| error.to_owned()).collect();
        anyhow::Error::new(ClientError::VaultRefused { status, errors })
    };
    let problem =
        |code| anyhow::Error::new(ClientError::Refused(Box::new(Problem::new(code, "r-1"))));
    for (error, unreachable, is_the_end) in [
        (not_keyreeve(502), true, false),
        (not_keyreeve(503).context("while reading"), true, false),
        (not_keyreeve(504), true, false),
        (not_keyreeve(200), false, false),
        (not_keyreeve(403), false, false),
        (vault(502, &[]), true, false),
        (vault(503, &["Vault is sealed"]), false, false),
        (vault(503, &[]), false, false),
        (vault(500, &["a backend is down"]), false, false),
        (vault(429, &["too many"]), false, false),
        (vault(403, &["permission denied"]), false, true),
        (vault(401, &[]).context("while reading"), false, true),
        (problem(ErrorCode::InvalidCredential), false, true),
        (problem(ErrorCode::Forbidden), false, true),
        (problem(ErrorCode::Overloaded), false, false),
        (anyhow!("there is no secret at production/app"), false, true),
    ] {
        assert_eq!(is_unreachable(&error), unreachable, "{error:#}");
        assert_eq!(is_final(&error), is_the_end, "{error:#}");
    }
}
