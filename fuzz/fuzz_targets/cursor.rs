//! Cursors come back from callers.
#![no_main]

use keyreeve_engine::store::Cursor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(cursor) = Cursor::parse(text) {
        assert_eq!(Cursor::parse(&cursor.to_text()), Some(cursor));
    }
});
