//! Permission queries come with every verification.
#![no_main]

use keyreeve_core::permission::{Permission, PermissionSet, Query};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(query) = Query::parse(text) {
        // Granting what was missing turns the answer.
        if let Err(missing) = query.check(&PermissionSet::default()) {
            let granted = missing.iter().map(|text| text.parse::<Permission>().unwrap()).collect();
            assert!(query.check(&granted).is_ok());
        }
    }
    if let Ok(permission) = text.parse::<Permission>() {
        assert!(permission.covers(text));
    }
});
