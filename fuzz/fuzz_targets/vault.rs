//! What clients of the vault name and write: paths, policies, sealed versions.
#![no_main]

use keyreeve_core::vault::{
    PathPattern, SealedVersion, SecretPath, SecretPathPrefix, VaultPolicy,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sealed) = SealedVersion::from_bytes(bytes.to_vec()) {
        assert_eq!(sealed.as_bytes(), bytes);
        let _ = sealed.key_number();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let name = "fuzzed".parse().expect("a good name");
    if let Ok(policy) = VaultPolicy::parse(name, text) {
        assert_eq!(policy.text(), text);
        let _ = VaultPolicy::decide([&policy], "production/web/key");
        let _ = VaultPolicy::shows_folder([&policy], "production/");
    }
    if let Ok(path) = text.parse::<SecretPath>() {
        assert!(path.segments().all(|segment| !matches!(segment, "" | "." | "..")));
        let folder: SecretPathPrefix = text.parse().expect("a path is a folder, too");
        assert!(folder.as_str().ends_with('/'));
        if let Ok(pattern) = text.parse::<PathPattern>() {
            assert!(pattern.matches(text) || text.contains('+') || text.ends_with('*'));
        }
    }
});
