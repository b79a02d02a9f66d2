//! Writes JSON objects whose names are known when this is compiled.
//!
//! A third of the time that an answer took went into serde's way of writing it: every name and
//! every value looked at byte by byte for what has to be escaped. Here names are copied, and
//! values looked at many bytes at a time.

use jiff::{Timestamp, tz::Offset};
use serde_json::value::RawValue;

/// An object that is being written.
pub(super) struct JsonObject<'b> {
    bytes: &'b mut Vec<u8>,
    empty: bool,
}

/// Writes a whole object.
pub(super) fn object(bytes: &mut Vec<u8>, content: impl FnOnce(&mut JsonObject<'_>)) {
    bytes.push(b'{');
    content(&mut JsonObject { bytes, empty: true });
    bytes.push(b'}');
}

/// The name of a field, as it stands in JSON: `"name":`.
macro_rules! name {
    ($name:literal) => {
        concat!("\"", $name, "\":")
    };
}
pub(super) use name;

#[expect(
    clippy::inline_always,
    reason = "where its length is known, a name is copied in one or two steps"
)]
impl JsonObject<'_> {
    #[inline(always)]
    fn begin(&mut self, name: &'static str) {
        if !self.empty {
            self.bytes.push(b',');
        }
        self.empty = false;
        self.bytes.extend_from_slice(name.as_bytes());
    }

    #[inline(always)]
    pub(super) fn text(&mut self, name: &'static str, text: &str) {
        self.begin(name);
        string(self.bytes, text);
    }

    /// A word that by its type holds nothing that JSON escapes, such as an id: nothing is looked at.
    #[inline(always)]
    pub(super) fn word(&mut self, name: &'static str, word: &[u8]) {
        debug_assert!(word.iter().all(|byte| !needs_escape(*byte) && byte.is_ascii()));
        self.begin(name);
        self.bytes.reserve(word.len() + 2);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(word);
        self.bytes.push(b'"');
    }

    #[inline(always)]
    pub(super) fn maybe_text(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    #[inline(always)]
    pub(super) fn number(&mut self, name: &'static str, number: u64) {
        self.begin(name);
        self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    #[inline(always)]
    pub(super) fn maybe_number(&mut self, name: &'static str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    #[inline(always)]
    pub(super) fn flag(&mut self, name: &'static str, flag: bool) {
        self.begin(name);
        self.bytes.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    #[inline(always)]
    pub(super) fn moment(&mut self, name: &'static str, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.begin(name);
            moment(self.bytes, at);
        }
    }

    #[inline(always)]
    pub(super) fn raw(&mut self, name: &'static str, json: Option<&RawValue>) {
        if let Some(json) = json {
            self.begin(name);
            self.bytes.extend_from_slice(json.get().as_bytes());
        }
    }

    #[inline(always)]
    pub(super) fn object(&mut self, name: &'static str, content: impl FnOnce(&mut JsonObject<'_>)) {
        self.begin(name);
        object(self.bytes, content);
    }

    /// A list of texts; `each` is called with what takes them.
    #[inline(always)]
    pub(super) fn texts(&mut self, name: &'static str, each: impl FnOnce(&mut dyn FnMut(&str))) {
        self.begin(name);
        self.bytes.push(b'[');
        let mut empty = true;
        let bytes = &mut *self.bytes;
        each(&mut |text| {
            if !empty {
                bytes.push(b',');
            }
            empty = false;
            string(bytes, text);
        });
        self.bytes.push(b']');
    }

    /// A list of objects.
    pub(super) fn objects<T>(
        &mut self,
        name: &'static str,
        items: &[T],
        content: impl Fn(&mut JsonObject<'_>, &T),
    ) {
        self.begin(name);
        self.bytes.push(b'[');
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                self.bytes.push(b',');
            }
            object(self.bytes, |object| content(object, item));
        }
        self.bytes.push(b']');
    }
}

