//! From wire fields to domain values. All broken rules of a request are told at once.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use keyreeve_api as wire;
use keyreeve_api::{LimitView, MetadataView, Patch, RestrictionsView};
use keyreeve_core::{
    Invalid, duration,
    limit::{Limit, LimitOverride, Limits},
    model::{ApiKey, Metadata, Policy, Tags},
    name::RoleName,
    permission::PermissionSet,
    restriction::{Restrictions, Windows},
};
use keyreeve_engine::{
    FieldError, Life,
    keys::{Expiry, PolicyChange, Replace, RestrictionsChange},
};

use crate::{problem::Failure, view::NEVER};

const LONGEST_REASON: usize = 500;

/// Collects what is wrong while reading fields.
#[derive(Default)]
pub(crate) struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// Keeps a value, or notes why it is none.
    pub(crate) fn take<T>(
        &mut self,
        field: impl Into<String>,
        value: Result<T, Invalid>,
    ) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(rule) => {
                self.errors.push(FieldError::new(field, rule));
                None
            }
        }
    }

    pub(crate) fn parse<T: FromStr<Err = Invalid>>(
        &mut self,
        field: &'static str,
        text: &str,
    ) -> Option<T> {
        self.take(field, text.parse())
    }

    /// A field that may be absent.
    pub(crate) fn optional<T: FromStr<Err = Invalid>>(
        &mut self,
        field: &'static str,
        text: Option<&str>,
    ) -> Option<T> {
        text.and_then(|text| self.parse(field, text))
    }

    pub(crate) fn duration(
        &mut self,
        field: &'static str,
        text: Option<&str>,
    ) -> Option<SignedDuration> {
        text.and_then(|text| self.take(field, duration::parse(text)))
    }

    /// A length of time, or `never`.
    pub(crate) fn life(&mut self, field: &'static str, text: Option<&str>) -> Option<Life> {
        match text? {
            NEVER => Some(Life::Unlimited),
            text => {
                let length = duration::parse(text).and_then(positive);
                self.take(field, length).map(Life::Limited)
            }
        }
    }

    pub(crate) fn expiry(
        &mut self,
        expires_in: Option<&str>,
        expires_at: Option<Timestamp>,
    ) -> Option<Expiry> {
        match (self.life("expires_in", expires_in), expires_at) {
            (Some(_), Some(_)) => {
                let rule = Invalid::new("must not stand together with expires_in");
                self.take("expires_at", Err(rule))
            }
            (Some(Life::Limited(length)), None) => Some(Expiry::In(length)),
            (Some(Life::Unlimited), None) => Some(Expiry::Never),
            (None, at) => at.map(Expiry::At),
        }
    }

    pub(crate) fn permissions(&mut self, texts: &[String]) -> Option<PermissionSet> {
        self.take("permissions", PermissionSet::parse(texts))
    }

    pub(crate) fn roles(&mut self, texts: &[String]) -> Option<Vec<RoleName>> {
        if texts.len() > ApiKey::MOST_ROLES {
            return self.take("roles", Err(Invalid::new("must hold at most 20 roles")));
        }
        let mut roles: Vec<RoleName> =
            self.take("roles", texts.iter().map(|text| text.parse()).collect())?;
        roles.sort();
        roles.dedup();
        Some(roles)
    }

    pub(crate) fn metadata(&mut self, map: MetadataView) -> Option<Metadata> {
        self.take("metadata", Metadata::new(map))
    }

    pub(crate) fn tags(&mut self, tags: Vec<String>) -> Option<Tags> {
        self.take("tags", Tags::new(tags))
    }

    /// Why something is done, for the audit.
    pub(crate) fn reason(&mut self, text: Option<String>) -> Option<String> {
        let text = text?;
        let good = (1..=LONGEST_REASON).contains(&text.chars().count())
            && !text.chars().any(char::is_control);
        let rule = || Invalid::new("must be 1 to 500 characters without control characters");
        self.take("reason", if good { Ok(text) } else { Err(rule()) })
    }

    /// One line for people; may be empty.
    pub(crate) fn description(&mut self, text: String) -> Option<String> {
        let good = text.chars().count() <= 200 && !text.chars().any(char::is_control);
        let rule = || Invalid::new("must be at most 200 characters without control characters");
        self.take("description", if good { Ok(text) } else { Err(rule()) })
    }

    /// What a list of texts stands for; each that breaks its rule is told by its place.
    pub(crate) fn list<T: FromStr<Err = Invalid>>(
        &mut self,
        field: &str,
        texts: &[String],
    ) -> Vec<T> {
        let read = |(n, text): (usize, &String)| self.take(format!("{field}[{n}]"), text.parse());
        texts.iter().enumerate().filter_map(read).collect()
    }

    pub(crate) fn restrictions(&mut self, view: &RestrictionsView) -> Restrictions {
        let windows = self.list("restrictions.windows", &view.windows);
        Restrictions {
            allow_ips: self.list("restrictions.allow_ips", &view.allow_ips),
            deny_ips: self.list("restrictions.deny_ips", &view.deny_ips),
            windows: self.take("restrictions.windows", Windows::new(windows)).unwrap_or_default(),
            origins: self.list("restrictions.origins", &view.origins),
            routes: self.list("restrictions.routes", &view.routes),
            allow_countries: self.list("restrictions.allow_countries", &view.allow_countries),
            deny_countries: self.list("restrictions.deny_countries", &view.deny_countries),
        }
    }

    fn restrictions_change(&mut self, change: &wire::RestrictionsChange) -> RestrictionsChange {
        let windows = self.named("restrictions.windows", change.windows.as_ref());
        let windows = windows
            .map(|list| self.take("restrictions.windows", Windows::new(list)).unwrap_or_default());
        RestrictionsChange {
            allow_ips: self.named("restrictions.allow_ips", change.allow_ips.as_ref()),
            deny_ips: self.named("restrictions.deny_ips", change.deny_ips.as_ref()),
            windows,
            origins: self.named("restrictions.origins", change.origins.as_ref()),
            routes: self.named("restrictions.routes", change.routes.as_ref()),
            allow_countries: self
                .named("restrictions.allow_countries", change.allow_countries.as_ref()),
            deny_countries: self
                .named("restrictions.deny_countries", change.deny_countries.as_ref()),
        }
    }

    /// A list that was named.
    fn named<T: FromStr<Err = Invalid>>(
        &mut self,
        place: &str,
        texts: Option<&Vec<String>>,
    ) -> Option<Vec<T>> {
        texts.map(|texts| self.list(place, texts))
    }

    pub(crate) fn limits(&mut self, views: &[LimitView]) -> Limits {
        let read = |(n, view): (usize, &LimitView)| self.limit(&format!("limits[{n}]"), view);
        let limits = views.iter().enumerate().filter_map(read).collect();
        self.take("limits", Limits::new(limits)).unwrap_or_default()
    }

    fn limit(&mut self, place: &str, view: &LimitView) -> Option<Limit> {
        let name = self.take(format!("{place}.name"), view.name.parse());
        let rate = self.take(format!("{place}.rate"), view.rate.parse());
        let per = view.per.as_deref().map(|text| self.take(format!("{place}.per"), text.parse()));
        let route =
            view.route.as_deref().map(|text| self.take(format!("{place}.route"), text.parse()));
        let adaptive = view
            .adaptive
            .as_deref()
            .map(|text| self.take(format!("{place}.adaptive"), text.parse()));
        let scope =
            view.scope.as_deref().map(|text| self.take(format!("{place}.scope"), text.parse()));
        let mut overrides = Vec::new();
        for (n, view) in view.overrides.iter().enumerate() {
            let place = format!("{place}.overrides[{n}]");
            let subject = self.take(format!("{place}.subject"), view.subject.parse());
            let rate = self.take(format!("{place}.rate"), view.rate.parse());
            overrides
                .extend(subject.zip(rate).map(|(subject, rate)| LimitOverride { subject, rate }));
        }
        Some(Limit {
            name: name?,
            rate: rate?,
            per: per.flatten(),
            route: route.flatten(),
            adaptive: adaptive.flatten(),
            scope: scope.flatten().unwrap_or_default(),
            overrides,
        })
    }

    /// What bounds a new thing.
    pub(crate) fn policy(
        &mut self,
        restrictions: &RestrictionsView,
        limits: &[LimitView],
        quota: Option<&str>,
        concurrency: Option<&str>,
    ) -> Policy {
        Policy {
            restrictions: self.restrictions(restrictions),
            limits: self.limits(limits),
            quota: self.optional("quota", quota),
            concurrency: self.optional("concurrency", concurrency),
        }
    }

    /// What is to be different of what bounds a thing.
    pub(crate) fn policy_change(
        &mut self,
        restrictions: &Patch<wire::RestrictionsChange>,
        limits: Option<&Vec<LimitView>>,
        quota: Patch<String>,
        concurrency: Patch<String>,
    ) -> PolicyChange {
        PolicyChange {
            restrictions: match restrictions {
                Patch::Keep => RestrictionsChange::default(),
                Patch::Clear => RestrictionsChange::to(Restrictions::default()),
                Patch::Set(change) => self.restrictions_change(change),
            },
            limits: limits.map(|views| self.limits(views)),
            quota: self.replace("quota", quota),
            concurrency: self.replace("concurrency", concurrency),
        }
    }

    fn replace<T: FromStr<Err = Invalid>>(
        &mut self,
        field: &'static str,
        patch: Patch<String>,
    ) -> Replace<T> {
        match patch {
            Patch::Keep => Replace::Keep,
            Patch::Clear => Replace::Clear,
            Patch::Set(text) => self.parse(field, &text).map_or(Replace::Keep, Replace::With),
        }
    }

    /// As [`Self::finish`], with the first rule that was broken.
    pub(crate) fn finish_first<T>(self, value: Option<T>) -> Result<T, Option<FieldError>> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(self.errors.into_iter().next()),
        }
    }

    /// Ends the reading. With nothing wrong, every field that had to be there is there.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Failure> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(Failure::fields(self.errors)),
        }
    }
}

fn positive(length: SignedDuration) -> Result<SignedDuration, Invalid> {
    if length.is_zero() { Err(Invalid::new("must be longer than nothing")) } else { Ok(length) }
}
