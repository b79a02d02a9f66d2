use proptest::{prelude::*, sample::Index};

use super::*;

fn set(values: &[&str]) -> Arc<ScrubSet> {
    Arc::new(ScrubSet::new(values.iter().map(|value| value.as_bytes())).unwrap())
}

/// What the caller passes on for one piece.
fn passed_on(fed: Fed, piece: &[u8]) -> Vec<u8> {
    match fed {
        Fed::Clean { mut before, kept } => {
            before.extend_from_slice(&piece[..kept]);
            before
        }
        Fed::Replaced(bytes) => bytes,
    }
}

/// A stream in these pieces: what is passed on for each of them and at the end, and the hits.
fn streamed(set: &Arc<ScrubSet>, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, u64) {
    let mut scrubber = Scrubber::new(Arc::clone(set));
    let mut out: Vec<_> =
        pieces.iter().map(|piece| passed_on(scrubber.feed(piece), piece)).collect();
    out.push(scrubber.finish());
    (out, scrubber.hits())
}

/// The same with texts.
fn texts(set: &Arc<ScrubSet>, pieces: &[&str]) -> (Vec<String>, u64) {
    let pieces: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
    let (out, hits) = streamed(set, &pieces);
    (out.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect(), hits)
}

fn is_untouched(fed: &Fed, piece: &[u8]) -> bool {
    matches!(fed, Fed::Clean { before, kept } if before.is_empty() && *kept == piece.len())
}

#[test]
fn pieces_without_secrets_are_not_copied() {
    let mut scrubber = Scrubber::new(set(&["canary-7f3a"]));
    for piece in [&b"data: {\"a\": 1}\n\n"[..], b"", b"canaries sing", b"-7f3a"] {
        assert!(is_untouched(&scrubber.feed(piece), piece));
    }
    assert!(scrubber.finish().is_empty());
    assert_eq!(scrubber.hits(), 0);
}

#[test]
fn a_set_with_one_more_value_keeps_the_others() {
    let one = set(&["canary-7f3a"]);
    let both = one.with(b"minted-51c0").unwrap();
    for text in ["canary-7f3a", "minted-51c0", "bWludGVkLTUxYzA"] {
        assert!(both.finds(text.as_bytes()), "{text}");
    }
    assert!(!one.finds(b"minted-51c0"));
    assert!(set(&[]).with(b"minted-51c0").unwrap().finds(b"minted-51c0"));
}

#[test]
fn nothing_to_look_for_lets_all_pass() {
    for set in [set(&[]), set(&["", "1234567"])] {
        assert!(set.is_empty());
        assert!(!set.finds(b"1234567"));
        assert!(set.mask(b"1234567").is_none());
        let mut scrubber = Scrubber::new(set);
        assert!(is_untouched(&scrubber.feed(b"1234567"), b"1234567"));
    }
}

#[test]
fn a_secret_is_overwritten_in_its_length() {
    let set = set(&["canary-7f3a"]);
    assert!(!set.is_empty());
    assert!(set.finds(b"key=canary-7f3a;"));
    assert_eq!(set.mask(b"key=canary-7f3a;").unwrap(), b"key=***********;");
    assert!(set.mask(b"key=canary-7f3;").is_none());
    assert_eq!(
        texts(&set, &["key=canary-7f3a;"]),
        (vec!["key=***********;".into(), String::new()], 1)
    );
}

#[test]
fn a_secret_in_pieces_is_overwritten() {
    let set = set(&["canary-7f3a"]);
    let (out, hits) = texts(&set, &["key=ca", "n", "ary-7f", "3a; ca", "t"]);
    assert_eq!(out, ["key=", "", "", "***********; ", "cat", ""]);
    assert_eq!(hits, 1);
}

#[test]
fn what_only_began_like_a_secret_passes_with_the_next_piece() {
    let set = set(&["canary-7f3a"]);
    let mut scrubber = Scrubber::new(Arc::clone(&set));
    assert_eq!(passed_on(scrubber.feed(b"a can"), b"a can"), b"a ");
    let piece = b"teen";
    let Fed::Clean { before, kept } = scrubber.feed(piece) else { panic!("nothing to replace") };
    assert_eq!((before.as_slice(), kept), (&b"can"[..], piece.len()));
    let (out, hits) = texts(&set, &["ends with canary-7"]);
    assert_eq!((out, hits), (vec!["ends with ".into(), "canary-7".into()], 0));
}

