//! What bounds the use of keys, as it is typed.

mod changes;
mod limit;

pub(crate) use changes::{LimitChanges, RestrictionChanges, SpendingChanges};

use clap::Args;
use keyreeve_api::{LimitView, RestrictionsView};
use keyreeve_core::limit::Limit;

use self::limit::Override;

/// How often, how much, from where and for what.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
#[command(next_help_heading = "What bounds it")]
pub(crate) struct PolicyArgs {
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) spending: SpendingArgs,
    #[command(flatten)]
    pub(crate) restrictions: RestrictionArgs,
}

/// How often.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct LimitArgs {
    /// How often, such as burst=20/10s, then per=ip, 'route=GET /v1/*', adaptive=10%-100% or
    /// scope=node after commas; can be repeated
    #[arg(long = "limit", value_name = "NAME=RATE")]
    limits: Vec<Limit>,
    /// Another rate for some of what a limit counts, such as burst:203.0.113.7=100/10s or
    /// 'burst:acme-*=50/10s'; can be repeated
    #[arg(long = "override", value_name = "NAME:SUBJECT=RATE", requires = "limits")]
    overrides: Vec<Override>,
}

/// How much, and how many at once.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct SpendingArgs {
    /// How much in each period, such as 5000/month or '100/day Europe/Berlin'
    #[arg(long, value_name = "QUOTA")]
    pub(crate) quota: Option<String>,
    /// How many requests at once, and for how long each holds its place, such as 5/30s
    #[arg(long, value_name = "N/LENGTH")]
    pub(crate) concurrency: Option<String>,
}

/// From where, when and for what.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct RestrictionArgs {
    /// Address or network to work from, and from no others; can be repeated
    #[arg(long = "allow-ip", value_name = "NETWORK")]
    allow_ips: Vec<String>,
    /// Address or network not to work from, even if allowed; can be repeated
    #[arg(long = "deny-ip", value_name = "NETWORK")]
    deny_ips: Vec<String>,
    /// Hours to work in, such as 'Mon-Fri 09:00-17:00 Europe/Berlin'; can be repeated
    #[arg(long = "window", value_name = "HOURS")]
    windows: Vec<String>,
    /// Web origin to work for, such as <https://app.example.com>; can be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Requests to work for, such as 'GET /v1/*'; can be repeated
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<String>,
    /// Country to work from, and from no others, in two letters; can be repeated
    #[arg(long = "allow-country", value_name = "COUNTRY")]
    allow_countries: Vec<String>,
    /// Country not to work from, in two letters; can be repeated
    #[arg(long = "deny-country", value_name = "COUNTRY")]
    deny_countries: Vec<String>,
}

impl LimitArgs {
    /// The limits for the server, with their overrides.
    ///
    /// # Errors
    ///
    /// An override names no limit that was typed.
    pub(crate) fn to_wire(&self) -> anyhow::Result<Vec<LimitView>> {
        limit::to_wire(&self.limits, &self.overrides)
    }
}

impl RestrictionArgs {
    /// The restrictions for the server.
    pub(crate) fn to_wire(&self) -> RestrictionsView {
        RestrictionsView {
            allow_ips: self.allow_ips.clone(),
            deny_ips: self.deny_ips.clone(),
            windows: self.windows.clone(),
            origins: self.origins.clone(),
            routes: self.routes.clone(),
            allow_countries: self.allow_countries.clone(),
            deny_countries: self.deny_countries.clone(),
        }
    }
}
