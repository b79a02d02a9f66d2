//! Projects and environments, for people.

use keyreeve_api::{EnvironmentView, Page, ProjectView};

use super::{
    canvas::Canvas,
    fields::Fields,
    table::{Cell, Column, Table},
};

const ENVIRONMENT_COLUMNS: &[Column] =
    &[Column::Whole("NAME"), Column::Whole("TAG"), Column::Free("CREATED")];
const PROJECT_COLUMNS: &[Column] = &[Column::Whole("NAME"), Column::Free("CREATED")];

/// Many environments.
pub(crate) fn environments(page: &Page<EnvironmentView>, canvas: &Canvas) -> String {
    let mut table = Table::new(ENVIRONMENT_COLUMNS);
    for environment in &page.items {
        table.row([
            Cell::new(&environment.name),
            Cell::new(&environment.tag),
            Cell::new(canvas.moment(environment.created_at)),
        ]);
    }
    table.draw(canvas)
}

/// One environment.
pub(crate) fn environment(environment: &EnvironmentView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    fields
        .add("name", &environment.name)
        .add("tag", &environment.tag)
        .add("created", canvas.moment(environment.created_at));
    fields.draw(canvas)
}

/// Many projects.
pub(crate) fn projects(page: &Page<ProjectView>, canvas: &Canvas) -> String {
    let mut table = Table::new(PROJECT_COLUMNS);
    for project in &page.items {
        table.row([Cell::new(&project.name), Cell::new(canvas.moment(project.created_at))]);
    }
    table.draw(canvas)
}
