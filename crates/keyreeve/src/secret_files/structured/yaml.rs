//! Reading YAML files of secrets.
//!
//! YAML (<https://yaml.org/spec/1.2.2/>) is read in the part that files of secrets have:
//! `name: value` on lines of their own, values plain, in quotes, or as blocks behind `|` and `>`.
//! Everything else of YAML is refused by its name, and so is what its versions read differently:
//! half of YAML would take over half of the secrets.

use std::str::Chars;

use keyreeve_core::Secret;

use super::{BAD_ESCAPE, NESTED, NULL, check_name, hex};
use crate::secret_files::dotenv::{
    Assignment, Assignments, BLANKS, LINE_ENDS, Mistake, line_ends, text_of,
};

const NO_COLON: &str = "there must be a name, a : and a blank before the value";
const NO_VALUE: &str = "the name has no value on its line: maps in a map, lists and null are not \
                        read; write \"\" for an empty text";
const INDENTED: &str = "the line is indented: maps in a map, and values that go on in the next \
                        line without | or >, are not read";
const SEVERAL: &str = "the file must have one document, and a --- on a line of its own before it";
const UNTERMINATED: &str = "the quote is not closed on its line: several lines need | or >";
const BEHIND_QUOTE: &str = "there is text behind the closing quote";
const UNSAFE: &str = "there is a sign that YAML does not allow, or that its versions read \
                      differently: it must be escaped in double quotes";
const BAD_BLOCK: &str = "behind | or > there can be one digit from 1 to 9, one of + and -, and a \
                         comment";
const BAD_INDENT: &str = "a block must not begin with an empty line that is indented deeper";

/// Reads one flat YAML map, in its order.
///
/// # Errors
///
/// The first line that breaks a rule: null, lists, maps in the map, anchors, tags, flow style,
/// several documents, values in quotes of more than one line, a name that stands there twice, more
/// than 1 MiB or 10,000 names.
pub(crate) fn from_yaml(bytes: &[u8]) -> Result<Vec<Assignment>, Mistake> {
    let text = text_of(bytes)?;
    let is_unsafe = |sign| !is_safe_in_yaml(sign) && !matches!(sign, '\t' | '\n' | '\r');
    if let Some((before, _)) = text.split_once(is_unsafe) {
        return Err(Mistake { line: 1 + line_ends(before), rule: UNSAFE });
    }
    let mut assignments = Assignments::default();
    let mut lines = Lines { rest: text, number: 0 };
    let mut has_begun = false;
    while let Some(Line { text, .. }) = lines.next() {
        let line = lines.number;
        if is_nothing(text)
            || (!has_begun && text.strip_prefix("---").is_some_and(is_nothing_behind))
        {
            has_begun |= text.starts_with('-');
            continue;
        }
        has_begun = true;
        let entry = yaml_entry(text, &mut lines);
        let (name, value) = entry.map_err(|rule| Mistake { line, rule })?;
        assignments.add(Assignment { name, value, line, has_reference: false })?;
    }
    Ok(assignments.in_order)
}

/// Whether all versions of YAML allow a sign and take it for itself inside a line.
pub(in crate::secret_files) fn is_safe_in_yaml(sign: char) -> bool {
    !matches!(
        sign,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}'
    )
}

/// Lines, however they end.
#[derive(Clone)]
struct Lines<'a> {
    rest: &'a str,
    /// The number of the last line.
    number: usize,
}

/// One line.
struct Line<'a> {
    text: &'a str,
    /// Only the last line of a file may have no end.
    has_end: bool,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find(LINE_ENDS).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(end)?;
        let behind = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(LINE_ENDS));
        self.rest = behind.unwrap_or_default();
        self.number += 1;
        Some(Line { text, has_end: behind.is_some() })
    }
}

/// Whether there are only blanks, or a comment behind blanks or the beginning of a line.
fn is_nothing(text: &str) -> bool {
    let body = text.trim_start_matches(BLANKS);
    body.is_empty() || body.starts_with('#')
}

/// The same behind something, where a comment needs a blank before it.
fn is_nothing_behind(text: &str) -> bool {
    is_nothing(text) && !text.starts_with('#')
}

