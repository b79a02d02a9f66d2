//! Nothing of a secret stays in the memory of a server that has answered: neither a core dump nor a page
//! that was swapped out would hold any.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use serde_json::json;

use crate::{
    cli::with_stdin,
    raw_http::Raw,
    support::{Installation, Server, block_on, http, run},
    vault::call,
};

const SMALL: &str = "canary-5b1d77e2-small";
const LARGE: &str = "canary-5b1d77e2-large";
const SHOWN: &str = "canary-5b1d77e2-shown";
/// Known to the server for as long as the secret is there.
const PATH: &str = "production/canary-5b1d77e2-path";

/// How often each text is in the memory that a process can write to.
fn in_memory(pid: u32, texts: &[&str]) -> io::Result<Vec<usize>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut found = vec![0; texts.len()];
    for line in maps.lines() {
        let mut parts = line.split_whitespace();
        let (Some(range), Some(rights)) = (parts.next(), parts.next()) else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = (number(start), number(end));
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // Some regions are the kernel's own, and some went meanwhile.
        if memory.seek(SeekFrom::Start(start)).and_then(|_| memory.read_exact(&mut bytes)).is_err()
        {
            continue;
        }
        for (text, count) in texts.iter().zip(&mut found) {
            *count += bytes.windows(text.len()).filter(|it| *it == text.as_bytes()).count();
        }
    }
    Ok(found)
}

/// Everything that secrets and credentials pass through; gives the credentials that were made.
fn use_the_vault(server: &Server, admin: &str) -> Vec<String> {
    let does = |method: &str, path: &str, body: serde_json::Value| {
        let (status, answer) = block_on(call(&server.url, admin, method, path, Some(&body)));
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    };
    let reads = |path: &str| block_on(call(&server.url, admin, "GET", path, None));
    let data = format!("secret/data/{PATH}");
    for _ in 0..3 {
        does("POST", &data, json!({ "data": { "a": SMALL, "n": "1" } }));
        does("PATCH", &data, json!({ "data": { "b": SMALL } }));
        assert_eq!(reads(&data).1["data"]["data"]["a"], SMALL);
        let large = format!("{LARGE}{}", "x".repeat(200_000));
        does("POST", &data, json!({ "data": { "a": large } }));
        assert_eq!(reads(&data).0, 200);
    }
    // Refused with the value in the wrong place, and as what it is.
    let wrong = json!({ "data": SMALL });
    assert_eq!(block_on(call(&server.url, admin, "POST", &data, Some(&wrong))).0, 400);
    let put = ["secret", "put", PATH, "FIELD=-"];
    assert!(with_stdin(&put, SMALL, server).status.success());
    assert!(run(&["secret", "get", PATH, "--reveal"], &server.data_dir).status.success());
    let made = does("POST", "auth/token/create", json!({ "ttl": "1h" }));
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    assert_eq!(block_on(call(&server.url, &token, "GET", &data, None)).0, 200);
    let wrapped: serde_json::Value = block_on(async {
        let url = format!("{}/v1/{data}", server.url);
        let request = http().get(url).header("x-vault-token", admin);
        let answer = request.header("x-vault-wrap-ttl", "60").send().await.unwrap();
        answer.json().await.unwrap()
    });
    let wrapping = wrapped["wrap_info"]["token"].as_str().unwrap().to_owned();
    let (path, body) = ("sys/wrapping/unwrap", json!({}));
    assert_eq!(block_on(call(&server.url, &wrapping, "POST", path, Some(&body))).0, 200);
    vec![token, wrapping]
}

/// Shows keys on a connection that stays open.
fn ask_and_stay(server: &Server, admin: &str) -> Raw {
    let mut raw = Raw::connect(&server.url);
    for _ in 0..3 {
        let body = json!({ "key": format!("kr_live_{SHOWN}") }).to_string();
        let request = format!(
            "POST /api/v1/verify HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {admin}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert!(raw.send(request.as_bytes()));
        assert!(raw.until("\"request_id\":").contains("\"MALFORMED\""));
        raw.until("}");
    }
    raw
}

#[test]
fn nothing_of_a_secret_stays_in_memory() {
    let installation = Installation::new();
    let server = installation.serve();
    let made = use_the_vault(&server, &installation.admin_key);
    let stays = ask_and_stay(&server, &installation.admin_key);
    let mut texts = vec![PATH, SMALL, LARGE, SHOWN, installation.admin_key.as_str()];
    texts.extend(made.iter().map(String::as_str));
    let found = match in_memory(server.pid(), &texts) {
        Ok(found) => found,
        Err(error) => {
            let said = "SKIPPED: only root can look into the memory of a server";
            let _ = writeln!(io::stderr(), "\n{said}: {error}\n");
            return;
        }
    };
    drop(stays);
    assert!(found[0] > 0, "the search finds what is there");
    assert_eq!(found[1..], vec![0; texts.len() - 1], "{texts:?}");
}
