use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use jiff::SignedDuration;
use keyreeve_core::{client_address::TrustedProxies, limit::Rate};
use tracing::Level;

use super::*;
use super::{
    log::LogFormat,
    secret::SecretReference,
    server::{MetricsAccess, TlsConfig},
};

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads from a file with this text, these variables and these flags.
fn load(text: &str, pairs: &[(&str, &str)], flags: Flags) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyreeve.toml");
    fs::write(&path, text).unwrap();
    Config::load(Sources { file: ConfigFile::Named(path), variables: variables(pairs), flags })
}

fn from_file(text: &str) -> Result<Config, ConfigError> {
    load(text, &[], Flags::default())
}

fn from_variable(name: &str, value: &str) -> Result<Config, ConfigError> {
    load("", &[(name, value)], Flags::default())
}

/// The one fault, as `field rule`.
#[track_caller]
fn fault(result: Result<Config, ConfigError>) -> String {
    let error = result.expect_err("there is a fault");
    let [fault] = error.faults() else { panic!("not one fault: {error}") };
    format!("{} {}", fault.field, fault.rule)
}

#[test]
fn the_default_file_is_what_it_says() {
    let config = from_file("").unwrap();
    let server = &config.server;
    assert_eq!(server.listen, SocketAddr::from(([127, 0, 0, 1], 7420)));
    assert_eq!(server.threads, None);
    assert_eq!(server.max_connections, 10_000);
    assert_eq!(server.max_body_bytes, 1_048_576);
    assert_eq!(server.max_header_bytes, 32_768);
    assert_eq!(server.max_headers, 100);
    assert_eq!(server.header_timeout, Duration::from_mins(1));
    assert_eq!(server.request_timeout, Duration::from_secs(30));
    assert_eq!(server.drain_timeout, Duration::from_secs(10));
    assert_eq!(server.metrics, MetricsAccess::Open);
    assert_eq!(server.tls, None);
    assert!(server.allowed_origins.is_empty());
    assert_eq!(config.store.data_dir, PathBuf::from("keyreeve-data"));
    assert_eq!(config.store.readers, 2);
    assert_eq!(config.keys.pepper, None);
    assert_eq!(config.usage.flush_interval, Duration::from_secs(30));
    assert_eq!(config.audit.anchor_interval, Duration::from_millis(200));
    assert_eq!(config.log.level, Level::INFO);
    assert_eq!(config.log.format, LogFormat::Pretty);
    assert_eq!(config.idempotency.keep, SignedDuration::from_hours(24));
    assert_eq!(server.trusted_proxies, TrustedProxies::default());
    let limits = &config.limits;
    let per_minute = |limit: &Option<Rate>| limit.as_ref().map(Rate::to_string);
    let all = [
        (&limits.anonymous, "20/1m"),
        (&limits.viewer, "100/1m"),
        (&limits.operator, "200/1m"),
        (&limits.admin, "500/1m"),
        (&limits.per_ip, "100/1m"),
        (&limits.failed_auth, "10/1m"),
        (&limits.key_creation, "5/1m"),
    ];
    for (limit, expected) in all {
        assert_eq!(per_minute(limit).as_deref(), Some(expected));
    }
    assert_eq!(limits.lockout, SignedDuration::from_mins(5));
    assert_eq!(config.authz.secret, None);
    assert_eq!(config.authz.project.as_str(), "default");
    assert_eq!(config.import.hmac_secret, None);
    assert_eq!(config.geo.database, None);
}

#[test]
fn proxies_and_references_are_read() {
    let pairs = [
        ("KEYREEVE_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::1"),
        ("KEYREEVE_LIMITS__ANONYMOUS", "0"),
        ("KEYREEVE_AUTHZ__SECRET", "env:GATEWAY"),
        ("KEYREEVE_AUTHZ__PROJECT", "shop"),
        ("KEYREEVE_IMPORT__HMAC_SECRET", "file:/a"),
        ("KEYREEVE_GEO__DATABASE", "/geo.mmdb"),
    ];
    let config = load("", &pairs, Flags::default()).unwrap();
    let proxies = &config.server.trusted_proxies;
    assert!(proxies.contains("10.1.2.3".parse().unwrap()));
    assert!(proxies.contains("2001:db8::1".parse().unwrap()));
    assert!(!proxies.contains("192.0.2.1".parse().unwrap()));
    assert_eq!(config.limits.anonymous, None);
    assert_eq!(config.authz.secret, Some(SecretReference::Variable("GATEWAY".to_owned())));
    assert_eq!(config.authz.project.as_str(), "shop");
    assert_eq!(config.import.hmac_secret, Some(SecretReference::File(PathBuf::from("/a"))));
    assert_eq!(config.geo.database, Some(PathBuf::from("/geo.mmdb")));
}