/// The name and the value that begin on this line.
fn yaml_entry(line: &str, lines: &mut Lines<'_>) -> Result<(String, Secret<String>), &'static str> {
    if line.starts_with("---") || line.starts_with("...") {
        return Err(SEVERAL);
    }
    if line.starts_with(BLANKS) {
        return Err(INDENTED);
    }
    let (name, behind) = yaml_name(line)?;
    check_name(&name)?;
    let value = behind.trim_start_matches(BLANKS);
    let value = match value.chars().next() {
        None | Some('#') => Err(NO_VALUE),
        Some('"' | '\'') => match yaml_quoted(value)? {
            (value, behind) if is_nothing_behind(behind) => Ok(value),
            _ => Err(BEHIND_QUOTE),
        },
        Some('|' | '>') => yaml_block(value, lines),
        Some(_) => yaml_plain(value),
    };
    Ok((name, value?))
}

/// The name, and what is behind its `:`.
fn yaml_name(line: &str) -> Result<(String, &str), &'static str> {
    let is_end = |text: &str| text.is_empty() || text.starts_with(BLANKS);
    if line.starts_with(['"', '\'']) {
        let (name, behind) = yaml_quoted(line)?;
        let value = behind.trim_start_matches(BLANKS).strip_prefix(':');
        let value = value.filter(|value| is_end(value)).ok_or(NO_COLON)?;
        // EXPOSE: a name is no secret.
        return Ok((name.expose().clone(), value));
    }
    refuse_signs(line)?;
    let mut colons = line.match_indices(':').filter_map(|(at, _)| line.split_at_checked(at));
    let (name, value) = colons
        .find_map(|(name, colon)| Some((name, colon.strip_prefix(':').filter(|it| is_end(it))?)))
        .ok_or(NO_COLON)?;
    if name.contains(" #") || name.contains("\t#") {
        return Err(NO_COLON);
    }
    Ok((name.trim_end_matches(BLANKS).to_owned(), value))
}

/// Fails if a plain text begins with a sign that makes it something else.
fn refuse_signs(text: &str) -> Result<(), &'static str> {
    let mut signs = text.chars();
    let first = signs.next();
    let is_alone = signs.next().is_none_or(|sign| BLANKS.contains(&sign));
    match first {
        Some('[' | ']' | '{' | '}' | ',') => Err("lists and maps in flow style are not read"),
        Some('&' | '*') => Err("anchors and aliases are not read"),
        Some('!') => Err("tags are not read"),
        Some('-') if is_alone => Err("lists are not read"),
        Some('?' | ':') if is_alone => Err("a ? or : alone is not read"),
        Some('|' | '>') => Err("names in blocks are not read"),
        Some('%' | '@' | '`') => Err("a plain text must not begin with %, @ or `"),
        _ => Ok(()),
    }
}

fn yaml_plain(text: &str) -> Result<Secret<String>, &'static str> {
    refuse_signs(text)?;
    let mut behind_blank = false;
    let comment = text.find(|sign| {
        let begins = sign == '#' && behind_blank;
        behind_blank = BLANKS.contains(&sign);
        begins
    });
    let text = comment.and_then(|at| text.get(..at)).unwrap_or(text).trim_end_matches(BLANKS);
    if text.ends_with(':') || text.contains(": ") || text.contains(":\t") {
        return Err(NESTED);
    }
    if matches!(text, "~" | "null" | "Null" | "NULL") {
        return Err(NULL);
    }
    Ok(Secret::new(text.to_owned()))
}

/// What a text in quotes means, and what is behind it.
fn yaml_quoted(text: &str) -> Result<(Secret<String>, &str), &'static str> {
    // The escape that grows most makes three bytes of two.
    let mut meant = Secret::new(String::with_capacity(text.len() + text.len() / 2));
    // EXPOSE: filled.
    let plain = meant.expose_mut();
    let mut signs = text.chars();
    let quote = signs.next();
    loop {
        match signs.next() {
            None => return Err(UNTERMINATED),
            Some('\\') if quote == Some('"') => plain.push(yaml_escape(&mut signs)?),
            Some('\'') if quote == Some('\'') && signs.as_str().starts_with('\'') => {
                signs.next();
                plain.push('\'');
            }
            sign if sign == quote => return Ok((meant, signs.as_str())),
            Some(sign) => plain.push(sign),
        }
    }
}

