//! `keyreeve project`.

use keyreeve_api::CreateProjectRequest;

use super::{Outcome, listing, new_key};
use crate::{
    cli::project::ProjectCommand,
    context::Context,
    output::{canvas::Canvas, printable::printable, tenancy},
};

pub(super) async fn run(command: &ProjectCommand, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    match command {
        ProjectCommand::Create(args) => {
            let body = CreateProjectRequest { name: args.name.to_string() };
            let created = client.create_project(&body).await?;
            let about = |canvas: &Canvas| {
                let key = &created.admin_key.details;
                let (name, expiry) = (new_key::name(key), new_key::expiry(key, canvas));
                let project = printable(&created.project.name);
                format!("Project {project} is made. Its first admin {name} {expiry}.")
            };
            new_key::print(&created, &created.admin_key.key, about, context)
        }
        ProjectCommand::List => {
            let page = client.list_projects().await?;
            listing::show(&page, "projects", tenancy::projects, context)
        }
    }
}
