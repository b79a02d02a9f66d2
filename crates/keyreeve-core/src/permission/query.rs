//! Questions over permissions: `documents.read AND (documents.write OR admin)`.

use super::{PermissionSet, pattern};
use crate::Invalid;

const LONGEST: usize = 1000;
const MOST_TERMS: usize = 100;
const DEEPEST: usize = 16;

/// A parsed question. `AND` binds tighter than `OR`; both may be written in lower case.
///
/// At most 1000 characters, 100 permissions and 16 levels of parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a>(Expression<'a>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression<'a> {
    Has(&'a str),
    All(Vec<Expression<'a>>),
    Any(Vec<Expression<'a>>),
}

impl<'a> Query<'a> {
    /// Parses a question.
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        if text.len() > LONGEST {
            return Err(Invalid::new("must be at most 1000 characters"));
        }
        // The usual question is one permission: no parser, no allocation.
        if pattern::check(text).is_ok() && !is_operator(text) {
            return Ok(Self(Expression::Has(text)));
        }
        let mut parser = Parser { rest: text, terms: 0 };
        let expression = parser.any(0)?;
        match parser.next_token()? {
            None => Ok(Self(expression)),
            Some(_) => Err(Invalid::new("has something after the end of the expression")),
        }
    }

    /// Answers the question. `Err` holds the fewest permissions whose grant would turn the
    /// answer, in the order they were asked.
    pub fn check(&self, granted: &PermissionSet) -> Result<(), Vec<String>> {
        self.check_with(&|wanted| granted.covers(wanted))
    }

    /// As [`Query::check`], over any notion of what is granted.
    pub fn check_with(&self, covers: &dyn Fn(&str) -> bool) -> Result<(), Vec<String>> {
        if self.0.holds(covers) {
            return Ok(());
        }
        let mut missing = Vec::new();
        self.0.collect_missing(covers, &mut missing);
        Err(missing.into_iter().map(str::to_owned).collect())
    }
}

impl<'a> Expression<'a> {
    fn holds(&self, covers: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Has(permission) => covers(permission),
            Self::All(parts) => parts.iter().all(|part| part.holds(covers)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(covers)),
        }
    }

    /// Adds what is missing, each permission once.
    fn collect_missing(&self, covers: &dyn Fn(&str) -> bool, missing: &mut Vec<&'a str>) {
        match self {
            Self::Has(permission) if covers(permission) => {}
            Self::Has(permission) if missing.contains(permission) => {}
            Self::Has(permission) => missing.push(permission),
            Self::All(parts) => {
                for part in parts {
                    part.collect_missing(covers, missing);
                }
            }
            Self::Any(parts) if parts.iter().any(|part| part.holds(covers)) => {}
            Self::Any(parts) => {
                let cheapest = parts
                    .iter()
                    .map(|part| {
                        let mut missing = Vec::new();
                        part.collect_missing(covers, &mut missing);
                        missing
                    })
                    .min_by_key(Vec::len);
                for permission in cheapest.unwrap_or_default() {
                    if !missing.contains(&permission) {
                        missing.push(permission);
                    }
                }
            }
        }
    }
}

fn is_operator(word: &str) -> bool {
    word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or")
}

#[derive(Clone, Copy, PartialEq)]
enum Token<'a> {
    And,
    Or,
    Open,
    Close,
    Permission(&'a str),
}

