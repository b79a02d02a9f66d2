//! What is measured: the upstream itself, and each proxy in front of it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BIG_BYTES, ProxyOptions, SMALL_BYTES, is_big, is_small, only};
use crate::bench::bare::{BIG, SMALL};
use crate::bench::load::Requests;
use crate::bench::server::{Server, free_address};
use crate::bench::{http, report, seed, vault};
use crate::{program, workspace};

/// What the servers are called, where they are started and where their figures are looked up.
pub(super) const UPSTREAM: &str = "upstream";
pub(super) const NGINX: &str = "nginx";
pub(super) const CADDY: &str = "Caddy";
pub(super) const KEYREEVE: &str = "keyreeve";

/// What the upstream asks for: made up, and good for nothing elsewhere.
pub(crate) const TOKEN: &str = "EXAMPLE-0123456789abcdefghijklmnopqrstuvwxyz";
/// What Keyreeve calls its way to the upstream.
pub(crate) const CONNECTION: &str = "echo";
/// How long one request of the preparation may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// As often as a connection may be used before nginx closes it; its usual thousand is done in no time.
const REQUESTS_PER_CONNECTION: u32 = 1_000_000_000;

/// A server that is measured, and what it is asked.
pub(super) struct Contender {
    pub(super) server: Server,
    pub(super) small: Arc<Requests>,
    pub(super) big: Arc<Requests>,
    // Behind the server, so that it goes when nobody writes into it any more.
    _folder: Option<TempDir>,
}

/// All that are measured, and what is said of those that are not there.
pub(super) struct LineUp {
    pub(super) all: Vec<Contender>,
    pub(super) skipped: Vec<String>,
}

impl LineUp {
    /// Starts the upstream, and in front of it every proxy that is on this machine. Each has answered.
    pub(super) fn start(options: &ProxyOptions, binaries: &Path) -> anyhow::Result<Self> {
        let lengths = (SMALL_BYTES, BIG_BYTES);
        let server = Server::upstream(binaries, report::cores(), lengths, TOKEN)?;
        let upstream = server.address();
        let bearer = format!("Bearer {TOKEN}");
        let request = |path: &str| http::get_showing(path, "Authorization", &bearer);
        let mut all = vec![Contender::new(server, None, request)?];
        let mut skipped = Vec::new();
        match locate("nginx", options.nginx.as_deref(), Path::new(program::NGINX))? {
            Some(program) => all.push(nginx(&program, upstream, options)?),
            None => skipped.push(skipping(NGINX, "--nginx", "KEYREEVE_NGINX")),
        }
        let usual = workspace::root()?.join(program::OF_PYTHON).join("caddy");
        match locate("caddy", options.caddy.as_deref(), &usual)? {
            Some(program) => all.push(caddy(&program, upstream, options)?),
            None => skipped.push(skipping(CADDY, "--caddy", "KEYREEVE_CADDY")),
        }
        all.push(keyreeve(binaries, upstream, options)?);
        Ok(Self { all, skipped })
    }
}

impl Contender {
    /// A server that answers these requests for the two paths. Each is tried, so that what does not
    /// work says so before the first round.
    fn new(
        server: Server,
        folder: Option<TempDir>,
        request: impl Fn(&str) -> Vec<u8>,
    ) -> anyhow::Result<Self> {
        let (small, big) = (only(request(SMALL))?, only(request(BIG))?);
        let made = Self { server, small, big, _folder: folder };
        made.answers(&made.small, is_small)?;
        made.answers(&made.big, is_big)?;
        Ok(made)
    }

    /// Fails unless the server answers this request as it should.
    fn answers(&self, requests: &Requests, holds: fn(&[u8]) -> bool) -> anyhow::Result<()> {
        let name = self.server.name();
        let answer = http::exchange(self.server.address(), requests.pick(0, 0), PATIENCE)
            .with_context(|| format!("{name} did not answer"))?;
        let shown = &answer.body[..answer.body.len().min(300)];
        ensure!(
            answer.status == 200 && holds(&answer.body),
            "{name} answered with status {} and {} bytes: {}",
            answer.status,
            answer.body.len(),
            String::from_utf8_lossy(shown)
        );
        Ok(())
    }
}

