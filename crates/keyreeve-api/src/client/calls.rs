//! One method a call, in the order of the router.

use reqwest::Method;

use super::{Client, ClientError};
use crate::wire::{
    ApiKeyView, AuditEntryView, CallCountView, CallUsageQuery, CallView, CheckpointView,
    CleanupExpiredRequest, CleanupExpiredView, ClientTokenView, CommitReservationRequest,
    ConnectionTestView, ConnectionView, CreateApiKeyRequest, CreateClientTokenRequest,
    CreateConnectionRequest, CreateEnvironmentRequest, CreateKeyspaceRequest, CreateOwnerRequest,
    CreateProjectRequest, CreateRoleRequest, CreatedApiKeyView, CreatedClientTokenView,
    CreatedProjectView, DeriveApiKeyRequest, EnvironmentView, ExpiringQuery, ExplainRequest,
    ExplanationView, FinishRotationRequest, ImportRequest, ImportView, KeyspaceView,
    ListApiKeysQuery, ListAuditQuery, ListCallsQuery, OwnerView, Page, PageQuery, ProjectView,
    PurgeView, QuotaLevelView, ReadinessView, ReasonRequest, RoleView, RotateApiKeyRequest,
    RotatedApiKeyView, SuggestedLimitsView, TestConnectionRequest, UpdateApiKeyRequest,
    UpdateConnectionRequest, UpdateKeyspaceRequest, UpdateOwnerRequest, UpdateRoleRequest,
    VerifyRequest, VerifyView,
};

impl Client {
    /// Makes a key. With an idempotency key, a repeated call returns the first answer.
    pub async fn create_api_key(
        &self,
        body: &CreateApiKeyRequest,
        idempotency_key: Option<&str>,
    ) -> Result<CreatedApiKeyView, ClientError> {
        let request = self.request(Method::POST, &["api-keys"]).json(body);
        self.answer(idempotent(request, idempotency_key)).await
    }

    /// Lists keys.
    pub async fn list_api_keys(
        &self,
        query: &ListApiKeysQuery,
    ) -> Result<Page<ApiKeyView>, ClientError> {
        self.find(&["api-keys"], query).await
    }

    /// Lists keys about to expire.
    pub async fn expiring_api_keys(
        &self,
        query: &ExpiringQuery,
    ) -> Result<Page<ApiKeyView>, ClientError> {
        self.find(&["api-keys", "expiring"], query).await
    }

    /// Deletes expired keys.
    pub async fn cleanup_expired(
        &self,
        body: &CleanupExpiredRequest,
    ) -> Result<CleanupExpiredView, ClientError> {
        self.send(Method::POST, &["api-keys", "cleanup-expired"], body).await
    }

    /// One key.
    pub async fn api_key(&self, id: &str) -> Result<ApiKeyView, ClientError> {
        self.get(&["api-keys", id]).await
    }

    /// Changes a key.
    pub async fn update_api_key(
        &self,
        id: &str,
        body: &UpdateApiKeyRequest,
    ) -> Result<ApiKeyView, ClientError> {
        self.send(Method::PATCH, &["api-keys", id], body).await
    }

    /// Deletes a key; it can be brought back for 30 days.
    pub async fn delete_api_key(&self, id: &str) -> Result<ApiKeyView, ClientError> {
        self.delete(&["api-keys", id]).await
    }

    /// Replaces a key. With an idempotency key, a repeated call returns the first answer.
    pub async fn rotate_api_key(
        &self,
        id: &str,
        body: &RotateApiKeyRequest,
        idempotency_key: Option<&str>,
    ) -> Result<RotatedApiKeyView, ClientError> {
        let request = self.request(Method::POST, &["api-keys", id, "rotate"]).json(body);
        self.answer(idempotent(request, idempotency_key)).await
    }

    /// Ends the grace of a replaced key.
    pub async fn finish_rotation(
        &self,
        id: &str,
        body: &FinishRotationRequest,
    ) -> Result<ApiKeyView, ClientError> {
        self.send(Method::POST, &["api-keys", id, "finish-rotation"], body).await
    }

    /// Refuses a key for good.
    pub async fn revoke_api_key(
        &self,
        id: &str,
        body: &ReasonRequest,
    ) -> Result<ApiKeyView, ClientError> {
        self.send(Method::POST, &["api-keys", id, "revoke"], body).await
    }

    /// Switches a key on again.
    pub async fn enable_api_key(&self, id: &str) -> Result<ApiKeyView, ClientError> {
        self.send(Method::POST, &["api-keys", id, "enable"], &ReasonRequest::default()).await
    }

    /// Switches a key off.
    pub async fn disable_api_key(
        &self,
        id: &str,
        body: &ReasonRequest,
    ) -> Result<ApiKeyView, ClientError> {
        self.send(Method::POST, &["api-keys", id, "disable"], body).await
    }

    /// Brings a deleted key back.
    pub async fn undelete_api_key(&self, id: &str) -> Result<ApiKeyView, ClientError> {
        self.send(Method::POST, &["api-keys", id, "undelete"], &ReasonRequest::default()).await
    }