struct Parser<'a> {
    rest: &'a str,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self, depth: usize) -> Result<Expression<'a>, Invalid> {
        let mut parts = vec![self.all(depth)?];
        while self.take(Token::Or)? {
            parts.push(self.all(depth)?);
        }
        Ok(single_or(parts, Expression::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expression<'a>, Invalid> {
        let mut parts = vec![self.part(depth)?];
        while self.take(Token::And)? {
            parts.push(self.part(depth)?);
        }
        Ok(single_or(parts, Expression::All))
    }

    fn part(&mut self, depth: usize) -> Result<Expression<'a>, Invalid> {
        match self.next_token()? {
            Some(Token::Permission(permission)) => {
                self.terms += 1;
                if self.terms > MOST_TERMS {
                    return Err(Invalid::new("must name at most 100 permissions"));
                }
                Ok(Expression::Has(permission))
            }
            Some(Token::Open) if depth >= DEEPEST => {
                Err(Invalid::new("must not nest parentheses deeper than 16"))
            }
            Some(Token::Open) => {
                let inner = self.any(depth + 1)?;
                if self.take(Token::Close)? {
                    Ok(inner)
                } else {
                    Err(Invalid::new("has a '(' without its ')'"))
                }
            }
            Some(Token::Close) => Err(Invalid::new("has a ')' where a permission must stand")),
            Some(Token::And | Token::Or) => {
                Err(Invalid::new("has AND or OR where a permission must stand"))
            }
            None => Err(Invalid::new("ends where a permission must stand")),
        }
    }

    /// Takes the next token if it is `wanted`.
    fn take(&mut self, wanted: Token<'a>) -> Result<bool, Invalid> {
        let before = self.rest;
        if self.next_token()? == Some(wanted) {
            return Ok(true);
        }
        self.rest = before;
        Ok(false)
    }

    fn next_token(&mut self) -> Result<Option<Token<'a>>, Invalid> {
        self.rest = self.rest.trim_start();
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        if matches!(first, '(' | ')') {
            self.rest = &self.rest[1..];
            return Ok(Some(if first == '(' { Token::Open } else { Token::Close }));
        }
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if word.eq_ignore_ascii_case("and") {
            return Ok(Some(Token::And));
        }
        if word.eq_ignore_ascii_case("or") {
            return Ok(Some(Token::Or));
        }
        pattern::check(word)?;
        Ok(Some(Token::Permission(word)))
    }
}

fn single_or<'a>(
    mut parts: Vec<Expression<'a>>,
    join: fn(Vec<Expression<'a>>) -> Expression<'a>,
) -> Expression<'a> {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(query: &str, granted: &[&str]) -> Result<(), Vec<String>> {
        let granted = granted.iter().map(|p| p.parse().unwrap()).collect();
        Query::parse(query).unwrap().check(&granted)
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(ask("a OR b AND c", &["a"]).is_ok());
        assert!(ask("(a OR b) AND c", &["a"]).is_err());
        assert!(ask("a and (b or c)", &["a", "c"]).is_ok());
    }

    #[test]
    fn names_the_fewest_missing() {
        assert_eq!(
            ask("documents.write", &["documents.read"]),
            Err(vec!["documents.write".into()])
        );
        assert_eq!(ask("a AND b AND c", &["b"]), Err(vec!["a".into(), "c".into()]));
        assert_eq!(ask("(a AND b) OR c", &[]), Err(vec!["c".into()]));
        assert_eq!(ask("a AND a", &[]), Err(vec!["a".into()]));
        assert_eq!(ask("(a AND a AND a) OR (b AND c)", &[]), Err(vec!["a".into()]));
    }

    #[test]
    fn wildcard_questions_need_all_they_stand_for() {
        assert!(ask("documents.*", &["documents.*"]).is_ok());
        assert!(ask("documents.*", &["documents.read"]).is_err());
    }

    #[test]
    fn bounds_and_syntax() {
        for bad in ["", "AND", "a AND", "OR a", "(a", "a)", "a b", "()", "a && b", "a..b"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        let deep = format!("{}a{}", "(".repeat(17), ")".repeat(17));
        assert!(Query::parse(&deep).is_err());
        let many = vec!["a"; 101].join(" OR ");
        assert!(Query::parse(&many).is_err());
        assert!(Query::parse(&"x".repeat(1001)).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ab.* ()ANDORandor]{0,60}") {
            let _ = Query::parse(&text);
        }

        #[test]
        fn granting_what_was_missing_turns_the_answer(
            parts in prop::collection::vec("(a|b|c|d)", 1..6),
            operators in prop::collection::vec(prop::bool::ANY, 6),
        ) {
            let mut text = parts[0].clone();
            for (part, and) in parts[1..].iter().zip(operators) {
                text = format!("({text}) {} {part}", if and { "AND" } else { "OR" });
            }
            let query = Query::parse(&text).unwrap();
            let missing = query.check(&PermissionSet::default()).unwrap_err();
            let granted = missing.iter().map(|p| p.parse().unwrap()).collect();
            prop_assert!(query.check(&granted).is_ok());
        }
    }
}
