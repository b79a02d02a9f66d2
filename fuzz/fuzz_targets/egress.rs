//! Where calls go is read from what clients and operators send; what comes back is cut into pieces by
//! whoever sent it.
#![no_main]

use std::sync::Arc;

use keyreeve_core::egress::{BaseUrl, Fed, HostName, PathRules, ScrubSet, Scrubber, Target};
use libfuzzer_sys::fuzz_target;

const SECRET: &[u8] = b"sk_live_EXAMPLEexample00";

/// What passes of a stream that is cut into pieces of that many bytes.
fn scrubbed(stream: &[u8], piece: usize) -> Vec<u8> {
    let set = Arc::new(ScrubSet::new([SECRET]).expect("one short secret"));
    let mut scrubber = Scrubber::new(set);
    let mut passed = Vec::new();
    for bytes in stream.chunks(piece) {
        match scrubber.feed(bytes) {
            Fed::Clean { before, kept } => {
                passed.extend_from_slice(&before);
                passed.extend_from_slice(&bytes[..kept]);
            }
            Fed::Replaced(bytes) => passed.extend_from_slice(&bytes),
        }
    }
    passed.extend(scrubber.finish());
    passed
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (path, query) =
            text.split_once('?').map_or((text, None), |(path, it)| (path, Some(it)));
        for rules in [PathRules::Strict, PathRules::Lenient] {
            if let Ok(target) = Target::parse(path, query, rules) {
                let again =
                    Target::parse(target.path(), target.query(), rules).expect("it is normal");
                assert!(again == target);
                assert!(!target.path().split('/').any(|segment| segment == ".." || segment == "."));
            }
        }
        if let Ok(host) = HostName::parse(text) {
            assert_eq!(HostName::parse(host.as_str()).as_ref(), Ok(&host));
        }
        if let Ok(url) = BaseUrl::parse(text) {
            assert_eq!(BaseUrl::parse(&url.to_string()).as_ref(), Ok(&url));
        }
    }
    let Some((first, stream)) = bytes.split_first() else { return };
    let passed = scrubbed(stream, usize::from(*first) + 1);
    assert_eq!(passed.len(), stream.len());
    assert!(!passed.windows(SECRET.len()).any(|part| part == SECRET));
});
