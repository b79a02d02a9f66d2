//! Keyspaces, for people.

use keyreeve_api::{KeyspaceView, Page};

use super::{
    canvas::Canvas,
    fields::Fields,
    policy,
    table::{Cell, Column, Table},
};

const COLUMNS: &[Column] = &[
    Column::Whole("NAME"),
    Column::Whole("PREFIX"),
    Column::Free("KEYS LIVE FOR"),
    Column::Free("GRACE"),
    Column::Free("FAILS"),
    Column::Free("CREATED"),
];

/// Many keyspaces.
pub(crate) fn table(page: &Page<KeyspaceView>, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for keyspace in &page.items {
        table.row([
            Cell::new(&keyspace.name),
            Cell::new(&keyspace.prefix),
            Cell::new(&keyspace.default_expires_in),
            Cell::new(&keyspace.default_grace),
            Cell::new(&keyspace.fail_policy),
            Cell::new(canvas.moment(keyspace.created_at)),
        ]);
    }
    table.draw(canvas)
}

/// One keyspace.
pub(crate) fn fields(keyspace: &KeyspaceView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    fields
        .add("name", &keyspace.name)
        .add("prefix", &keyspace.prefix)
        .add("default expires in", &keyspace.default_expires_in)
        .add("default grace", &keyspace.default_grace)
        .add("fail policy", &keyspace.fail_policy);
    policy::restrictions(&mut fields, &keyspace.restrictions);
    policy::limits(&mut fields, &keyspace.limits);
    fields
        .add("created", canvas.moment(keyspace.created_at))
        .add("revision", keyspace.revision.to_string());
    fields.draw(canvas)
}