#[test]
fn a_new_beginning_inside_an_old_one_is_held_back() {
    let set = set(&["abababXX"]);
    let (out, hits) = texts(&set, &["-ababa", "b", "a", "bXX-"]);
    assert_eq!(out, ["-", "", "ab", "********-", ""]);
    assert_eq!(hits, 1);
}

#[test]
fn secrets_that_overlap_are_overwritten_as_a_whole() {
    let set = set(&["abcdefgh", "efghijkl", "cdefghijklmnop", "ijklmnop"]);
    for (text, masked) in [
        ("-abcdefghijkl-", "-************-"),
        ("-abcdefghijklmnop-", "-****************-"),
        ("-efghijklmnop-", "-************-"),
    ] {
        assert_eq!(set.mask(text.as_bytes()).unwrap(), masked.as_bytes(), "{text}");
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            let (out, hits) = texts(&set, &[head, tail]);
            assert_eq!((out.concat().as_str(), hits), (masked, 1), "{head} {tail}");
        }
    }
}

#[test]
fn a_secret_that_another_one_begins_with_waits_for_the_rest() {
    let set = set(&["abcdefgh", "abcdefghijkl"]);
    assert_eq!(texts(&set, &["-abcdefgh"]), (vec!["-".into(), "********".into()], 1));
    let (out, hits) = texts(&set, &["-abcdefghij", "kl-"]);
    assert_eq!((out.concat().as_str(), hits), ("-************-", 1));
    let (out, hits) = texts(&set, &["-abcdefghij", "-"]);
    assert_eq!((out.concat().as_str(), hits), ("-********ij-", 1));
}

#[test]
fn what_is_overwritten_stays_so_however_long_it_is_held_back() {
    // The end of the first is the beginning of the second, which then does not come.
    let set = set(&["abcdefgh", "efghijkl"]);
    let (out, hits) = texts(&set, &["abcdefgh", "", "i", "jk", "-"]);
    assert_eq!(out, ["****", "", "", "", "****ijk-", ""]);
    assert_eq!(hits, 1);
}

#[test]
fn a_secret_that_repeats_itself_is_overwritten_to_its_end() {
    let set = set(&["aaaaaaaa"]);
    let (out, hits) = texts(&set, &["-aaaaaaaaaa", "aa-", "aaaa", "aaaa", "-aaaaaaa-"]);
    assert_eq!(out.concat(), "-************-********-aaaaaaa-");
    assert_eq!(hits, 2);
}

