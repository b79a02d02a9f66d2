//! Entries are read back from databases and exports that may have been touched.
#![no_main]

use keyreeve_core::audit::AuditEntry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((seq, entry)) = AuditEntry::decode(bytes) {
        let again = AuditEntry::decode(&entry.encode(seq)).expect("what was read can be written");
        assert_eq!(again.0, seq);
        assert_eq!(again.1.encode(seq), entry.encode(seq));
    }
});