    /// Derives a key from the caller's own.
    pub async fn derive_api_key(
        &self,
        body: &DeriveApiKeyRequest,
        idempotency_key: Option<&str>,
    ) -> Result<CreatedApiKeyView, ClientError> {
        let request = self.request(Method::POST, &["api-keys", "derive"]).json(body);
        self.answer(idempotent(request, idempotency_key)).await
    }

    /// Brings keys of another system in.
    pub async fn import_api_keys(&self, body: &ImportRequest) -> Result<ImportView, ClientError> {
        self.send(Method::POST, &["api-keys", "import"], body).await
    }

    /// Says what would become of a request with this key, check by check.
    pub async fn explain_api_key(
        &self,
        id: &str,
        body: &ExplainRequest,
    ) -> Result<ExplanationView, ClientError> {
        self.send(Method::POST, &["api-keys", id, "explain"], body).await
    }

    /// Limits proposed from how the key was used.
    pub async fn suggested_limits(&self, id: &str) -> Result<SuggestedLimitsView, ClientError> {
        self.get(&["api-keys", id, "suggested-limits"]).await
    }

    /// Spends from what a verification set aside.
    pub async fn commit_reservation(
        &self,
        id: &str,
        body: &CommitReservationRequest,
    ) -> Result<QuotaLevelView, ClientError> {
        self.send(Method::POST, &["reservations", id, "commit"], body).await
    }

    /// Frees what a verification set aside.
    pub async fn cancel_reservation(&self, id: &str) -> Result<(), ClientError> {
        self.checked(self.request(Method::POST, &["reservations", id, "cancel"])).await?;
        Ok(())
    }

    /// Gives up a place among the requests in flight.
    pub async fn release_lease(&self, id: &str) -> Result<(), ClientError> {
        self.checked(self.request(Method::POST, &["leases", id, "release"])).await?;
        Ok(())
    }

    /// Removes a key that was deleted more than 30 days ago.
    pub async fn purge_api_key(&self, id: &str) -> Result<PurgeView, ClientError> {
        self.send(Method::POST, &["api-keys", id, "purge"], &ReasonRequest::default()).await
    }

    /// Asks whether a key is good.
    pub async fn verify(&self, body: &VerifyRequest) -> Result<VerifyView, ClientError> {
        self.send(Method::POST, &["verify"], body).await
    }

    /// Makes a connection.
    pub async fn create_connection(
        &self,
        body: &CreateConnectionRequest,
    ) -> Result<ConnectionView, ClientError> {
        self.send(Method::POST, &["connections"], body).await
    }

    /// Lists connections.
    pub async fn list_connections(&self) -> Result<Page<ConnectionView>, ClientError> {
        self.get(&["connections"]).await
    }

    /// One connection.
    pub async fn connection(&self, name: &str) -> Result<ConnectionView, ClientError> {
        self.get(&["connections", name]).await
    }

    /// Changes a connection.
    pub async fn update_connection(
        &self,
        name: &str,
        body: &UpdateConnectionRequest,
    ) -> Result<ConnectionView, ClientError> {
        self.send(Method::PATCH, &["connections", name], body).await
    }

