//! A key's lifecycle in columns. What a disabled or deleted key goes back to is compact JSON,
//! because it is only ever read together with its key.

use keyreeve_core::{key::KeyId, lifecycle::Lifecycle};
use serde_json::{Value, json};

use super::{columns::Columns, failure::Broken};
use crate::millis;

/// The columns that hold a lifecycle.
#[derive(Default)]
pub(crate) struct LifecycleColumns<'a> {
    pub(crate) lifecycle: &'static str,
    pub(crate) changed_at: Option<i64>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) successor: Option<&'a str>,
    pub(crate) grace_ends_at: Option<i64>,
    pub(crate) was: Option<String>,
}

impl<'a> From<&'a Lifecycle> for LifecycleColumns<'a> {
    fn from(lifecycle: &'a Lifecycle) -> Self {
        let empty = Self { lifecycle: word(lifecycle), ..Self::default() };
        match lifecycle {
            Lifecycle::Active => empty,
            Lifecycle::Disabled { at, was } | Lifecycle::Deleted { at, was } => Self {
                changed_at: Some(millis::floor(*at)),
                was: Some(to_json(was).to_string()),
                ..empty
            },
            Lifecycle::Rotating { successor, grace_ends_at } => Self {
                successor: Some(successor.as_str()),
                grace_ends_at: Some(millis::floor(*grace_ends_at)),
                ..empty
            },
            Lifecycle::Revoked { at, reason } => {
                Self { changed_at: Some(millis::floor(*at)), reason: reason.as_deref(), ..empty }
            }
        }
    }
}

/// Reads `lifecycle, changed_at, reason, successor, grace_ends_at, was`.
pub(crate) fn read(columns: &mut Columns<'_>) -> Result<Lifecycle, Broken> {
    let word = columns.text()?;
    if word == "active" {
        // So are nearly all, and nothing more is said of them.
        columns.pass_over(5);
        return Ok(Lifecycle::Active);
    }
    let changed_at = columns.maybe_time()?;
    let reason = columns.maybe_text()?;
    let successor = columns.maybe_parsed::<KeyId>()?;
    let grace_ends_at = columns.maybe_time()?;
    let was = columns.maybe_text()?;
    let lifecycle = match (word, changed_at, successor, grace_ends_at, was) {
        ("disabled", Some(at), _, _, Some(was)) => {
            parse(was).map(|was| Lifecycle::Disabled { at, was: Box::new(was) })
        }
        ("rotating", _, Some(successor), Some(grace_ends_at), _) => {
            Some(Lifecycle::Rotating { successor, grace_ends_at })
        }
        ("revoked", Some(at), ..) => {
            Some(Lifecycle::Revoked { at, reason: reason.map(str::to_owned) })
        }
        ("deleted", Some(at), _, _, Some(was)) => {
            parse(was).map(|was| Lifecycle::Deleted { at, was: Box::new(was) })
        }
        _ => None,
    };
    lifecycle.ok_or_else(|| columns.damaged())
}

fn word(lifecycle: &Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Active => "active",
        Lifecycle::Disabled { .. } => "disabled",
        Lifecycle::Rotating { .. } => "rotating",
        Lifecycle::Revoked { .. } => "revoked",
        Lifecycle::Deleted { .. } => "deleted",
    }
}

fn to_json(lifecycle: &Lifecycle) -> Value {
    let state = word(lifecycle);
    match lifecycle {
        Lifecycle::Active => json!({ "state": state }),
        Lifecycle::Disabled { at, was } | Lifecycle::Deleted { at, was } => {
            json!({ "state": state, "at": millis::floor(*at), "was": to_json(was) })
        }
        Lifecycle::Rotating { successor, grace_ends_at } => json!({
            "state": state,
            "successor": successor.as_str(),
            "grace_ends_at": millis::floor(*grace_ends_at),
        }),
        Lifecycle::Revoked { at, reason } => {
            json!({ "state": state, "at": millis::floor(*at), "reason": reason })
        }
    }
}

fn parse(text: &str) -> Option<Lifecycle> {
    from_json(&serde_json::from_str(text).ok()?)
}

/// Reads what [`to_json`] wrote. The parser bounds how deep this goes.
fn from_json(value: &Value) -> Option<Lifecycle> {
    let time = |field: &str| jiff::Timestamp::from_millisecond(value.get(field)?.as_i64()?).ok();
    let was = || value.get("was").and_then(from_json).map(Box::new);
    Some(match value.get("state")?.as_str()? {
        "active" => Lifecycle::Active,
        "disabled" => Lifecycle::Disabled { at: time("at")?, was: was()? },
        "rotating" => Lifecycle::Rotating {
            successor: value.get("successor")?.as_str()?.parse::<KeyId>().ok()?,
            grace_ends_at: time("grace_ends_at")?,
        },
        "revoked" => Lifecycle::Revoked {
            at: time("at")?,
            reason: value.get("reason").and_then(Value::as_str).map(str::to_owned),
        },
        "deleted" => Lifecycle::Deleted { at: time("at")?, was: was()? },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn what_was_is_read_as_it_was_written() {
        let rotating = Lifecycle::Rotating {
            successor: KeyId::from_entropy([5; 16]),
            grace_ends_at: at(1_234_567),
        };
        let disabled = rotating.clone().disable(at(1_000)).unwrap();
        let deleted = disabled.clone().delete(at(2_000)).unwrap();
        let revoked = Lifecycle::Active.revoke(Some("leaked".to_owned()), at(3)).unwrap();
        let silent = Lifecycle::Active.revoke(None, at(4)).unwrap();
        for lifecycle in [Lifecycle::Active, rotating, disabled, deleted, revoked, silent] {
            assert_eq!(parse(&to_json(&lifecycle).to_string()), Some(lifecycle));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "{}", "[]", r#"{"state":"gone"}"#, r#"{"state":"disabled","at":1}"#] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
