//! What of a webhook's body may be seen by who may not see customers' data.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::encoding::percent_decoded;

/// The most characters of a name that is shown.
const LONGEST_NAME: usize = 64;
/// Names with more digits may be somebody's number.
const MOST_DIGITS: usize = 5;
/// The most characters of a kind that is shown.
const LONGEST_KIND: usize = 64;
/// How many objects and arrays may stand inside each other.
const DEEPEST: usize = 8;
/// The most members and elements that are shown, of all objects and arrays together.
const MOST_MEMBERS: usize = 200;
/// The most elements of one array that are shown.
const MOST_ELEMENTS: usize = 3;
/// The most fields of a form that are shown.
const MOST_FIELDS: usize = 100;

/// Members that say what kind of event it is.
const KINDS: [&str; 10] = [
    "type",
    "event",
    "event_type",
    "eventType",
    "action",
    "object",
    "topic",
    "status",
    "kind",
    "event_name",
];
/// Fields of a form that do so too.
const FORM_KINDS: [&str; 3] = ["MessageStatus", "SmsStatus", "CallStatus"];

/// What a person without the right to see customers' data may see of a webhook's body: its structure.
///
/// - What can be read as JSON, whatever the content type says, becomes JSON of the same structure, its
///   members in the order of their names: strings become `"<12 characters>"` and numbers `"<number>"`;
///   `true`, `false` and `null` stay. Of an array the first 3 elements are shown. At most 8 objects and
///   arrays stand inside each other, and at most 200 members and elements are shown in all.
/// - A form becomes one line for each field, `Name: <5 characters>`, at most 100 of them. A field without
///   its `=` may as well be a value, so only its length is shown.
/// - Of anything else only the length is shown, in bytes, and whether it is text.
///
/// Short, plain strings stay where the name says that they are a kind (`type`, `event`, `status`, …).
/// Names stay too, but long ones and those that are not plain become `<name of 80 characters>`, for they
/// may be data; of several that would look the same the later ones are numbered.
///
/// `content_type` is the header's value, with its parameters or without.
pub fn preview(content_type: Option<&str>, body: &[u8]) -> String {
    if let Ok(value) = serde_json::from_slice(body) {
        let mut json = Json { text: String::new(), left: MOST_MEMBERS };
        json.value(None, &value, 0);
        return json.text;
    }
    match std::str::from_utf8(body) {
        Ok(text) if !text.is_empty() && is_form(content_type) => form(text),
        _ => length_of_bytes(body),
    }
}

/// JSON that is being written. Whatever is put between quotes is plain, so nothing needs an escape.
struct Json {
    text: String,
    /// How many members and elements may still be shown.
    left: usize,
}

impl Json {
    fn value(&mut self, name: Option<&str>, value: &Value, depth: usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(true) => self.text.push_str("true"),
            Value::Bool(false) => self.text.push_str("false"),
            Value::Number(_) => self.quoted("<number>"),
            Value::String(text) if name.is_some_and(is_kind_name) && is_kind(text) => {
                self.quoted(text);
            }
            Value::String(text) => self.quoted(&length_of_text(text)),
            Value::Array(_) | Value::Object(_) if depth == DEEPEST => self.quoted("<deeper>"),
            Value::Array(elements) => self.array(elements, depth),
            Value::Object(members) => self.object(members, depth),
        }
    }

    fn array(&mut self, elements: &[Value], depth: usize) {
        self.text.push('[');
        let mut shown = 0;
        for element in elements.iter().take(MOST_ELEMENTS) {
            if !self.takes_one() {
                break;
            }
            self.line(shown, depth + 1);
            self.value(None, element, depth + 1);
            shown += 1;
        }
        if shown < elements.len() {
            self.line(shown, depth + 1);
            self.quoted(&more(elements.len() - shown));
        }
        self.end(']', elements.is_empty(), depth);
    }

    fn object(&mut self, members: &serde_json::Map<String, Value>, depth: usize) {
        self.text.push('{');
        let mut names = Names::default();
        let mut shown = 0;
        for (name, value) in members {
            if !self.takes_one() {
                break;
            }
            self.line(shown, depth + 1);
            self.quoted(&names.shown(name));
            self.text.push_str(": ");
            self.value(Some(name), value, depth + 1);
            shown += 1;
        }
        if shown < members.len() {
            self.line(shown, depth + 1);
            self.quoted("<more>");
            self.text.push_str(": ");
            self.quoted(&more(members.len() - shown));
        }
        self.end('}', members.is_empty(), depth);
    }

    /// Whether one more may be shown, which then counts as shown.
    fn takes_one(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// Begins the line of what follows so many others.
    fn line(&mut self, others: usize, depth: usize) {
        if others > 0 {
            self.text.push(',');
        }
        self.new_line(depth);
    }

    fn end(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if !is_empty {
            self.new_line(depth);
        }
        self.text.push(bracket);
    }

    fn new_line(&mut self, depth: usize) {
        self.text.push('\n');
        self.text.push_str(&"  ".repeat(depth));
    }

    fn quoted(&mut self, plain: &str) {
        self.text.push('"');
        self.text.push_str(plain);
        self.text.push('"');
    }
}

