//! Checkpoints come from files and networks nobody vouches for.
#![no_main]

use keyreeve_core::audit::{Checkpoint, CheckpointVerifier};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(checkpoint) = Checkpoint::parse_note(text) {
        assert!(text.starts_with(&checkpoint.note_text()));
    }
    if let Ok(verifier) = CheckpointVerifier::parse(text) {
        assert_eq!(verifier.to_string(), text);
    }
});