/// Where a program is: as was told, on the path, or at its usual place.
fn locate(name: &str, told: Option<&Path>, usual: &Path) -> anyhow::Result<Option<PathBuf>> {
    if let Some(told) = told {
        ensure!(told.is_file(), "{} is not there: it was named as {name}", told.display());
        return Ok(Some(told.to_path_buf()));
    }
    Ok(program::find(name, usual))
}

/// What is said of a proxy that is not on this machine.
fn skipping(name: &str, option: &str, variable: &str) -> String {
    format!(
        "SKIPPED: {name} is not on this machine, nothing is compared with it \
         (`cargo xtask test` installs it; {option} or {variable} names another place)"
    )
}

fn nginx(
    program: &Path,
    upstream: SocketAddr,
    options: &ProxyOptions,
) -> anyhow::Result<Contender> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    // Started by root, its workers are somebody else, and have to reach the places they write to.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let address = free_address()?;
    let config = folder.path().join("nginx.conf");
    fs::write(&config, nginx_config(folder.path(), address, upstream, options))?;
    let server = Server::nginx(program, folder.path(), &config, address)?;
    Contender::new(server, Some(folder), http::get)
}

fn nginx_config(
    folder: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
    options: &ProxyOptions,
) -> String {
    // Those of the package are not for everybody to write to.
    let places: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|part| format!("  {part}_temp_path \"{}/{part}\";\n", folder.display()))
        .concat();
    format!(
        "worker_processes {workers};\n\
         daemon off;\n\
         pid \"{folder}/pid\";\n\
         error_log stderr;\n\
         events {{\n  worker_connections 4096;\n}}\n\
         http {{\n\
         {places}  access_log off;\n  \
           keepalive_requests {REQUESTS_PER_CONNECTION};\n  \
           upstream {CONNECTION} {{\n    \
             server {upstream};\n    \
             keepalive {kept};\n    \
             keepalive_requests {REQUESTS_PER_CONNECTION};\n  \
           }}\n  \
           server {{\n    \
             listen {address} reuseport;\n    \
             location / {{\n      \
               proxy_pass http://{CONNECTION};\n      \
               proxy_http_version 1.1;\n      \
               proxy_set_header Connection \"\";\n      \
               proxy_set_header Authorization \"Bearer {TOKEN}\";\n    \
             }}\n  \
           }}\n\
         }}\n",
        workers = options.workers,
        folder = folder.display(),
        kept = kept(options),
    )
}

/// How many idle connections to the upstream are kept: none has to be opened anew.
fn kept(options: &ProxyOptions) -> usize {
    options.connections.get().max(super::BIG_CONNECTIONS)
}

fn caddy(
    program: &Path,
    upstream: SocketAddr,
    options: &ProxyOptions,
) -> anyhow::Result<Contender> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let address = free_address()?;
    let config = folder.path().join("Caddyfile");
    fs::write(&config, caddy_config(address, upstream, options))?;
    let workers = options.workers.get();
    let server = Server::caddy(program, folder.path(), &config, address, workers)?;
    Contender::new(server, Some(folder), http::get)
}

fn caddy_config(address: SocketAddr, upstream: SocketAddr, options: &ProxyOptions) -> String {
    format!(
        "{{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}}\n\
         http://:{port} {{\n\
         \tbind {ip}\n\
         \treverse_proxy {upstream} {{\n\
         \t\theader_up Authorization \"Bearer {TOKEN}\"\n\
         \t\ttransport http {{\n\
         \t\t\tkeepalive_idle_conns_per_host {kept}\n\
         \t\t}}\n\
         \t}}\n\
         }}\n",
        port = address.port(),
        ip = address.ip(),
        kept = kept(options),
    )
}

fn keyreeve(
    binaries: &Path,
    upstream: SocketAddr,
    options: &ProxyOptions,
) -> anyhow::Result<Contender> {
    let folder = tempfile::tempdir().context("cannot create a data folder")?;
    let admin_key = seed::init(folder.path(), &[])?;
    let workers = options.workers.to_string();
    // One client makes all requests: the service's own limits are not what is measured.
    let settings = [
        ("KEYREEVE_SERVER__THREADS", workers.as_str()),
        ("KEYREEVE_LIMITS__VIEWER", "0"),
        ("KEYREEVE_LIMITS__OPERATOR", "0"),
    ];
    let server = Server::node(binaries, folder.path(), &settings)?;
    let key = set_up(server.address(), &admin_key, upstream)?;
    let request = |path: &str| {
        http::get_showing(&format!("/proxy/{CONNECTION}{path}"), "X-Keyreeve-Key", &key)
    };
    Contender::new(server, Some(folder), request)
}