#[test]
fn each_setting_is_explained() {
    let mut previous = "";
    for line in DEFAULTS.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            // A setting stands under its comment, or right under a setting explained with it.
            assert!(!previous.is_empty() && !previous.starts_with('['), "{line}");
        }
        previous = line;
    }
}

#[test]
fn the_file_goes_before_the_defaults_the_environment_before_the_file_and_flags_first() {
    let text = "[server]\nthreads = 1\nmax_headers = 50\nlisten = \"127.0.0.1:1\"\n";
    let pairs = [("KEYREEVE_SERVER__THREADS", "2"), ("KEYREEVE_SERVER__LISTEN", "127.0.0.1:2")];
    let flags = Flags { threads: Some(3), ..Flags::default() };
    let server = load(text, &pairs, flags).unwrap().server;
    assert_eq!(server.max_headers, 50);
    assert_eq!(server.listen.port(), 2);
    assert_eq!(server.threads.map(usize::from), Some(3));
    assert_eq!(server.max_connections, 10_000);
}

#[test]
fn flags_set_what_they_name() {
    let flags = Flags {
        data_dir: Some(PathBuf::from("/srv/keys")),
        listen: Some(SocketAddr::from(([0, 0, 0, 0], 80))),
        threads: None,
    };
    let config = load("[store]\ndata_dir = \"elsewhere\"\n", &[], flags).unwrap();
    assert_eq!(config.store.data_dir, PathBuf::from("/srv/keys"));
    assert_eq!(config.server.listen.port(), 80);
}

