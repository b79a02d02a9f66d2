//! `keyreeve environment`.

use keyreeve_api::CreateEnvironmentRequest;

use super::{Outcome, deletion, listing};
use crate::{cli::environment::EnvironmentCommand, context::Context, output::tenancy};

pub(super) async fn run(
    command: &EnvironmentCommand,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    match command {
        EnvironmentCommand::Create(args) => {
            let body = CreateEnvironmentRequest {
                name: args.name.to_string(),
                tag: args.tag.as_str().to_owned(),
            };
            let environment = client.create_environment(&body).await?;
            context.output.show(&environment, tenancy::environment)?;
            Ok(Outcome::Done)
        }
        EnvironmentCommand::List => {
            let page = client.list_environments().await?;
            listing::show(&page, "environments", tenancy::environments, context)
        }
        EnvironmentCommand::Delete(args) => {
            client.delete_environment(args.name.as_str()).await?;
            deletion::tell("environment", args.name.as_str(), context)
        }
    }
}
