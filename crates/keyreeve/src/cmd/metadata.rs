//! Metadata as it is typed.

use keyreeve_api::MetadataView;

use crate::failure::Advised;

/// Reads a JSON object. What is wrong with it is not repeated: it may hold anything.
pub(super) fn parse(text: &str) -> Result<MetadataView, Advised> {
    serde_json::from_str(text).map_err(|_| {
        Advised::new(
            "--metadata must be a JSON object",
            r#"write it like --metadata '{"team":"billing"}'"#,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_will_do() {
        assert_eq!(parse(r#"{"team":"billing"}"#).unwrap()["team"], "billing");
        for bad in ["", "canary", r#""canary""#, r#"["canary"]"#, "{canary}", "null"] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.to_string(), "--metadata must be a JSON object", "{bad}");
        }
    }
}
