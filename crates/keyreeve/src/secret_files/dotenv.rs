//! Reading `.env` files of all common dialects.
//!
//! The dialects agree on `NAME=value` and on little else. What is read here is what they share,
//! plus what only one of them has and no other contradicts:
//!
//! - dotenv of Node.js (<https://github.com/motdotla/dotenv>): blanks around the `=`, quoted
//!   values of several lines, backticks;
//! - dotenv of Ruby (<https://github.com/bkeepers/dotenv>): `export`, and `NAME: value`;
//! - Docker Compose
//!   (<https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/>): a
//!   comment behind an unquoted value needs a blank before its `#`, double quotes have escapes;
//! - shells that source the file: `export NAME='value'`.
//!
//! Where a line can be meant in two ways it is a mistake rather than a guess: a secret that was
//! taken over wrongly is noticed too late. A `$NAME` is not replaced but flagged, since its
//! meaning depends on a machine and a moment. Inside quotes every line end becomes `\n`.

use std::collections::HashSet;

use keyreeve_core::Secret;

/// The most bytes of a file.
const MOST_BYTES: usize = 1 << 20;
/// The most assignments of a file.
const MOST_ASSIGNMENTS: usize = 10_000;
/// What may stand between the parts of a line.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];
/// What ends a line; `\r\n` is one end.
pub(super) const LINE_ENDS: [char; 2] = ['\n', '\r'];
/// How YAML begins a value that is more than a text on one line.
const YAML_SIGNS: [char; 7] = ['|', '>', '[', '{', '&', '*', '!'];

const NAME: &str = "a name must be a letter or _ followed by letters, digits, _, . or -";
const NO_VALUE: &str = "the name has no value: write NAME=value; a bare NAME, which Docker takes \
                        from the environment, has nothing that could be read";
const NO_EQUALS: &str = "there must be an = behind the name";
const UNCLEAR_COLON: &str = "NAME: must be followed by a blank and a value on the same line; \
                             write NAME=value, or read the file as YAML";
const UNTERMINATED: &str = "the quote that begins here is never closed";
const BEHIND_QUOTE: &str = "there is text behind the closing quote";

/// One name and its value.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// The name as it is written.
    pub(crate) name: String,
    /// The value without quotes and escapes.
    pub(crate) value: Secret<String>,
    /// The line the name is on, from 1.
    pub(crate) line: usize,
    /// Whether the value has a `$NAME`, `${NAME}` or `$(command)` that the tool the file is for
    /// may replace. It is in the value as it is written.
    pub(crate) has_reference: bool,
}

/// Why a file cannot be read. Nothing of its content is in here.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {rule}")]
pub(crate) struct Mistake {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The rule it breaks.
    pub(crate) rule: &'static str,
}

/// Reads a `.env` file, in its order.
///
/// # Errors
///
/// The first line that breaks a rule of the file format, or the limits of 1 MiB and 10,000
/// assignments.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Assignment>, Mistake> {
    let mut reader = Reader { rest: text_of(bytes)?, line: 1 };
    let mut assignments = Assignments::default();
    while let Some(assignment) = reader.next_assignment()? {
        assignments.add(assignment)?;
    }
    Ok(assignments.in_order)
}

/// The text of a file without its byte order mark; fails if it is too large or no text.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, Mistake> {
    if bytes.len() > MOST_BYTES {
        return Err(Mistake { line: 1, rule: "the file is larger than 1 MiB" });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let ends = std::str::from_utf8(good).map_or(0, line_ends);
        Mistake { line: 1 + ends, rule: "it is not UTF-8 text" }
    })?;
    if let Some((before, _)) = text.split_once('\0') {
        return Err(Mistake { line: 1 + line_ends(before), rule: "it has a NUL byte" });
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// How many line ends a text has.
pub(super) fn line_ends(text: &str) -> usize {
    text.matches(LINE_ENDS).count() - text.matches("\r\n").count()
}

/// Whether a name can stand in a `.env` file.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(is_name_sign)
}

fn is_name_sign(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '_' | '.' | '-')
}

/// The assignments of one file, no two of them with the same name.
#[derive(Default)]
pub(super) struct Assignments {
    /// All of them, as they stand in the file.
    pub(super) in_order: Vec<Assignment>,
    names: HashSet<String>,
}

