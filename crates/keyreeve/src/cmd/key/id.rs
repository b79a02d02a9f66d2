//! Ids of keys as they are typed.

use keyreeve_core::key::{KeyId, ParsedKey};

use crate::failure::Advised;

/// The id, if it has the form of one. What was typed instead is not repeated: it is often the key
/// itself, and what people type ends up in logs.
pub(super) fn checked(text: &str) -> Result<&str, Advised> {
    let Err(invalid) = text.parse::<KeyId>() else {
        return Ok(text);
    };
    if let Ok(key) = ParsedKey::parse(text.trim()) {
        let id = key.id;
        return Err(Advised::new(
            format!("that is a whole key, and its id is wanted: {id}"),
            format!(
                "a key typed as an argument stays in the shell's history and is visible to \
                 others: replace it with `keyreeve key rotate {id}`"
            ),
        ));
    }
    Err(Advised::new(format!("the id {invalid}"), "`keyreeve key list` shows ids"))
}

#[cfg(test)]
mod tests {
    use keyreeve_core::key::{EnvTag, IssuedToken};

    use super::*;

    #[test]
    fn an_id_is_an_id() {
        assert_eq!(checked("4Tn0Zs8QbW1c").unwrap(), "4Tn0Zs8QbW1c");
        let error = checked("canary").unwrap_err().to_string();
        assert!(error.starts_with("the id must be a key id: 12 characters"), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn a_whole_key_is_recognised_and_not_repeated() {
        let prefix = "kr".parse().unwrap();
        let issued = IssuedToken::from_entropy(&prefix, EnvTag::Live, [7; 16], &[9; 32]);
        let text = issued.text().expose();
        let error = checked(text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("a whole key") && shown.contains(issued.id().as_str()), "{shown}");
        assert!(!shown.contains(&text[20..40]), "{shown}");
    }
}
