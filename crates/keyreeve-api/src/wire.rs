//! Requests and answers, one file a resource.

mod api_key;
mod audit;
mod connection;
mod environment;
mod import;
mod keyspace;
mod owner;
mod page;
mod patch;
mod policy;
mod project;
mod readiness;
mod role;
mod secret_text;
mod verify;
mod webhook;

pub use api_key::{
    ApiKeyView, CleanupExpiredRequest, CleanupExpiredView, CreateApiKeyRequest, CreatedApiKeyView,
    DeriveApiKeyRequest, ExpiringQuery, FinishRotationRequest, ListApiKeysQuery, PurgeView,
    ReasonRequest, RevocationView, RotateApiKeyRequest, RotatedApiKeyView, RotationView,
    UpdateApiKeyRequest, UsageView,
};
pub use audit::{AuditEntryView, CheckpointView, ListAuditQuery, RequestOriginView, TargetView};
pub use connection::{
    CacheRulesView, CallCostView, CallCountView, CallLimitsView, CallUsageQuery, CallView,
    ClientTokenView, ConnectionTestView, ConnectionView, CreateClientTokenRequest,
    CreateConnectionRequest, CreatedClientTokenView, ListCallsQuery, PatienceView,
    TestConnectionRequest, UpdateConnectionRequest,
};
pub use environment::{CreateEnvironmentRequest, EnvironmentView};
pub use import::{ImportRequest, ImportRowRequest, ImportView, ImportedRowView};
pub use keyspace::{CreateKeyspaceRequest, KeyspaceView, UpdateKeyspaceRequest};
pub use owner::{CreateOwnerRequest, OwnerView, UpdateOwnerRequest};
pub use page::{Page, PageQuery};
pub use patch::Patch;
pub use policy::{
    LimitOverrideView, LimitView, PeaksView, RestrictionsChange, RestrictionsView,
    SuggestedLimitsView,
};
pub use project::{CreateProjectRequest, CreatedProjectView, ProjectView};
pub use readiness::{ReadinessChecksView, ReadinessView};
pub use role::{CreateRoleRequest, RoleView, UpdateRoleRequest};
pub use secret_text::SecretText;
pub use verify::{
    AsOfView, CheckView, CommitReservationRequest, CostRequest, DenialView, ExplainRequest,
    ExplanationView, LeaseView, LimitLevelView, QuotaLevelView, RequestContext, ReservationView,
    ReserveRequest, VerifiedKeyView, VerifiedOwnerView, VerifiedRotationView, VerifyRequest,
    VerifyView,
};

pub use webhook::{
    CreateWebhookSourceRequest, CreatedWebhookSourceView, ListWebhookEventsQuery,
    RotateWebhookSecretRequest, UpdateWebhookSourceRequest, WebhookEventDetailsView,
    WebhookEventPreviewView, WebhookEventView, WebhookSecretView, WebhookSourceView,
    WebhookTallyView,
};

/// A JSON object of the team's own.
pub type MetadataView = serde_json::Map<String, serde_json::Value>;
