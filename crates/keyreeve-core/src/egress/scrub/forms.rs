//! The forms in which a value may stand in an answer: as it is, and in the encodings that services
//! commonly use.

use base64::{
    Engine as _,
    engine::general_purpose::GeneralPurpose,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use crate::Secret;

/// The shortest value that answers are searched for, in bytes. Shorter ones stand in ordinary text
/// by chance.
pub const SHORTEST: usize = 8;
/// The fewest characters of base64 that are looked for where the characters at its ends may differ.
const SHORTEST_PART: usize = 12;
const LOWER: Digits = *b"0123456789abcdef";
const UPPER: Digits = *b"0123456789ABCDEF";
/// The ways to write `%XX`: which signs stand for themselves besides letters and digits, and
/// whether `+` stands for a space. In this order: RFC 3986, section 2.3; the same in forms, as many
/// libraries write them; `encodeURIComponent` of ECMAScript; forms as the URL standard writes them.
const PERCENT: [(&[u8], bool); 4] =
    [(b"-._~", false), (b"-._~", true), (b"-._~!*'()", false), (b"-._*", true)];

/// Hexadecimal digits by their value.
type Digits = [u8; 16];

/// The choices that encoders of JSON make.
#[derive(Clone, Copy)]
struct Json {
    /// `/` is escaped.
    slash: bool,
    /// What is not printable ASCII is escaped.
    ascii: bool,
    /// What HTML and scripts would take as their own is escaped.
    html: bool,
    /// The digits of `\u` escapes.
    digits: &'static Digits,
}

/// All forms that `value` is looked for in, each once and the value itself first.
///
/// They are: as it is; base64, standard and URL-safe, without padding, as a whole and as a part of
/// something longer at each of the three alignments; hexadecimal; percent-encoded, also the way web
/// forms are; escaped as in JSON if it is UTF-8. There are none for a value shorter than
/// [`SHORTEST`].
pub fn forms(value: &[u8]) -> Vec<Secret<Vec<u8>>> {
    let mut forms = Vec::new();
    if value.len() < SHORTEST {
        return forms;
    }
    add(&mut forms, value);
    for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
        add_base64(&mut forms, engine, value);
    }
    for digits in [&LOWER, &UPPER] {
        add(&mut forms, &hexadecimal(value, digits));
        for (bare, plus) in PERCENT {
            add(&mut forms, &percent(value, bare, plus, digits));
        }
    }
    if let Ok(text) = str::from_utf8(value) {
        // Every choice with every other one: most values come out the same and are kept once.
        for choices in 0_u8..16 {
            let digits = if choices & 8 == 0 { &LOWER } else { &UPPER };
            let [slash, ascii, html] = [1, 2, 4].map(|choice| choices & choice != 0);
            add(&mut forms, &json(text, Json { slash, ascii, html, digits }));
        }
    }
    forms
}

/// Adds a form unless it is there.
fn add(forms: &mut Vec<Secret<Vec<u8>>>, form: &[u8]) {
    if !forms.iter().any(|known| known.matches(form)) {
        forms.push(Secret::new(form.to_vec()));
    }
}

/// Adds base64 of the value alone, and what base64 of anything around the value has in common.
fn add_base64(forms: &mut Vec<Secret<Vec<u8>>>, engine: &GeneralPurpose, value: &[u8]) {
    add(forms, Zeroizing::new(engine.encode(value)).as_bytes());
    for before in 0..3 {
        let mut longer = Zeroizing::new(Vec::with_capacity(before + value.len()));
        longer.resize(before, 0);
        longer.extend_from_slice(value);
        let encoded = Zeroizing::new(engine.encode(longer.as_slice()));
        // A character holds six bits. At both ends one may hold bits of the neighbours, too.
        let (first, end) = ((8 * before).div_ceil(6), 8 * longer.len() / 6);
        let part = encoded.as_bytes().get(first..end).unwrap_or_default();
        if part.len() >= SHORTEST_PART {
            add(forms, part);
        }
    }
}

fn hexadecimal(value: &[u8], digits: &Digits) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(2 * value.len()));
    for byte in value {
        push_hex(&mut text, *byte, digits);
    }
    text
}

/// `%XX` for every byte but letters, digits and the bare signs.
fn percent(value: &[u8], bare: &[u8], plus: bool, digits: &Digits) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(3 * value.len()));
    for &byte in value {
        if byte.is_ascii_alphanumeric() || bare.contains(&byte) {
            text.push(byte);
        } else if plus && byte == b' ' {
            text.push(b'+');
        } else {
            text.push(b'%');
            push_hex(&mut text, byte, digits);
        }
    }
    text
}

