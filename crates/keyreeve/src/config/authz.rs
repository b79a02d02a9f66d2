//! What gateways need to ask for a verdict.

use keyreeve_core::name::ProjectName;
use serde::Deserialize;

use super::{fault::Rules, secret::SecretReference};

/// `[authz]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthzConfig {
    /// Where the secret is that gateways show; `None` means that no gateway is answered.
    pub(crate) secret: Option<SecretReference>,
    /// The project whose keys are good.
    pub(crate) project: ProjectName,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuthz {
    secret: String,
    project: String,
}

impl RawAuthz {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<AuthzConfig> {
        let secret = rules.keep("authz.secret", SecretReference::parse(&self.secret));
        let project = rules.keep("authz.project", self.project.parse());
        Some(AuthzConfig { secret: secret?, project: project? })
    }
}
