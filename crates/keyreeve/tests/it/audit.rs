//! The record: complete, checkable, and loud when touched.

use std::fs;

use keyreeve_api::ListAuditQuery;

use crate::{
    keys::named,
    support::{Installation, block_on, run, run_json, text},
};

/// An installation with some history, stopped.
fn with_history() -> Installation {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        for n in 0..20 {
            client.create_api_key(&named(&format!("key-{n}")), None).await.unwrap();
        }
    });
    server.stop();
    installation
}

#[test]
fn an_untouched_log_verifies() {
    let installation = with_history();
    let report = run_json(&["audit", "verify"], &installation.data_dir());
    assert_eq!(report["intact"], true);
    assert_eq!(report["size"], 23, "set-up, vault, twenty keys, one usage batch: {report}");
    assert!(report["root"].as_str().unwrap().len() >= 43);
    let output = run(&["audit", "verify"], &installation.data_dir());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn one_flipped_byte_of_one_entry_is_found_and_named() {
    let installation = with_history();
    let database = installation.data_dir().join("keyreeve.db");
    let mut bytes = fs::read(&database).unwrap();
    let needle = b"\"name\":\"key-7\"";
    let places: Vec<_> =
        (0..bytes.len() - needle.len()).filter(|n| bytes[*n..].starts_with(needle)).collect();
    assert!(!places.is_empty(), "the entry is in the file");
    for place in &places {
        bytes[place + 9] ^= 1;
    }
    fs::write(&database, bytes).unwrap();
    let output = run(&["audit", "verify"], &installation.data_dir());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("entry 9 was changed"), "{said}");
}

#[test]
fn an_export_can_be_checked_anywhere_with_the_public_key_alone() {
    let installation = with_history();
    let server = installation.serve();
    let export = installation.folder.path().join("audit.jsonl");
    let export_text = export.to_str().unwrap();
    let output = run(&["audit", "export", "--output", export_text], &installation.data_dir());
    assert!(output.status.success(), "{}", text(&output.stderr));
    server.stop();

    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("audit.pub");
    fs::copy(installation.data_dir().join("audit.pub"), &key).unwrap();
    let verify = |file: &std::path::Path| {
        let file = file.to_str().unwrap();
        let arguments = ["audit", "verify", "--file", file, "--public-key", key.to_str().unwrap()];
        run(&arguments, &elsewhere.path().join("no-data"))
    };
    let good = verify(&export);
    assert_eq!(good.status.code(), Some(0), "{}{}", text(&good.stdout), text(&good.stderr));

    let lines: Vec<_> = fs::read_to_string(&export).unwrap().lines().map(str::to_owned).collect();
    let spoiled = elsewhere.path().join("spoiled.jsonl");
    let changed = |lines: Vec<String>| fs::write(&spoiled, lines.join("\n") + "\n").unwrap();
    let mut edited = lines.clone();
    edited[5] = edited[5].replace("key.create", "key.revoke");
    changed(edited);
    assert_eq!(verify(&spoiled).status.code(), Some(1));
    let mut missing = lines.clone();
    missing.remove(6);
    changed(missing);
    assert_eq!(verify(&spoiled).status.code(), Some(1));
    let mut swapped = lines.clone();
    swapped.swap(6, 7);
    changed(swapped);
    assert_eq!(verify(&spoiled).status.code(), Some(1));
    // Cut short: the signed tree head says how much there was.
    let mut cut = lines.clone();
    cut.remove(lines.len() - 2);
    changed(cut);
    assert_eq!(verify(&spoiled).status.code(), Some(1));

    let stranger = Installation::new();
    fs::copy(stranger.data_dir().join("audit.pub"), &key).unwrap();
    let other = verify(&export);
    assert_ne!(other.status.code(), Some(0), "signed by another key");
}

#[test]
fn every_act_is_recorded_with_actor_target_and_request() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let made = client.create_api_key(&named("a"), None).await.unwrap();
        let reason = keyreeve_api::ReasonRequest { reason: Some("leaked".into()) };
        client.revoke_api_key(&made.details.id, &reason).await.unwrap();
        server.local(None).list_keyspaces().await.unwrap();
        let query =
            ListAuditQuery { target: Some(made.details.id.clone()), ..ListAuditQuery::default() };
        let entries = client.list_audit(&query).await.unwrap().items;
        let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["key.revoke", "key.create"]);
        assert_eq!(entries[0].reason.as_deref(), Some("leaked"));
        assert!(entries[0].actor.starts_with("key:"));
        assert_eq!(entries[0].request.as_ref().unwrap().ip.as_deref(), Some("127.0.0.1"));

        // By action prefix and by time; reading is recorded too.
        let query = ListAuditQuery { action: Some("key.*".into()), ..Default::default() };
        assert_eq!(client.list_audit(&query).await.unwrap().items.len(), 2);
        let query = ListAuditQuery { action: Some("audit.read".into()), ..Default::default() };
        assert_eq!(client.list_audit(&query).await.unwrap().items.len(), 3);
        let query = ListAuditQuery { until: Some(made.details.created_at), ..Default::default() };
        let before: Vec<_> = client.list_audit(&query).await.unwrap().items;
        let before: Vec<_> = before.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(before, ["vault.create", "installation.init"]);
        let text = serde_json::to_string(&client.list_audit(&Default::default()).await.unwrap());
        assert!(!text.unwrap().contains(&made.key.expose()[20..]));
    });
}

#[test]
fn refused_verifications_are_counted_into_the_record() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        for _ in 0..5 {
            let question =
                keyreeve_api::VerifyRequest::new(keyreeve_api::SecretText::new("nonsense"));
            assert!(!client.verify(&question).await.unwrap().valid);
        }
    });
    server.stop();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    let query = ListAuditQuery { action: Some("denial.batch".into()), ..Default::default() };
    let entries = block_on(client.list_audit(&query)).unwrap().items;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].details["total"], 5);
    assert_eq!(entries[0].details["denials"][0]["code"], "MALFORMED");
}
