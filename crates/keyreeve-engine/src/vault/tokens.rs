//! Tokens: made, shown, renewed, revoked.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Invalid, Secret,
    audit::{AuditEntry, Outcome, Target},
    model::Revision,
    name::ProjectName,
    vault::{
        LONGEST_LIFE, TOKEN_PREFIX, TokenParent, VaultToken, credential_digest, new_credential,
    },
    verdict::VerdictCode,
};
use serde_json::json;

use super::{
    VaultAccess, VaultError, access::MANAGE, policies::permission, records::Known,
    secrets::is_conflict,
};
use crate::{
    Engine, Error, FieldError, RequestMeta,
    live::LiveKey,
    store::{Change, Kind, RecordKind},
    verify::Chain,
};

/// The most tokens that stand one above the other.
const MOST_GENERATIONS: usize = 16;
/// How often a change is tried again that somebody else got in the way of.
const MOST_TRIES: usize = 16;
/// The most tokens of a project.
const MOST_TOKENS: usize = 100_000;
/// The policy that every token has, if there is one of that name.
const DEFAULT: &str = "default";

/// A token that was shown and is good.
#[derive(Clone, Debug)]
pub struct TokenHolder {
    /// Its digest.
    pub id: String,
    /// What is known of it.
    pub token: Arc<VaultToken>,
    /// What its holder may do.
    pub access: VaultAccess,
}

/// What a new token is to be.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// Its policies; empty for those of whoever makes it.
    pub policies: Vec<String>,
    /// Whether it goes without the policy that every token has.
    pub no_default_policy: bool,
    /// What people call it.
    pub display_name: String,
    /// Notes.
    pub meta: BTreeMap<String, String>,
    /// How long it lives; zero for as long as may be.
    pub ttl: SignedDuration,
    /// How long it can be renewed to; zero for as long as may be.
    pub max_ttl: SignedDuration,
    /// How long every renewal makes it live; zero for none.
    pub period: SignedDuration,
    /// How often it can be used; 0 without end.
    pub num_uses: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// A new token. Its text is known to nobody else.
#[derive(Debug)]
pub struct IssuedVaultToken {
    /// The text.
    pub text: Secret<String>,
    /// What is known of it.
    pub token: VaultToken,
}

/// What a token hangs on.
enum Ancestry {
    /// Nothing.
    Independent,
    /// A key that is good, and those it was derived from.
    Of(Chain),
    /// Something that is not good any more.
    Gone,
}

/// A token as it is stored.
struct StoredToken {
    token: Arc<VaultToken>,
    revision: Revision,
}

fn invalid(field: &'static str, rule: &'static str) -> VaultError {
    VaultError::Invalid(FieldError::new(field, Invalid::new(rule)))
}

impl Engine {
    /// Whoever shows this token; counts the use if uses are counted.
    pub async fn token_holder(
        &self,
        text: &str,
        request: RequestMeta,
    ) -> Result<TokenHolder, VaultError> {
        let id = credential_digest(text);
        let found = self.vault.records.find(RecordKind::Token, &id);
        let (project, known) = found.ok_or(VaultError::BadToken)?;
        let read = self.read_token(&project, &known);
        let token = match read {
            Ok(token) => token,
            Err(error) => {
                let nobody = VaultAccess::of_nobody(project, request);
                return Err(self.record_tampering(&nobody, error).await);
            }
        };
        let ancestry = self.ancestry(&project, &token).await?;
        if !token.is_live(self.now()) {
            return Err(VaultError::BadToken);
        }
        let access = self.rights_of(project, &token, &ancestry, request)?;
        let token = match token.uses_left {
            Some(_) => self.count_use(&access, &id).await?,
            None => token,
        };
        Ok(TokenHolder { id, token, access })
    }

    /// What a token may do now.
    fn rights_of(
        &self,
        project: ProjectName,
        token: &VaultToken,
        ancestry: &Ancestry,
        request: RequestMeta,
    ) -> Result<VaultAccess, VaultError> {
        // A token may do no more than the key that it was made with may do now.
        let granted_to_key = |name: &str| match ancestry {
            Ancestry::Of(chain) => chain.may(MANAGE) || chain.may(&permission(name)),
            Ancestry::Independent | Ancestry::Gone => true,
        };
        let lost = match ancestry {
            Ancestry::Gone => true,
            Ancestry::Of(chain) => token.everything && !chain.may(MANAGE),
            Ancestry::Independent => false,
        };
        if lost {
            return Err(VaultError::BadToken);
        }
        let chosen =
            |name: &str| token.policies.iter().any(|policy| policy == name) && granted_to_key(name);
        let policies = self.policies_where(&project, chosen)?;
        Ok(VaultAccess::of_token(project, token, policies, request))
    }

