//! Real stores for secrets, as their own clients use them: OpenBao, and AWS Secrets Manager as moto plays it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    support::{PATIENCE, block_on, text},
    vault::call,
    vault_clients::{OpenBao, ROOT},
};

/// Where moto plays.
pub(crate) const REGION: &str = "eu-central-1";

/// What AWS's own library for Python does to the store. The first call makes the access key.
const BOTO: &str = r#"
import boto3, json, sys
address, key, secret, call, *rest = sys.argv[1:]
def client(kind):
    return boto3.client(kind, endpoint_url=address, region_name="eu-central-1",
                        aws_access_key_id=key, aws_secret_access_key=secret)
if call == "user":
    iam = client("iam")
    iam.create_user(UserName="t")
    made = iam.create_access_key(UserName="t")["AccessKey"]
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="t", PolicyName="p", PolicyDocument=json.dumps(allow))
    print(json.dumps([made["AccessKeyId"], made["SecretAccessKey"]]))
    sys.exit()
store = client("secretsmanager")
if call == "put":
    name, text = rest
    try:
        store.put_secret_value(SecretId=name, SecretString=text)
    except store.exceptions.ResourceNotFoundException:
        store.create_secret(Name=name, SecretString=text)
elif call == "stage":
    name, text, stage = rest
    store.put_secret_value(SecretId=name, SecretString=text, VersionStages=[stage])
elif call == "binary":
    store.create_secret(Name=rest[0], SecretBinary=b"\x00\x01")
elif call == "delete":
    store.delete_secret(SecretId=rest[0], RecoveryWindowInDays=30)
elif call == "remove":
    store.delete_secret(SecretId=rest[0], ForceDeleteWithoutRecovery=True)
elif call == "count":
    print(len(store.list_secret_version_ids(SecretId=rest[0], IncludeDeprecated=True)["Versions"]))
elif call == "get":
    try:
        print(store.get_secret_value(SecretId=rest[0])["SecretString"])
    except Exception as error:
        print("null")
"#;

/// AWS Secrets Manager in memory, on a port of its own, with one user.
pub(crate) struct Moto {
    child: Child,
    pub(crate) url: String,
    python: PathBuf,
    pub(crate) key: (String, String),
}

impl Moto {
    pub(crate) fn start(moto_server: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(moto_server)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            // From the fourth call on a good signature is needed.
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "3")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let python = moto_server.with_file_name("python");
        let nobody = ("x".to_owned(), "y".to_owned());
        let url = format!("http://127.0.0.1:{port}");
        let mut moto = Self { child, url, python, key: nobody };
        for _ in 0..PATIENCE.as_secs() * 10 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                let made: Vec<String> = serde_json::from_str(&moto.boto(&["user"])).unwrap();
                moto.key = (made[0].clone(), made[1].clone());
                return moto;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("moto does not start");
    }

    pub(crate) fn boto(&self, call: &[&str]) -> String {
        let done = Command::new(&self.python)
            .args(["-c", BOTO, &self.url, &self.key.0, &self.key.1])
            .args(call)
            .output()
            .unwrap();
        assert!(done.status.success(), "{call:?}: {}", text(&done.stderr));
        text(&done.stdout)
    }
}

impl Moto {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another store, as its own clients use it.
pub(crate) trait Store {
    /// Where it has the secrets of a folder of ours.
    fn settings(&self) -> Vec<(String, String)>;
    fn put(&self, path: &str, fields: &Value);
    /// The current fields; null if there are none.
    fn get(&self, path: &str) -> Value;
    fn delete(&self, path: &str);
    /// Deletes all of it, so that nothing tells that it was there.
    fn remove(&self, path: &str);
    /// How many versions there are.
    fn count(&self, path: &str) -> usize;
}

/// A setting of the backend that tests have.
pub(crate) fn setting(name: &str, value: &str) -> (String, String) {
    (format!("KEYREEVE_BACKENDS__TEAM__{name}"), value.to_owned())
}

impl Store for OpenBao {
    fn settings(&self) -> Vec<(String, String)> {
        vec![
            setting("KIND", "vault"),
            setting("ADDRESS", &self.url),
            setting("TOKEN", "env:TEST_TOKEN"),
            ("TEST_TOKEN".to_owned(), ROOT.to_owned()),
        ]
    }

    fn put(&self, path: &str, fields: &Value) {
        let body = json!({ "data": fields });
        let path = format!("secret/data/{path}");
        let (status, answer) = block_on(call(&self.url, ROOT, "POST", &path, Some(&body)));
        assert_eq!(status, 200, "{answer}");
    }

    fn get(&self, path: &str) -> Value {
        let path = format!("secret/data/{path}");
        block_on(call(&self.url, ROOT, "GET", &path, None)).1["data"]["data"].clone()
    }

    fn delete(&self, path: &str) {
        let path = format!("secret/data/{path}");
        assert_eq!(block_on(call(&self.url, ROOT, "DELETE", &path, None)).0, 204);
    }

    fn remove(&self, path: &str) {
        let path = format!("secret/metadata/{path}");
        assert_eq!(block_on(call(&self.url, ROOT, "DELETE", &path, None)).0, 204);
    }

    fn count(&self, path: &str) -> usize {
        let path = format!("secret/metadata/{path}");
        let (_, known) = block_on(call(&self.url, ROOT, "GET", &path, None));
        known["data"]["versions"].as_object().unwrap().len()
    }
}

impl Store for Moto {
    fn settings(&self) -> Vec<(String, String)> {
        vec![
            setting("KIND", "aws-secrets-manager"),
            setting("ADDRESS", &self.url),
            setting("REGION", REGION),
            setting("ACCESS_KEY_ID", &self.key.0),
            setting("SECRET_ACCESS_KEY", "env:TEST_SECRET"),
            ("TEST_SECRET".to_owned(), self.key.1.clone()),
        ]
    }

    fn put(&self, path: &str, fields: &Value) {
        self.boto(&["put", path, &fields.to_string()]);
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(self.boto(&["get", path]).trim()).unwrap()
    }

    fn delete(&self, path: &str) {
        self.boto(&["delete", path]);
    }

    fn remove(&self, path: &str) {
        self.boto(&["remove", path]);
    }

    fn count(&self, path: &str) -> usize {
        self.boto(&["count", path]).trim().parse().unwrap()
    }
}

/// Stands before a store, and can lose its answers to writes: the store has done them, and nobody knows.
pub(crate) struct Losing {
    pub(crate) url: String,
    loses: Arc<AtomicBool>,
}

impl Losing {
    pub(crate) fn before(url: &str) -> Self {
        let to = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let loses = Arc::new(AtomicBool::new(false));
        let flag = loses.clone();
        // Ends with the process: it waits for connections until then.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let writes = Arc::new(AtomicBool::new(false));
                pass(&client, &server, {
                    let writes = writes.clone();
                    move |bytes| {
                        writes.store(!bytes.starts_with(b"GET "), Ordering::SeqCst);
                        true
                    }
                });
                let flag = flag.clone();
                pass(&server, &client, move |_| {
                    !(flag.load(Ordering::SeqCst) && writes.load(Ordering::SeqCst))
                });
            }
        });
        Self { url, loses }
    }

    pub(crate) fn loses(&self, loses: bool) {
        self.loses.store(loses, Ordering::SeqCst);
    }
}

/// Passes on what comes, for as long as it may.
fn pass(from: &TcpStream, to: &TcpStream, may: impl Fn(&[u8]) -> bool + Send + 'static) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !may(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        for side in [&from, &to] {
            let _ = side.shutdown(Shutdown::Both);
        }
    });
}
