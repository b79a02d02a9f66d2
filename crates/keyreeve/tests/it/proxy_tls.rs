//! Services that speak TLS: whose certificates are trusted, and which HTTP is spoken. The service is another
//! Keyreeve that passes on what it gets, or nginx, which says what was spoken with it.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::json;

use keyreeve_store::conformance::{PostgresServer, ValkeyServer};

use crate::{
    connection_tests::{PASSWORD, sign_in},
    gateways::Gateway,
    proxy::{Proxied, SECRET, answer, answered},
    raw_http::Raw,
    service::Service,
    support::{Installation, PATIENCE, Server, block_on, keyreeve, text},
    web_socket::{self, TEXT},
};

/// The length of an answer that comes in many pieces.
const LONG: usize = 300_000;

/// A certificate for some names and its key, in files.
struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    /// Signed by itself, so it is its own authority.
    fn of(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        fs::write(folder.path().join("cert.pem"), made.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { folder }
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

/// A Keyreeve that speaks TLS and passes calls on to a service in clear text.
struct Front {
    _installation: Installation,
    server: Server,
    service: Service,
    /// What it lets its clients in by.
    key: String,
}

impl Front {
    fn start(certificate: &Certificate) -> Self {
        let Proxied { server, installation, service, key, .. } = Proxied::start();
        server.stop();
        let server = installation.serve_with(&[
            ("KEYREEVE_SERVER__TLS__CERT", certificate.cert().to_str().unwrap()),
            ("KEYREEVE_SERVER__TLS__KEY", certificate.key().to_str().unwrap()),
        ]);
        assert!(server.url.starts_with("https://"), "{}", server.url);
        Self { _installation: installation, server, service, key }
    }
}

impl Front {
    /// Connections that are open, without the one that asks.
    fn connections(&self) -> u64 {
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
        let page = answer(client.get(format!("{}/metrics", self.server.url))).body;
        let line = page.lines().find_map(|line| line.strip_prefix("keyreeve_connections "));
        line.unwrap_or_else(|| panic!("{page}")).trim().parse::<u64>().unwrap() - 1
    }
}

impl Proxied {
    /// That trusts these certificates, or those of the system.
    fn trusting(certificate: Option<&Certificate>) -> Self {
        let file = certificate.map(Certificate::cert);
        let setting =
            file.as_ref().map(|file| ("KEYREEVE_PROXY__AUTHORITIES", file.to_str().unwrap()));
        Self::start_with(setting.as_slice())
    }

    /// Makes a connection to a front, by this host.
    fn connect_to(&self, name: &str, front: &Front, host: &str) {
        self.write(name, &json!({ "token": front.key }));
        let base_url = format!("{}/proxy/echo", front.server.url.replace("127.0.0.1", host));
        let more = json!({ "secret": name, "base_url": base_url, "allow_plaintext": false });
        self.connect(name, &more);
    }
}

#[test]
fn a_service_with_a_trusted_certificate_is_called_over_tls() {
    let certificate = Certificate::of(&["127.0.0.1", "localhost"]);
    let front = Front::start(&certificate);
    let proxied = Proxied::trusting(Some(&certificate));
    proxied.connect_to("front", &front, "127.0.0.1");
    proxied.connect_to("named", &front, "localhost");
    for name in ["front", "named"] {
        let request = proxied.request("PUT", &format!("{name}/x?a=1"));
        let said = answer(request.header("x-custom", "kept").body("hello")).json();
        assert_eq!(said["target"], "/x?a=1");
        let seen = front.service.last();
        assert_eq!((seen.text().as_str(), seen.header("x-custom")), ("hello", "kept"));
        assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    }
    block_on(join_all((0..50).map(|number| {
        let request = proxied.request("POST", &format!("front/{number}")).body(number.to_string());
        async move {
            let said = answered(request).await.json();
            assert_eq!(said["target"], format!("/{number}"));
            assert_eq!(said["body"], number.to_string());
        }
    })));
    let events = proxied.get("front/sse?n=5");
    assert_eq!(events.body.matches("data: ").count(), 5);
    assert_eq!(proxied.get("front/big?n=3000000").body.len(), 3_000_000);
    assert_eq!(proxied.get("front/status/418").status, 418);

    // What only HTTP/1.1 can do is done with it.
    let mut raw = proxied.web_socket("front/ws");
    assert!(raw.head().starts_with("http/1.1 101 "));
    web_socket::write_frame(&mut raw.stream, TEXT, b"hello!", true).unwrap();
    let (_, payload) = web_socket::read_frame(&mut raw.stream).unwrap().unwrap();
    assert_eq!(payload, b"hello!");
}

#[test]
fn databases_are_signed_in_to_over_tls_that_can_be_trusted() {
    let (Some(mut postgres), Some(mut valkey)) =
        (PostgresServer::start_with_password(PASSWORD).unwrap(), ValkeyServer::start().unwrap())
    else {
        return;
    };
    let certificate = Certificate::of(&["127.0.0.1"]);
    let [cert, key] =
        [certificate.cert(), certificate.key()].map(|it| fs::read_to_string(it).unwrap());
    postgres.secure(&cert, &key).unwrap();
    valkey.secure(certificate.cert(), certificate.key()).unwrap();
    let url = postgres.database().unwrap();
    let cache = valkey.url().replace("rediss://", &format!("rediss://default:{PASSWORD}@"));
    let ask = |proxied: &Proxied, provider: &str, url: &str| {
        sign_in(proxied, provider, &json!({ "connection_url": url }), &json!({}))
    };
    let trusting = Proxied::trusting(Some(&certificate));
    let good = ask(&trusting, "postgres", &url);
    assert_eq!(good.verdict, "live", "{good:?}");
    let bad = ask(&trusting, "postgres", &url.replace(PASSWORD, "EXAMPLE-password-9999"));
    assert_eq!(bad.verdict, "dead", "{bad:?}");
    // This one lets everybody in, which is told only over a connection that stands.
    let open = ask(&trusting, "redis", &cache);
    assert!(open.detail.contains("any password"), "{open:?}");
    let doubting = Proxied::trusting(None);
    for (provider, url) in [("postgres", &url), ("redis", &cache)] {
        let tested = ask(&doubting, provider, url);
        assert!(tested.verdict == "unknown" && tested.detail.contains("certificate"), "{tested:?}");
    }
}

#[test]
fn streams_over_http2_share_a_connection_until_it_takes_no_more() {
    // As many as the front takes over one connection, which is another Keyreeve, and some.
    const STREAMS: usize = 230;
    let certificate = Certificate::of(&["127.0.0.1"]);
    let front = Front::start(&certificate);
    let proxied = Proxied::trusting(Some(&certificate));
    proxied.connect_to("front", &front, "127.0.0.1");
    let open = |number: usize| {
        let mut raw = Raw::connect(&proxied.server.url);
        let head = proxied.head(&format!("GET /proxy/front/sse?n=100000&number={number}"));
        raw.send(format!("{head}\r\n").as_bytes());
        raw.until("data: 0\n");
        raw
    };
    let streams: Vec<Raw> = (0..STREAMS).map(open).collect();
    assert_eq!(front.service.streams(), STREAMS);
    let connections = front.connections();
    // On each core its own, and a second one where the first is full.
    let cores = u64::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    assert!((2..=cores + 2).contains(&connections), "{connections}");
    // They are in nobody's way.
    assert_eq!(proxied.get("front/status/418").status, 418);
    drop(streams);
}

#[test]
fn a_certificate_that_is_not_trusted_or_of_another_name_gets_nothing() {
    let good = Certificate::of(&["127.0.0.1"]);
    let other = Certificate::of(&["other.example"]);
    let (front, misnamed) = (Front::start(&good), Front::start(&other));
    for (trusted, of) in [(None, &front), (Some(&other), &front), (Some(&other), &misnamed)] {
        let proxied = Proxied::trusting(trusted);
        proxied.connect_to("front", of, "127.0.0.1");
        of.service.forget();
        let refused = proxied.get("front/x");
        assert_eq!(refused.code(), "502 service_unreachable");
        assert!(refused.body.contains("certificate"), "{refused:?}");
        assert!(of.service.seen().is_empty());
        let log = proxied.server.stop();
        assert!(!log.contains(&of.key), "{log}");
    }
}

/// What a server with this setting says until it ends by itself.
fn last_words(authorities: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = keyreeve();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"));
    command.env("KEYREEVE_PROXY__AUTHORITIES", authorities).current_dir(folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let step = Duration::from_millis(50);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(!status.success());
            return text(&child.wait_with_output().unwrap().stderr);
        }
        thread::sleep(step);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it serves with {}", authorities.display());
}

#[test]
fn authorities_that_cannot_be_read_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authorities.pem");
    let bad = "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n";
    fs::write(&file, bad).unwrap();
    for path in [file, folder.path().join("missing.pem")] {
        let said = last_words(&path);
        assert!(said.contains("cannot read certificate authorities"), "{said}");
    }
}

/// nginx with two servers: one that also speaks HTTP/2, one that does not.
struct Nginx {
    child: Child,
    ports: [u16; 2],
    _folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    fn start(program: &Path, certificate: &Certificate) -> Self {
        // Somebody else may take a port before nginx does.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(program, certificate) {
                return nginx;
            }
        }
        panic!("nginx did not start");
    }

    fn try_start(program: &Path, certificate: &Certificate) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let ports = [free(), free()].map(|it| it.local_addr().unwrap().port());
        let mut config = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error.log;\nevents {{}}\n\
             http {{\naccess_log off;\nssl_certificate {1};\nssl_certificate_key {2};\n",
            folder.path().display(),
            certificate.cert().display(),
            certificate.key().display()
        );
        // Places to write to, for users who may not write to those of the package.
        for part in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            config.push_str(&format!("{part}_temp_path {}/{part};\n", folder.path().display()));
        }
        for (port, more) in ports.iter().zip([" http2", ""]) {
            config.push_str(&format!(
                "server {{ listen 127.0.0.1:{port} ssl{more}; \
                 location / {{ return 200 $server_protocol; }} \
                 location /which {{ return 200 \"$connection $connection_requests.\"; }} \
                 location /long {{ root {}; }} }}\n",
                folder.path().display()
            ));
        }
        fs::write(folder.path().join("long"), "x".repeat(LONG - 1) + ".").unwrap();
        let file = folder.path().join("nginx.conf");
        fs::write(&file, format!("{config}}}\n")).unwrap();
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-e").arg(folder.path().join("error.log"));
        command.arg("-c").arg(file).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let step = Duration::from_millis(20);
        for _ in 0..PATIENCE.as_millis() / step.as_millis() {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return Some(Self { child, ports, _folder: folder });
            }
            thread::sleep(step);
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }
}

