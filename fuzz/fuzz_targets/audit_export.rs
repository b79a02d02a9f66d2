//! Exports are checked far from the installation they claim to come from.
#![no_main]

use keyreeve_core::audit::{ExportLine, LogVerifier};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut log = LogVerifier::new([]);
    for (seq, line) in text.lines().enumerate() {
        if let Ok(line) = ExportLine::parse(line) {
            let written = line.to_line().expect("what was read can be written");
            assert_eq!(ExportLine::parse(&written), Ok(line.clone()));
            if let ExportLine::Entry { bytes, leaf } = line {
                log.entry(seq as u64, &bytes, Some(&leaf));
            }
        }
    }
    let _ = log.finish();
});
