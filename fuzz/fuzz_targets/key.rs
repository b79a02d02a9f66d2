//! Keys come from strangers, millions of times a day.
#![no_main]

use keyreeve_core::key::{Digester, ParsedKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(parsed) = ParsedKey::parse(text) {
        // What is well-formed can be put together again from its parts.
        assert!(text.starts_with(parsed.prefix));
        assert!(text.contains(parsed.id.as_str()));
        assert!(text.contains(parsed.tag.as_str()));
        let digester = Digester::default();
        assert!(digester.matches(&digester.digest(&parsed.token), &parsed.token));
    }
});
