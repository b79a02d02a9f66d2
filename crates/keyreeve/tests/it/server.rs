//! The server as a process: limits, headers, TLS, the local socket, signals.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use reqwest::Method;

use crate::raw_http::Raw;
use crate::support::{Installation, block_on, http, problem};

#[test]
fn answers_carry_a_request_id_and_security_headers() {
    let installation = Installation::new();
    let server = installation.serve();
    block_on(async {
        for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/api/v1/api-keys", "/x"] {
            let request = http().get(format!("{}{path}", server.url));
            let response = request.header("x-request-id", "from-caller.1").send().await.unwrap();
            let headers = response.headers();
            assert_eq!(headers["x-request-id"], "from-caller.1", "{path}");
            assert_eq!(headers["cache-control"], "no-store", "{path}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
            assert!(headers["content-security-policy"].to_str().unwrap().contains("'none'"));
            assert!(headers.get("access-control-allow-origin").is_none(), "{path}");
        }
        let odd = http().get(format!("{}/healthz", server.url)).header("x-request-id", "a b!");
        let response = odd.send().await.unwrap();
        assert_ne!(response.headers()["x-request-id"], "a b!");
        let code = http().get(format!("{}/errors/not_found", server.url)).send().await.unwrap();
        assert!(code.text().await.unwrap().starts_with("not_found (404)"));
    });
}

#[test]
fn browsers_are_let_in_only_from_named_origins() {
    let installation = Installation::new();
    let origins = [("KEYREEVE_SERVER__CORS__ALLOWED_ORIGINS", "https://app.example.com")];
    let server = installation.serve_with(&origins);
    block_on(async {
        let ask = async |method: &Method, path: &str, origin: &str| {
            let request = http().request(method.clone(), format!("{}{path}", server.url));
            request.header("origin", origin).send().await.unwrap().headers().clone()
        };
        for (method, path) in [
            (Method::GET, "/healthz"),
            (Method::GET, "/x"),
            (Method::POST, "/api/v1/verify"),
            (Method::OPTIONS, "/api/v1/verify"),
        ] {
            let place = format!("{method} {path}");
            let headers = ask(&method, path, "https://app.example.com").await;
            let allowed: Vec<_> = headers.get_all("access-control-allow-origin").iter().collect();
            assert_eq!(allowed, ["https://app.example.com"], "{place}");
            assert!(headers["vary"].to_str().unwrap().contains("origin"), "{place}");
            let exposed: Vec<_> = headers.get_all("access-control-expose-headers").iter().collect();
            assert_eq!(exposed.len(), 1, "{place}");
            assert!(exposed[0].to_str().unwrap().contains("retry-after"), "{place}");

            let headers = ask(&method, path, "https://evil.example.com").await;
            assert_eq!(headers.get("access-control-allow-origin"), None, "{place}");
            assert_eq!(headers.get("access-control-expose-headers"), None, "{place}");
        }
    });
}

#[test]
fn the_metrics_count_verdicts_and_can_be_closed() {
    let installation = Installation::new();
    let server = installation.serve_with(&[("KEYREEVE_SERVER__METRICS", "authenticated")]);
    block_on(async {
        let url = format!("{}/metrics", server.url);
        let refused = http().get(&url).send().await.unwrap();
        assert_eq!(problem(refused).await.1, "unauthenticated");
        let verify = http().post(format!("{}/api/v1/verify", server.url));
        let body = serde_json::json!({ "key": installation.admin_key });
        verify.bearer_auth(&installation.admin_key).json(&body).send().await.unwrap();
        let strange = Method::from_bytes(b"BREW").unwrap();
        http().request(strange, format!("{}/x", server.url)).send().await.unwrap();
        let page = http().get(&url).bearer_auth(&installation.admin_key).send().await.unwrap();
        let page = page.text().await.unwrap();
        assert!(page.contains("keyreeve_verifications_total{code=\"VALID\"} 1"), "{page}");
        assert!(page.contains("keyreeve_live_keys 1"), "{page}");
        let counted = page.lines().any(|line| {
            line.starts_with("keyreeve_http_requests_total{")
                && line.contains("route=\"/api/v1/verify\"")
                && line.contains("status=\"200\"")
                && line.ends_with("} 1")
        });
        assert!(counted, "{page}");
        assert!(page.contains("method=\"other\"") && !page.contains("BREW"), "{page}");
    });
}

#[test]
fn connections_over_the_limit_are_told_so() {
    let installation = Installation::new();
    let server = installation.serve_with(&[("KEYREEVE_SERVER__MAX_CONNECTIONS", "2")]);
    let address = server.url.strip_prefix("http://").unwrap();
    let open = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        (stream, String::from_utf8(start.to_vec()).unwrap())
    };
    let (first, status) = open();
    assert_eq!(status, "HTTP/1.1 200");
    let (_second, status) = open();
    assert_eq!(status, "HTTP/1.1 200");
    assert_eq!(open().1, "HTTP/1.1 503");
    drop(first);
    let again = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        open().1 == "HTTP/1.1 200"
    });
    assert!(again, "a place that came free is not given out");
}

