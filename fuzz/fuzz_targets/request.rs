//! Paths, origins and forwarding headers come from strangers.
#![no_main]

use keyreeve_core::{
    client_address::{TrustedProxies, client_address},
    restriction::{OriginPattern, RoutePattern, origin_of_referrer},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (pattern, text) = input;
    if let Ok(route) = pattern.parse::<RoutePattern>() {
        assert_eq!(route.to_string().parse::<RoutePattern>().unwrap(), route);
        let _ = route.matches("GET", Some(text), text);
    }
    if let Ok(origin) = pattern.parse::<OriginPattern>() {
        assert!(!origin.matches("null"));
        let _ = origin.matches(text);
    }
    if let Some(origin) = origin_of_referrer(text) {
        assert!(text.starts_with(origin));
    }
    let peer = [192, 0, 2, 1].into();
    let nobody = TrustedProxies::default();
    // Whatever a stranger writes, without trust in the peer it is the peer.
    assert_eq!(client_address(peer, false, [text].into_iter(), &nobody).unwrap(), peer);
    let _ = client_address(peer, true, [pattern, text].into_iter(), &nobody);
});
