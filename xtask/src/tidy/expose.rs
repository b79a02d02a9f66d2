//! Every place where a secret is laid bare says why.

use super::source::Source;

/// How a secret is laid bare: called as a method, or handed on as a function.
const LAID_BARE: [&str; 2] = [".expose()", "::expose)"];
/// What a comment that says why begins with.
const REASON: &str = "// EXPOSE:";
/// How many lines above the call the comment may stand.
const REACH: usize = 2;

/// The calls of one source that do not say why; tests are exempt.
pub(super) fn complaints(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let tests = source.test_lines();
    let mut complaints = Vec::new();
    for (index, (code, is_test)) in source.code.lines().zip(tests).enumerate() {
        if is_test || !LAID_BARE.iter().any(|call| code.contains(call)) {
            continue;
        }
        let near = &lines[index.saturating_sub(REACH)..=index];
        if !near.iter().any(|line| line.contains(REASON)) {
            complaints.push(format!(
                "{}:{}: a secret is exposed without a `{REASON} why` comment on the line or within \
                 the {REACH} lines above it",
                source.path,
                index + 1
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many complaints there are about this text.
    fn count(text: &str) -> usize {
        complaints(&Source::new("crates/a/src/lib.rs", text)).len()
    }

    #[test]
    fn a_reason_on_the_line_or_just_above_passes() {
        assert_eq!(count("let a = b.expose(); // EXPOSE: it is sent to the provider\n"), 0);
        assert_eq!(count("// EXPOSE: it is hashed\nlet a = b.expose();\n"), 0);
        assert_eq!(count("// EXPOSE: it is hashed\nlet a = b\n    .expose();\n"), 0);
    }

    #[test]
    fn no_reason_or_one_too_far_away_fails() {
        assert_eq!(count("let a = b.expose();\n"), 1);
        assert_eq!(count("// EXPOSE: too far\n\n\nlet a = b.expose();\n"), 1);
        assert_eq!(count("let a = b.expose();\n// EXPOSE: too late\n"), 1);
        assert_eq!(count("let a = b.map(Secret::expose);\n"), 1);
    }

    #[test]
    fn tests_comments_and_strings_are_exempt() {
        assert_eq!(count("#[cfg(test)]\nmod tests {\n    fn a() { b.expose(); }\n}\n"), 0);
        assert_eq!(count("// call .expose() with care\nlet a = \".expose()\";\n"), 0);
        let source = Source::new("crates/a/tests/b.rs", "let a = b.expose();\n");
        assert!(complaints(&source).is_empty());
    }

    #[test]
    fn the_definition_needs_no_reason() {
        assert_eq!(count("pub fn expose(&self) -> &str { &self.0 }\n"), 0);
    }
}
