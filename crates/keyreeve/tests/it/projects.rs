//! Tenants do not see one another.

use keyreeve_api::{
    CreateKeyspaceRequest, CreateProjectRequest, ListApiKeysQuery, ReasonRequest, VerifyRequest,
};

use crate::{
    keys::named,
    support::{Installation, block_on, refusal},
};

#[test]
fn another_projects_things_are_not_there() {
    let installation = Installation::new();
    let server = installation.serve();
    let ours = server.client(&installation.admin_key);
    block_on(async {
        let project = CreateProjectRequest { name: "globex".into() };
        let made = ours.create_project(&project).await.unwrap();
        assert_eq!(refusal(ours.create_project(&project).await), "already_exists");
        let theirs = server.client(made.admin_key.key.expose());
        let key = theirs.create_api_key(&named("theirs"), None).await.unwrap();
        let id = key.details.id.as_str();

        let reason = ReasonRequest::default();
        assert_eq!(refusal(ours.api_key(id).await), "not_found");
        assert_eq!(refusal(ours.revoke_api_key(id, &reason).await), "not_found");
        assert_eq!(refusal(ours.delete_api_key(id).await), "not_found");
        assert_eq!(refusal(ours.rotate_api_key(id, &Default::default(), None).await), "not_found");
        assert_eq!(refusal(ours.update_api_key(id, &Default::default()).await), "not_found");
        let question = VerifyRequest::new(key.key.clone());
        let verdict = ours.verify(&question).await.unwrap();
        assert_eq!((verdict.code.as_str(), verdict.key), ("NOT_FOUND", None));
        assert!(theirs.verify(&question).await.unwrap().valid);

        let listed = theirs.list_api_keys(&ListApiKeysQuery::default()).await.unwrap();
        assert_eq!(listed.items.len(), 2, "their admin key and the one they made");
        let keyspace = CreateKeyspaceRequest {
            name: "mobile".into(),
            prefix: "globex_mobile".into(),
            ..CreateKeyspaceRequest::default()
        };
        theirs.create_keyspace(&keyspace).await.unwrap();
        assert_eq!(refusal(ours.keyspace("mobile").await), "not_found");

        // Only the default project looks after projects and the whole log.
        assert_eq!(refusal(theirs.list_projects().await), "forbidden");
        assert_eq!(refusal(theirs.create_project(&project).await), "forbidden");
        assert!(theirs.export_audit().await.is_err());
        let seen = theirs.list_audit(&Default::default()).await.unwrap();
        assert!(seen.items.iter().all(|entry| entry.action != "installation.init"));

        // The local user chooses.
        let local = server.local(Some("globex"));
        assert_eq!(local.api_key(id).await.unwrap().name, "theirs");
        assert_eq!(refusal(server.local(Some("nobody")).api_key(id).await), "not_found");
    });
}

#[test]
fn prefixes_with_underscores_work_through_the_whole_way() {
    let installation = Installation::new();
    let server = installation.serve();
    let client = server.client(&installation.admin_key);
    block_on(async {
        let keyspace = CreateKeyspaceRequest {
            name: "partners".into(),
            prefix: "acme_partner".into(),
            default_expires_in: Some("never".into()),
            ..CreateKeyspaceRequest::default()
        };
        client.create_keyspace(&keyspace).await.unwrap();
        let request = keyreeve_api::CreateApiKeyRequest {
            keyspace: Some("partners".into()),
            environment: Some("staging".into()),
            ..named("p")
        };
        let made = client.create_api_key(&request, None).await.unwrap();
        assert!(made.key.expose().starts_with("acme_partner_test_"));
        assert_eq!(made.details.expires_at, None);
        let question = VerifyRequest::new(made.key);
        assert!(client.verify(&question).await.unwrap().valid);
        assert_eq!(refusal(client.delete_keyspace("partners").await), "in_use");
    });
}