/// The names of one object or form, as they are shown.
#[derive(Default)]
struct Names {
    /// How many names of each length, in characters, were not shown as they are.
    hidden: BTreeMap<usize, usize>,
}

impl Names {
    fn shown(&mut self, name: &str) -> String {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:$/-".contains(&byte);
        // A telephone number or an address for mail is data, whatever stands behind it.
        if (1..=LONGEST_NAME).contains(&name.len())
            && name.bytes().all(is_plain)
            && has_few_digits(name)
        {
            return name.to_owned();
        }
        let length = name.chars().count();
        let number = self.hidden.entry(length).or_default();
        *number += 1;
        let characters = counted(length, "character");
        if *number == 1 {
            format!("<name of {characters}>")
        } else {
            format!("<name of {characters}, {number}>")
        }
    }
}

fn form(text: &str) -> String {
    let mut names = Names::default();
    let fields = || text.split('&').filter(|field| !field.is_empty());
    let mut lines: Vec<String> =
        fields().take(MOST_FIELDS).map(|field| form_line(field, &mut names)).collect();
    let hidden = fields().skip(MOST_FIELDS).count();
    if hidden > 0 {
        lines.push(more(hidden));
    }
    lines.join("\n")
}

fn form_line(field: &str, names: &mut Names) -> String {
    // A `+` stands for a space, but neither is plain and both are one character.
    let Some((name, value)) = field.split_once('=') else {
        return length_of_value(&percent_decoded(field));
    };
    // What stands for bytes that are no text is not plain, so such a name is not shown.
    let name = String::from_utf8_lossy(&percent_decoded(name)).into_owned();
    let value = percent_decoded(value);
    let is_kind_field = is_kind_name(&name) || FORM_KINDS.contains(&name.as_str());
    let value = match std::str::from_utf8(&value) {
        Ok(kind) if is_kind_field && is_kind(kind) => kind.to_owned(),
        _ => length_of_value(&value),
    };
    format!("{}: {value}", names.shown(&name))
}

