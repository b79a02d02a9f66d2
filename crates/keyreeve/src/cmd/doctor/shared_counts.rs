//! Checks of the server in which all nodes count together.

use std::error::Error as _;

use keyreeve_store::valkey::{self, ServerFacts};

use super::{Check, Status};
use crate::{config::Config, context::Context, wire};

/// What drops nothing. All counts have an end, so memory is not filled for good.
const HARMLESS_EVICTION: &str = "noeviction";

/// Whether the server can be reached and keeps what it is told.
pub(super) async fn look(config: &Config, context: &Context, found: &mut Vec<Check>) {
    let check = match wire::valkey_options(config, &context.environment) {
        Ok(None) if config.store.url.is_none() => return,
        Ok(None) => {
            let detail = "valkey.url is not set: each node counts for itself, so together they \
                          admit more than a limit says";
            Check::new("limits", Status::Warning, detail)
        }
        Ok(Some(options)) => match valkey::examine(&options).await {
            Ok(facts) => judge(&facts),
            Err(error) => {
                // The causes below say it once more.
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                Check::new("limits", Status::Failed, format!("{error}{cause}"))
            }
        },
        Err(error) => Check::new("limits", Status::Failed, format!("{error:#}")),
    };
    found.push(check);
}

fn judge(facts: &ServerFacts) -> Check {
    let ServerFacts { place, version, eviction, .. } = facts;
    let detail = format!("{version} at {place}");
    let warn = |why: &str| Check::new("limits", Status::Warning, format!("{detail}: {why}"));
    if !facts.speaks_tls && !facts.is_near {
        return warn("what is said on the way there is not encrypted; use rediss://");
    }
    if eviction != HARMLESS_EVICTION {
        return warn(&format!(
            "maxmemory-policy is {eviction}, which drops counts that are in use when memory is full; \
             use noeviction"
        ));
    }
    Check::new("limits", Status::Ok, detail)
}
