//! Roles, for people.

use keyreeve_api::{Page, RoleView};

use super::{
    canvas::{Canvas, Tone},
    fields::Fields,
    table::{Cell, Column, Table},
};

const COLUMNS: &[Column] = &[
    Column::Whole("NAME"),
    Column::Whole("KIND"),
    Column::Free("DESCRIPTION"),
    Column::Free("PERMISSIONS"),
];

/// Many roles.
pub(crate) fn table(page: &Page<RoleView>, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for role in &page.items {
        table.row([
            Cell::new(&role.name),
            if role.builtin { Cell::toned("built-in", Tone::Faint) } else { Cell::new("custom") },
            Cell::maybe((!role.description.is_empty()).then_some(&role.description)),
            Cell::list(&role.permissions),
        ]);
    }
    table.draw(canvas)
}

/// One role.
pub(crate) fn fields(role: &RoleView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    fields
        .add("name", &role.name)
        .add("kind", if role.builtin { "built-in" } else { "custom" })
        .maybe("description", (!role.description.is_empty()).then_some(&role.description))
        .list("permissions", &role.permissions)
        .maybe("created", role.created_at.map(|at| canvas.moment(at)))
        .add("revision", role.revision.to_string());
    fields.draw(canvas)
}
