//! Every verdict code, over the API and through a gateway's authoriser: the request, the verdict
//! and the status that reaches the client.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use keyreeve_core::verdict::VerdictCode;
use serde_json::{Value, json};

use crate::{
    country_database,
    support::{Installation, Server, block_on, http},
};

const SECRET: &str = "gateway-secret-0123456789abcdefghijklmnopqrstuvwxyz";

/// Codes that no request can bring about on one healthy node without a lockdown. What they become
/// over HTTP is tested where answers are written.
const OUT_OF_REACH: [VerdictCode; 3] =
    [VerdictCode::Lockdown, VerdictCode::Stale, VerdictCode::Error];

/// A request that carries a key, and what becomes of it.
struct Case {
    code: VerdictCode,
    status: u16,
    /// The texts of the keys it carries: none, one, or two.
    keys: Vec<String>,
    ip: &'static str,
    path: &'static str,
    origin: Option<&'static str>,
    require: Option<&'static str>,
}

struct Setup {
    server: Server,
    admin_key: String,
    _installation: Installation,
}

impl Setup {
    fn start() -> Self {
        let installation = Installation::new();
        let file = |name: &str| installation.folder.path().join(name);
        fs::write(file("secret"), SECRET).unwrap();
        let (network, test) = ([203, 0, 113, 0].into(), [198, 51, 100, 0].into());
        country_database::write(&file("geo.mmdb"), &[(network, 24, "DE"), (test, 24, "FR")]);
        let text = |path: &Path| path.display().to_string();
        let server = installation.serve_with(&[
            ("KEYREEVE_AUTHZ__SECRET", &format!("file:{}", text(&file("secret")))),
            ("KEYREEVE_GEO__DATABASE", &text(&file("geo.mmdb"))),
            ("KEYREEVE_LIMITS__FAILED_AUTH", "2"),
        ]);
        Self { server, admin_key: installation.admin_key.clone(), _installation: installation }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = http().post(format!("{}/api/v1/{path}", self.server.url));
        let response = request.bearer_auth(&self.admin_key).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    /// Makes a key; gives its text and its id.
    async fn make(&self, mut body: Value) -> (String, String) {
        body["name"] = json!("case");
        let made = self.post("api-keys", body).await;
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("key"), text("id"))
    }

    /// A key to which something was done.
    async fn make_and(&self, deed: &str) -> String {
        let (key, id) = self.make(json!({})).await;
        self.post(&format!("api-keys/{id}/{deed}"), json!({})).await;
        key
    }

    /// What `POST /api/v1/verify` says.
    async fn verdict(&self, case: &Case) -> Value {
        let mut request = json!({
            "ip": case.ip, "method": "GET", "host": "api.example.com", "path": case.path,
        });
        if let Some(origin) = case.origin {
            request["origin"] = json!(origin);
        }
        let mut body = json!({ "key": case.keys[0], "request": request });
        if let Some(require) = case.require {
            body["require"] = json!(require);
        }
        self.post("verify", body).await
    }

    /// What the authoriser for Envoy answers, which passes statuses on as they are.
    async fn authorised(&self, case: &Case) -> (u16, String) {
        let mut request = http()
            .get(format!("{}/authz/envoy{}", self.server.url, case.path))
            .header("host", "api.example.com")
            .header("x-keyreeve-gateway-secret", SECRET)
            .header("x-forwarded-for", case.ip);
        for key in &case.keys {
            request = request.header("x-api-key", key);
        }
        for (name, value) in [("origin", case.origin), ("x-keyreeve-require", case.require)] {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
        }
        let response = request.send().await.unwrap();
        let verdict = response.headers().get("x-keyreeve-verdict");
        let verdict = verdict.map_or("", |value| value.to_str().unwrap()).to_owned();
        (response.status().as_u16(), verdict)
    }
}

/// Hours of a weekday that is neither today's nor next to it.
fn never(now: &Value) -> String {
    let now: jiff::Timestamp = now.as_str().unwrap().parse().unwrap();
    let day = now.to_zoned(jiff::tz::TimeZone::UTC).weekday();
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let later = (day.to_monday_zero_offset() + 3) % 7;
    format!("{} 10:00-11:00 UTC", days[usize::try_from(later).unwrap()])
}

/// The statuses of the contract, written down a second time.
fn status_of(code: VerdictCode) -> u16 {
    use VerdictCode as Code;
    match code {
        Code::Valid => 200,
        Code::Duplicate => 400,
        Code::Missing
        | Code::Malformed
        | Code::NotFound
        | Code::Revoked
        | Code::Disabled
        | Code::Expired
        | Code::NotYetValid
        | Code::GraceEnded => 401,
        Code::ForbiddenIp
        | Code::ForbiddenGeo
        | Code::ForbiddenTime
        | Code::ForbiddenOrigin
        | Code::ForbiddenRoute
        | Code::InsufficientPermissions
        | Code::Lockdown => 403,
        Code::RateLimited | Code::QuotaExceeded | Code::Concurrency | Code::AbuseLocked => 429,
        Code::Stale | Code::Error => 503,
    }
}