#[test]
fn http2_is_spoken_with_services_that_speak_it() {
    let Some(program) = Gateway::Nginx.program() else { return };
    let certificate = Certificate::of(&["127.0.0.1"]);
    let nginx = Nginx::start(&program, &certificate);
    let proxied = Proxied::trusting(Some(&certificate));
    for (port, spoken) in nginx.ports.iter().zip(["HTTP/2.0", "HTTP/1.1"]) {
        let name = format!("on-{port}");
        proxied.connect(&name, &json!({ "base_url": format!("https://127.0.0.1:{port}") }));
        for method in ["GET", "POST", "DELETE"] {
            for _ in 0..3 {
                let answer = answer(proxied.request(method, &format!("{name}/x")).body("a body"));
                assert_eq!((answer.status, answer.body.as_str()), (200, spoken), "{method}");
            }
        }
        // Not with what wants to speak something else.
        let mut raw = proxied.web_socket(&format!("{name}/x"));
        assert!(raw.head().starts_with("http/1.1 200 "));
        assert_eq!(raw.until("HTTP/1.1"), "HTTP/1.1");
    }
}

#[test]
fn calls_share_a_connection_over_tls_one_after_the_other() {
    let Some(program) = Gateway::Nginx.program() else { return };
    let certificate = Certificate::of(&["127.0.0.1"]);
    let nginx = Nginx::start(&program, &certificate);
    let proxied = Proxied::trusting(Some(&certificate));
    proxied
        .connect("front", &json!({ "base_url": format!("https://127.0.0.1:{}", nginx.ports[1]) }));
    // On one connection to us, and so on one core.
    let mut raw = Raw::connect(&proxied.server.url);
    let mut call = |path: &str| {
        let head = format!("GET /proxy/front/{path} HTTP/1.1\r\nhost: keyreeve\r\n");
        assert!(raw.send(format!("{head}x-keyreeve-key: {}\r\n\r\n", proxied.key).as_bytes()));
        assert!(raw.head().starts_with("http/1.1 200 "), "{path}");
        raw.until(".")
    };
    let first = call("which");
    let connection = first.strip_suffix(" 1.").unwrap();
    for number in 1..=5 {
        assert_eq!(call("long").len(), LONG);
        assert_eq!(call("which"), format!("{connection} {}.", 2 * number + 1));
    }
}