/// The value as it stands between the quotes of a JSON string.
fn json(value: &str, how: Json) -> Zeroizing<Vec<u8>> {
    // No byte becomes more than `\u00XX`. Growing would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(6 * value.len()));
    for sign in value.chars() {
        match sign {
            '"' => text.extend_from_slice(b"\\\""),
            '\\' => text.extend_from_slice(b"\\\\"),
            '/' if how.slash => text.extend_from_slice(b"\\/"),
            '\u{8}' => text.extend_from_slice(b"\\b"),
            '\t' => text.extend_from_slice(b"\\t"),
            '\n' => text.extend_from_slice(b"\\n"),
            '\u{c}' => text.extend_from_slice(b"\\f"),
            '\r' => text.extend_from_slice(b"\\r"),
            '\0'..' ' => push_unicode(&mut text, sign, how.digits),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if how.html => {
                push_unicode(&mut text, sign, how.digits);
            }
            '\u{7f}'.. if how.ascii => push_unicode(&mut text, sign, how.digits),
            sign => text.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    text
}

/// Appends a sign as one `\uXXXX`, or as two beyond what one can say.
fn push_unicode(text: &mut Vec<u8>, sign: char, digits: &Digits) {
    let mut units = [0; 2];
    for unit in sign.encode_utf16(&mut units) {
        text.extend_from_slice(b"\\u");
        for byte in unit.to_be_bytes() {
            push_hex(text, byte, digits);
        }
    }
}

fn push_hex(text: &mut Vec<u8>, byte: u8, digits: &Digits) {
    for digit in [byte >> 4, byte & 15] {
        text.extend(digits.get(usize::from(digit)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All forms of a value; those that are no text are left out.
    fn texts(value: &str) -> Vec<String> {
        let forms = forms(value.as_bytes());
        forms.iter().filter_map(|form| String::from_utf8(form.expose().clone()).ok()).collect()
    }

    /// Whether a text holds one of these forms.
    fn holds(text: &[u8], forms: &[Secret<Vec<u8>>]) -> bool {
        forms.iter().any(|form| text.windows(form.expose().len()).any(|it| form.matches(it)))
    }

    #[test]
    fn short_values_have_no_forms() {
        assert!(forms(b"").is_empty());
        assert!(forms(b"1234567").is_empty());
        assert!(!forms(b"12345678").is_empty());
    }

    #[test]
    fn a_plain_value_has_few_forms() {
        // base64 is `YWJjZGVmZ2g`; its parts are too short to be looked for.
        assert_eq!(texts("abcdefgh"), ["abcdefgh", "YWJjZGVmZ2g", "6162636465666768"]);
    }

    #[test]
    fn base64_is_found_at_every_alignment() {
        let texts = texts("hunter2-hunter2");
        // Alone, after one byte, after two bytes.
        for form in ["aHVudGVyMi1odW50ZXIy", "h1bnRlcjItaHVudGVyM", "odW50ZXIyLWh1bnRlcj"] {
            assert!(texts.iter().any(|text| text == form), "{form}: {texts:?}");
        }
    }

    #[test]
    fn base64_has_both_alphabets() {
        let texts = texts("~~~~????>>>>");
        for form in ["fn5+fj8/Pz8+Pj4+", "fn5-fj8_Pz8-Pj4-"] {
            assert!(texts.iter().any(|text| text == form), "{form}: {texts:?}");
        }
    }

    #[test]
    fn hexadecimal_and_percent_have_both_cases() {
        let texts = texts("a/b c~*é()");
        for form in [
            "612f6220637e2ac3a92829",
            "612F6220637E2AC3A92829",
            "a%2Fb%20c~%2A%C3%A9%28%29",
            "a%2fb%20c~%2a%c3%a9%28%29",
            "a%2Fb+c~%2A%C3%A9%28%29",
            "a%2Fb+c%7E*%C3%A9%28%29",
            "a%2fb%20c~*%c3%a9()",
        ] {
            assert!(texts.iter().any(|text| text == form), "{form}: {texts:?}");
        }
    }

    #[test]
    fn json_is_escaped_in_every_way() {
        let texts = texts("\"\\/\n\u{1f}é<😀");
        for form in [
            r#"\"\\/\n\u001fé<😀"#,
            r#"\"\\\/\n\u001Fé<😀"#,
            r#"\"\\/\n\u001f\u00e9<\ud83d\ude00"#,
            r#"\"\\\/\n\u001F\u00E9\u003C\uD83D\uDE00"#,
            r#"\"\\/\n\u001fé\u003c😀"#,
        ] {
            assert!(texts.iter().any(|text| text == form), "{form}: {texts:?}");
        }
    }

    #[test]
    fn what_is_no_text_has_no_json() {
        let value = [0xff, 0xfe, b'"', b'/', 0, 1, 2, 3];
        let forms = forms(&value);
        assert!(forms.iter().any(|form| form.matches(&value)));
        assert!(!forms.iter().any(|form| form.expose().starts_with(&[0xff, 0xfe, b'\\'])));
    }

    proptest! {
        #[test]
        fn every_form_stands_once_and_is_long_enough(
            value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let forms = forms(&value);
            for (at, form) in forms.iter().enumerate() {
                prop_assert!(form.expose().len() >= SHORTEST);
                prop_assert!(!forms.iter().skip(at + 1).any(|other| other.matches(form.expose())));
            }
        }

        #[test]
        fn base64_of_anything_around_a_value_holds_a_form(
            before in prop::collection::vec(any::<u8>(), 0..7),
            value in prop::collection::vec(any::<u8>(), 10..40),
            after in prop::collection::vec(any::<u8>(), 0..7),
        ) {
            let whole = [before, value.clone(), after].concat();
            let forms = forms(&value);
            for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
                prop_assert!(holds(engine.encode(&whole).as_bytes(), &forms));
            }
        }

        #[test]
        fn json_around_a_value_holds_a_form(value in "\\PC{8,30}|[\\x00-\\x7f]{8,30}") {
            let text = serde_json::to_string(&[&value]).unwrap();
            prop_assert!(holds(text.as_bytes(), &forms(value.as_bytes())));
        }
    }
}
