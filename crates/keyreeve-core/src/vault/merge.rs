//! JSON Merge Patch (RFC 7396), on texts: what the patch does not name stays as it was written, down to
//! the last digit of a number.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{Invalid, Secret};

/// How deep a patch may be nested.
const DEEPEST: u32 = 128;

/// The value of a member before, and what the patch says of it.
#[derive(Default)]
struct Member<'t> {
    before: Option<&'t RawValue>,
    patch: Option<&'t RawValue>,
}

type Members<'t> = BTreeMap<String, Member<'t>>;

/// A JSON text with a merge patch: members that are `null` go, objects are merged, everything else is
/// put in the place of what was there.
pub fn merge_patch(
    target: &Secret<String>,
    patch: &Secret<String>,
) -> Result<Secret<String>, Invalid> {
    // EXPOSE: read as JSON; what comes of it is a secret again.
    let (target, patch) = (target.expose(), patch.expose());
    // Names may be written longer than they were: a control character as six bytes. Growing would leave
    // copies behind.
    let mut merged = Secret::new(String::with_capacity((target.len() + patch.len()) * 6));
    let target: &RawValue = serde_json::from_str(target).map_err(|_| not_json())?;
    let patch: &RawValue = serde_json::from_str(patch).map_err(|_| not_json())?;
    // EXPOSE: written into.
    write(merged.expose_mut(), Some(target), patch, DEEPEST)?;
    Ok(merged)
}

fn not_json() -> Invalid {
    Invalid::new("must be JSON")
}

fn write(
    out: &mut String,
    before: Option<&RawValue>,
    patch: &RawValue,
    depth: u32,
) -> Result<(), Invalid> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Invalid::new("must be nested at most 128 deep"));
    };
    if !is_object(patch) {
        out.push_str(patch.get());
        return Ok(());
    }
    let mut members = Members::new();
    for (name, value) in
        before.filter(|it| is_object(it)).map(objects).transpose()?.unwrap_or_default()
    {
        members.entry(name).or_default().before = Some(value);
    }
    for (name, value) in objects(patch)? {
        members.entry(name).or_default().patch = Some(value);
    }
    out.push('{');
    let mut first = true;
    for (name, member) in members {
        let Member { before, patch } = member;
        if patch.is_some_and(|patch| patch.get() == "null") {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        out.push_str(&serde_json::to_string(&name).map_err(|_| not_json())?);
        out.push(':');
        match (before, patch) {
            (before, Some(patch)) => write(out, before, patch, depth)?,
            (Some(before), None) => out.push_str(before.get()),
            (None, None) => {}
        }
    }
    out.push('}');
    Ok(())
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

fn objects(value: &RawValue) -> Result<BTreeMap<String, &RawValue>, Invalid> {
    serde_json::from_str(value.get()).map_err(|_| not_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(target: &str, patch: &str) -> Result<String, Invalid> {
        let [target, patch] = [target, patch].map(|text| Secret::new(text.to_owned()));
        merge_patch(&target, &patch).map(|merged| merged.expose().clone())
    }

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn as_in_the_rfc() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch).unwrap(), result, "{target} {patch}");
        }
    }

    #[test]
    fn numbers_that_nobody_named_stay_as_they_are() {
        let target = r#"{"id":12345678901234567890123, "rate": 1.10, "note":"a\u0001b"}"#;
        let result = r#"{"id":12345678901234567890123,"new":1e400,"note":"a\u0001b","rate":1.10}"#;
        assert_eq!(merged(target, r#"{"new":1e400}"#).unwrap(), result);
    }

    #[test]
    fn deep_patches_are_refused() {
        let deep = |depth| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(merged("{}", &deep(127)).is_ok());
        assert!(merged("{}", &deep(128)).is_err());
        assert!(merged("{}", &deep(100_000)).is_err());
    }
}
