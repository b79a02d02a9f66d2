//! `keyreeve connection test`: services are asked whether a credential is good. PostgreSQL, Valkey and the
//! SSH server are real; the mail server and the HTTP service are played.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use keyreeve_api::{ClientError, ConnectionTestView, TestConnectionRequest};
use keyreeve_store::conformance::{PostgresServer, ValkeyServer};
use serde_json::{Value, json};

use crate::{
    proxy::{Proxied, SECRET},
    support::{block_on, keyreeve, text},
    vault_clients::program,
};

pub(crate) const PASSWORD: &str = "EXAMPLE-password-0123";

fn test(proxied: &Proxied, request: Value) -> ConnectionTestView {
    let request: TestConnectionRequest = serde_json::from_value(request).unwrap();
    let tested = block_on(proxied.admin().test_connection(&request)).unwrap();
    let said = format!("{tested:?}");
    assert!(!said.contains(PASSWORD) && !said.contains(SECRET), "{said}");
    tested
}

/// Tests a secret of this provider, made of these fields.
pub(crate) fn sign_in(
    proxied: &Proxied,
    provider: &str,
    fields: &Value,
    more: &Value,
) -> ConnectionTestView {
    proxied.write("probed", fields);
    let mut request = json!({ "secret": "probed", "provider": provider, "allow_internal": true });
    for (member, value) in more.as_object().unwrap() {
        request[member] = value.clone();
    }
    test(proxied, request)
}

/// Why a test is not made at all.
fn refused(proxied: &Proxied, request: Value) -> String {
    let request: TestConnectionRequest = serde_json::from_value(request).unwrap();
    why(block_on(proxied.admin().test_connection(&request)))
}

/// The code of a refusal, the fields and the rules.
fn why(result: Result<ConnectionTestView, ClientError>) -> String {
    let Err(ClientError::Refused(problem)) = result else { panic!("{result:?}") };
    let rules: Vec<String> =
        problem.errors.iter().map(|it| format!("{} {}", it.field, it.rule)).collect();
    format!("{}: {}", problem.code, rules.join(", "))
}

#[test]
fn an_http_service_is_asked_with_the_credential() {
    let proxied = Proxied::start();
    let tested = test(&proxied, json!({ "connection": "echo", "path": "/status/204?x=1" }));
    assert_eq!((tested.verdict.as_str(), tested.status), ("live", Some(204)));
    assert_eq!((tested.service, tested.version), (proxied.service.url(), 1));
    let seen = proxied.service.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/status/204?x=1"));
    assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    for (path, verdict) in
        [("/status/401", "dead"), ("/status/403", "limited"), ("/status/503", "unknown")]
    {
        let tested = test(&proxied, json!({ "connection": "echo", "path": path }));
        assert_eq!(tested.verdict, verdict, "{path}");
    }
    // What is asked is in the audit, and a disabled connection can be tested before it is switched on.
    proxied.change("echo", json!({ "enabled": false }));
    assert_eq!(test(&proxied, json!({ "connection": "echo", "path": "/x" })).verdict, "live");
    let entries = proxied.audit("connection.test");
    assert_eq!(entries.len(), 5, "{entries:?}");
    assert!(entries.iter().all(|it| it["details"]["version"] == 1), "{entries:?}");
    proxied.change("echo", json!({ "base_url": "http://127.0.0.1:9" }));
    let tested = test(&proxied, json!({ "connection": "echo", "path": "/x" }));
    assert_eq!((tested.verdict.as_str(), tested.status), ("unknown", None));
    assert_eq!(tested.detail, "the service cannot be reached");
}

#[test]
fn the_catalogue_knows_what_to_ask_of_a_provider() {
    let proxied = Proxied::start();
    proxied.write("stripe", &json!({ "secret_key": "sk_test_EXAMPLEexampleEXAMPLE00" }));
    let more = json!({ "provider": "stripe", "secret": "stripe" });
    let mut request = serde_json::to_value(proxied.connection("stripe", &more)).unwrap();
    request.as_object_mut().unwrap().remove("inject");
    let request = serde_json::from_value(request).unwrap();
    block_on(proxied.admin().create_connection(&request)).unwrap();
    let tested = test(&proxied, json!({ "connection": "stripe" }));
    assert_eq!((tested.verdict.as_str(), tested.status), ("live", Some(200)), "{tested:?}");
    let seen = proxied.service.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/v1/balance"));
    // Of a connection that is in no catalogue nobody knows.
    let why = refused(&proxied, json!({ "connection": "echo" }));
    assert!(why.contains("path must be given"), "{why}");
}