    fn read_token(
        &self,
        project: &ProjectName,
        known: &Known,
    ) -> Result<Arc<VaultToken>, VaultError> {
        let keyring = self.keyring()?;
        known.parsed(project, &keyring).map_err(|why| {
            let what = format!("a token of project {project}");
            VaultError::Tampered { what, why }
        })
    }

    /// What a token hangs on, and whether that is good: its end is theirs.
    async fn ancestry(
        &self,
        project: &ProjectName,
        token: &VaultToken,
    ) -> Result<Ancestry, VaultError> {
        let mut parent = token.parent.clone();
        for _ in 0..MOST_GENERATIONS {
            parent = match parent {
                TokenParent::None => return Ok(Ancestry::Independent),
                TokenParent::Key(id) => {
                    let chain = self.unrestricted_key(project, &id).await?;
                    return Ok(chain.map_or(Ancestry::Gone, Ancestry::Of));
                }
                TokenParent::Token(id) => {
                    let known = self.vault.records.get(project, RecordKind::Token, &id);
                    let Some(known) = known else { return Ok(Ancestry::Gone) };
                    let token = self.read_token(project, &known)?;
                    if self.now() >= token.expires_at {
                        return Ok(Ancestry::Gone);
                    }
                    token.parent.clone()
                }
            };
        }
        Ok(Ancestry::Gone)
    }

    /// A key that is good now, with those it was derived from, unless it is bound to circumstances: who
    /// shows a token of it may be somewhere else, at another time.
    async fn unrestricted_key(
        &self,
        project: &ProjectName,
        id: &str,
    ) -> Result<Option<Chain>, VaultError> {
        let Some(id) = id.parse().ok().filter(|_| self.can_vouch()) else { return Ok(None) };
        let Some(key) = self.key_of(project, id).await? else { return Ok(None) };
        let Some(chain) = self.chain_of_key(key).await? else { return Ok(None) };
        let now = self.now();
        let is_free = |key: &Arc<LiveKey>| {
            let of_owner = key.owner_bounds();
            key.standing(now) == VerdictCode::Valid
                && key.policy().restrictions.is_empty()
                && key.keyspace_content().policy.restrictions.is_empty()
                && of_owner.is_none_or(|(policy, _)| policy.restrictions.is_empty())
        };
        let all_free = chain.keys().all(is_free);
        Ok(all_free.then_some(chain))
    }

