//! Who may do what at which path.

use std::sync::Arc;

use keyreeve_core::{
    audit::{Actor, AuditEntry, Outcome, Target},
    model::ApiKey,
    name::ProjectName,
    vault::{Capabilities, Capability, SecretPath, VaultPolicy, VaultToken},
};
use serde_json::{Map, json};

use super::{VaultError, policies::permission, records::Known};
use crate::{Caller, Engine, Error, Permit, RequestMeta, action::ReadPolicies, store::RecordKind};

/// Grants everything at every path.
pub(super) const MANAGE: &str = "keyreeve.secrets.manage";

/// Somebody at the vault's door, with the policies that hold for them.
#[derive(Clone, Debug)]
pub struct VaultAccess {
    pub(super) project: ProjectName,
    pub(super) actor: Actor,
    pub(super) request: RequestMeta,
    pub(super) rights: Rights,
}

#[derive(Clone, Debug)]
pub(super) enum Rights {
    Everything,
    Policies(Vec<Arc<VaultPolicy>>),
}

/// The right to do one thing at one path once. Can only be got from [`Engine::permit_path`].
#[derive(Debug)]
pub struct PathPermit<'a> {
    access: &'a VaultAccess,
    path: &'a SecretPath,
}

impl<'a> PathPermit<'a> {
    /// Where.
    pub fn path(&self) -> &'a SecretPath {
        self.path
    }

    pub(super) fn access(&self) -> &'a VaultAccess {
        self.access
    }
}

impl VaultAccess {
    /// Somebody without a credential: for what is found out on their behalf.
    pub(super) fn of_nobody(project: ProjectName, request: RequestMeta) -> Self {
        let rights = Rights::Policies(Vec::new());
        Self { project, actor: Actor::Anonymous, request, rights }
    }

    /// The vault itself, which takes in what another store has, or gives it something.
    pub(super) fn of_backend(project: ProjectName, name: &str, request: RequestMeta) -> Self {
        let actor = Actor::System(format!("backend {name}").into());
        Self { project, actor, request, rights: Rights::Everything }
    }

    /// What the holder of a token may do.
    pub(super) fn of_token(
        project: ProjectName,
        token: &VaultToken,
        policies: Vec<Arc<VaultPolicy>>,
        request: RequestMeta,
    ) -> Self {
        let actor = token.actor();
        let rights = if token.everything { Rights::Everything } else { Rights::Policies(policies) };
        Self { project, actor, request, rights }
    }

    /// Whether everything may be done, whatever policies say.
    pub fn may_everything(&self) -> bool {
        matches!(self.rights, Rights::Everything)
    }

    /// Whether there is anything at all that may be done.
    pub fn has_any_right(&self) -> bool {
        match &self.rights {
            Rights::Everything => true,
            Rights::Policies(policies) => !policies.is_empty(),
        }
    }

    /// The names of the policies that hold.
    pub(super) fn policy_names(&self) -> Vec<String> {
        match &self.rights {
            Rights::Everything => Vec::new(),
            Rights::Policies(policies) => {
                policies.iter().map(|policy| policy.name.as_str().to_owned()).collect()
            }
        }
    }

    /// The tenant.
    pub fn project(&self) -> &ProjectName {
        &self.project
    }

    /// The request that brought its holder.
    pub(super) fn request(&self) -> &RequestMeta {
        &self.request
    }

    /// The form the audit keeps.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What may be done at a path.
    pub fn capabilities(&self, path: &str) -> Capabilities {
        match &self.rights {
            Rights::Everything => Capabilities::everything(),
            Rights::Policies(policies) => {
                let decided = VaultPolicy::decide(policies.iter().map(|policy| &**policy), path);
                decided.map_or(Capabilities::NONE, |(_, granted, _)| granted)
            }
        }
    }

    /// Whether a folder may be seen in a listing.
    pub(super) fn sees_folder(&self, folder: &str) -> bool {
        match &self.rights {
            Rights::Everything => true,
            Rights::Policies(policies) => {
                VaultPolicy::shows_folder(policies.iter().map(|policy| &**policy), folder)
            }
        }
    }

    /// Whether a secret may be seen in a listing.
    pub(super) fn sees(&self, path: &str) -> bool {
        let granted = self.capabilities(path);
        granted.allow(Capability::List) || granted.allow(Capability::Scan)
    }

    /// An audit entry about a secret.
    pub(crate) fn entry(
        &self,
        engine: &Engine,
        action: &'static str,
        path: &str,
        outcome: Outcome,
    ) -> AuditEntry {
        AuditEntry {
            at: engine.now(),
            project: self.project.clone(),
            actor: self.actor.clone(),
            action: action.into(),
            target: Target::new("secret", path),
            outcome,
            reason: None,
            request: Some(self.request.origin()),
            details: Map::new(),
        }
    }
}

/// Why somebody may do what they may do at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether they may do everything, whatever policies say.
    pub everything: bool,
    /// The pattern that decides: the most particular of all that match; `None` if none does.
    pub pattern: Option<String>,
    /// The policies that have this pattern.
    pub policies: Vec<String>,
    /// What they may do.
    pub granted: Capabilities,
}

