//! Changing things.

use crate::failure::Advised;

/// A change that changes nothing is a slip: an option was forgotten.
pub(super) fn must_change<T: Default + PartialEq>(
    change: &T,
    command: &str,
) -> Result<(), Advised> {
    if *change != T::default() {
        return Ok(());
    }
    let hint = format!("`keyreeve {command} --help` lists what can be changed");
    Err(Advised::new("nothing is named that is to change", hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_no_change() {
        assert!(must_change(&Some(1), "key update").is_ok());
        let error = must_change(&None::<u8>, "key update").unwrap_err();
        assert_eq!(error.to_string(), "nothing is named that is to change");
    }
}