impl Assignments {
    /// Adds one; fails if its name is there already, or if there are too many.
    pub(super) fn add(&mut self, assignment: Assignment) -> Result<(), Mistake> {
        let line = assignment.line;
        if self.in_order.len() >= MOST_ASSIGNMENTS {
            return Err(Mistake { line, rule: "the file has more than 10,000 assignments" });
        }
        if !self.names.insert(assignment.name.clone()) {
            return Err(Mistake { line, rule: "the name stands further up already" });
        }
        self.in_order.push(assignment);
        Ok(())
    }
}

/// What is left of a file.
struct Reader<'a> {
    rest: &'a str,
    /// The line the rest begins on.
    line: usize,
}

impl<'a> Reader<'a> {
    fn next_assignment(&mut self) -> Result<Option<Assignment>, Mistake> {
        self.skip_empty_lines();
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        let name = self.name()?.to_owned();
        self.separator()?;
        let (value, has_reference) = self.value()?;
        Ok(Some(Assignment { name, value, line, has_reference }))
    }

    fn mistake(&self, rule: &'static str) -> Mistake {
        Mistake { line: self.line, rule }
    }

    /// Goes on by so many bytes and gives them.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.line += line_ends(taken);
        self.rest = rest;
        taken
    }

    /// Goes to the end of the line and gives what was before it.
    fn take_line(&mut self) -> &'a str {
        self.take(self.rest.find(LINE_ENDS).unwrap_or(self.rest.len()))
    }

    /// Whether there were any.
    fn skip_blanks(&mut self) -> bool {
        let blanks = self.rest.len() - self.rest.trim_start_matches(BLANKS).len();
        !self.take(blanks).is_empty()
    }

    /// Empty lines and lines with nothing but a comment.
    fn skip_empty_lines(&mut self) {
        loop {
            let body = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.take(self.rest.len() - body.len());
            if !self.rest.starts_with('#') {
                return;
            }
            self.take_line();
        }
    }

    fn at_line_end(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(LINE_ENDS)
    }

    /// The name, without an `export` before it.
    fn name(&mut self) -> Result<&'a str, Mistake> {
        if let Some(behind) = self.rest.strip_prefix("export")
            && behind.starts_with(BLANKS)
            && !behind.trim_start_matches(BLANKS).starts_with('=')
        {
            self.take("export".len());
            self.skip_blanks();
        }
        let length = self.rest.find(|sign| !is_name_sign(sign)).unwrap_or(self.rest.len());
        let name = self.take(length);
        if is_name(name) { Ok(name) } else { Err(self.mistake(NAME)) }
    }

    /// The `=`, or a `:` if what follows can only be a value.
    fn separator(&mut self) -> Result<(), Mistake> {
        let has_blank = self.skip_blanks();
        if self.rest.starts_with('=') {
            self.take(1);
            return Ok(());
        }
        if self.at_line_end() || (has_blank && self.rest.starts_with('#')) {
            return Err(self.mistake(NO_VALUE));
        }
        if has_blank {
            return Err(self.mistake(NO_EQUALS));
        }
        if !self.rest.starts_with(':') {
            return Err(self.mistake(NAME));
        }
        self.take(1);
        let value = self.rest.trim_start_matches(BLANKS);
        let is_clear = self.rest.starts_with(BLANKS)
            && !value.is_empty()
            && !value.starts_with(LINE_ENDS)
            && !value.starts_with('#')
            && !value.starts_with(YAML_SIGNS);
        if is_clear { Ok(()) } else { Err(self.mistake(UNCLEAR_COLON)) }
    }

    /// The value, and whether it has a reference.
    fn value(&mut self) -> Result<(Secret<String>, bool), Mistake> {
        let has_blank = self.skip_blanks();
        match self.rest.chars().next() {
            Some(quote @ ('\'' | '"' | '`')) => self.quoted(quote),
            _ => Ok(self.unquoted(has_blank)),
        }
    }

    fn unquoted(&mut self, has_blank: bool) -> (Secret<String>, bool) {
        let line = self.take_line();
        let mut behind_blank = has_blank;
        let comment = line.find(|sign| {
            let begins = sign == '#' && behind_blank;
            behind_blank = BLANKS.contains(&sign);
            begins
        });
        let value = comment.and_then(|at| line.get(..at)).unwrap_or(line);
        let value = value.trim_end_matches(BLANKS);
        (Secret::new(value.to_owned()), has_reference(value))
    }

    fn quoted(&mut self, quote: char) -> Result<(Secret<String>, bool), Mistake> {
        let has_escapes = quote == '"';
        let unterminated = self.mistake(UNTERMINATED);
        self.take(1);
        let Some(length) = closing(self.rest, quote, has_escapes) else {
            return Err(unterminated);
        };
        let inside = self.take(length);
        self.take(1);
        self.skip_blanks();
        if self.rest.starts_with('#') {
            self.take_line();
        }
        if !self.at_line_end() {
            return Err(self.mistake(BEHIND_QUOTE));
        }
        Ok((without_escapes(inside, has_escapes), has_escapes && has_reference(inside)))
    }
}

