//! What bounds the use of keys, for people.

use keyreeve_api::{LimitView, RestrictionsView};

use super::fields::Fields;

/// Adds from where, when and for what.
pub(super) fn restrictions(fields: &mut Fields, restrictions: &RestrictionsView) {
    fields
        .list("only from", &restrictions.allow_ips)
        .list("not from", &restrictions.deny_ips)
        .list("only in", &restrictions.allow_countries)
        .list("not in", &restrictions.deny_countries)
        .list("only during", &restrictions.windows)
        .list("origins", &restrictions.origins)
        .list("routes", &restrictions.routes);
}

/// Adds how often.
pub(super) fn limits(fields: &mut Fields, limits: &[LimitView]) {
    for view in limits {
        fields.add("limit", limit(view));
        for other in &view.overrides {
            fields.add("", format!("{} for {}", other.rate, other.subject));
        }
    }
}

/// Adds how much, and how many at once.
pub(super) fn spending(fields: &mut Fields, quota: Option<&String>, concurrency: Option<&String>) {
    fields.maybe("quota", quota).maybe("at once", concurrency);
}

/// A limit as it is typed, without its overrides.
pub(crate) fn limit(view: &LimitView) -> String {
    let options = [
        ("per", &view.per),
        ("route", &view.route),
        ("adaptive", &view.adaptive),
        ("scope", &view.scope),
    ];
    let options = options.into_iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(format!(",{name}={value}"))
    });
    let options: String = options.collect();
    format!("{}={}{options}", view.name, view.rate)
}
