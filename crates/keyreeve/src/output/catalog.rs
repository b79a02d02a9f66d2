//! Providers, for people.

use keyreeve_catalog::{Credential, Liveness, Provider, RiskLevel, Template};
use serde::Serialize;

use super::{
    canvas::{Canvas, Tone},
    fields::Fields,
    table::{Cell, Column, Table},
};

const COLUMNS: &[Column] = &[
    Column::Whole("PROVIDER"),
    Column::Free("NAME"),
    Column::Whole("CATEGORY"),
    Column::Whole("RISK"),
    Column::Whole("CHANGE EVERY"),
    Column::Whole("ROTATION"),
    Column::Free("CREDENTIALS"),
];

const CREDENTIALS: &[Column] = &[
    Column::Whole("CREDENTIAL"),
    Column::Whole("CLASS"),
    Column::Free("LOOKS LIKE"),
    Column::Whole("KNOWN BY"),
    Column::Free("VARIABLES"),
    Column::Free("ASKED"),
    Column::Whole("ROTATION"),
];

/// A provider in a list.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    id: String,
    name: String,
    category: &'static str,
    risk: &'static str,
    rotate_every_days: u32,
    rotation: Vec<&'static str>,
    credentials: Vec<String>,
}

impl Row {
    /// What a list shows of a provider.
    pub(crate) fn of(provider: &Provider) -> Self {
        let mut rotation: Vec<_> = provider.rotations.iter().map(|it| it.class.as_str()).collect();
        rotation.sort_unstable();
        rotation.dedup();
        Self {
            id: provider.id.clone(),
            name: provider.name.clone(),
            category: provider.category.as_str(),
            risk: provider.risk.level.as_str(),
            rotate_every_days: provider.rotate_every_days(),
            rotation,
            credentials: provider.credentials.iter().map(|it| it.id.clone()).collect(),
        }
    }
}

/// Whether a word stands in what names a provider. The word is in lower case.
pub(crate) fn mentions(provider: &Provider, word: &str) -> bool {
    let variables = provider.credentials.iter().flat_map(|it| &it.variables);
    [&provider.id, &provider.name]
        .into_iter()
        .chain(variables)
        .any(|text| text.to_ascii_lowercase().contains(word))
        || provider.category.as_str().contains(word)
}

/// Many providers.
pub(crate) fn table(rows: &[Row], canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for row in rows {
        let tone = if row.risk == "high" { Tone::Warning } else { Tone::Plain };
        table.row([
            Cell::new(&row.id),
            Cell::new(&row.name),
            Cell::new(row.category),
            Cell::toned(row.risk, tone),
            Cell::new(format!("{} days", row.rotate_every_days)),
            Cell::maybe((!row.rotation.is_empty()).then(|| row.rotation.join(", "))),
            Cell::list(&row.credentials),
        ]);
    }
    table.draw(canvas)
}

/// One provider, whole.
pub(crate) fn page(provider: &Provider, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    let tone = match provider.risk.level {
        RiskLevel::High => Tone::Warning,
        RiskLevel::Medium | RiskLevel::Low => Tone::Plain,
    };
    let risk = format!("{}: {}", provider.risk.level.as_str(), provider.risk.reason);
    fields
        .add("provider", &provider.id)
        .add("name", &provider.name)
        .add("category", provider.category.as_str())
        .toned("risk", risk, tone)
        .add("change every", format!("{} days", provider.rotate_every_days()))
        .add("documentation", &provider.documentation)
        .add("console", &provider.console)
        .add("checked", &provider.checked);
    if let Some(proxy) = &provider.proxy {
        fields.list("hosts", &texts(proxy.hosts.iter().map(Template::as_str)));
        let mut kinds: Vec<_> = provider.auths.iter().map(|auth| auth.method.kind()).collect();
        kinds.dedup();
        fields.list("sent as", &texts(kinds.into_iter()));
    }
    for webhook in &provider.webhooks {
        let header = webhook.signature_header.as_deref().unwrap_or("the body");
        fields.add("webhooks", format!("{} signs in {header}", webhook.scheme));
    }
    let mut table = Table::new(CREDENTIALS);
    for credential in &provider.credentials {
        table.row(cells(provider, credential));
    }
    let mut parts = vec![fields.draw(canvas), table.draw(canvas)];
    for rotation in &provider.rotations {
        let mut lines = vec![format!(
            "Rotation {} of {}: {}",
            rotation.class.as_str(),
            rotation.credentials.join(", "),
            rotation.summary
        )];
        let steps = rotation.steps.iter().enumerate();
        lines.extend(steps.map(|(index, step)| format!("  {}. {step}", index + 1)));
        parts.push(lines.join("\n"));
    }
    parts.join("\n\n")
}

fn cells(provider: &Provider, credential: &Credential) -> [Cell; 7] {
    let tone = if credential.class.is_secret() { Tone::Warning } else { Tone::Plain };
    let asked = provider.liveness.iter().find(|it| it.credential == credential.id);
    let evidence = match credential.evidence {
        keyreeve_catalog::Evidence::Format => "form",
        keyreeve_catalog::Evidence::Context => "name",
    };
    [
        Cell::new(&credential.id),
        Cell::toned(credential.class.as_str(), tone),
        Cell::new(credential.pattern.as_str()),
        Cell::new(evidence),
        Cell::list(&credential.variables),
        Cell::maybe(asked.and_then(request)),
        Cell::maybe(provider.rotation_of(&credential.id).map(|it| it.class.as_str())),
    ]
}

/// How a credential is asked whether it is live.
fn request(liveness: &Liveness) -> Option<String> {
    let connect = liveness.connect.map(|connect| format!("connects ({connect:?})").to_lowercase());
    connect.or_else(|| Some(liveness.url.as_ref()?.as_str().to_owned()))
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    texts.map(str::to_owned).collect()
}
