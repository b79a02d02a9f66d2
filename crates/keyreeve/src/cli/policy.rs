//! What bounds the use of keys, as it is typed.

use clap::Args;
use jiff::Timestamp;
use keyreeve_api::{LimitView, RestrictionsView};
use keyreeve_core::limit::Limit;

use super::time::timestamp;

/// How often, how much, from when, from where and for what.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct PolicyArgs {
    /// How often, such as burst=20/10s, then per=ip, 'route=GET /v1/*' or adaptive=10%-100% after
    /// commas; can be repeated
    #[arg(long = "limit", value_name = "NAME=RATE")]
    pub(crate) limits: Vec<Limit>,
    /// How much in each period, such as 5000/month or '100/day Europe/Berlin'
    #[arg(long, value_name = "QUOTA")]
    pub(crate) quota: Option<String>,
    /// How many requests at once, and for how long each holds its place, such as 5/30s
    #[arg(long, value_name = "N/LENGTH")]
    pub(crate) concurrency: Option<String>,
    /// The first moment of use
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub(crate) not_before: Option<Timestamp>,
    #[command(flatten)]
    restrictions: RestrictionArgs,
}

/// From where, when and for what.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
struct RestrictionArgs {
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

impl PolicyArgs {
    /// The limits for the server.
    pub(crate) fn limits(&self) -> Vec<LimitView> {
        self.limits.iter().map(limit).collect()
    }

    /// The restrictions for the server.
    pub(crate) fn restrictions(&self) -> RestrictionsView {
        self.restrictions.to_wire()
    }
}

impl RestrictionArgs {
    fn to_wire(&self) -> RestrictionsView {
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

fn limit(limit: &Limit) -> LimitView {
    LimitView {
        name: limit.name.to_string(),
        rate: limit.rate.to_string(),
        per: limit.per.map(|per| per.to_string()),
        route: limit.route.as_ref().map(ToString::to_string),
        adaptive: limit.adaptive.as_ref().map(ToString::to_string),
        overrides: Vec::new(),
    }
}
