//! What calls cost, in units: such as thousandths of what the provider asks for one.

use std::sync::LazyLock;

use keyreeve_core::{Invalid, limit::Rate, restriction::RoutePattern};
use serde::{Deserialize, Serialize};

use super::{Connection, ConnectionSettings};
use crate::FieldError;

/// The most rules of one connection.
const MOST_RULES: usize = 100;
/// The most units of one call.
const MOST_UNITS: u32 = 1_000_000;
/// What a call costs that no rule speaks of.
const USUAL: u32 = 1;

/// What calls of a route cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallCost {
    /// Calls of the service.
    pub route: RoutePattern,
    /// Units of each: 0 to 1,000,000.
    pub units: u32,
}

/// Covers every path that a rule can speak of.
static EVERY: LazyLock<Option<RoutePattern>> = LazyLock::new(|| "* /*".parse().ok());

impl Connection {
    /// What a call costs: as the first rule says that fits, else one unit. A path that no rule can speak
    /// of, since it could be taken for another one, costs what the dearest call does.
    pub fn units_of(&self, method: &str, path: &str) -> u32 {
        let costs = &self.settings.costs;
        if costs.is_empty() {
            return USUAL;
        }
        // The service does the same work for both.
        let method = if method == "HEAD" { "GET" } else { method };
        let host = Some(self.settings.base_url.origin.host().as_str());
        let fits = |route: &RoutePattern| route.matches(method, host, path);
        match costs.iter().find(|rule| fits(&rule.route)) {
            Some(rule) => rule.units,
            None if EVERY.as_ref().is_some_and(fits) => USUAL,
            None => dearest(costs),
        }
    }
}

fn dearest(costs: &[CallCost]) -> u32 {
    costs.iter().map(|rule| rule.units).fold(USUAL, u32::max)
}

/// Whether all of it can be meant: the dearest call must fit into what may be spent.
pub(super) fn check(
    settings: &ConnectionSettings,
    spend: [Option<Rate>; 2],
) -> Result<(), FieldError> {
    let refuse = |field: &str, rule: String| Err(FieldError::new(field, Invalid::new(rule)));
    if settings.costs.len() > MOST_RULES {
        return refuse("costs", "must be at most 100".to_owned());
    }
    if settings.costs.iter().any(|rule| rule.units > MOST_UNITS) {
        return refuse("costs", "must have units of 0 to 1000000".to_owned());
    }
    let dearest = dearest(&settings.costs);
    for (field, rate) in ["limits.spend", "limits.spend_per_client"].into_iter().zip(spend) {
        if rate.is_some_and(|rate| rate.requests() < dearest) {
            return refuse(field, format!("must allow at least {dearest}: one call can cost that"));
        }
    }
    Ok(())
}