#[test]
fn what_cannot_be_tested_is_refused_before_anything_is_sent() {
    let proxied = Proxied::start();
    proxied.write("db", &json!({ "connection_url": format!("postgres://app:{PASSWORD}@127.0.0.1:9/x?sslmode=disable") }));
    proxied.write("bank", &json!({ "SFTP_USER": "app", "SFTP_PASSWORD": PASSWORD }));
    for (request, rule) in [
        (json!({}), "connection must be given"),
        (json!({ "connection": "echo", "secret": "db" }), "connection must be given"),
        (json!({ "connection": "nothing" }), "not_found"),
        (json!({ "secret": "nothing", "provider": "redis" }), "secret must exist"),
        (json!({ "secret": "service" }), "provider must be given"),
        (json!({ "secret": "db", "provider": "nobody" }), "provider must be one of the catalogue"),
        (json!({ "secret": "db", "provider": "postgres" }), "allow_plaintext must be true"),
        (json!({ "secret": "db", "provider": "sftp" }), "secret must hold a credential of sftp"),
        (
            json!({ "secret": "bank", "provider": "sftp", "parameters": { "host": "a.example" } }),
            "parameters.host_key",
        ),
        (
            json!({ "secret": "bank", "provider": "sftp", "parameters": { "host": "a.example", "host_key": "MD5:00" } }),
            "parameters.host_key must be the fingerprint",
        ),
        (
            json!({ "secret": "bank", "provider": "stripe" }),
            "secret must hold a credential of stripe",
        ),
    ] {
        let why = refused(&proxied, request.clone());
        assert!(why.contains(rule), "{request}: {why}");
        assert!(!why.contains(PASSWORD), "{why}");
    }
    // An inner address is not called unless that is allowed.
    let request = json!({ "secret": "db", "provider": "postgres", "allow_plaintext": true });
    let tested = test(&proxied, request);
    assert_eq!(tested.verdict, "unknown");
    assert!(tested.detail.contains("--allow-internal"), "{tested:?}");
    // What is stored with a secret says where it goes.
    proxied.write(
        "pinned",
        &json!({ "user": "app", "password": PASSWORD, "host": "a.example",
                                     "host_key": format!("SHA256:{}", "A".repeat(43)) }),
    );
    let elsewhere = json!({ "secret": "pinned", "provider": "sftp", "allow_internal": true,
                            "parameters": { "host": "127.0.0.1" } });
    let why_not = refused(&proxied, elsewhere);
    assert!(why_not.contains("parameters.host must be left out"), "{why_not}");
    // Routes bind the test, too.
    let routes = json!({ "routes": ["GET /status/*"] });
    proxied.connect("narrow", &json!({ "restrictions": routes }));
    let why_not = refused(&proxied, json!({ "connection": "narrow", "path": "/other" }));
    assert!(why_not.contains("path must be one that the connection's routes allow"), "{why_not}");
    // Who may manage connections, and may not read the secret, has it sent nowhere.
    let manager = proxied.make_key(&json!({ "permissions": ["keyreeve.connections.manage"] }));
    let client = proxied.server.client(manager.key.expose());
    proxied.service.forget();
    for request in [
        json!({ "secret": "db", "provider": "postgres" }),
        json!({ "connection": "echo", "path": "/x" }),
    ] {
        let request = serde_json::from_value(request).unwrap();
        let why = why(block_on(client.test_connection(&request)));
        assert!(why.contains("forbidden"), "{why}");
    }
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn postgresql_says_whether_the_password_is_good() {
    let Some(server) = PostgresServer::start_with_password(PASSWORD).unwrap() else { return };
    let proxied = Proxied::start();
    let ask = |url: &str, more: &Value| {
        sign_in(&proxied, "postgres", &json!({ "connection_url": url }), more)
    };
    let plain = json!({ "allow_plaintext": true });
    let good = server.database().unwrap();
    assert_eq!(ask(&good, &plain).verdict, "live", "{:?}", ask(&good, &plain));
    let bad = good.replace(PASSWORD, "EXAMPLE-password-9999");
    assert_eq!(ask(&bad, &plain).verdict, "dead");
    let (server_address, _) = good.rsplit_once('/').unwrap();
    let elsewhere = ask(&format!("{server_address}/no_such_database"), &plain);
    assert_eq!(elsewhere.verdict, "limited", "{elsewhere:?}");
    // What the address demands is demanded, whatever was allowed.
    let demanded = ask(&format!("{good}?sslmode=verify-full"), &plain);
    assert!(demanded.detail.contains("speaks no TLS"), "{demanded:?}");
    let secured = ask(&good, &json!({}));
    assert_eq!(secured.verdict, "unknown");
    assert!(secured.detail.contains("speaks no TLS"), "{secured:?}");
}

#[test]
fn valkey_says_whether_the_password_is_good() {
    let Some(server) = ValkeyServer::start().unwrap() else { return };
    let (_, address) =
        server.url().split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let proxied = Proxied::start();
    let plain = json!({ "allow_plaintext": true });
    let ask = |user: &str| {
        let url = format!("redis://{user}@{address}");
        sign_in(&proxied, "redis", &json!({ "connection_url": url }), &plain)
    };
    let open = ask(&format!(":{PASSWORD}"));
    assert_eq!(open.verdict, "unknown", "{open:?}");
    let admin = TcpStream::connect(address.split('/').next().unwrap()).unwrap();
    write!(
        &admin,
        "ACL SETUSER narrow on >{PASSWORD} +get ~*\r\nCONFIG SET requirepass {PASSWORD}\r\n"
    )
    .unwrap();
    let mut said = BufReader::new(&admin).lines();
    assert_eq!(said.next().unwrap().unwrap(), "+OK");
    assert_eq!(said.next().unwrap().unwrap(), "+OK");
    assert_eq!(ask(&format!(":{PASSWORD}")).verdict, "live");
    assert_eq!(ask(&format!("default:{PASSWORD}")).verdict, "live");
    assert_eq!(ask(&format!("narrow:{PASSWORD}")).verdict, "limited");
    write!(&admin, "ACL SETUSER open on nopass ~* +@all\r\n").unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "+OK");
    let open = ask("open:EXAMPLE-password-9999");
    assert!(open.verdict == "unknown" && open.detail.contains("any password"), "{open:?}");
    assert_eq!(ask(":EXAMPLE-password-9999").verdict, "dead");
}

