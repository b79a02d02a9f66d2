//! Lengths of time come in requests, settings and arguments.
#![no_main]

use keyreeve_core::duration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(length) = duration::parse(text) {
        assert!(!length.is_negative() && length <= duration::LONGEST);
        let written = duration::format(length);
        assert_eq!(duration::parse(&written).unwrap().as_millis(), length.as_millis());
    }
});