/// In RFC 3339, as jiff writes it: as many digits of a second as there are. By hand for the years and
/// the precision that stores keep, since a general formatter takes ten times as long.
fn moment(bytes: &mut Vec<u8>, at: Timestamp) {
    let civil = Offset::UTC.to_datetime(at);
    let (year, nanos) = (civil.year(), civil.subsec_nanosecond());
    if !(0..=9_999).contains(&year) || nanos % 1_000_000 != 0 {
        // A timestamp and memory: there is nothing here that can fail.
        let _ = serde_json::to_writer(bytes, &at);
        return;
    }
    let mut text = *b"\"0000-00-00T00:00:00";
    digits(&mut text[1..5], year.unsigned_abs().into());
    for (place, number) in [
        (6, civil.month()),
        (9, civil.day()),
        (12, civil.hour()),
        (15, civil.minute()),
        (18, civil.second()),
    ] {
        digits(&mut text[place..place + 2], number.unsigned_abs().into());
    }
    bytes.extend_from_slice(&text);
    let millis = nanos.unsigned_abs() / 1_000_000;
    if millis > 0 {
        let mut fraction = *b".000";
        digits(&mut fraction[1..], millis);
        let kept = fraction.iter().rposition(|digit| *digit != b'0').unwrap_or_default();
        bytes.extend_from_slice(&fraction[..=kept]);
    }
    bytes.extend_from_slice(b"Z\"");
}

/// Fills the places with the last digits of the number.
fn digits(places: &mut [u8], mut number: u32) {
    for place in places.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// Whether JSON escapes a byte of text (RFC 8259 §7).
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without an early end, bytes are looked at many at a time"
)]
fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    if text.as_bytes().iter().fold(false, |found, byte| found | needs_escape(*byte)) {
        // Text and memory: there is nothing here that can fail.
        let _ = serde_json::to_writer(bytes, text);
        return;
    }
    bytes.reserve(text.len() + 2);
    bytes.push(b'"');
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(content: impl FnOnce(&mut JsonObject<'_>)) -> Value {
        let mut bytes = Vec::new();
        object(&mut bytes, content);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn everything_is_json() {
        let raw = RawValue::from_string("{\"plan\":1}".to_owned()).unwrap();
        let value = written(|object| {
            object.flag(name!("flag"), true);
            object.text(name!("text"), "plain");
            object.word(name!("word"), b"kr_1");
            object.maybe_text(name!("none"), None);
            object.number(name!("number"), u64::MAX);
            object.maybe_number(name!("some"), Some(0));
            object.moment(name!("moment"), Some(Timestamp::UNIX_EPOCH));
            object.raw(name!("raw"), Some(&raw));
            object.object(name!("object"), |_| {});
            object.texts(name!("texts"), |each| ["a", "b"].into_iter().for_each(each));
            object.objects(name!("objects"), &[1, 2], |object, n| object.number(name!("n"), *n));
        });
        let expected = json!({
            "flag": true, "text": "plain", "word": "kr_1", "number": u64::MAX, "some": 0,
            "moment": "1970-01-01T00:00:00Z", "raw": {"plan": 1}, "object": {},
            "texts": ["a", "b"], "objects": [{"n": 1}, {"n": 2}],
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn every_text_comes_back() {
        for text in ["", "ä€𝄞", "\"", "\\", "a\u{0}b", "\u{1f}", "\u{7f}", "line\nline\ttab", "</"]
        {
            let value = written(|object| object.text(name!("t"), text));
            assert_eq!(value["t"], text, "{text:?}");
        }
        let all: String = (0..=0x2ff).filter_map(char::from_u32).collect();
        assert_eq!(written(|object| object.text(name!("t"), &all))["t"], all.as_str());
    }

    proptest::proptest! {
        #[test]
        fn moments_are_written_as_jiff_writes_them(
            ms in -400_000_000_000_000_i64..400_000_000_000_000,
            whole in proptest::bool::ANY,
        ) {
            let ms = if whole { ms / 1_000 * 1_000 } else { ms };
            if let Ok(at) = Timestamp::from_millisecond(ms) {
                let mut bytes = Vec::new();
                moment(&mut bytes, at);
                proptest::prop_assert_eq!(bytes, serde_json::to_vec(&at).unwrap());
            }
        }
    }

    #[test]
    fn moments_at_the_edges_are_written_as_jiff_writes_them() {
        let near = Timestamp::UNIX_EPOCH;
        let with_nanos = Timestamp::from_nanosecond(1_234_567_890_123_456_789).unwrap();
        for at in [Timestamp::MIN, Timestamp::MAX, near, with_nanos] {
            let mut bytes = Vec::new();
            moment(&mut bytes, at);
            assert_eq!(bytes, serde_json::to_vec(&at).unwrap());
        }
    }
}