/// The sign that a YAML escape means, from behind its `\`.
fn yaml_escape(signs: &mut Chars<'_>) -> Result<char, &'static str> {
    let coded = |signs: &mut Chars<'_>, digits| {
        hex(signs, digits).and_then(char::from_u32).ok_or(BAD_ESCAPE)
    };
    Ok(match signs.next().ok_or(UNTERMINATED)? {
        sign @ (' ' | '"' | '/' | '\\' | '\t') => sign,
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        'x' => coded(signs, 2)?,
        'u' => coded(signs, 4)?,
        'U' => coded(signs, 8)?,
        _ => return Err(BAD_ESCAPE),
    })
}

/// The text of the block that begins with this header.
fn yaml_block(header: &str, lines: &mut Lines<'_>) -> Result<Secret<String>, &'static str> {
    let is_folded = header.starts_with('>');
    let length = header.find(BLANKS).unwrap_or(header.len());
    let (marks, behind) = header.split_at_checked(length).ok_or(BAD_BLOCK)?;
    let mut marks: Vec<char> = marks.chars().skip(1).collect();
    marks.sort_unstable();
    let (chomping, indent) = match marks.as_slice() {
        [] => (None, None),
        [sign @ ('+' | '-')] => (Some(*sign), None),
        [digit @ '1'..='9'] => (None, digit.to_digit(10)),
        [sign @ ('+' | '-'), digit @ '1'..='9'] => (Some(*sign), digit.to_digit(10)),
        _ => return Err(BAD_BLOCK),
    };
    if !is_nothing(behind) {
        return Err(BAD_BLOCK);
    }
    let indent = match indent.and_then(|digit| usize::try_from(digit).ok()) {
        Some(indent) => indent,
        None => indent_of_block(lines.clone())?,
    };
    Ok(joined(&lines_of_block(lines, indent), is_folded, chomping))
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// How deep the first line of a block that is not empty is indented. A block of empty lines is as
/// deep as the deepest of them.
fn indent_of_block(lines: Lines<'_>) -> Result<usize, &'static str> {
    let mut deepest_empty = 0;
    for Line { text, .. } in lines {
        let depth = spaces(text);
        if depth < text.len() {
            match depth {
                // It is behind the block.
                0 => break,
                _ if depth < deepest_empty => return Err(BAD_INDENT),
                _ => return Ok(depth),
            }
        }
        deepest_empty = deepest_empty.max(depth);
    }
    Ok(deepest_empty.max(1))
}

/// Takes the lines of a block and gives them without what they are indented by.
fn lines_of_block<'a>(lines: &mut Lines<'a>, indent: usize) -> Vec<Line<'a>> {
    let mut block = Vec::new();
    let mut ahead = lines.clone();
    while let Some(Line { text, has_end }) = ahead.next() {
        let depth = spaces(text);
        if depth < indent && depth < text.len() {
            break;
        }
        block.push(Line { text: text.get(indent..).unwrap_or_default(), has_end });
        *lines = ahead.clone();
    }
    block
}

/// The text of a block: folding makes a blank of a single line end between lines that are not
/// indented deeper, chomping is about the line ends behind the last line that is not empty.
fn joined(block: &[Line<'_>], is_folded: bool, chomping: Option<char>) -> Secret<String> {
    let room = block.iter().map(|line| line.text.len() + 1).sum();
    let mut meant = Secret::new(String::with_capacity(room));
    // EXPOSE: filled.
    let plain = meant.expose_mut();
    let mut last: Option<&Line<'_>> = None;
    let mut empty = 0;
    for line in block {
        if line.text.is_empty() {
            empty += usize::from(line.has_end);
            continue;
        }
        let is_flush = |line: &Line<'_>| is_folded && !line.text.starts_with(BLANKS);
        match last {
            Some(last) if is_flush(last) && is_flush(line) && empty == 0 => plain.push(' '),
            Some(last) if is_flush(last) && is_flush(line) => {}
            Some(_) => plain.push('\n'),
            None => {}
        }
        plain.extend(std::iter::repeat_n('\n', empty));
        plain.push_str(line.text);
        (last, empty) = (Some(line), 0);
    }
    if chomping != Some('-') && last.is_some_and(|line| line.has_end) {
        plain.push('\n');
    }
    if chomping == Some('+') {
        plain.extend(std::iter::repeat_n('\n', empty));
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            BAD_NAME,
            tests::{check, read},
        },
        *,
    };

    #[test]
    fn yaml_values_are_what_they_say() {
        let good = [
            ("A: b", "b"),
            ("--- # c\n# c\n\nA:   b c \t# d\n  # e\n", "b c"),
            ("A : b#c:d$E\\n\r\n", "b#c:d$E\\n"),
            ("'A': -1.50\r", "-1.50"),
            ("\"\\x41\" : yes", "yes"),
            ("A: -b", "-b"),
            ("A: b 'c' \"d\"", "b 'c' \"d\""),
            ("A: ''", ""),
            ("A: 'it''s # \\n'''  # c", "it's # \\n'"),
            (r#"A: "\"\\\/\n\t\x7f\u20ac\U0001f600\e\0""#, "\"\\/\n\t\u{7f}€😀\u{1b}\0"),
            (r#"A: "\L\L\L\L""#, "\u{2028}\u{2028}\u{2028}\u{2028}"),
            ("A: |\n  b\n   c\n\n  # d\n", "b\n c\n\n# d\n"),
            ("A: |- # c\n\n  b\n  \n\n", "\nb"),
            ("A: |+\r\n b\r\n\r\n   \r\n", "b\n\n  \n"),
            ("A: |\n b", "b"),
            ("A: |2-\n   b\n  c", " b\nc"),
            ("A: |-2\n   b\n", " b"),
            ("A: |\n", ""),
            ("A: |+\n\n  \n \n# c", "\n\n\n"),
            ("A: >\n b\n c\n\n d\n\n\n  e\n f\n", "b c\nd\n\n\n e\nf\n"),
            ("A: >-\n b\n \tc\n d\n\n", "b\n\tc\nd"),
        ];
        check(from_yaml, &good, &[]);
        let found = read(from_yaml, "---\nB: |\n  x\n  y\n\n'a b': z\n");
        assert_eq!(found, [("B".into(), "x\ny\n".into(), 2), ("a b".into(), "z".into(), 6)]);
        assert!(read(from_yaml, "# nothing\n---\n").is_empty());
    }

    #[test]
    fn the_rest_of_yaml_is_refused() {
        let flow = "lists and maps in flow style are not read";
        let anchor = "anchors and aliases are not read";
        let sign = "a plain text must not begin with %, @ or `";
        let bad = [
            ("A: b\n c: canary", 2, INDENTED),
            ("A:\n  canary: d", 1, NO_VALUE),
            ("A: # canary", 1, NO_VALUE),
            ("A: ~", 1, NULL),
            ("A: null # c", 1, NULL),
            ("- canary", 1, "lists are not read"),
            ("A: - canary", 1, "lists are not read"),
            ("{canary: b}", 1, flow),
            ("A: [canary]", 1, flow),
            ("A: &canary b", 1, anchor),
            ("A: b\nB: *canary", 2, anchor),
            ("A: !!str canary", 1, "tags are not read"),
            ("? canary", 1, "a ? or : alone is not read"),
            ("A: @canary", 1, sign),
            ("%YAML 1.2\n---\n", 1, sign),
            ("A: canary: b", 1, NESTED),
            ("A: canary:", 1, NESTED),
            ("canary", 1, NO_COLON),
            ("canary:b", 1, NO_COLON),
            ("A #canary: b", 1, NO_COLON),
            ("'canary' b: c", 1, NO_COLON),
            ("'': canary", 1, BAD_NAME),
            ("A: 'canary", 1, UNTERMINATED),
            ("A: \"canary\n  b\"", 1, UNTERMINATED),
            ("A: \"canary\\", 1, UNTERMINATED),
            ("A: \"canary\\q\"", 1, BAD_ESCAPE),
            ("A: \"\\ud83d\\ude00\"", 1, BAD_ESCAPE),
            ("A: 'b'canary", 1, BEHIND_QUOTE),
            ("A: 'b'#canary", 1, BEHIND_QUOTE),
            ("A: b\n---\nB: canary", 2, SEVERAL),
            ("--- canary", 1, SEVERAL),
            ("A: b\n...", 2, SEVERAL),
            ("A: |x\n  canary", 1, BAD_BLOCK),
            ("A: |0\n  canary", 1, BAD_BLOCK),
            ("A: |+-\n  canary", 1, BAD_BLOCK),
            ("A: | canary", 1, BAD_BLOCK),
            ("A: |\n   \n  canary", 1, BAD_INDENT),
            ("A: |\n  canary\n b", 3, INDENTED),
            ("A: |\n\tcanary", 2, INDENTED),
            ("A: b\nB: canary\u{2028}", 2, UNSAFE),
            ("A: b\r\nA: canary", 2, "the name stands further up already"),
        ];
        check(from_yaml, &[], &bad);
    }
}
