//! A Rust source as the checks see it: its text, its code, and which lines are tests.

/// Folders whose files are tests and nothing else.
const TEST_FOLDERS: [&str; 3] = ["tests", "benches", "fuzz"];

/// One Rust source.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path from the root of the repository.
    pub(super) path: String,
    /// Its text as it is.
    pub(super) text: String,
    /// Its text with comments, strings and characters blanked; lines stay where they are.
    pub(super) code: String,
}

impl Source {
    /// A source of this path and text.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = Blanker::new(text).run();
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// For every line of the file, whether it is test code.
    pub(super) fn test_lines(&self) -> Vec<bool> {
        let mut tests = vec![is_test_path(&self.path); self.code.lines().count()];
        for (at, _) in self.code.match_indices("#[cfg(test)]") {
            let first = line_of(&self.code, at);
            let last = line_of(&self.code, end_of_item(&self.code, at));
            for line in tests.iter_mut().take(last + 1).skip(first) {
                *line = true;
            }
        }
        tests
    }
}

/// Whether everything in the file of this path is test code.
fn is_test_path(path: &str) -> bool {
    let stem = path.rsplit('/').next().unwrap_or_default();
    stem == "tests.rs" || path.split('/').any(|part| TEST_FOLDERS.contains(&part))
}

/// The line (from 0) of a position.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count()
}

/// Where the item that begins at `from` ends: at its closing brace, or at its semicolon.
fn end_of_item(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, sign) in code.char_indices().skip_while(|(at, _)| *at < from) {
        match sign {
            '{' => depth += 1,
            '}' if depth <= 1 => return at,
            '}' => depth -= 1,
            ';' if depth == 0 => return at,
            _ => {}
        }
    }
    code.len()
}

/// Whether a sign can be part of a name.
pub(super) fn is_name_sign(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// Walks over a source and blanks what is not code.
struct Blanker<'a> {
    bytes: &'a [u8],
    at: usize,
    code: Vec<u8>,
}

impl<'a> Blanker<'a> {
    fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, code: Vec::with_capacity(text.len()) }
    }

    fn run(mut self) -> String {
        while let Some(&byte) = self.bytes.get(self.at) {
            if self.starts_with(b"//") {
                let end = self.find_from(self.at, b"\n").unwrap_or(self.bytes.len());
                self.blank_to(end);
            } else if self.starts_with(b"/*") {
                self.blank_to(self.end_of_block_comment());
            } else if let Some(end) = self.end_of_raw_string() {
                self.blank_to(end);
            } else if byte == b'"' {
                self.blank_to(self.end_of_string());
            } else if let Some(end) = self.end_of_character() {
                self.blank_to(end);
            } else {
                self.code.push(byte);
                self.at += 1;
            }
        }
        String::from_utf8_lossy(&self.code).into_owned()
    }

    /// Blanks up to `end`, and keeps line breaks.
    fn blank_to(&mut self, end: usize) {
        let end = end.min(self.bytes.len());
        for &byte in &self.bytes[self.at..end] {
            self.code.push(if byte == b'\n' { b'\n' } else { b' ' });
        }
        self.at = end;
    }

    fn starts_with(&self, sign: &[u8]) -> bool {
        self.bytes[self.at..].starts_with(sign)
    }

    /// Where the sign next occurs.
    fn find_from(&self, from: usize, sign: &[u8]) -> Option<usize> {
        let rest = self.bytes.get(from..)?;
        rest.windows(sign.len()).position(|window| window == sign).map(|offset| from + offset)
    }

    /// The end of a block comment, and of those inside it.
    fn end_of_block_comment(&self) -> usize {
        let mut depth = 0_usize;
        let mut at = self.at;
        while at < self.bytes.len() {
            if self.bytes[at..].starts_with(b"/*") {
                depth += 1;
                at += 2;
            } else if self.bytes[at..].starts_with(b"*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            } else {
                at += 1;
            }
        }
        at
    }

    /// The end of a raw string, if one begins here.
    fn end_of_raw_string(&self) -> Option<usize> {
        let before = self.at.checked_sub(1).and_then(|at| self.bytes.get(at));
        // `br` and `cr` begin one byte later: the prefix letter alone does no harm.
        let in_a_name = before.is_some_and(|byte| {
            (byte.is_ascii_alphanumeric() || *byte == b'_') && !matches!(*byte, b'b' | b'c')
        });
        if in_a_name || !self.starts_with(b"r") {
            return None;
        }
        let hashes = self.bytes[self.at + 1..].iter().take_while(|byte| **byte == b'#').count();
        let opening = self.at + 1 + hashes;
        if self.bytes.get(opening) != Some(&b'"') {
            return None;
        }
        let mut closing = vec![b'"'];
        closing.resize(1 + hashes, b'#');
        let end = self.find_from(opening + 1, &closing).map(|at| at + closing.len());
        Some(end.unwrap_or(self.bytes.len()))
    }

    /// The end of the string that begins here.
    fn end_of_string(&self) -> usize {
        let mut at = self.at + 1;
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'"' => return at + 1,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        at
    }

    /// The end of a character, if one begins here and not a lifetime.
    fn end_of_character(&self) -> Option<usize> {
        if !self.starts_with(b"'") {
            return None;
        }
        if self.bytes.get(self.at + 1) == Some(&b'\\') {
            return self.find_from(self.at + 3, b"'").map(|at| at + 1);
        }
        let rest = self.bytes.get(self.at + 1..)?;
        // The bytes of one character: those after the first all begin with the bits 10.
        let more =
            rest.iter().skip(1).take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
        (rest.get(1 + more) == Some(&b'\'')).then_some(self.at + 3 + more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of a source without the blanks.
    fn code(text: &str) -> String {
        let source = Source::new("src/lib.rs", text);
        assert_eq!(source.code.lines().count(), text.lines().count());
        source.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_not_code() {
        assert_eq!(code("a // b\nc /* d /* e */ f\n */ g"), "a c g");
    }

    #[test]
    fn strings_are_not_code() {
        assert_eq!(code(r#"a("b \" // c", d)"#), "a( , d)");
        assert_eq!(code("a(r##\"b \"# c\"##, d, br\"e\\\", f)"), "a( , d, b , f)");
        assert_eq!(code("let for_r = r#type;"), "let for_r = r#type;");
    }

    #[test]
    fn characters_are_not_code_and_lifetimes_are() {
        assert_eq!(code(r"a('x', '\'', '\u{1F600}', 'é', '/')"), "a( , , , , )");
        assert_eq!(code("fn a<'b>(c: &'b str) {}"), "fn a<'b>(c: &'b str) {}");
        assert_eq!(code(r#"a('"', b)"#), "a( , b)");
    }

    #[test]
    fn test_modules_are_test_lines() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let lines = Source::new("src/lib.rs", text).test_lines();
        assert_eq!(lines, [false, true, true, true, true, false]);
    }

    #[test]
    fn a_declared_test_module_ends_at_its_semicolon() {
        let lines = Source::new("src/lib.rs", "#[cfg(test)]\nmod tests;\nfn a() {}\n").test_lines();
        assert_eq!(lines, [true, true, false]);
    }

    #[test]
    fn files_of_test_folders_are_tests() {
        for path in ["crates/a/tests/b.rs", "crates/a/src/b/tests.rs", "fuzz/fuzz_targets/a.rs"] {
            assert_eq!(Source::new(path, "fn a() {}\n").test_lines(), [true], "{path}");
        }
        assert_eq!(Source::new("crates/a/src/contests.rs", "fn a() {}\n").test_lines(), [false]);
    }
}