/// Whether the content type is the one of forms; its parameters do not matter.
fn is_form(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn is_kind_name(name: &str) -> bool {
    KINDS.contains(&name)
}

/// Whether it cannot be the number of a telephone or a card.
fn has_few_digits(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS
}

/// Whether a text reads like the name of a kind rather than like something about a person.
fn is_kind(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    (1..=LONGEST_KIND).contains(&text.len()) && text.bytes().all(is_plain) && has_few_digits(text)
}

fn length_of_value(value: &[u8]) -> String {
    std::str::from_utf8(value).map_or_else(|_| length_of_bytes(value), length_of_text)
}

fn length_of_text(text: &str) -> String {
    format!("<{}>", counted(text.chars().count(), "character"))
}

fn length_of_bytes(bytes: &[u8]) -> String {
    let (length, is_text) = (counted(bytes.len(), "byte"), std::str::from_utf8(bytes).is_ok());
    if is_text { format!("<{length} of text>") } else { format!("<{length} that are no text>") }
}

fn more(count: usize) -> String {
    format!("<{count} more>")
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Option<&str> = Some("Application/X-WWW-Form-Urlencoded; charset=utf-8");

    fn json(body: &str) -> String {
        preview(None, body.as_bytes())
    }

    #[test]
    fn json_keeps_its_structure_only() {
        let body = r#"{"id": 17, "live": true, "none": null, "name": "J\u00e4rvi", "e": {}, "f": [],
            "data": {"type": "card", "list": ["a", {"status": "a b"}]}, "type": "invoice.paid"}"#;
        let expected = r#"{
  "data": {
    "list": [
      "<1 character>",
      {
        "status": "<3 characters>"
      }
    ],
    "type": "card"
  },
  "e": {},
  "f": [],
  "id": "<number>",
  "live": true,
  "name": "<5 characters>",
  "none": null,
  "type": "invoice.paid"
}"#;
        assert_eq!(preview(Some("text/plain"), body.as_bytes()), expected);
        assert_eq!(preview(FORM, body.as_bytes()), expected);
    }

    #[test]
    fn values_alone_are_previewed() {
        for (body, expected) in [
            ("\"type\"", "\"<4 characters>\""),
            ("\"\"", "\"<0 characters>\""),
            (" -1.5e3\n", "\"<number>\""),
            ("false", "false"),
            ("{\"a\"", "<4 bytes of text>"),
            ("", "<0 bytes of text>"),
            ("<a>\u{e4}</a>", "<9 bytes of text>"),
        ] {
            assert_eq!(json(body), expected, "{body}");
        }
        assert_eq!(preview(FORM, b""), "<0 bytes of text>");
        assert_eq!(preview(None, b"a=1&b=2"), "<7 bytes of text>");
        assert_eq!(preview(Some("application/x-www-form"), b"a=1"), "<3 bytes of text>");
        for content_type in [None, FORM] {
            assert_eq!(preview(content_type, b"a=\xff"), "<3 bytes that are no text>");
        }
    }

    #[test]
    fn only_plain_kinds_are_kept() {
        let long = "x".repeat(LONGEST_KIND + 1);
        for (name, text, is_kept) in [
            ("type", "a", true),
            ("event_type", "A-z0.9_:/", true),
            ("event_name", &long[1..], true),
            ("type", &long, false),
            ("type", "", false),
            ("status", "in transit", false),
            ("action", "ana@example.com", false),
            ("object", "4111111111111111", false),
            ("object", "\u{e4}", false),
            ("kind", "a+b", false),
            ("Type", "a", false),
            ("name", "a", false),
            ("MessageStatus", "sent", false),
        ] {
            let shown = if is_kept { text.to_owned() } else { length_of_text(text) };
            let body = format!("{{\"{name}\": \"{text}\"}}");
            assert_eq!(json(&body), format!("{{\n  \"{name}\": \"{shown}\"\n}}"), "{body}");
        }
        for name in KINDS {
            assert!(json(&format!("{{\"{name}\": \"kept\"}}")).contains("kept"), "{name}");
            // The name speaks for the string itself, not for what stands deeper.
            assert!(!json(&format!("{{\"{name}\": [\"kept\"]}}")).contains("kept"), "{name}");
        }
    }

    #[test]
    fn names_that_may_be_data_are_hidden() {
        let (long, plain) = ("n".repeat(LONGEST_NAME + 1), "n".repeat(LONGEST_NAME));
        for (name, expected) in [
            ("Az09_.:$/-", "Az09_.:$/-"),
            ("field_12345", "field_12345"),
            ("491234567890", "<name of 12 characters>"),
            ("a@b.example", "<name of 11 characters>"),
            (&plain, &plain),
            (&long, "<name of 65 characters>"),
            ("Ana Maier", "<name of 9 characters>"),
            ("\u{e4}", "<name of 1 character>"),
            ("a\\\"b", "<name of 3 characters>"),
            ("<a>", "<name of 3 characters>"),
            ("", "<name of 0 characters>"),
        ] {
            let expected = format!("{{\n  \"{expected}\": null\n}}");
            assert_eq!(json(&format!("{{\"{name}\": null}}")), expected, "{name}");
        }
        let expected = r#"{
  "<name of 3 characters>": true,
  "<name of 4 characters>": true,
  "<name of 3 characters, 2>": true,
  "<name of 3 characters, 3>": true,
  "d": {
    "<name of 3 characters>": true
  }
}"#;
        let body = r#"{"a a": true, "a aa": true, "b b": true, "c c": true, "d": {"a a": true}}"#;
        assert_eq!(json(body), expected);
    }

    #[test]
    fn long_arrays_are_cut() {
        let expected = |rest: &str| format!("[\n  null,\n  null,\n  null{rest}\n]");
        assert_eq!(json("[null,null,null]"), expected(""));
        assert_eq!(json("[null,null,null,1]"), expected(",\n  \"<1 more>\""));
        let body = format!("[null,null,null{}]", ",\"secret\"".repeat(5));
        assert_eq!(json(&body), expected(",\n  \"<5 more>\""));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize, inner: &str| {
            format!("{}{inner}{}", "[{\"a\":".repeat(depth / 2), "}]".repeat(depth / 2))
        };
        assert!(!json(&nested(DEEPEST, "1")).contains("<deeper>"));
        for inner in ["[]", "{}", "[\"secret\"]"] {
            let shown = json(&nested(DEEPEST, inner));
            assert!(shown.contains("\"a\": \"<deeper>\""), "{shown}");
            assert_eq!(shown.lines().count(), 2 * DEEPEST + 1, "{shown}");
        }
        // Deeper than the parser goes.
        let body = "[".repeat(10_000);
        assert_eq!(json(&body), "<10000 bytes of text>");
    }

    #[test]
    fn members_are_bounded() {
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"m{n:03}\": null")).collect();
            members.join(",")
        };
        let whole = json(&format!("{{{}}}", members(MOST_MEMBERS)));
        assert!(whole.contains("m199") && !whole.contains("more"), "{whole}");
        let cut = json(&format!("{{{}}}", members(MOST_MEMBERS + 7)));
        assert!(cut.ends_with("\"m199\": null,\n  \"<more>\": \"<7 more>\"\n}"), "{cut}");
        let inner = members(MOST_MEMBERS);
        let cut = json(&format!("[{{{inner}}}, {{{inner}}}]"));
        assert!(cut.ends_with("\"<more>\": \"<1 more>\"\n  },\n  \"<1 more>\"\n]"), "{cut}");
        // Arrays in arrays count too.
        let deep =
            (0..DEEPEST).fold("1".to_owned(), |inner, _| format!("[{inner},{inner},{inner}]"));
        let shown = json(&deep);
        let is_element = |line: &&str| line.ends_with('[') || line.contains("<number>");
        // The outermost array is no element.
        assert_eq!(shown.lines().filter(is_element).count(), 1 + MOST_MEMBERS, "{shown}");
    }

    #[test]
    fn forms_keep_their_names_only() {
        for (body, expected) in [
            ("Body=x+y%C3%A4&From=", "Body: <4 characters>\nFrom: <0 characters>"),
            ("a%5Fb=%31&&c==", "a_b: <1 character>\nc: <1 character>"),
            (
                "MessageStatus=sent&SmsStatus=a.b&CallStatus=%41",
                "MessageStatus: sent\nSmsStatus: a.b\nCallStatus: A",
            ),
            (
                "type=x+y&event=%0a&topic=orders%2fnew",
                "type: <3 characters>\nevent: <1 character>\ntopic: orders/new",
            ),
            (
                "a=%FF%fe&%FF=1",
                "a: <2 bytes that are no text>\n<name of 1 character>: <1 character>",
            ),
            (
                "a%0Ab=&a+b=&x=",
                "<name of 3 characters>: <0 characters>\n<name of 3 characters, 2>: <0 characters>\nx: <0 characters>",
            ),
            ("secr%65t", "<6 characters>"),
            ("=secret", "<name of 0 characters>: <6 characters>"),
        ] {
            assert_eq!(preview(FORM, body.as_bytes()), expected, "{body}");
        }
        let many = "a=1&".repeat(MOST_FIELDS);
        let whole = preview(FORM, many.as_bytes());
        assert_eq!(whole.lines().count(), MOST_FIELDS);
        let cut = preview(FORM, format!("{many}b=2&c=3").as_bytes());
        assert_eq!(cut, format!("{whole}\n<2 more>"));
    }
}