fn explain<'p>(
    policies: impl IntoIterator<Item = &'p Arc<VaultPolicy>>,
    path: &str,
) -> Explanation {
    let policies = policies.into_iter().map(|policy| &**policy);
    let Some((pattern, granted, names)) = VaultPolicy::decide(policies, path) else {
        let (pattern, policies) = (None, Vec::new());
        return Explanation { everything: false, pattern, policies, granted: Capabilities::NONE };
    };
    let policies = names.into_iter().map(|name| name.as_str().to_owned()).collect();
    let pattern = Some(pattern.as_str().to_owned());
    Explanation { everything: false, pattern, policies, granted }
}

impl VaultAccess {
    /// Why its holder may do what they may do at a path.
    pub fn explain(&self, path: &str) -> Explanation {
        match &self.rights {
            Rights::Everything => Explanation {
                everything: true,
                pattern: None,
                policies: Vec::new(),
                granted: Capabilities::everything(),
            },
            Rights::Policies(policies) => explain(policies, path),
        }
    }
}

impl Engine {
    /// Why whoever has these policies may do what they may do at a path.
    pub fn explain_policies(
        &self,
        permit: &Permit<'_, ReadPolicies>,
        names: &[String],
        path: &str,
    ) -> Result<Explanation, VaultError> {
        let project = permit.project();
        let policies = self.policies_where(project, |name| names.iter().any(|it| it == name))?;
        Ok(explain(&policies, path))
    }

    /// What a caller may do in the vault: everything with the right to manage secrets, else what the
    /// policies say that the caller is granted by name, as `keyreeve.policies.<name>.use`.
    pub async fn vault_access(&self, caller: &Caller) -> Result<VaultAccess, VaultError> {
        let mut access = VaultAccess {
            project: caller.project().clone(),
            actor: caller.actor(),
            request: *caller.request(),
            rights: Rights::Everything,
        };
        if !caller.covers(MANAGE) {
            access.rights = match self.policies_of(caller) {
                Ok(policies) => Rights::Policies(policies),
                Err(error) => return Err(self.record_tampering(&access, error).await),
            };
        }
        Ok(access)
    }

    /// The names of the policies that hold for a caller, as clients of Vault show them.
    pub fn policy_names(&self, caller: &Caller) -> Vec<String> {
        if caller.covers(MANAGE) {
            return vec!["root".to_owned()];
        }
        let known = self.vault.records.all(caller.project(), RecordKind::Policy);
        let names = known.iter().map(|known| known.record.id.to_string());
        names.filter(|name| caller.covers(&permission(name))).collect()
    }

    /// The key that calls, as it is stored; `None` for callers without one. Everybody may know this of
    /// themselves.
    pub async fn own_key(&self, caller: &Caller) -> Result<Option<ApiKey>, Error> {
        let Some(chain) = caller.calling_key() else { return Ok(None) };
        let found = self.store.key(caller.project(), chain.key.id()).await?;
        Ok(found.map(|found| found.key))
    }

    fn policies_of(&self, caller: &Caller) -> Result<Vec<Arc<VaultPolicy>>, VaultError> {
        self.policies_where(caller.project(), |name| caller.covers(&permission(name)))
    }

    /// The policies whose name is chosen.
    pub(super) fn policies_where(
        &self,
        project: &ProjectName,
        chosen: impl Fn(&str) -> bool,
    ) -> Result<Vec<Arc<VaultPolicy>>, VaultError> {
        self.keyring()?;
        let known = self.vault.records.all(project, RecordKind::Policy);
        let granted = known.iter().filter(|known| chosen(&known.record.id));
        let read = |known: &Arc<Known>| {
            let what = || format!("policy {}", known.record.id);
            let keyring = self.keyring()?;
            let read = known.policy(project, &keyring);
            read.map_err(|why| VaultError::Tampered { what: what(), why })
        };
        granted.map(read).collect()
    }

    /// Lets somebody do something at a path, or records that it was refused.
    pub async fn permit_path<'a>(
        &self,
        access: &'a VaultAccess,
        capability: Capability,
        path: &'a SecretPath,
    ) -> Result<PathPermit<'a>, VaultError> {
        if access.capabilities(path.as_str()).allow(capability) {
            return Ok(PathPermit { access, path });
        }
        Err(self.refuse_path(access, capability, path.as_str()).await)
    }

    /// Refuses a call about something else than a secret, and records that.
    pub async fn refuse_call(&self, access: &VaultAccess, call: &str) -> VaultError {
        self.refuse_path(access, Capability::Sudo, call).await
    }

    /// Records a refusal. Durable before the caller is answered.
    pub(super) async fn refuse_path(
        &self,
        access: &VaultAccess,
        capability: Capability,
        path: &str,
    ) -> VaultError {
        let mut entry = access.entry(self, "secret.access", path, Outcome::Denied);
        entry.details.insert("capability".to_owned(), json!(capability.as_str()));
        match self.begin(access.project()).commit(entry).await {
            Ok(_) => VaultError::Denied { capability, path: path.to_owned() },
            Err(error) => error.into(),
        }
    }
}