/// Where the closing quote is.
fn closing(text: &str, quote: char, has_escapes: bool) -> Option<usize> {
    let mut is_escaped = false;
    text.find(|sign| {
        let closes = sign == quote && !is_escaped;
        is_escaped = has_escapes && sign == '\\' && !is_escaped;
        closes
    })
}

/// What is meant by a text between quotes. The room for it is made once, so that no copy stays
/// behind where a text outgrew its place.
fn without_escapes(inside: &str, has_escapes: bool) -> Secret<String> {
    let mut value = Secret::new(String::with_capacity(inside.len()));
    // EXPOSE: filled.
    let text = value.expose_mut();
    let mut signs = inside.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' if has_escapes => match signs.peek().copied().and_then(escaped) {
                Some(meant) => {
                    signs.next();
                    text.push(meant);
                }
                // The dialects agree that a \ before any other sign is no escape.
                None => text.push('\\'),
            },
            '\r' => {
                signs.next_if_eq(&'\n');
                text.push('\n');
            }
            _ => text.push(sign),
        }
    }
    value
}

/// What is meant by this sign behind a `\`.
fn escaped(sign: char) -> Option<char> {
    match sign {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        '\\' | '"' | '$' => Some(sign),
        _ => None,
    }
}

/// Whether a text has something that begins with a `$` and could be replaced.
fn has_reference(text: &str) -> bool {
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => {
                signs.next();
            }
            '$' => {
                let begins =
                    |next: &char| matches!(next, '{' | '(' | '_') || next.is_ascii_alphabetic();
                if signs.peek().is_some_and(begins) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, value, line and flag of everything in a text.
    fn read(text: &str) -> Result<Vec<(String, String, usize, bool)>, Mistake> {
        let found = parse(text.as_bytes())?;
        let plain =
            |it: Assignment| (it.name, it.value.expose().clone(), it.line, it.has_reference);
        Ok(found.into_iter().map(plain).collect())
    }

    fn value(text: &str) -> (String, bool) {
        let [(_, value, _, flag)] = read(text).unwrap().try_into().unwrap();
        (value, flag)
    }

    /// The line and rule of the mistake, after a look at what it says of the content.
    fn mistake(bytes: &[u8]) -> (usize, &'static str) {
        let mistake = parse(bytes).unwrap_err();
        assert!(!format!("{mistake} {mistake:?}").contains("canary"), "{mistake}");
        assert_eq!(mistake.to_string(), format!("line {}: {}", mistake.line, mistake.rule));
        (mistake.line, mistake.rule)
    }

    #[test]
    fn values_of_all_dialects() {
        let table = [
            ("A=b", "b"),
            ("A=", ""),
            ("A= ", ""),
            ("A=#b", "#b"),
            ("A= #b", ""),
            ("A=b#c", "b#c"),
            ("A=b #c", "b"),
            ("A=b\t#c", "b"),
            ("A=b # c # d", "b"),
            ("A=b=c==", "b=c=="),
            ("  A  =  b c \t ", "b c"),
            ("export A=b", "b"),
            ("export \t A = b", "b"),
            ("export=b", "b"),
            ("export = b", "b"),
            ("A: b", "b"),
            ("A: b: c", "b: c"),
            ("A: \"b\" # c", "b"),
            ("A=b\\nc\\", "b\\nc\\"),
            ("A=b\"c\"", "b\"c\""),
            ("A=''", ""),
            ("A=' b # \\n $C \\'", " b # \\n $C \\"),
            ("A='b\"`c'", "b\"`c"),
            ("A=`b'\"\\nc`", "b'\"\\nc"),
            ("A=\" b # c \"", " b # c "),
            (r#"A="\n\r\t\\\"\$""#, "\n\r\t\\\"$"),
            (r#"A="\q\ü\'\\n""#, "\\q\\ü\\'\\n"),
            ("A=\"b\"#c", "b"),
            ("A='b' \t# c", "b"),
            ("A='b\nc\r\nd\re'", "b\nc\nd\ne"),
            ("A=\"b\\\r\nc\"", "b\\\nc"),
            ("A=ü€😀", "ü€😀"),
            ("A.b-C_1=d", "d"),
        ];
        for (text, expected) in table {
            assert_eq!(value(text).0, expected, "{text}");
            assert_eq!(value(&format!("\u{feff}{text}\n")).0, expected, "{text}");
        }
    }

    #[test]
    fn references_are_flagged_and_kept() {
        for text in ["A=$B", "A=${B}", "A=b$_C", "A=\"x ${B}\"", r#"A="\\$B""#, "A=$(b)", "A: $B"] {
            assert!(value(text).1, "{text}");
        }
        for text in ["A='$B'", "A=`${B}`", r#"A="\$B""#, r"A=\$B", "A=$", "A=$1", "A=b$ c", "A=€"]
        {
            assert!(!value(text).1, "{text}");
        }
        assert_eq!(value("A=\"${B} $C\"").0, "${B} $C");
        assert_eq!(value("A=${B:-c}").0, "${B:-c}");
    }

    #[test]
    fn lines_are_counted_whatever_ends_them() {
        for end in ["\n", "\r\n", "\r"] {
            let lines = ["# head", "", "A=1", "B='x", "y'", " \t", "  # c='", "export C=2", ""];
            let found = read(&lines.join(end)).unwrap();
            let lines: Vec<_> = found.iter().map(|it| (it.0.as_str(), it.2)).collect();
            assert_eq!(lines, [("A", 3), ("B", 4), ("C", 8)], "{end:?}");
            assert_eq!(found[1].1, "x\ny");
        }
        assert!(read("").unwrap().is_empty());
        assert!(read("\u{feff}# nothing").unwrap().is_empty());
    }

    #[test]
    fn mistakes_name_their_line_and_nothing_else() {
        let table: [(&[u8], usize, &str); 24] = [
            (b"A=1\ncanary", 2, NO_VALUE),
            (b"export canary\n", 1, NO_VALUE),
            (b"canary # c", 1, NO_VALUE),
            (b"canary canary=1", 1, NO_EQUALS),
            (b"canary : 1", 1, NO_EQUALS),
            (b"canary#=1", 1, NAME),
            (b"\n1canary=1", 2, NAME),
            (b"=canary", 1, NAME),
            (b"'canary'=1", 1, NAME),
            ("cänary=1".as_bytes(), 1, NAME),
            (b"canary[]=1", 1, NAME),
            (b"canary:", 1, UNCLEAR_COLON),
            (b"canary:\n  A: b", 1, UNCLEAR_COLON),
            (b"canary:b", 1, UNCLEAR_COLON),
            (b"canary: # b", 1, UNCLEAR_COLON),
            (b"canary: |", 1, UNCLEAR_COLON),
            (b"A=1\nB='canary\nC=2\n", 2, UNTERMINATED),
            (b"A=\"canary\\\"", 1, UNTERMINATED),
            (b"A=`canary", 1, UNTERMINATED),
            (b"A='can\n'ary", 2, BEHIND_QUOTE),
            (b"A=\"\"\"canary\"\"\"", 1, BEHIND_QUOTE),
            (b"A=1\r\nA=canary", 2, "the name stands further up already"),
            (b"A=1\rB=canary\0", 2, "it has a NUL byte"),
            (b"A=1\nB=canary\xff", 2, "it is not UTF-8 text"),
        ];
        for (text, line, rule) in table {
            assert_eq!(mistake(text), (line, rule), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn limits_are_kept() {
        let lines = |count| (0..count).map(|it| format!("A{it}=\n")).collect::<Vec<_>>().concat();
        assert_eq!(read(&lines(MOST_ASSIGNMENTS)).unwrap().len(), MOST_ASSIGNMENTS);
        assert_eq!(mistake(lines(MOST_ASSIGNMENTS + 1).as_bytes()).0, MOST_ASSIGNMENTS + 1);
        let large = |bytes: usize| format!("A={}", "x".repeat(bytes - 2));
        assert!(read(&large(MOST_BYTES)).is_ok());
        assert_eq!(mistake(large(MOST_BYTES + 1).as_bytes()).1, "the file is larger than 1 MiB");
    }

    #[test]
    fn values_are_built_in_their_first_place_and_not_shown() {
        let found = parse(b"A=\"canary\\n\"").unwrap();
        assert_eq!(found[0].value.expose().capacity(), "canary\\n".len());
        assert!(!format!("{found:?}").contains("canary"));
    }
}