#[test]
fn idle_connections_lose_their_places_and_never_lock_the_owner_out() {
    let installation = Installation::new();
    let server = installation.serve_with(&[
        ("KEYREEVE_SERVER__MAX_CONNECTIONS", "4"),
        ("KEYREEVE_SERVER__HEADER_TIMEOUT", "500ms"),
    ]);
    let address = server.url.strip_prefix("http://").unwrap();
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // An empty SETTINGS frame.
    preface.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let sent: [&[u8]; 4] = [b"", b"", b"PRI * HT", &preface];
    let held = sent.map(|bytes| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    });
    std::thread::sleep(Duration::from_millis(100));
    let freed = async {
        loop {
            server.local(None).list_keyspaces().await.unwrap();
            let answer = http().get(format!("{}/healthz", server.url)).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.local(None).list_keyspaces().await.unwrap();
    };
    block_on(async {
        tokio::time::timeout(Duration::from_secs(5), freed).await.unwrap();
    });
    for mut stream in held {
        // An end or a reset is right; a read that waits in vain is not.
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}

#[test]
fn slow_and_oversized_heads_are_cut_off() {
    let installation = Installation::new();
    let server = installation.serve_with(&[("KEYREEVE_SERVER__HEADER_TIMEOUT", "300ms")]);
    let address = server.url.strip_prefix("http://").unwrap();
    let mut slow = TcpStream::connect(address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost:").unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("200"));

    // After a request too, which gets its answer.
    let mut used = TcpStream::connect(address).unwrap();
    used.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    used.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nho").unwrap();
    let mut answers = Vec::new();
    used.read_to_end(&mut answers).unwrap();
    assert_eq!(String::from_utf8_lossy(&answers).matches("200 OK").count(), 1);

    let mut large = TcpStream::connect(address).unwrap();
    large.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let _ = large.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = large.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    let alive = async { http().get(format!("{}/healthz", server.url)).send().await };
    assert!(block_on(alive).is_ok());
}

#[test]
fn who_asks_and_hangs_up_is_answered() {
    let installation = Installation::new();
    let server = installation.serve();
    let key = &installation.admin_key;
    let ask = |body: &str| {
        format!(
            "POST /api/v1/verify HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\n{body}"
        )
    };
    let body = r#"{"key":"kr_live_nothing"}"#;
    let whole = ask(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    let (first, second) = body.split_at(9);
    let pieces = ask(&format!(
        "transfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\nx-more: 1\r\n\r\n",
        first.len(),
        second.len()
    ));
    let mut raw = Raw::connect(&server.url);
    assert!(raw.send(format!("{whole}{pieces}{whole}").as_bytes()));
    raw.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let heard = raw.rest();
    assert!(heard.is_closed);
    assert_eq!(heard.statuses(), [200, 200, 200], "{heard:?}");
    assert_eq!(heard.text.matches("\"code\":\"MALFORMED\"").count(), 3, "{heard:?}");
}

#[test]
fn the_local_socket_belongs_to_its_owner() {
    let installation = Installation::new();
    let server = installation.serve();
    let socket = installation.data_dir().join("keyreeve.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    block_on(async {
        let entries = server.local(None).list_audit(&Default::default()).await.unwrap();
        let actor = format!("local:{}", rustix::process::geteuid().as_raw());
        assert_eq!(entries.items[0].actor, actor);
    });
    server.stop();
    assert!(!socket.exists());
}

#[test]
fn a_graceful_stop_lets_the_open_request_end() {
    let installation = Installation::new();
    let server = installation.serve();
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let mut open = TcpStream::connect(&address).unwrap();
    open.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let body = br#"{"name":"last"}"#;
    let head = format!(
        "POST /api/v1/api-keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        installation.admin_key,
        body.len()
    );
    open.write_all(head.as_bytes()).unwrap();
    open.write_all(&body[..5]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let stopping = std::thread::spawn(move || server.stop());
    std::thread::sleep(Duration::from_millis(200));
    open.write_all(&body[5..]).unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let log = stopping.join().unwrap();
    assert!(log.contains("\"stopped\""), "{log}");
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn no_secret_reaches_the_log() {
    let installation = Installation::new();
    let server = installation.serve_with(&[("KEYREEVE_LOG__LEVEL", "trace")]);
    let made = block_on(async {
        let client = server.client(&installation.admin_key);
        let made = client.create_api_key(&crate::keys::named("a"), None).await.unwrap();
        let path = format!("{}/api/v1/api-keys/{}", server.url, made.key.expose());
        let request = http().get(path).bearer_auth(&installation.admin_key);
        assert_eq!(request.send().await.unwrap().status(), 400);
        made
    });
    let log = server.stop();
    assert!(log.contains("served"));
    for key in [made.key.expose(), installation.admin_key.as_str()] {
        assert!(!log.contains(&key[21..]), "the secret part of a key is in the log");
    }
}

#[test]
fn tls_serves_and_takes_a_new_certificate() {
    let installation = Installation::new();
    let folder = installation.folder.path();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let make = |name: &str| {
        let signing_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&signing_key).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        std::fs::write(&cert, certificate.pem()).unwrap();
        reqwest::Certificate::from_pem(certificate.pem().as_bytes()).unwrap()
    };
    let first = make("first");
    let server = installation.serve_with(&[
        ("KEYREEVE_SERVER__TLS__CERT", cert.to_str().unwrap()),
        ("KEYREEVE_SERVER__TLS__KEY", key.to_str().unwrap()),
        ("KEYREEVE_SERVER__TLS__RELOAD_INTERVAL", "1s"),
    ]);
    assert!(server.url.starts_with("https://"));
    let trusting = |certificate| {
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([certificate])
            .build()
            .unwrap()
            .get(format!("{}/healthz", server.url))
            .send()
    };
    block_on(async {
        let response = trusting(first.clone()).await.unwrap();
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        assert!(response.headers().contains_key("strict-transport-security"));
        let second = make("second");
        let mut replaced = false;
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if trusting(second.clone()).await.is_ok() {
                replaced = true;
                break;
            }
        }
        assert!(replaced, "the new certificate is not served");
        assert!(trusting(first.clone()).await.is_err());
    });
}