/// Gives Keyreeve the token, the connection to the upstream that injects it, and a key of a client that
/// may use the connection; the key is what comes back.
pub(crate) fn set_up(
    address: SocketAddr,
    admin_key: &str,
    upstream: SocketAddr,
) -> anyhow::Result<String> {
    let call = |what: &str, request: &[u8]| -> anyhow::Result<Value> {
        let answer = http::exchange(address, request, PATIENCE)?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status < 300, "keyreeve answered {what} with {}: {body}", answer.status);
        Ok(serde_json::from_str(&body).unwrap_or_default())
    };
    let secret = json!({ "data": { "token": TOKEN } }).to_string();
    let path = "/v1/secret/data/production/echo";
    call("the secret", &vault::request("PUT", path, admin_key, &secret))?;
    let connection = json!({
        "name": CONNECTION,
        "base_url": format!("http://{upstream}"),
        "secret": "production/echo",
        "inject": { "kind": "bearer", "token": "{token}" },
        "allow_internal": true,
        "allow_plaintext": true,
    });
    let request = http::post("/api/v1/connections", admin_key, &connection.to_string());
    call("the connection", &request)?;
    let key = json!({
        "name": "web",
        "permissions": [format!("keyreeve.connections.{CONNECTION}.call")],
        // A limit that is counted at each request and never reached.
        "limits": [{ "name": "burst", "rate": "1000000/1s" }],
    });
    let made = call("the key", &http::post("/api/v1/api-keys", admin_key, &key.to_string()))?;
    Ok(made["key"].as_str().context("no key was shown")?.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: ProxyOptions,
    }

    fn addresses() -> (SocketAddr, SocketAddr) {
        (SocketAddr::from(([127, 0, 0, 1], 8080)), SocketAddr::from(([127, 0, 0, 1], 3000)))
    }

    #[test]
    fn both_peers_inject_over_connections_that_stay_open() -> anyhow::Result<()> {
        let options =
            Line::try_parse_from(["bench", "--connections", "9", "--workers", "3"])?.options;
        let (address, upstream) = addresses();
        let nginx = nginx_config(Path::new("/a b"), address, upstream, &options);
        for line in [
            "worker_processes 3;",
            "pid \"/a b/pid\";",
            "  proxy_temp_path \"/a b/proxy\";",
            "    server 127.0.0.1:3000;",
            "    keepalive 16;",
            "    listen 127.0.0.1:8080 reuseport;",
            "      proxy_http_version 1.1;",
            "      proxy_set_header Authorization \"Bearer EXAMPLE-",
        ] {
            assert!(nginx.contains(&format!("\n{line}")) || nginx.starts_with(line), "{nginx}");
        }
        assert_eq!(nginx.matches('{').count(), nginx.matches('}').count());
        let caddy = caddy_config(address, upstream, &options);
        for line in [
            "http://:8080 {",
            "\tbind 127.0.0.1",
            "\treverse_proxy 127.0.0.1:3000 {",
            "\t\theader_up Authorization \"Bearer EXAMPLE-",
            "\t\t\tkeepalive_idle_conns_per_host 16",
        ] {
            assert!(caddy.contains(&format!("\n{line}")), "{caddy}");
        }
        assert_eq!(caddy.matches('{').count(), caddy.matches('}').count());
        Ok(())
    }

    #[test]
    fn a_program_that_was_named_and_is_not_there_is_an_error() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("keyreeve-no-such-program");
        let name = "keyreeve-no-such-program";
        assert_eq!(locate(name, None, &program)?, None);
        assert!(locate(name, Some(&program), &program).is_err());
        fs::write(&program, "")?;
        assert_eq!(locate(name, Some(&program), Path::new("/"))?, Some(program.clone()));
        assert_eq!(locate(name, None, &program)?, Some(program));
        Ok(())
    }
}