/// A mail server that knows one user.
fn mail_server(offers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || mail_session(stream, offers));
        }
    });
    port
}

fn mail_session(mut stream: TcpStream, offers: &[&str]) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    stream.write_all(b"220-mail.example.com\r\n220 ESMTP\r\n").ok()?;
    let good = BASE64_STANDARD.encode(format!("\0app@example.com\0{PASSWORD}"));
    let (user, password) =
        (BASE64_STANDARD.encode("app@example.com"), BASE64_STANDARD.encode(PASSWORD));
    let verdict = |is_good: bool| if is_good { "235 2.7.0 welcome" } else { "535 5.7.8 no" };
    while let Some(Ok(line)) = lines.next() {
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("EHLO", _) => {
                let lines: Vec<String> = offers.iter().map(|it| format!("250-{it}\r\n")).collect();
                format!("250-mail.example.com\r\n{}250 8BITMIME", lines.concat())
            }
            ("AUTH", "LOGIN") => {
                stream.write_all(b"334 VXNlcm5hbWU6\r\n").ok()?;
                let first = lines.next()?.ok()?;
                stream.write_all(b"334 UGFzc3dvcmQ6\r\n").ok()?;
                verdict(first == user && lines.next()?.ok()? == password).to_owned()
            }
            ("AUTH", plain) => verdict(plain.strip_prefix("PLAIN ") == Some(&good)).to_owned(),
            ("QUIT", _) => return None,
            _ => "502 5.5.2 no".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
    }
    None
}