    async fn count_use(
        &self,
        access: &VaultAccess,
        id: &str,
    ) -> Result<Arc<VaultToken>, VaultError> {
        let used = self.change_token(access, id, "token.use", |token| match &mut token.uses_left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        });
        used.await.map_err(|error| match error {
            // Somebody else had the last use.
            VaultError::Invalid(_) => VaultError::BadToken,
            other => other,
        })
    }

    /// Makes a token that may do no more than whoever makes it, and ends with them unless it is an
    /// orphan, which only those make who may do everything.
    pub async fn create_token(
        &self,
        access: &VaultAccess,
        parent: TokenParent,
        new: NewToken,
    ) -> Result<IssuedVaultToken, VaultError> {
        let own = access.policy_names();
        let beyond = |name: &String| !own.contains(name);
        if !access.may_everything() && new.policies.iter().any(beyond) {
            if let VaultError::Engine(error) = self.refuse_call(access, "auth/token/create").await {
                return Err(error.into());
            }
            return Err(invalid("policies", "must be among those of the token that makes it"));
        }
        if let TokenParent::Key(id) = &parent
            && self.unrestricted_key(access.project(), id).await?.is_none()
        {
            let rule = "cannot be made by a key that is bound to addresses, times or the like: its \
                        tokens would be bound to nothing";
            return Err(invalid("token", rule));
        }
        if !access.may_everything() && own.is_empty() {
            return Err(self.refuse_call(access, "auth/token/create").await);
        }
        if self.vault.records.count(access.project(), RecordKind::Token) >= MOST_TOKENS {
            return Err(invalid("token", "cannot be made: there are 100000 already"));
        }
        let has_default = access.may_everything() || own.iter().any(|name| name == DEFAULT);
        let no_default_policy = new.no_default_policy || !has_default;
        let new = NewToken { no_default_policy, ..new };
        let inherits = new.policies.is_empty();
        let everything =
            access.may_everything() && (inherits || new.policies.iter().any(|name| name == "root"));
        let policies = if inherits { own } else { new.policies.clone() };
        let text = self.new_token_text()?;
        let path = "auth/token/create";
        let token = self.token_of(NewToken { policies, ..new }, everything, path, parent)?;
        // EXPOSE: becomes the digest that it is found by.
        let id = credential_digest(text.expose());
        let mut entry = access.entry(self, "token.create", &token.accessor, Outcome::Done);
        describe(&mut entry, &token);
        let project = access.project();
        let record = self.record(project, RecordKind::Token, &id, &token, 0)?;
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        Ok(IssuedVaultToken { text, token })
    }

    pub(super) fn new_token_text(&self) -> Result<Secret<String>, VaultError> {
        let random = Secret::new(self.entropy.bytes::<32>()?);
        Ok(new_credential(TOKEN_PREFIX, &random))
    }

    /// A token as it was asked for.
    pub(super) fn token_of(
        &self,
        new: NewToken,
        everything: bool,
        path: &str,
        parent: TokenParent,
    ) -> Result<VaultToken, VaultError> {
        let lengths = [new.ttl, new.max_ttl, new.period];
        if lengths.iter().any(|length| length.is_negative() || *length > LONGEST_LIFE) {
            return Err(invalid("ttl", "must be at most 768 hours"));
        }
        if new.policies.len() > 64 || new.policies.iter().any(|name| name.len() > 64) {
            return Err(invalid("policies", "must be at most 64 names of at most 64 bytes"));
        }
        keyreeve_core::vault::check_custom_metadata(&new.meta)
            .map_err(|rule| VaultError::Invalid(FieldError::new("meta", rule)))?;
        let name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if new.display_name.len() > 128 || !new.display_name.chars().all(name) {
            let rule = "must be at most 128 characters of a-z, A-Z, 0-9, '-', '_' and '.'";
            return Err(invalid("display_name", rule));
        }
        let now = self.now();
        let positive = |length: SignedDuration| Some(length).filter(SignedDuration::is_positive);
        let period = positive(new.period);
        let longest = positive(new.max_ttl).unwrap_or(LONGEST_LIFE);
        let ttl = period.or(positive(new.ttl)).unwrap_or(longest);
        let ttl = ttl.min(longest);
        let is_bounded = period.is_none() || new.max_ttl.is_positive();
        let until = |length| now.saturating_add(length).unwrap_or(Timestamp::MAX);
        let mut policies = new.policies;
        if !everything && policies.iter().any(|name| name == "root") {
            return Err(invalid("policies", "must not hold root: only root makes root"));
        }
        if everything {
            policies = vec!["root".to_owned()];
        } else if !new.no_default_policy && !policies.iter().any(|name| name == DEFAULT) {
            policies.push(DEFAULT.to_owned());
        }
        policies.sort_unstable();
        policies.dedup();
        Ok(VaultToken {
            accessor: self.new_id()?,
            display_name: new.display_name,
            path: path.to_owned(),
            policies,
            everything,
            meta: new.meta,
            created_at: now,
            renewed_at: None,
            expires_at: until(ttl),
            ttl,
            latest: is_bounded.then(|| until(longest)),
            period,
            renewable: new.renewable,
            uses_left: (new.num_uses > 0).then_some(new.num_uses),
            parent,
        })
    }

    /// Another token, by its text. Only for those who may do everything.
    pub async fn find_token(
        &self,
        access: &VaultAccess,
        text: &str,
    ) -> Result<(String, Arc<VaultToken>), VaultError> {
        self.require_everything(access, "auth/token").await?;
        let id = credential_digest(text);
        let known = self.vault.records.get(access.project(), RecordKind::Token, &id);
        let known = known.ok_or(VaultError::NoSuchToken)?;
        let token = self.read_token(access.project(), &known)?;
        if token.is_live(self.now()) { Ok((id, token)) } else { Err(VaultError::NoSuchToken) }
    }

    /// What another token may do, without using it. Only for those who may do everything.
    pub async fn access_of_token(
        &self,
        access: &VaultAccess,
        text: &str,
    ) -> Result<VaultAccess, VaultError> {
        let (_, token) = self.find_token(access, text).await?;
        let ancestry = self.ancestry(access.project(), &token).await?;
        let project = access.project().clone();
        self.rights_of(project, &token, &ancestry, *access.request())
    }

    /// Another token, by its accessor. Only for those who may do everything.
    pub async fn find_token_by_accessor(
        &self,
        access: &VaultAccess,
        accessor: &str,
    ) -> Result<(String, Arc<VaultToken>), VaultError> {
        self.require_everything(access, "auth/token").await?;
        let found = self.live_tokens(access.project())?;
        let found = found.into_iter().find(|(_, token)| token.accessor == accessor);
        found.ok_or(VaultError::NoSuchToken)
    }

    /// The accessors of all tokens. Only for those who may do everything.
    pub async fn token_accessors(&self, access: &VaultAccess) -> Result<Vec<String>, VaultError> {
        self.require_everything(access, "auth/token").await?;
        let found = self.live_tokens(access.project())?;
        Ok(found.into_iter().map(|(_, token)| token.accessor.clone()).collect())
    }

    fn live_tokens(
        &self,
        project: &ProjectName,
    ) -> Result<Vec<(String, Arc<VaultToken>)>, VaultError> {
        let now = self.now();
        let mut live = Vec::new();
        for known in self.vault.records.all(project, RecordKind::Token) {
            // One that was tampered with opens nothing, and is recorded when it is shown.
            let token = match self.read_token(project, &known) {
                Err(VaultError::Tampered { .. }) => continue,
                token => token?,
            };
            if token.is_live(now) {
                live.push((known.record.id.to_string(), token));
            }
        }
        Ok(live)
    }

    /// Only those go on who may do everything; others are recorded.
    pub(super) async fn require_everything(
        &self,
        access: &VaultAccess,
        what: &str,
    ) -> Result<(), VaultError> {
        if access.may_everything() {
            return Ok(());
        }
        Err(self.refuse_call(access, what).await)
    }

    /// Lets a token live on.
    pub async fn renew_token(
        &self,
        access: &VaultAccess,
        id: &str,
        increment: Option<SignedDuration>,
    ) -> Result<Arc<VaultToken>, VaultError> {
        let now = self.now();
        self.change_token(access, id, "token.renew", |token| token.renew(increment, now)).await
    }

    fn token_entry(
        &self,
        access: &VaultAccess,
        action: &'static str,
        token: &VaultToken,
    ) -> AuditEntry {
        let mut entry = access.entry(self, action, "", Outcome::Done);
        entry.target = Target::new("token", &token.accessor);
        entry
    }

    /// Changes a token; an error if the change says that nothing can be done.
    async fn change_token(
        &self,
        access: &VaultAccess,
        id: &str,
        action: &'static str,
        change: impl Fn(&mut VaultToken) -> bool,
    ) -> Result<Arc<VaultToken>, VaultError> {
        for attempt in 0..MOST_TRIES {
            let stored = self.stored_token(access.project(), id, attempt).await?;
            let mut token = (*stored.token).clone();
            if !change(&mut token) {
                return Err(invalid("token", "cannot be renewed"));
            }
            let entry = self.token_entry(access, action, &token);
            let (project, kind) = (access.project(), RecordKind::Token);
            let record = self.record(project, kind, id, &token, stored.revision)?;
            let tx = self.begin(project).with(Change::PutRecord(Arc::new(record)));
            match tx.commit(entry).await.map_err(VaultError::from) {
                Ok(_) => return Ok(Arc::new(token)),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }

    async fn stored_token(
        &self,
        project: &ProjectName,
        id: &str,
        attempt: usize,
    ) -> Result<StoredToken, VaultError> {
        let known = if attempt == 0 {
            self.vault.records.get(project, RecordKind::Token, id)
        } else {
            let record = self.store.vault_record(project, RecordKind::Token, id).await?;
            record.map(|record| Arc::new(Known::new(Arc::new(record))))
        };
        let known = known.ok_or(VaultError::BadToken)?;
        let token = self.read_token(project, &known)?;
        Ok(StoredToken { token, revision: known.record.revision })
    }

    /// Ends a token, and so all that were made with it.
    pub async fn revoke_token(&self, access: &VaultAccess, id: &str) -> Result<(), VaultError> {
        for attempt in 0..MOST_TRIES {
            let stored = match self.stored_token(access.project(), id, attempt).await {
                Err(VaultError::BadToken) => return Ok(()),
                stored => stored?,
            };
            let entry = self.token_entry(access, "token.revoke", &stored.token);
            let gone = Change::DeleteRecord {
                kind: RecordKind::Token,
                id: id.into(),
                revision: stored.revision,
            };
            let tx = self.begin(access.project()).with(gone);
            match tx.commit(entry).await.map_err(VaultError::from) {
                Ok(_) => return Ok(()),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::ChangedMeanwhile(Kind::VaultRecord).into())
    }
}

/// What the audit says of a new token.
pub(super) fn describe(entry: &mut AuditEntry, token: &VaultToken) {
    entry.target = Target::new("token", &token.accessor);
    entry.details.insert("policies".to_owned(), json!(token.policies));
    entry.details.insert("expires_at".to_owned(), json!(token.expires_at.to_string()));
}
