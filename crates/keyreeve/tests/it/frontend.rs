//! The example with a page, started as its guide says, in a real Chromium: the page works, and no key
//! of a provider and no key of the team reaches the browser.

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

use crate::{
    support::{PATIENCE, block_on, http, run_json, text},
    vault_clients::program,
};

/// How long the example may take to start, and the driver to use it, which gives up by itself before.
const LONG_PATIENCE: Duration = Duration::from_secs(150);
/// How often somebody looks whether a program has ended.
const STEP: Duration = Duration::from_millis(50);
/// What the example prints once everything serves.
const READY: &str = "Open the page";
/// What the driver has found and sent.
const ADDRESS: &str = "120 Float Street";
const MESSAGE: &str = "Your parcel waits at Port Null.";

/// A program in a group of its own, which ends with all that it started.
struct Group(Child);

impl Group {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).stdin(Stdio::null()).spawn().unwrap())
    }

    /// How it ended, if it did in time.
    fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        for _ in 0..patience.as_millis() / STEP.as_millis() {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            thread::sleep(STEP);
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The running example.
struct Example {
    group: Group,
    /// What it printed: where the page is, Keyreeve, the desks of the providers.
    addresses: HashMap<String, String>,
    folder: tempfile::TempDir,
}

impl Example {
    /// Starts it; `None`, loudly, where there is no Python.
    fn start() -> Option<Self> {
        if !has_python() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let errors = fs::File::create(folder.path().join("errors")).unwrap();
        let mut command = Command::new(repository().join("examples/frontend/run.sh"));
        command.arg(folder.path().join("run")).env("KEYREEVE", env!("CARGO_BIN_EXE_keyreeve"));
        command.env_remove("PORT").stdout(Stdio::piped()).stderr(errors);
        let mut group = Group::start(&mut command);
        let output = group.0.stdout.take().unwrap();
        let (found, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = found.send(line);
            }
        });
        let mut addresses = HashMap::new();
        loop {
            let Ok(line) = lines.recv_timeout(LONG_PATIENCE) else {
                let errors = fs::read_to_string(folder.path().join("errors")).unwrap();
                panic!("the example does not start: {errors}");
            };
            if line.starts_with(READY) {
                return Some(Self { group, addresses, folder });
            }
            if let Some((name, address)) = line.split_once(' ') {
                addresses.insert(name.to_owned(), address.trim().to_owned());
            }
        }
    }

    /// Where something serves, without a slash at the end.
    fn address(&self, name: &str) -> &str {
        self.addresses[name].trim_end_matches('/')
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    /// A key that the example put into a file.
    fn key(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap().trim().to_owned()
    }

    /// What a provider did.
    fn desk(&self, name: &str) -> Value {
        block_on(async {
            http().get(self.address(name)).send().await.unwrap().json().await.unwrap()
        })
    }

    /// Uses the page in Chromium; gives what the browser got to see, as text.
    fn drive(&self, chromium: &Path, profile: &Path) -> String {
        let (told, errors) = (self.folder.path().join("told"), self.folder.path().join("said"));
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/frontend/drive.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(driver).arg(chromium).arg(&self.addresses["page"]).arg(profile);
        command.env("HOME", profile).stdout(fs::File::create(&told).unwrap());
        command.stderr(fs::File::create(&errors).unwrap());
        let ended = Group::start(&mut command).ended_within(LONG_PATIENCE);
        let said = fs::read_to_string(errors).unwrap();
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {said}");
        fs::read_to_string(told).unwrap()
    }

    /// Asks it to end: nothing of it is left.
    fn end(mut self) {
        kill_process(Pid::from_child(&self.group.0), Signal::TERM).unwrap();
        assert!(self.group.ended_within(PATIENCE).is_some(), "does not end");
        for name in ["page", "keyreeve", "maps", "sms"] {
            let address = self.address(name).trim_start_matches("http://");
            let address = address.split('/').next().unwrap();
            assert!(TcpStream::connect(address).is_err(), "{name} still serves");
        }
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn has_python() -> bool {
    let asked = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    let found = asked.is_ok_and(|status| status.success());
    if !found {
        let required = env::var_os("KEYREEVE_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "python3 is required and not installed");
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: python3 is not installed\n");
    }
    found
}

/// How a key may be written: as it is, in hexadecimal, percent-encoded, and in Base64 wherever it
/// stands in what was encoded.
fn spellings(key: &str) -> Vec<String> {
    let (mut hex, mut percent) = (String::new(), String::new());
    for byte in key.bytes() {
        hex.push_str(&format!("{byte:02x}"));
        percent.push_str(&format!("%{byte:02X}"));
    }
    let mut all = vec![key.to_owned(), key.replace('-', "%2D"), key.replace('-', "%2d")];
    all.extend([hex.to_uppercase(), hex, percent.to_lowercase(), percent]);
    for before in 0..3 {
        let whole = [vec![0; before], key.as_bytes().to_vec()].concat();
        let encoded = BASE64_STANDARD_NO_PAD.encode(&whole);
        // The signs at both ends depend on what stands beside the key.
        let end = encoded.len() - usize::from(whole.len() % 3 != 0);
        let inside = encoded[[0, 2, 3][before]..end].to_owned();
        all.extend([inside.replace('+', "-").replace('/', "_"), inside]);
    }
    all
}

/// Looks for many texts at once, fast enough for a browser's memory.
struct Search(HashMap<[u8; 2], Vec<String>>);

impl Search {
    fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let mut by_start: HashMap<[u8; 2], Vec<String>> = HashMap::new();
        for text in texts {
            by_start.entry([text.as_bytes()[0], text.as_bytes()[1]]).or_default().push(text);
        }
        Self(by_start)
    }

    /// How many of them there are.
    fn count(&self, haystack: &[u8]) -> usize {
        let mut starts = vec![false; 1 << 16];
        for start in self.0.keys() {
            starts[usize::from(u16::from_be_bytes(*start))] = true;
        }
        let mut hits = 0;
        for (at, pair) in haystack.windows(2).enumerate() {
            if starts[usize::from(u16::from_be_bytes([pair[0], pair[1]]))] {
                let texts = &self.0[&[pair[0], pair[1]]];
                let rest = &haystack[at..];
                hits += texts.iter().filter(|text| rest.starts_with(text.as_bytes())).count();
            }
        }
        hits
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let found = entries.flat_map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    found.collect()
}

#[test]
fn a_key_is_found_however_it_is_written() {
    let search = Search::new(spellings("map-5f0c2e7b91"));
    for said in ["?key=map-5f0c2e7b91&", "map%2D5f0c2e7b91", "6d61702d35663063326537623931"] {
        assert_eq!(search.count(said.as_bytes()), 1, "{said}");
    }
    for before in ["", "a", "ab", "acct:"] {
        let basic = BASE64_STANDARD_NO_PAD.encode(format!("{before}map-5f0c2e7b91, and so on"));
        assert!(search.count(basic.as_bytes()) > 0, "{before}");
    }
    assert_eq!(search.count(b"map-5f0c2e7b90"), 0);
}

#[test]
fn no_key_reaches_the_browser() {
    let Some(chromium) = program("KEYREEVE_CHROMIUM", "/usr/bin/chromium") else { return };
    let Some(example) = Example::start() else { return };
    let profile = example.folder.path().join("profile");
    fs::create_dir(&profile).unwrap();
    let told = example.drive(&chromium, &profile);
    let seen: Value = serde_json::from_str(&told).unwrap();

    // The page works.
    assert!(seen["tiles"]["first"].as_u64().unwrap() >= 4, "{}", seen["tiles"]);
    assert!(seen["tiles"]["last"].as_u64().unwrap() >= 4, "{}", seen["tiles"]);
    assert!(seen["found"].as_str().unwrap().starts_with(ADDRESS), "{}", seen["found"]);
    assert!(seen["receipt"].as_str().unwrap().contains("accepted"), "{}", seen["receipt"]);
    let desk = example.desk("maps");
    assert!(desk["tiles"].as_u64() >= seen["tiles"]["last"].as_u64(), "{desk}");
    assert_eq!((&desk["geocodes"], &desk["refused"]), (&json!(1), &json!(0)));
    assert_eq!(desk["messages"].as_array().unwrap().len(), 1);
    assert_eq!(desk["messages"][0]["to"], "+447700900123");
    assert_eq!(desk["messages"][0]["text"], MESSAGE);

    // It keeps nothing, and nothing went wrong on its console.
    let nothing = json!({ "local": {}, "session": {}, "cookie": "", "databases": [], "caches": [],
                          "workers": 0, "name": "" });
    assert_eq!(seen["stored"], nothing);
    assert_eq!((&seen["cookies"], &seen["console"]), (&json!([]), &json!([])));

    // What the browser got to see is all there: its own token, and what the services repeated.
    let memory = fs::read(profile.join("heap")).unwrap();
    let token = told.split('"').find(|word| word.starts_with("krc_")).unwrap();
    let token = Search::new([token.trim_end_matches('\\').to_owned()]);
    assert!(token.count(told.as_bytes()) > 10 && token.count(&memory) > 0);
    for repeated in ["you_asked", "you_sent", "x-you-asked"] {
        assert!(told.contains(repeated), "{repeated}");
    }

    // No key is among it, however it is written.
    let keys = ["maps.key", "sms.account", "sms.token", "backend.key"];
    let keys = keys.map(|name| spellings(&example.key(name)));
    let keys = Search::new(keys.into_iter().flatten());
    assert_eq!(keys.count(told.as_bytes()), 0);
    let files = files(&profile);
    assert!(files.len() > 10);
    for file in files {
        assert_eq!(keys.count(&fs::read(&file).unwrap()), 0, "{}", file.display());
    }
    example.end();
}

/// A call with a token, as a page at that origin makes it; gives its status.
fn call(example: &Example, token: &str, connection: &str, origin: Option<&str>) -> u16 {
    let keyreeve = example.address("keyreeve");
    let url = format!("{keyreeve}/proxy/{connection}/v1/geocode?q=Float+Street");
    let mut request = http().get(url).header("x-keyreeve-key", token);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    block_on(async { request.send().await.unwrap().status().as_u16() })
}

/// Status and body of a call of the management API.
fn manage(example: &Example, method: &str, path: &str, key: &str, body: &str) -> (u16, Value) {
    let url = format!("{}/api/v1/{path}", example.address("keyreeve"));
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = http().request(method, url).bearer_auth(key);
    let request = request.header("content-type", "application/json").body(body.to_owned());
    block_on(async {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = text(&answer.bytes().await.unwrap());
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    })
}

#[test]
fn a_token_is_good_for_its_page_and_its_connections_until_it_is_revoked() {
    let Some(example) = Example::start() else { return };
    let data_dir = example.file("data");
    let page = example.address("page").to_owned();
    let elsewhere = "http://127.0.0.1:9";
    // The connections themselves take more pages than the token, and there is one more of them.
    let origins = ["--origin", page.as_str(), "--origin", elsewhere];
    run_json(&[&["connection", "update", "maps"], origins.as_slice()].concat(), &data_dir);
    let maps = example.address("maps").trim_end_matches("/desk").to_owned();
    let other = ["connection", "add", "other", "--base-url", maps.as_str(), "--allow-internal"];
    let how = ["--allow-plaintext", "--secret", "production/maps", "--inject", "query:key={key}"];
    run_json(&[other.as_slice(), how.as_slice(), origins.as_slice()].concat(), &data_dir);

    // What the page itself gets is such a token.
    let session: Value = block_on(async {
        http().get(format!("{page}/session")).send().await.unwrap().json().await.unwrap()
    });
    let of_page = session["token"].as_str().unwrap();
    assert!(of_page.starts_with("krc_"));
    assert_eq!(call(&example, of_page, "maps", Some(&page)), 200);

    let backend = example.key("backend.key");
    let wanted = json!({ "connections": ["maps", "sms"], "expires_in": "10m", "origin": page });
    let made = manage(&example, "POST", "client-tokens", &backend, &wanted.to_string());
    assert_eq!(made.0, 201, "{}", made.1);
    let token = made.1["token"].as_str().unwrap();
    assert!(made.1["expires_at"].is_string());
    assert_eq!(call(&example, token, "maps", Some(&page)), 200);
    assert_eq!(call(&example, token, "maps", Some(elsewhere)), 403);
    assert_eq!(call(&example, token, "maps", None), 403);
    assert_eq!(call(&example, token, "other", Some(&page)), 403);
    // The route of the SMS connection is another one.
    assert_eq!(call(&example, token, "sms", Some(&page)), 403);
    assert_eq!(manage(&example, "GET", "client-tokens", token, "").0, 401);
    // The backend may make tokens, and not for what it may not call itself.
    let more = json!({ "connections": ["other"], "expires_in": "10m", "origin": page });
    assert_eq!(manage(&example, "POST", "client-tokens", &backend, &more.to_string()).0, 403);

    let permission = ["--permission", "keyreeve.connections.manage"];
    let boss = ["key", "create", "--name", "boss"];
    let boss = run_json(&[boss.as_slice(), permission.as_slice()].concat(), &data_dir);
    let boss = boss["key"].as_str().unwrap();
    let id = made.1["id"].as_str().unwrap();
    assert_eq!(manage(&example, "DELETE", &format!("client-tokens/{id}"), boss, "").0, 204);
    assert_eq!(call(&example, token, "maps", Some(&page)), 401);
    assert_eq!(call(&example, of_page, "maps", Some(&page)), 200);
    example.end();
}