#[test]
fn variables_take_the_type_of_the_setting() {
    let config = load(
        "",
        &[
            ("KEYREEVE_STORE__DATA_DIR", "123"),
            ("KEYREEVE_STORE__READERS", " 4 "),
            ("KEYREEVE_SERVER__CORS__ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("KEYREEVE_SERVER__TLS__CERT", "cert.pem"),
            ("KEYREEVE_SERVER__TLS__KEY", "key.pem"),
            ("KEYREEVE_KEYS__PEPPER", "env:PEPPER"),
        ],
        Flags::default(),
    )
    .unwrap();
    assert_eq!(config.store.data_dir, PathBuf::from("123"));
    assert_eq!(config.store.readers, 4);
    assert_eq!(config.server.allowed_origins, ["https://a.example", "https://b.example"]);
    let tls = TlsConfig {
        cert: PathBuf::from("cert.pem"),
        key: PathBuf::from("key.pem"),
        reload_interval: Duration::from_secs(30),
    };
    assert_eq!(config.server.tls, Some(tls));
    assert_eq!(config.keys.pepper, Some(SecretReference::Variable("PEPPER".to_owned())));
}

#[test]
fn other_variables_are_no_settings() {
    let pairs = [
        ("KEYREEVE_TOKEN", "kr_live_canary"),
        ("KEYREEVE_URL", "http://localhost"),
        ("KEYREEVE_PROJECT", "default"),
        ("KEYREEVE_CONFIG", "x.toml"),
        ("KEYREEVE_DATA_DIR", "x"),
        ("KEYREEVE_ALLOW_PLAINTEXT", "1"),
        ("KEYREEVE_KILL_ROUNDS", "5"),
        ("OTHER__SERVER__THREADS", "x"),
    ];
    assert_eq!(load("", &pairs, Flags::default()), from_file(""));
}

#[test]
fn unknown_settings_are_errors_that_name_them() {
    let shown = fault(from_file("[server]\ntreads = 4\n"));
    assert!(shown.starts_with("server.treads is not a setting; there are "), "{shown}");
    assert!(shown.contains("threads") && shown.contains("keyreeve.toml"), "{shown}");
    let shown = fault(from_file("[sever]\nthreads = 4\n"));
    assert!(shown.starts_with("sever is not a setting"), "{shown}");
    let shown = fault(from_variable("KEYREEVE_SERVER__TREADS", "4"));
    assert_eq!(shown, "server.treads is not a setting (KEYREEVE_SERVER__TREADS)");
}

#[test]
fn wrong_types_are_errors_that_show_no_value() {
    for (text, expected) in [
        ("[server]\nthreads = \"canary\"\n", "server.threads must be a whole number"),
        ("[server]\nthreads = 1.5\n", "server.threads must be a whole number"),
        ("[keys]\npepper = 20250101\n", "keys.pepper must be text in quotes"),
        ("[keys]\npepper = { canary = 1 }\n", "keys.pepper must be text in quotes"),
        ("server = \"canary\"\n", "server is a section of settings"),
        (
            "[server.cors]\nallowed_origins = \"canary\"\n",
            "server.cors.allowed_origins must be a list of texts",
        ),
        (
            "[server.cors]\nallowed_origins = [1]\n",
            "server.cors.allowed_origins must be a list of texts",
        ),
    ] {
        let shown = fault(from_file(text));
        assert!(shown.starts_with(expected), "{shown}");
        assert!(!shown.contains("canary") && !shown.contains("20250101"), "{shown}");
    }
    let shown = fault(from_variable("KEYREEVE_SERVER__THREADS", "canary"));
    assert_eq!(shown, "server.threads must be a whole number (KEYREEVE_SERVER__THREADS)");
}

#[test]
fn values_out_of_bounds_are_errors_that_show_no_value() {
    for (name, value, expected) in [
        ("SERVER__LISTEN", "canary:80", "server.listen must be an IP address and a port"),
        ("SERVER__THREADS", "1025", "server.threads must be between 0 and 1024"),
        ("SERVER__THREADS", "-1", "server.threads must be between 0 and 1024"),
        ("SERVER__MAX_CONNECTIONS", "0", "server.max_connections must be between 1 and 1000000"),
        ("SERVER__MAX_BODY_BYTES", "1", "server.max_body_bytes must be between 1024 and 67108864"),
        ("SERVER__MAX_HEADER_BYTES", "1", "server.max_header_bytes must be between 8192 and"),
        ("SERVER__HEADER_TIMEOUT", "1ms", "server.header_timeout must be between 100ms and 10m"),
        ("SERVER__METRICS", "canary", "server.metrics must be open or authenticated"),
        ("SERVER__TLS__CERT", "a.pem", "server.tls.key must be there when server.tls.cert is"),
        ("SERVER__CORS__ALLOWED_ORIGINS", "*", "server.cors.allowed_origins must list each origin"),
        ("STORE__DATA_DIR", "", "store.data_dir must not be empty"),
        ("STORE__READERS", "0", "store.readers must be between 1 and 64"),
        ("KEYS__PEPPER", "canary", "keys.pepper must be file:/path, env:NAME or credential:NAME"),
        ("USAGE__FLUSH_INTERVAL", "2h", "usage.flush_interval must be between 100ms and 1h"),
        ("AUDIT__ANCHOR_INTERVAL", "1ms", "audit.anchor_interval must be between 10ms and 1h"),
        ("LOG__LEVEL", "canary", "log.level must be error, warn, info, debug or trace"),
        ("LOG__FORMAT", "canary", "log.format must be pretty or json"),
        ("SERVER__TRUSTED_PROXIES", "canary", "server.trusted_proxies must be"),
        ("LIMITS__ADMIN", "1000001", "limits.admin must be between 0 and 1000000"),
        ("LIMITS__LOCKOUT", "25h", "limits.lockout must be between 1s and 1d"),
        ("AUTHZ__SECRET", "canary", "authz.secret must be file:/path, env:NAME or"),
        ("AUTHZ__PROJECT", "Canary!", "authz.project must"),
        ("IMPORT__HMAC_SECRET", "canary", "import.hmac_secret must be file:/path, env:NAME or"),
        ("GEO__DATABASE", " ", "geo.database must not be empty"),
        ("IDEMPOTENCY__KEEP", "1s", "idempotency.keep must be between 1m and 30d"),
    ] {
        let name = format!("KEYREEVE_{name}");
        let shown = fault(from_variable(&name, value));
        assert!(shown.starts_with(expected), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn a_bad_value_names_its_source() {
    let shown = fault(from_variable("KEYREEVE_STORE__READERS", "0"));
    assert!(shown.ends_with("(KEYREEVE_STORE__READERS)"), "{shown}");
    let shown = fault(from_file("[store]\nreaders = 0\n"));
    assert!(shown.ends_with("keyreeve.toml)"), "{shown}");
    let flags = Flags { threads: Some(2000), ..Flags::default() };
    let shown = fault(load("", &[], flags));
    assert!(shown.ends_with("(--threads)"), "{shown}");
}

#[test]
fn all_faults_are_found_at_once() {
    let error = from_file("[store]\nreaders = 0\n[log]\nlevel = \"loud\"\n").unwrap_err();
    let fields: Vec<&str> = error.faults().iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["store.readers", "log.level"]);
    assert!(error.to_string().starts_with("the configuration is not valid: store.readers must"));
}

#[test]
fn broken_toml_names_the_line_and_shows_nothing_of_it() {
    let shown = fault(from_file("[server]\nlisten = canary\n"));
    assert!(shown.contains("keyreeve.toml line 2 is not TOML"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_named_file_must_be_there_and_the_usual_one_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyreeve.toml");
    let sources = |file| Sources { file, variables: Vec::new(), flags: Flags::default() };
    let usual = Config::load(sources(ConfigFile::Usual(path.clone())));
    assert_eq!(usual, from_file(""));
    let shown = fault(Config::load(sources(ConfigFile::Named(path))));
    assert!(shown.contains("keyreeve.toml cannot be read"), "{shown}");
}

#[test]
fn printing_the_settings_shows_references_only() {
    let config = from_variable("KEYREEVE_KEYS__PEPPER", "file:/run/secrets/pepper").unwrap();
    assert!(format!("{config:?}").contains("/run/secrets/pepper"));
}

#[test]
fn sections_that_people_name_have_the_defaults_of_their_kind() {
    let team = "[backends.team]\naddress = \"https://a\"\ntoken = \"env:T\"\n";
    assert!(from_file("").unwrap().backends.is_empty());
    let config = from_file(team).unwrap();
    let [only] = &*config.backends else { panic!("{:?}", config.backends) };
    assert_eq!((only.name.as_str(), only.folder.as_str()), ("team", ""));
    // What is said of all counts for each that says nothing else, as in the file that
    // `keyreeve manual --settings` writes.
    let all = "[backends.\"*\"]\nproject = \"of-all\"\nfolder = \"a\"\n";
    let own = format!("{all}{team}folder = \"b\"\n");
    let config = from_file(&own).unwrap();
    assert_eq!(config.backends[0].project.as_str(), "of-all");
    assert_eq!(config.backends[0].folder.as_str(), "b/");
    assert!(from_file(DEFAULTS).unwrap().backends.is_empty());
    let pairs = [("KEYREEVE_BACKENDS__TEAM__FOLDER", "c"), ("KEYREEVE_BACKENDS__X__KIND", "vault")];
    let config = load(
        &format!("{team}[backends.x]\naddress = \"https://b\"\ntoken = \"env:T\"\nfolder = \"d\""),
        &pairs,
        Flags::default(),
    );
    assert_eq!(config.unwrap().backends.len(), 2);
}

#[test]
fn sections_that_people_name_keep_the_rules() {
    let with = |more: &str| {
        let base = "address = \"https://a\"\ntoken = \"env:T\"\n";
        from_file(&format!("[backends.a]\n{base}{more}[backends.b]\n{base}"))
    };
    let overlap = fault(with("folder = \"x\"\n"));
    assert!(overlap.starts_with("backends.b.folder must not lie in another folder"), "{overlap}");
    assert!(with("mode = \"sync\"\nfolder = \"x\"\n").is_ok(), "both may be given the same");
    for (text, expected) in [
        ("[backends.Team]\n", "backends.Team must be called by 1 to 32 characters"),
        ("[backends]\nteam = \"x\"\n", "backends.team is a section of settings"),
        (
            "[backends.team]\nkey = \"x\"\n",
            "backends.team.key is not a setting; there are access_key_id",
        ),
    ] {
        let fault = fault(from_file(text));
        assert!(fault.starts_with(expected), "{fault}");
    }
}
