//! Real nginx and real Caddy in front of a service, set up with the very files of
//! `examples/gateways`.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use keyreeve_api::ReasonRequest;
use reqwest::{Response, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{Installation, PATIENCE, Server, block_on, http};

const SECRET: &str = "gateway-secret-0123456789abcdefghijklmnopqrstuvwxyz";
/// A value that a client makes up and that must get nowhere.
const EVIL: &str = "made-up-by-the-client";
const SPOOFED: [&str; 15] = [
    "x-keyreeve-key-id",
    "x-keyreeve-key-name",
    "x-keyreeve-owner",
    "x-keyreeve-roles",
    "x-keyreeve-permissions",
    "x-keyreeve-permissions-truncated",
    "x-keyreeve-environment",
    "x-keyreeve-keyspace",
    "x-keyreeve-project",
    "x-keyreeve-verdict",
    "x-keyreeve-require",
    "x-keyreeve-gateway-secret",
    "x-auth-status",
    "x_keyreeve_owner",
    "x_keyreeve_key_id",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gateway {
    Nginx,
    Caddy,
}

impl Gateway {
    /// The program; `None`, said loudly, where it is not installed.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let (name, variable, usual) = match self {
            Self::Nginx => ("nginx", "KEYREEVE_NGINX", PathBuf::from("/usr/sbin/nginx")),
            Self::Caddy => ("caddy", "KEYREEVE_CADDY", root.join("target/peers/venv/bin/caddy")),
        };
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|folder| folder.join(name));
        let told = env::var_os(variable).map(PathBuf::from);
        let found = told.into_iter().chain(on_path).chain([usual]).find(|path| path.is_file());
        if found.is_none() {
            let required = env::var_os("KEYREEVE_REQUIRE_PEERS").is_some_and(|value| value == "1");
            assert!(!required, "{name} is required and not installed");
            // Not by a macro: the test runner keeps what those print to itself.
            let _ = writeln!(std::io::stderr(), "\nSKIPPED: {name} is not installed\n");
        }
        found
    }
}

/// The text of an example with its placeholders filled in.
fn filled_in(example: &str, places: &[(&str, &str)]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gateways");
    let mut text = fs::read_to_string(folder.join(example)).unwrap();
    for (placeholder, value) in places {
        assert!(text.contains(placeholder), "{example} lacks {placeholder}");
        text = text.replace(placeholder, value);
    }
    text
}

/// The service behind the gateway: answers with the head of the request it got.
struct Service {
    address: String,
    served: Arc<AtomicUsize>,
}

impl Service {
    /// Serves until the test ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&served);
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(&connection);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                counter.fetch_add(1, Ordering::SeqCst);
                let length = head.len();
                let _ = write!(
                    &connection,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{head}"
                );
            }
        });
        Self { address, served }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

/// A running gateway. Killed when dropped.
struct Front {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a gateway is set up.
#[derive(Clone, Copy)]
struct Setup<'a> {
    gateway: Gateway,
    program: &'a Path,
    /// `http://` and address of Keyreeve.
    keyreeve: &'a str,
    service: &'a Service,
    secret: &'a str,
    /// What a key must grant.
    require: Option<&'a str>,
}

impl Front {
    fn start(setup: Setup<'_>) -> Self {
        // Somebody else may take the port before the gateway does.
        for _ in 0..5 {
            if let Some(front) = Self::try_start(setup) {
                return front;
            }
        }
        panic!("{:?} did not start", setup.gateway);
    }

