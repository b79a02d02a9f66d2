//! `keyreeve key explain` and `keyreeve key suggest-limits`.

use keyreeve_api::{ExplainRequest, ExplanationView, SuggestedLimitsView};

use super::id::checked;
use crate::{
    cli::key::{ExplainArgs, IdArgs},
    cmd::Outcome,
    context::Context,
    output::{
        canvas::{Canvas, Tone},
        fields::Fields,
        policy::limit,
        printable::printable,
        table::{Cell, Column, Table},
    },
};

const CHECKS: &[Column] =
    &[Column::Whole("CHECK"), Column::Whole("RESULT"), Column::Free("DETAIL")];

pub(super) async fn run(args: &ExplainArgs, context: &Context) -> anyhow::Result<Outcome> {
    let id = checked(&args.id)?;
    let view = context.client()?.explain_api_key(id, &question(args)?).await?;
    context.output.show(&view, explanation)?;
    Ok(if view.valid { Outcome::Done } else { Outcome::Negative })
}

fn question(args: &ExplainArgs) -> anyhow::Result<ExplainRequest> {
    let asked = &args.request;
    Ok(ExplainRequest {
        require: asked.require.clone(),
        request: asked.context(args.at),
        cost: asked.cost()?,
    })
}

/// Every check, beneath what comes of them.
fn explanation(view: &ExplanationView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    if view.valid {
        fields.toned("verdict", "valid", Tone::Good);
    } else {
        fields.toned("verdict", format!("not valid: {}", view.code), Tone::Bad);
    }
    fields.add("at", canvas.moment(view.at));
    let mut table = Table::new(CHECKS);
    for check in &view.checks {
        let (result, tone) =
            if check.passed { ("passed", Tone::Good) } else { ("failed", Tone::Bad) };
        table.row([Cell::new(&check.check), Cell::toned(result, tone), Cell::new(&check.detail)]);
    }
    format!("{}\n\n{}", fields.draw(canvas), table.draw(canvas))
}

pub(super) async fn suggest(args: &IdArgs, context: &Context) -> anyhow::Result<Outcome> {
    let id = checked(&args.id)?;
    let view = context.client()?.suggested_limits(id).await?;
    context.output.show(&view, |view, _| suggestion(id, view))?;
    Ok(Outcome::Done)
}

/// Proposed limits, and how to set them.
fn suggestion(id: &str, view: &SuggestedLimitsView) -> String {
    if view.limits.is_empty() {
        return format!("key {id} was not used: there is nothing to go by");
    }
    let mut lines = Vec::new();
    if let Some(peaks) = &view.peaks {
        lines.push(format!(
            "at most {} requests were seen in 10s, {} in 1h and {} in 1d",
            peaks.ten_seconds, peaks.hour, peaks.day
        ));
    }
    let limits: Vec<String> =
        view.limits.iter().map(|view| printable(&limit(view)).into_owned()).collect();
    lines.extend(limits.iter().map(|limit| format!("  {limit}")));
    let flags: Vec<String> =
        limits.iter().map(|limit| format!(" --limit {}", quoted(limit))).collect();
    lines.push("set them, in place of the limits it has, with:".to_owned());
    lines.push(format!("  keyreeve key update {id}{}", flags.concat()));
    lines.join("\n")
}

/// Text as a shell reads it.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'/' | b'-' | b'_' | b',');
    if text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, key::KeyCommand};

    fn json(words: &[&str]) -> serde_json::Value {
        let first = ["keyreeve", "key", "explain", "4Tn0Zs8QbW1c"].iter();
        let cli = Cli::try_parse_from(first.chain(words)).unwrap();
        let Command::Key(KeyCommand::Explain(args)) = cli.command else { panic!("not explain") };
        serde_json::to_value(question(&args).unwrap()).unwrap()
    }

    #[test]
    fn only_what_was_typed_is_asked() {
        assert_eq!(json(&[]), serde_json::json!({}));
        assert_eq!(json(&["--require", "a.b"]), serde_json::json!({"require": "a.b"}));
        let typed = ["--ip", "192.0.2.1", "--method", "GET", "--host", "a", "--path", "/v1"];
        let expected = serde_json::json!({
            "request": {"ip": "192.0.2.1", "method": "GET", "host": "a", "path": "/v1"},
        });
        assert_eq!(json(&typed), expected);
        let typed = ["--origin", "https://a", "--at", "2026-12-21"];
        let expected = serde_json::json!({
            "request": {"origin": "https://a", "at": "2026-12-21T00:00:00Z"},
        });
        assert_eq!(json(&typed), expected);
        let typed = ["--cost", "0", "--limit-cost", "burst=3"];
        let expected = serde_json::json!({"cost": {"quota": 0, "limits": {"burst": 3}}});
        assert_eq!(json(&typed), expected);
    }

    #[test]
    fn every_check_is_shown() {
        let view: ExplanationView = serde_json::from_str(
            r#"{"valid": false, "code": "EXPIRED", "at": "2026-11-21T09:00:00Z", "checks": [
                {"check": "state", "passed": true, "detail": "active"},
                {"check": "expiry", "passed": false, "detail": "expired an hour ago"}]}"#,
        )
        .unwrap();
        let text = explanation(&view, &Canvas::for_tests());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "verdict  not valid: EXPIRED");
        let table = [
            "CHECK   RESULT  DETAIL",
            "state   passed  active",
            "expiry  failed  expired an hour ago",
        ];
        assert_eq!(lines[3..], table);
    }

    #[test]
    fn a_proposal_can_be_typed_in() {
        let view: SuggestedLimitsView = serde_json::from_str(
            r#"{"limits": [{"name": "burst", "rate": "20/10s"},
                           {"name": "search", "rate": "5/1s", "route": "GET /it's"}],
                "peaks": {"ten_seconds": 12, "hour": 100, "day": 700}}"#,
        )
        .unwrap();
        let expected = r"at most 12 requests were seen in 10s, 100 in 1h and 700 in 1d
  burst=20/10s
  search=5/1s,route=GET /it's
set them, in place of the limits it has, with:
  keyreeve key update 4Tn0Zs8QbW1c --limit burst=20/10s --limit 'search=5/1s,route=GET /it'\''s'";
        assert_eq!(suggestion("4Tn0Zs8QbW1c", &view), expected);
        let none = suggestion("4Tn0Zs8QbW1c", &SuggestedLimitsView::default());
        assert_eq!(none, "key 4Tn0Zs8QbW1c was not used: there is nothing to go by");
    }
}
