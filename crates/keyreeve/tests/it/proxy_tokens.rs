//! Tokens that the proxy mints: with an issuer and a service on this machine.

use std::{
    io::{BufRead, BufReader, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use futures_util::future::join_all;
use keyreeve_api::CreateConnectionRequest;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    support::{Installation, PATIENCE, Server, block_on, http, problem, run_json},
    vault::call,
};

const CLIENT_ID: &str = "shop:1";
const CLIENT_SECRET: &str = "canary of a client/secret";
/// Stands in what the issuer says besides.
const TALK: &str = "canary-of-the-issuers-own-words";

fn token(number: u64) -> String {
    format!("canary-of-a-minted-token-{number:04}")
}

/// A request as it came.
#[derive(Clone)]
struct Came {
    path: String,
    authorization: String,
    body: String,
}

/// Gives out tokens, and takes them.
#[derive(Default)]
struct Fake {
    /// How many tokens were given out.
    minted: AtomicU64,
    /// How long they live.
    life_s: AtomicU64,
    /// The issuer breaks off.
    is_down: AtomicBool,
    /// The issuer refuses whoever asks.
    refuses: AtomicBool,
    /// The only token that the service takes; any if 0.
    taken: AtomicU64,
    /// What the issuer was sent last.
    asked: Mutex<Option<Came>>,
}

impl Fake {
    /// What is answered; `None` breaks off.
    fn answer(&self, came: &Came) -> Option<(u16, Value)> {
        if came.path == "/token" { self.issue(came) } else { Some(self.serve(came)) }
    }

    fn issue(&self, came: &Came) -> Option<(u16, Value)> {
        *self.asked.lock() = Some(came.clone());
        if self.is_down.load(Ordering::SeqCst) {
            return None;
        }
        if self.refuses.load(Ordering::SeqCst) {
            let error = json!({ "error": "invalid_client", "error_description": TALK });
            return Some((401, error));
        }
        // Calls that come meanwhile wait for this one.
        thread::sleep(Duration::from_millis(300));
        let number = self.minted.fetch_add(1, Ordering::SeqCst) + 1;
        let life = self.life_s.load(Ordering::SeqCst);
        let answer = json!({
            "access_token": token(number),
            "token_type": "Bearer",
            "expires_in": life,
            "note": TALK,
        });
        Some((200, answer))
    }

    /// Repeats everything that it should not.
    fn serve(&self, came: &Came) -> (u16, Value) {
        let shown = came.authorization.strip_prefix("Bearer ").unwrap_or_default();
        let given = 1..=self.minted.load(Ordering::SeqCst);
        let mut taken = given.filter(|number| token(*number) == shown);
        let is_taken = match (taken.next(), self.taken.load(Ordering::SeqCst)) {
            (None, _) => false,
            (Some(_), 0) => true,
            (Some(number), only) => number == only,
        };
        let answer = json!({ "shown": shown, "secret": CLIENT_SECRET, "sent": came.body });
        (if is_taken { 200 } else { 401 }, answer)
    }

    fn minted(&self) -> u64 {
        self.minted.load(Ordering::SeqCst)
    }
}

fn read(reader: &mut impl BufRead) -> Option<Came> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut authorization, mut size) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.clone_into(&mut authorization),
            "content-length" => size = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; size];
    reader.read_exact(&mut body).ok()?;
    Some(Came { path, authorization, body: String::from_utf8(body).ok()? })
}