async fn cases(setup: &Setup) -> Vec<Case> {
    use VerdictCode as Code;
    let good = |code: Code, keys: Vec<String>| Case {
        code,
        status: status_of(code),
        keys,
        ip: "203.0.113.9",
        path: "/v1/items",
        origin: None,
        require: None,
    };
    let now = setup.post("api-keys", json!({"name": "first"})).await["created_at"].take();
    let plain = setup.make(json!({"permissions": ["documents.read"]})).await.0;
    let restricted =
        async |restrictions: Value| setup.make(json!({ "restrictions": restrictions })).await.0;
    let spent = async |body: Value| {
        let key = setup.make(body).await.0;
        let verdict = setup.verdict(&good(Code::Valid, vec![key.clone()])).await;
        assert_eq!(verdict["code"], "VALID");
        key
    };
    let (rotated, id) = setup.make(json!({})).await;
    setup.post(&format!("api-keys/{id}/rotate"), json!({"grace": "1h"})).await;
    setup.post(&format!("api-keys/{id}/finish-rotation"), json!({})).await;
    let brief = setup.make(json!({"expires_in": "1s"})).await.0;
    let mut unknown = plain.clone();
    unknown.replace_range(unknown.len() - 6.., "000000");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let one = |code, key: String| good(code, vec![key]);
    vec![
        one(Code::Valid, plain.clone()),
        good(Code::Missing, vec![]),
        good(Code::Duplicate, vec![plain.clone(), plain.clone()]),
        Case { ip: "192.0.2.1", ..one(Code::Malformed, unknown) },
        Case { ip: "192.0.2.2", ..one(Code::NotFound, strangers_key()) },
        one(Code::Revoked, setup.make_and("revoke").await),
        one(Code::Disabled, setup.make_and("disable").await),
        one(
            Code::NotYetValid,
            setup
                .make(json!({"not_before": "2036-01-01T00:00:00Z", "expires_in": "never"}))
                .await
                .0,
        ),
        one(Code::Expired, brief),
        one(Code::GraceEnded, rotated),
        one(Code::ForbiddenIp, restricted(json!({"deny_ips": ["203.0.113.9"]})).await),
        one(Code::ForbiddenGeo, restricted(json!({"allow_countries": ["FR"]})).await),
        one(Code::ForbiddenTime, restricted(json!({"windows": [never(&now)]})).await),
        Case {
            origin: Some("https://evil.example"),
            ..one(
                Code::ForbiddenOrigin,
                restricted(json!({"origins": ["https://app.example.com"]})).await,
            )
        },
        one(Code::ForbiddenRoute, restricted(json!({"routes": ["GET /v2/*"]})).await),
        Case {
            require: Some("documents.write"),
            ..one(Code::InsufficientPermissions, plain.clone())
        },
        one(Code::RateLimited, spent(json!({"limits": [{"name": "a", "rate": "1/1h"}]})).await),
        one(Code::Concurrency, spent(json!({"concurrency": "1/1h"})).await),
        one(Code::QuotaExceeded, spent(json!({"quota": "1/month"})).await),
        Case { ip: "198.51.100.66", ..one(Code::AbuseLocked, plain) },
    ]
}

/// A key of another installation: well formed, and unknown.
fn strangers_key() -> String {
    Installation::new().admin_key
}

#[test]
fn every_code_has_a_request_that_brings_it_about() {
    let setup = Setup::start();
    block_on(async {
        let cases = cases(&setup).await;
        for _ in 0..3 {
            let bad = Case {
                keys: vec!["kr_live_nonsense".into()],
                ip: "198.51.100.66",
                ..from(&cases[0])
            };
            setup.verdict(&bad).await;
        }
        let mut seen = BTreeSet::new();
        for case in &cases {
            let code = case.code.as_str();
            // A gateway meets what the API cannot: it asks for one key.
            if case.keys.len() == 1 {
                let verdict = setup.verdict(case).await;
                assert_eq!(verdict["code"], code);
                assert_eq!(verdict["valid"], case.code == VerdictCode::Valid, "{code}");
                let check = (case.code != VerdictCode::Valid).then(|| case.code.check());
                assert_eq!(verdict["reason"]["check"].as_str(), check, "{code}");
            }
            let (status, shown) = setup.authorised(case).await;
            assert_eq!(status, case.status, "{code}");
            // Which fault a bad key has is for its owner's eyes.
            let told = if case.status == 401 && code != "MISSING" { "INVALID" } else { code };
            assert_eq!(shown, told, "{code}");
            seen.insert(code);
        }
        let metrics = http().get(format!("{}/metrics", setup.server.url)).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let refused = r#"{route="/authz/",method="any",status="403"} 6"#;
        assert!(metrics.contains(refused), "{metrics}");
        for code in VerdictCode::ALL {
            let reached = seen.contains(code.as_str());
            assert_eq!(reached, !OUT_OF_REACH.contains(code), "{code:?}");
        }
    });
}

fn from(case: &Case) -> Case {
    Case { keys: case.keys.clone(), ..*case }
}

#[test]
fn without_a_database_a_country_is_refused_unless_told_to_fail_open() {
    let installation = Installation::new();
    let server = installation.serve();
    let setup =
        Setup { server, admin_key: installation.admin_key.clone(), _installation: installation };
    block_on(async {
        setup
            .post("keyspaces", json!({"name": "open", "prefix": "open", "fail_policy": "open"}))
            .await;
        for (keyspace, expected) in [("default", "FORBIDDEN_GEO"), ("open", "VALID")] {
            let body = json!({"keyspace": keyspace, "restrictions": {"allow_countries": ["DE"]}});
            let key = setup.make(body).await.0;
            let case = Case {
                code: VerdictCode::Valid,
                status: 200,
                keys: vec![key],
                ip: "203.0.113.9",
                path: "/",
                origin: None,
                require: None,
            };
            assert_eq!(setup.verdict(&case).await["code"], expected, "{keyspace}");
        }
    });
}

#[test]
fn a_file_that_is_no_database_stops_the_start() {
    let installation = Installation::new();
    let file = installation.folder.path().join("geo.mmdb");
    fs::write(&file, "no database").unwrap();
    let setting = file.display().to_string();
    let settings = [("KEYREEVE_GEO__DATABASE", setting.as_str())];
    let log = Server::try_start(&installation.data_dir(), &settings).err().unwrap();
    assert!(log.contains("geo.database"), "{log}");
}