#[test]
fn a_mail_server_says_whether_the_password_is_good() {
    let proxied = Proxied::start();
    let plain = |port: u16| {
        let parameters = json!({ "host": "127.0.0.1", "port": port.to_string() });
        json!({ "parameters": parameters, "allow_plaintext": true })
    };
    let good = json!({ "SMTP_USER": "app@example.com", "SMTP_PASSWORD": PASSWORD });
    let bad = json!({ "SMTP_USER": "app@example.com", "SMTP_PASSWORD": "EXAMPLE-password-9999" });
    for offers in [&["AUTH PLAIN LOGIN"][..], &["SIZE 1000", "AUTH LOGIN"]] {
        let port = mail_server(offers);
        let tested = sign_in(&proxied, "smtp", &good, &plain(port));
        assert_eq!(tested.verdict, "live", "{tested:?}");
        assert_eq!(sign_in(&proxied, "smtp", &bad, &plain(port)).verdict, "dead");
    }
    let port = mail_server(&["AUTH PLAIN"]);
    let mut secured = plain(port);
    secured["allow_plaintext"] = json!(false);
    let tested = sign_in(&proxied, "smtp", &good, &secured);
    assert!(tested.verdict == "unknown" && tested.detail.contains("no TLS"), "{tested:?}");
    let tested = sign_in(&proxied, "smtp", &good, &plain(mail_server(&["AUTH GSSAPI"])));
    assert!(tested.verdict == "unknown" && tested.detail.contains("no sign-in"), "{tested:?}");
    // TLS that is offered must be spoken.
    let tested = sign_in(&proxied, "smtp", &good, &plain(mail_server(&["STARTTLS", "AUTH PLAIN"])));
    assert!(tested.verdict == "unknown" && tested.detail.contains("TLS"), "{tested:?}");
}

/// OpenSSH's server, which lets this user in with one key.
struct SshServer {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl SshServer {
    fn start(sshd: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["host", "user", "other"] {
            let path = folder.path().join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&path)
                .status();
            assert!(made.unwrap().success());
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        std::fs::copy(at("user.pub"), at("authorized_keys")).unwrap();
        // Its folder for sessions without rights, which Debian makes when the service starts.
        let _ = std::fs::create_dir_all("/run/sshd");
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication yes\n",
            at("host"),
            at("authorized_keys"),
        );
        std::fs::write(at("config"), config).unwrap();
        let process = Command::new(sshd)
            .args(["-D", "-e", "-f", &at("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        Self { folder, port, process }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// What `ssh-keygen -l` prints of a key.
    fn fingerprint(&self, name: &str) -> String {
        let file = self.folder.path().join(name);
        let printed = Command::new("ssh-keygen").arg("-lf").arg(file).output().unwrap();
        text(&printed.stdout).split(' ').nth(1).unwrap().to_owned()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sshd() -> Option<PathBuf> {
    program("KEYREEVE_SSHD", "sshd")
}

#[test]
fn an_ssh_server_must_show_the_pinned_key_before_anything_is_sent() {
    let Some(sshd) = sshd() else { return };
    let server = SshServer::start(&sshd);
    let proxied = Proxied::start();
    let user = text(&Command::new("id").arg("-un").output().unwrap().stdout).trim().to_owned();
    let ask = |proof: &str, value: &str, host_key: &str| {
        let fields = json!({ "user": user, proof: value });
        let port = server.port.to_string();
        let parameters = json!({ "host": "127.0.0.1", "port": port, "host_key": host_key });
        sign_in(&proxied, "sftp", &fields, &json!({ "parameters": parameters }))
    };
    let pinned = server.fingerprint("host.pub");
    let good = ask("private_key", &server.read("user"), &pinned);
    assert_eq!(good.verdict, "live", "{good:?} {}", server.read("log"));
    assert_eq!(ask("private_key", &server.read("other"), &pinned).verdict, "dead");
    let wrong = ask("password", "EXAMPLE-password-9999", &pinned);
    assert_eq!(wrong.verdict, "dead", "{wrong:?} {}", server.read("log"));
    // Another key is shown: the password does not leave.
    let before = server.read("log");
    let other = ask("password", PASSWORD, &server.fingerprint("other.pub"));
    assert!(other.verdict == "unknown" && other.detail.contains("pinned"), "{other:?}");
    let after = server.read("log").replace(&before, "");
    assert!(!after.contains("password"), "{after}");
}

#[test]
fn the_command_tells_it_with_its_exit_code() {
    let proxied = Proxied::start();
    let run = |arguments: &[&str]| {
        keyreeve()
            .args(["connection", "test"])
            .args(arguments)
            .env("KEYREEVE_URL", &proxied.server.url)
            .env("KEYREEVE_TOKEN", &proxied.installation.admin_key)
            .output()
            .unwrap()
    };
    let good = run(&["echo", "--path", "/x"]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    assert!(text(&good.stdout).contains("live"), "{}", text(&good.stdout));
    let bad = run(&["echo", "--path", "/status/401"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stdout).contains("refuses the credential"), "{}", text(&bad.stdout));
    assert_eq!(run(&[]).status.code(), Some(2));
    // Nothing else was asked of the service.
    assert_eq!(proxied.service.seen().len(), 2);
}
