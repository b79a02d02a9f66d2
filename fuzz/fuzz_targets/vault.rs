//! What clients of the vault name and write: paths, policies, sealed versions.
#![no_main]

use keyreeve_core::Secret;
use keyreeve_core::vault::{
    PathPattern, SealedVersion, SecretPath, SecretPathPrefix, Share, VaultPolicy, merge_patch,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sealed) = SealedVersion::from_bytes(bytes.to_vec()) {
        assert_eq!(sealed.as_bytes(), bytes);
        let _ = sealed.key_number();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(share) = text.parse::<Share>() {
        assert_eq!(*share.to_text().expose(), text.trim());
    }
    if let Some((target, patch)) = text.split_once('\n') {
        let [target, patch] = [target, patch].map(|text| Secret::new(text.to_owned()));
        if let Ok(merged) = merge_patch(&target, &patch) {
            assert!(merge_patch(&merged, &Secret::new("{}".to_owned())).is_ok());
        }
    }
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
