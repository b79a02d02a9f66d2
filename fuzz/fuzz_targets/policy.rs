//! Limits, quotas, windows and foreign hashes come in requests and on the command line.
#![no_main]

use keyreeve_core::{
    key::foreign::ForeignHash,
    limit::{Concurrency, Limit},
    quota::Quota,
    restriction::Window,
};
use libfuzzer_sys::fuzz_target;

/// What is read is read again from its written form.
macro_rules! round_trip {
    ($text:expr, $($kind:ty),*) => {$(
        if let Ok(value) = $text.parse::<$kind>() {
            assert_eq!(value.to_string().parse::<$kind>().unwrap(), value);
        }
    )*};
}

fuzz_target!(|text: &str| {
    round_trip!(text, Limit, Quota, Concurrency, Window);
    if let Ok(hash) = text.parse::<ForeignHash>() {
        assert!(hash.to_text().parse::<ForeignHash>().unwrap() == hash);
    }
});
