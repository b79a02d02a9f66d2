//! Reading secrets from JSON and YAML files: one map of names to single values, nothing below it.
//!
//! A number or a boolean is the text that stands in the file, so `1.10` and `yes` stay as they are.

mod yaml;

use std::{fmt, str::Chars};

use keyreeve_core::Secret;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

pub(crate) use self::yaml::from_yaml;
pub(super) use self::yaml::is_safe_in_yaml;
use super::dotenv::{Assignment, Assignments, Mistake, line_ends, text_of};

const NO_JSON: &str = "it is not well-formed JSON";
const NO_OBJECT: &str = "the file must have one JSON object of names and values";
const NULL: &str = "null is no value: write \"\" for an empty text";
const NESTED: &str = "the value must be one text, number or boolean: lists and maps in a map are \
                      not read";
const BAD_ESCAPE: &str = "the value has an escape that means no sign";
const BAD_NAME: &str = "a name must not be empty or have control characters";

/// Reads one JSON object whose values are texts, numbers and booleans, in its order.
///
/// # Errors
///
/// The first line that is no JSON or breaks a rule: null, lists, maps in the map, a name that
/// stands there twice, more than 1 MiB or 10,000 names.
pub(crate) fn from_json(bytes: &[u8]) -> Result<Vec<Assignment>, Mistake> {
    let text = text_of(bytes)?;
    let Entries(entries) = serde_json::from_str(text).map_err(|error| Mistake {
        line: error.line().max(1),
        rule: if error.is_data() { NO_OBJECT } else { NO_JSON },
    })?;
    let mut assignments = Assignments::default();
    let (mut line, mut counted) = (1, 0);
    for (name, value) in entries {
        let value = value.get();
        // The value is a part of the text.
        let at = value.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        line += text.get(counted..at).map_or(0, line_ends);
        counted = at;
        let value = check_name(&name).and_then(|()| json_value(value));
        let value = value.map_err(|rule| Mistake { line, rule })?;
        assignments.add(Assignment { name, value, line, has_reference: false })?;
    }
    Ok(assignments.in_order)
}

/// All entries of an object. A map would lose all but the last of a name that stands there twice.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let is_good = !name.is_empty() && !name.chars().any(char::is_control);
    if is_good { Ok(()) } else { Err(BAD_NAME) }
}

/// What a well-formed JSON value means. `serde_json` could tell as well, but would leave texts
/// with escapes behind in its own memory.
fn json_value(value: &str) -> Result<Secret<String>, &'static str> {
    let Some(text) = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return match value.chars().next() {
            Some('{' | '[') => Err(NESTED),
            Some('n') | None => Err(NULL),
            Some(_) => Ok(Secret::new(value.to_owned())),
        };
    };
    let mut meant = Secret::new(String::with_capacity(text.len()));
    // EXPOSE: filled.
    let plain = meant.expose_mut();
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        plain.push(if sign == '\\' { json_escape(&mut signs)? } else { sign });
    }
    Ok(meant)
}

/// The sign that a JSON escape means, from behind its `\`.
fn json_escape(signs: &mut Chars<'_>) -> Result<char, &'static str> {
    Ok(match signs.next() {
        Some(sign @ ('"' | '\\' | '/')) => sign,
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => utf16(signs).ok_or(BAD_ESCAPE)?,
        _ => return Err(BAD_ESCAPE),
    })
}

/// The sign that one `\u` escape means, or two of them together.
fn utf16(signs: &mut Chars<'_>) -> Option<char> {
    let high = hex(signs, 4)?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high);
    }
    *signs = signs.as_str().strip_prefix("\\u")?.chars();
    let low = hex(signs, 4)?;
    let is_low = (0xdc00..0xe000).contains(&low);
    if is_low { char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)) } else { None }
}

/// So many hexadecimal digits.
fn hex(signs: &mut Chars<'_>, digits: usize) -> Option<u32> {
    let mut number = 0;
    for _ in 0..digits {
        number = (number << 4) | signs.next()?.to_digit(16)?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the two readers.
    pub(super) type Reader = fn(&[u8]) -> Result<Vec<Assignment>, Mistake>;

    /// Name, value and line of everything in a text.
    pub(super) fn read(reader: Reader, text: &str) -> Vec<(String, String, usize)> {
        let found = reader(text.as_bytes()).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
        assert!(found.iter().all(|it| !it.has_reference));
        found.into_iter().map(|it| (it.name, it.value.expose().clone(), it.line)).collect()
    }

    /// Reads what is good, each a value of the name A, and what is bad, with a line and a rule.
    pub(super) fn check(reader: Reader, good: &[(&str, &str)], bad: &[(&str, usize, &str)]) {
        for (text, expected) in good {
            let found = read(reader, text);
            let found: Vec<_> = found.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
            assert_eq!(found, [("A", *expected)], "{text}");
        }
        for (text, line, rule) in bad {
            let mistake = reader(text.as_bytes()).unwrap_err();
            assert!(!format!("{mistake:?}").contains("canary"), "{mistake}");
            assert_eq!((mistake.line, mistake.rule), (*line, *rule), "{text}");
        }
    }

    #[test]
    fn json_values_are_what_they_say() {
        let good = [
            (r#"{"A":"b"}"#, "b"),
            ("\u{feff}{\"A\" : \"\" }\n", ""),
            (r#"{"A":-1.50e+07}"#, "-1.50e+07"),
            (r#"{"A":123456789012345678901234567890}"#, "123456789012345678901234567890"),
            (r#"{"A": true }"#, "true"),
            (r#"{"\u0041":"\"\\\/\b\f\n\r\t"}"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#"{"A":"\u00e9\u20AC\ud83d\ude00$B\u0000"}"#, "é€😀$B\0"),
        ];
        let bad = [
            ("", 1, NO_JSON),
            ("{\"A\":\n\"canary}", 2, NO_JSON),
            ("{\"A\":1}\n{}", 2, NO_JSON),
            ("{\"A\":\"b\",\n\"B\":\"canary\n\"}", 2, NO_JSON),
            ("{\"A\":01}", 1, NO_JSON),
            ("{\"A\":\"\\q\"}", 1, NO_JSON),
            ("[\"canary\"]", 1, NO_OBJECT),
            ("\"canary\"", 1, NO_OBJECT),
            ("{\"A\":1,\r\n\"B\":null}", 2, NULL),
            ("{\"A\":1,\n\n\"B\":{\"C\":\"canary\"}}", 3, NESTED),
            ("{\"A\":[\"canary\"]}", 1, NESTED),
            ("{\"A\":\"\\ud800canary\"}", 1, BAD_ESCAPE),
            ("{\"A\":\"\\udc00\"}", 1, BAD_ESCAPE),
            ("{\"A\":\"\\ud800\\u0041\"}", 1, BAD_ESCAPE),
            ("{\"\":\"canary\"}", 1, BAD_NAME),
            ("{\"A\\n\":\"canary\"}", 1, BAD_NAME),
            ("{\"A\":\"b\",\n\"A\":\"canary\"}", 2, "the name stands further up already"),
        ];
        check(from_json, &good, &bad);
        let found = read(from_json, "\n{\"B\": \"x\",\n\n \"A\":\n1}");
        assert_eq!(found, [("B".into(), "x".into(), 2), ("A".into(), "1".into(), 5)]);
        assert!(read(from_json, " {} ").is_empty());
    }
}
