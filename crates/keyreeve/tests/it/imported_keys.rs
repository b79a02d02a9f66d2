//! Keys of another system, brought in by their hashes.

use keyreeve_api::{CreateApiKeyRequest, ImportRequest, ImportRowRequest, SecretText};

use crate::{
    keys::named,
    policies::{make, plain, texts},
    support::{Installation, block_on},
};

/// bcrypt, cost 4, of `sk_other_made_up_for_this_test_2`.
const BCRYPT_OF_2: &str = "$2b$04$IblU/F1GjygAaWTmMPHlqeSRtaJOksMCazNm/RIjgTd88bclyJSg6";

#[test]
fn keys_of_another_system_come_in_by_their_hashes() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let plain_key = "sk_other_made_up_for_this_test_1";
        let salted_key = "sk_other_made_up_for_this_test_2";
        let row = |name: &str, hash: &str| ImportRowRequest {
            name: name.into(),
            hash: hash.into(),
            ..ImportRowRequest::default()
        };
        // SHA-256 of the first, bcrypt (cost 4) of the second.
        let sha256 = keyreeve_core::audit::Hash::of(plain_key.as_bytes()).to_string();
        let salted = ImportRowRequest { start: Some("sk_other_".into()), ..row("b", BCRYPT_OF_2) };
        let request =
            ImportRequest { keys: vec![row("a", &sha256), salted], ..ImportRequest::default() };
        let dry = client
            .import_api_keys(&ImportRequest { dry_run: true, ..request.clone() })
            .await
            .unwrap();
        assert_eq!((dry.imported, dry.stored), (2, false));
        assert_eq!(plain(&client, &SecretText::new(plain_key.to_owned())).await.code, "MALFORMED");
        let mut broken = request.clone();
        broken.keys.push(row("c", "not a hash"));
        let refused = client.import_api_keys(&broken).await.unwrap();
        assert_eq!(
            (refused.stored, refused.refused, refused.rows[2].field.as_deref()),
            (false, 1, Some("hash"))
        );
        let done = client.import_api_keys(&request).await.unwrap();
        assert!(done.stored && done.rows.iter().all(|row| row.id.is_some()));
        for key in [plain_key, salted_key, salted_key] {
            assert_eq!(
                plain(&client, &SecretText::new(key.to_owned())).await.code,
                "VALID",
                "{key}"
            );
        }
        assert_eq!(
            plain(&client, &SecretText::new("sk_other_wrong".to_owned())).await.code,
            "MALFORMED"
        );
        let twice = client.import_api_keys(&request).await.unwrap();
        assert_eq!((twice.stored, twice.rows[0].field.as_deref()), (false, Some("hash")));
    });
}

#[test]
fn many_first_uses_at_once_are_all_good() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let row = ImportRowRequest {
            name: "salted".into(),
            hash: BCRYPT_OF_2.into(),
            start: Some("sk_other_".into()),
            ..ImportRowRequest::default()
        };
        let request = ImportRequest { keys: vec![row], ..ImportRequest::default() };
        assert!(client.import_api_keys(&request).await.unwrap().stored);
        let again = client.import_api_keys(&request).await.unwrap();
        assert_eq!(again.rows[0].field.as_deref(), Some("hash"), "the very hash is here");
        let key = SecretText::new("sk_other_made_up_for_this_test_2".to_owned());
        let verdicts = futures_util::future::join_all((0..20).map(|_| plain(&client, &key))).await;
        let codes: Vec<&str> = verdicts.iter().map(|verdict| verdict.code.as_str()).collect();
        assert_eq!(codes, ["VALID"; 20]);
    });
}

#[test]
fn no_row_grants_more_than_the_caller_has() {
    let installation = Installation::new();
    let server = installation.serve();
    let admin = server.client(&installation.admin_key);
    block_on(async {
        let permissions = texts(&["keyreeve.keys.manage", "documents.*"]);
        let request = CreateApiKeyRequest { permissions, ..named("weak") };
        let weak = server.client(make(&admin, request).await.key.expose());
        let row = |number: u8, permission: &str| ImportRowRequest {
            name: permission.into(),
            hash: format!("{number:064x}"),
            permissions: texts(&[permission]),
            ..ImportRowRequest::default()
        };
        let keys = vec![row(1, "documents.read"), row(2, "payments.write")];
        let request = ImportRequest { keys, dry_run: true, ..ImportRequest::default() };
        let told = weak.import_api_keys(&request).await.unwrap();
        assert_eq!((told.imported, told.refused), (1, 1));
        assert_eq!(told.rows[1].field.as_deref(), Some("permissions"));
        let request = ImportRequest { dry_run: false, partial: true, ..request };
        let done = weak.import_api_keys(&request).await.unwrap();
        assert_eq!((done.imported, done.refused, done.stored), (1, 1, true));
    });
}

#[test]
fn the_successor_of_an_imported_key_has_a_text_of_its_own() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    let text = "sk_other_made_up_for_this_test_3";
    let shown = SecretText::new(text.to_owned());
    let (id, new) = block_on(async {
        let row = ImportRowRequest {
            name: "a".into(),
            hash: keyreeve_core::audit::Hash::of(text.as_bytes()).to_string(),
            ..ImportRowRequest::default()
        };
        let request = ImportRequest { keys: vec![row], ..ImportRequest::default() };
        let done = client.import_api_keys(&request).await.unwrap();
        let id = done.rows[0].id.clone().unwrap();
        let new = client.rotate_api_key(&id, &Default::default(), None).await.unwrap();
        assert!(!new.details.imported);
        client.finish_rotation(&id, &Default::default()).await.unwrap();
        (id, new.key)
    });
    server.stop();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        assert_eq!(plain(&client, &shown).await.code, "GRACE_ENDED");
        assert_eq!(plain(&client, &new).await.code, "VALID");
        // Gone is gone: its hash leads nowhere, and can come in again.
        client.delete_api_key(&id).await.unwrap();
        assert_eq!(plain(&client, &shown).await.code, "MALFORMED");
    });
}
