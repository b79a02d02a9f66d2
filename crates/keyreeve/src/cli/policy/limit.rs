//! Limits and their overrides.

use std::str::FromStr;

use anyhow::Context as _;
use keyreeve_api::{LimitOverrideView, LimitView};
use keyreeve_core::{
    Invalid,
    limit::{Limit, LimitName, Rate, SubjectPattern},
};

/// Another rate for some of what the limit of that name counts.
#[derive(Clone, Debug)]
pub(super) struct Override {
    name: LimitName,
    subject: SubjectPattern,
    rate: Rate,
}

impl FromStr for Override {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be an override such as burst:203.0.113.7=100/10s";
        // Names hold no ':' and rates no '=', subjects may hold both.
        let (name, rest) = text.split_once(':').ok_or(Invalid::new(RULE))?;
        let (subject, rate) = rest.rsplit_once('=').ok_or(Invalid::new(RULE))?;
        Ok(Self { name: name.parse()?, subject: subject.parse()?, rate: rate.parse()? })
    }
}

/// Limits for the server, each with its overrides.
pub(super) fn to_wire(limits: &[Limit], overrides: &[Override]) -> anyhow::Result<Vec<LimitView>> {
    let mut views: Vec<LimitView> = limits.iter().map(view).collect();
    for Override { name, subject, rate } in overrides {
        let place = limits.iter().position(|limit| limit.name == *name);
        let view = place.and_then(|place| views.get_mut(place));
        let view = view.with_context(|| format!("--override names no --limit: {name}"))?;
        let subject = subject.as_str().to_owned();
        view.overrides.push(LimitOverrideView { subject, rate: rate.to_string() });
    }
    Ok(views)
}

fn view(limit: &Limit) -> LimitView {
    LimitView {
        name: limit.name.to_string(),
        rate: limit.rate.to_string(),
        per: limit.per.map(|per| per.to_string()),
        route: limit.route.as_ref().map(ToString::to_string),
        adaptive: limit.adaptive.as_ref().map(ToString::to_string),
        scope: (!limit.scope.is_default()).then(|| limit.scope.as_str().to_owned()),
        overrides: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_stand_with_their_limits() {
        let limits = ["burst=20/10s,per=ip".parse().unwrap(), "day=1000/1d".parse().unwrap()];
        let overrides = [
            "day:a=b:c=5/1s".parse().unwrap(),
            "burst:2001:db8::*=100/10s".parse().unwrap(),
            "day:*=1/1s".parse().unwrap(),
        ];
        let json = serde_json::to_value(to_wire(&limits, &overrides).unwrap()).unwrap();
        let expected = serde_json::json!([
            {"name": "burst", "rate": "20/10s", "per": "ip",
             "overrides": [{"subject": "2001:db8::*", "rate": "100/10s"}]},
            {"name": "day", "rate": "1000/1d",
             "overrides": [{"subject": "a=b:c", "rate": "5/1s"}, {"subject": "*", "rate": "1/1s"}]},
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn an_override_needs_its_limit() {
        let error = to_wire(&[], &["burst:a=5/1s".parse().unwrap()]).unwrap_err();
        assert_eq!(error.to_string(), "--override names no --limit: burst");
        for bad in ["burst", "burst:a", "burst=5/1s", ":a=5/1s", "burst:=5/1s", "burst:a=5"] {
            assert!(bad.parse::<Override>().is_err(), "{bad}");
        }
    }
}