    fn try_start(setup: Setup<'_>) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = match setup.gateway {
            Gateway::Nginx => nginx(setup, folder.path(), &free),
            Gateway::Caddy => caddy(setup, folder.path(), &free),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let step = Duration::from_millis(20);
        for _ in 0..PATIENCE.as_millis() / step.as_millis() {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(&free).is_ok() {
                return Some(Self { child, url: format!("http://{free}"), _folder: folder });
            }
            thread::sleep(step);
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Response {
        let mut request = http().get(format!("{}/v1/things%20here?page=2", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get_with_key(&self, key: &str) -> Response {
        self.get(&[("x-api-key", key)]).await
    }
}

fn nginx(setup: Setup<'_>, folder: &Path, listen: &str) -> Command {
    let secret = folder.join("secret.conf");
    fs::write(&secret, format!("set $keyreeve_secret \"{}\";\n", setup.secret)).unwrap();
    // Places to write to, for users who may not write to those of the package.
    let mut places = "access_log off;".to_owned();
    for part in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        places.push_str(&format!("\n    {part}_temp_path {}/{part};", folder.display()));
    }
    let keyreeve = setup.keyreeve.trim_start_matches("http://");
    let mut text = filled_in(
        "nginx.conf",
        &[
            ("access_log off;", &places),
            ("server 127.0.0.1:7420;", &format!("server {keyreeve};")),
            ("server 127.0.0.1:3000;", &format!("server {};", setup.service.address)),
            ("listen 127.0.0.1:8080;", &format!("listen {listen};")),
            ("/etc/nginx/keyreeve-secret.conf", secret.to_str().unwrap()),
        ],
    );
    if let Some(require) = setup.require {
        let placeholder = "set $keyreeve_require \"\";";
        assert!(text.contains(placeholder));
        text = text.replace(placeholder, &format!("set $keyreeve_require \"{require}\";"));
    }
    let file = folder.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let log = folder.join("error.log");
    let mut command = Command::new(setup.program);
    command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg(&log).arg("-g").arg(format!(
        "daemon off; master_process off; pid {}/pid; error_log {};",
        folder.display(),
        log.display()
    ));
    command
}

fn caddy(setup: Setup<'_>, folder: &Path, listen: &str) -> Command {
    let site = format!("http://{listen}");
    let mut text = filled_in("Caddyfile", &[("http://127.0.0.1:8080", &site)]);
    if let Some(require) = setup.require {
        let placeholder = "\t\timport keyreeve\n";
        assert!(text.contains(placeholder));
        let block = format!(
            "\t\timport keyreeve {{\n\t\t\theader_up X-Keyreeve-Require \"{require}\"\n\t\t}}\n"
        );
        text = text.replace(placeholder, &block);
    }
    let file = folder.join("Caddyfile");
    // The options of the whole program stand first; the port of the admin API is not ours.
    fs::write(&file, format!("{{\n\tadmin off\n}}\n{text}")).unwrap();
    let mut command = Command::new(setup.program);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command.env("KEYREEVE_GATEWAY_SECRET", setup.secret);
    command.env("KEYREEVE_ADDRESS", setup.keyreeve.trim_start_matches("http://"));
    command.env("SERVICE_ADDRESS", &setup.service.address);
    command
}

/// An installation that answers gateways, and keys in it.
struct Keyreeve {
    installation: Installation,
    server: Server,
}

impl Keyreeve {
    fn start() -> Self {
        let installation = Installation::new();
        let secret = installation.folder.path().join("gateway-secret");
        fs::write(&secret, SECRET).unwrap();
        let setting = format!("file:{}", secret.display());
        let server = installation.serve_with(&[("KEYREEVE_AUTHZ__SECRET", &setting)]);
        Self { installation, server }
    }

    /// Makes a key and gives its text and its id.
    async fn make(&self, body: Value) -> (String, String) {
        let request = http().post(format!("{}/api/v1/api-keys", self.server.url));
        let request = request.bearer_auth(&self.installation.admin_key).json(&body);
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        let made: Value = response.json().await.unwrap();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("key"), text("id"))
    }
}

/// The values that a header had at the service.
fn values(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let wanted = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    wanted.map(|(_, value)| value.trim().to_owned()).collect()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

async fn a_good_key_arrives_as_an_identity(front: &Front, keyreeve: &Keyreeve) {
    let owned = json!({ "name": "owned", "owner": "acme", "permissions": ["documents.read"] });
    let (key, id) = keyreeve.make(owned).await;
    let bearer = format!("Bearer {key}");
    for (name, value) in [("authorization", bearer.as_str()), ("x-api-key", &key)] {
        let response = front.get(&[(name, value)]).await;
        assert_eq!(response.status(), 200);
        let head = response.text().await.unwrap();
        assert!(head.starts_with("GET /v1/things%20here?page=2 HTTP/1."), "{head}");
        assert_eq!(values(&head, "x-keyreeve-key-id"), [id.as_str()], "{head}");
        assert_eq!(values(&head, "x-keyreeve-key-name"), ["owned"]);
        assert_eq!(values(&head, "x-keyreeve-owner"), ["acme"]);
        assert_eq!(values(&head, "x-keyreeve-permissions"), ["documents.read"]);
        assert_eq!(values(&head, "x-keyreeve-project"), ["default"]);
        assert!(!head.contains(&key), "the key went on");
        assert!(!head.contains(SECRET), "the gateway's secret went on");
    }
}

async fn made_up_headers_get_nowhere(front: &Front, keyreeve: &Keyreeve) {
    // No owner, no roles, no permissions: nothing replaces what the client made up.
    let (key, id) = keyreeve.make(json!({ "name": "bare" })).await;
    let mut headers = vec![("x-api-key", key.as_str())];
    headers.extend(SPOOFED.map(|name| (name, EVIL)));
    let response = front.get(&headers).await;
    assert_eq!(response.status(), 200);
    let head = response.text().await.unwrap();
    assert!(!head.contains(EVIL), "{head}");
    assert_eq!(values(&head, "x-keyreeve-key-id"), [id.as_str()]);
    assert!(values(&head, "x-keyreeve-owner").concat().is_empty(), "{head}");

    // A client cannot have a header dropped on the way either.
    let dropping = [("x-api-key", key.as_str()), ("connection", "close, x-keyreeve-key-id")];
    let response = front.get(&dropping).await;
    if response.status() == 200 {
        let head = response.text().await.unwrap();
        assert_eq!(values(&head, "x-keyreeve-key-id"), [id.as_str()], "{head}");
    } else {
        assert_eq!(response.status(), 400);
    }
}

async fn without_one_good_key_nothing_passes(
    front: &Front,
    keyreeve: &Keyreeve,
    service: &Service,
) {
    let (key, _) = keyreeve.make(json!({ "name": "twice" })).await;
    let before = service.served();
    let response = front.get(&[]).await;
    assert_eq!(response.status(), 401);
    assert_eq!(text(response.headers(), "www-authenticate"), "Bearer realm=\"keyreeve\"");

    let response = front.get_with_key("no-key-at-all").await;
    assert_eq!(response.status(), 401);
    let challenge = text(response.headers(), "www-authenticate");
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(response.headers().get_all("www-authenticate").iter().count(), 1);

    let bearer = format!("Bearer {key}");
    let response = front.get(&[("x-api-key", &key), ("authorization", &bearer)]).await;
    assert_eq!(response.status(), 400);
    assert_eq!(service.served(), before);
}

async fn a_limit_reaches_the_client(front: &Front, keyreeve: &Keyreeve, service: &Service) {
    let limited = json!({ "name": "g", "limits": [{ "name": "burst", "rate": "2/1h" }] });
    let (key, _) = keyreeve.make(limited).await;
    for remaining in ["1", "0"] {
        let response = front.get_with_key(&key).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response.headers(), "x-ratelimit-remaining"), remaining);
        assert_eq!(text(response.headers(), "ratelimit-policy"), "\"burst\";q=2;w=3600");
    }
    let before = service.served();
    let response = front.get_with_key(&key).await;
    assert_eq!(response.status(), 429);
    let headers = response.headers();
    let seconds: u64 = text(headers, "retry-after").parse().unwrap();
    assert!((1..=1800).contains(&seconds), "{seconds}");
    assert!(text(headers, "ratelimit").starts_with("\"burst\";r=0;t="), "{headers:?}");
    assert_eq!(text(headers, "content-type"), "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], 429);
    assert_eq!(service.served(), before);
}

async fn a_revoked_key_fails_at_once(front: &Front, keyreeve: &Keyreeve, service: &Service) {
    let (key, id) = keyreeve.make(json!({ "name": "short" })).await;
    assert_eq!(front.get_with_key(&key).await.status(), 200);
    let admin = keyreeve.server.client(&keyreeve.installation.admin_key);
    admin.revoke_api_key(&id, &ReasonRequest { reason: Some("test".into()) }).await.unwrap();
    let before = service.served();
    assert_eq!(front.get_with_key(&key).await.status(), 401);
    assert_eq!(service.served(), before);
}

async fn a_requirement_binds(setup: Setup<'_>, keyreeve: &Keyreeve) {
    let front = Front::start(Setup { require: Some("documents.read"), ..setup });
    let granting = json!({ "name": "reader", "permissions": ["documents.read"] });
    let (reader, _) = keyreeve.make(granting).await;
    let (other, _) = keyreeve.make(json!({ "name": "other" })).await;
    assert_eq!(front.get_with_key(&reader).await.status(), 200);
    let before = setup.service.served();
    for headers in [
        &[("x-api-key", other.as_str())][..],
        // The client has no say in what is required.
        &[("x-api-key", other.as_str()), ("x-keyreeve-require", "other.read")],
        &[("x-api-key", other.as_str()), ("connection", "x-keyreeve-require")],
    ] {
        let response = front.get(headers).await;
        assert!([400, 403].contains(&response.status().as_u16()), "{headers:?}");
        if response.status() == 403 {
            let challenge = text(response.headers(), "www-authenticate");
            assert!(challenge.contains("scope=\"documents.read\""), "{challenge}");
        }
    }
    assert_eq!(setup.service.served(), before);
}

async fn a_wrong_secret_lets_nothing_pass(setup: Setup<'_>, key: &str) {
    for secret in ["wrong", ""] {
        let front = Front::start(Setup { secret, ..setup });
        let before = setup.service.served();
        // The client knowing the secret does not help.
        for headers in [
            &[("x-api-key", key)][..],
            &[("x-api-key", key), ("x-keyreeve-gateway-secret", SECRET)],
        ] {
            let status = front.get(headers).await.status().as_u16();
            assert_eq!(status, 403, "{secret:?}");
        }
        assert_eq!(setup.service.served(), before);
    }
}

/// Everything, through one gateway.
fn through(gateway: Gateway) {
    let Some(program) = gateway.program() else {
        return;
    };
    let keyreeve = Keyreeve::start();
    let service = Service::start();
    let url = keyreeve.server.url.clone();
    let setup = Setup {
        gateway,
        program: &program,
        keyreeve: url.trim_end_matches('/'),
        service: &service,
        secret: SECRET,
        require: None,
    };
    let front = Front::start(setup);
    block_on(async {
        a_good_key_arrives_as_an_identity(&front, &keyreeve).await;
        made_up_headers_get_nowhere(&front, &keyreeve).await;
        without_one_good_key_nothing_passes(&front, &keyreeve, &service).await;
        a_limit_reaches_the_client(&front, &keyreeve, &service).await;
        a_revoked_key_fails_at_once(&front, &keyreeve, &service).await;
        a_requirement_binds(setup, &keyreeve).await;
        let (key, _) = keyreeve.make(json!({ "name": "last" })).await;
        a_wrong_secret_lets_nothing_pass(setup, &key).await;

        assert_eq!(front.get_with_key(&key).await.status(), 200);
        keyreeve.server.kill();
        let before = service.served();
        let status = front.get_with_key(&key).await.status();
        assert!(status.is_server_error(), "{status}");
        assert_eq!(service.served(), before);
    });
}

#[test]
fn nginx_lets_only_good_keys_pass() {
    through(Gateway::Nginx);
}

#[test]
fn caddy_lets_only_good_keys_pass() {
    through(Gateway::Caddy);
}
