//! Addresses that a connection must not lead to, in every form that somebody may write or resolve them in.

use std::fmt::Write as _;

use serde_json::json;

use crate::{
    proxy::{Proxied, SECRET},
    service::Service,
    support::{block_on, refusal},
};

/// Written in a way that readers differ on.
const NOT_ONE_SPELLING: [&str; 19] = [
    "http://2130706433",
    "http://0x7f000001",
    "http://0x7f.0.0.1",
    "http://0177.0.0.1",
    "http://017700000001",
    "http://127.1",
    "http://127.0.1",
    "http://127.0.0.01",
    "http://127.0.0.1.1",
    "http://allowed.example@127.0.0.1",
    "http://127.0.0.1@allowed.example",
    "http://127.0.0.1\\@allowed.example",
    "http://127.0.0.1#@allowed.example",
    "http://127.0.0.1?@allowed.example",
    "http://[::1%25lo]",
    "http://[::ffff:127.0.0.1",
    "http://127。0。0。1",
    "http://%31%32%37.0.0.1",
    "ftp://127.0.0.1",
];

/// Of this machine or a private network: only a connection that says so leads there. `PORT` is where
/// somebody listens.
const INTERNAL: [&str; 22] = [
    "http://127.0.0.1:PORT",
    "http://127.0.0.1.:PORT",
    "http://127.255.255.254:PORT",
    "http://localhost:PORT",
    "http://LOCALHOST.:PORT",
    "http://[::1]:PORT",
    "http://[::ffff:127.0.0.1]:PORT",
    "http://[::ffff:7f00:1]:PORT",
    "http://[64:ff9b::7f00:1]:PORT",
    "http://[64:ff9b:1::7f00:1]:PORT",
    "http://[2002:7f00:1::]:PORT",
    "http://[2001:0:7f00:1::]:PORT",
    "http://10.0.0.1",
    "http://172.16.0.1",
    "http://192.168.0.1",
    "http://100.64.0.1",
    "http://192.0.0.1",
    "http://198.18.0.1",
    "http://169.254.0.1",
    "http://[fc00::1]",
    "http://[fe80::1]",
    "http://[fec0::1]",
];

/// No connection leads there, whatever it says.
const NEVER: [&str; 16] = [
    "http://0.0.0.0:PORT",
    "http://[::]:PORT",
    "http://0.1.2.3",
    "http://169.254.169.254",
    "http://169.254.170.2",
    "http://[fd00:ec2::254]",
    "http://[::ffff:169.254.169.254]",
    "http://[64:ff9b::a9fe:a9fe]",
    "http://[2002:a9fe:a9fe::]",
    "http://168.63.129.16",
    "http://100.100.100.200",
    "http://224.0.0.1",
    "http://[ff02::1]",
    "http://240.0.0.1",
    "http://255.255.255.255",
    "http://[::ffff:0.0.0.0]:PORT",
];

impl Proxied {
    /// What becomes of a call through a connection to this address: it must not arrive.
    fn is_kept_from(&self, url: &str, allow_internal: bool) -> String {
        let before = self.figure("keyreeve_proxy_addresses_refused_total");
        let more = json!({ "base_url": url, "allow_internal": allow_internal });
        let made = self.try_connect("forbidden", &more);
        if made.is_err() {
            return format!("not made: {}", refusal(made));
        }
        let called = self.get("forbidden/latest/meta-data/");
        block_on(self.admin().delete_connection("forbidden")).unwrap();
        let counted = self.figure("keyreeve_proxy_addresses_refused_total") - before;
        assert_eq!(counted, 1, "{url}: {called:?}");
        // Nothing is told of what the name leads to.
        assert!(!called.body.contains("127.") && !called.body.contains("::"), "{called:?}");
        called.code()
    }
}

#[test]
fn no_connection_leads_where_it_must_not() {
    let proxied = Proxied::start();
    let trap = Service::start();
    let port = trap.port().to_string();
    let own = proxied.server.url.rsplit(':').next().unwrap().trim_end_matches('/');
    let own: Vec<String> = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"]
        .iter()
        .map(|host| format!("http://{host}:{own}"))
        .collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut table = String::new();
    for (family, urls, allow_internal, expected) in [
        ("not one spelling", &NOT_ONE_SPELLING[..], true, "not made: invalid_request"),
        ("internal", &INTERNAL[..], false, "502 service_unreachable"),
        ("never", &NEVER[..], true, "502 service_unreachable"),
        ("this server itself", &own[..], true, "502 service_unreachable"),
    ] {
        for url in urls {
            let outcome = proxied.is_kept_from(&url.replace("PORT", &port), allow_internal);
            writeln!(table, "{family:18} {url:40} {outcome}").unwrap();
            assert_eq!(outcome, expected, "{url}");
        }
    }
    println!("{table}");
    assert_eq!(trap.connected(), 0, "nothing arrived anywhere");
    assert!(proxied.service.seen().is_empty());
    // The same address is called where that was said.
    proxied.connect("allowed", &json!({ "base_url": trap.url() }));
    assert_eq!(proxied.get("allowed/x").status, 200);
    assert_eq!(trap.last().header("authorization"), format!("Bearer {SECRET}"));
}

#[test]
fn what_was_allowed_is_looked_at_again_by_every_call() {
    let proxied = Proxied::start();
    assert_eq!(proxied.get("echo/x").status, 200);
    // A connection to the service waits to be used again; it was made under other rules.
    proxied.change("echo", json!({ "allow_internal": false }));
    proxied.service.forget();
    assert_eq!(proxied.get("echo/x").code(), "502 service_unreachable");
    assert!(proxied.service.seen().is_empty());
    let log = proxied.server.stop();
    assert!(!log.contains(SECRET), "{log}");
}