    /// Removes a connection.
    pub async fn delete_connection(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&["connections", name]).await
    }

    /// Ends all calls that are going on.
    pub async fn cut_connections(&self) -> Result<(), ClientError> {
        self.send(Method::POST, &["connection-cuts"], &serde_json::json!({})).await
    }

    /// Asks a service whether a credential is good.
    pub async fn test_connection(
        &self,
        body: &TestConnectionRequest,
    ) -> Result<ConnectionTestView, ClientError> {
        self.send(Method::POST, &["connection-tests"], body).await
    }

    /// What was called through connections, by day and client.
    pub async fn connection_usage(
        &self,
        query: &CallUsageQuery,
    ) -> Result<Page<CallCountView>, ClientError> {
        self.find(&["connection-usage"], query).await
    }

    /// Single calls, the latest first.
    pub async fn connection_calls(
        &self,
        query: &ListCallsQuery,
    ) -> Result<Page<CallView>, ClientError> {
        self.find(&["connection-calls"], query).await
    }

    /// Makes a token for a client of connections.
    pub async fn create_client_token(
        &self,
        body: &CreateClientTokenRequest,
    ) -> Result<CreatedClientTokenView, ClientError> {
        self.send(Method::POST, &["client-tokens"], body).await
    }

    /// Lists the tokens that are good now.
    pub async fn list_client_tokens(&self) -> Result<Page<ClientTokenView>, ClientError> {
        self.get(&["client-tokens"]).await
    }

    /// Ends a token.
    pub async fn revoke_client_token(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&["client-tokens", id]).await
    }

    /// Makes a keyspace.
    pub async fn create_keyspace(
        &self,
        body: &CreateKeyspaceRequest,
    ) -> Result<KeyspaceView, ClientError> {
        self.send(Method::POST, &["keyspaces"], body).await
    }

    /// Lists keyspaces.
    pub async fn list_keyspaces(&self) -> Result<Page<KeyspaceView>, ClientError> {
        self.get(&["keyspaces"]).await
    }

    /// One keyspace.
    pub async fn keyspace(&self, name: &str) -> Result<KeyspaceView, ClientError> {
        self.get(&["keyspaces", name]).await
    }

    /// Changes a keyspace.
    pub async fn update_keyspace(
        &self,
        name: &str,
        body: &UpdateKeyspaceRequest,
    ) -> Result<KeyspaceView, ClientError> {
        self.send(Method::PATCH, &["keyspaces", name], body).await
    }

    /// Removes a keyspace that has no keys.
    pub async fn delete_keyspace(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&["keyspaces", name]).await
    }

    /// Makes an environment.
    pub async fn create_environment(
        &self,
        body: &CreateEnvironmentRequest,
    ) -> Result<EnvironmentView, ClientError> {
        self.send(Method::POST, &["environments"], body).await
    }

    /// Lists environments.
    pub async fn list_environments(&self) -> Result<Page<EnvironmentView>, ClientError> {
        self.get(&["environments"]).await
    }

    /// Removes an environment that has no keys.
    pub async fn delete_environment(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&["environments", name]).await
    }

    /// Makes an owner.
    pub async fn create_owner(&self, body: &CreateOwnerRequest) -> Result<OwnerView, ClientError> {
        self.send(Method::POST, &["owners"], body).await
    }

    /// Lists owners.
    pub async fn list_owners(&self, query: &PageQuery) -> Result<Page<OwnerView>, ClientError> {
        self.find(&["owners"], query).await
    }

    /// One owner.
    pub async fn owner(&self, id: &str) -> Result<OwnerView, ClientError> {
        self.get(&["owners", id]).await
    }

    /// Changes an owner.
    pub async fn update_owner(
        &self,
        id: &str,
        body: &UpdateOwnerRequest,
    ) -> Result<OwnerView, ClientError> {
        self.send(Method::PATCH, &["owners", id], body).await
    }

    /// Removes an owner that has no keys.
    pub async fn delete_owner(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&["owners", id]).await
    }

    /// Makes a role.
    pub async fn create_role(&self, body: &CreateRoleRequest) -> Result<RoleView, ClientError> {
        self.send(Method::POST, &["roles"], body).await
    }

    /// Lists roles, the built-in ones first.
    pub async fn list_roles(&self) -> Result<Page<RoleView>, ClientError> {
        self.get(&["roles"]).await
    }

    /// One role.
    pub async fn role(&self, name: &str) -> Result<RoleView, ClientError> {
        self.get(&["roles", name]).await
    }

    /// Changes a role.
    pub async fn update_role(
        &self,
        name: &str,
        body: &UpdateRoleRequest,
    ) -> Result<RoleView, ClientError> {
        self.send(Method::PATCH, &["roles", name], body).await
    }

    /// Removes a role that no key carries.
    pub async fn delete_role(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&["roles", name]).await
    }

    /// Makes a project with its first admin key.
    pub async fn create_project(
        &self,
        body: &CreateProjectRequest,
    ) -> Result<CreatedProjectView, ClientError> {
        self.send(Method::POST, &["projects"], body).await
    }

    /// Lists projects.
    pub async fn list_projects(&self) -> Result<Page<ProjectView>, ClientError> {
        self.get(&["projects"]).await
    }

    /// Lists audit entries, newest first.
    pub async fn list_audit(
        &self,
        query: &ListAuditQuery,
    ) -> Result<Page<AuditEntryView>, ClientError> {
        self.find(&["audit"], query).await
    }

    /// The signed tree head over all entries so far.
    pub async fn audit_checkpoint(&self) -> Result<CheckpointView, ClientError> {
        self.get(&["audit", "checkpoint"]).await
    }

    /// Whether the server can do its work. A server that cannot says so with its answer, which
    /// is then no error here.
    pub async fn readiness(&self) -> Result<ReadinessView, ClientError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("readyz");
        }
        let response = self
            .http
            .get(url)
            .send()
            .await
            .map_err(|source| super::unreachable(&self.endpoint, source))?;
        let status = response.status();
        response.json().await.map_err(|_| self.not_keyreeve(status))
    }

    /// The whole log as JSON lines, in chunks as they arrive: call `chunk` until `None`.
    pub async fn export_audit(&self) -> Result<AuditExport, ClientError> {
        let response = self.checked(self.request(Method::GET, &["audit", "export"])).await?;
        Ok(AuditExport { response, endpoint: self.endpoint.clone() })
    }
}

/// An export on its way.
#[derive(Debug)]
pub struct AuditExport {
    response: reqwest::Response,
    endpoint: super::Endpoint,
}

impl AuditExport {
    /// The next bytes, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let chunk = self
            .response
            .chunk()
            .await
            .map_err(|source| super::unreachable(&self.endpoint, source))?;
        Ok(chunk.map(|bytes| bytes.to_vec()))
    }
}

fn idempotent(
    request: reqwest::RequestBuilder,
    idempotency_key: Option<&str>,
) -> reqwest::RequestBuilder {
    match idempotency_key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    }
}
