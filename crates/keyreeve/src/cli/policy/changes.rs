//! What to change of what bounds the use of keys.

use clap::Args;
use keyreeve_api::{LimitView, Patch, RestrictionsChange};

use super::{LimitArgs, RestrictionArgs, SpendingArgs};

const RESTRICTIONS: [&str; 7] =
    ["allow_ips", "deny_ips", "windows", "origins", "routes", "allow_countries", "deny_countries"];

/// What to change of how often.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
#[command(next_help_heading = "What bounds it (in place of what is there of the same kind)")]
pub(crate) struct LimitChanges {
    #[command(flatten)]
    limits: LimitArgs,
    /// Take all limits away; limits that are typed take the place of all that are there
    #[arg(long, conflicts_with = "limits")]
    no_limits: bool,
}

/// What to change of how much.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct SpendingChanges {
    #[command(flatten)]
    spending: SpendingArgs,
    /// Take the quota away
    #[arg(long, conflicts_with = "quota")]
    no_quota: bool,
    /// Allow any number of requests at once
    #[arg(long, conflicts_with = "concurrency")]
    no_concurrency: bool,
}

/// What to change of from where, when and for what. What is typed replaces what is there of its
/// kind.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that can be typed")]
pub(crate) struct RestrictionChanges {
    #[command(flatten)]
    restrictions: RestrictionArgs,
    /// Let it work from all addresses, unless denied
    #[arg(long, conflicts_with = "allow_ips")]
    no_allow_ips: bool,
    /// Deny it no addresses
    #[arg(long, conflicts_with = "deny_ips")]
    no_deny_ips: bool,
    /// Let it work at any hour
    #[arg(long, conflicts_with = "windows")]
    no_windows: bool,
    /// Let it work for any origin
    #[arg(long, conflicts_with = "origins")]
    no_origins: bool,
    /// Let it work for any request
    #[arg(long, conflicts_with = "routes")]
    no_routes: bool,
    /// Let it work from all countries, unless denied
    #[arg(long, conflicts_with = "allow_countries")]
    no_allow_countries: bool,
    /// Deny it no countries
    #[arg(long, conflicts_with = "deny_countries")]
    no_deny_countries: bool,
    /// Take all restrictions away
    #[arg(long, conflicts_with_all = RESTRICTIONS)]
    no_restrictions: bool,
}

impl LimitChanges {
    /// `None` leaves the limits as they are.
    pub(crate) fn to_wire(&self) -> anyhow::Result<Option<Vec<LimitView>>> {
        let limits = self.limits.to_wire()?;
        Ok((self.no_limits || !limits.is_empty()).then_some(limits))
    }
}

impl SpendingChanges {
    /// What becomes of the quota.
    pub(crate) fn quota(&self) -> Patch<String> {
        patch(self.spending.quota.as_ref(), self.no_quota)
    }

    /// What becomes of the concurrency.
    pub(crate) fn concurrency(&self) -> Patch<String> {
        patch(self.spending.concurrency.as_ref(), self.no_concurrency)
    }
}

impl RestrictionChanges {
    /// What becomes of the restrictions.
    pub(crate) fn to_wire(&self) -> Patch<RestrictionsChange> {
        if self.no_restrictions {
            return Patch::Clear;
        }
        let typed = &self.restrictions;
        let change = RestrictionsChange {
            allow_ips: list(&typed.allow_ips, self.no_allow_ips),
            deny_ips: list(&typed.deny_ips, self.no_deny_ips),
            windows: list(&typed.windows, self.no_windows),
            origins: list(&typed.origins, self.no_origins),
            routes: list(&typed.routes, self.no_routes),
            allow_countries: list(&typed.allow_countries, self.no_allow_countries),
            deny_countries: list(&typed.deny_countries, self.no_deny_countries),
        };
        if change.is_empty() { Patch::Keep } else { Patch::Set(change) }
    }
}

fn list(typed: &[String], emptied: bool) -> Option<Vec<String>> {
    (emptied || !typed.is_empty()).then(|| typed.to_vec())
}

fn patch(typed: Option<&String>, cleared: bool) -> Patch<String> {
    match typed {
        Some(text) => Patch::Set(text.clone()),
        None if cleared => Patch::Clear,
        None => Patch::Keep,
    }
}
