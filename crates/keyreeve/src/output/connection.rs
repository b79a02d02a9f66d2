//! Connections, for people.

use keyreeve_api::{
    CallCountView, CallView, ClientTokenView, ConnectionTestView, ConnectionView, Page,
};

use super::{
    canvas::Canvas,
    fields::Fields,
    policy,
    table::{Cell, Column, Table},
};

const COLUMNS: &[Column] = &[
    Column::Whole("NAME"),
    Column::Free("CALLS"),
    Column::Free("WITH"),
    Column::Free("PUT IN AS"),
    Column::Free("STATE"),
    Column::Free("CHANGED"),
];

const USAGE: &[Column] = &[
    Column::Whole("DAY"),
    Column::Whole("CONNECTION"),
    Column::Whole("CLIENT"),
    Column::Free("CALLS"),
    Column::Free("FAILED"),
    Column::Free("SENT"),
    Column::Free("RECEIVED"),
    Column::Free("AVERAGE"),
    Column::Free("UNITS"),
];

const TOKENS: &[Column] = &[
    Column::Whole("ID"),
    Column::Free("CONNECTIONS"),
    Column::Free("BOUND TO"),
    Column::Whole("MADE WITH"),
    Column::Free("ENDS"),
];

const CALLS: &[Column] = &[
    Column::Whole("ENDED"),
    Column::Whole("CONNECTION"),
    Column::Whole("CLIENT"),
    Column::Free("CALL"),
    Column::Free("STATUS"),
    Column::Free("TOOK"),
    Column::Free("VERSION"),
];

/// Many connections.
pub(crate) fn table(page: &Page<ConnectionView>, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for connection in &page.items {
        table.row([
            Cell::new(&connection.name),
            Cell::new(&connection.base_url),
            Cell::new(&connection.secret),
            Cell::new(kind(connection)),
            Cell::new(state(connection)),
            Cell::new(canvas.moment(connection.updated_at)),
        ]);
    }
    table.draw(canvas)
}

/// One connection.
pub(crate) fn fields(connection: &ConnectionView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    fields
        .add("name", &connection.name)
        .add("state", state(connection))
        .add("calls", &connection.base_url)
        .add("with the secret", &connection.secret)
        .add("put in as", kind(connection))
        .add("clients call", &connection.path)
        .add("clients need", &connection.permission);
    for (name, value) in &connection.parameters {
        fields.add("parameter", format!("{name}={value}"));
    }
    if connection.allow_internal {
        fields.add("allows", "addresses of this machine and private networks");
    }
    if connection.allow_plaintext {
        fields.add("allows", "the credential to go without TLS");
    }
    if connection.path_rules == "lenient" {
        fields.add("paths", "lenient");
    }
    policy::restrictions(&mut fields, &connection.restrictions);
    if !connection.clients.is_empty() {
        fields.add("clients", connection.clients.join(", "));
    }
    let limits = &connection.limits;
    let bounds = [
        ("rate", limits.rate.clone()),
        ("rate of each client", limits.rate_per_client.clone()),
        ("units", limits.spend.clone()),
        ("units of each client", limits.spend_per_client.clone()),
        ("calls at once", limits.concurrency.map(|it| it.to_string())),
        ("longest request", limits.max_request_bytes.map(|it| format!("{it} bytes"))),
        ("longest answer", limits.max_response_bytes.map(|it| format!("{it} bytes"))),
    ];
    for (name, bound) in bounds {
        if let Some(bound) = bound {
            fields.add(name, bound);
        }
    }
    for cost in &connection.costs {
        fields.add("cost", format!("{} is {} units", cost.route, cost.units));
    }
    if let Some(cache) = &connection.cache {
        let whose = match cache.scope.as_deref() {
            Some("connection") => "for every client",
            _ => "for the client that asked",
        };
        let routes = cache.routes.join(", ");
        fields.add("keeps", format!("{routes} for {} s, {whose}", cache.max_age_s));
    }
    fields
        .add("made by", &connection.created_by)
        .add("created", canvas.moment(connection.created_at))
        .add("changed", canvas.moment(connection.updated_at));
    fields.draw(canvas)
}

/// What a service said of a credential.
pub(crate) fn test_fields(tested: &ConnectionTestView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    fields
        .add("verdict", &tested.verdict)
        .add("because", &tested.detail)
        .add("service", &tested.service)
        .add("version", tested.version.to_string());
    if let Some(status) = tested.status {
        fields.add("status", status.to_string());
    }
    fields.add("took", format!("{} ms", tested.took_ms));
    fields.draw(canvas)
}

/// What was called.
pub(crate) fn usage_table(page: &Page<CallCountView>, canvas: &Canvas) -> String {
    let mut table = Table::new(USAGE);
    for count in &page.items {
        table.row([
            Cell::new(&count.day),
            Cell::new(&count.connection),
            Cell::new(&count.client),
            Cell::new(count.calls.to_string()),
            Cell::new(count.failed.to_string()),
            Cell::new(size(count.request_bytes)),
            Cell::new(size(count.answer_bytes)),
            Cell::new(length(count.average_us)),
            Cell::new(count.units.to_string()),
        ]);
    }
    table.draw(canvas)
}

/// Tokens of clients.
pub(crate) fn tokens_table(page: &Page<ClientTokenView>, canvas: &Canvas) -> String {
    let mut table = Table::new(TOKENS);
    for token in &page.items {
        let bounds: Vec<&str> =
            [&token.origin, &token.ip].into_iter().flatten().map(String::as_str).collect();
        table.row([
            Cell::new(&token.id),
            Cell::new(token.connections.join(", ")),
            Cell::new(bounds.join(", ")),
            Cell::new(&token.key),
            Cell::new(canvas.moment(token.expires_at)),
        ]);
    }
    table.draw(canvas)
}

/// Single calls.
pub(crate) fn calls_table(page: &Page<CallView>, canvas: &Canvas) -> String {
    let mut table = Table::new(CALLS);
    for call in &page.items {
        let scrubbed = if call.scrubbed > 0 { ", scrubbed" } else { "" };
        let broken = if call.whole { "" } else { ", broke off" };
        table.row([
            Cell::new(canvas.moment(call.at)),
            Cell::new(&call.connection),
            Cell::new(&call.client),
            Cell::new(format!("{} {}", call.method, call.path)),
            Cell::new(format!("{}{scrubbed}{broken}", call.status)),
            Cell::new(length(call.took_us)),
            Cell::new(call.version.to_string()),
        ]);
    }
    table.draw(canvas)
}

fn kind(connection: &ConnectionView) -> &str {
    connection.inject["kind"].as_str().unwrap_or_default()
}

fn state(connection: &ConnectionView) -> &'static str {
    if connection.enabled { "enabled" } else { "disabled" }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

fn length(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}