/// Serves on a port of its own, until the process ends.
fn listen(fake: &Arc<Fake>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fake = fake.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let fake = fake.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(came) = read(&mut reader) {
                    let Some((status, body)) = fake.answer(&came) else { break };
                    let body = body.to_string();
                    let size = body.len();
                    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {size}");
                    let kind = "content-type: application/json";
                    let answer = format!("{head}\r\n{kind}\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// A server with a connection to the service.
struct World {
    /// Keeps the folder.
    _installation: Installation,
    server: Server,
    key: String,
    fake: Arc<Fake>,
    http: reqwest::Client,
}

impl World {
    /// With a client's credential, and tokens that live this long.
    fn new(life_s: u64) -> Self {
        Self::with(life_s, |url| {
            let inject = json!({
                "kind": "oauth2_client",
                "token_url": format!("{url}/token"),
                "client_id": "{client_id}",
                "client_secret": "{client_secret}",
                "client_auth": "basic",
                "scope": "read write",
            });
            (inject, json!({ "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET }))
        })
    }

    /// `made` gives how the credential goes in, and the credential, from where the issuer is.
    fn with(life_s: u64, made: impl FnOnce(&str) -> (Value, Value)) -> Self {
        let fake = Arc::new(Fake::default());
        fake.life_s.store(life_s, Ordering::SeqCst);
        let url = listen(&fake);
        let (inject, fields) = made(&url);
        let installation = Installation::new();
        let server = installation.serve();
        let admin = &installation.admin_key;
        block_on(async {
            let body = json!({ "data": fields });
            let path = "secret/data/production/api";
            let (status, said) = call(&server.url, admin, "PUT", path, Some(&body)).await;
            assert_eq!(status, 200, "{said}");
            let request = CreateConnectionRequest {
                name: Some("api".to_owned()),
                secret: Some("production/api".to_owned()),
                base_url: Some(url),
                inject: Some(inject),
                allow_internal: Some(true),
                allow_plaintext: Some(true),
                ..CreateConnectionRequest::default()
            };
            server.client(admin).create_connection(&request).await.unwrap();
        });
        let permission = "keyreeve.connections.api.call";
        let arguments = ["key", "create", "--name", "app", "--permission", permission];
        let key = run_json(&arguments, &server.data_dir)["key"].as_str().unwrap().to_owned();
        Self { _installation: installation, server, key, fake, http: http() }
    }

    async fn send(&self, body: Option<&'static str>) -> reqwest::Response {
        let url = format!("{}/proxy/api/v1/things", self.server.url);
        let request = match body {
            Some(body) => self.http.post(url).body(body),
            None => self.http.get(url),
        };
        request.header("x-keyreeve-key", &self.key).send().await.unwrap()
    }

    /// The status and what was answered, which tells nothing that it must not.
    async fn call(&self, body: Option<&'static str>) -> (u16, String) {
        let response = self.send(body).await;
        let status = response.status().as_u16();
        let said = response.text().await.unwrap();
        assert!(!said.contains("canary"), "{said}");
        (status, said)
    }

    async fn status(&self) -> u16 {
        self.call(None).await.0
    }

    /// Whether the server's log tells nothing that it must not; gives it.
    fn end(self) -> String {
        let log = self.server.stop();
        assert!(!log.contains("canary"), "{log}");
        log
    }
}

#[test]
fn one_token_serves_many_calls() {
    let world = World::new(3_600);
    block_on(async {
        let all = join_all((0..50).map(|_| world.call(None))).await;
        for (status, said) in all {
            assert_eq!(status, 200, "{said}");
            assert!(said.contains("****"), "{said}");
        }
        assert_eq!(world.fake.minted(), 1, "one mints, the others wait");
        assert_eq!(world.call(Some("a body")).await.0, 200);
        assert_eq!(world.fake.minted(), 1, "it is kept");
    });
    let asked = world.fake.asked.lock().clone().unwrap();
    assert_eq!(asked.body, "grant_type=client_credentials&scope=read%20write");
    let pair = BASE64_STANDARD.encode("shop%3A1:canary%20of%20a%20client%2Fsecret");
    assert_eq!(asked.authorization, format!("Basic {pair}"));
    world.end();
}

#[test]
fn a_token_is_minted_anew_before_it_ends() {
    let world = World::new(5);
    block_on(async {
        assert_eq!(world.status().await, 200);
        tokio::time::sleep(Duration::from_millis(4_200)).await;
        // The old one goes on meanwhile.
        for _ in 0..PATIENCE.as_secs() * 5 {
            assert_eq!(world.status().await, 200);
            if world.fake.minted() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(world.fake.minted(), 2);
        world.fake.taken.store(2, Ordering::SeqCst);
        assert_eq!(world.status().await, 200, "the new one is used");
        assert_eq!(world.fake.minted(), 2);
    });
    world.end();
}

#[test]
fn a_token_that_the_service_refuses_is_replaced_once() {
    let world = World::new(3_600);
    block_on(async {
        assert_eq!(world.status().await, 200);
        world.fake.taken.store(2, Ordering::SeqCst);
        let all = join_all((0..10).map(|_| world.status())).await;
        assert_eq!(all, [200; 10], "sent again with the next one");
        assert_eq!(world.fake.minted(), 2);
        world.fake.taken.store(99, Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(world.status().await, 401, "the service's own answer");
        }
        assert_eq!(world.fake.minted(), 2, "not for every call");
    });
    world.end();
}

#[test]
fn a_body_that_is_gone_is_not_sent_again() {
    let world = World::new(3_600);
    block_on(async {
        assert_eq!(world.call(Some("one")).await.0, 200);
        world.fake.taken.store(2, Ordering::SeqCst);
        assert_eq!(world.call(Some("two")).await.0, 401);
        assert_eq!(world.fake.minted(), 2);
        let (status, said) = world.call(Some("three")).await;
        assert_eq!((status, said.contains("three")), (200, true), "{said}");
        assert_eq!(world.fake.minted(), 2);
    });
    world.end();
}

#[test]
fn a_token_outlives_its_issuer_until_it_ends() {
    let world = World::new(10);
    block_on(async {
        assert_eq!(world.status().await, 200);
        world.fake.is_down.store(true, Ordering::SeqCst);
        // Past four fifths of its life.
        tokio::time::sleep(Duration::from_millis(8_200)).await;
        assert_eq!(world.status().await, 200);
        let mut last = 200;
        for _ in 0..PATIENCE.as_secs() * 10 {
            last = world.status().await;
            if last != 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(last, 503);
        let (_, code, _) = problem(world.send(None).await).await;
        assert_eq!(code, "credential_unavailable");
        world.fake.is_down.store(false, Ordering::SeqCst);
        // The failure is remembered for a second.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(world.status().await, 200);
        assert_eq!(world.fake.minted(), 2);
    });
    world.end();
}

#[test]
fn an_issuer_that_refuses_is_not_quoted() {
    let world = World::new(3_600);
    world.fake.refuses.store(true, Ordering::SeqCst);
    block_on(async {
        let (status, said) = world.call(None).await;
        assert_eq!(status, 503, "{said}");
        assert!(said.contains("the issuer of its tokens refuses it"), "{said}");
        world.fake.refuses.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(world.status().await, 200);
    });
    let log = world.end();
    assert!(log.contains("invalid_client"), "{log}");
}

#[test]
fn a_service_account_signs_for_its_token() {
    let key = rcgen::KeyPair::generate().unwrap();
    let world = World::with(3_600, |url| {
        let inject = json!({
            "kind": "oauth2_jwt",
            "token_url": "",
            "service_account": "{service_account}",
            "scope": "read",
        });
        let file = json!({
            "client_email": "app@project.example",
            "private_key": key.serialize_pem(),
            "private_key_id": "key-1",
            "token_uri": format!("{url}/token"),
        });
        (inject, json!({ "service_account": file.to_string() }))
    });
    // The service repeats a secret that is not this connection's, which nobody looks for here.
    assert_eq!(block_on(world.send(None)).status(), 200);
    let asked = world.fake.asked.lock().clone().unwrap();
    assert_eq!(asked.authorization, "");
    let kind = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let assertion = asked.body.strip_prefix(kind).unwrap();
    let parts: Vec<&str> = assertion.split('.').collect();
    let part = |number: usize| -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(parts[number]).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({ "alg": "ES256", "typ": "JWT", "kid": "key-1" }));
    let claims = part(1);
    assert_eq!(claims["iss"], "app@project.example");
    assert!(claims["aud"].as_str().unwrap().ends_with("/token"), "{claims}");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3_600);
    assert_eq!(parts.len(), 3);
    world.end();
}

#[test]
fn tokens_are_asked_for_over_tls_unless_it_is_allowed() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = &installation.admin_key;
    block_on(async {
        let body = json!({ "data": { "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET } });
        let path = "secret/data/production/api";
        assert_eq!(call(&server.url, admin, "PUT", path, Some(&body)).await.0, 200);
        for token_url in ["http://id.example.com/token", "https://user@id.example.com/token"] {
            let request = json!({
                "name": "api",
                "secret": "production/api",
                "base_url": "https://api.example.com",
                "inject": {
                    "kind": "oauth2_client",
                    "token_url": token_url,
                    "client_id": "{client_id}",
                    "client_secret": "{client_secret}",
                    "client_auth": "body",
                },
            });
            let url = format!("{}/api/v1/connections", server.url);
            let response = http().post(url).bearer_auth(admin).json(&request).send().await.unwrap();
            let (status, _, fields) = problem(response).await;
            assert_eq!(status, 400, "{fields:?}");
            assert!(fields[0].starts_with("inject.token_url: "), "{fields:?}");
        }
    });
}
