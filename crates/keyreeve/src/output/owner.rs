//! Owners, for people.

use keyreeve_api::{OwnerView, Page};

use super::{
    canvas::Canvas,
    fields::Fields,
    policy,
    table::{Cell, Column, Table},
};

const COLUMNS: &[Column] =
    &[Column::Whole("ID"), Column::Free("NAME"), Column::Free("METADATA"), Column::Free("SINCE")];

/// Many owners.
pub(crate) fn table(page: &Page<OwnerView>, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for owner in &page.items {
        let metadata = (!owner.metadata.is_empty())
            .then(|| serde_json::to_string(&owner.metadata).unwrap_or_default());
        table.row([
            Cell::new(&owner.id),
            Cell::maybe(owner.name.as_ref()),
            Cell::maybe(metadata),
            Cell::new(canvas.moment(owner.created_at)),
        ]);
    }
    table.draw(canvas)
}

/// One owner.
pub(crate) fn fields(owner: &OwnerView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    fields
        .add("id", &owner.id)
        .maybe("name", owner.name.as_ref())
        .object("metadata", &owner.metadata);
    policy::limits(&mut fields, &owner.limits);
    policy::spending(&mut fields, owner.quota.as_ref(), owner.concurrency.as_ref());
    fields
        .add("since", canvas.moment(owner.created_at))
        .add("revision", owner.revision.to_string());
    fields.draw(canvas)
}