#[test]
fn the_forms_of_a_secret_are_found() {
    let set = set(&["pass/word \"1\""]);
    for text in
        ["Basic dTpwYXNzL3dvcmQgIjEi", "pass%2Fword%20%221%22", r#"{"a":"pass\/word \"1\""}"#]
    {
        assert!(set.finds(text.as_bytes()), "{text}");
    }
    let masked = set.mask(br#"{"a":"pass/word \"1\""}"#).unwrap();
    assert_eq!(masked, br#"{"a":"***************"}"#);
}

#[test]
fn a_scrubber_can_begin_again() {
    let mut scrubber = Scrubber::new(set(&["canary-7f3a"]));
    for hits in 1..3 {
        assert_eq!(passed_on(scrubber.feed(b"canary-7f3a"), b"canary-7f3a"), b"***********");
        assert!(scrubber.finish().is_empty());
        assert_eq!(scrubber.hits(), hits);
    }
}

#[test]
fn nothing_secret_is_printed() {
    let set = set(&["canary-7f3a"]);
    let shown = format!("{set:?}");
    assert!(shown.starts_with("ScrubSet { patterns: ") && !shown.contains("canary"), "{shown}");
    let mut scrubber = Scrubber::new(set);
    assert!(passed_on(scrubber.feed(b"canary"), b"canary").is_empty());
    assert_eq!(format!("{scrubber:?}"), "Scrubber { held: 6, hits: 0, .. }");
}

#[test]
fn too_much_to_look_for_is_refused() {
    // Its forms are eight times as long together.
    let value = vec![b'a'; MOST / 6];
    let error = ScrubSet::new([value.as_slice()]).unwrap_err();
    assert!(error.rule().contains("4 MiB"));
}

/// What is looked for, all forms written out.
fn spelled(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    values.iter().flat_map(|value| forms(value)).map(|form| form.expose().clone()).collect()
}

/// Which bytes of a text are covered, found the slow way.
fn marked(text: &[u8], spelled: &[Vec<u8>]) -> Vec<bool> {
    let mut marks = vec![false; text.len()];
    for form in spelled {
        for (at, window) in text.windows(form.len()).enumerate() {
            if window == form {
                marks[at..at + form.len()].fill(true);
            }
        }
    }
    marks
}

/// How much of the end of a text begins a form without completing it, found the slow way.
fn begun(text: &[u8], spelled: &[Vec<u8>]) -> usize {
    let is_begun =
        |end: &[u8]| spelled.iter().any(|form| form.len() > end.len() && form.starts_with(end));
    (0..text.len()).find(|at| is_begun(&text[*at..])).map_or(0, |at| text.len() - at)
}

/// Few letters, so that values overlap and begin alike.
fn values() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let value = prop_oneof!["[ab]{8,12}", "[a-c/\"]{8,20}", "\\PC{8,12}"];
    prop::collection::vec(value.prop_map(String::into_bytes), 1..5)
}

/// A part of a text: some form, as a whole or cut off, and something behind it.
fn part() -> impl Strategy<Value = (Index, Option<Index>, String)> {
    (any::<Index>(), any::<Option<Index>>(), "[ab/YWJi ]{0,12}")
}

fn text_of(parts: &[(Index, Option<Index>, String)], spelled: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for (which, cut, behind) in parts {
        let form = which.get(spelled);
        let end = cut.as_ref().map_or(form.len(), |cut| cut.index(form.len()));
        text.extend_from_slice(&form[..end]);
        text.extend_from_slice(behind.as_bytes());
    }
    text
}

/// The text in pieces of these lengths, and then the rest of it.
fn cut<'a>(text: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = text;
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

proptest! {
    #[test]
    fn however_a_text_is_cut_the_same_is_overwritten(
        values in values(),
        parts in prop::collection::vec(part(), 0..8),
        lengths in prop::collection::vec(0_usize..24, 0..40),
    ) {
        // A mask must not look like a secret.
        prop_assume!(!values.concat().contains(&MASK));
        let spelled = spelled(&values);
        let text = text_of(&parts, &spelled);
        let marks = marked(&text, &spelled);
        let signs = text.iter().zip(&marks);
        let expected: Vec<u8> =
            signs.map(|(sign, is_covered)| if *is_covered { MASK } else { *sign }).collect();
        let set = Arc::new(ScrubSet::new(values.iter().map(Vec::as_slice)).unwrap());

        prop_assert_eq!(set.finds(&text), marks.contains(&true));
        prop_assert_eq!(set.mask(&text).unwrap_or_else(|| text.clone()), expected.clone());
        let (out, hits) = streamed(&set, &cut(&text, &lengths));
        let out = out.concat();
        prop_assert_eq!(&out, &expected);
        prop_assert_eq!(out.len(), text.len());
        prop_assert!(!set.finds(&out));
        let stretches = marks.chunk_by(|one, next| one == next).filter(|marks| marks[0]).count();
        prop_assert_eq!(hits, stretches as u64);
    }
}

proptest! {
    // Looking the slow way after each piece takes its time.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_more_is_held_back_than_may_become_a_secret(
        values in values(),
        parts in prop::collection::vec(part(), 0..5),
        lengths in prop::collection::vec(0_usize..24, 0..12),
    ) {
        let spelled = spelled(&values);
        let text = text_of(&parts, &spelled);
        let set = Arc::new(ScrubSet::new(values.iter().map(Vec::as_slice)).unwrap());
        let mut scrubber = Scrubber::new(set);
        let (mut came, mut went) = (0, 0);
        for piece in cut(&text, &lengths) {
            went += passed_on(scrubber.feed(piece), piece).len();
            came += piece.len();
            prop_assert_eq!(came - went, begun(&text[..came], &spelled));
        }
    }
}
