//! Options of the commands of `keyreeve key` that ask about a request.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use anyhow::ensure;
use clap::Args;
use jiff::Timestamp;
use keyreeve_api::{CostRequest, RequestContext};
use keyreeve_core::{Invalid, limit::LimitName, permission::Query};

use crate::cli::time::timestamp;

/// `keyreeve key explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Its id, as `keyreeve key list` shows it
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// When it comes (default: now)
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub(crate) at: Option<Timestamp>,
}

/// `keyreeve key verify`. The key itself is read from standard input.
#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Decide, but spend and count nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// When it comes, with --dry-run (default: now)
    #[arg(long, value_name = "TIME", value_parser = timestamp, requires = "dry_run")]
    pub(crate) at: Option<Timestamp>,
}

/// The request that a key came with.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct RequestArgs {
    /// What it must grant: a permission, or several with AND, OR and parentheses
    #[arg(long, value_name = "QUERY", value_parser = query)]
    pub(crate) require: Option<String>,
    /// Address the request comes from
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// Its method
    #[arg(long)]
    method: Option<String>,
    /// The host it is sent to
    #[arg(long)]
    host: Option<String>,
    /// Its path
    #[arg(long)]
    path: Option<String>,
    /// The web origin it comes from
    #[arg(long)]
    origin: Option<String>,
    /// What it costs of the quota (default: 1)
    #[arg(long, value_name = "N")]
    cost: Option<u64>,
    /// What it costs of a limit (default: 1 of each); can be repeated
    #[arg(long = "limit-cost", value_name = "NAME=N")]
    limit_costs: Vec<LimitCost>,
}

impl RequestArgs {
    /// The request for the server, if anything of it was typed.
    pub(crate) fn context(&self, at: Option<Timestamp>) -> Option<RequestContext> {
        let context = RequestContext {
            ip: self.ip,
            method: self.method.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            origin: self.origin.clone(),
            user_agent: None,
            at,
        };
        (context != RequestContext::default()).then_some(context)
    }

    /// What it costs, if that was typed.
    ///
    /// # Errors
    ///
    /// Two costs of one limit were typed.
    pub(crate) fn cost(&self) -> anyhow::Result<Option<CostRequest>> {
        let mut limits = BTreeMap::new();
        for LimitCost { name, cost } in &self.limit_costs {
            let twice = limits.insert(name.to_string(), *cost).is_some();
            ensure!(!twice, "--limit-cost names {name} twice");
        }
        let cost = CostRequest { quota: self.cost, limits };
        Ok((cost != CostRequest::default()).then_some(cost))
    }
}

/// `burst=3`
#[derive(Clone, Debug)]
struct LimitCost {
    name: LimitName,
    cost: u32,
}

impl FromStr for LimitCost {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be the name of a limit and a whole number, such as burst=3";
        let (name, cost) = text.split_once('=').ok_or(Invalid::new(RULE))?;
        Ok(Self { name: name.parse()?, cost: cost.parse().map_err(|_| Invalid::new(RULE))? })
    }
}

/// A question over permissions, as text that the server will read.
fn query(text: &str) -> Result<String, Invalid> {
    Query::parse(text).map(|_| text.to_owned())
}
