//! Unmodified clients of Vault: OpenBao's `bao`, its agent, and hvac. Each does the same to Keyreeve
//! and to a real OpenBao in the same run, and what they are told has to be the same.

use std::{
    env,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::{
    support::{Installation, PATIENCE, block_on, text},
    vault::call,
};

/// The token of the real OpenBao.
pub(crate) const ROOT: &str = "root";

/// A program that these tests need; `None`, loudly, if it is not there and need not be.
pub(crate) fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let told = env::var_os(variable).map(PathBuf::from);
    let usual = root.join("target/peers/venv/bin").join(name);
    let found = told.into_iter().chain([usual]).find(|path| path.is_file());
    if found.is_none() {
        let required = env::var_os("KEYREEVE_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "{name} is required and not installed");
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: {name} is not installed\n");
    }
    found
}

/// The Python that has these packages; `None`, said loudly, where there is none.
pub(crate) fn python_with(packages: &str) -> Option<PathBuf> {
    let python = program("KEYREEVE_SDK_PYTHON", "python")?;
    let import = format!("import {packages}");
    let found = Command::new(&python).args(["-c", &import]).output().unwrap();
    if found.status.success() {
        return Some(python);
    }
    let required = env::var_os("KEYREEVE_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "{packages} are required: {}", text(&found.stderr));
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {packages} are not installed\n");
    None
}

/// A real OpenBao in memory, on a port of its own.
pub(crate) struct OpenBao {
    child: Child,
    pub(crate) url: String,
    _home: tempfile::TempDir,
}

impl OpenBao {
    pub(crate) fn start(bao: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = tempfile::tempdir().unwrap();
        let child = Command::new(bao)
            .args(["server", "-dev", "-dev-no-store-token", "-dev-root-token-id", ROOT])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bao = Self { child, url: format!("http://127.0.0.1:{port}"), _home: home };
        let answers = || {
            let url = format!("{}/v1/secret/config", bao.url);
            block_on(async {
                let sent = crate::support::http().get(url).header("x-vault-token", ROOT).send();
                sent.await.is_ok_and(|answer| answer.status() == 200)
            })
        };
        for _ in 0..PATIENCE.as_secs() * 10 {
            if answers() {
                return bao;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("OpenBao does not start");
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What differs from run to run is made the same; what only one of them has by its nature is left out.
pub(crate) fn normal(value: Value) -> Value {
    const OWN: &[&str] = &[
        "request_id",
        "accessor",
        "uuid",
        "id",
        "description",
        "display_name",
        "issue_time",
        "creation_time",
        "creation_ttl",
        "expire_time",
        "ttl",
        "running_plugin_version",
        "deprecation_status",
    ];
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(name, _)| !OWN.contains(&name.as_str()))
                .map(|(name, member)| (name, normal(member)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(normal).collect();
            // We list in the order of paths; OpenBao scans folders last.
            if items.iter().all(Value::is_string) {
                items.sort_by_key(ToString::to_string);
            }
            Value::Array(items)
        }
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => json!("a time"),
        other => other,
    }
}

/// Method, path and body.
type Call = (&'static str, &'static str, Option<Value>);

/// Calls about versions, in order: later ones build on what earlier ones left.
fn calls_about_versions() -> Vec<Call> {
    let data = |data: Value| Some(json!({ "data": data }));
    vec![
        (
            "PUT",
            "secret/data/a/b",
            data(json!({ "x": "1", "deep": { "y": [1, 2.5, null, true] } })),
        ),
        ("GET", "secret/data/a/b", None),
        ("POST", "secret/data/a/b", Some(json!({ "data": { "x": "2" }, "options": { "cas": 1 } }))),
        ("POST", "secret/data/a/b", Some(json!({ "data": { "x": "3" }, "options": { "cas": 1 } }))),
        ("POST", "secret/data/a/b", Some(json!({ "data": { "x": "3" }, "options": { "cas": 0 } }))),
        ("PUT", "secret/data/new", Some(json!({ "data": { "x": "3" }, "options": { "cas": 0 } }))),
        ("PATCH", "secret/data/a/b", data(json!({ "y": "9", "x": null }))),
        ("PATCH", "secret/data/nowhere", data(json!({ "y": "9" }))),
        ("GET", "secret/data/a/b?version=1", None),
        ("GET", "secret/data/a/b?version=0", None),
        ("GET", "secret/data/a/b?version=99", None),
        ("GET", "secret/data/nowhere", None),
        ("PUT", "secret/data/a/b", None),
        ("PUT", "secret/data/a/b", Some(json!({}))),
        ("PUT", "secret/data/empty", data(json!({}))),
        ("GET", "secret/data/empty", None),
        ("GET", "secret/metadata/a/b", None),
        ("GET", "secret/metadata/nowhere", None),
        ("LIST", "secret/metadata", None),
        ("GET", "secret/metadata?list=true", None),
        ("GET", "secret/metadata/?list=true", None),
        ("LIST", "secret/metadata/a", None),
        ("LIST", "secret/metadata/nowhere", None),
        ("SCAN", "secret/metadata", None),
        ("GET", "secret/metadata?list=true&after=a/&limit=1", None),
        ("DELETE", "secret/data/a/b", None),
        ("GET", "secret/data/a/b", None),
        ("DELETE", "secret/data/nowhere", None),
        ("POST", "secret/undelete/a/b", Some(json!({ "versions": ["3"] }))),
        ("GET", "secret/data/a/b", None),
        ("POST", "secret/delete/a/b", Some(json!({ "versions": [1, 2] }))),
        ("POST", "secret/delete/a/b", Some(json!({ "versions": [] }))),
        ("POST", "secret/delete/nowhere", Some(json!({ "versions": [1] }))),
        ("GET", "secret/data/a/b?version=2", None),
        ("PUT", "secret/destroy/a/b", Some(json!({ "versions": [2] }))),
        ("GET", "secret/data/a/b?version=2", None),
        ("PUT", "secret/undelete/a/b", Some(json!({ "versions": [1, 2] }))),
        ("GET", "secret/data/a/b?version=1", None),
        ("GET", "secret/metadata/a/b", None),
    ]
}

/// Calls about what bounds versions, and about everything else, after those about versions.
fn calls_about_settings() -> Vec<Call> {
    let data = |data: Value| Some(json!({ "data": data }));
    vec![
        (
            "POST",
            "secret/metadata/a/b",
            Some(json!({ "max_versions": 2, "delete_version_after": "3h25m19s",
                         "cas_required": true, "custom_metadata": { "owner": "web" } })),
        ),
        ("GET", "secret/metadata/a/b", None),
        ("PUT", "secret/data/a/b", data(json!({ "x": "5" }))),
        ("PUT", "secret/data/a/b", Some(json!({ "data": { "x": "5" }, "options": { "cas": 3 } }))),
        ("GET", "secret/data/a/b?version=1", None),
        ("GET", "secret/metadata/a/b", None),
        ("PATCH", "secret/metadata/a/b", Some(json!({ "custom_metadata": { "team": "x" } }))),
        ("PATCH", "secret/metadata/nowhere", Some(json!({ "max_versions": 3 }))),
        ("GET", "secret/data/a/b", None),
        ("POST", "secret/metadata/only", Some(json!({ "custom_metadata": { "a": "b" } }))),
        ("GET", "secret/data/only", None),
        ("GET", "secret/metadata/only", None),
        ("PUT", "secret/data/only", Some(json!({ "data": { "x": "1" }, "options": { "cas": 0 } }))),
        ("DELETE", "secret/metadata/a/b", None),
        ("GET", "secret/metadata/a/b", None),
        ("DELETE", "secret/metadata/nowhere", None),
        ("GET", "secret/config", None),
        ("POST", "secret/config", Some(json!({ "max_versions": 3, "delete_version_after": "1h" }))),
        ("GET", "secret/config", None),
        ("PUT", "secret/data/bounded", data(json!({ "x": "1" }))),
        ("GET", "nowhere/data/a", None),
        ("GET", "auth/token/lookup-self", None),
        (
            "PUT",
            "sys/policies/acl/web",
            Some(
                json!({ "policy": "path \"secret/data/web/*\" {\n  capabilities = [\"read\"]\n}\n" }),
            ),
        ),
        ("GET", "sys/leader", None),
        ("GET", "sys/init", None),
    ]
}

#[test]
fn answers_are_those_of_openbao() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let installation = Installation::new();
    let server = installation.serve();
    let openbao = OpenBao::start(&bao);
    let mut table = String::new();
    let mut differ = 0;
    for (method, path, body) in calls_about_versions().into_iter().chain(calls_about_settings()) {
        let ours = call(&server.url, &installation.admin_key, method, path, body.as_ref());
        let theirs = call(&openbao.url, ROOT, method, path, body.as_ref());
        let (ours, theirs) = (block_on(ours), block_on(theirs));
        let same = ours.0 == theirs.0 && normal(ours.1.clone()) == normal(theirs.1.clone());
        differ += usize::from(!same);
        table.push_str(&format!(
            "{method:6} {path:45} {} {}\n",
            ours.0,
            if same { "same" } else { "DIFFERS" }
        ));
        if !same {
            table.push_str(&format!("  ours:   {} {}\n", ours.0, normal(ours.1)));
            table.push_str(&format!("  theirs: {} {}\n", theirs.0, normal(theirs.1)));
        }
    }
    assert_eq!(differ, 0, "\n{table}");
}

fn run_bao(bao: &Path, url: &str, token: &str, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(bao);
    command.args(arguments).env_clear().env("HOME", home.path()).stdin(Stdio::null());
    command.env("BAO_ADDR", url).env("BAO_TOKEN", token).env("BAO_FORMAT", "json");
    command.output().unwrap()
}

/// What `bao` is asked to do, in order.
const COMMANDS: &[&[&str]] = &[
    &[
        "kv",
        "put",
        "-mount=secret",
        "production/stripe",
        "secret_key=sk_live_EXAMPLEexampleEXAMPLE01",
        "mode=test",
    ],
    &["kv", "get", "-mount=secret", "production/stripe"],
    &["kv", "get", "-mount=secret", "-field=mode", "production/stripe"],
    &["kv", "get", "secret/production/stripe"],
    &[
        "kv",
        "put",
        "-mount=secret",
        "-cas=1",
        "production/stripe",
        "secret_key=sk_live_EXAMPLEexampleEXAMPLE02",
    ],
    &[
        "kv",
        "put",
        "-mount=secret",
        "-cas=1",
        "production/stripe",
        "secret_key=sk_live_EXAMPLEexampleEXAMPLE03",
    ],
    &["kv", "patch", "-mount=secret", "production/stripe", "mode=live"],
    &["kv", "patch", "-mount=secret", "-method=rw", "production/stripe", "region=eu"],
    &["kv", "patch", "-mount=secret", "nowhere", "a=b"],
    &["kv", "list", "-mount=secret"],
    &["kv", "list", "-mount=secret", "production"],
    &["kv", "list", "-mount=secret", "nowhere"],
    &["kv", "get", "-mount=secret", "-version=1", "production/stripe"],
    &["kv", "rollback", "-mount=secret", "-version=1", "production/stripe"],
    &["kv", "delete", "-mount=secret", "production/stripe"],
    &["kv", "get", "-mount=secret", "production/stripe"],
    &["kv", "undelete", "-mount=secret", "-versions=5", "production/stripe"],
    &["kv", "delete", "-mount=secret", "-versions=1,2", "production/stripe"],
    &["kv", "destroy", "-mount=secret", "-versions=1", "production/stripe"],
    &[
        "kv",
        "metadata",
        "put",
        "-mount=secret",
        "-max-versions=7",
        "-custom-metadata=a=b",
        "production/stripe",
    ],
    &["kv", "metadata", "patch", "-mount=secret", "-custom-metadata=c=d", "production/stripe"],
    &["kv", "metadata", "get", "-mount=secret", "production/stripe"],
    &["kv", "get", "-mount=secret", "production/stripe"],
    &["token", "lookup"],
    &["policy", "write", "web", "-"],
    &["read", "secret/data/production/stripe"],
    &["list", "secret/metadata"],
    &["kv", "metadata", "delete", "-mount=secret", "production/stripe"],
    &["kv", "get", "-mount=secret", "production/stripe"],
];

#[test]
fn bao_gets_the_same_from_both() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let installation = Installation::new();
    let server = installation.serve();
    let openbao = OpenBao::start(&bao);
    let json = |output: &Output| {
        let value = serde_json::from_slice(&output.stdout);
        normal(value.unwrap_or_else(|_| json!(text(&output.stdout))))
    };
    let mut table = String::new();
    let mut differ = 0;
    for arguments in COMMANDS {
        let ours = run_bao(&bao, &server.url, &installation.admin_key, arguments);
        let theirs = run_bao(&bao, &openbao.url, ROOT, arguments);
        let same = ours.status.code() == theirs.status.code() && json(&ours) == json(&theirs);
        differ += usize::from(!same);
        let code = ours.status.code().unwrap_or(-1);
        table.push_str(&format!("{:70} {code} {same}\n", arguments.join(" ")));
        if !same {
            table.push_str(&format!("  ours:   {} {}\n", json(&ours), text(&ours.stderr)));
            table.push_str(&format!("  theirs: {} {}\n", json(&theirs), text(&theirs.stderr)));
        }
    }
    assert_eq!(differ, 0, "\n{table}");
    let login = ["login", "-no-store", installation.admin_key.as_str()];
    assert!(run_bao(&bao, &server.url, "", &login).status.success());
}

/// Every call of hvac's for KV version 2; what it gets is printed as JSON.
const HVAC: &str = r#"
import hvac, json, sys
client = hvac.Client(url=sys.argv[1], token=sys.argv[2])
kv = client.secrets.kv.v2
out = [client.is_authenticated()]
def note(call):
    try:
        answer = call()
        out.append(answer if isinstance(answer, (dict, bool)) else getattr(answer, "status_code", None))
    except Exception as error:
        out.append([type(error).__name__, str(getattr(error, "errors", None))])
note(lambda: kv.create_or_update_secret("app/db", secret={"user": "u", "password": "p"}, cas=0))
note(lambda: kv.create_or_update_secret("app/db", secret={"user": "u2"}, cas=0))
note(lambda: kv.create_or_update_secret("app/db", secret={"user": "u2"}))
note(lambda: kv.patch("app/db", secret={"port": 5432}))
note(lambda: kv.read_secret_version("app/db", raise_on_deleted_version=False))
note(lambda: kv.read_secret_version("app/db", version=1, raise_on_deleted_version=False))
note(lambda: kv.read_secret("app/db", raise_on_deleted_version=True))
note(lambda: kv.read_secret_metadata("app/db"))
note(lambda: kv.update_metadata("app/db", max_versions=4, cas_required=False, delete_version_after="30m", custom_metadata={"team": "x"}))
note(lambda: kv.read_secret_metadata("app/db"))
note(lambda: kv.list_secrets(""))
note(lambda: kv.list_secrets("app"))
note(lambda: kv.list_secrets("nowhere"))
note(lambda: kv.delete_latest_version_of_secret("app/db"))
note(lambda: kv.read_secret_version("app/db", raise_on_deleted_version=False))
note(lambda: kv.read_secret_version("app/db", raise_on_deleted_version=True))
note(lambda: kv.undelete_secret_versions("app/db", versions=[3]))
note(lambda: kv.delete_secret_versions("app/db", versions=[1, 2]))
note(lambda: kv.destroy_secret_versions("app/db", versions=[1]))
note(lambda: kv.read_secret_metadata("app/db"))
note(lambda: kv.configure(max_versions=20, mount_point="secret"))
note(lambda: kv.read_configuration())
note(lambda: kv.delete_metadata_and_all_versions("app/db"))
note(lambda: kv.read_secret_metadata("app/db"))
note(lambda: client.sys.create_or_update_policy("hv", 'path "secret/data/app/*" { capabilities = ["read"] }'))
note(lambda: {"policy": client.sys.read_policy("hv")["data"]["rules"]})
note(lambda: client.sys.delete_policy("hv"))
note(lambda: client.sys.is_sealed())
note(lambda: client.sys.is_initialized())
print(json.dumps(out))
"#;

#[test]
fn hvac_gets_the_same_from_both() {
    let Some(bao) = program("KEYREEVE_BAO", "bao") else { return };
    let Some(python) = program("KEYREEVE_HVAC_PYTHON", "python") else { return };
    let installation = Installation::new();
    let server = installation.serve();
    let openbao = OpenBao::start(&bao);
    let said = |url: &str, token: &str| {
        let output = Command::new(&python).args(["-c", HVAC, url, token]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        normal(said)
    };
    let ours = said(&server.url, &installation.admin_key);
    let theirs = said(&openbao.url, ROOT);
    let (ours, theirs) = (ours.as_array().unwrap(), theirs.as_array().unwrap());
    assert_eq!(ours.len(), theirs.len());
    for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(ours, theirs, "call {number}");
    }
}
